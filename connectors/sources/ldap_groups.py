"""Groups with everybody in them: groups within groups taken apart, cycles told, members by name, by uid and by primary group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from connectors.source_contract import Incomplete, SourceGroup, SourceKey
from connectors.sources.ldap_book import Book
from connectors.sources.ldap_dialects import Dialect
from connectors.sources.ldap_filters import below, both, either, equals
from connectors.sources.ldap_names import Names
from connectors.sources.ldap_settings import Settings
from connectors.sources.ldap_wire import Entry, Wire, readable

OF_UIDS = "memberuid"
RANGE = ";range="
ASKED_AT_ONCE = 100


@dataclass(frozen=True, kw_only=True)
class Direct:
    """One group as it is written: whom it names itself, which groups by their DNs as they came, and how many that are neither."""

    dn: str
    key: SourceKey
    name: str
    people: frozenset[SourceKey]
    groups: frozenset[str]
    foreign: int = 0


@dataclass(frozen=True, kw_only=True)
class Nesting:
    holding: frozenset[SourceKey]
    held: frozenset[SourceKey]


class Groups:
    """Reads groups over one wire, for one run: what it has read it does not read again."""

    def __init__(self, settings: Settings, dialect: Dialect, wire: Wire, book: Book) -> None:
        self.base = settings.group_base
        self.filter = settings.group_filter or dialect.group_filter
        self._dialect = dialect
        self._wire = wire
        self._book = book
        self._names = [dialect.key_attribute, "cn"]
        self.attributes = (*self._names, *dialect.member_attributes, *(["objectsid"] if dialect.primary_groups else []))
        # By DN as a member or the server itself writes it; spelled otherwise it is read once more.
        self._read: dict[str, Direct | None] = {}
        # Either every group that there is, or those that were asked for one by one.
        self._all_groups: Names[SourceKey] | None = None
        self._asked: dict[str, SourceKey | None] = {}

    def key(self, entry: Entry) -> SourceKey:
        found = entry.values.get(self._dialect.key_attribute)
        if not found:
            raise Incomplete(f"{self._wire.name}: {entry.dn} shows no {self._dialect.key_attribute}")
        return self._dialect.key_of(found[0])

    def listing(self, context: str) -> Iterator[SourceGroup]:
        """Every group once. Those without groups in them are told as they come; only what holds groups is kept until the end."""
        self._all_groups = Names(self._every_name(context))
        holding = []
        for entry in self._wire.pages(self.base, self.filter, self.attributes):
            direct = self.direct(entry)
            if not direct.groups:
                yield SourceGroup(key=direct.key, name=direct.name, members=direct.people, ignored=direct.foreign)
            else:
                self._read[direct.dn] = direct
                holding.append(direct)
        for direct in holding:
            yield self.flattened(direct)

    def whole(self, dn: str) -> SourceGroup | None:
        """One group as it is now, where it is one of ours."""
        if not below(dn, self.base):
            return None
        entry = self._wire.read(dn, self.attributes, self.filter)
        return None if entry is None else self.flattened(self.direct(entry))

    def direct(self, entry: Entry) -> Direct:
        people: set[SourceKey] = set()
        groups: set[str] = set()
        foreign = 0
        for attribute in self._dialect.member_attributes:
            values: Iterable[bytes] = self._values(entry, attribute)
            if attribute != OF_UIDS and not self._book.whole:
                values = list(values)
                self._book.prepare(self._wire, map(readable, values))
            for value in values:
                if attribute == OF_UIDS:
                    named = self._book.by_uid(self._wire, readable(value))
                    people.update(named)
                    foreign += not named
                    continue
                if (key := self._book.at(value)) is None:
                    text = readable(value)
                    if self._group_at(text) is not None:
                        groups.add(text)
                        continue
                    key = self._book.find(self._wire, text)
                if key is None:
                    foreign += 1
                else:
                    people.add(key)
        if self._dialect.primary_groups and (sid := entry.values.get("objectsid")):
            # The last part of a group's SID is what people's primaryGroupID says (MS-DTYP §2.4.2).
            people |= self._book.with_primary_group(self._wire, int.from_bytes(sid[0][-4:], "little"))
        return Direct(
            dn=entry.dn,
            key=self.key(entry),
            name=entry.text("cn") or entry.dn,
            people=frozenset(people),
            groups=frozenset(groups),
            foreign=foreign,
        )

    def flattened(self, top: Direct) -> SourceGroup:
        self._read[top.dn] = top
        reached = self._reached(top)
        circle = [group.name for group in reached.values() if top.key in self._reached(group)] if top.key in reached else []
        within = {**reached, top.key: top}.values()
        return SourceGroup(
            key=top.key,
            name=top.name,
            members=frozenset().union(*(group.people for group in within)),
            cycles=tuple(sorted(circle)),
            ignored=sum(group.foreign for group in within),
        )

    def _reached(self, top: Direct) -> dict[SourceKey, Direct]:
        """Every group within it, at any depth; itself only where it is in a circle."""
        found: dict[SourceKey, Direct] = {}
        ahead = list(top.groups)
        while ahead:
            group = self._within(ahead.pop())
            if group is not None and group.key not in found:
                found[group.key] = group
                ahead.extend(group.groups)
        return found

    def _within(self, dn: str) -> Direct | None:
        if dn not in self._read:
            # Also one that the filter leaves out, or that lies elsewhere: whoever is in it is in the group that holds it.
            entry = self._wire.named(dn, self.attributes, self._dialect.group_filter)
            self._read[dn] = None if entry is None else self.direct(entry)
        return self._read[dn]

    def _group_at(self, dn: str) -> SourceKey | None:
        """Which group a member is; None where it is none."""
        if self._all_groups is not None:
            if (known := self._all_groups.get(dn)) is not None:
                return known
            if not self._all_groups.may_hold(dn):
                return None
        if dn not in self._asked:
            entry = self._wire.named(dn, [self._dialect.key_attribute], self._dialect.group_filter)
            self._asked[dn] = None if entry is None else self.key(entry)
        return self._asked[dn]

    def holding(self, dn: str, context: str, *, uids: Iterable[str] = ()) -> dict[str, Entry]:
        """The groups that name this DN or one of these uids themselves, by DN; their members are not read."""
        named = self._naming([dn])
        named += [equals(OF_UIDS, uid) for uid in uids if OF_UIDS in self._dialect.member_attributes]
        found = self._wire.pages(context, both(self._dialect.group_filter, either(*named)), self._names)
        return {entry.dn: entry for entry in found}

    def above(self, dns: Iterable[str], context: str) -> dict[str, Entry]:
        """Every group in which one of these is, at any depth."""
        found: dict[str, Entry] = {}
        ahead = list(dns)
        while ahead:
            for name, entry in self.holding(ahead.pop(), context).items():
                if name not in found:
                    found[name] = entry
                    ahead.append(entry.dn)
        return found

    def above_each(self, groups: Mapping[str, Entry], context: str) -> dict[str, dict[str, Entry]]:
        """For each of these that is in a group at all: every group in which it is, at any depth, by DN."""
        found = {}
        names = list(groups)
        for start in range(0, len(names), ASKED_AT_ONCE):
            some = {name: groups[name].dn for name in names[start : start + ASKED_AT_ONCE]}
            # Most groups are in none, so that is asked for many at once.
            if self._wire.search(context, both(self._dialect.group_filter, either(*self._naming(some.values()))), ["1.1"], limit=1).entries:
                found.update({name: higher for name, dn in some.items() if (higher := self.above([dn], context))})
        return found

    def _naming(self, dns: Iterable[str]) -> list[str]:
        return [equals(name, dn) for dn in dns for name in self._dialect.member_attributes if name != OF_UIDS]

    def nesting(self, context: str) -> Nesting:
        """Which groups hold groups now, and which are held. Costs by the number of groups, not of their members."""
        keys = self._every_name(context)
        self._all_groups = Names(keys)
        dns, holders = list(keys), {}
        for start in range(0, len(dns), ASKED_AT_ONCE):
            some = dns[start : start + ASKED_AT_ONCE]
            for entry in self._wire.pages(context, both(self._dialect.group_filter, either(*self._naming(some))), self.attributes):
                holders[self.key(entry)] = entry
        held: set[SourceKey] = set()
        for entry in holders.values():
            for attribute in self._dialect.member_attributes:
                members = (self._group_at(readable(value)) for value in self._values(entry, attribute))
                held.update(key for key in members if key is not None)
        return Nesting(holding=frozenset(holders), held=frozenset(held))

    def _every_name(self, context: str) -> dict[str, SourceKey]:
        found = self._wire.pages(context, self._dialect.group_filter, [self._dialect.key_attribute])
        return {entry.dn: self.key(entry) for entry in found}

    def is_ours(self, entry: Entry) -> bool:
        return below(entry.dn, self.base) and (
            self.filter == self._dialect.group_filter or self._wire.read(entry.dn, ["1.1"], self.filter) is not None
        )

    def _values(self, entry: Entry, attribute: str) -> Iterator[bytes]:
        """All values, also where the server hands them out by the piece (MS-ADTS §3.1.1.3.1.3.3, range retrieval)."""
        yield from entry.values.get(attribute, ())
        expected = 0
        piece = _piece(entry, attribute)
        while piece is not None:
            name, low, high = piece
            if low != expected:
                raise Incomplete(f"{self._wire.name}: {entry.dn}: members from {expected} were asked for, from {low} came")
            yield from entry.values[name]
            if high is None:
                return
            expected = high + 1
            more = self._wire.read(entry.dn, [f"{attribute}{RANGE}{expected}-*"])
            piece = _piece(more, attribute) if more is not None else None
            if more is None or piece is None:
                raise Incomplete(f"{self._wire.name}: {entry.dn}: members from {expected} on did not come")
            entry = more


def _piece(entry: Entry, attribute: str) -> tuple[str, int, int | None] | None:
    for name in entry.values:
        if name.startswith(attribute + RANGE):
            low, _, high = name.removeprefix(attribute + RANGE).partition("-")
            if low.isdigit() and (high == "*" or high.isdigit()):
                return name, int(low), None if high == "*" else int(high)
    return None
