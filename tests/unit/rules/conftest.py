"""A small organisation in a fresh database of each kind, built by hand so that rules are tested without any door."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.actors import Actor, ActorKind
from app.database import Base, configure, db, new_id
from app.directory.names import name_key
from app.directory.tables import Group, Membership, Person, Record, Standing
from app.directory.vocabulary import ENTERPRISE_URN
from app.rules.channels import reach
from app.rules.file import Rule, parse
from app.rules.membership import desired, keys_in_use
from app.rules.tables import Channel, ChannelMember
from app.settings import from_environment

ORGANIZATION = "acme"
WORKSPACE = "chat"
MORNING = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
OPERATOR = Actor(kind=ActorKind.OPERATOR, name="ada")
ENTERPRISE = ENTERPRISE_URN


@dataclass(kw_only=True)
class Company:
    """Says what is so in the organisation, and what rules make of it."""

    session: Session
    now: datetime = MORNING

    def hires(self, name: str, /, *, organization: str = ORGANIZATION, **said: Any) -> str:
        """A new person with a record; their id is the lower-case name."""
        person_id = name.lower()
        department, manager = said.pop("department", None), said.pop("manager", None)
        user_name = f"{person_id}@example.com"
        document: dict[str, Any] = {"userName": user_name, "displayName": name, **said}
        if department is not None:
            document[ENTERPRISE] = {"department": department}
        self.session.add(
            Person(
                organization_id=organization, id=person_id, standing=Standing.ACTIVE, standing_reason="joined", user_name=user_name,
                user_name_key=name_key(user_name), display_name=name, user_type=said.get("userType"), department=department,
                manager_id=manager, document=document, created_at=self.now, modified_at=self.now, journal_id=1,
            )
        )  # fmt: skip
        self.session.add(
            Record(
                organization_id=organization, id=f"record-{person_id}", source_id="okta", person_id=person_id, user_name=user_name,
                user_name_key=name_key(user_name), active=True, active_said_at=self.now, document=document,
                created_at=self.now, modified_at=self.now, journal_id=1,
            )
        )  # fmt: skip
        self.session.flush()
        return person_id

    def moves(self, person_id: str, **changed: Any) -> None:
        self.session.execute(update(Person).where(Person.id == person_id).values(**changed))

    def leaves(self, person_id: str) -> None:
        self.moves(person_id, standing=Standing.DEPARTED)

    def has_group(self, name: str, *members: str) -> str:
        group_id = new_id()
        self.session.add(
            Group(
                organization_id=ORGANIZATION, id=group_id, source_id="okta", display_name=name, display_name_key=name_key(name),
                document={"displayName": name}, created_at=self.now, modified_at=self.now, journal_id=1,
            )
        )  # fmt: skip
        for member in members:
            self.session.add(
                Membership(organization_id=ORGANIZATION, group_id=group_id, record_id=f"record-{member}", ended_at=None, journal_id=1)
            )
        self.session.flush()
        return group_id

    def allocates(self, rules: tuple[Rule, ...]) -> dict[tuple[str, str], str]:
        """Reach every channel that anybody belongs to."""
        used = [one.belongs for one in keys_in_use(self.session, ORGANIZATION, rules)]
        return reach(self.session, ORGANIZATION, rules, used, self.now)

    def channel_named(self, name: str) -> str:
        return self.session.scalars(select(Channel.id).where(Channel.organization_id == ORGANIZATION, Channel.name == name)).one()

    def channel_names(self) -> set[str]:
        return set(self.session.scalars(select(Channel.name).where(Channel.organization_id == ORGANIZATION)))

    def roster(self, rules: tuple[Rule, ...]) -> dict[str, set[str]]:
        """Who belongs in which channel, after every channel was reached."""
        self.allocates(rules)
        names = {row.id: row.name for row in self.session.execute(select(Channel.id, Channel.name))}
        found: dict[str, set[str]] = {}
        for channel_id, person_id in desired(self.session, ORGANIZATION, rules, at=self.now):
            found.setdefault(names[channel_id], set()).add(person_id)
        return found

    def is_delivered(self, rules: tuple[Rule, ...]) -> None:
        """The mirror, as if a workspace now held exactly what the rules say."""
        self.allocates(rules)
        for channel_id, person_id in list(desired(self.session, ORGANIZATION, rules, at=self.now)):
            self.session.merge(
                ChannelMember(
                    organization_id=ORGANIZATION, workspace_id=WORKSPACE, channel_id=channel_id, person_id=person_id,
                    why="rule", since=self.now, keep_until=None, left_at=None,
                )
            )  # fmt: skip
        self.session.flush()

    def waits(self, **span: float) -> None:
        self.now += timedelta(**span)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Rules are tried on bare tables, which the fixture below makes: without triggers people can be changed at will."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.bare)


@pytest.fixture
def company(database_url: str, tmp_path: Path) -> Iterator[Company]:
    application = Flask("rules")
    configure(application, from_environment({"DATABASE_URL": database_url, "DOORLIST_HOME": str(tmp_path)}))
    with application.app_context():
        if database_url.startswith("sqlite"):
            Base.metadata.create_all(db.engine)
        try:
            with Session(db.engine, expire_on_commit=False) as session, session.begin():
                yield Company(session=session)
        finally:
            db.engine.dispose()


def rules_of(text: str) -> tuple[Rule, ...]:
    """Rules of a file without its first line."""
    return parse("rules:\n" + text)
