"""A directory as somebody has it who only heard of it: by full listings, or by the changes told since."""

from __future__ import annotations

from connectors.source_contract import Cursor, CursorLost, Gone, Kind, Memberships, SourceGroup, SourceKey, SourcePerson
from connectors.sources.ldap import LDAP
from tests.servers.directories import Held


class Replica:
    def __init__(self, source: LDAP) -> None:
        self.source = source
        self.people: dict[SourceKey, SourcePerson] = {}
        self.groups: dict[SourceKey, SourceGroup] = {}
        self.cursor: Cursor | None = None
        self.full_listings = 0

    def list_all(self) -> Replica:
        self.full_listings += 1
        self.cursor = self.source.cursor_now()
        self.people = {person.key: person for person in self.source.list_people()}
        self.groups = {group.key: group for group in self.source.list_groups()}
        return self

    def follow(self) -> None:
        """By what changed; by a full listing where the source cannot say."""
        assert self.cursor is not None
        try:
            for change in self.source.changes_since(self.cursor):
                self._apply(change)
        except CursorLost:
            self.list_all()
        else:
            self.cursor = self.source.cursor_reached()

    def _apply(self, change: SourcePerson | SourceGroup | Memberships | Gone) -> None:
        match change:
            case SourcePerson():
                self.people[change.key] = change
            case SourceGroup():
                self.groups[change.key] = change
            case Memberships():
                before = self.groups[change.group]
                members = (before.members - change.removed) | change.added
                self.groups[change.group] = SourceGroup(key=before.key, name=before.name, members=members, cycles=before.cycles)
            case Gone(kind=Kind.PERSON):
                self.people.pop(change.key, None)
            case Gone():
                self.groups.pop(change.key, None)

    def holds(self) -> Held:
        """By the part of the user name before any `@`. Members who are no longer there are in no group."""
        names = {key: person.user_name.partition("@")[0] for key, person in self.people.items()}
        return Held(
            people={names[key]: person.active for key, person in self.people.items()},
            groups={group.name: frozenset(names[key] for key in group.members if key in names) for group in self.groups.values()},
        )
