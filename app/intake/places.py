"""Places in what a vendor sent: `data.employeeId`, `terminations.-1.date`, `fields.[name=status].value`. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from app.intake.description_types import Place
from app.intake.hr import BadCall
from app.intake.yaml_nodes import is_beside

LONGEST_VALUE: Final = 500
_STEP = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")
_INDEX = re.compile(r"-?[0-9]{1,4}", re.ASCII)
WHOLE: Final = "call:"


@dataclass(frozen=True, kw_only=True)
class Around:
    """What an event is read with: the whole body that it is a part of, and what headers and the query say beside it."""

    body: Any = None
    beside: Mapping[str, str] = field(default_factory=dict)


NOTHING_AROUND: Final = Around()


def value_at(document: Any, place: str) -> Any:
    """What stands there; None where there is no such place. `.` is the document itself."""
    found = document
    for bracket, name in _STEP.findall(place):
        found = _step(found, name or bracket)
        if found is None:
            return None
    return found


def _step(found: Any, step: str) -> Any:
    if isinstance(found, dict):
        return found.get(step)
    if not isinstance(found, list):
        return None
    if _INDEX.fullmatch(step):
        number = int(step)
        return found[number] if -len(found) <= number < len(found) else None
    name, equals, value = step.partition("=")
    if not equals:
        return None
    return next((one for one in found if isinstance(one, dict) and _plain(one.get(name.strip())) == value.strip()), None)


def text_at(document: Any, place: Place, around: Around = NOTHING_AROUND) -> str | None:
    """The text there, numbers and claims as texts; None where it is empty. Raises BadCall where it is a part of the document.

    Of several places it is the first that is not empty.
    """
    if place is None:
        return None
    if not isinstance(place, str):
        return next((said for one in place if (said := text_at(document, one, around)) is not None), None)
    value = _found(document, place, around)
    if value is None:
        return None
    text = _plain(value)
    if text is None or len(text) > LONGEST_VALUE:
        raise BadCall(f"{place} must be a text of at most {LONGEST_VALUE} characters")
    return text.strip() or None


def _found(document: Any, place: str, around: Around) -> Any:
    if is_beside(place):
        return around.beside.get(place)
    if place.startswith(WHOLE):
        document, place = around.body, place.removeprefix(WHOLE)
    # A form's fields may have dots and brackets in their names.
    return document[place] if isinstance(document, dict) and place in document else value_at(document, place)


def _plain(value: Any) -> str | None:
    """A value that is no part of the document, as a text: 20417 and 20417.0 are the same number."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case str():
            return value
    return None


def fits(document: Any, place: str, values: tuple[str, ...], around: Around = NOTHING_AROUND) -> bool:
    """Whether one of these texts stands there, `*` and `?` for any: of a list in one of its elements. An empty text stands for nothing."""
    found = _found(document, place, around)
    if isinstance(found, dict | list):
        said = [_plain(one) for one in found] if isinstance(found, list) else []
        there = bool(found)
    else:
        text = text_at(document, place, around)
        said, there = [text], text is not None
    if not there:
        return "" in values
    # Of an object only that it is there can be said.
    return (isinstance(found, dict) and "*" in values) or any(one is not None and _is_like(one, value) for one in said for value in values)


def _is_like(text: str, value: str) -> bool:
    # Brackets are a set of letters, as in `[12]*`, and also what they are, as in `Terminated [voluntary]`.
    return fnmatchcase(text, value) or fnmatchcase(text, value.replace("[", "[[]"))
