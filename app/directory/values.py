"""How values of a SCIM document are found and compared in memory; `filter_sql` promises the same in a database."""

import unicodedata
from collections.abc import Iterator
from datetime import MAXYEAR, UTC, datetime
from enum import StrEnum
from typing import Any

from app.clock import iso, parse_instant

Scalar = str | bool | int | float
_LAST = datetime(MAXYEAR, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)


class Operator(StrEnum):
    EQ = "eq"
    CO = "co"
    SW = "sw"
    EW = "ew"
    GT = "gt"
    GE = "ge"
    LT = "lt"
    LE = "le"


class Sense(StrEnum):
    """As what two texts are compared."""

    FOLDED = "folded"
    EXACT = "exact"
    INSTANT = "instant"


def fold(text: str) -> str:
    """The form in which two spellings of one text are equal; unlike a name's key it keeps outer blanks."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def leaves(value: Any, names: tuple[str, ...]) -> Iterator[Any]:
    """Every value at these keys. A list stands for its elements, at each level; null is no value."""
    if value is None:
        return
    if isinstance(value, list):
        for element in value:
            if not isinstance(element, list):
                yield from leaves(element, names)
    elif not names:
        yield value
    elif isinstance(value, dict):
        yield from leaves(value.get(names[0]), names[1:])


def present(leaf: Any) -> bool:
    """RFC 7644 §3.4.2.2: `pr` asks for a non-empty value, or for a non-empty node of a complex one."""
    if isinstance(leaf, dict | list):
        return any(map(present, leaf.values() if isinstance(leaf, dict) else leaf))
    return leaf is not None and leaf != ""


def compare(leaf: Any, operator: Operator, wanted: Scalar, sense: Sense) -> bool:
    """A text compares with a text, a number with a number and true or false with true or false; all else is unequal."""
    if isinstance(leaf, bool) or isinstance(wanted, bool):
        return isinstance(leaf, bool) and isinstance(wanted, bool) and leaf == wanted
    if isinstance(leaf, str) and isinstance(wanted, str):
        if sense is Sense.INSTANT:
            found = instant_or_none(leaf)
            return found is not None and _holds(found, operator, parse_instant(wanted))
        if sense is Sense.FOLDED:
            leaf, wanted = fold(leaf), fold(wanted)
        return _text_holds(leaf, operator, wanted)
    if isinstance(leaf, int | float) and isinstance(wanted, int | float):
        return _holds(leaf, operator, wanted)
    return False


def instant_or_none(text: str) -> datetime | None:
    try:
        instant = parse_instant(text)
    except (ValueError, OverflowError):
        return None
    # No instant that is kept, to the millisecond, comes after this one.
    return instant if instant <= _LAST else None


def as_kept(operator: Operator, instant: datetime) -> tuple[Operator, str]:
    """The comparison with an instant as one with its text: documents keep instants as `iso` writes them, to the millisecond."""
    kept = instant.replace(microsecond=instant.microsecond // 1000 * 1000)
    text = iso(kept) or ""
    if kept == instant:
        return operator, text
    match operator:
        case Operator.GT | Operator.GE:
            return Operator.GT, text
        case Operator.LT | Operator.LE:
            return Operator.LE, text
        case _:
            # Between two milliseconds there is none that is kept.
            return operator, instant.isoformat()


def _text_holds(leaf: str, operator: Operator, wanted: str) -> bool:
    match operator:
        case Operator.CO:
            return wanted in leaf
        case Operator.SW:
            return leaf.startswith(wanted)
        case Operator.EW:
            return leaf.endswith(wanted)
        case _:
            return _holds(leaf, operator, wanted)


def _holds(left: Any, operator: Operator, right: Any) -> bool:
    match operator:
        case Operator.EQ:
            return bool(left == right)
        case Operator.GT:
            return bool(left > right)
        case Operator.GE:
            return bool(left >= right)
        case Operator.LT:
            return bool(left < right)
        case Operator.LE:
            return bool(left <= right)
        case _:
            return False
