"""Somebody has left today, and what they wrote is erased one day; days are counted from then."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.tables import Account as AccountRow
from app.clock import now
from app.database import in_transaction, reading
from app.delivery.erasing import erase_due
from app.directory.tables import Record, StatementKind, Voice
from app.journal.tables import Organization
from app.lifecycle import leaving, legal_hold, retention
from app.lifecycle.legal_hold import Placed
from app.lifecycle.sources import set_setting
from app.revocation.erasure_tables import Erasure
from connectors.contract import AccountId
from tests.company import ADMIN, Company
from tests.unit.delivery.crew import StandInTargets, employ, settle
from tests.unit.delivery.halls import Halls
from tests.workspace import Workspace

LEFT = now()


def on(day: float) -> datetime:
    return LEFT + timedelta(days=day)


@dataclass
class Office:
    """Ada has left today, Bob is here; both have files in the stand-in workspace."""

    app: Flask
    company: Company
    workspace_id: str
    there: Workspace
    ada: Record
    bob: Record
    holds: list[str] = field(default_factory=list)

    def sets(self, after: str, *, day: float = 0) -> None:
        """Another `erase_after`, and the look that the clock takes at it."""
        organization_id = self.company.organization_id
        in_transaction(
            lambda session: set_setting(session, session.get_one(Organization, organization_id), "erase_after", after, actor=ADMIN, at=on(day))
        )
        self.looks(day=day)

    def looks(self, *, day: float) -> None:
        retention.follow(self.company.organization_id, at=on(day))

    def erases(self, *, day: float) -> int:
        return erase_due(self.app, StandInTargets(self.there), clock=lambda: on(day))

    def says(self, record: Record, kind: StatementKind, *, day: float = 0, deliver: bool = True) -> None:
        at = on(day)
        in_transaction(
            lambda session: leaving.say(
                session, self.company.organization_id, record.person_id, voice=Voice.OPERATOR, kind=kind, said_by="ana", effective_at=at, actor=ADMIN,
                at=at, because="test",
            )
        )  # fmt: skip
        if deliver:
            settle(self.app, self.there)

    def is_held(self, *, day: float = 0, reason: str = "case 1") -> Placed:
        placed = in_transaction(
            lambda session: legal_hold.place(
                session, self.company.organization_id, self.ada.person_id, reason=reason, ordered_by="counsel", actor=ADMIN, at=on(day)
            )
        )
        self.holds.append(placed.hold.id)
        return placed

    def is_held_no_more(self, *, day: float) -> None:
        """The oldest hold that stands has ended."""
        id = self.holds.pop(0)

        def act(session: Session) -> None:
            row = legal_hold.find(session, self.company.organization_id, id)
            legal_hold.end(session, row, because="settled", ordered_by="counsel", actor=ADMIN, at=on(day))

        in_transaction(act)

    def account(self, record: Record) -> AccountId:
        with reading() as session:
            return AccountId(session.get_one(AccountRow, (self.company.organization_id, self.workspace_id, record.person_id)).account_id)

    def is_erased(self, record: Record | None = None) -> bool:
        assert isinstance(self.there, Halls)
        return self.account(record or self.ada) in self.there.erased

    def row(self) -> Erasure:
        with reading() as session:
            return session.scalars(
                select(Erasure).where(Erasure.organization_id == self.company.organization_id, Erasure.person_id == self.ada.person_id)
            ).one()


def office_of(app: Flask, there: Workspace) -> Office:
    company, workspace_id = employ(there)
    ada, bob = company.joins("ada@x.example", "E-1", department="Sales"), company.joins("bob@x.example", "E-2", department="Sales")
    settle(app, there)
    made = Office(app=app, company=company, workspace_id=workspace_id, there=there, ada=ada, bob=bob)
    if isinstance(there, Halls):
        there.files = {made.account(ada): 3, made.account(bob): 3}
    made.says(ada, StatementKind.LEAVES)
    return made
