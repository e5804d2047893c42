"""Tables of the SCIM requests that were seen: what each one meant, kept for long, and its masked body, kept for short."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Boolean, Index, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Document, Instant

# Look-ups by name are by far the most, and found by the name: in a second index each would cost as much again.
_HAS_PERSON = text("person_id IS NOT NULL AND found IS NULL")
_HAS_NAME = text("name_key IS NOT NULL")
# "IS NOT NULL" is the one condition that both databases find again behind `refused = ?`.
_WAS_REFUSED = text("refused IS NOT NULL")


class BodyState(StrEnum):
    """What became of a request's body: `cut` and `kept` have a row beside, as long as such rows are kept."""

    NONE = "none"
    KEPT = "kept"
    CUT = "cut"
    UNREADABLE = "unreadable"
    OFF = "off"


class RequestSeen(Base):
    """One request of a directory. Its id is made when it comes in, so the order of ids is the order of requests.

    `known` is whether its token was found good. `name` is the userName (or the group's displayName) that it says or asks
    for. `refused` is 4 or 5, the status class, and null for all else. `times` counts refusals alike that came at once.
    `found` is how many a look-up found. An operation of a Bulk is a row of its own, the `part`th of the row `part_of`.
    """

    __tablename__ = "request_seen"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    at: Mapped[datetime] = mapped_column(Instant)
    source_id: Mapped[str] = mapped_column(Text)
    known: Mapped[bool] = mapped_column(Boolean)
    method: Mapped[str] = mapped_column(Text)
    path: Mapped[str] = mapped_column(Text)
    query: Mapped[str | None] = mapped_column(Text)
    resource_type: Mapped[str | None] = mapped_column(Text)
    resource_id: Mapped[str | None] = mapped_column(Text)
    name: Mapped[str | None] = mapped_column(Text)
    name_key: Mapped[str | None] = mapped_column(ByteText)
    person_id: Mapped[str | None] = mapped_column(ByteText)
    attributes: Mapped[list[str]] = mapped_column(Document)
    status: Mapped[int] = mapped_column(Integer)
    refused: Mapped[int | None] = mapped_column(Integer)
    scim_type: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    found: Mapped[int | None] = mapped_column(Integer)
    took_us: Mapped[int] = mapped_column(Integer)
    times: Mapped[int] = mapped_column(Integer)
    part_of: Mapped[str | None] = mapped_column(Text)
    part: Mapped[int | None] = mapped_column(Integer)
    body: Mapped[str] = mapped_column(Text)
    body_bytes: Mapped[int] = mapped_column(Integer)
    __table_args__ = (
        Index("ix_request_seen_person", "organization_id", "person_id", "id", postgresql_where=_HAS_PERSON, sqlite_where=_HAS_PERSON),
        Index("ix_request_seen_name", "name_key", "id", postgresql_where=_HAS_NAME, sqlite_where=_HAS_NAME),
        Index("ix_request_seen_refused", "organization_id", "refused", "id", postgresql_where=_WAS_REFUSED, sqlite_where=_WAS_REFUSED),
    )


class RequestBody(Base):
    """The masked body of a request, as text: JSON, unless it was cut."""

    __tablename__ = "request_body"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    body: Mapped[str] = mapped_column(Text)
