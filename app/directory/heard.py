"""What of a directory's words has taken effect: what the brake holds is not heard yet, also where the directory itself reads it back."""

from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, exists, not_, or_
from sqlalchemy.orm import aliased

from app.clock import now
from app.database import Instant
from app.directory.tables import Membership, Record


def is_in_group(record: type[Record] | Any = Record, membership: type[Membership] | Any = Membership) -> ColumnElement[bool]:
    """Whether a record's membership counts at present. Either may be an alias; the caller joins the two, and asks whether the group stands.

    A record that is off, over, or yet to begin keeps its memberships, and they count for nobody whom another one keeps in: like its
    attributes, by which nobody is known then (`lifecycle.windows`). A deletion ends a record and its memberships at one moment. While
    that is held, or once it was rejected, they count as before.
    """
    waits = and_(record.held.is_(True), membership.ended_at == record.ended_at)
    stands = and_(record.ended_at.is_(None), membership.ended_at.is_(None))
    return or_(and_(stands, or_(_is_on(record), not_(_another_is_on(record)))), waits)


def is_on(at: ColumnElement[Any], record: type[Record] | Any = Record) -> ColumnElement[bool]:
    """Whether a record is on at an instant, and within its dates. What the brake holds is not asked about."""
    return and_(record.active.is_(True), record.ended_at.is_(None), _within_dates(at, record))


def present() -> ColumnElement[Any]:
    """The instant at which a statement is asked: it may have been built days ago."""
    return bindparam("present", type_=Instant(), callable_=now, unique=True)


def _is_on(record: type[Record] | Any) -> ColumnElement[bool]:
    at = present()
    return or_(is_on(at, record), and_(record.held.is_(True), _within_dates(at, record)))


def _within_dates(at: ColumnElement[Any], record: type[Record] | Any) -> ColumnElement[bool]:
    return and_(or_(record.starts_at.is_(None), record.starts_at <= at), or_(record.ends_at.is_(None), record.ends_at > at))


def _another_is_on(record: type[Record] | Any) -> ColumnElement[bool]:
    other = aliased(Record)
    theirs = other.organization_id == record.organization_id, other.person_id == record.person_id
    return exists().where(*theirs, _is_on(other)).correlate(record)


def is_heard(record: Record) -> bool:
    """Whether this record tells of its person: it stands, or its end is held."""
    return record.ended_at is None or record.held
