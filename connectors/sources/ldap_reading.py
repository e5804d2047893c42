"""One reading of a directory: a wire, and what is learnt over it. Made for one run and thrown away after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from connectors.source_contract import (
    Change,
    CursorLost,
    Gone,
    Incomplete,
    Kind,
    Memberships,
    NothingThere,
    SourceGroup,
    SourceKey,
    SourcePerson,
)
from connectors.sources.ldap_book import Book
from connectors.sources.ldap_dialects import ROOT_ATTRIBUTES, Dialect
from connectors.sources.ldap_filters import below
from connectors.sources.ldap_groups import Groups
from connectors.sources.ldap_people import People
from connectors.sources.ldap_settings import Settings
from connectors.sources.ldap_waiting import Waiting
from connectors.sources.ldap_wire import Entry, Wire

Clock = Callable[[], datetime]
SUBORDINATES = ("hasSubordinates", "numSubordinates")


class Reading:
    def __init__(self, wire: Wire, settings: Settings, dialect: Dialect, *, clock: Clock, book: Book | None = None) -> None:
        self.wire = wire
        self.settings = settings
        self.dialect = dialect
        self.people = People(settings, dialect)
        self.book = book or Book(self.people, dialect.key_attribute, primary_groups=dialect.primary_groups)
        self.groups = Groups(settings, dialect, wire, self.book)
        self._clock = clock
        self._sure = False

    def everybody(self) -> Iterator[SourcePerson]:
        """In one pass. Whoever's manager comes later in the list is told once that is known."""
        at, seen = self._clock(), 0
        with Waiting() as waiting:
            for entry in self.wire.pages(self.people.base, self.people.filter, self.people.attributes):
                seen += 1
                self._require_that_off_is_shown(entry)
                self.book.write(entry, self.people.key(entry))
                manager_dn = self.people.manager_dn(entry)
                manager = self.book.known(manager_dn) if manager_dn else None
                if manager_dn and manager is None:
                    waiting.add(entry)
                else:
                    yield self.people.person(entry, manager=manager, at=at)
            if not seen:
                self.require_that_nobody_is_there()
            self.book.close()
            for entry in waiting.entries():
                yield self.people.person(entry, manager=self.book.find(self.wire, self.people.manager_dn(entry)), at=at)

    def person(self, entry: Entry) -> SourcePerson:
        self._require_that_off_is_shown(entry)
        manager_dn = self.people.manager_dn(entry)
        manager = self.book.find(self.wire, manager_dn) if manager_dn else None
        return self.people.person(entry, manager=manager, at=self._clock())

    def _require_that_off_is_shown(self, entry: Entry) -> None:
        """Once in a reading: what only those have who are off must not be hidden, or all of them would be on. Raises Incomplete.

        A search does not tell one from the other, and a comparison does: it is refused where the right is lacking. Where that of something which is
        shown is refused as well, the account has no right to compare, and nothing is known.
        """
        if self._sure or not self.dialect.on_by_absence:
            return
        self._sure = True
        shown = next(((name, value) for name in self.people.attributes if (value := entry.text(name))), None)
        if shown is None or not self.wire.may_compare(entry.dn, *shown):
            return
        for attribute, value in self.dialect.on_by_absence.items():
            if not self.wire.may_compare(entry.dn, attribute, value):
                raise Incomplete(
                    f"{self.wire.name}: {attribute} of {entry.dn} is not shown to the bind account, so nobody would be off by it: give it the right to read that"
                )

    def entry_of(self, key: SourceKey) -> Entry | None:
        """A person's, by key; None where it is not under the base, or does not match the filter."""
        filter = f"(&{self.dialect.key_filter(key)}{self.people.filter})"
        return next(iter(self.wire.pages(self.people.base, filter, self.people.attributes)), None)

    def require_that_it_shows(self, key: SourceKey) -> None:
        """For an entry that changed and is not among ours: it is really elsewhere, or of another kind. Raises CursorLost where it is not
        shown at all: a right that was lost is no departure, and a full listing will ask for whoever is missing."""
        if not any(True for _ in self.wire.pages(self.context, self.dialect.key_filter(key), ["1.1"])):
            raise CursorLost(f"{self.wire.name}: {key} changed, and is not shown to the bind account")

    def require_that_nobody_is_there(self) -> None:
        """Nobody was found: believed only where there is nothing at all below the base. Otherwise the filter is wrong, or the right
        to read was lost. Raises Incomplete, and NothingThere where the base itself is not shown."""
        base = self.wire.read(self.people.base, SUBORDINATES)
        if base is None:
            raise NothingThere(f"{self.wire.name}: {self.people.base} is not there, or is not shown to the bind account")
        below_it = base.text("hassubordinates").upper() == "TRUE" or bool(base.number("numsubordinates"))
        if below_it or len(self.wire.search(self.people.base, "(objectClass=*)", ["1.1"], limit=2).entries) > 1:
            raise Incomplete(
                f"{self.wire.name}: there are entries below {self.people.base}, but not one person is shown: the filter "
                f"{self.people.filter} matches nobody, or the bind account may not read them"
            )

    def anybody(self) -> bool:
        return bool(self.wire.search(self.people.base, self.people.filter, ["1.1"], limit=1).entries)

    def every_group(self) -> Iterator[SourceGroup]:
        if self.settings.with_groups:
            if not self.book.whole:
                self.book.load(self.wire)
            yield from self.groups.listing(self.context)

    @property
    def context(self) -> str:
        """The naming context in which the groups are: groups within groups may lie outside the base."""
        found = [context for context in self.root().texts("namingcontexts") if below(self.groups.base, context)]
        return max(found, key=len, default=self.groups.base)

    def root(self) -> Entry:
        return self.wire.root(ROOT_ATTRIBUTES)

    def memberships_of(self, entries: Iterable[Entry], context: str) -> Iterator[Memberships]:
        """The groups that these people are in now, as additions: servers do not say that a group changed when an entry comes to a DN
        that the group names already, or into the range of our filter."""
        direct: dict[SourceKey, list[str]] = {}
        groups: dict[str, Entry] = {}
        for entry in entries:
            found = self.groups.holding(entry.dn, context, uids=entry.texts("uid"))
            direct[self.people.key(entry)] = list(found)
            groups.update(found)
        above = self.groups.above_each(groups, context)
        groups.update((name, group) for higher in above.values() for name, group in higher.items())
        ours = {name: self.groups.key(group) for name, group in groups.items() if self.groups.is_ours(group)}
        within: dict[SourceKey, set[SourceKey]] = {}
        for person, names in direct.items():
            for name in {*names, *(higher for held in names for higher in above.get(held, ()))} & ours.keys():
                within.setdefault(ours[name], set()).add(person)
        for key in sorted(within):
            yield Memberships(group=key, added=frozenset(within[key]))

    def groups_by_key(self, keys: Iterable[SourceKey]) -> Iterator[Entry]:
        """Those that are there, ours or not; their members are not read."""
        for key in keys:
            filter = f"(&{self.dialect.key_filter(key)}{self.dialect.group_filter})"
            yield from self.wire.pages(self.context, filter, [self.dialect.key_attribute, "cn"])

    def groups_anew(self, entries: Iterable[Entry], context: str) -> Iterator[Change]:
        """These groups and all that hold them, whole."""
        named = {entry.dn: self.groups.key(entry) for entry in entries}
        for dn in dict.fromkeys([*named, *self.groups.above(named, context)]):
            if (group := self.groups.whole(dn)) is not None:
                yield group
            elif dn in named:
                # It is there, but not for us any more.
                yield Gone(kind=Kind.GROUP, key=named[dn])
