"""From a user of Microsoft Graph to a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from connectors.contract import Unreachable
from connectors.documents import Document
from connectors.source_contract import Incomplete, SourceKey, SourcePerson
from connectors.sources.person_documents import FIELDS, document_of, plain

FROM: Final[Mapping[str, str]] = {
    "user_name": "userPrincipalName",
    "external_id": "",
    "display_name": "displayName",
    "nick_name": "",
    "given_name": "givenName",
    "middle_name": "",
    "family_name": "surname",
    "mail": "mail",
    "title": "jobTitle",
    "employee_type": "employeeType",
    "language": "preferredLanguage",
    "locale": "",
    "timezone": "",
    "phone": "businessPhones",
    "mobile": "mobilePhone",
    "employee_number": "employeeId",
    "cost_center": "employeeOrgData/costCenter",
    "organization": "companyName",
    "division": "employeeOrgData/division",
    "department": "department",
}
"""Which property of the user says what, unless an option of that name says otherwise."""
assert set(FIELDS) <= set(FROM)

ALWAYS: Final = ("id", "accountEnabled", "userType", "userPrincipalName")
DATES: Final[Mapping[str, tuple[str, ...]]] = {
    "none": (),
    "hire": ("employeeHireDate",),
    "both": ("employeeHireDate", "employeeLeaveDateTime"),
}
GUEST: Final = "Guest"


class People:
    """Reads users by one source's settings. With `guests` false a guest of the tenant is nobody."""

    def __init__(self, *, fields: Mapping[str, str], guests: bool, dates: str) -> None:
        self._from = fields
        self.counts_guests = guests
        self._dates = DATES[dates]
        properties = (name.partition("/")[0] for name in fields.values() if name)
        self.select = ",".join(dict.fromkeys((*ALWAYS, *properties, *self._dates)))

    def counts(self, user: Document) -> bool:
        # Accounts older than guests have no userType.
        return self.counts_guests or user.text("userType") != GUEST

    def key(self, user: Document, *, source: str) -> SourceKey:
        if not (key := user.text("id")):
            raise Unreachable(f"{source}: a user without an id was told", sent=True)
        return SourceKey(key)

    def person(self, user: Document, *, source: str, known_off: bool = False) -> SourcePerson:
        """Raises Incomplete where what decides over access is not shown. `known_off`: newer news says that the account is closed."""
        key = self.key(user, source=source)
        if not user.has("accountEnabled"):
            raise Incomplete(
                f"{source}: accountEnabled of user {key} is not shown: grant User.Read.All, which less than that does not tell"
            )
        active = user.flag("accountEnabled") and not known_off
        guest = user.text("userType") == GUEST
        return SourcePerson(
            key=key,
            user_name=self._text(user, "user_name") or plain(user.text("userPrincipalName")) or key,
            active=active,
            document=document_of(lambda field: self._text(user, field)),
            external_id=self._text(user, "external_id") or None,
            manager=SourceKey(manager) if (manager := user.part("manager").text("id")) else None,
            state=("guest, " if guest else "") + ("enabled" if active else "disabled"),
            starts_at=self._date(user, "employeeHireDate"),
            ends_at=self._date(user, "employeeLeaveDateTime"),
        )

    def _date(self, user: Document, name: str) -> str | None:
        return user.text(name) or None if name in self._dates else None

    def _text(self, user: Document, field: str) -> str:
        if not (name := self._from[field]):
            return ""
        value: object = user.plain()
        for part in name.split("/"):
            value = value.get(part) if isinstance(value, dict) else None
        return plain(value)
