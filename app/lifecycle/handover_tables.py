"""Tables of handovers: to whom the channels of a leaver go, how far that has come in each place, and what became of each channel."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Instant, Number

BY_THE_RULES = ""
"""Stands for the workspace of channels that the rules make: they are the same in every one."""


class Outcome(StrEnum):
    """What became of a channel whose owner left."""

    HANDED_OVER = "handed over"
    OTHERS_OWN_IT = "others own it"
    NOBODY_IN_IT = "nobody else is in it"
    COULD_NOT = "could not"


class Arrival(StrEnum):
    """How the new owner stands in the channel: in it, asked in, or free to come by themselves."""

    JOINED = "joined"
    INVITED = "invited"
    OPEN = "open"


class Heir(Base):
    """To whom somebody's channels are to go, as it was said before they left. Without a `heir_id` they go to nobody."""

    __tablename__ = "heir"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    heir_id: Mapped[str | None] = mapped_column(ByteText)
    named_by: Mapped[str] = mapped_column(Text)
    named_at: Mapped[datetime] = mapped_column(Instant)


class Handover(Base):
    """What goes with one departure. `how` says why it is this heir; where there is none, why there is none."""

    __tablename__ = "handover"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    departure_id: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText)
    heir_id: Mapped[str | None] = mapped_column(ByteText)
    how: Mapped[str] = mapped_column(Text)
    begun_at: Mapped[datetime] = mapped_column(Instant)
    journal_id: Mapped[int] = mapped_column(Number)
    __table_args__ = (Index("ix_handover_person", "organization_id", "person_id"),)


class HandoverPlace(Base):
    """How far the channels of one workspace that are not ours were gone through. Until `done_at` the account is only locked there.

    `upto` is the last of them, in their order, of which it is known what became of it; `attempts` counts failures at the next.
    """

    __tablename__ = "handover_place"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    departure_id: Mapped[str] = mapped_column(Text, primary_key=True)
    workspace_id: Mapped[str] = mapped_column(Text, primary_key=True)
    begun_at: Mapped[datetime] = mapped_column(Instant)
    upto: Mapped[str] = mapped_column(ByteText, default="", server_default="")
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    done_at: Mapped[datetime | None] = mapped_column(Instant)
    last_error: Mapped[str | None] = mapped_column(Text)


class HandedChannel(Base):
    """One channel that a leaver owned, and what became of it. `channel` is the workspace's own id, or ours where the rules make it."""

    __tablename__ = "handed_channel"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    departure_id: Mapped[str] = mapped_column(Text, primary_key=True)
    workspace_id: Mapped[str] = mapped_column(Text, primary_key=True)
    channel: Mapped[str] = mapped_column(ByteText, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    to_person_id: Mapped[str | None] = mapped_column(ByteText)
    to_account: Mapped[str | None] = mapped_column(Text)
    arrival: Mapped[str | None] = mapped_column(Text)
    because: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Instant)
