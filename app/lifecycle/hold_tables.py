"""Table of legal holds: nothing that somebody wrote is erased for as long as one of theirs stands."""

from datetime import datetime

from sqlalchemy import Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Instant

STANDING = text("ended_at IS NULL")


class LegalHold(Base):
    """One order to keep what a person wrote, whatever their standing. Several may stand at a time, each ended by itself.

    `ordered_by` is who asked for it, as they are known outside of here; `placed_by` is who entered it.
    """

    __tablename__ = "legal_hold"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText)
    reason: Mapped[str] = mapped_column(Text)
    ordered_by: Mapped[str] = mapped_column(Text)
    placed_by: Mapped[str] = mapped_column(Text)
    placed_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_by: Mapped[str | None] = mapped_column(Text)
    ended_because: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (
        Index("ix_legal_hold_standing", "organization_id", "person_id", postgresql_where=STANDING, sqlite_where=STANDING),
        Index("ix_legal_hold_person", "organization_id", "person_id"),
    )
