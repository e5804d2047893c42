"""May this still be given? Asked before every gift, right before its request goes out."""

from datetime import timedelta
from typing import Final

from sqlalchemy import select

from app.access.closed import why_closed
from app.clock import Clock
from app.database import asking
from app.delivery.precedence import Precedence
from app.directory.tables import Person, Standing
from app.journal.work import Claim
from app.statements import param
from connectors.contract import Permit, Withdrawn

LAST_GIFT_BEFORE_LEASE = timedelta(seconds=15)
"""A gift is started only while the lease has this long to run: longer than any single request may take."""
# Asked before every gift, so it is built once.
_OF_PERSON: Final = select(Person.standing, Person.access_epoch, Person.access_until).where(
    Person.organization_id == param("organization"), Person.id == param("person")
)


def permit_for(taken: Claim, *, epoch: int, clock: Clock, precedence: Precedence, standing: Standing = Standing.ACTIVE) -> Permit:
    """Allows a gift while the person stands in the same epoch and the claim is surely still ours. Departures go first.

    `standing` is who it is meant for: what is prepared for whoever is expected is made for nobody else.
    """

    def permit() -> None:
        if precedence.asked():
            # If it is this very person who leaves, nothing is waited for: the departure may be waiting for us.
            look()
            precedence.give_way()
        look()

    def look() -> None:
        now = clock()
        if now > taken.lease_until - LAST_GIFT_BEFORE_LEASE:
            raise Withdrawn("the lease is running out")
        with asking() as connection:
            if (why := why_closed(connection)) is not None:
                raise Withdrawn(f"nothing is given: {why}")
            row = connection.execute(_OF_PERSON, {"organization": taken.organization_id, "person": taken.subject_id}).one()
        if row.standing != standing or row.access_epoch != epoch or (row.access_until is not None and row.access_until <= now):
            raise Withdrawn(f"person {taken.subject_id} lost access meanwhile")

    return permit
