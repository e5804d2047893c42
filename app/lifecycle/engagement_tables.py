"""Tables of engagements: for how long somebody who is no employee is here, who answers for them, and who is asked about it."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Instant

OPEN = text("ended_at IS NULL")
OVER = text("ended_at IS NOT NULL")
TO_BE_POSTED = text("posted_at IS NULL AND dropped_at IS NULL")


class Origin(StrEnum):
    """Who said that somebody is no employee: an operator who took them on, or a directory by what it calls them."""

    OPERATOR = "operator"
    DIRECTORY = "directory"


class Engagement(Base):
    """The time for which somebody who is no employee is here. One is open for a person at a time.

    The sponsor is a person who answers for them. Access ends by `ends_at`, which the sponsor's voice said; of an engagement
    that a directory named and nobody has answered for yet, it is the directory's own date, or none. `lapsed_at` is when that
    day passed without an answer.
    """

    __tablename__ = "engagement"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText)
    kind: Mapped[str] = mapped_column(Text)
    origin: Mapped[str] = mapped_column(Text)
    sponsor_id: Mapped[str | None] = mapped_column(ByteText)
    starts_at: Mapped[datetime | None] = mapped_column(Instant)
    ends_at: Mapped[datetime | None] = mapped_column(Instant)
    attested_at: Mapped[datetime | None] = mapped_column(Instant)
    attested_by: Mapped[str | None] = mapped_column(Text)
    lapsed_at: Mapped[datetime | None] = mapped_column(Instant)
    created_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_why: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (
        Index("uq_engagement_person", "organization_id", "person_id", unique=True, postgresql_where=OPEN, sqlite_where=OPEN),
        Index("ix_engagement_over", "organization_id", "person_id", postgresql_where=OVER, sqlite_where=OVER),
        Index("ix_engagement_sponsor", "organization_id", "sponsor_id", postgresql_where=OPEN, sqlite_where=OPEN),
        Index("ix_engagement_ends", "ends_at", postgresql_where=OPEN, sqlite_where=OPEN),
    )


class SponsorLetter(Base):
    """One letter to whoever answers for an engagement then, `days` before its end; 0 says that it has ended.

    The row is the truth: until `posted_at` or `dropped_at` is set it is tried again when due.
    """

    __tablename__ = "sponsor_letter"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    engagement_id: Mapped[str] = mapped_column(Text, primary_key=True)
    ends_at: Mapped[datetime] = mapped_column(Instant, primary_key=True)
    days: Mapped[int] = mapped_column(Integer, primary_key=True)
    due_at: Mapped[datetime] = mapped_column(Instant)
    lease_until: Mapped[datetime | None] = mapped_column(Instant)
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    posted_at: Mapped[datetime | None] = mapped_column(Instant)
    dropped_at: Mapped[datetime | None] = mapped_column(Instant)
    last_error: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (Index("ix_sponsor_letter_due", "due_at", postgresql_where=TO_BE_POSTED, sqlite_where=TO_BE_POSTED),)
