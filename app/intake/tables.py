"""Table of HR calls: each is kept under the sender's own id, so that a repetition has no second effect."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Instant


class HREvent(Base):
    __tablename__ = "hr_event"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    source_id: Mapped[str] = mapped_column(Text, primary_key=True)
    event_id: Mapped[str] = mapped_column(Text, primary_key=True)
    received_at: Mapped[datetime] = mapped_column(Instant)
    sha256: Mapped[str] = mapped_column(Text)
    body: Mapped[dict[str, Any]] = mapped_column(Document)
    state: Mapped[str] = mapped_column(Text)
    person_id: Mapped[str | None] = mapped_column(Text)
    problem: Mapped[str | None] = mapped_column(Text)
    employee_id: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (Index("ix_hr_event_parked", "organization_id", "state", "employee_id"),)
