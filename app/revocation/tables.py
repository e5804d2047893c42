"""Tables of revocation: a departure and, per workspace, how its end was proved."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Document, Instant, Number


class Grade(StrEnum):
    """How a fact about a workspace is known, best first."""

    PROBED = "probed"
    REREAD = "re-read"
    CLAIMED = "claimed"


class Departure(Base):
    """One loss of access. `means` is *departed* or *paused*; `ended_at` is set when the person returned."""

    __tablename__ = "departure"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText)
    means: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    due_at: Mapped[datetime] = mapped_column(Instant)
    received_at: Mapped[datetime] = mapped_column(Instant)
    decided_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    journal_id: Mapped[int] = mapped_column(Number)
    __table_args__ = (
        Index("ix_departure_person", "organization_id", "person_id", "decided_at"),
        Index("ix_departure_decided", "organization_id", "decided_at", "id"),
    )


class Proof(Base):
    """A departure in one workspace: every instant, what was closed, and how *shut* and *gone* are known."""

    __tablename__ = "proof"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    departure_id: Mapped[str] = mapped_column(Text, primary_key=True)
    workspace_id: Mapped[str] = mapped_column(Text, primary_key=True)
    sent_at: Mapped[datetime | None] = mapped_column(Instant)
    acknowledged_at: Mapped[datetime | None] = mapped_column(Instant)
    shut_at: Mapped[datetime | None] = mapped_column(Instant)
    shut_grade: Mapped[str | None] = mapped_column(Text)
    gone_at: Mapped[datetime | None] = mapped_column(Instant)
    gone_grade: Mapped[str | None] = mapped_column(Text)
    closed: Mapped[dict[str, Any] | None] = mapped_column(Document)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    last_error: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (
        Index("ix_proof_open", "organization_id", "gone_at"),
        Index("ix_proof_shut", "organization_id", "workspace_id", "shut_at"),
    )
