"""Tables of alarms: what was raised, where people are told of it, and each message that is still to go out."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Boolean, Index, Integer, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Instant

OPEN = text("closed_at IS NULL")
STANDS = text("ended_at IS NULL")
TO_BE_POSTED = text("posted_at IS NULL AND dropped_at IS NULL")


class Severity(StrEnum):
    URGENT = "urgent"
    WARNING = "warning"


class RouteKind(StrEnum):
    MAIL = "mail"
    WEBHOOK = "webhook"


class What(StrEnum):
    """What a message says of an alarm."""

    RAISED = "raised"
    ESCALATED = "escalated"
    CLOSED = "closed"


class Alarm(Base):
    """Something that a person has to look at. Open until it is closed; while it is open there is no second of its kind and `about`."""

    __tablename__ = "alarm"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    about: Mapped[str] = mapped_column(ByteText)
    severity: Mapped[str] = mapped_column(Text)
    sentence: Mapped[str] = mapped_column(Text)
    times: Mapped[int] = mapped_column(Integer, default=1)
    raised_at: Mapped[datetime] = mapped_column(Instant)
    last_at: Mapped[datetime] = mapped_column(Instant)
    escalate_at: Mapped[datetime | None] = mapped_column(Instant)
    escalated_at: Mapped[datetime | None] = mapped_column(Instant)
    acknowledged_at: Mapped[datetime | None] = mapped_column(Instant)
    acknowledged_by: Mapped[str | None] = mapped_column(Text)
    closed_at: Mapped[datetime | None] = mapped_column(Instant)
    closed_by: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (
        Index("uq_alarm_open", "organization_id", "kind", "about", unique=True, postgresql_where=OPEN, sqlite_where=OPEN),
        Index("ix_alarm_escalate", "escalate_at", postgresql_where=OPEN, sqlite_where=OPEN),
    )


class AlarmRoute(Base):
    """Where alarms are sent: an address or a URL. With `escalation`, only what nobody acknowledged in time.

    A webhook is called in one's own network only where it is `private`. Of its URL, `address` has what may be shown; whoever has the
    whole may often post there. Of a version before, which wrote no `sealed_url`, `address` is the whole until a worker has seen it.
    """

    __tablename__ = "alarm_route"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    escalation: Mapped[bool] = mapped_column(Boolean, default=False)
    private: Mapped[bool] = mapped_column(Boolean, default=False)
    sealed_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    sealed_url: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (
        Index("uq_alarm_route", "organization_id", "kind", "address", unique=True, postgresql_where=STANDS, sqlite_where=STANDS),
    )


class AlarmPost(Base):
    """One message over one route. The row is the truth: until `posted_at` or `dropped_at` is set it is tried again when due."""

    __tablename__ = "alarm_post"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    alarm_id: Mapped[str] = mapped_column(Text, primary_key=True)
    route_id: Mapped[str] = mapped_column(Text, primary_key=True)
    what: Mapped[str] = mapped_column(Text, primary_key=True)
    due_at: Mapped[datetime] = mapped_column(Instant)
    lease_until: Mapped[datetime | None] = mapped_column(Instant)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    posted_at: Mapped[datetime | None] = mapped_column(Instant)
    dropped_at: Mapped[datetime | None] = mapped_column(Instant)
    last_error: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (Index("ix_alarm_post_due", "due_at", postgresql_where=TO_BE_POSTED, sqlite_where=TO_BE_POSTED),)
