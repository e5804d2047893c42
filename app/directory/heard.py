"""What of a directory's words has taken effect: what the brake holds is not heard yet, also where the directory itself reads it back."""

from typing import Any

from sqlalchemy import ColumnElement, and_, or_

from app.directory.tables import Membership, Record


def is_in_group(record: type[Record] | Any = Record, membership: type[Membership] | Any = Membership) -> ColumnElement[bool]:
    """Whether a record's membership counts. Either may be an alias; the caller joins the two, and asks whether the group stands.

    A deletion ends a record and its memberships at one moment. While that is held, or once it was rejected, they count as before.
    """
    waits = and_(record.held.is_(True), membership.ended_at == record.ended_at)
    return or_(and_(record.ended_at.is_(None), membership.ended_at.is_(None)), waits)


def is_heard(record: Record) -> bool:
    """Whether this record tells of its person: it stands, or its end is held."""
    return record.ended_at is None or record.held
