"""A company whose directory is pulled: pulls at instants that the test gives, and what a person would see of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, current_app
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.database import in_transaction, reading
from app.directory.tables import Group, Membership, Person, Record, Source
from app.intake import pulling
from app.intake.pulling import Outcome
from app.journal.tables import Organization
from app.lifecycle.pulled_tables import PulledEntry, Run, RunLine
from app.lifecycle.sources import add_pulled_source, set_setting
from app.settings import Settings
from connectors.source_contract import Source as Opened
from tests.company import ADMIN, NOW, Company, new_company
from tests.unit.intake.scripted_directory import Directory

MINUTE = timedelta(minutes=1)


@dataclass
class Pulled:
    """`at` is the present; each pull takes a second of it."""

    company: Company
    source_id: str
    directory: Directory
    name: str = "corp"
    at: datetime = NOW
    progress: list[str] = field(default_factory=list)
    opened: Opened | None = None

    @property
    def organization_id(self) -> str:
        return self.company.organization_id

    def clock(self) -> datetime:
        self.at += timedelta(microseconds=1)
        return self.at

    def _open(self, settings: Settings, source: Source) -> Opened:
        return self.opened or self.directory

    def pull(self, *, whole: bool = False, dry_run: bool = False, actor: Actor = ADMIN, patience: float = 0.0) -> Outcome:
        self.at += timedelta(seconds=1)
        return pulling.pull(
            current_app.config["DOORLIST"], self.organization_id, self.name, whole=whole, dry_run=dry_run, actor=actor, clock=self.clock,
            progress=self.progress.append, opening=self._open, patience=patience,
        )  # fmt: skip

    def ask_again(self) -> Outcome | None:
        self.at += timedelta(seconds=1)
        return pulling.ask_again(current_app.config["DOORLIST"], self.organization_id, self.name, clock=self.clock, opening=self._open)

    def wait(self, length: timedelta = MINUTE) -> None:
        self.at += length

    def sets(self, key: str, value: str) -> None:
        in_transaction(
            lambda session: set_setting(session, session.get_one(Organization, self.organization_id), key, value, actor=ADMIN, at=self.at)
        )

    # What a person would see

    def records(self) -> dict[str, Record]:
        """The records that stand, by userName."""
        with reading() as session:
            query = select(Record).where(Record.organization_id == self.organization_id, Record.source_id == self.source_id, Record.ended_at.is_(None))
            return {record.user_name: record for record in session.scalars(query)}

    def standing(self) -> dict[str, str]:
        """Everybody's standing, by userName."""
        with reading() as session:
            people = session.scalars(select(Person).where(Person.organization_id == self.organization_id))
            return {one.user_name: one.standing for one in people}

    def person(self, user_name: str) -> Person:
        with reading() as session:
            return session.scalars(select(Person).where(Person.organization_id == self.organization_id, Person.user_name == user_name)).one()

    def groups(self) -> dict[str, set[str]]:
        """Who is in which group that stands."""
        with reading() as session:
            groups = session.scalars(select(Group).where(Group.organization_id == self.organization_id, Group.ended_at.is_(None))).all()
            return {one.display_name: self._members(session, one.id) for one in groups}

    def _members(self, session: Session, group_id: str) -> set[str]:
        query = (
            select(Record.user_name)
            .join(Membership, (Membership.organization_id == Record.organization_id) & (Membership.record_id == Record.id))
            .where(Record.organization_id == self.organization_id, Membership.group_id == group_id, Membership.ended_at.is_(None))
        )
        return set(session.scalars(query))

    def entry(self, key: str, kind: str = "person") -> PulledEntry | None:
        with reading() as session:
            return session.get(PulledEntry, (self.organization_id, self.source_id, kind, key))

    def run(self, number: int) -> Run:
        with reading() as session:
            return session.get_one(Run, (self.organization_id, number))

    def lines(self, number: int) -> list[tuple[str, str]]:
        """What a run took, and from whom, by userName."""
        with reading() as session:
            query = (
                select(RunLine.took, Person.user_name)
                .outerjoin(Person, (Person.organization_id == RunLine.organization_id) & (Person.id == RunLine.person_id))
                .where(RunLine.organization_id == self.organization_id, RunLine.run == number)
                .order_by(RunLine.line)
            )
            return [(took, name or "") for took, name in session.execute(query)]

    def act(self, act: Any) -> Any:
        """Something in one transaction."""
        return in_transaction(act)


def pulled_company(
    company: Company | None = None, *, name: str = "corp", kind: str = "csv", directory: Directory | None = None, **settings: Any
) -> Pulled:
    """A company with one source that is pulled."""
    company = company or new_company()

    def act(session: Session) -> Source:
        reached = {"url": "file:///people.csv", **settings}
        return add_pulled_source(
            session, company.organization_id, name, kind=kind, reached=reached, secret="", settings=current_app.config["DOORLIST"], actor=ADMIN, at=NOW
        )

    source = in_transaction(act)
    return Pulled(company=company, source_id=source.id, directory=directory or Directory(name=name), name=name)


__all__ = ["MINUTE", "Flask", "Pulled", "pulled_company"]
