"""Verbs on whoever has yet to start: when they do, by an operator's word, and that they never come."""

from datetime import datetime

from sqlalchemy.orm import Session

from app.actors import Actor
from app.command_lines import to_type
from app.directory.tables import OUTSIDE, Person, Standing, StatementKind, Voice
from app.lifecycle import leaving
from app.lifecycle.errors import LifecycleError


class OutOfPlace(LifecycleError):
    """This person is not where the verb finds people; the message says where they are, and what fits there."""


def expect(
    session: Session, person: Person, *, starts_at: datetime, said_by: str, actor: Actor, at: datetime, because: str
) -> Person:
    """They start at this instant, whatever was said of it before; until then they are expected, and have no access. Raises OutOfPlace.

    An instant that has passed means that they start now. Whoever is in loses access until then.
    """
    if person.standing in OUTSIDE:
        raise OutOfPlace(f"{person.user_name} is {person.standing}; somebody comes back on a day by: {to_type('return', person.user_name, '--at T')}")
    return leaving.say(
        session, person.organization_id, person.id, voice=Voice.OPERATOR, kind=StatementKind.STARTS, said_by=said_by,
        effective_at=max(starts_at, at), actor=actor, at=at, because=because,
    )  # fmt: skip


def rescind(session: Session, person: Person, *, said_by: str, actor: Actor, at: datetime, reason: str) -> Person:
    """Somebody who was expected does not come: they have departed before they were in. Twice is once. Raises OutOfPlace."""
    if person.standing == Standing.DEPARTED:
        return person
    if person.standing != Standing.EXPECTED:
        raise OutOfPlace(f"{person.user_name} is {person.standing}, not expected; who leaves is said by: {to_type('depart', person.user_name)}")
    return leaving.say(
        session, person.organization_id, person.id, voice=Voice.OPERATOR, kind=StatementKind.LEAVES, said_by=said_by, effective_at=at,
        actor=actor, at=at, because=reason,
    )  # fmt: skip
