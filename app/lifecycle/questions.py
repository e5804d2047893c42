"""*Is this the same person?* Asked where it is in doubt whose a record is, and kept until somebody says."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.clock import parse_instant
from app.directory.tables import Record
from app.journal import entries
from app.journal.tables import Organization
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.errors import NotFound
from app.lifecycle.matching import Candidate, Doubt
from app.lifecycle.pulled_tables import Question, QuestionState
from app.statements import param


def ask(
    session: Session, organization_id: str, source_id: str, doubt: Doubt, *,
    record_id: str | None = None, key: str | None = None, draft: RecordDraft | None = None, actor: Actor, at: datetime,
) -> Question:  # fmt: skip
    """Ask whose this is: the record `record_id`, which is a person's of their own until then, or the entry `key`, which waits outside with its `draft`.

    There is one open question for each; asking again brings it up to date with what is said and in doubt now.
    """
    assert (record_id is None) != (key is None)
    kept = None if draft is None else _kept(draft)
    candidates = [{"person": one.person_id, "because": one.because} for one in doubt.candidates]
    question = open_question(session, organization_id, source_id, record_id=record_id, key=key)
    if question is not None:
        question.draft, question.reason, question.candidates = kept, doubt.reason, candidates
        session.flush()
        return question
    # Numbers count up without a gap: whoever takes one holds the organisation until they are done.
    session.execute(select(Organization.id).where(Organization.id == organization_id).with_for_update(key_share=True))
    last = session.scalar(select(func.max(Question.number)).where(Question.organization_id == organization_id)) or 0
    question = Question(
        organization_id=organization_id, number=last + 1, source_id=source_id, source_key=key, record_id=record_id, draft=kept,
        reason=doubt.reason, candidates=candidates, state=QuestionState.OPEN, asked_at=at,
    )  # fmt: skip
    session.add(question)
    session.flush()
    _write(session, question, "asked", actor=actor, at=at, because=doubt.reason)
    return question


def withdraw(
    session: Session, organization_id: str, source_id: str, *,
    record_id: str | None = None, key: str | None = None, actor: Actor, at: datetime, because: str,
) -> bool:  # fmt: skip
    """Nobody needs to know any more: the record or entry has gone, or it is clear now whose it is. Whether anything was asked."""
    question = open_question(session, organization_id, source_id, record_id=record_id, key=key)
    if question is None:
        return False
    close(session, question, QuestionState.WITHDRAWN, because, actor=actor, at=at)
    return True


def close(session: Session, question: Question, state: QuestionState, answer: str, *, actor: Actor, at: datetime) -> int:
    """Write down how a question ended; returns the number of the journal entry that says so."""
    question.state, question.answer, question.answered_by, question.answered_at = state, answer, str(actor), at
    session.flush()
    return _write(session, question, f"question {state}", actor=actor, at=at, because=answer)


def _write(session: Session, question: Question, verb: str, *, actor: Actor, at: datetime, because: str) -> int:
    return entries.write(
        session, question.organization_id, at=at, actor=actor, verb=verb, because=because, subject_kind="question",
        subject_id=str(question.number),
        after={
            "source": question.source_id, "key": question.source_key, "record": question.record_id,
            "candidates": [one["person"] for one in question.candidates],
        },
    )  # fmt: skip


def open_question(
    session: Session, organization_id: str, source_id: str, *, record_id: str | None = None, key: str | None = None
) -> Question | None:
    """What is asked of this record or entry and not answered yet; locked."""
    given = {"organization": organization_id, "source": source_id, "about": key if record_id is None else record_id}
    return session.scalar(_open(of_record=record_id is not None), given)


@cache
def _open(*, of_record: bool) -> Select[Question]:
    about = Question.record_id if of_record else Question.source_key
    return (
        select(Question)
        .where(
            Question.organization_id == param("organization"), Question.source_id == param("source"), about == param("about"),
            Question.state == QuestionState.OPEN,
        )
        .with_for_update()
    )  # fmt: skip


def waiting(session: Session, organization_id: str) -> Sequence[Question]:
    """Everything that is asked, oldest first."""
    return session.scalars(
        select(Question).where(Question.organization_id == organization_id, Question.state == QuestionState.OPEN).order_by(Question.number)
    ).all()


def count(session: Session, organization_id: str) -> int:
    """How many questions wait for an answer."""
    of_open = (Question.organization_id == organization_id, Question.state == QuestionState.OPEN)
    return session.scalar(select(func.count()).select_from(Question).where(*of_open)) or 0


def find(session: Session, organization_id: str, number: int, *, lock: bool = False) -> Question:
    """A question by its number, an answered one too. Raises NotFound."""
    query = select(Question).where(Question.organization_id == organization_id, Question.number == number)
    question = session.scalar(query.with_for_update().execution_options(populate_existing=True) if lock else query)
    if question is None:
        raise NotFound("question", str(number))
    return question


def candidates_of(question: Question) -> list[Candidate]:
    """Everybody who may be meant, as they were when it was asked last."""
    return [Candidate(person_id=one["person"], because=one["because"]) for one in question.candidates]


def said_of(session: Session, question: Question) -> RecordDraft:
    """What the source says of whomever is asked about."""
    if question.draft is not None:
        return _draft(question.draft)
    record = session.get_one(Record, (question.organization_id, question.record_id or ""))
    return replace(
        _draft({"user_name": record.user_name, "external_id": record.external_id, "active": record.active, "document": record.document}),
        starts_at=record.starts_at, ends_at=record.ends_at,
    )  # fmt: skip


def _kept(draft: RecordDraft) -> dict[str, Any]:
    return {
        "external_id": draft.external_id, "user_name": draft.user_name, "active": draft.active, "document": draft.document,
        "number_said": draft.number_said, "starts_at": draft.starts_at.isoformat() if draft.starts_at else None,
        "ends_at": draft.ends_at.isoformat() if draft.ends_at else None,
    }  # fmt: skip


def _draft(kept: dict[str, Any]) -> RecordDraft:
    starts, ends = kept.get("starts_at"), kept.get("ends_at")
    return RecordDraft(
        external_id=kept["external_id"], user_name=kept["user_name"], active=kept["active"], document=kept["document"],
        number_said=kept.get("number_said", True), starts_at=parse_instant(starts) if starts else None,
        ends_at=parse_instant(ends) if ends else None,
    )  # fmt: skip
