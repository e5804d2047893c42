"""LDAP: people and groups from OpenLDAP, Active Directory (Samba too) and 389 Directory Server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import ModuleType

from connectors.source_contract import (
    Change,
    Cursor,
    CursorLost,
    SourceCheck,
    SourceGroup,
    SourceKey,
    SourcePerson,
    SourceSettings,
)
from connectors.sources import ldap_389ds, ldap_ad, ldap_openldap
from connectors.sources.ldap_book import Book
from connectors.sources.ldap_check import inspect
from connectors.sources.ldap_dialects import DIALECTS, ROOT_ATTRIBUTES, Dialect, dialect_of
from connectors.sources.ldap_reading import Clock, Reading
from connectors.sources.ldap_settings import read_settings
from connectors.sources.ldap_wire import Wire

NONE = "none"
_CHANGES: Mapping[str, ModuleType] = {"openldap": ldap_openldap, "ad": ldap_ad, "389ds": ldap_389ds}


def _now() -> datetime:
    return datetime.now(UTC)


class LDAP:
    """A Source that also tells changes, where the server does. Opened without speaking to anybody; each reading has its own connection.

    Options: `connectors.sources.ldap_settings`. Raises Misconfigured for settings that cannot be right.
    """

    def __init__(self, settings: SourceSettings, *, clock: Clock = _now) -> None:
        self._settings = read_settings(settings)
        self._clock = clock
        self._dialect: Dialect | None = DIALECTS[self._settings.kind] if self._settings.kind else None
        self._reached: Cursor | None = None
        # Who `list_people` saw; `list_groups` right after it need not ask again. Whoever is not in it is asked for.
        self._book: Book | None = None

    @property
    def name(self) -> str:
        return self._settings.place.name

    def check(self) -> SourceCheck:
        return inspect(self._settings, self._dialect, cursor_now=self._cursor, clock=self._clock)

    def list_people(self) -> Iterator[SourcePerson]:
        self._book = None
        with self._reading() as reading:
            yield from reading.everybody()
            self._book = reading.book

    def list_groups(self) -> Iterator[SourceGroup]:
        book, self._book = self._book, None
        if book is not None:
            book.reopen()
        with self._reading(book) as reading:
            yield from reading.every_group()

    def find_person(self, key: SourceKey) -> SourcePerson | None:
        with self._reading() as reading:
            if (entry := reading.entry_of(key)) is not None:
                return reading.person(entry)
            if not reading.anybody():
                # An empty replica, or a right that was lost, knows nobody: that is no word about this one.
                reading.require_that_nobody_is_there()
            return None

    def cursor_now(self) -> Cursor:
        """`none` where this server tells no changes; `changes_since` then asks for a full listing."""
        with self._reading() as reading:
            return self._cursor(reading)

    def changes_since(self, cursor: Cursor) -> Iterator[Change]:
        self._reached = None
        kind, _, rest = cursor.partition("|")
        settings, _, inner = rest.partition("|")
        if kind == NONE:
            raise CursorLost(f"{self.name}: this server does not tell what changed")
        with self._reading() as reading:
            if kind != reading.dialect.kind or settings != self._fingerprint(reading):
                raise CursorLost(f"{self.name}: the cursor was made under other settings")
            for change in _CHANGES[kind].changes_since(reading, inner):
                if isinstance(change, str):
                    self._reached = Cursor(f"{kind}|{settings}|{change}")
                else:
                    yield change

    def cursor_reached(self) -> Cursor:
        if self._reached is None:
            raise CursorLost(f"{self.name}: no list of changes was read to its end")
        return self._reached

    def _cursor(self, reading: Reading) -> Cursor:
        told = None if self._settings.changes == NONE else _CHANGES[reading.dialect.kind].cursor_now(reading)
        return Cursor(NONE if told is None else f"{reading.dialect.kind}|{self._fingerprint(reading)}|{told}")

    def _fingerprint(self, reading: Reading) -> str:
        """Of what decides whom a listing holds. Under another base or filter a change log would leave people out."""
        groups = reading.groups.base, reading.groups.filter, str(self._settings.with_groups)
        said = "\n".join([reading.people.base, reading.people.filter, *groups, *reading.people.attributes])
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    @contextmanager
    def _reading(self, book: Book | None = None) -> Iterator[Reading]:
        with Wire(self._settings.place) as wire:
            if self._dialect is None:
                self._dialect = dialect_of(wire.root(ROOT_ATTRIBUTES))
            yield Reading(wire, self._settings, self._dialect, clock=self._clock, book=book)
