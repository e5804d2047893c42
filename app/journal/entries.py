"""Writing the journal: the entry comes first, and every row it changes carries its number."""

from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.actors import Actor
from app.journal.tables import Entry


def write(
    session: Session,
    organization_id: str,
    *,
    at: datetime,
    actor: Actor,
    verb: str,
    because: str,
    subject_kind: str,
    subject_id: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> int:
    """Append one entry in the caller's transaction and return its number.

    A plain statement on purpose: flushing here would write rows that a verb has changed only in part, under their old number.
    """
    statement = insert(Entry).values(
        organization_id=organization_id, at=at, actor=str(actor), verb=verb, because=because,
        subject_kind=subject_kind, subject_id=subject_id, before=before, after=after,
    )  # fmt: skip
    with session.no_autoflush:
        number: int | None = session.scalar(statement.returning(Entry.id))
    assert number is not None
    return number
