"""Tables of HR systems that are known by a description: how each is read and asked, and whom it means by its own ids."""

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Document, Instant


class HRSystem(Base):
    """A source of kind `hr` with a description, kept as the text that was given. One without is our own format.

    `heard_at` is the last good call; `look_again_at` when its API is polled next; `alarmed` that its silence was told.
    """

    __tablename__ = "hr_system"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    source_id: Mapped[str] = mapped_column(Text, primary_key=True)
    description: Mapped[str] = mapped_column(Text)
    variables: Mapped[dict[str, Any]] = mapped_column(Document)
    sealed_credential: Mapped[bytes | None] = mapped_column(LargeBinary)
    allow_private: Mapped[bool] = mapped_column(Boolean, default=False)
    heard_at: Mapped[datetime | None] = mapped_column(Instant)
    polled_at: Mapped[datetime | None] = mapped_column(Instant)
    look_again_at: Mapped[datetime] = mapped_column(Instant)
    last_error: Mapped[str | None] = mapped_column(Text)
    alarmed: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime] = mapped_column(Instant)
    __table_args__ = (Index("ix_hr_system_look_again", "look_again_at"),)


class HRPerson(Base):
    """Whom an HR system means by one of its own ids. `said` is what its API said of them last, so that only news is acted on."""

    __tablename__ = "hr_person"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    source_id: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(ByteText, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText)
    said: Mapped[str | None] = mapped_column(Text)
    linked_at: Mapped[datetime] = mapped_column(Instant)
    __table_args__ = (Index("ix_hr_person_person", "organization_id", "person_id"),)
