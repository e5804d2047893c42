"""What a source of people promises: a directory that is pulled. Standard library only, like the contract of targets.

A source translates between one foreign system and these types; it decides nothing and remembers nothing. Its errors are those
of `connectors.contract`: an error means *unknown*, never *gone*.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NewType, Protocol, runtime_checkable

from connectors.contract import ConnectorError, Misconfigured, Secret

SourceKey = NewType("SourceKey", str)
"""What a source calls one of its entries for ever: entryUUID, nsUniqueId, objectGUID, Okta's or Entra's id. Never a DN and never a name."""
Cursor = NewType("Cursor", str)
"""Where a source's list of changes stands. Opaque; good for that source alone, and perhaps no longer tomorrow."""


class CursorLost(ConnectorError):
    """The source no longer knows what changed since this cursor: only a full listing says what is there."""


class Incomplete(ConnectorError):
    """A listing cannot be finished, or what came is surely not everything. Whoever reads it removes nobody."""


class NothingThere(Misconfigured):
    """What the source is read from is not there: its settings are wrong, or, where they were right before, all of it went."""


@dataclass(frozen=True, kw_only=True)
class SourcePerson:
    """One person as the source has them now. `document` is in SCIM's shape (RFC 7643), the enterprise extension included,
    a manager named by `manager` instead; `active` false is *off*, with the source's own word for it in `state`.

    `starts_at` and `ends_at` are ISO 8601 instants with zone where the source knows them (accountExpires, an Okta date). `ended` where
    it is *off* for nothing but that `ends_at` has come: until then the source had them on, without a word in `state`.
    """

    key: SourceKey
    user_name: str
    active: bool
    document: Mapping[str, Any]
    external_id: str | None = None
    manager: SourceKey | None = None
    state: str = ""
    starts_at: str | None = None
    ends_at: str | None = None
    ended: bool = False


@dataclass(frozen=True, kw_only=True)
class SourceGroup:
    """A group with everybody in it, groups within it taken apart already. `cycles` names groups that hold each other, and
    `ignored` counts members that are nobody of this source: machines, contacts, people of another directory."""

    key: SourceKey
    name: str
    members: frozenset[SourceKey]
    external_id: str | None = None
    cycles: tuple[str, ...] = ()
    ignored: int = 0


class Kind(StrEnum):
    PERSON = "person"
    GROUP = "group"


@dataclass(frozen=True, kw_only=True)
class Gone:
    """The source says itself that this entry is no longer there. Somebody merely absent from an answer is not gone."""

    kind: Kind
    key: SourceKey


@dataclass(frozen=True, kw_only=True)
class Memberships:
    """A change of a group of which the source told only what changed."""

    group: SourceKey
    added: frozenset[SourceKey] = frozenset()
    removed: frozenset[SourceKey] = frozenset()


Change = SourcePerson | SourceGroup | Memberships | Gone


@dataclass(frozen=True, kw_only=True)
class Step:
    """One part of a check with its own outcome: connect, bind, search, count. `detail` is a sentence without secrets."""

    name: str
    good: bool
    detail: str
    milliseconds: int


@dataclass(frozen=True, kw_only=True)
class SourceCheck:
    """Every step up to the first that failed, in order; `people` and `groups` where counting was reached."""

    steps: tuple[Step, ...]
    people: int | None = None
    groups: int | None = None
    cost: str = ""

    @property
    def good(self) -> bool:
        return all(step.good for step in self.steps)


class Source(Protocol):
    """A directory that can be read whole."""

    @property
    def name(self) -> str: ...

    def check(self) -> SourceCheck:
        """Try every step by itself. Never raises for what the other side does."""

    def list_people(self) -> Iterator[SourcePerson]:
        """Everybody. Ending normally *is* the statement "that was everyone". Raises ConnectorError, Incomplete among them, where it cannot finish."""

    def list_groups(self) -> Iterator[SourceGroup]:
        """Every group, under the same promise."""

    def find_person(self, key: SourceKey) -> SourcePerson | None:
        """One person by key; None is the source's own *not there*. Raises ConnectorError where it cannot say."""


@runtime_checkable
class TellsChanges(Protocol):
    """A source that tells what changed."""

    def cursor_now(self) -> Cursor:
        """Where the list of changes stands, to be asked *before* a full listing: what changes meanwhile is then told again."""

    def changes_since(self, cursor: Cursor) -> Iterator[Change]:
        """What changed since, in order; each may be told more than once. Raises CursorLost, ConnectorError.

        `cursor_reached` is good once this has ended normally.
        """

    def cursor_reached(self) -> Cursor:
        """The cursor behind the last change that `changes_since` told."""


@runtime_checkable
class KnowsColumns(Protocol):
    """A source whose lists have columns, of which its cursors tell."""

    def expect(self, cursor: Cursor) -> None:
        """From here on a list is Incomplete that lacks what everybody in it had at this cursor. Speaks to nobody."""


@dataclass(frozen=True, kw_only=True)
class SourceSettings:
    """What a source is opened with. `options` are its own, such as base, filter, page size, attribute names."""

    name: str
    url: str
    secret: Secret
    options: Mapping[str, str] = field(default_factory=dict)
