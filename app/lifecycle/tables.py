"""Tables of the brake: what is held, line by line, until somebody named lets it through."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Document, Instant

OF_A_PERSON = text("person_id IS NOT NULL")


class HeldState(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class Held(Base):
    """Intentions that wait: a burst of pushes, a pulled listing, or a rules revision whose effect is too large.

    `seconded_by` is the first of two administrators, where the organisation asks for two.
    """

    __tablename__ = "held"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    source_id: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, Any] | None] = mapped_column(Document)
    state: Mapped[str] = mapped_column(Text, default=HeldState.OPEN)
    created_at: Mapped[datetime] = mapped_column(Instant)
    seconded_by: Mapped[str | None] = mapped_column(Text)
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    decided_by: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (Index("ix_held_state", "organization_id", "state"),)


class HeldLine(Base):
    """One intention: a record (or a statement) in a certain version, and what it would become."""

    __tablename__ = "held_line"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    held_id: Mapped[str] = mapped_column(Text, primary_key=True)
    subject_kind: Mapped[str] = mapped_column(Text, primary_key=True)
    subject_id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    version: Mapped[str] = mapped_column(Text)
    becomes: Mapped[str] = mapped_column(Text)
    person_id: Mapped[str | None] = mapped_column(ByteText)
    state: Mapped[str] = mapped_column(Text, default=HeldState.OPEN)
    created_at: Mapped[datetime] = mapped_column(Instant)
    __table_args__ = (
        Index("ix_held_line_state", "organization_id", "held_id", "state", "subject_kind", "subject_id"),
        Index("ix_held_line_subject", "organization_id", "subject_id"),
        Index("ix_held_line_person", "organization_id", "person_id", postgresql_where=OF_A_PERSON, sqlite_where=OF_A_PERSON),
    )


class PushedOff(Base):
    """One *off* that a source pushed and that took effect at once; counted by the brake, then of no more use."""

    __tablename__ = "pushed_off"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    source_id: Mapped[str] = mapped_column(Text, primary_key=True)
    subject_id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    at: Mapped[datetime] = mapped_column(Instant)
    __table_args__ = (Index("ix_pushed_off_at", "organization_id", "source_id", "at"),)
