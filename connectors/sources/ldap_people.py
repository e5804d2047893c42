"""From an entry to a person: which attribute says what, and who may come in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.source_contract import Incomplete, SourceKey, SourcePerson
from connectors.sources.ldap_dialects import Dialect, Standing, Unreadable
from connectors.sources.ldap_settings import Settings
from connectors.sources.ldap_wire import Entry, readable

CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


class People:
    """Reads people in one server's dialect, by one source's settings."""

    def __init__(self, settings: Settings, dialect: Dialect) -> None:
        self.name = settings.place.name
        self.base = settings.people_base
        self.filter = settings.people_filter or dialect.people_filter
        self._dialect = dialect
        self._from = {**dialect.attributes, **settings.attributes}
        self._active = (settings.active_attribute, settings.active_values) if settings.active_attribute else None
        asked = [name for names in self._from.values() for name in names]
        asked += [dialect.key_attribute, *dialect.standing_attributes, *(["primarygroupid"] if dialect.primary_groups else [])]
        self.attributes: tuple[str, ...] = tuple(dict.fromkeys([*asked, *([self._active[0]] if self._active else [])]))

    def key(self, entry: Entry) -> SourceKey:
        found = entry.values.get(self._dialect.key_attribute)
        if not found:
            raise Incomplete(f"{self.name}: {entry.dn} shows no {self._dialect.key_attribute}: nobody can be told from others without it")
        return self._dialect.key_of(found[0])

    def manager_dn(self, entry: Entry) -> str:
        return self._text(entry, "manager")

    def person(self, entry: Entry, *, manager: SourceKey | None, at: datetime) -> SourcePerson:
        """Raises Incomplete where what decides over access cannot be read."""
        key, standing = self.key(entry), self._standing(entry, at)
        return SourcePerson(
            key=key,
            # Without a name somebody is still there: to leave them out would look as if they had left.
            user_name=self._text(entry, "user_name") or self._text(entry, "mail") or key,
            active=standing.active,
            document=self._document(entry),
            external_id=self._text(entry, "external_id") or None,
            manager=manager,
            state=standing.state,
            ends_at=standing.ends_at.isoformat() if standing.ends_at else None,
            ended=standing.ended,
        )

    def _text(self, entry: Entry, field: str) -> str:
        values = entry.values
        for name in self._from.get(field, ()):
            if (found := values.get(name)) and (text := readable(found[0])):
                return text
        return ""

    def _standing(self, entry: Entry, at: datetime) -> Standing:
        try:
            standing = self._dialect.standing(entry, at)
        except Unreadable as error:
            raise Incomplete(f"{self.name}: {error} of {entry.dn} cannot be read: give the bind account the right to") from None
        if self._active and (standing.active or standing.ended):
            name, good = self._active
            said = [text.lower() for text in entry.texts(name)]
            if not good.intersection(said):
                return Standing(active=False, state=f"{name}={','.join(said)}", ends_at=standing.ends_at)
        return standing

    def _document(self, entry: Entry) -> Mapping[str, Any]:
        def text(field: str) -> str:
            return self._text(entry, field)

        document: dict[str, Any] = {"schemas": [CORE, ENTERPRISE]}
        for field, name in (("display_name", "displayName"), ("title", "title"), ("employee_type", "userType")):
            if said := text(field):
                document[name] = said
        names = (("givenName", "given_name"), ("familyName", "family_name"))
        if parts := {part: said for part, field in names if (said := text(field))}:
            document["name"] = parts
        if emails := self._emails(entry):
            document["emails"] = emails
        if phone := text("phone"):
            document["phoneNumbers"] = [{"value": phone, "type": "work"}]
        work = (("employeeNumber", "employee_number"), ("department", "department"))
        if enterprise := {name: said for name, field in work if (said := text(field))}:
            document[ENTERPRISE] = enterprise
        return document

    def _emails(self, entry: Entry) -> list[dict[str, Any]]:
        """All of them; the first one is the primary."""
        found = dict.fromkeys(address for name in self._from.get("mail", ()) for address in entry.texts(name) if address)
        return [{"value": address, "type": "work", "primary": not at} for at, address in enumerate(found)]
