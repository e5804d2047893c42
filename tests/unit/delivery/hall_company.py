"""A company in a stand-in workspace in which people make rooms of their own; somebody leaves, and it is delivered what follows."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask
from sqlalchemy.orm import Session

from app.access.tables import Account as AccountRow
from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Person, Record, StatementKind, Voice
from app.journal.tables import Organization
from app.lifecycle import handover, leaving
from app.lifecycle.sources import set_setting
from app.revocation.departures import history
from app.revocation.tables import Proof
from connectors.contract import AccountId, AccountState, ChannelRef
from tests.company import ADMIN, Company
from tests.unit.delivery.crew import employ, settle
from tests.unit.delivery.halls import Halls


@dataclass(frozen=True, kw_only=True)
class HallCompany:
    """Mia leads Ada and Bob, and all of them have an account."""

    app: Flask
    company: Company
    workspace_id: str
    there: Halls
    mia: Record
    ada: Record
    bob: Record

    def account(self, record: Record, workspace_id: str | None = None) -> AccountId:
        with reading() as session:
            where = (self.company.organization_id, workspace_id or self.workspace_id, record.person_id)
            return AccountId(session.get_one(AccountRow, where).account_id)

    def opens(self, name: str, *others: Record, direct: bool = False, public: bool = False, owners: tuple[Record, ...] = ()) -> ChannelRef:
        """Ada makes a room in her client."""
        return self.there.opens(
            name, self.account(self.ada), *(self.account(one) for one in others), direct=direct, public=public, owners=tuple(self.account(one) for one in owners)
        )

    def says(self, record: Record, kind: StatementKind = StatementKind.LEAVES) -> None:
        in_transaction(
            lambda session: leaving.say(
                session, self.company.organization_id, record.person_id, voice=Voice.OPERATOR, kind=kind, said_by="ana", effective_at=now(),
                actor=ADMIN, at=now(), because="test",
            )
        )  # fmt: skip

    def delivers(self) -> None:
        settle(self.app, self.there)

    def sets(self, key: str, value: str) -> None:
        in_transaction(
            lambda session: set_setting(session, session.get_one(Organization, self.company.organization_id), key, value, actor=ADMIN, at=now())
        )

    def person(self, session: Session, record: Record) -> Person:
        return session.get_one(Person, (self.company.organization_id, record.person_id))

    def names(self, heir: Record | None, *, of: Record) -> None:
        def act(session: Session) -> None:
            handover.name_heir(
                session, self.person(session, of), None if heir is None else self.person(session, heir), actor=ADMIN, at=now()
            )

        in_transaction(act)

    def told(self, record: Record | None = None) -> dict[str, tuple[str, str | None]]:
        """What became of each channel of the last departure: how, and to whose account."""
        with reading() as session:
            found = next(iter(handover.history(session, self.person(session, record or self.ada))), None)
        return {} if found is None else {one.name: (one.outcome, one.to_account) for one in found.channels if one.workspace_id}

    def proof(self, record: Record | None = None) -> Proof:
        with reading() as session:
            (_, proofs), *_ = history(session, self.company.organization_id, (record or self.ada).person_id)
        return next(proof for proof, name in proofs if name == "chat")

    def state(self, record: Record | None = None) -> AccountState:
        return self.there.accounts[self.account(record or self.ada)].state


def hall_company(app: Flask) -> HallCompany:
    there = Halls()
    company, workspace_id = employ(there)
    mia = company.joins("mia@x.example", "E-1", department="Sales")
    ada = company.joins("ada@x.example", "E-2", department="Sales", manager={"value": mia.id})
    bob = company.joins("bob@x.example", "E-3", department="Sales", manager={"value": mia.id})
    settle(app, there)
    return HallCompany(app=app, company=company, workspace_id=workspace_id, there=there, mia=mia, ada=ada, bob=bob)
