"""What is here of a source's entries: what is remembered of them, whom their records let in, and who is in its groups."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.directory.tables import INSIDE, Membership, Person, Record
from app.intake.pull_drafts import stands_on
from app.lifecycle.pulled_entries import EntryKind
from app.lifecycle.pulled_tables import PulledEntry

Item = TypeVar("Item")
AT_ONCE: Final = 500


class Known(NamedTuple):
    """What is remembered of one entry."""

    key: str
    subject_id: str | None
    digest: bytes | None
    missing_since: datetime | None
    kept: str | None


@dataclass(frozen=True, kw_only=True)
class OnHere:
    """Whether a record lets its person in, as far as this source is concerned, until when, and whether anybody else's word keeps them
    out anyway. `over` where nothing but its end is in the way, which has come."""

    on: bool
    over: bool
    ended: bool
    counts: bool
    ends_at: datetime | None


def batches(items: Iterable[Item], most: int = AT_ONCE) -> Iterator[list[Item]]:
    """So many at a time, in their order."""
    some: list[Item] = []
    for item in items:
        some.append(item)
        if len(some) == most:
            yield some
            some = []
    if some:
        yield some


KNOWN: Final = select(PulledEntry.key, PulledEntry.subject_id, PulledEntry.digest, PulledEntry.missing_since, PulledEntry.kept)


def of_kind(organization_id: str, source_id: str, kind: EntryKind) -> tuple[Any, ...]:
    """The rows of one kind of a source."""
    return (PulledEntry.organization_id == organization_id, PulledEntry.source_id == source_id, PulledEntry.kind == kind)


def known_among(session: Session, organization_id: str, source_id: str, kind: EntryKind, keys: Collection[str]) -> dict[str, Known]:
    """What is remembered of these entries."""
    found: dict[str, Known] = {}
    for some in batches(sorted(keys)):
        for row in session.execute(KNOWN.where(*of_kind(organization_id, source_id, kind), PulledEntry.key.in_(some))):
            found[row.key] = Known(*row)
    return found


def groups_lost(session: Session, organization_id: str, source_id: str, keys: Collection[str]) -> set[str]:
    """The groups of whoever comes again: nobody but their own end took them out, so that these differ though the source says the same."""
    found: set[str] = set()
    for some in batches(sorted(keys)):
        query = (
            select(Membership.group_id)
            .join(Record, (Record.organization_id == Membership.organization_id) & (Record.id == Membership.record_id))
            .join(PulledEntry, (PulledEntry.organization_id == Record.organization_id) & (PulledEntry.subject_id == Record.id))
            .where(*of_kind(organization_id, source_id, EntryKind.GONE_PERSON), PulledEntry.key.in_(some), Membership.journal_id == Record.journal_id)
            .distinct()
        )
        found.update(session.scalars(query))
    return found


def records_here(session: Session, organization_id: str, ids: Sequence[str], *, at: datetime) -> dict[str, OnHere]:
    """What these records let their people do now."""
    found: dict[str, OnHere] = {}
    for some in batches(sorted(ids)):
        query = (
            select(Record.id, Record.active, Record.starts_at, Record.ends_at, Record.ended_at, Person.standing)
            .join(Person, (Person.organization_id == Record.organization_id) & (Person.id == Record.person_id))
            .where(Record.organization_id == organization_id, Record.id.in_(some))
        )
        for record_id, active, starts_at, ends_at, ended_at, standing in session.execute(query):
            stands = active and ended_at is None
            found[record_id] = OnHere(
                on=stands and stands_on(active, starts_at, ends_at, at=at), over=stands and ends_at is not None and ends_at <= at,
                ended=ended_at is not None, counts=standing in INSIDE, ends_at=ends_at,
            )  # fmt: skip
    return found


def members_here(
    session: Session, organization_id: str, source_id: str, group_id: str, *, among: Collection[str] | None = None
) -> dict[str, str]:
    """Who is in a group now: records by the source's key. Costs by the size of the group, or of those it is asked about."""
    query = (
        select(PulledEntry.key, Membership.record_id)
        .join(
            PulledEntry,
            (PulledEntry.organization_id == Membership.organization_id) & (PulledEntry.subject_id == Membership.record_id)
            & (PulledEntry.source_id == source_id) & (PulledEntry.kind == EntryKind.PERSON),
        )
        .where(Membership.organization_id == organization_id, Membership.group_id == group_id, Membership.ended_at.is_(None))
    )  # fmt: skip
    if among is None:
        return {key: record_id for key, record_id in session.execute(query)}
    found: dict[str, str] = {}
    for some in batches(sorted(among)):
        found.update({key: record_id for key, record_id in session.execute(query.where(PulledEntry.key.in_(some)))})
    return found


def members_of(session: Session, organization_id: str, group_id: str) -> int:
    """How many members a group has."""
    query = select(func.count()).select_from(Membership)
    return (
        session.scalar(
            query.where(Membership.organization_id == organization_id, Membership.group_id == group_id, Membership.ended_at.is_(None))
        )
        or 0
    )
