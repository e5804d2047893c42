"""What a pull would do, said without doing it: everything is read, here and at the source, and nothing is written anywhere."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from app.database import reading
from app.directory.tables import Source
from app.intake import pull_weighing
from app.intake.pull_asking import NOT_THERE, gone_for_good
from app.intake.pull_drafts import Unusable, draft_of, read_back
from app.intake.pull_managers import records_of_keys
from app.intake.pull_parts import Count
from app.intake.pull_running import Outcome, Read
from app.intake.pull_staging import StagedPerson
from app.intake.pull_weighing import RECORD
from app.lifecycle import matching, plain_joiners, questions
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.matching import Doubt
from app.lifecycle.plain_joiners import Joiner
from app.lifecycle.pulled_entries import EntryKind, by_key


def rehearse(read: Read, source: Source, *, at: datetime) -> Outcome:
    """The numbers that a pull would have now. What only writing shows, such as two who want one name, is not foreseen."""
    found, holds = read.found, read.verdict.holds
    count = Count(notes=list(found.notes))
    # In the order in which a pull takes them, and says so.
    aside = {one.subject for batch in found.staging.changed(taking=True) for one in batch if _draft(one, {}, count) is None}
    takes = [subject for subject, ends in found.staging.takers() if (ends is None or subject not in aside) and not holds(RECORD, subject)]
    gone = [one for one in gone_for_good(found, "person", at=at, wait=read.wait) if one.subject is not None]
    count.left = len(takes) + sum(not holds(RECORD, one.subject or "") for one in gone)
    count.moved = sum(_draft(one, {}, count) is not None for batch in found.staging.changed(taking=False) for one in batch)
    for batch in found.staging.joining():
        with reading() as session:
            _would_join(session, source, batch, count)
    count.missing = sum(1 for one in found.staging.absent("person") if one.answer == NOT_THERE and one.since is None and one.subject is not None)
    with reading() as session:
        held = pull_weighing.foreseen(session, source, found.staging, read.verdict, at=at)
    return Outcome(
        run=None, seen=found.seen, joined=count.joined, moved=count.moved, left=count.left, unchanged=found.unchanged, missing=count.missing,
        asked=count.asked, held=held, notes=tuple(count.notes),
    )  # fmt: skip


def _would_join(session: Session, source: Source, people: list[StagedPerson], count: Count) -> None:
    where = (source.organization_id, source.id)
    known = by_key(session, *where, [one.key for one in people], kinds=[EntryKind.PERSON, EntryKind.GONE_PERSON])
    managers = records_of_keys(session, source, {one.manager for one in people if one.manager is not None})
    joiners: list[Joiner] = []
    for one in people:
        draft = _draft(one, managers, count)
        if draft is not None:
            joiners.append(Joiner(draft=draft, key=one.key, digest=one.digest))
    found = plain_joiners.sort_out(session, *where, joiners)
    count.joined += len(found.plain)
    asked = {one.source_key for one in questions.waiting(session, source.organization_id) if one.source_id == source.id}
    for joiner in found.others:
        entry = known.get(joiner.key)
        returns = entry is not None and entry.subject_id is not None
        if not returns and isinstance(matching.whom(session, *where, joiner.draft), Doubt):
            count.asked += joiner.key not in asked
        else:
            count.joined += 1


def _draft(one: StagedPerson, managers: Mapping[str, str], count: Count) -> RecordDraft | None:
    """None where they would be set aside, which is noted. An end that is to come would not be heard of them then."""
    person, broken = read_back(one.said)
    try:
        if broken is not None:
            raise Unusable(broken)
        return draft_of(person, manager=managers.get(one.manager or ""))
    except Unusable as error:
        count.notes.append(f"{person.user_name if person.user_name.strip() else one.key} would be set aside: {error}")
        return None
