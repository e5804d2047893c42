"""Values of the types that only declared schemas have, or that are looked into only there (RFC 7643 §2.3)."""

import base64
import binascii
import math
from typing import Any, NoReturn

from app.clock import iso
from app.directory.values import instant_or_none
from app.directory.vocabulary import Attribute, Kind
from app.scim.answers import Problem, refused

LARGEST_INTEGER = 2**53 - 1
"""RFC 8259 §6: up to here every reader of JSON has the same number."""
_LARGEST_DECIMAL = 1e300
_WORDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
}


def refuse_kind(label: str, expected: str, value: Any) -> NoReturn:
    """Raises the SCIMError that names the attribute, and what its value must be."""
    raise refused(f"{label} must be {expected}, not {word_for(value)}", Problem.INVALID_VALUE)


def word_for(value: Any) -> str:
    """What kind of JSON a value is."""
    return next((word for kind, word in _WORDS.items() if isinstance(value, kind)), "null")


def looked_into(attribute: Attribute, value: Any, label: str) -> Any:
    """The simple value in the form in which it is kept; true or false are read elsewhere. Raises SCIMError."""
    match attribute.kind:
        case Kind.INTEGER:
            return _integer(value, label)
        case Kind.DECIMAL:
            return _decimal(value, label)
    text: str = value if isinstance(value, str) else refuse_kind(label, "a text", value)
    if not attribute.checked:
        return text
    match attribute.kind:
        case Kind.DATETIME:
            return _instant(text, label)
        case Kind.BINARY:
            return _binary(text, label)
    return text


def as_kept(attribute: Attribute, value: Any) -> Any:
    """The simple value as `looked_into` gives it, where it comes in several forms; what that refuses stays as it is."""
    if attribute.kind is not Kind.DATETIME or not attribute.checked or not isinstance(value, str):
        return value
    return iso(instant_or_none(value)) or value


def _integer(value: Any, label: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse_kind(label, "a whole number", value)
    if isinstance(value, float):
        # Not which one: a salary must not stand where errors are kept.
        raise refused(f"{label} must be a whole number without a decimal point", Problem.INVALID_VALUE)
    if abs(value) > LARGEST_INTEGER:
        raise refused(f"{label} must be between -{LARGEST_INTEGER} and {LARGEST_INTEGER}", Problem.INVALID_VALUE)
    return int(value)


def _decimal(value: Any, label: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse_kind(label, "a number", value)
    # Whole numbers come in any length; past this they are none of the machine's any more.
    if abs(value) > _LARGEST_DECIMAL or not math.isfinite(value):
        raise refused(f"{label} is too large a number", Problem.INVALID_VALUE)
    return value


def _instant(text: str, label: str) -> str:
    # RFC 7643 §2.3.5: date and time. A date alone has no zone, and so is none.
    found = instant_or_none(text)
    kept = iso(found)
    if kept is None:
        raise refused(f"{label} must be an instant with its time zone, such as 2026-11-30T17:00:00Z, not {text[:40]!r}", Problem.INVALID_VALUE)
    return kept


def _binary(text: str, label: str) -> str:
    # RFC 7643 §2.3.6 takes both alphabets of RFC 4648, and padding left out as the second has it.
    plain = text.replace("-", "+").replace("_", "/")
    try:
        base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise refused(f"{label} must be base64", Problem.INVALID_VALUE) from None
    return text
