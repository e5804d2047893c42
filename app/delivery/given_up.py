"""Addresses that an account has given up: whoever was refused one, since no two accounts have it, may have it now."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.directory.names import name_key
from app.directory.tables import Record, RecordEmail
from app.journal import work
from app.journal.tables import Lane, Subject, Work, WorkState
from app.journal.work import Claim


def offer(session: Session, taken: Claim, addresses: Iterable[str], *, at: datetime) -> None:
    """Have everybody looked at again whom a directory gives one of them, and who was refused in this workspace, or is being so just now."""
    keys = sorted({name_key(one) for one in addresses})
    if not keys:
        return
    theirs = (
        select(Record.person_id)
        .join(RecordEmail, (RecordEmail.organization_id == Record.organization_id) & (RecordEmail.record_id == Record.id))
        .where(RecordEmail.organization_id == taken.organization_id, RecordEmail.address_key.in_(keys), Record.person_id != taken.subject_id)
    )
    refused = session.scalars(
        select(Work.subject_id).where(
            Work.organization_id == taken.organization_id, Work.workspace_id == taken.workspace_id, Work.subject == Subject.ACCOUNT,
            Work.lane == Lane.SYNC, Work.subject_id.in_(theirs), or_(Work.state == WorkState.PARKED, Work.claimed_by.is_not(None)),
        )
    ).all()  # fmt: skip
    work.want(
        session, taken.organization_id, subject=Subject.ACCOUNT, subject_ids=refused, because=None, due_at=at, workspace_id=taken.workspace_id
    )
