"""Tables of what is pulled: how far each source was read, what it said of each entry, runs that can be undone, and questions."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, Index, Integer, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Document, Instant, Number
from app.directory.tables import having


class SourceState(Base):
    """How far a source was read and how that went. Not journaled: it says what we know, and nothing of anybody.

    `claimed_until` is a lease: one pull of a source at a time, over all processes. `cursor` is good behind everything that
    is applied, and moves in the transaction of the last of it. `woken_at` is when the source last said that something changed, until
    that is read; `subscriptions` are those under which it says so, with when each ends (ISO 8601).
    """

    __tablename__ = "source_state"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    source_id: Mapped[str] = mapped_column(Text, primary_key=True)
    cursor: Mapped[str | None] = mapped_column(Text)
    cursor_at: Mapped[datetime | None] = mapped_column(Instant)
    tried_at: Mapped[datetime | None] = mapped_column(Instant)
    pulled_at: Mapped[datetime | None] = mapped_column(Instant)
    full_at: Mapped[datetime | None] = mapped_column(Instant)
    next_at: Mapped[datetime | None] = mapped_column(Instant)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    problem: Mapped[str | None] = mapped_column(Text)
    people: Mapped[int | None] = mapped_column(Integer)
    groups: Mapped[int | None] = mapped_column(Integer)
    milliseconds: Mapped[int | None] = mapped_column(Integer)
    woken_at: Mapped[datetime | None] = mapped_column(Instant)
    subscriptions: Mapped[dict[str, str] | None] = mapped_column(Document)
    claimed_by: Mapped[str | None] = mapped_column(Text)
    claimed_until: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (Index("ix_source_state_next", "next_at", **having("next_at")),)


class PulledEntry(Base):
    """One entry of a source by the source's own key: which record or group it is here, and a digest of what was last taken over.

    `missing_since` is when the source first answered that it is not there. `kept` says why it stays as it is here although the source
    says otherwise (somebody undid or rejected that), for as long as the source says the same. `manager_key` is a manager who
    is not known yet.
    """

    __tablename__ = "pulled_entry"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    source_id: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(ByteText, primary_key=True)
    subject_id: Mapped[str | None] = mapped_column(ByteText)
    digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    missing_since: Mapped[datetime | None] = mapped_column(Instant)
    kept: Mapped[str | None] = mapped_column(Text)
    manager_key: Mapped[str | None] = mapped_column(ByteText)
    __table_args__ = (
        Index("ix_pulled_entry_subject", "organization_id", "subject_id", **having("subject_id")),
        Index("ix_pulled_entry_missing", "organization_id", "source_id", "kind", "key", **having("missing_since")),
        Index("ix_pulled_entry_manager", "organization_id", "source_id", "kind", "key", **having("manager_key")),
    )


class AwaitedMember(Base):
    """A member that a group names and that is nobody here yet: they become one when they join."""

    __tablename__ = "awaited_member"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    source_id: Mapped[str] = mapped_column(Text, primary_key=True)
    member_key: Mapped[str] = mapped_column(ByteText, primary_key=True)
    group_key: Mapped[str] = mapped_column(ByteText, primary_key=True)
    # Holds the member too: SQLite would else rather read all of the source in the key's index, which does.
    __table_args__ = (Index("ix_awaited_member_group", "organization_id", "source_id", "group_key", "member_key"),)


class RunKind(StrEnum):
    PULL = "pull"
    APPROVAL = "approval"
    UNDO = "undo"


class RunState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    HELD = "held"
    FAILED = "failed"
    UNDONE = "undone"


class Run(Base):
    """One pull of a source, or what somebody decided about one. Numbers count up within the organisation."""

    __tablename__ = "run"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    source_id: Mapped[str | None] = mapped_column(Text)
    whole: Mapped[bool] = mapped_column(Boolean, default=False)
    state: Mapped[str] = mapped_column(Text, default=RunState.RUNNING)
    actor: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    seen: Mapped[int] = mapped_column(Integer, default=0)
    joined: Mapped[int] = mapped_column(Integer, default=0)
    moved: Mapped[int] = mapped_column(Integer, default=0)
    left: Mapped[int] = mapped_column(Integer, default=0)
    unchanged: Mapped[int] = mapped_column(Integer, default=0)
    missing: Mapped[int] = mapped_column(Integer, default=0)
    asked: Mapped[int] = mapped_column(Integer, default=0)
    held_id: Mapped[str | None] = mapped_column(Text)
    of_run: Mapped[int | None] = mapped_column(Integer)
    problem: Mapped[str | None] = mapped_column(Text)
    notes: Mapped[list[str]] = mapped_column(Document, default=list)
    __table_args__ = (Index("ix_run_source", "organization_id", "source_id", "started_at"),)


class Took(StrEnum):
    """What a run takes: a record switched off, given an end, or gone, a record out of a group, a group that ends."""

    OFF = "off"
    ENDS = "ends"
    GONE = "gone"
    OUT = "out"
    GROUP_GONE = "group gone"


class RunLine(Base):
    """One thing that a run took, so that it can be put back. `journal_id` is the entry that took it."""

    __tablename__ = "run_line"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    run: Mapped[int] = mapped_column(Integer, primary_key=True)
    line: Mapped[int] = mapped_column(Integer, primary_key=True)
    took: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[str] = mapped_column(ByteText)
    group_id: Mapped[str | None] = mapped_column(ByteText)
    person_id: Mapped[str | None] = mapped_column(ByteText)
    journal_id: Mapped[int] = mapped_column(Number)
    undone_by: Mapped[int | None] = mapped_column(Integer)


class QuestionState(StrEnum):
    OPEN = "open"
    ANSWERED = "answered"
    WITHDRAWN = "withdrawn"


class Question(Base):
    """*Is this the same person?* asked of an administrator, with everybody who might be meant.

    It is about an entry of a pulled source that waits outside (`source_key`, with what was said of it in `draft`), or about a
    pushed record that has a person of its own until then (`record_id`).
    """

    __tablename__ = "question"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    source_id: Mapped[str] = mapped_column(Text)
    source_key: Mapped[str | None] = mapped_column(ByteText)
    record_id: Mapped[str | None] = mapped_column(ByteText)
    draft: Mapped[dict[str, Any] | None] = mapped_column(Document)
    reason: Mapped[str] = mapped_column(Text)
    candidates: Mapped[list[dict[str, str]]] = mapped_column(Document)
    state: Mapped[str] = mapped_column(Text, default=QuestionState.OPEN)
    asked_at: Mapped[datetime] = mapped_column(Instant)
    answer: Mapped[str | None] = mapped_column(Text)
    answered_by: Mapped[str | None] = mapped_column(Text)
    answered_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (
        Index("ix_question_state", "organization_id", "state"),
        Index("ix_question_source_key", "organization_id", "source_id", "source_key"),
        Index("ix_question_record", "organization_id", "record_id"),
    )
