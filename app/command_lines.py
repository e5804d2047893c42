"""Commands that somebody is told to type: they can be pasted into a shell, whatever people and sources are called."""

import shlex


def to_type(verb: str, name: str, options: str = "") -> str:
    """`doorlist`, a verb, whom or what it is about, and options as they stand in a sentence.

    A name that begins with a dash comes last and behind `--`, or it would be read as options (POSIX, Utility Syntax Guideline 10).
    """
    quoted = shlex.quote(name)
    words = (verb, options, "--", quoted) if name.startswith("-") else (verb, quoted, options)
    return " ".join(word for word in ("doorlist", *words) if word)
