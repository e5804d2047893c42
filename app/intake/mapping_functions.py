"""What an expression of a mapping can call: functions on texts and lists, each bounded in what it gives.

Null stays null, so that an attribute that somebody lacks ends as an attribute that is not there, and in no error.
"""

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Final

LONGEST_TEXT: Final = 2_000
LONGEST_LIST: Final = 100
# Letters that Unicode does not decompose, though every reader knows their plain form.
_PLAIN: Final = str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}
    | {"ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i"}
)
_WORDS: Final = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def word_for(value: object) -> str:
    """What kind of value this is, for a sentence."""
    return _WORDS.get(type(value), "a value of another kind")


def lower(text: Any) -> str | None:
    """All letters small."""
    return None if text is None else _short("lower", _text("lower", text).lower())


def upper(text: Any) -> str | None:
    """All letters capital."""
    return None if text is None else _short("upper", _text("upper", text).upper())


def trim(text: Any) -> str | None:
    """Without blanks at either end."""
    return None if text is None else _text("trim", text).strip()


def plain_letters(text: Any, other: Any = None) -> str | None:
    """The text in ASCII: é as e, ß as ss. A letter without such a form becomes `other`, or is an error where none is given."""
    if text is None:
        return None
    taken_apart = unicodedata.normalize("NFKD", _text("ascii", text)).translate(_PLAIN)
    bare = "".join(mark for mark in taken_apart if not unicodedata.combining(mark))
    if bare.isascii():
        return _short("ascii", bare)
    if other is None:
        raise ValueError("ascii() found a letter without a plain form; give a second text to stand for such letters")
    stands_for = _text("ascii", other)
    if not stands_for.isascii():
        raise ValueError("ascii() is given a second text that is not ASCII itself")
    return _short("ascii", "".join(mark if mark.isascii() else stands_for for mark in bare))


def replace(text: Any, old: Any, new: Any) -> str | None:
    """Every `old` in the text as `new`."""
    if text is None:
        return None
    whole, before, after = _text("replace", text), _mark("replace", old), _text("replace", new)
    # Looked at first: the text itself might be too long for the machine.
    if len(whole) + whole.count(before) * (len(after) - len(before)) > LONGEST_TEXT:
        raise _too_long("replace")
    return whole.replace(before, after)


def split(text: Any, mark: Any) -> list[str] | None:
    """The parts between marks."""
    if text is None:
        return None
    whole, between = _text("split", text), _mark("split", mark)
    if whole.count(between) >= LONGEST_LIST:
        raise ValueError(f"split() would make more than {LONGEST_LIST} parts")
    return whole.split(between)


def join(parts: Any, mark: Any) -> str | None:
    """Texts of a list with the mark between them; those that are null or empty are left out."""
    if parts is None:
        return None
    if not isinstance(parts, list):
        raise ValueError(f"join() is given {word_for(parts)}; it takes a list of texts")
    texts, between = [_text("join", part) for part in parts if part is not None and part != ""], _text("join", mark)
    if sum(map(len, texts)) + len(between) * len(texts) > LONGEST_TEXT + len(between):
        raise _too_long("join")
    return between.join(texts)


def before(text: Any, mark: Any) -> str | None:
    """What stands before the first mark; the whole text where there is none."""
    return None if text is None else _text("before", text).partition(_mark("before", mark))[0]


def after(text: Any, mark: Any) -> str | None:
    """What stands behind the first mark; null where there is none."""
    if text is None:
        return None
    _, found, rest = _text("after", text).partition(_mark("after", mark))
    return rest if found else None


def substring(text: Any, start: Any, end: Any = None) -> str | None:
    """Letters from `start` to before `end`, counted from 0; what is not there is left out."""
    if text is None:
        return None
    for place in (start, end):
        if place is not None and (isinstance(place, bool) or not isinstance(place, int) or place < 0):
            raise ValueError(f"substring() is given {word_for(place)} below 0 or no whole number; it counts letters from 0")
    return _text("substring", text)[start:end]


def coalesce(*values: Any) -> Any:
    """The first value that is neither null nor an empty text; where all are, the last one."""
    return next((value for value in values if value is not None and value != ""), values[-1] if values else None)


def first(values: Any) -> Any:
    """The first of a list; null where it is empty."""
    return next(iter(_list("first", values)), None)


def of_type(values: Any, kind: Any) -> Any:
    """The value of the first element of that type, such as the address of type "work"; null where there is none."""
    wanted = _text("ofType", kind).lower()
    for one in _list("ofType", values):
        if isinstance(one, dict) and isinstance(said := one.get("type"), str) and said.lower() == wanted:
            return one.get("value")
    return None


def each(values: Any, name: Any) -> list[Any]:
    """What the elements of a list have under that name; those that have nothing there are left out."""
    key = _text("each", name)
    found = (one.get(key) for one in _list("each", values) if isinstance(one, dict))
    return [value for value in found if value is not None]


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "lower": lower, "upper": upper, "trim": trim, "ascii": plain_letters, "replace": replace, "split": split, "join": join,
    "before": before, "after": after, "substring": substring, "coalesce": coalesce, "first": first, "ofType": of_type, "each": each,
}  # fmt: skip
"""By the name under which expressions call them."""


def _text(function: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{function}() is given {word_for(value)}; it takes a text")
    return value


def _mark(function: str, value: Any) -> str:
    if not _text(function, value):
        raise ValueError(f"{function}() is given an empty text to look for")
    return str(value)


def _list(function: str, value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{function}() is given {word_for(value)}; it takes a list")
    return value


def _short(function: str, text: str) -> str:
    if len(text) > LONGEST_TEXT:
        raise _too_long(function)
    return text


def _too_long(function: str) -> ValueError:
    return ValueError(f"{function}() would make a text of more than {LONGEST_TEXT} characters")
