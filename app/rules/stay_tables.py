"""Table of stays: who is in a channel although no rule says so, on whose word, and until when."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Boolean, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Instant

STANDS = text("ended_at IS NULL")


class Why(StrEnum):
    """An exception has an approver and an end. A handover lasts for as long as nobody else owns the channel."""

    EXCEPTION = "exception"
    HANDOVER = "handover"


class Stay(Base):
    """Somebody belongs in a channel beside the rules; with `owns` they own it as well.

    Of an exception `approved_by` is the person who answers for it, of a handover `departure_id` is whose channel it was.
    """

    __tablename__ = "stay"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    channel_id: Mapped[str] = mapped_column(ByteText)
    person_id: Mapped[str] = mapped_column(ByteText)
    why: Mapped[str] = mapped_column(Text)
    owns: Mapped[bool] = mapped_column(Boolean, default=False)
    approved_by: Mapped[str | None] = mapped_column(ByteText)
    reason: Mapped[str] = mapped_column(Text)
    departure_id: Mapped[str | None] = mapped_column(Text)
    entered_by: Mapped[str] = mapped_column(Text)
    begins_at: Mapped[datetime] = mapped_column(Instant)
    ends_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_why: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (
        # One of each kind is enough for one person in one channel.
        Index("uq_stay", "organization_id", "person_id", "channel_id", "why", unique=True, postgresql_where=STANDS, sqlite_where=STANDS),
        Index("ix_stay_channel", "organization_id", "channel_id", postgresql_where=STANDS, sqlite_where=STANDS),
        Index("ix_stay_ends", "ends_at", postgresql_where=STANDS, sqlite_where=STANDS),
    )
