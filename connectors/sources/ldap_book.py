"""Whose a distinguished name is. Groups and managers name people by DN, which changes; we name them by key, which does not."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from connectors.source_contract import SourceKey
from connectors.sources.ldap_filters import below, both, either, equals, normal
from connectors.sources.ldap_names import Names
from connectors.sources.ldap_people import People
from connectors.sources.ldap_wire import Entry, Wire

ASKED_ONE_BY_ONE = 200
ASKED_AT_ONCE = 200
# From about here on reading everybody is cheaper.
MOST_ASKED_FOR = 4000


class Book:
    """DN to key. What is not written down yet is asked for by name, until reading everybody is cheaper."""

    def __init__(self, people: People, key_attribute: str, *, primary_groups: bool) -> None:
        self._people = people
        self._wanted = (key_attribute, "primaryGroupID") if primary_groups else (key_attribute,)
        self._names = Names[SourceKey]()
        # What the server said of DNs that it was asked for.
        self._answers: dict[str, SourceKey | None] = {}
        self._by_primary_group: dict[int, set[SourceKey]] = {}
        self._by_uid: dict[str, set[SourceKey]] | None = None
        self._asked = 0
        # Everybody was written down at some moment; and who is not in it now is surely nobody.
        self.whole = False
        self.complete = False

    def write(self, entry: Entry, key: SourceKey) -> None:
        self._names.write(entry.dn, key)
        if (group := entry.number("primarygroupid")) is not None:
            self._by_primary_group.setdefault(group, set()).add(key)

    def known(self, dn: str) -> SourceKey | None:
        """Without asking anybody."""
        return self._names.get(dn)

    def at(self, value: bytes) -> SourceKey | None:
        """`known`, for a DN as it came over the wire."""
        return self._names.at(value)

    def find(self, wire: Wire, dn: str) -> SourceKey | None:
        """None for a DN that is nobody of ours: another kind of entry, one elsewhere, or one that is gone."""
        if (found := self.known(dn)) is not None:
            return found
        if dn in self._answers:
            return self._answers[dn]
        if not below(dn, self._people.base) or (self.complete and not self._names.may_hold(dn)):
            return None
        if not self.complete and self._asked >= ASKED_ONE_BY_ONE:
            self.load(wire)
            return self.find(wire, dn)
        self._asked += 1
        entry = wire.named(dn, self._wanted, self._people.filter)
        self._answers[dn] = key = self._people.key(entry) if entry is not None else None
        return key

    def prepare(self, wire: Wire, dns: Iterable[str]) -> None:
        """Asks for many at once, by the first part of their names, which servers keep an index of. Whom it does not find this way is
        asked for one by one later."""
        unknown = (dn for dn in dns if self.known(dn) is None and dn not in self._answers and below(dn, self._people.base))
        wanted = list(dict.fromkeys(map(normal, unknown)))
        if len(wanted) > MOST_ASKED_FOR:
            self.load(wire)
            return
        parts = [name.partition(",")[0].partition("=") for name in wanted if not set("\\+") & set(name.partition(",")[0])]
        for start in range(0, len(parts), ASKED_AT_ONCE):
            named = [equals(attribute, value) for attribute, _, value in parts[start : start + ASKED_AT_ONCE]]
            for entry in wire.pages(self._people.base, both(self._people.filter, either(*named)), self._wanted):
                self.write(entry, self._people.key(entry))

    def close(self) -> None:
        """Everybody has been written down."""
        self.whole = self.complete = True

    def reopen(self) -> None:
        """Some time has passed: whoever is not in it may have come, or have another name."""
        self.complete = False
        self._answers.clear()

    def load(self, wire: Wire) -> None:
        """Everybody, in one go: about two seconds for 100,000."""
        if self.complete:
            return
        self._names = Names()
        self._by_primary_group.clear()
        for entry in wire.pages(self._people.base, self._people.filter, self._wanted):
            self.write(entry, self._people.key(entry))
        self.close()

    def with_primary_group(self, wire: Wire, number: int) -> frozenset[SourceKey]:
        """Those whose primary group this is. Active Directory names them in no group."""
        if not self.whole:
            filter = both(self._people.filter, equals("primaryGroupID", str(number)))
            return frozenset(self._people.key(entry) for entry in wire.pages(self._people.base, filter, self._wanted))
        return frozenset(self._by_primary_group.get(number, ()))

    def by_uid(self, wire: Wire, uid: str) -> Collection[SourceKey]:
        """For `memberUid` (RFC 2307), which names people by their uid, and so everybody who has it. Case counts, as it does on the machines
        that use it."""
        if self._by_uid is None:
            self._by_uid = {}
            for entry in wire.pages(self._people.base, self._people.filter, ("uid", self._wanted[0])):
                for name in entry.texts("uid"):
                    self._by_uid.setdefault(name, set()).add(self._people.key(entry))
        return self._by_uid.get(uid, ())
