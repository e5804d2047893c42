"""Table of stays: who is in a channel although no rule says so, on whose word, and until when."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BindParameter, Boolean, ColumnElement, Index, Text, and_, not_, or_, select, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Instant
from app.directory.tables import Standing
from app.revocation.tables import Departure

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


def in_force(at: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """Which stays count at an instant."""
    return and_(Stay.ended_at.is_(None), Stay.begins_at <= at, or_(Stay.ends_at.is_(None), Stay.ends_at > at), not_(is_forfeited()))


def is_forfeited() -> ColumnElement[bool]:
    """Whoever has left since an exception began has lost it for good, also where they were back before anybody wrote that down.

    What was handed over to somebody stays theirs then, since nobody else was chosen meanwhile.
    """
    left = select(Departure.id).where(
        Departure.organization_id == Stay.organization_id, Departure.person_id == Stay.person_id, Departure.means == Standing.DEPARTED,
        Departure.decided_at >= Stay.begins_at,
    )  # fmt: skip
    return and_(Stay.why == Why.EXCEPTION, left.correlate(Stay).exists())
