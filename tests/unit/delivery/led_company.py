"""A company whose channels have owners, in a stand-in workspace; its clock is moved by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.tables import Account as AccountRow
from app.clock import now
from app.database import in_transaction, reading
from app.delivery import ruled_handovers, worker
from app.directory.tables import Person, Record, StatementKind, Voice
from app.journal import work
from app.journal.tables import Lane, Subject, Work, WorkState
from app.lifecycle import handover, leaving
from app.lifecycle.records import RecordDraft, change_record
from app.rules import stays
from app.rules.file import parse
from app.rules.revisions import apply_rules
from app.rules.stay_tables import Stay
from app.rules.tables import Channel
from connectors.contract import AccountId
from tests.company import ADMIN, OKTA, Company, document
from tests.unit.delivery.crew import StandInTargets, employ
from tests.workspace import Workspace

BEGINNING = now()
RULES = """
rules:
  - id: everyone
    name: all-hands
    owners: [ada@x.example, olga@x.example]
  - id: departments
    for_each: department
    name: "dept-{{ key | slug }}"
    parent: company
    keep_for: 14 days
    owners: [ada@x.example]
  - id: teams
    for_each: manager
    name: "team-{{ manager.userName | slug }}"
    owners: [manager]
"""


@dataclass
class LedCompany:
    """Mia leads Ada, and Ada leads Bob; Ada and Olga own all-hands, Ada the departments."""

    app: Flask
    company: Company
    workspace_id: str
    there: Workspace
    at: datetime = BEGINNING

    def __post_init__(self) -> None:
        in_transaction(lambda session: apply_rules(session, self.company.organization_id, parse(RULES), ADMIN, self.at))
        self.olga = self.joins("olga")
        self.mia = self.joins("mia", department="Board")
        self.ada = self.joins("ada", manager=self.mia, department="Sales")
        self.bob = self.joins("bob", manager=self.ada, department="Sales")
        self.delivers()

    def joins(self, name: str, *, manager: Record | None = None, **enterprise: Any) -> Record:
        led: dict[str, Any] = {} if manager is None else {"manager": {"value": manager.id}}
        return self.company.joins(f"{name}@x.example", f"E-{name}", at=self.at, **led, **enterprise)

    def changes(self, record: Record, *, manager: Record | None = None, **enterprise: Any) -> None:
        """The directory says where somebody is from now on."""
        led = {} if manager is None else {"manager": {"value": manager.id}}
        number = f"E-{record.user_name.split('@')[0]}"
        draft = RecordDraft(
            external_id=record.external_id, user_name=record.user_name, active=True, document=document(record.user_name, number, **led, **enterprise)
        )
        in_transaction(
            lambda session: change_record(
                session, self.company.organization_id, record.source_id, record.id, draft, actor=OKTA, at=self.at, because="moved"
            )
        )

    def says(self, record: Record, kind: StatementKind = StatementKind.LEAVES) -> None:
        in_transaction(
            lambda session: leaving.say(
                session, self.company.organization_id, record.person_id, voice=Voice.OPERATOR, kind=kind, said_by="ana", effective_at=self.at,
                actor=ADMIN, at=self.at, because="test",
            )
        )  # fmt: skip

    def rules(self, text: str) -> None:
        in_transaction(lambda session: apply_rules(session, self.company.organization_id, parse(text), ADMIN, self.at))

    def delivers(self) -> None:
        """Work until nothing is due; a few minutes pass, and what takes days waits for its day."""
        crew = worker.Worker(self.app, threads={Lane.DEPARTURES: 1, Lane.SYNC: 1}, clock=lambda: self.at)
        crew._targets = StandInTargets(self.there)
        for _ in range(100):
            crew.run_until_idle()
            with reading() as session:
                left = session.scalars(select(Work).where(Work.due_at <= self.at + timedelta(minutes=2))).all()
            assert not [row for row in left if row.state == WorkState.PARKED], left
            if not left:
                return
            self.at += timedelta(seconds=61)
        raise AssertionError([(row.subject, row.last_error) for row in left])

    def passes(self, **span: float) -> None:
        self.at += timedelta(**span)

    def looks_again_at(self, record: Record) -> None:
        """Their account is delivered once more, as it would be by whatever else changes."""
        in_transaction(
            lambda session: work.want(
                session, self.company.organization_id, subject=Subject.ACCOUNT, subject_ids=[record.person_id], because=None, due_at=self.at,
                workspace_id=self.workspace_id,
            )
        )  # fmt: skip
        self.delivers()

    def ticks(self) -> None:
        """What the clock does of itself, each minute."""
        organization_id = self.company.organization_id
        stays.follow(organization_id, at=self.at)
        ruled_handovers.follow(organization_id, at=self.at)
        self.delivers()

    def person(self, session: Session, record: Record) -> Person:
        return session.get_one(Person, (self.company.organization_id, record.person_id))

    def channel(self, session: Session, name: str) -> Channel:
        return session.scalars(select(Channel).where(Channel.organization_id == self.company.organization_id, Channel.name == name)).one()

    def allows(self, record: Record, name: str, *, days: float, approver: Record | None = None) -> Stay:
        return in_transaction(self.allowing(record, name, days=days, approver=approver))

    def allowing(self, record: Record, name: str, *, days: float, approver: Record | None = None) -> Callable[[Session], Stay]:
        """An exception as one transaction's part."""

        def act(session: Session) -> Stay:
            return stays.allow(
                session, self.person(session, record), self.channel(session, name), approver=self.person(session, approver or self.mia),
                reason="hands her customers on", until=self.at + timedelta(days=days), actor=ADMIN, at=self.at,
            )  # fmt: skip

        return act

    def account(self, record: Record) -> AccountId:
        with reading() as session:
            return AccountId(session.get_one(AccountRow, (self.company.organization_id, self.workspace_id, record.person_id)).account_id)

    def is_in(self, record: Record) -> set[str]:
        return self.there.names_of(self.account(record)) - {"company"}

    def owners(self, name: str) -> set[AccountId]:
        return set(next(room.owners for room in self.there.rooms.values() if room.name == name))

    def told(self, record: Record) -> dict[str, tuple[str, str | None]]:
        """What became of each channel that the last leaver owned by the rules: how, and why or to whom."""
        with reading() as session:
            found = next(iter(handover.history(session, self.person(session, record))), None)
            names = {} if found is None else {one.to_person_id: session.get(Person, (self.company.organization_id, one.to_person_id or "")) for one in found.channels}
        said = {} if found is None else {one.name: one for one in found.channels if not one.workspace_id}
        return {name: (one.outcome, person.user_name if (person := names[one.to_person_id]) is not None else one.because) for name, one in said.items()}


def led_company(app: Flask) -> LedCompany:
    there = Workspace()
    company, workspace_id = employ(there)
    return LedCompany(app=app, company=company, workspace_id=workspace_id, there=there)
