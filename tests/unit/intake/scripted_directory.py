"""A directory in memory that is pulled, keeping a source's promises: listings, changes with cursors that can be lost, bad days."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app.directory.vocabulary import ENTERPRISE_URN
from connectors.contract import ConnectorError
from connectors.source_contract import (
    Change,
    Cursor,
    CursorLost,
    Gone,
    Incomplete,
    Kind,
    SourceCheck,
    SourceGroup,
    SourceKey,
    SourcePerson,
)


def person(key: str, user_name: str | None = None, *, number: str | None = None, **more: Any) -> SourcePerson:
    """Somebody with this key, by default called after it."""
    name = user_name or f"{key}@x.example"
    work: dict[str, Any] = {} if number is None else {"employeeNumber": number}
    work |= more.pop("work", {})
    document: dict[str, Any] = {"displayName": name.split("@", maxsplit=1)[0].title(), "emails": [{"value": name, "type": "work", "primary": True}]}
    document |= more.pop("document", {})
    if work:
        document[ENTERPRISE_URN] = work
    manager = more.pop("manager", None)
    return SourcePerson(
        key=SourceKey(key), user_name=name, active=more.pop("active", True), document=document,
        manager=None if manager is None else SourceKey(manager), **more,
    )  # fmt: skip


def group(key: str, *members: str, name: str | None = None, cycles: tuple[str, ...] = ()) -> SourceGroup:
    return SourceGroup(key=SourceKey(key), name=name or key.title(), members=frozenset(SourceKey(one) for one in members), cycles=cycles)


@dataclass
class Directory:
    """What is in it is put and taken by `put` and `drop`; each of that is told once by `changes_since` the cursor before it.

    `hidden` are there when asked for by key, but not listed; `unseen` are neither listed nor answered for. `raises` is what
    the next listing ends with, after `after` people.
    """

    name: str = "corp"
    people: dict[str, SourcePerson] = field(default_factory=dict)
    groups: dict[str, SourceGroup] = field(default_factory=dict)
    told: list[Change] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)
    unseen: set[str] = field(default_factory=set)
    raises: ConnectorError | None = None
    after: int = 0
    knows_since: int = 0
    asked: list[str] = field(default_factory=list)
    listings: int = 0
    answers: Mapping[str, ConnectorError] = field(default_factory=dict)
    while_listing: Callable[[], None] | None = None
    _reached: Cursor | None = None

    # What happens in it

    def put(self, *things: SourcePerson | SourceGroup) -> None:
        for thing in things:
            kept: Any = self.people if isinstance(thing, SourcePerson) else self.groups
            kept[thing.key] = thing
            self.told.append(thing)

    def alter(self, key: str, **changes: Any) -> None:
        self.put(replace(self.people[key], **changes))

    def drop(self, *keys: str) -> None:
        for key in keys:
            kind = Kind.PERSON if key in self.people else Kind.GROUP
            self.people.pop(key, None)
            self.groups.pop(key, None)
            self.told.append(Gone(kind=kind, key=SourceKey(key)))

    def tell(self, *changes: Change) -> None:
        self.told += changes

    # The promises

    def check(self) -> SourceCheck:
        return SourceCheck(steps=(), people=len(self.people), groups=len(self.groups))

    def list_people(self) -> Iterator[SourcePerson]:
        self.listings += 1
        if self.while_listing is not None:
            self.while_listing()
        for number, one in enumerate([one for key, one in self.people.items() if key not in self.hidden | self.unseen]):
            if self.raises is not None and number >= self.after:
                break
            yield one
        if self.raises is not None:
            raise self.raises

    def list_groups(self) -> Iterator[SourceGroup]:
        yield from [one for key, one in self.groups.items() if key not in self.unseen]

    def find_person(self, key: SourceKey) -> SourcePerson | None:
        self.asked.append(key)
        if key in self.answers:
            raise self.answers[key]
        if not set(self.people) - self.unseen:
            raise Incomplete(f"{self.name}: nobody at all is shown")
        return None if key in self.unseen else self.people.get(key)

    def cursor_now(self) -> Cursor:
        return Cursor(str(len(self.told)))

    def changes_since(self, cursor: Cursor) -> Iterator[Change]:
        self._reached = None
        if int(cursor) < self.knows_since:
            raise CursorLost(f"{self.name}: nothing is known of what was before {self.knows_since}")
        end = len(self.told)
        yield from self.told[int(cursor) : end]
        if self.raises is not None:
            raise self.raises
        self._reached = Cursor(str(end))

    def cursor_reached(self) -> Cursor:
        if self._reached is None:
            raise CursorLost(f"{self.name}: no list of changes was read to its end")
        return self._reached


class Listing:
    """The same directory, where it can only be listed."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.name = directory.name
        self.check = directory.check
        self.list_people = directory.list_people
        self.list_groups = directory.list_groups
        self.find_person = directory.find_person
