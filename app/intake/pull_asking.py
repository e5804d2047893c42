"""Whoever is not told is asked for by key: only the source's own *not there*, said twice, takes anybody away."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from app.clock import microseconds
from app.database import reading
from app.directory.tables import Group
from app.intake.pull_here import of_kind
from app.intake.pull_reading import Reading
from app.intake.pull_staging import Absent, Kind
from app.lifecycle import matching, questions
from app.lifecycle.matching import Doubt
from app.lifecycle.pulled_entries import EntryKind
from app.lifecycle.pulled_tables import PulledEntry, Question, QuestionState
from connectors.contract import Conflict, Missing, Refused
from connectors.source_contract import SourceKey

NOT_THERE: Final = "none"
UNASKED: Final = "unasked"
UNKNOWN: Final = "unknown"
WAITING: Final = "waiting"
"""Not asked again yet: the second answer has to come long enough after the first."""
TRIED_AGAIN: Final = 200
"""Entries that were set aside, or are in doubt, are looked at with every reading of changes, so many of each at most."""
OTHERS: Final = 10
"""How many are asked for to see whether a source that does not know somebody knows the others: where it hides half, one in a thousand goes unnoticed."""


def due_keys(organization_id: str, source_id: str, kind: EntryKind, *, before: datetime | None = None) -> list[str]:
    """The entries that the source once answered are not there, and that nobody keeps; those of before then, where an instant is given."""
    query = select(PulledEntry.key).where(*of_kind(organization_id, source_id, kind), PulledEntry.missing_since.is_not(None), PulledEntry.kept.is_(None))
    with reading() as session:
        return list(session.scalars((query if before is None else query.where(PulledEntry.missing_since <= before)).order_by(PulledEntry.key)))


def in_another_doubt(organization_id: str, source_id: str, *, most: int | None = TRIED_AGAIN) -> frozenset[str]:
    """Whom it would not be asked about as it was: it is clear by now whose they are, or others may be meant. At most so many are looked at."""
    query = (
        select(Question)
        .where(
            Question.organization_id == organization_id, Question.source_id == source_id, Question.state == QuestionState.OPEN,
            Question.source_key.is_not(None),
        )
        .order_by(Question.number)
        .limit(most)
    )  # fmt: skip
    with reading() as session:
        asked = session.scalars(query).all()
        found = {one.source_key: matching.whom(session, organization_id, source_id, questions.said_of(session, one)) for one in asked}
    same = {one.source_key: Doubt(reason=one.reason, candidates=tuple(questions.candidates_of(one))) for one in asked}
    return frozenset(key for key, match in found.items() if key is not None and match != same[key])


def try_again(found: Reading) -> None:
    """Ask for entries that could not be taken over as the source has them, or are in another doubt than before. What is still so is only set
    aside again. Raises ConnectorError."""
    query = select(PulledEntry.key).where(*of_kind(found.organization_id, found.source_id, EntryKind.AGAIN)).order_by(PulledEntry.key)
    with reading() as session:
        keys = list(session.scalars(query.limit(TRIED_AGAIN)))
    for key in [*keys, *sorted(found.anew.difference(keys))]:
        if not found.staging.has_person(key) and not found.staging.is_absent("person", key):
            _ask_one(found, key)


def _ask_one(found: Reading, key: str) -> str:
    try:
        person = found.source.find_person(SourceKey(key))
    except (Refused, Conflict, Missing) as error:
        # It says nothing of this one; of the others it may.
        found.notes.append(f"entry {key} could not be asked for: {error}")
        return UNKNOWN
    if person is None:
        found.gone("person", [key])
        return NOT_THERE
    found.meet([person])
    return ""


def ask(found: Reading, *, before: datetime, most: Callable[[], int | None]) -> None:
    """Ask for every absent person but those of whom the source first said later than `before` that they are not there. Raises ConnectorError.

    Once more than `most` have lost something by it there is nothing more to learn: all of it will be held, and the rest counts as
    absent without having been asked for.
    """
    lost = 0
    limit: int | None = None
    for number, absent in enumerate(found.staging.absent("person")):
        if not number:
            limit = most()
        if limit is not None and lost > limit:
            found.staging.answer_the_rest("person", UNASKED)
            return
        waits = absent.since is not None and absent.since > microseconds(before)
        answer = WAITING if waits else _ask_one(found, absent.key)
        if answer:
            found.staging.answered("person", absent.key, answer)
        if answer in (NOT_THERE, WAITING):
            lost += absent.counts
        found.breathe()


def hides_others(found: Reading) -> bool:
    """Whether somebody is to lose access since the source does not know them, and it does not know others either, of whom it never said that
    they are gone. Then a right to read was lost, or another server answers, and only a whole listing shows of how many. Raises ConnectorError."""
    if not any(one.counts and one.answer == NOT_THERE for one in found.staging.absent("person")):
        return False
    query = (
        select(PulledEntry.key)
        .where(*of_kind(found.organization_id, found.source_id, EntryKind.PERSON), PulledEntry.subject_id.is_not(None), PulledEntry.missing_since.is_(None))
        .order_by(func.random())
        .limit(OTHERS)
    )
    with reading() as session:
        keys = list(session.scalars(query))
    return any(not found.staging.is_absent("person", key) and _is_unknown(found, key) for key in keys)


def _is_unknown(found: Reading, key: str) -> bool:
    try:
        return found.source.find_person(SourceKey(key)) is None
    except (Refused, Conflict, Missing):
        # It says nothing of this one.
        return False


def look_for_groups(found: Reading, *, whole: bool, before: datetime) -> None:
    """Whether absent groups are there: a whole listing has just said so; else all are listed once more where the second look at one is due, and what
    was set aside of the others is looked at as well. Raises ConnectorError."""
    absent = list(found.staging.absent("group"))
    second = [one for one in absent if one.since is not None and one.since <= microseconds(before)]
    if not whole and second:
        there, aside = set[str](), _groups_aside(found)
        for group in found.source.list_groups():
            there.add(group.key)
            if aside.get(group.key, group.name) != group.name:
                # Perhaps it waits for the name of one that is gone now, and nobody would tell of it again.
                found.meet_groups([group])
        for one in absent:
            if one.key in there:
                found.staging.clear_marks("group", one.key)
                found.staging.is_there("group", one.key)
    found.staging.answer_the_rest("group", NOT_THERE)


def _groups_aside(found: Reading) -> dict[str, str | None]:
    """Groups that were not all taken over as the source had them, with the name that they have here; None where they are not here at all."""
    query = (
        select(PulledEntry.key, Group.display_name)
        .outerjoin(Group, (Group.organization_id == PulledEntry.organization_id) & (Group.id == PulledEntry.subject_id))
        .where(*of_kind(found.organization_id, found.source_id, EntryKind.GROUP), PulledEntry.digest.is_(None))
    )
    with reading() as session:
        return {row.key: row.display_name for row in session.execute(query)}


def confirmed(absent: Absent, *, at: datetime, wait: timedelta) -> bool:
    """Whether the source has now said for the second time, long enough after the first, that this is not there."""
    return absent.answer == NOT_THERE and absent.since is not None and absent.since <= microseconds(at - wait)


def gone_for_good(found: Reading, kind: Kind, *, at: datetime, wait: timedelta) -> Sequence[Absent]:
    """Who is gone now. Whoever never was anybody here needs no second word."""
    return [one for one in found.staging.absent(kind) if confirmed(one, at=at, wait=wait) or (one.subject is None and one.answer == NOT_THERE)]
