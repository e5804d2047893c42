"""Table of erasures: when what a leaver wrote in one workspace is erased there, and how it is known that it was."""

from datetime import datetime

from sqlalchemy import Index, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Document, Instant

WAITING = text("erased_at IS NULL AND ended_at IS NULL")


class Erasure(Base):
    """What is erased of one departure in one workspace. The row is the truth: until `erased_at` or `ended_at` is set it waits for `due_at`.

    `after` is the setting by which it is due, so that another setting is noticed. `begun_at` is when the workspace was first asked,
    which nobody can take back. `next_at` is when it is tried again.
    """

    __tablename__ = "erasure"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    departure_id: Mapped[str] = mapped_column(Text, primary_key=True)
    workspace_id: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText)
    left_at: Mapped[datetime] = mapped_column(Instant)
    after: Mapped[str] = mapped_column(Text)
    due_at: Mapped[datetime] = mapped_column(Instant)
    next_at: Mapped[datetime] = mapped_column(Instant)
    lease_until: Mapped[datetime | None] = mapped_column(Instant)
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    begun_at: Mapped[datetime | None] = mapped_column(Instant)
    accounts: Mapped[list[str] | None] = mapped_column(Document)
    erased_at: Mapped[datetime | None] = mapped_column(Instant)
    grade: Mapped[str | None] = mapped_column(Text)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_why: Mapped[str | None] = mapped_column(Text)
    last_error: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (
        Index("ix_erasure_next", "next_at", postgresql_where=WAITING, sqlite_where=WAITING),
        Index("ix_erasure_person", "organization_id", "person_id"),
    )
