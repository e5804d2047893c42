"""From an Okta user to a person, and managers who are named by login."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from connectors.contract import Unreachable
from connectors.documents import Document
from connectors.source_contract import SourceKey, SourcePerson
from connectors.sources.person_documents import FIELDS, document_of, plain

FROM: Final[Mapping[str, str]] = {
    "user_name": "login",
    "external_id": "",
    "manager": "managerId",
    "display_name": "displayName",
    "nick_name": "nickName",
    "given_name": "firstName",
    "middle_name": "middleName",
    "family_name": "lastName",
    "mail": "email",
    "title": "title",
    "employee_type": "userType",
    "language": "preferredLanguage",
    "locale": "locale",
    "timezone": "timezone",
    "phone": "primaryPhone",
    "mobile": "mobilePhone",
    "employee_number": "employeeNumber",
    "cost_center": "costCenter",
    "organization": "organization",
    "division": "division",
    "department": "department",
}
"""Which attribute of the Okta profile says what, unless an option of that name says otherwise."""
assert set(FIELDS) <= set(FROM)

# STAGED, PROVISIONED, RECOVERY, PASSWORD_EXPIRED and LOCKED_OUT are states of a password or of an invitation: the person works there.
ON: Final = frozenset({"STAGED", "PROVISIONED", "ACTIVE", "RECOVERY", "PASSWORD_EXPIRED", "LOCKED_OUT"})
OFF: Final = "SUSPENDED,DEPROVISIONED"
_ID = re.compile(r"00u[0-9A-Za-z]{17}")


class People:
    """Reads users by one source's settings."""

    def __init__(self, *, fields: Mapping[str, str], off: frozenset[str], manager_by: str) -> None:
        self._from = fields
        self._off = off
        self._by_login = manager_by == "login"

    def key(self, user: Document, *, source: str) -> SourceKey:
        if not (key := user.text("id")):
            raise Unreachable(f"{source}: a user without an id was told", sent=True)
        return SourceKey(key)

    def person(self, user: Document, *, source: str) -> SourcePerson:
        """The manager is set where the profile names one by id; see `login_of_manager`."""
        key, profile, status = self.key(user, source=source), user.part("profile"), user.text("status")
        if not status:
            raise Unreachable(f"{source}: user {key} is told without a status", sent=True)
        named = self._text(profile, "manager")
        return SourcePerson(
            key=key,
            # Without a name somebody is still there: to leave them out would look as if they had left.
            user_name=self._text(profile, "user_name") or self._text(profile, "mail") or key,
            # A state that is not known yet lets nobody in.
            active=status in ON and status not in self._off,
            document=document_of(lambda field: self._text(profile, field), emails=self._second(profile)),
            external_id=self._text(profile, "external_id") or None,
            manager=SourceKey(named) if _ID.fullmatch(named) else None,
            state=status,
        )

    def login(self, user: Document) -> str:
        return user.part("profile").text("login").casefold()

    def login_of_manager(self, user: Document) -> str:
        """Empty where nobody is named, or where managers are named by id."""
        named = self._text(user.part("profile"), "manager")
        return named.casefold() if self._by_login and not _ID.fullmatch(named) else ""

    def _second(self, profile: Document) -> tuple[str, ...]:
        return (plain(profile.plain().get("secondEmail")),) if self._from["mail"] == FROM["mail"] else ()

    def _text(self, profile: Document, field: str) -> str:
        # Custom attributes may be numbers, booleans or lists.
        return plain(profile.plain().get(name)) if (name := self._from[field]) else ""


class Waiting:
    """People whose manager is named by login are told once that one was seen, or at the end without one.

    So one reading of the list is enough. Logins are unique in an organisation of Okta, e-mail addresses are not.
    """

    def __init__(self) -> None:
        self._keys: dict[str, SourceKey] = {}
        self._held: dict[str, list[SourcePerson]] = {}

    def tell(self, person: SourcePerson, *, login: str, manager: str) -> Iterator[SourcePerson]:
        if login:
            self._keys[login] = person.key
            for held in self._held.pop(login, ()):
                yield replace(held, manager=person.key)
        if not manager:
            yield person
        elif found := self._keys.get(manager):
            yield replace(person, manager=found)
        else:
            self._held.setdefault(manager, []).append(person)

    def rest(self) -> Iterator[SourcePerson]:
        for held in self._held.values():
            yield from held
        self._held.clear()
