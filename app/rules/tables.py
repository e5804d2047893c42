"""Tables of rules: the revisions of the rule file, the channels they reach, and the mirror of channels in workspaces."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Document, Instant

RULE = "rule"
BESIDE = "beside the rules"
"""Why a member is there whom no rule put there: an exception, or a channel that was handed over (`stays`)."""
LOST = "its room was deleted"
"""Why a member is there whose room somebody deleted: they are put into the new one, although they were put in before."""
RETURNED = "they returned"
"""Why a member is there who was shut out meanwhile: they are put in again likewise, since they left nothing of themselves."""
AGAIN = frozenset({LOST, RETURNED})
"""Of whoever is to be put in again."""
MOVED = "moved"
"""Why a member's row is still there although they were taken out: for `moves` to see where everybody went."""


class ChannelState(StrEnum):
    ACTIVE = "active"
    EMPTY = "empty"
    ARCHIVED = "archived"


class Revision(Base):
    """One version of the rule file, kept as it was applied; the newest is in force."""

    __tablename__ = "rules_revision"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    rules: Mapped[dict[str, Any]] = mapped_column(Document)
    applied_at: Mapped[datetime] = mapped_column(Instant)
    applied_by: Mapped[str] = mapped_column(Text)


class Channel(Base):
    """A channel of the organisation, the same in every workspace. Its `name` is unique: two rules with one name share it.

    `plain` is the name without the number that keeps it apart from another; None where a version before 0031 of the schema did not say.
    """

    __tablename__ = "channel"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    plain: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, default=ChannelState.ACTIVE)
    space: Mapped[bool] = mapped_column(Boolean, default=False)
    empty_since: Mapped[datetime | None] = mapped_column(Instant)
    created_at: Mapped[datetime] = mapped_column(Instant)
    __table_args__ = (Index("uq_channel_name", "organization_id", "name", unique=True),)


class Reach(Base):
    """Which channel a rule reaches for a key (a department's name, a manager's id, a group's id, or "" for everyone)."""

    __tablename__ = "reach"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    rule_id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    key: Mapped[str] = mapped_column(ByteText, primary_key=True)
    channel_id: Mapped[str] = mapped_column(ByteText)
    created_at: Mapped[datetime] = mapped_column(Instant)
    __table_args__ = (Index("ix_reach_channel", "organization_id", "channel_id"),)


class Room(Base):
    """The mirror of a channel in one workspace. `ref` is the workspace's own id, unknown until it is made there."""

    __tablename__ = "room"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    workspace_id: Mapped[str] = mapped_column(Text, primary_key=True)
    channel_id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    key: Mapped[str] = mapped_column(Text)
    ref: Mapped[str | None] = mapped_column(Text)
    shown: Mapped[str | None] = mapped_column(Text)
    seen_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (
        Index("uq_room_key", "organization_id", "workspace_id", "key", unique=True),
        Index("ix_room_ref", "organization_id", "workspace_id", "ref"),
    )


class ChannelMember(Base):
    """The mirror of one membership: since when, why, and until when it is kept although no rule asks for it any more."""

    __tablename__ = "channel_member"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    workspace_id: Mapped[str] = mapped_column(Text, primary_key=True)
    channel_id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    why: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime] = mapped_column(Instant)
    keep_until: Mapped[datetime | None] = mapped_column(Instant)
    left_at: Mapped[datetime | None] = mapped_column(Instant)
    # Where somebody is, is asked with and without the workspace. Holds the channel too: SQLite would else rather read all members in the key's index.
    __table_args__ = (Index("ix_channel_member_person", "organization_id", "person_id", "workspace_id", "channel_id"),)
