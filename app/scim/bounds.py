"""What one request may ask for at most, so that none can keep all others waiting, and both databases take the same."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.directory.names import name_key
from app.directory.vocabulary import ENTERPRISE_URN, GROUP_URN
from app.scim.answers import Problem, SCIMError, refused

MOST_OPERATIONS = 10_000
"""Of one PATCH; on a group's members each may name one of them."""
MOST_LOOKS = 200_000
"""Operations of one PATCH times the values in lists that each of them may have to look at, while the row is locked."""
LONGEST = 2_048
"""Bytes of the comparison key in UTF-8 of a text that people and groups are found by. A row of an index of PostgreSQL's
ends at 2,704, and holds our own ids beside it."""
_SURELY_SHORT = 40
# One sign becomes at most 18 of two bytes each when names are made comparable, so that shorter texts need no look.


def refuse_too_many(number: int) -> None:
    """Of so many operations. Raises SCIMError."""
    if number > MOST_OPERATIONS:
        raise SCIMError(413, f"this PATCH holds more than {MOST_OPERATIONS} operations: send them in several requests")


def refuse_too_costly(document: Mapping[str, Any], values: Sequence[Any]) -> None:
    """Of operations with these values on this document. Raises SCIMError."""
    listed = _elements_in(document) + sum(map(_elements_in, values))
    if len(values) * listed > MOST_LOOKS:
        raise SCIMError(413, f"{len(values)} operations on {listed} values are too many for one PATCH: send them in several requests")


def _elements_in(value: Any) -> int:
    """How many elements its lists have together."""
    if isinstance(value, list):
        return len(value) + sum(map(_elements_in, value))
    return sum(map(_elements_in, value.values())) if isinstance(value, dict) else 0


def refuse_too_long(document: Mapping[str, Any], core: str) -> None:
    """Raises SCIMError naming the first text of a tidied document that no index could hold."""
    for label, text in _looked_up(document, core):
        if isinstance(text, str) and len(text) > _SURELY_SHORT and (length := _bytes_of(text)) > LONGEST:
            raise refused(f"{label} is {length} bytes long; at most {LONGEST} can be looked up by", Problem.INVALID_VALUE)


def _bytes_of(text: str) -> int:
    return max(len(text.encode()), len(name_key(text).encode()))


def _looked_up(document: Mapping[str, Any], core: str) -> Iterator[tuple[str, Any]]:
    yield "externalId", document.get("externalId")
    if core == GROUP_URN:
        yield "displayName", document.get("displayName")
        return
    yield "userName", document.get("userName")
    extension = document.get(ENTERPRISE_URN)
    if isinstance(extension, dict):
        yield "employeeNumber", extension.get("employeeNumber")
        yield "department", extension.get("department")
    for email in document.get("emails") or ():
        yield "emails.value", email.get("value") if isinstance(email, dict) else email
