"""Applying what was found of people who are new: many at a time where nothing has to be decided, else one by one, or by a question."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, update

from app.database import look_at
from app.directory.tables import Membership, Person, Record, RecordEmail
from app.intake.pull_drafts import Unusable, draft_of, read_back
from app.intake.pull_here import AT_ONCE
from app.intake.pull_managers import records_of_keys
from app.intake.pull_parts import Part, Pull
from app.intake.pull_reading import Reading
from app.intake.pull_staging import StagedPerson
from app.journal.tables import Work
from app.lifecycle import matching, plain_joiners, questions
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.matching import Doubt, Match, One
from app.lifecycle.plain_joiners import Joiner
from app.lifecycle.pulled_entries import EntryKind, by_key
from app.lifecycle.pulled_tables import PulledEntry
from app.lifecycle.records import add_record

GROWTH: Final = 8
"""Once there are so many times as many people, the database looks at their tables again."""
_FILLED: Final = (Record, RecordEmail, Person, PulledEntry, Work)


@dataclass(frozen=True, kw_only=True)
class _Newcomer:
    staged: StagedPerson
    draft: RecordDraft
    manager_key: str | None


def join(pull: Pull, found: Reading) -> None:
    """Let everybody join who is new, managers before those who report to them."""
    done, enough = 0, AT_ONCE
    before: int | None = None
    for batch in found.staging.joining():
        pull.write(lambda part, batch=batch: _join_some(part, batch))  # type: ignore[misc]  # defaults bind the loop's values
        done += len(batch)
        pull.progress("joining", done)
        if done < enough:
            continue
        if before is None:
            # Counted only here: a pull in which few join must not cost by how many there are.
            before = max(0, found.known("person") - done)
            enough = max(before, AT_ONCE)
        if done >= enough:
            pull.write(lambda part: look_at(part.session, *_FILLED))
            enough = GROWTH * done


def _join_some(part: Part, people: list[StagedPerson]) -> None:
    managers = records_of_keys(part.session, part.source, {one.manager for one in people if one.manager is not None})
    known = by_key(part.session, *part.where, [one.key for one in people], kinds=[EntryKind.PERSON, EntryKind.GONE_PERSON])
    newcomers = {one.key: newcomer for one in people if (newcomer := _newcomer(part, one, managers)) is not None}
    joiners = [
        Joiner(draft=one.draft, key=key, digest=one.staged.digest, manager_key=one.manager_key)
        for key, one in newcomers.items() if key not in known
    ]  # fmt: skip
    matching.hold(part.session, part.source.organization_id, [one.draft for one in newcomers.values()])
    found = plain_joiners.sort_out(part.session, *part.where, joiners)
    joined: set[str] = set()

    def at_once() -> None:
        rows = plain_joiners.join_many(part.session, part.source.organization_id, part.source, found.plain, **part.saying)
        joined.update(row.key for row in rows)

    if found.plain and part.carefully(at_once) is None:
        part.count.joined += len(joined)
    else:
        # One of them is odd in a way that nobody foresaw: then each by themselves, and that one is set aside.
        joined.clear()
    for key, one in newcomers.items():
        if key not in joined:
            _join(part, one)


def join_one(part: Part, staged: StagedPerson, managers: Mapping[str, str]) -> None:
    """Let one join who is new, or whose record has ended."""
    newcomer = _newcomer(part, staged, managers)
    if newcomer is not None:
        _join(part, newcomer)


def _newcomer(part: Part, staged: StagedPerson, managers: Mapping[str, str]) -> _Newcomer | None:
    person, broken = read_back(staged.said)
    manager = managers.get(staged.manager or "")
    try:
        if broken is not None:
            raise Unusable(broken)
        draft = draft_of(person, manager=manager)
    except Unusable as error:
        part.set_aside(staged.key, person.user_name, str(error))
        return None
    return _Newcomer(staged=staged, draft=draft, manager_key=staged.manager if manager is None else None)


def _join(part: Part, one: _Newcomer) -> None:
    key = one.staged.key
    former = _former(part, key)
    match = matching.whom(part.session, *part.where, one.draft) if former is None else One(person_id=former.person_id, by="key")
    if isinstance(match, Doubt):
        _ask(part, one, match)
        return
    trouble = part.carefully(lambda: _add(part, one, match))
    if trouble is not None:
        part.set_aside(key, one.draft.user_name, trouble.why)
        return
    questions.withdraw(part.session, *part.where, key=key, actor=part.saying["actor"], at=part.at, because="it is clear by now whose it is")
    if former is not None:
        _read_groups_again(part, former)


def _former(part: Part, key: str) -> Record | None:
    """The record that this very entry was before it was gone: under the same key it is the same person."""
    for kind in (EntryKind.PERSON, EntryKind.GONE_PERSON):
        entry = part.entry(key, kind)
        if entry is not None and entry.subject_id is not None:
            return part.record(entry.subject_id)
    return None


def _ask(part: Part, one: _Newcomer, doubt: Doubt) -> None:
    """Nobody joins until somebody has said who it is. What the source says meanwhile is brought up to date in the question."""
    key = one.staged.key
    if questions.open_question(part.session, *part.where, key=key) is None:
        part.count.asked += 1
    questions.ask(part.session, *part.where, doubt, key=key, draft=one.draft, actor=part.saying["actor"], at=part.at)
    part.remember(key, None, digest=one.staged.digest).manager_key = one.manager_key


def _add(part: Part, one: _Newcomer, match: Match) -> None:
    record = add_record(part.session, *part.where, one.draft, match=match, **part.saying)
    part.remember(one.staged.key, record.id, digest=one.staged.digest).manager_key = one.manager_key
    part.count.joined += 1


def _read_groups_again(part: Part, former: Record) -> None:
    """Whoever comes again was taken out of groups by nobody but their own end: the next listing says whether they are in them."""
    lost = select(Membership.group_id).where(
        Membership.organization_id == former.organization_id, Membership.record_id == former.id, Membership.journal_id == former.journal_id
    )
    part.session.execute(
        update(PulledEntry)
        .where(
            PulledEntry.organization_id == former.organization_id, PulledEntry.source_id == part.source.id,
            PulledEntry.kind == EntryKind.GROUP, PulledEntry.subject_id.in_(lost),
        )
        .values(digest=None),
        execution_options={"synchronize_session": False},
    )  # fmt: skip
