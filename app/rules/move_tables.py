"""Tables of moves: what somebody who stays has left and joined, because of which change, and how far that has come in each workspace."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Instant, Number

OPEN = text("done_at IS NULL AND withdrawn_at IS NULL")


class Step(StrEnum):
    JOINS = "joins"
    LEAVES = "leaves"


class Move(Base):
    """One change that took somebody to other channels. `journal_id` is the entry of that change, where it is known."""

    __tablename__ = "move"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText)
    journal_id: Mapped[int | None] = mapped_column(Number)
    at: Mapped[datetime] = mapped_column(Instant)
    __table_args__ = (Index("ix_move_person", "organization_id", "person_id", "at"),)


class MoveLine(Base):
    """One channel of a move, in one workspace, by the name it had. `until` is how long they stay in one that they leave.

    `done_at` is when they were seen there, or seen to be there no more; `withdrawn_at` is when it was called off by another change.
    """

    __tablename__ = "move_line"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    move_id: Mapped[str] = mapped_column(Text, primary_key=True)
    workspace_id: Mapped[str] = mapped_column(Text, primary_key=True)
    channel_id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    step: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText)
    name: Mapped[str] = mapped_column(Text)
    until: Mapped[datetime | None] = mapped_column(Instant)
    done_at: Mapped[datetime | None] = mapped_column(Instant)
    withdrawn_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (
        Index("ix_move_line_open", "organization_id", "person_id", "workspace_id", postgresql_where=OPEN, sqlite_where=OPEN),
    )
