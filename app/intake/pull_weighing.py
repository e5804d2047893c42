"""The brake on listings: what a pull would take is counted, with what others took lately, and held where it is too much."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from app.clock import parse_instant
from app.database import new_id, reading
from app.directory.settings import parse_pull_brake, value_of
from app.directory.tables import INSIDE, Group, Membership, Person, Record, Source
from app.intake.pull_asking import NOT_THERE, UNASKED, WAITING
from app.intake.pull_drafts import stands_on
from app.intake.pull_here import batches, records_here
from app.intake.pull_lately import LATELY, Lately, taken_lately
from app.intake.pull_reading import Reading
from app.intake.pull_staging import Staging
from app.lifecycle import brake
from app.lifecycle.pulled_entries import membership_key
from app.lifecycle.tables import Held, HeldLine, HeldState
from app.reconcile.ceiling import Ceiling

KIND: Final = "pull"
RECORD, MEMBER, GROUP = "record", "member", "group"
OFF, GONE, OUT = "off", "gone", "out"
ENDS: Final = "ends "
"""What a record becomes that is to end: this and the instant."""


@dataclass(frozen=True, kw_only=True)
class HeldPull:
    """What waits for a decision. A rehearsal has no digest: nothing was written that could be decided on."""

    digest: str | None
    reason: str
    would_lose_access: int
    held_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What may not be taken: everything, for `reason`, or what an open decision is about already."""

    reason: str | None
    waiting: frozenset[tuple[str, str]]
    would_lose_access: int

    def holds(self, kind: str, subject_id: str) -> bool:
        return self.reason is not None or (kind, subject_id) in self.waiting


class Line(NamedTuple):
    """One thing that would be taken, in the version in which it was seen."""

    kind: str
    subject_id: str
    version: str
    becomes: str
    person_id: str | None


def end_in(becomes: str) -> datetime | None:
    """When a record is to end, where that is what it would become."""
    return parse_instant(becomes.removeprefix(ENDS)) if becomes.startswith(ENDS) else None


def people_on(session: Session, source: Source, *, at: datetime) -> int:
    """Whom this source has on and nobody else keeps out: of these pulls may take a share."""
    query = (
        select(func.count())
        .select_from(Record)
        .join(Person, (Person.organization_id == Record.organization_id) & (Person.id == Record.person_id))
        .where(
            Record.organization_id == source.organization_id, Record.source_id == source.id, Record.ended_at.is_(None), Record.active,
            Record.starts_at.is_(None) | (Record.starts_at <= at), Record.ends_at.is_(None) | (Record.ends_at > at), Person.standing.in_(INSIDE),
        )
    )  # fmt: skip
    return session.scalar(query) or 0


def memberships(session: Session, source: Source) -> int:
    """All memberships in this source's groups."""
    query = (
        select(func.count())
        .select_from(Membership)
        .join(Group, (Group.organization_id == Membership.organization_id) & (Group.id == Membership.group_id))
        .where(Group.organization_id == source.organization_id, Group.source_id == source.id, Membership.ended_at.is_(None))
    )
    return session.scalar(query) or 0


def ceiling_of(session: Session, organization_id: str) -> Ceiling | None:
    """What the organisation lets pulls take; None for as much as there is."""
    said = parse_pull_brake(value_of(session, organization_id, "pull_brake"))
    return None if said is None else Ceiling(share=said.share, from_count=said.from_count, count=said.count)


def most_people(source: Source, staging: Staging, *, at: datetime) -> int | None:
    """How many people a pull of this source that found this may cost their access now, after what its pulls took lately."""
    with reading() as session:
        ceiling = ceiling_of(session, source.organization_id)
        if ceiling is None:
            return None
        out, ahead = taken_lately(session, source, counted=staging.counted_among, at=at)
        return max(0, ceiling.allowed(people_on(session, source, at=at) + out) - out - ahead)


def weigh(found: Reading, source: Source, *, at: datetime) -> Verdict:
    """Whether what was found may be taken. Only reads."""
    staging = found.staging
    lost = staging.count("off that counts") + sum(one.counts for one in staging.absent("person") if one.answer in (NOT_THERE, WAITING, UNASKED))
    with reading() as session:
        outs = sum(_who_stays_on(session, source, staging, removed.values(), at=at) for _, removed in staging.removals())
        outs += sum(one.counts for one in staging.absent("group"))
        no_group_left = found.no_group_left and next(staging.absent("group"), None) is not None
        reason = _too_much(session, source, staging, lost=lost, outs=outs, no_group_left=no_group_left, at=at)
        held = open_held(session, source, unreadable=False)
        waiting = frozenset() if held is None else frozenset((line.subject_kind, line.subject_id) for line in brake.lines_of(session, held))
    return Verdict(reason=reason, waiting=waiting, would_lose_access=lost)


def _too_much(session: Session, source: Source, staging: Staging, *, lost: int, outs: int, no_group_left: bool, at: datetime) -> str | None:
    ceiling = ceiling_of(session, source.organization_id)
    if ceiling is None:
        return None
    said = f"pull_brake = {value_of(session, source.organization_id, 'pull_brake')} allows"
    free = ceiling.allowed(0)
    out, ahead = taken_lately(session, source, counted=staging.counted_among, at=at) if lost else Lately(0, 0)
    lately = out + ahead
    if lost + lately > free and lost + lately > (allowed := ceiling.allowed((on := people_on(session, source, at=at)) + out)):
        share = _share(lost + lately, on + out)
        before = f", after {lately} in the last {LATELY // timedelta(hours=1)} hours" if lately else ""
        return f"{source.name}: {lost} of {on} people would lose access{before} ({share}{' together' if lately else ''}); {said} {allowed}"
    if no_group_left:
        return f"{source.name} listed no group at all, and {outs} memberships would end with the groups that it had"
    if outs > free and outs > (allowed := ceiling.allowed(of := memberships(session, source))):
        return f"{source.name}: {outs} of {of} memberships would end ({_share(outs, of)}); {said} {allowed}"
    return None


def _who_stays_on(session: Session, source: Source, staging: Staging, records: Iterable[str], *, at: datetime) -> int:
    """How many of these lose a membership and nothing else: whoever is off, or goes off now, is counted as a person."""
    number = 0
    for some in batches(records):
        leaving = staging.leaving_among(some)
        here = records_here(session, source.organization_id, some, at=at)
        number += sum(1 for record, found in here.items() if found.on and found.counts and record not in leaving)
    return number


def _share(part: int, of: int) -> str:
    return f"{part / of:.0%}" if of else "100%"


# What is held


def open_held(session: Session, source: Source, *, unreadable: bool, lock: bool = False) -> Held | None:
    """What waits of this source: lines that would take something, or that it could not be read."""
    query = select(Held).where(
        Held.organization_id == source.organization_id, Held.kind == KIND, Held.source_id == source.id, Held.state == HeldState.OPEN
    )
    rows = session.scalars(query.with_for_update().execution_options(populate_existing=True) if lock else query)
    return next((held for held in rows if is_unreadable(held) == unreadable), None)


def is_unreadable(held: Held) -> bool:
    """Whether it says that the source could not be read, so that there is nothing to approve."""
    return bool((held.payload or {}).get("unreadable"))


def held_by_listing(session: Session, source: Source) -> bool:
    """Whether something waits that only another whole listing can bring up to date."""
    unreadable = open_held(session, source, unreadable=True)
    lines = open_held(session, source, unreadable=False)
    return unreadable is not None or (lines is not None and bool((lines.payload or {}).get("whole")))


def foreseen(session: Session, source: Source, staging: Staging, verdict: Verdict, *, at: datetime) -> HeldPull | None:
    """What `refresh` would hold. Only reads, so there is no digest."""
    lines = list(lines_now(session, source, staging, verdict, at=at))
    if not lines:
        return None
    held = open_held(session, source, unreadable=False)
    reason = verdict.reason or ("" if held is None else held.reason)
    return HeldPull(digest=None, reason=reason, would_lose_access=_who_would_lose(session, source, lines, at=at))


def hold_unreadable(session: Session, source: Source, reason: str, *, at: datetime) -> Held:
    """The listing cannot be right: nothing of it was applied, and somebody has to look. There is one such for each source."""
    held = open_held(session, source, unreadable=True, lock=True)
    people = people_on(session, source, at=at)
    if held is None:
        held = Held(organization_id=source.organization_id, id=new_id(), kind=KIND, source_id=source.id, state=HeldState.OPEN, created_at=at)
        session.add(held)
    held.reason, held.payload = reason, {"unreadable": True, "people": people}
    session.flush()
    return held


def could_be_read(session: Session, source: Source, *, at: datetime) -> None:
    """It could be read whole again."""
    held = open_held(session, source, unreadable=True, lock=True)
    if held is not None:
        held.state, held.decided_at, held.decided_by = HeldState.WITHDRAWN, at, "the source could be read again"


def refresh(session: Session, source: Source, lines: Iterable[Line], *, verdict: Verdict, whole: bool, at: datetime) -> HeldPull | None:
    """What is held of this source is exactly this, from now on: the same lines are the same digest, and without any it is withdrawn."""
    held = open_held(session, source, unreadable=False, lock=True)
    wanted = {(line.kind, line.subject_id): line for line in lines}
    if not wanted:
        if held is not None:
            _set_state(session, held, {(one.subject_kind, one.subject_id): one for one in brake.lines_of(session, held)}, HeldState.WITHDRAWN)
            held.state, held.decided_at, held.decided_by = HeldState.WITHDRAWN, at, "the source says so no more"
        return None
    if held is None:
        held = Held(organization_id=source.organization_id, id=new_id(), kind=KIND, source_id=source.id, state=HeldState.OPEN, created_at=at, reason="")
        session.add(held)
        session.flush()
    there = {(one.subject_kind, one.subject_id): one for one in brake.lines_of(session, held)}
    _set_state(session, held, {key: one for key, one in there.items() if key not in wanted}, HeldState.WITHDRAWN)
    for key, one in there.items():
        if key in wanted:
            one.version, one.becomes, one.person_id = wanted[key].version, wanted[key].becomes, wanted[key].person_id
    session.flush()
    fresh = [line for key, line in wanted.items() if key not in there]
    _add_lines(session, held, fresh, at=at)
    people = len({line.person_id for line in wanted.values() if line.kind == RECORD and line.person_id is not None})
    lost = _who_would_lose(session, source, wanted.values(), at=at)
    held.reason = verdict.reason or held.reason
    held.payload = {"unreadable": False, "whole": whole, "people": people, "would_lose_access": lost}
    session.flush()
    return shown(session, held)


def shown(session: Session, held: Held) -> HeldPull:
    """What waits, as it is shown to whoever pulled."""
    said = held.payload or {}
    lost = int(said.get("would_lose_access", said.get("people", 0)))
    return HeldPull(digest=brake.digest_of(held, brake.lines_of(session, held)), reason=held.reason, would_lose_access=lost, held_id=held.id)


def _set_state(session: Session, held: Held, lines: dict[tuple[str, str], HeldLine], state: HeldState) -> None:
    for line in lines.values():
        line.state = state
    session.flush()


def _add_lines(session: Session, held: Held, lines: list[Line], *, at: datetime) -> None:
    # A line that was withdrawn or passed before may come again: its row is there.
    for some in batches(lines):
        ids = [line.subject_id for line in some]
        mine = (HeldLine.organization_id == held.organization_id, HeldLine.held_id == held.id, HeldLine.subject_id.in_(ids))
        known = {(kind, subject_id) for kind, subject_id in session.execute(select(HeldLine.subject_kind, HeldLine.subject_id).where(*mine))}
        for line in some:
            if (line.kind, line.subject_id) in known:
                session.execute(
                    update(HeldLine)
                    .where(*mine, HeldLine.subject_kind == line.kind, HeldLine.subject_id == line.subject_id)
                    .values(version=line.version, becomes=line.becomes, person_id=line.person_id, state=HeldState.OPEN, created_at=at)
                )
        rows: list[dict[str, Any]] = [
            {
                "organization_id": held.organization_id, "held_id": held.id, "subject_kind": line.kind, "subject_id": line.subject_id,
                "version": line.version, "becomes": line.becomes, "person_id": line.person_id, "state": HeldState.OPEN, "created_at": at,
            }
            for line in some if (line.kind, line.subject_id) not in known
        ]  # fmt: skip
        if rows:
            session.execute(insert(HeldLine), rows)
    session.flush()


def _who_would_lose(session: Session, source: Source, lines: Iterable[Line], *, at: datetime) -> int:
    people: set[str] = set()
    for some in batches(line.subject_id for line in lines if line.kind == RECORD):
        query = (
            select(Record.person_id, Record.active, Record.starts_at, Record.ends_at)
            .join(Person, (Person.organization_id == Record.organization_id) & (Person.id == Record.person_id))
            .where(Record.organization_id == source.organization_id, Record.id.in_(some), Record.ended_at.is_(None), Person.standing.in_(INSIDE))
        )
        people.update(person for person, active, starts, ends in session.execute(query) if stands_on(active, starts, ends, at=at))
    return len(people)


def lines_now(session: Session, source: Source, staging: Staging, verdict: Verdict, *, at: datetime) -> Iterator[Line]:
    """What would be taken and is held, as it stands at this moment: what has gone otherwise meanwhile is none any more."""
    offs = ((subject, OFF if ends is None else f"{ENDS}{ends}") for subject, ends in staging.takers() if verdict.holds(RECORD, subject))
    for some in batches(offs):
        yield from _records(session, source, dict(some), at=at)
    gone = (
        one.subject for one in staging.absent("person")
        if one.subject is not None and one.answer in (NOT_THERE, WAITING, UNASKED) and verdict.holds(RECORD, one.subject)
    )  # fmt: skip
    for keys in batches(gone):
        yield from _records(session, source, dict.fromkeys(keys, GONE), at=at)
    for group_id, removed in staging.removals():
        held = [record for record in removed.values() if verdict.holds(MEMBER, membership_key(group_id, record))]
        for keys in batches(sorted(held)):
            yield from _members(session, source, group_id, keys)
    groups = [one.subject for one in staging.absent("group") if one.subject is not None and verdict.holds(GROUP, one.subject)]
    for keys in batches(groups):
        query = select(Group.id, Group.version).where(
            Group.organization_id == source.organization_id, Group.id.in_(keys), Group.ended_at.is_(None)
        )
        for group_id, version in session.execute(query):
            yield Line(GROUP, group_id, str(version), GONE, None)


def _records(session: Session, source: Source, becomes: dict[str, str], *, at: datetime) -> Iterator[Line]:
    query = select(Record.id, Record.version, Record.person_id, Record.active, Record.starts_at, Record.ends_at).where(
        Record.organization_id == source.organization_id, Record.id.in_(becomes), Record.ended_at.is_(None)
    )
    for record_id, version, person_id, active, starts_at, ends_at in session.execute(query):
        ends = end_in(becomes[record_id])
        sooner = ends is None or ends_at is None or ends < ends_at
        if becomes[record_id] == GONE or (sooner and stands_on(active, starts_at, ends_at, at=at)):
            yield Line(RECORD, record_id, str(version), becomes[record_id], person_id)


def _members(session: Session, source: Source, group_id: str, ids: list[str]) -> Iterator[Line]:
    query = (
        select(Membership.record_id, Membership.journal_id, Record.person_id)
        .join(Record, (Record.organization_id == Membership.organization_id) & (Record.id == Membership.record_id))
        .where(
            Membership.organization_id == source.organization_id, Membership.group_id == group_id, Membership.record_id.in_(ids),
            Membership.ended_at.is_(None),
        )
    )  # fmt: skip
    for record_id, journal_id, person_id in session.execute(query):
        yield Line(MEMBER, membership_key(group_id, record_id), str(journal_id), OUT, person_id)
