"""Tables of the journal: organisations, entries, workspaces to be kept in step, and work."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Document, Instant, Number


class Organization(Base):
    """`schemas_version` is the entry that last changed what schemas are declared; null where none ever was."""

    __tablename__ = "organization"
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    settings: Mapped[dict[str, Any]] = mapped_column(Document, default=dict)
    created_at: Mapped[datetime] = mapped_column(Instant)
    schemas_version: Mapped[int | None] = mapped_column(Number)


class Entry(Base):
    """One change: who, what, why, and what was there before. Never updated, never deleted."""

    __tablename__ = "journal"
    id: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    organization_id: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Instant)
    actor: Mapped[str] = mapped_column(Text)
    verb: Mapped[str] = mapped_column(Text)
    because: Mapped[str] = mapped_column(Text)
    subject_kind: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[str] = mapped_column(Text)
    before: Mapped[dict[str, Any] | None] = mapped_column(Document)
    after: Mapped[dict[str, Any] | None] = mapped_column(Document)
    __table_args__ = (Index("ix_journal_subject", "organization_id", "subject_id", "id"),)


class Lane(StrEnum):
    DEPARTURES = "departures"
    SYNC = "sync"


class Subject(StrEnum):
    """What a row of work says to look at. `PERSON` and `GROUP` belong to no workspace yet: they are expanded.

    `ACCESS` is what a person was let into from here: Doorlist itself, a relying party, a stream of signals.
    """

    PERSON = "person"
    GROUP = "group"
    DUE = "due"
    ACCOUNT = "account"
    CHANNEL = "channel"
    ROSTER = "roster"
    ACCESS = "access"


HERE: Final = "doorlist"
"""Stands for Doorlist itself where a workspace's id is asked for: no workspace has such an id."""


class WorkState(StrEnum):
    WAITING = "waiting"
    PARKED = "parked"


class Work(Base):
    """*Look at this one*: never a command. `generation` moves each time it is wanted again."""

    __tablename__ = "work"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    workspace_id: Mapped[str] = mapped_column(Text, primary_key=True)
    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    subject_id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    lane: Mapped[str] = mapped_column(Text, primary_key=True)
    priority: Mapped[int] = mapped_column(Integer)
    due_at: Mapped[datetime] = mapped_column(Instant)
    state: Mapped[str] = mapped_column(Text, default=WorkState.WAITING)
    generation: Mapped[int] = mapped_column(Integer, default=1)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    because: Mapped[int | None] = mapped_column(Number)
    claimed_by: Mapped[str | None] = mapped_column(Text)
    claimed_generation: Mapped[int | None] = mapped_column(Integer)
    claimed_at: Mapped[datetime | None] = mapped_column(Instant)
    lease_until: Mapped[datetime | None] = mapped_column(Instant)
    last_error: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (Index("ix_work_next", "lane", "state", "priority", "due_at"),)
