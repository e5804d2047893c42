"""Deciding on what a pull would have taken: let through what was seen, all of it or some people, or say that it is not to be taken."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.clock import Clock, now
from app.database import in_transaction, reading
from app.directory.tables import Group, Membership, Record, Source
from app.intake.mapping import Unmappable
from app.intake.pull_drafts import Unusable, dates_of, draft_of, says_on, stands_on
from app.intake.pull_here import batches
from app.intake.pull_reading import Mapped
from app.intake.pull_weighing import GONE, GROUP, KIND, MEMBER, OFF, RECORD, end_in, is_unreadable
from app.intake.pulling import Opening, mapped_by, open_source_of
from app.journal import entries
from app.lifecycle import brake, pulled_entries, runs, seconding, taking
from app.lifecycle.errors import LifecycleError, WorldMoved
from app.lifecycle.pulled_entries import EntryKind
from app.lifecycle.pulled_tables import AwaitedMember, PulledEntry, RunKind, RunState
from app.lifecycle.runs import Taken
from app.lifecycle.tables import Held, HeldLine, HeldState
from app.lifecycle.taking import Off
from app.settings import Settings
from connectors.source_contract import SourceKey, SourcePerson


class NothingToApprove(LifecycleError):
    """There is nothing in it that could be let through."""


@dataclass(frozen=True, kw_only=True)
class Approved:
    """What was let through, as a run that can be undone. `left` is the digest of what still waits, of `still` lines.

    Where a second administrator has to follow, nothing was done: `run` is None, and `waits_for` says so.
    """

    run: int | None
    people: tuple[str, ...] = ()
    left: str | None = None
    still: int = 0
    waits_for: str | None = None


def approve(
    app_settings: Settings, organization_id: str, digest: str, *, actor: Actor, clock: Clock = now, opening: Opening = open_source_of
) -> Approved:
    """Let all of it take effect, and only where it is still what `digest` stands for, at the source as well.

    Raises WorldMoved, NothingToApprove, and ConnectorError where the source cannot be asked; then nothing was done.
    """
    return _let_through(app_settings, organization_id, digest, people=None, actor=actor, clock=clock, opening=opening)


def let_pass(
    app_settings: Settings, organization_id: str, digest: str, people: Collection[str], *,
    actor: Actor, clock: Clock = now, opening: Opening = open_source_of,
) -> Approved:  # fmt: skip
    """Let what is held of these people, by their ids, take effect; the rest stays held. Raises what `approve` does."""
    return _let_through(app_settings, organization_id, digest, people=frozenset(people), actor=actor, clock=clock, opening=opening)


def reject(session: Session, held: Held, lines: Sequence[HeldLine], *, actor: Actor, at: datetime) -> list[str]:
    """None of it is taken, now or by a later pull, for as long as the source says the same. Returns the people whom it is about."""
    why = f"rejected by {actor}"
    entries.write(
        session, held.organization_id, at=at, actor=actor, verb="pull rejected", because=f"held: {held.reason}", subject_kind="held",
        subject_id=held.id, after={"lines": len(lines)},
    )  # fmt: skip
    where = (held.organization_id, held.source_id or "")
    for line in lines:
        if line.subject_kind == MEMBER:
            group_id, _, record_id = line.subject_id.partition(" ")
            pulled_entries.keep_members(session, *where, group_id, [record_id], why=why)
        else:
            kind = EntryKind.PERSON if line.subject_kind == RECORD else EntryKind.GROUP
            entry = pulled_entries.of_subject(session, *where, line.subject_id, kind=kind)
            if entry is not None and (ends_at := end_in(line.becomes)) is not None:
                pulled_entries.keep_without_end(session, entry, ends_at)
            elif entry is not None:
                entry.kept = why
                if line.becomes == GONE:
                    entry.missing_since = entry.missing_since or at
        line.state = HeldState.REJECTED
    held.state, held.decided_at, held.decided_by = HeldState.REJECTED, at, str(actor)
    session.flush()
    return sorted({line.person_id for line in lines if line.person_id is not None})


def _let_through(
    app_settings: Settings, organization_id: str, digest: str, *, people: frozenset[str] | None, actor: Actor, clock: Clock, opening: Opening
) -> Approved:
    with reading() as session:
        held, lines = _find(session, organization_id, digest, people=people)
        source = session.get_one(Source, (organization_id, held.source_id))
    seen = digest if people is None else seconding.part_of(digest, people)
    if not in_transaction(lambda session: _is_enough(session, organization_id, digest, people, seen=seen, actor=actor, at=clock())):
        return Approved(run=None, waits_for=f"{actor.name} has approved this as the first of two; another administrator has to do the same")
    # Outside of any transaction, since the source may take its time.
    offs = _ask_once_more(app_settings, source, lines, at=clock(), opening=opening)

    def act(session: Session) -> Approved:
        here, mine = _find(session, organization_id, digest, people=people, lock=True)
        return _take(session, source, here, mine, offs, actor=actor, at=clock())

    return in_transaction(act)


def _find(
    session: Session, organization_id: str, digest: str, *, people: frozenset[str] | None, lock: bool = False
) -> tuple[Held, list[HeldLine]]:
    held, lines = (brake.find_to_decide if lock else brake.find)(session, organization_id, digest)
    if held.kind != KIND:
        raise NothingToApprove(f"what is held under {digest} is no pull")
    if is_unreadable(held):
        raise NothingToApprove(f"{held.reason}; there is nothing to approve: make the source readable, then pull again")
    if people is None:
        return held, lines
    missing = people - {line.person_id for line in lines}
    if missing:
        raise NothingToApprove(f"{len(missing)} of these people are not held under {digest}; nothing was done")
    return held, [line for line in lines if line.person_id in people]


def _is_enough(
    session: Session, organization_id: str, digest: str, people: frozenset[str] | None, *, seen: str, actor: Actor, at: datetime
) -> bool:
    held, _ = _find(session, organization_id, digest, people=people, lock=True)
    return seconding.is_enough(session, held, seen=seen, actor=actor, at=at)


# At the source


def _ask_once_more(
    app_settings: Settings, source: Source, lines: Sequence[HeldLine], *, at: datetime, opening: Opening
) -> dict[str, SourcePerson]:
    """Whoever is to be gone, or off, or to end, is asked for once more; returns what is said of those who are off, by key.

    Raises WorldMoved, ConnectorError.
    """
    gone, off = ([line.subject_id for line in lines if line.subject_kind == RECORD and line.becomes == becomes] for becomes in (GONE, OFF))
    ending: dict[datetime, list[str]] = {}
    for line in lines:
        if (ends_at := end_in(line.becomes)) is not None:
            ending.setdefault(ends_at, []).append(line.subject_id)
    groups = [line.subject_id for line in lines if line.subject_kind == GROUP]
    offs: dict[str, SourcePerson] = {}
    if not gone and not off and not ending and not groups:
        return offs
    opened, mapped = opening(app_settings, source), mapped_by(source)
    for key, name in _keys(source, EntryKind.PERSON, gone).items():
        if opened.find_person(SourceKey(key)) is not None:
            raise WorldMoved(f"{name} is there again, says {source.name}; pull again, and look at what is held then")
    for key, name in _keys(source, EntryKind.PERSON, off).items():
        found = opened.find_person(SourceKey(key))
        if found is None:
            continue
        offs[key] = _as_mapped(found, mapped)
        if says_on(offs[key], at=at):
            raise WorldMoved(f"{name} is on again, says {source.name}; pull again, and look at what is held then")
    for ends_at, ids in ending.items():
        for key, name in _keys(source, EntryKind.PERSON, ids).items():
            found = opened.find_person(SourceKey(key))
            if found is not None and _is_on(_as_mapped(found, mapped), at=at, until=ends_at):
                raise WorldMoved(f"{name} has another end, says {source.name}; pull again, and look at what is held then")
    if groups:
        there = {str(group.key) for group in opened.list_groups()}
        for key, name in _keys(source, EntryKind.GROUP, groups).items():
            if key in there:
                raise WorldMoved(f"group {name} is there again, says {source.name}; pull again, and look at what is held then")
    return offs


def _as_mapped(person: SourcePerson, mapped: Mapped) -> SourcePerson:
    try:
        return mapped(person)
    except Unmappable as error:
        return replace(person, active=error.active)


def _is_on(person: SourcePerson, *, at: datetime, until: datetime) -> bool:
    """Whether a pull would take them for *on*, and beyond that instant."""
    _, ends_at = dates_of(person)
    return says_on(person, at=at) and (ends_at is None or ends_at > until)


def _keys(source: Source, kind: EntryKind, ids: Sequence[str]) -> dict[str, str]:
    """What the source calls these records or groups, each with its name here."""
    table, name = (Record, Record.user_name) if kind is EntryKind.PERSON else (Group, Group.display_name)
    found: dict[str, str] = {}
    with reading() as session:
        for some in batches(ids):
            query = (
                select(PulledEntry.key, name)
                .join(table, (table.organization_id == PulledEntry.organization_id) & (table.id == PulledEntry.subject_id))
                .where(
                    PulledEntry.organization_id == source.organization_id, PulledEntry.source_id == source.id, PulledEntry.kind == kind,
                    PulledEntry.subject_id.in_(some),
                )
            )  # fmt: skip
            found.update({key: called for key, called in session.execute(query)})
    return found


# Here


def _take(
    session: Session, source: Source, held: Held, lines: Sequence[HeldLine], offs: Mapping[str, SourcePerson], *, actor: Actor, at: datetime
) -> Approved:
    run = runs.begin(session, source.organization_id, kind=RunKind.APPROVAL, source_id=source.id, actor=actor, at=at)
    act = _Act(session=session, source=source, actor=actor, at=at, because=f"run {run.number}: held: {held.reason}", offs=offs)
    # Members first: their memberships end with a record or a group as well, and would then no longer be as they were seen.
    members = [line for line in lines if line.subject_kind == MEMBER]
    taken = [one for group_id, some in groupby(members, key=_group_of) for one in act.out(group_id, list(some))]
    taken += [act.group_gone(line) for line in lines if line.subject_kind == GROUP]
    taken += [act.record(line) for line in lines if line.subject_kind == RECORD]
    runs.note_taken(session, source.organization_id, run.number, taken)
    people = sorted({line.person_id for line in lines if line.subject_kind == RECORD and line.person_id is not None})
    run.left, run.held_id = len(people), held.id
    runs.finish(run, state=RunState.DONE, at=at)
    for line in lines:
        line.state = HeldState.APPROVED
    session.flush()
    left = brake.lines_of(session, held)
    if not left:
        held.state, held.decided_at, held.decided_by = HeldState.APPROVED, at, str(actor)
    return Approved(run=run.number, people=tuple(people), left=brake.digest_of(held, left) if left else None, still=len(left))


def _group_of(line: HeldLine) -> str:
    return line.subject_id.partition(" ")[0]


@dataclass(frozen=True, kw_only=True)
class _Act:
    session: Session
    source: Source
    actor: Actor
    at: datetime
    because: str
    offs: Mapping[str, SourcePerson]

    @property
    def _where(self) -> tuple[str, str]:
        return self.source.organization_id, self.source.id

    def record(self, line: HeldLine) -> Taken:
        record = self.session.get(Record, (self.source.organization_id, line.subject_id), with_for_update=True, populate_existing=True)
        if record is None or record.ended_at is not None or str(record.version) != line.version:
            raise WorldMoved(f"{record.user_name if record else line.subject_id} has changed since it was held; pull again, and look again")
        entry = pulled_entries.of_subject(self.session, *self._where, record.id, kind=EntryKind.PERSON)
        if line.becomes != GONE:
            if entry is not None:
                # The next pull compares anew.
                entry.digest = None
                pulled_entries.look_again(self.session, *self._where, entry.key)
            if (ends_at := end_in(line.becomes)) is not None:
                return taking.let_end(self.session, self.source, record, ends_at, actor=self.actor, at=self.at, because=self.because)
            off = None if entry is None else self._off(record, entry.key)
            if off is not None:
                return taking.say_off(self.session, self.source, record, off, actor=self.actor, at=self.at, because=self.because)
            return taking.switch_off(self.session, self.source, record, actor=self.actor, at=self.at, because=self.because)
        taken = taking.end(self.session, self.source, record, actor=self.actor, at=self.at, because=self.because)
        if entry is not None:
            pulled_entries.has_gone(self.session, entry)
        return taken

    def _off(self, record: Record, key: str) -> Off | None:
        """How a pull would write that somebody is off: who is suspended is away, whoever ends by a date ends by that. None where no more is said."""
        said = self.offs.get(key)
        if said is None:
            return None
        try:
            draft = draft_of(said, manager=None)
        except Unusable:
            return None
        unheard = pulled_entries.kept_ends(self.session, *self._where, [key]).get(key)
        ends_at = record.ends_at if unheard is not None and unheard == draft.ends_at else draft.ends_at
        off = Off(active=bool(draft.active), starts_at=draft.starts_at, ends_at=ends_at, means=draft.off_means)
        return None if stands_on(off.active, off.starts_at, off.ends_at, at=self.at) else off

    def group_gone(self, line: HeldLine) -> Taken:
        group = self.session.get(Group, (self.source.organization_id, line.subject_id), with_for_update=True, populate_existing=True)
        if group is None or group.ended_at is not None or str(group.version) != line.version:
            raise WorldMoved(f"group {group.display_name if group else line.subject_id} has changed since it was held; pull again, and look again")
        taken = taking.end_whole_group(self.session, self.source, group.id, actor=self.actor, at=self.at, because=self.because)
        entry = pulled_entries.of_subject(self.session, *self._where, group.id, kind=EntryKind.GROUP)
        if entry is not None:
            self.session.execute(
                delete(AwaitedMember).where(
                    AwaitedMember.organization_id == entry.organization_id, AwaitedMember.source_id == entry.source_id,
                    AwaitedMember.group_key == entry.key,
                )
            )  # fmt: skip
            pulled_entries.has_gone(self.session, entry)
        return taken

    def out(self, group_id: str, lines: list[HeldLine]) -> list[Taken]:
        wanted = {line.subject_id.partition(" ")[2]: line.version for line in lines}
        there: dict[str, str] = {}
        for some in batches(sorted(wanted)):
            query = select(Membership.record_id, Membership.journal_id).where(
                Membership.organization_id == self.source.organization_id, Membership.group_id == group_id, Membership.record_id.in_(some),
                Membership.ended_at.is_(None),
            )  # fmt: skip
            there.update({record_id: str(journal_id) for record_id, journal_id in self.session.execute(query.with_for_update())})
        if there != wanted:
            raise WorldMoved(f"{len(wanted.items() - there.items())} memberships have changed since they were held; pull again, and look again")
        return taking.take_out(self.session, self.source, group_id, list(wanted), actor=self.actor, at=self.at, because=self.because)
