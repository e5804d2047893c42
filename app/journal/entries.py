"""Writing the journal: the entry comes first, and every row it changes carries its number."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.actors import Actor
from app.journal.tables import Entry

# Every change begins with it, so it is built once.
_ENTRY: Final = insert(Entry).returning(Entry.id)


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

    By the connection on purpose: flushing here would write rows that a verb has changed only in part, under their old number.
    """
    entry = {
        "organization_id": organization_id, "at": at, "actor": str(actor), "verb": verb, "because": because,
        "subject_kind": subject_kind, "subject_id": subject_id, "before": before, "after": after,
    }  # fmt: skip
    number: int | None = session.connection().scalar(_ENTRY, entry)
    assert number is not None
    return number
