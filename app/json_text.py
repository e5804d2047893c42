"""JSON that others send, read so that every database can hold it and nobody can read it in two ways; and JSON that we write."""

import json
import math
import re
from collections import Counter
from typing import Any, Final, NoReturn

import orjson

DEEPEST: Final = 32
# PostgreSQL holds no NUL, and half a surrogate pair is no character in any encoding; and how JSON escapes these.
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
_ESCAPED: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


class UnreadableJSON(ValueError):
    """The text is no JSON that can be taken; the message says why, without any of it but names of members."""


class UnstorableText(UnreadableJSON):
    """It is JSON, but holds a character that no text can hold."""


class SaidTwice(dict[str, Any]):
    """An object in which the text named members twice: the last of each, and `names`, those of which there were several."""

    names: frozenset[str] = frozenset()


def read_json(raw: bytes, *, unique: bool = False, marked: bool = False) -> Any:
    """The value. With `unique` an object that names a member twice is refused as well (RFC 8259 §4), with `marked` it is a `SaidTwice`.

    Raises UnreadableJSON.
    """
    value = parse_json(raw, unique=unique, marked=marked)
    # A text that no database can hold is only sent escaped, and nothing is deeper than it has brackets.
    if _ESCAPED.search(raw) or raw.count(b"{") + raw.count(b"[") > DEEPEST:
        refuse_unstorable(value)
    return value


def parse_json(raw: bytes, *, unique: bool = False, marked: bool = False) -> Any:
    """The same of which nobody has looked yet whether every database can hold it (`refuse_unstorable`). Raises UnreadableJSON."""
    try:
        # Bytes would be taken for UTF-16 or UTF-32 where they look like it; JSON that is sent is UTF-8 (RFC 8259 §8.1).
        return (_UNIQUE if unique else _MARKING if marked else _PLAIN).decode(raw.decode("utf-8-sig"))
    except RecursionError:
        raise UnreadableJSON("it is nested too deeply") from None
    except UnreadableJSON:
        raise
    except json.JSONDecodeError as error:
        raise UnreadableJSON(f"{error.msg}, line {error.lineno}") from None
    except UnicodeDecodeError:
        raise UnreadableJSON("it is not in UTF-8") from None
    except ValueError:
        # Python reads no number of so many digits, since that takes the square of their number.
        raise UnreadableJSON("a number in it has too many digits") from None


def _no_constant(word: str) -> NoReturn:
    raise UnreadableJSON(f"{word} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise UnreadableJSON("a number in it is too large")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise UnreadableJSON("an object names one member twice")
    return members


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    twice = SaidTwice(members)
    twice.names = frozenset(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
    return twice


_PLAIN: Final = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
_UNIQUE: Final = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_members)
_MARKING: Final = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_marked)
_AS_JSON_DOES: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_WRITER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def write_json(value: object) -> str:
    """A value as Python's own writer has it, but for how a float is spelled: for whoever reads it as JSON again. Raises TypeError."""
    try:
        written = orjson.dumps(value, option=_AS_JSON_DOES)
    except TypeError:
        # It takes no half surrogate pair, no number over 64 bits and no key but a text.
        return _WRITER.encode(value)
    # It makes null of NaN as well, and what a client sent, and was refused for, is to be seen as it was.
    return _WRITER.encode(value) if b"null" in written else written.decode()


def is_storable(text: str) -> bool:
    """Whether every database can hold this text."""
    return _UNSTORABLE.search(text) is None


def without_unstorable(text: str) -> str:
    """What is left of a text that every database can hold."""
    return _UNSTORABLE.sub("", text)


def refuse_unstorable(value: Any, label: str = "", depth: int = 0) -> None:
    """Refuse what lies deeper than is taken, and characters that no text can hold; `label` names the value. Raises UnreadableJSON."""
    if depth > DEEPEST:
        raise UnreadableJSON(f"{label or 'it'} is nested more than {DEEPEST} deep")
    if isinstance(value, str):
        if not is_storable(value):
            raise UnstorableText(f"{label or 'a name'} holds a character that no text can hold")
    elif isinstance(value, list):
        for element in value:
            refuse_unstorable(element, label, depth + 1)
    elif isinstance(value, dict):
        for key, element in value.items():
            refuse_unstorable(key, "", depth)
            refuse_unstorable(element, f"{label}.{key}" if label else key, depth + 1)
