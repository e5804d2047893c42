"""Tables of shared signals: whose we hear and what became of each, and who hears ours and what waits for them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, Index, Integer, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Document, Instant

STANDS = text("ended_at IS NULL")
WAITS = text("settled_at IS NULL")


class Delivery(StrEnum):
    """How events travel: the transmitter posts them (RFC 8935), or the receiver fetches them (RFC 8936)."""

    PUSH = "push"
    POLL = "poll"


class Transmitter(Base):
    """Somebody whose security events one organisation hears: one stream, which is ours to check.

    `authorization_digest` is of the header that it has to send with each push; `sealed_authorization` is the header that we
    send to its poll and verification endpoints. `settings` are read by the room of signals alone.
    """

    __tablename__ = "signal_transmitter"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    issuer: Mapped[str] = mapped_column(Text)
    audience: Mapped[str] = mapped_column(Text)
    jwks_uri: Mapped[str] = mapped_column(Text)
    delivery: Mapped[str] = mapped_column(Text)
    authorization_digest: Mapped[str | None] = mapped_column(Text)
    sealed_authorization: Mapped[bytes | None] = mapped_column(LargeBinary)
    poll_url: Mapped[str | None] = mapped_column(Text)
    verification_url: Mapped[str | None] = mapped_column(Text)
    stream_id: Mapped[str | None] = mapped_column(Text)
    settings: Mapped[dict[str, Any]] = mapped_column(Document, default=dict)
    verify_every: Mapped[int] = mapped_column(Integer)
    silent_after: Mapped[int | None] = mapped_column(Integer)
    state_digest: Mapped[str | None] = mapped_column(Text)
    asked_at: Mapped[datetime | None] = mapped_column(Instant)
    heard_at: Mapped[datetime | None] = mapped_column(Instant)
    look_again_at: Mapped[datetime] = mapped_column(Instant)
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (
        Index("uq_signal_transmitter_name", "organization_id", "name", unique=True, postgresql_where=STANDS, sqlite_where=STANDS),
        # A transmitter that pushes names its stream and no organisation.
        Index("uq_signal_transmitter_id", "id", unique=True),
    )


class Outcome(StrEnum):
    """`PARKED` means nobody, or more people than policy allows, and waits to be seen; `IGNORED` needs nobody."""

    APPLIED = "applied"
    IGNORED = "ignored"
    PARKED = "parked"


class Received(Base):
    """A signal that was taken: a security event token, or a revocation that a provider asked for. Kept by its `jti`, so that it acts once.

    `sender_id` is the transmitter's id, or the connection's. `happened_at` is when it happened over there, and never later than it was received.
    """

    __tablename__ = "signal_received"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    sender_id: Mapped[str] = mapped_column(Text, primary_key=True)
    jti: Mapped[str] = mapped_column(ByteText, primary_key=True)
    event: Mapped[str] = mapped_column(Text)
    subject: Mapped[dict[str, Any] | None] = mapped_column(Document)
    txn: Mapped[str | None] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(Text)
    happened_at: Mapped[datetime] = mapped_column(Instant)
    received_at: Mapped[datetime] = mapped_column(Instant)
    person_id: Mapped[str | None] = mapped_column(ByteText)
    outcome: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text)
    __table_args__ = (
        Index("ix_signal_received_sender", "organization_id", "sender_id", "received_at"),
        Index("ix_signal_received_person", "organization_id", "person_id", "happened_at"),
    )


class Receiver(Base):
    """Somebody who may hear our events. Its tokens are among the bearer tokens; `settings` are the room of signals' own."""

    __tablename__ = "signal_receiver"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    audience: Mapped[str] = mapped_column(Text)
    algorithm: Mapped[str] = mapped_column(Text)
    subject_format: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str]] = mapped_column(Document, default=list)
    private_network: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (
        Index("uq_signal_receiver_name", "organization_id", "name", unique=True, postgresql_where=STANDS, sqlite_where=STANDS),
        # Whoever asks for a token names itself and no organisation.
        Index("uq_signal_receiver_id", "id", unique=True),
    )


class StreamStatus(StrEnum):
    """`PAUSED` keeps what happens until it is enabled again; `DISABLED` keeps nothing."""

    ENABLED = "enabled"
    PAUSED = "paused"
    DISABLED = "disabled"


class Stream(Base):
    """What a receiver set up for itself: one stream at a time. After failures nothing is pushed before `retry_at`."""

    __tablename__ = "signal_stream"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    receiver_id: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text, default=StreamStatus.ENABLED)
    status_reason: Mapped[str | None] = mapped_column(Text)
    delivery: Mapped[str] = mapped_column(Text)
    endpoint_url: Mapped[str | None] = mapped_column(Text)
    sealed_authorization: Mapped[bytes | None] = mapped_column(LargeBinary)
    events_requested: Mapped[list[str]] = mapped_column(Document, default=list)
    description: Mapped[str | None] = mapped_column(Text)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    retry_at: Mapped[datetime | None] = mapped_column(Instant)
    verified_at: Mapped[datetime | None] = mapped_column(Instant)
    created_at: Mapped[datetime] = mapped_column(Instant)
    changed_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (
        Index("uq_signal_stream_receiver", "organization_id", "receiver_id", unique=True, postgresql_where=STANDS, sqlite_where=STANDS),
    )


class StreamSubject(Base):
    """What a stream was told of one person: at which epoch their sessions were revoked, and whether their account was called disabled.

    `removed` means that the receiver does not want to hear of them.
    """

    __tablename__ = "signal_subject"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    stream_id: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    told_epoch: Mapped[int | None] = mapped_column(Integer)
    told_disabled: Mapped[bool] = mapped_column(Boolean, default=False)
    removed: Mapped[bool] = mapped_column(Boolean, default=False)
    __table_args__ = (Index("ix_signal_subject_disabled", "organization_id", "told_disabled", postgresql_where=text("told_disabled"), sqlite_where=text("told_disabled")),)


class StreamEvent(Base):
    """An event for a stream; `id` is its `jti`. It waits until the receiver has taken or refused it. Signed when it is sent.

    Without a person it is about the stream itself. `departure_id` says whose proof a taken event is.
    """

    __tablename__ = "signal_event"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    stream_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    person_id: Mapped[str | None] = mapped_column(ByteText)
    departure_id: Mapped[str | None] = mapped_column(Text)
    event: Mapped[str] = mapped_column(Text)
    said: Mapped[dict[str, Any]] = mapped_column(Document)
    subject: Mapped[dict[str, Any]] = mapped_column(Document)
    txn: Mapped[str] = mapped_column(Text)
    made_at: Mapped[datetime] = mapped_column(Instant)
    sent_at: Mapped[datetime | None] = mapped_column(Instant)
    settled_at: Mapped[datetime | None] = mapped_column(Instant)
    refused: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (
        Index("ix_signal_event_waiting", "organization_id", "stream_id", "id", postgresql_where=WAITS, sqlite_where=WAITS),
        Index("ix_signal_event_person", "organization_id", "stream_id", "person_id"),
    )
