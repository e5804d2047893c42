"""An administrator says whose a record is: somebody's who is here, or somebody new."""

from datetime import datetime

from sqlalchemy.orm import Session

from app.actors import Actor
from app.directory.tables import Person, Record, Source
from app.lifecycle import pulled_entries, questions
from app.lifecycle.errors import Ambiguous, NotFound, WorldMoved
from app.lifecycle.matching import Nobody, One
from app.lifecycle.one_person import become_one
from app.lifecycle.people import lock_meant
from app.lifecycle.pulled_entries import EntryKind
from app.lifecycle.pulled_tables import PulledEntry, Question, QuestionState
from app.lifecycle.records import add_record


def answer(session: Session, organization_id: str, number: int, *, same_as: str | None, actor: Actor, at: datetime) -> Person:
    """It is `same_as`, who is one of the candidates; or, None, a person of their own. Returns whose the record is from here on.

    An answer says who is meant and gives nobody access: their standing follows from what all voices say, as ever. Raises
    NotFound, Ambiguous for somebody who was not asked about, WorldMoved where nothing waits for an answer any more, TurnedOut, and Taken.
    """
    question = questions.find(session, organization_id, number, lock=True)
    if question.state != QuestionState.OPEN:
        raise WorldMoved(f"question {number} is {question.state} already: {question.answer}")
    if same_as is not None:
        _refuse_others(session, question, same_as)
    if question.record_id is not None:
        person = _of_record(session, question, question.record_id, same_as=same_as, actor=actor, at=at)
    else:
        person = _of_entry(session, question, same_as=same_as, actor=actor, at=at)
    words = "a person of their own" if same_as is None else f"the same person as {person.user_name} ({person.id})"
    questions.close(session, question, QuestionState.ANSWERED, words, actor=actor, at=at)
    return person


def _refuse_others(session: Session, question: Question, same_as: str) -> None:
    if session.get(Person, (question.organization_id, same_as)) is None:
        raise NotFound("person", same_as)
    if same_as not in {one.person_id for one in questions.candidates_of(question)}:
        raise Ambiguous(f"question {question.number} does not ask about person {same_as}; nothing was done")


def _of_record(session: Session, question: Question, record_id: str, *, same_as: str | None, actor: Actor, at: datetime) -> Person:
    # Held, as by whoever changes it: what its directory is saying at this moment is waited for, and counts.
    record = session.get_one(Record, (question.organization_id, record_id), with_for_update=True)
    if same_as is None or same_as == record.person_id:
        return session.get_one(Person, (question.organization_id, record.person_id))
    # In the order in which they are held when they become one; each of them may have become one with somebody else meanwhile.
    for one in sorted((record.person_id, same_as)):
        lock_meant(session, question.organization_id, one)
    because = f"question {question.number}: {question.reason}"
    return become_one(session, question.organization_id, record.person_id, same_as, actor=actor, at=at, because=because)


def _of_entry(session: Session, question: Question, *, same_as: str | None, actor: Actor, at: datetime) -> Person:
    """The entry joins, as it was said last. What else was pulled of it (groups, a manager) follows with the next pull."""
    organization_id, source_id, key = question.organization_id, question.source_id, question.source_key or ""
    if session.get_one(Source, (organization_id, source_id)).ended_at is not None:
        raise WorldMoved(f"question {question.number}: the source has ended, and says nothing of anybody any more")
    match = Nobody() if same_as is None else One(person_id=same_as, by="answer")
    record = add_record(
        session, organization_id, source_id, questions.said_of(session, question), match=match, actor=actor, at=at,
        because=f"question {question.number}: {question.reason}",
    )  # fmt: skip
    if same_as is not None and record.person_id != same_as:
        raise WorldMoved(f"question {question.number}: the source's own record of them is somebody else's by now; pull it again")
    entry = session.get(PulledEntry, (organization_id, source_id, EntryKind.PERSON, key))
    if entry is None:
        entry = PulledEntry(organization_id=organization_id, source_id=source_id, kind=EntryKind.PERSON, key=key)
        session.add(entry)
    # Without a digest the next pull takes it for changed, and compares all of it.
    entry.subject_id, entry.digest, entry.missing_since, entry.kept = record.id, None, None, None
    session.flush()
    pulled_entries.forget(session, organization_id, source_id, key, kind=EntryKind.GONE_PERSON)
    pulled_entries.look_again(session, organization_id, source_id, key)
    return session.get_one(Person, (organization_id, record.person_id))
