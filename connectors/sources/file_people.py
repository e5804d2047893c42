"""From a row to a person, and from what rows say of groups to groups."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from connectors.source_contract import Incomplete, SourceGroup, SourceKey, SourcePerson
from connectors.sources.file_tables import Entry, Headings, Listing
from connectors.sources.person_documents import FIELDS, document_of

FROM: Final[Mapping[str, str]] = {
    "key": "id",
    "user_name": "userName",
    "active": "active",
    "state": "state",
    "external_id": "externalId",
    "manager": "manager",
    "groups": "groups",
    "starts_at": "startsAt",
    "ends_at": "endsAt",
    "display_name": "displayName",
    "nick_name": "nickName",
    "given_name": "givenName",
    "middle_name": "middleName",
    "family_name": "familyName",
    "mail": "mail",
    "title": "title",
    "employee_type": "userType",
    "language": "preferredLanguage",
    "locale": "locale",
    "timezone": "timezone",
    "phone": "phone",
    "mobile": "mobile",
    "employee_number": "employeeNumber",
    "cost_center": "costCenter",
    "organization": "organization",
    "division": "division",
    "department": "department",
}
"""Which column says what, unless an option of that name says otherwise."""
NO_COLUMN: Final = "-"
"""Instead of a column's name: there is none, and that is meant so."""
assert set(FIELDS) <= set(FROM)

LAST_OF_ALL: Final = "9999-12-31"

ON: Final = frozenset({"true", "yes", "y", "1", "on", "active"})
OFF: Final = frozenset({"false", "no", "n", "0", "off", "inactive"})
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME: Final = re.compile(rf"{_DAY.pattern}[T ][0-9]{{2}}:.*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Dates:
    """A plain date is a day in `zone`: who starts on it does so as it begins, who ends on it as it is over."""

    zone: ZoneInfo

    def start(self, text: str) -> str:
        return self._instant(text, days=0)

    def end(self, text: str) -> str | None:
        # What personnel systems write for *no end*; calendars go no further.
        return None if text == LAST_OF_ALL else self._instant(text, days=1)

    def _instant(self, text: str, *, days: int) -> str:
        if _DAY.fullmatch(text):
            day = date.fromisoformat(text) + timedelta(days=days)
            at = datetime(day.year, day.month, day.day, tzinfo=self.zone)
        else:
            if not _TIME.fullmatch(text):
                # Python takes a day without dashes for its first instant, and a week for its Monday's: too soon for an end.
                raise ValueError(text)
            at = datetime.fromisoformat(text)
            if at.tzinfo is None:
                at = at.replace(tzinfo=self.zone)
        return at.astimezone(UTC).isoformat()


@dataclass(frozen=True, kw_only=True)
class Register:
    """A list to look people up in by key. Each of its rows can be read."""

    entries: Mapping[SourceKey, Entry]
    managers: Mapping[str, SourceKey]


class People:
    """Reads rows by one source's settings. Raises Incomplete where a row cannot be read: nobody is left out for a typing error."""

    def __init__(self, *, name: str, columns: Mapping[str, str], between: str, manager_by: str, dates: Dates) -> None:
        self.name = name
        self._columns = {field: "" if column == NO_COLUMN else column for field, column in columns.items()}
        self.headings = Headings([column for column in self._columns.values() if column])
        self._between = between
        self._manager_by = manager_by
        self._dates = dates

    def everybody(self, listing: Listing) -> Iterator[SourcePerson]:
        register = self._registered(listing)
        for key in register.entries:
            yield self._registered_person(register, key)

    def register(self, listing: Listing) -> Register:
        register = self._registered(listing)
        for key in register.entries:
            self._registered_person(register, key)
        return register

    def find(self, register: Register, key: SourceKey) -> SourcePerson | None:
        return self._registered_person(register, key) if key in register.entries else None

    def _registered(self, listing: Listing) -> Register:
        self._require_columns(listing)
        return Register(entries=dict(zip(self._keys(listing), listing.people, strict=True)), managers=self._managers(listing))

    def _registered_person(self, register: Register, key: SourceKey) -> SourcePerson:
        entry = register.entries[key]
        named = self._text(entry, "manager")
        # Somebody who is in the list by that name, or nobody: who it might be is not guessed.
        return self.person(entry, key=key, manager=register.managers.get(named) if named else None)

    def person(self, entry: Entry, *, key: SourceKey | None = None, manager: SourceKey | None = None) -> SourcePerson:
        key = key or self._key(entry)
        return SourcePerson(
            key=key,
            user_name=self._text(entry, "user_name") or self._text(entry, "mail") or key,
            active=self._active(entry),
            document=document_of(lambda field: self._text(entry, field), emails=self._texts(entry, "mail")[1:]),
            external_id=self._text(entry, "external_id") or None,
            manager=manager,
            state=self._text(entry, "state"),
            starts_at=self._date(entry, "starts_at"),
            ends_at=self._date(entry, "ends_at"),
        )

    def groups(self, listing: Listing) -> Iterator[SourceGroup]:
        """Those that are listed by themselves, taken apart; else those that people name, with the name for a key."""
        self._require_columns(listing)
        keys = self._keys(listing)
        if listing.groups is None:
            members: dict[str, set[SourceKey]] = {}
            for entry, key in zip(listing.people, keys, strict=True):
                for group in self._texts(entry, "groups", between=self._between):
                    members.setdefault(group, set()).add(key)
            for group, found in members.items():
                yield SourceGroup(key=SourceKey(group), name=group, members=frozenset(found))
        else:
            yield from _taken_apart(listing.groups, frozenset(keys), name=self.name)

    def fields_in(self, columns: Collection[str]) -> frozenset[str]:
        """What these columns say, by the names of our options."""
        return frozenset(field for field, column in self._columns.items() if column and column in columns)

    def require(self, listing: Listing, fields: Collection[str]) -> None:
        """Raises Incomplete where one of these is not in the list any more, of which everybody had it before."""
        lost = {field for field in fields if self._columns.get(field) and self._columns[field] not in listing.columns}
        active = self._columns["active"]
        if "active" in fields and active and any(active not in entry.values for entry in listing.people):
            # Without it somebody is on: whoever was off would be let in again.
            lost.add("active")
        if listing.people and lost:
            raise Incomplete(
                f"{self.name}: there is no column {', '.join(sorted(self._columns[field] for field in lost))} any more, which the list had when it was "
                f"last taken over; there are {', '.join(sorted(listing.columns))}. Put back what is missing, or set "
                f"{', '.join(f'{field}=NAME' for field in sorted(lost))}, with {NO_COLUMN} for a name where it is to be gone"
            )

    def _require_columns(self, listing: Listing) -> None:
        # A column that an option names must be there: else everybody would seem to have lost what it says.
        wanted = {column for field, column in self._columns.items() if column and (column != FROM[field] or field == "key")}
        if listing.people and (missing := wanted - listing.columns):
            raise Incomplete(
                f"{self.name}: there is no column {', '.join(sorted(missing))}; there are {', '.join(sorted(listing.columns))}"
            )

    def _keys(self, listing: Listing) -> list[SourceKey]:
        seen: dict[SourceKey, str] = {}
        for entry in listing.people:
            key = self._key(entry)
            if key in seen:
                raise Incomplete(f"{self.name}: {seen[key]} and {entry.at} have the same {self._columns['key']}")
            seen[key] = entry.at
        return list(seen)

    def _key(self, entry: Entry) -> SourceKey:
        if not (key := self._text(entry, "key")):
            raise Incomplete(f"{self.name}: {entry.at} has no {self._columns['key']}: nobody can be told from others without it")
        return SourceKey(key)

    def _managers(self, listing: Listing) -> Mapping[str, SourceKey]:
        found: dict[str, SourceKey] = {}
        doubtful: set[str] = set()
        for entry in listing.people:
            if not (said := self._text(entry, self._manager_by)):
                continue
            if said in found:
                doubtful.add(said)
            found[said] = self._key(entry)
        return {said: key for said, key in found.items() if said not in doubtful}

    def _active(self, entry: Entry) -> bool:
        said = self._text(entry, "active").lower()
        if not self._columns["active"] or self._columns["active"] not in entry.values:
            return True
        if said in ON or said in OFF:
            return said in ON
        raise Incomplete(f"{self.name}: {entry.at}: {self._columns['active']} is neither true nor false")

    def _date(self, entry: Entry, field: str) -> str | None:
        if not (said := self._text(entry, field)):
            return None
        try:
            return self._dates.start(said) if field == "starts_at" else self._dates.end(said)
        except (ValueError, OverflowError):
            raise Incomplete(f"{self.name}: {entry.at}: {self._columns[field]} is no date such as 2026-01-31") from None

    def _text(self, entry: Entry, field: str) -> str:
        return next(iter(self._texts(entry, field)), "")

    def _texts(self, entry: Entry, field: str, *, between: str = "") -> tuple[str, ...]:
        value = entry.values.get(self._columns[field], "") if self._columns[field] else ""
        if isinstance(value, tuple):
            return tuple(text for text in value if text)
        parts = value.split(between) if between else [value]
        return tuple(text for part in parts if (text := part.strip()))


def _taken_apart(listed: Sequence[Entry], people: frozenset[SourceKey], *, name: str) -> Iterator[SourceGroup]:
    """Groups `{"id", "name", "members": [ids of people and of groups]}`; who is in a group within is in it too."""
    names: dict[str, str] = {}
    members: dict[str, tuple[str, ...]] = {}
    for entry in listed:
        key, said = entry.values.get("id", ""), entry.values.get("members", ())
        if not isinstance(key, str) or not key or key in members or key in people:
            raise Incomplete(f"{name}: {entry.at} has no id of its own")
        if "members" not in entry.values or not isinstance(said, tuple):
            raise Incomplete(f"{name}: {entry.at} has no list of members, be it empty")
        called = entry.values.get("name", "")
        names[key] = called if isinstance(called, str) and called else key
        members[key] = said
    for key in members:
        inside, waiting, ignored, cycle = {key}, [key], set[str](), False
        found = set[SourceKey]()
        while waiting:
            for member in members[waiting.pop()]:
                if member in members:
                    cycle = cycle or member == key
                    if member not in inside:
                        inside.add(member)
                        waiting.append(member)
                elif SourceKey(member) in people:
                    found.add(SourceKey(member))
                else:
                    ignored.add(member)
        cycles = (names[key],) if cycle else ()
        yield SourceGroup(key=SourceKey(key), name=names[key], members=frozenset(found), cycles=cycles, ignored=len(ignored))
