"""Whoever an operator keeps out for good is known by what their directory called them, also after it has deleted them.

Who is deleted and pushed again is somebody new, whom nothing joins to the one before but the organisation's keys: names and ids are given
again, in some directories. Only of whom an operator has barred that is not left to it: else a directory would let in whom it must not.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session

from app.directory.tables import Record, Statement, StatementKind
from app.lifecycle.drafts import RecordDraft, number_of
from app.lifecycle.matching import One
from app.lifecycle.people import lock_person
from app.lifecycle.standing import as_said, counts


def barred(session: Session, organization_id: str, source_id: str, draft: RecordDraft, *, at: datetime) -> One | None:
    """Whom this directory called so and has deleted, where a bar keeps them out or will on its day. Whoever has another number is somebody else."""
    if draft.external_id is None:
        return None
    deleted = session.execute(
        select(Record.person_id, Record.employee_number)
        .where(
            Record.organization_id == organization_id, Record.source_id == source_id, Record.external_id == draft.external_id,
            Record.ended_at.is_not(None),
        )
        .order_by(Record.ended_at.desc(), Record.id)
    ).all()  # fmt: skip
    number = number_of(draft)
    for one in deleted:
        if (number is None or one.employee_number in (None, number)) and _is_barred(session, organization_id, one.person_id, at=at):
            return One(person_id=one.person_id, by="externalId")
    return None


def was_deleted(organization: ColumnElement[str], source: ColumnElement[str], external_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a directory has deleted anybody whom it called so: then somebody has to look whether they are barred."""
    return exists().where(
        Record.organization_id == organization, Record.source_id == source, Record.external_id == external_id, Record.ended_at.is_not(None)
    )


def _is_barred(session: Session, organization_id: str, person_id: str, *, at: datetime) -> bool:
    # Held, so that an operator who is saying so at this moment is waited for.
    lock_person(session, organization_id, person_id)
    heard = session.scalars(
        select(Statement).where(
            Statement.organization_id == organization_id, Statement.person_id == person_id, Statement.withdrawn_at.is_(None),
            Statement.held.is_(False),
        )
    )  # fmt: skip
    said = [as_said(one) for one in heard]
    return any(one.kind is StatementKind.BARS and counts(one, said, now=at) for one in said)
