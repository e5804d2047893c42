"""Table of HR calls: each is kept under the sender's own id, so that a repetition has no second effect."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Integer, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Instant, Number


def _where(what: str) -> dict[str, Any]:
    return {"postgresql_where": text(what), "sqlite_where": text(what)}


class HREvent(Base):
    """One call, or one piece of news from a vendor's API.

    `body` is what is acted on, in our own format and nothing more; the bytes that came are sealed, and deleted after a
    while, when only `sha256` is left of them. `person_key` is what the vendor calls the person. `due_at` is when it is
    worked on again: its details are to be asked for, or it takes effect on a later day. `heard_after` is how far the journal was when it came.
    """

    __tablename__ = "hr_event"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    source_id: Mapped[str] = mapped_column(Text, primary_key=True)
    event_id: Mapped[str] = mapped_column(Text, primary_key=True)
    received_at: Mapped[datetime] = mapped_column(Instant)
    heard_after: Mapped[int | None] = mapped_column(Number)
    sha256: Mapped[str] = mapped_column(Text)
    body: Mapped[dict[str, Any]] = mapped_column(Document)
    state: Mapped[str] = mapped_column(Text)
    person_id: Mapped[str | None] = mapped_column(Text)
    problem: Mapped[str | None] = mapped_column(Text)
    employee_id: Mapped[str | None] = mapped_column(Text)
    sealed_body: Mapped[bytes | None] = mapped_column(LargeBinary)
    person_key: Mapped[str | None] = mapped_column(Text)
    due_at: Mapped[datetime | None] = mapped_column(Instant)
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    __table_args__ = (
        Index("ix_hr_event_parked", "organization_id", "state", "employee_id"),
        Index("ix_hr_event_person", "organization_id", "person_id", **_where("person_id IS NOT NULL")),
        Index("ix_hr_event_key", "organization_id", "source_id", "person_key", **_where("person_key IS NOT NULL")),
        Index("ix_hr_event_due", "due_at", **_where("due_at IS NOT NULL")),
        Index("ix_hr_event_sealed", "received_at", **_where("sealed_body IS NOT NULL")),
    )
