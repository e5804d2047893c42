"""What of a directory's words has taken effect: what the brake holds is not heard yet, also where the directory itself reads it back."""

from typing import Any

from sqlalchemy import ColumnElement, and_, exists, not_, or_
from sqlalchemy.orm import aliased

from app.directory.tables import Membership, Record


def is_in_group(record: type[Record] | Any = Record, membership: type[Membership] | Any = Membership) -> ColumnElement[bool]:
    """Whether a record's membership counts. Either may be an alias; the caller joins the two, and asks whether the group stands.

    A record that is off keeps its memberships, and they count for nobody whom another one keeps in: like its attributes, by which
    nobody is known then. A deletion ends a record and its memberships at one moment. While that is held, or once it was rejected,
    they count as before.
    """
    waits = and_(record.held.is_(True), membership.ended_at == record.ended_at)
    stands = and_(record.ended_at.is_(None), membership.ended_at.is_(None))
    return or_(and_(stands, or_(_is_on(record), not_(_another_is_on(record)))), waits)


def _is_on(record: type[Record] | Any) -> ColumnElement[bool]:
    return or_(record.active.is_(True), record.held.is_(True))


def _another_is_on(record: type[Record] | Any) -> ColumnElement[bool]:
    other = aliased(Record)
    theirs = other.organization_id == record.organization_id, other.person_id == record.person_id
    on = or_(and_(other.active.is_(True), other.ended_at.is_(None)), other.held.is_(True))
    return exists().where(*theirs, on).correlate(record)


def is_heard(record: Record) -> bool:
    """Whether this record tells of its person: it stands, or its end is held."""
    return record.ended_at is None or record.held
