"""Verbs on parked work: subjects that a workspace refused, and that a person looks at."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.journal import entries, work
from app.journal.tables import Lane, Subject, Work, WorkState
from app.lifecycle.errors import NotFound


def parked_work(session: Session, organization_id: str) -> Sequence[Work]:
    """Everything that was set aside, in a stable order."""
    return session.scalars(
        select(Work)
        .where(Work.organization_id == organization_id, Work.state == WorkState.PARKED)
        .order_by(Work.workspace_id, Work.subject, Work.subject_id)
    ).all()


def find_parked(session: Session, organization_id: str, *, workspace_id: str, subject: str, subject_id: str, lane: str) -> Work:
    """One parked row, locked. Raises NotFound where it is parked no more."""
    row = session.scalar(
        select(Work)
        .where(
            Work.organization_id == organization_id, Work.workspace_id == workspace_id, Work.subject == subject, Work.subject_id == subject_id,
            Work.lane == lane, Work.state == WorkState.PARKED,
        )
        .with_for_update()
    )  # fmt: skip
    if row is None:
        raise NotFound("parked", f"{subject} {subject_id}")
    return row


def retry_work(session: Session, row: Work, *, actor: Actor, at: datetime) -> None:
    """Look at the subject again, now."""
    entry = _write(session, row, "parked work retried", actor=actor, at=at)
    work.want(
        session, row.organization_id, subject=Subject(row.subject), subject_ids=[row.subject_id], because=entry, due_at=at, lane=Lane(row.lane),
        workspace_id=row.workspace_id,
    )  # fmt: skip


def drop_work(session: Session, row: Work, *, actor: Actor, at: datetime) -> None:
    """Leave the subject as it is there, until something about it changes."""
    _write(session, row, "parked work dropped", actor=actor, at=at)
    session.execute(
        delete(Work).where(
            Work.organization_id == row.organization_id, Work.workspace_id == row.workspace_id, Work.subject == row.subject,
            Work.subject_id == row.subject_id, Work.lane == row.lane, Work.state == WorkState.PARKED,
        ),
        execution_options={"synchronize_session": False},
    )  # fmt: skip


def _write(session: Session, row: Work, what: str, *, actor: Actor, at: datetime) -> int:
    return entries.write(
        session, row.organization_id, at=at, actor=actor, verb=what, because="operator", subject_kind=row.subject, subject_id=row.subject_id,
        before={"workspace": row.workspace_id, "error": row.last_error},
    )  # fmt: skip
