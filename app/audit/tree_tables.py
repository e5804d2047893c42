"""Tables of the audit tree: one tree for each organisation, so that what is shown of one says nothing of another."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Integer, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Instant, Number


class AuditTree(Base):
    """How far a tree has grown. `frontier` holds its largest complete subtrees (hex), `origin` names it in every checkpoint for ever.

    `sequenced_at` never goes back, whatever the clock does. `pruned` leaves at the left have lost their content.
    """

    __tablename__ = "audit_tree"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    origin: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(Number, default=0)
    frontier: Mapped[list[str]] = mapped_column(Document, default=list)
    sequenced_at: Mapped[datetime] = mapped_column(Instant)
    checkpoint_size: Mapped[int] = mapped_column(Number, default=0)
    checkpoint_at: Mapped[datetime | None] = mapped_column(Instant)
    pruned: Mapped[int] = mapped_column(Number, default=0)


class AuditLeaf(Base):
    """One leaf. `leaf` is the text that was hashed; `salt` opens its digests, and without it they say nothing.

    `kind` and `source_id` are the row it was made from, which is one leaf and never two.
    """

    __tablename__ = "audit_leaf"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(Text)
    source_id: Mapped[int] = mapped_column(Number)
    sequenced_at: Mapped[datetime] = mapped_column(Instant)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    leaf: Mapped[str | None] = mapped_column(Text)
    salt: Mapped[bytes | None] = mapped_column(LargeBinary)
    __table_args__ = (Index("uq_audit_leaf_source", "organization_id", "kind", "source_id", unique=True),)


class AuditNode(Base):
    """The hash of a complete subtree, kept on every eighth level: what lies between is 128 hashes away at most."""

    __tablename__ = "audit_node"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    level: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class AuditCheckpoint(Base):
    """A signed statement of what the tree was at one size. `note` is what others are given; `published_at` when the last of them had it."""

    __tablename__ = "audit_checkpoint"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    size: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(Instant)
    root: Mapped[bytes] = mapped_column(LargeBinary)
    note: Mapped[str] = mapped_column(Text)
    published_at: Mapped[datetime | None] = mapped_column(Instant)


class AuditSequencer(Base):
    """How far the rows of one kind have been looked at: all up to `high`, but for the numbers in `gaps`, which may still be committed.

    A gap is its first and last number and the instant (of the database's clock, in microseconds) at which it was seen.
    """

    __tablename__ = "audit_sequencer"
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    high: Mapped[int] = mapped_column(Number, default=0)
    gaps: Mapped[list[Any]] = mapped_column(Document, default=list)


class AuditDelivery(Base):
    """How far a tree's leaves were handed to one receiver: `next` is moved only once it has them.

    So is how far they were looked at again (`rounds.RECEIVER`).
    """

    __tablename__ = "audit_delivery"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    receiver: Mapped[str] = mapped_column(Text, primary_key=True)
    next: Mapped[int] = mapped_column(Number, default=0)
    delivered_at: Mapped[datetime | None] = mapped_column(Instant)
    last_error: Mapped[str | None] = mapped_column(Text)
