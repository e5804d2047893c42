"""A person's document in SCIM's shape (RFC 7643 §4.1, §4.3), from plain fields. What is empty is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

CORE: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

FIELDS: Final = (
    "display_name", "nick_name", "given_name", "middle_name", "family_name", "mail", "title", "employee_type", "language", "locale",
    "timezone", "phone", "mobile", "employee_number", "cost_center", "organization", "division", "department",
)  # fmt: skip
"""Fields that a source may fill and an administrator may take from elsewhere."""

_TOP: Final = (
    ("displayName", "display_name"),
    ("nickName", "nick_name"),
    ("title", "title"),
    ("userType", "employee_type"),
    ("preferredLanguage", "language"),
    ("locale", "locale"),
    ("timezone", "timezone"),
)
_NAME: Final = (("givenName", "given_name"), ("middleName", "middle_name"), ("familyName", "family_name"))
_WORK: Final = (
    ("employeeNumber", "employee_number"),
    ("costCenter", "cost_center"),
    ("organization", "organization"),
    ("division", "division"),
    ("department", "department"),
)


def document_of(text: Callable[[str], str], *, emails: Iterable[str] = ()) -> Mapping[str, Any]:
    """`text` gives a field of FIELDS, empty where there is none. `emails` are further addresses; the field `mail` is the primary one."""
    document: dict[str, Any] = {"schemas": [CORE, ENTERPRISE]}
    document |= _filled(text, _TOP)
    if name := _filled(text, _NAME):
        document["name"] = name
    if addresses := list(dict.fromkeys(address for address in (text("mail"), *emails) if address)):
        document["emails"] = [{"value": address, "type": "work", "primary": not at} for at, address in enumerate(addresses)]
    phones = [{"value": said, "type": kind} for kind, field in (("work", "phone"), ("mobile", "mobile")) if (said := text(field))]
    if phones:
        document["phoneNumbers"] = phones
    if work := _filled(text, _WORK):
        document[ENTERPRISE] = work
    return document


def _filled(text: Callable[[str], str], names: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: said for name, field in names if (said := text(field))}


def plain(value: object) -> str:
    """A value as text, the first of several; empty for what is none. What no database can keep is marked and not dropped:
    `ada` and `ada` with a NUL behind it must not become one name."""
    while isinstance(value, list):
        value = value[0] if value else None
    if value is None or isinstance(value, dict):
        return ""
    text = str(value).strip()
    if text.isascii() and "\0" not in text:
        return text
    return "".join("\ufffd" if mark == "\0" or "\ud800" <= mark <= "\udfff" else mark for mark in text)
