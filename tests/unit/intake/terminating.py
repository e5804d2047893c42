"""A company with an HR system and a chat workspace, for tests of the report on terminations; days are counted from today."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Person, Record, StatementKind, Voice
from app.intake import terminations
from app.intake.termination_words import POPULATION, Period
from app.intake.terminations import Totals
from app.journal.tables import Organization
from app.lifecycle import leaving as verbs
from app.lifecycle.sources import set_setting
from tests.company import ADMIN, Company
from tests.hr_system import HR, leaving
from tests.unit.delivery.crew import employ, settle
from tests.workspace import Workspace

DAY = timedelta(days=1)


def midnight(day: int) -> datetime:
    """The beginning of a day, in UTC, which is the company's zone."""
    return datetime.combine(now().date() + day * DAY, time(), UTC)


def date(day: int) -> str:
    return midnight(day).date().isoformat()


def days(first: int, last: int) -> Period:
    """Whole days, the last one too."""
    return Period(since=midnight(first), until=midnight(last + 1))


TODAY = (0, 0)


@dataclass(frozen=True, kw_only=True)
class Reported:
    lines: list[Mapping[str, Any]]
    totals: Totals

    @property
    def outcomes(self) -> dict[str, int]:
        return {one.value: count for one, count in self.totals.outcomes.items() if count}

    def of(self, name: str) -> list[Mapping[str, Any]]:
        """The lines about somebody."""
        return [line for line in self.lines if line["userName"] == f"{name}@x.example"]

    def outcome(self, name: str) -> str:
        """Of somebody with one termination."""
        (outcome,) = {line["outcome"] for line in self.of(name)}
        return str(outcome)

    def places(self, name: str) -> dict[str, str]:
        return {line["place"]: line["state"] for line in self.of(name)}


@dataclass(frozen=True, kw_only=True)
class Firm:
    app: Flask
    company: Company
    workspace: Workspace
    workspace_id: str
    hr: HR

    def joins(self, name: str, number: str, *, delivered: bool = True, at: datetime | None = None) -> Record:
        record = self.company.joins(f"{name}@x.example", number, at=at or now())
        if delivered:
            self.delivers()
        return record

    def delivers(self) -> None:
        settle(self.app, self.workspace)

    def calls(self, number: str, event_id: str = "msg_1", **said: Any) -> None:
        """HR says that somebody leaves: at once, where it names no day."""
        said = said or {"revoke_access": "immediately"}
        assert self.hr.call(leaving(number, **said), event_id=event_id).status_code in (200, 202)

    def says(self, kind: str, number: str, event_id: str, **said: Any) -> None:
        assert self.hr.call({"type": f"employee.{kind}", "data": {"employee_id": number, **said}}, event_id=event_id).status_code == 200

    def operator_says(self, record: Record, kind: StatementKind, *, effective_at: datetime | None = None, at: datetime | None = None) -> Person:
        instant = at or now()
        return in_transaction(
            lambda session: verbs.say(
                session, self.company.organization_id, record.person_id, voice=Voice.OPERATOR, kind=kind, said_by="ana",
                effective_at=effective_at or instant, actor=ADMIN, at=instant, because="doorlist depart",
            )
        )  # fmt: skip

    def sets(self, key: str, value: str) -> None:
        def act(session: Session) -> None:
            set_setting(session, session.get_one(Organization, self.company.organization_id), key, value, actor=ADMIN, at=now())

        in_transaction(act)

    def report(self, period: Period | tuple[int, int] = TODAY, *, at: datetime | None = None) -> Reported:
        totals = Totals()
        within = period if isinstance(period, Period) else days(*period)
        with reading() as session:
            lines = list(terminations.report(session, self.company.organization_id, within, totals, at=at or now()))
        told = Reported(lines=lines, totals=totals)
        # What holds of every report, whatever happened.
        assert totals.adds_up, totals
        assert totals.population == sum(totals.outcomes[one] for one in POPULATION)
        assert {line["outcome"] for line in lines} == told.outcomes.keys()
        return told

    def stored(self, row: object) -> None:
        in_transaction(lambda session: session.add(row))

    def person_id(self, name: str) -> str:
        with reading() as session:
            return session.scalars(select(Person.id).where(Person.user_name == f"{name}@x.example")).one()

    def acts(self, act: Any) -> Any:
        def one(session: Session) -> Any:
            return act(session)

        return in_transaction(one)


def new_firm(app: Flask) -> Firm:
    workspace = Workspace()
    company, workspace_id = employ(workspace)
    return Firm(app=app, company=company, workspace=workspace, workspace_id=workspace_id, hr=HR(app, company))
