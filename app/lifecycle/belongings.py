"""What hangs on a person beside records and statements, and whose it is when they turn out to be somebody else."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.access.connection_tables import Identity
from app.actors import Actor
from app.directory.tables import Person
from app.lifecycle import engagements, legal_hold, questions
from app.lifecycle.engagement_tables import Engagement
from app.lifecycle.handover_tables import Heir
from app.lifecycle.people import became_one
from app.lifecycle.pulled_tables import Question
from app.lifecycle.tables import HeldLine, HeldState

_QUIET: Final = {"synchronize_session": False}
Listener = Callable[[Session, str, str, str], None]
_listeners: list[Listener] = []


def on_becoming_one(listener: Listener) -> None:
    """Call `listener(session, organization_id, was, now)` when the person `was` turns out to be `now`; registering twice is once."""
    if listener not in _listeners:
        _listeners.append(listener)


def pass_on(session: Session, organization_id: str, was: str, now: str, *, actor: Actor, at: datetime, because: str) -> None:
    """Whatever hangs on `was` hangs on `now`, but for what lets somebody in: that ends."""
    became_one(session).add(was)
    # An identity never moves by itself: at the next sign-in the directory's own id says whom it means.
    session.execute(
        update(Identity)
        .where(Identity.organization_id == organization_id, Identity.person_id == was, Identity.ended_at.is_(None))
        .values(ended_at=at),
        execution_options=_QUIET,
    )
    session.execute(
        update(HeldLine)
        .where(HeldLine.organization_id == organization_id, HeldLine.person_id == was, HeldLine.state == HeldState.OPEN)
        .values(person_id=now),
        execution_options=_QUIET,
    )
    _pass_engagements(session, organization_id, was, now, actor=actor, at=at, because=because)
    # What they wrote stays with their account, and so does the order to keep it; what they write from here on is under it as well.
    for hold in legal_hold.standing(session, organization_id, was):
        legal_hold.place(session, organization_id, now, reason=hold.reason, ordered_by=hold.ordered_by, actor=actor, at=at)
    session.execute(update(Heir).where(Heir.organization_id == organization_id, Heir.heir_id == was).values(heir_id=now), execution_options=_QUIET)
    session.merge(Heir(organization_id=organization_id, person_id=was, heir_id=now, named_by=str(actor), named_at=at))
    session.flush()
    for question in questions.waiting(session, organization_id):
        _rename(question, was, now)
    for listener in _listeners:
        listener(session, organization_id, was, now)


def pass_reports_on(session: Session, organization_id: str, was: str, now: str, *, journal_id: int, at: datetime) -> list[str]:
    """Whoever reported to `was` reports to `now`; returns who that is."""
    reports = session.scalars(
        update(Person)
        .where(Person.organization_id == organization_id, Person.manager_id == was)
        .values(manager_id=now, version=Person.version + 1, modified_at=at, journal_id=journal_id)
        .returning(Person.id),
        execution_options=_QUIET,
    )
    return list(reports)


def _pass_engagements(session: Session, organization_id: str, was: str, now: str, *, actor: Actor, at: datetime, because: str) -> None:
    """Who answers for them goes on answering, where nobody answers for the other; and they answer for whom they answered for."""
    theirs = engagements.open_engagement(session, organization_id, was, lock=True)
    if theirs is not None and engagements.open_engagement(session, organization_id, now) is not None:
        engagements.close(session, theirs, why=because, actor=actor, at=at)
    elif theirs is not None:
        theirs.person_id = now
        session.flush()
    sponsored = select(Engagement).where(Engagement.organization_id == organization_id, Engagement.ended_at.is_(None), Engagement.sponsor_id == was)
    for engagement in session.scalars(sponsored):
        # Nobody answers for themselves: somebody is told that a sponsor is missing.
        engagement.sponsor_id = now if engagement.person_id != now else None
    mine = engagements.open_engagement(session, organization_id, now)
    if mine is not None and mine.sponsor_id == now:
        mine.sponsor_id = None
    session.flush()


def _rename(question: Question, was: str, now: str) -> None:
    """Where `was` might be meant, `now` may; once, where both might."""
    if any(one["person"] == was for one in question.candidates):
        renamed = {one["person"] if one["person"] != was else now: one["because"] for one in question.candidates}
        question.candidates = [{"person": person_id, "because": because} for person_id, because in renamed.items()]
