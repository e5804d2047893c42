"""Tables of the directory. Each journaled row carries the number of the entry that last changed it."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Boolean, ColumnElement, ForeignKey, Index, Integer, LargeBinary, Text, literal, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Document, Instant, Number

STANDS = text("ended_at IS NULL")
_NOT_ACTIVE = text("standing <> 'active'")


def having(column: str) -> dict[str, Any]:
    """An index only of the rows that have it: who has none costs nothing there, and is never looked for by it."""
    where = text(f"{column} IS NOT NULL")
    return {"postgresql_where": where, "sqlite_where": where}


class Standing(StrEnum):
    EXPECTED = "expected"
    ACTIVE = "active"
    PAUSED = "paused"
    DEPARTED = "departed"


INSIDE: Final = (Standing.ACTIVE, Standing.EXPECTED)
OUTSIDE: Final = (Standing.DEPARTED, Standing.PAUSED)


class Voice(StrEnum):
    """Kinds of voices, strongest first."""

    OPERATOR = "operator"
    HR = "hr"
    SPONSOR = "sponsor"
    DIRECTORY = "directory"
    SIGNAL = "signal"


class StatementKind(StrEnum):
    """What a voice can say of a person. *Starts* gives nothing: before its instant they are expected.

    *Returns* undoes what was said before it, *rehires* is a new engagement, *reinstates* undoes what was in force when it was said.
    """

    LEAVES = "leaves"
    PAUSES = "pauses"
    BARS = "bars"
    STARTS = "starts"
    RETURNS = "returns"
    REHIRES = "rehires"
    REINSTATES = "reinstates"


class Source(Base):
    """A directory that pushes over SCIM or is pulled, or an HR system that calls.

    `settings` is how a pulled one is reached and read (address, options, schedule, mapping); never a secret. Where several speak of one person,
    the attributes of the lowest `rank` count first.
    """

    __tablename__ = "source"
    organization_id: Mapped[str] = mapped_column(ForeignKey("organization.id"), primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    sealed_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    sealed_previous_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    settings: Mapped[dict[str, Any] | None] = mapped_column(Document)
    rank: Mapped[int] = mapped_column(Integer, default=100, server_default="100")
    expected_departures: Mapped[int] = mapped_column(Integer, default=0)
    expected_until: Mapped[datetime | None] = mapped_column(Instant)
    created_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    journal_id: Mapped[int] = mapped_column(Number)
    __table_args__ = (
        Index("uq_source_name", "organization_id", "name", unique=True, postgresql_where=STANDS, sqlite_where=STANDS),
        Index("ix_source_id", "id"),
    )


class SchemaExtension(Base):
    """A schema that an organisation declared, as `/Schemas` tells it; `core` is the main schema of the resources it extends."""

    __tablename__ = "schema_extension"
    organization_id: Mapped[str] = mapped_column(ForeignKey("organization.id"), primary_key=True)
    urn_key: Mapped[str] = mapped_column(Text, primary_key=True)
    core: Mapped[str] = mapped_column(Text)
    described: Mapped[dict[str, Any]] = mapped_column(Document)
    declared_at: Mapped[datetime] = mapped_column(Instant)
    journal_id: Mapped[int] = mapped_column(Number)


class Record(Base):
    """What one directory says of one of its people; a SCIM User is this row.

    `active` is as it was last *said*; `off_means` was frozen when *off* was said; `held` is set while the brake
    holds the effect of that *off*. On is meant from `starts_at` until `ends_at`, where the source names such dates.
    """

    __tablename__ = "record"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    source_id: Mapped[str] = mapped_column(Text)
    person_id: Mapped[str] = mapped_column(ByteText)
    external_id: Mapped[str | None] = mapped_column(Text)
    user_name: Mapped[str] = mapped_column(Text)
    user_name_key: Mapped[str] = mapped_column(ByteText)
    display_name: Mapped[str | None] = mapped_column(Text)
    employee_number: Mapped[str | None] = mapped_column(Text)
    active: Mapped[bool] = mapped_column(Boolean)
    active_said_at: Mapped[datetime] = mapped_column(Instant)
    off_means: Mapped[str | None] = mapped_column(Text)
    held: Mapped[bool] = mapped_column(Boolean, default=False)
    starts_at: Mapped[datetime | None] = mapped_column(Instant)
    ends_at: Mapped[datetime | None] = mapped_column(Instant)
    document: Mapped[dict[str, Any]] = mapped_column(Document)
    version: Mapped[int] = mapped_column(Integer, default=1)
    created_at: Mapped[datetime] = mapped_column(Instant)
    modified_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    journal_id: Mapped[int] = mapped_column(Number)
    __table_args__ = (
        Index("uq_record_user_name", "organization_id", "source_id", "user_name_key", unique=True, postgresql_where=STANDS, sqlite_where=STANDS),
        Index("uq_record_external_id", "organization_id", "source_id", "external_id", unique=True, postgresql_where=STANDS, sqlite_where=STANDS),
        # Pages are counted off in this index: it holds nothing that no page shows, and all that counting asks for.
        Index("ix_record_source", "organization_id", "source_id", "id", "ended_at", postgresql_where=STANDS, sqlite_where=STANDS),
        # By the words in which each database is asked for those who are held: by others it would not know that they are the same.
        Index("ix_record_held", "organization_id", "source_id", "id", postgresql_where=text("held IS TRUE"), sqlite_where=text("held IS 1")),
        Index("ix_record_person", "organization_id", "person_id"),
        Index("ix_record_employee_number", "organization_id", "employee_number", **having("employee_number")),
        # What is said of somebody who stands is found in each directory; of those who ended there may be more, of many directories.
        Index("ix_record_ended_external_id", "organization_id", "external_id", **having("ended_at")),
        Index("ix_record_ended_user_name", "organization_id", "user_name_key", **having("ended_at")),
    )


class RecordEmail(Base):
    """Addresses of a record, for matching and filtering. A fact of the record's document, replaced with it."""

    __tablename__ = "record_email"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    record_id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    address_key: Mapped[str] = mapped_column(ByteText, primary_key=True)
    # Holds the record too: SQLite would else rather read all addresses in the key's index, which does.
    __table_args__ = (Index("ix_record_email_address", "organization_id", "address_key", "record_id"),)


class Person(Base):
    """One human being, joined from records; what rules ask about. `document` is in SCIM's shape."""

    __tablename__ = "person"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    standing: Mapped[str] = mapped_column(Text)
    standing_reason: Mapped[str] = mapped_column(Text)
    access_epoch: Mapped[int] = mapped_column(Integer, default=1)
    access_until: Mapped[datetime | None] = mapped_column(Instant)
    user_name: Mapped[str] = mapped_column(Text)
    user_name_key: Mapped[str] = mapped_column(ByteText)
    display_name: Mapped[str] = mapped_column(Text)
    email: Mapped[str | None] = mapped_column(Text)
    user_type: Mapped[str | None] = mapped_column(Text)
    department: Mapped[str | None] = mapped_column(Text)
    division: Mapped[str | None] = mapped_column(Text)
    employee_number: Mapped[str | None] = mapped_column(Text)
    manager_id: Mapped[str | None] = mapped_column(ByteText)
    document: Mapped[dict[str, Any]] = mapped_column(Document)
    version: Mapped[int] = mapped_column(Integer, default=1)
    created_at: Mapped[datetime] = mapped_column(Instant)
    modified_at: Mapped[datetime] = mapped_column(Instant)
    journal_id: Mapped[int] = mapped_column(Number)
    __table_args__ = (
        # Without most people, so that being switched off or on moves nobody through all of it (`not_active`).
        Index("ix_person_standing", "organization_id", "standing", "id", postgresql_where=_NOT_ACTIVE, sqlite_where=_NOT_ACTIVE),
        Index("ix_person_user_name", "organization_id", "user_name_key"),
        Index("ix_person_employee_number", "organization_id", "employee_number", **having("employee_number")),
        # Who has a last day: looked through every few seconds, whether somebody has acted on it.
        Index("ix_person_access_until", "organization_id", "access_until", **having("access_until")),
        Index("ix_person_department", "organization_id", "department", **having("department")),
        # Holds all that a rule for each manager reads, so that a full plan reads no person's row for it.
        Index("ix_person_manager", "organization_id", "manager_id", "standing", "id", **having("manager_id")),
    )


def not_active() -> ColumnElement[bool]:
    """Whether a person is anything but active: in the words of their index, since SQLite uses it for no value that is given beside the query."""
    return Person.standing != literal(Standing.ACTIVE, literal_execute=True)


class Group(Base):
    __tablename__ = "directory_group"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    source_id: Mapped[str] = mapped_column(Text)
    external_id: Mapped[str | None] = mapped_column(Text)
    display_name: Mapped[str] = mapped_column(Text)
    display_name_key: Mapped[str] = mapped_column(ByteText)
    document: Mapped[dict[str, Any]] = mapped_column(Document)
    version: Mapped[int] = mapped_column(Integer, default=1)
    created_at: Mapped[datetime] = mapped_column(Instant)
    modified_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    journal_id: Mapped[int] = mapped_column(Number)
    __table_args__ = (
        Index("uq_group_display_name", "organization_id", "source_id", "display_name_key", unique=True, postgresql_where=STANDS, sqlite_where=STANDS),
        Index("uq_group_external_id", "organization_id", "source_id", "external_id", unique=True, postgresql_where=STANDS, sqlite_where=STANDS),
        Index("ix_group_source", "organization_id", "source_id", "id", "ended_at", postgresql_where=STANDS, sqlite_where=STANDS),
    )


class Tally(Base):
    """How many records or groups of a source stand, kept by triggers: SCIM's `totalResults` without counting.

    Many rows add up to one number, so that those who write at once seldom meet at one of them.
    """

    __tablename__ = "tally"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    source_id: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    shard: Mapped[int] = mapped_column(Integer, primary_key=True)
    number: Mapped[int] = mapped_column(Number)


class Membership(Base):
    """A record in a group. It is switched off rather than deleted, so that its history stays."""

    __tablename__ = "membership"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    group_id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    record_id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    journal_id: Mapped[int] = mapped_column(Number)
    __table_args__ = (Index("ix_membership_record", "organization_id", "record_id", "group_id"),)


class Statement(Base):
    """What a voice that is no record said of a person: an operator, an HR system, a sponsor, a signal.

    `engagement` tells two employments of one person apart; `means` (*departed* or *paused*) was frozen when it was said. Of
    *starts* it is *expected*, or *active* where they were here already and only another engagement begins.

    `said_at` is when it counts as said (`lifecycle.order`), `heard_at` when it was, by the clock of then. `said_in` is the entry that it was written
    in. Of a call that waited `heard_after` is how far the journal was when it came.
    """

    __tablename__ = "statement"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText)
    voice: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    engagement: Mapped[str] = mapped_column(Text, default="")
    said_by: Mapped[str] = mapped_column(Text)
    said_at: Mapped[datetime] = mapped_column(Instant)
    effective_at: Mapped[datetime] = mapped_column(Instant)
    means: Mapped[str | None] = mapped_column(Text)
    held: Mapped[bool] = mapped_column(Boolean, default=False)
    withdrawn_at: Mapped[datetime | None] = mapped_column(Instant)
    heard_at: Mapped[datetime | None] = mapped_column(Instant)
    heard_after: Mapped[int | None] = mapped_column(Number)
    said_in: Mapped[int | None] = mapped_column(Number)
    journal_id: Mapped[int] = mapped_column(Number)
    __table_args__ = (Index("ix_statement_person", "organization_id", "person_id"),)


JOURNALED = ("source", "record", "person", "directory_group", "membership", "statement")
"""Tables whose rows a trigger guards: no change without a new entry, and no delete at all."""
