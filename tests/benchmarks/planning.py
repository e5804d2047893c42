"""A full plan over a large company and five rules, against reading the same rows with plain SQL, each in a process of its own.

`python -m tests.benchmarks.planning plan|read URL` is such a process: it prints its seconds and its peak memory.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from flask import Flask
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.orm import Session

from app.actors import Actor, ActorKind
from app.assembly import create_app
from app.clock import now
from app.database import Base, db, in_transaction, new_id, reading, reading_engine
from app.directory.names import name_key
from app.directory.tables import Group, Membership, Person, Record, Standing
from app.journal.tables import Organization
from app.lifecycle.sources import add_organization
from app.many_rows import plain_rows
from app.reconcile.plan import summarise
from app.rules.file import parse
from app.rules.membership import desired, keys_in_use
from app.rules.revisions import apply_rules, current_rules
from app.rules.tables import Channel, ChannelMember, Reach
from app.schema import upgrade
from app.settings import from_environment
from tests.benchmarks.apart import apart, peak_megabytes
from tests.benchmarks.figures import Bound, Figure, Unit
from tests.benchmarks.house import Bench, batches
from tests.journeys import company
from tests.servers.postgres import PostgresMissing, running_postgres

SIZES: Final = tuple(int(size) for size in os.environ.get("BENCH_PLAN_SIZES", "10000,100000").split(","))
TRIES: Final = 3
AT_A_TIME: Final = 1000
WORKSPACE: Final = "chat"
FILLER: Final = Actor(kind=ActorKind.OPERATOR, name="benchmark")
RULES: Final = """
rules:
  - id: everyone
    name: all-hands
  - id: departments
    where: 'userType eq "Employee"'
    for_each: department
    name: "dept-{{ key | slug }}"
  - id: locations
    for_each: location
    name: "loc-{{ key | slug }}"
  - id: teams
    for_each: manager
    name: "team-{{ manager.userName | slug }}"
    owners: [manager]
  - id: groups
    for_each: group
    name: "grp-{{ group.displayName | slug }}"
"""


def run(bench: Bench) -> list[Figure]:
    with ExitStack() as leaving:
        urls = {"SQLite": [f"sqlite:///{(bench.folder / f'plan-{size}.db').absolute()}" for size in SIZES]}
        try:
            postgres = leaving.enter_context(running_postgres())
            urls["PostgreSQL"] = [postgres.database() for _ in SIZES]
        except PostgresMissing as error:
            print(f"planning: NOT MEASURED ON POSTGRESQL: {error}", file=sys.stderr)
        return [figure for name, some in urls.items() for figure in _on(name, some, folder=bench.folder)]


def _on(name: str, urls: list[str], *, folder: Path) -> list[Figure]:
    figures: list[Figure] = []
    peaks: list[float] = []
    for size, url in zip(SIZES, urls, strict=True):
        fill(url, size=size, folder=folder)
        plans, reads = ([_apart(what, url) for _ in range(TRIES)] for what in ("plan", "read"))
        peaks.append(max(one["megabytes"] for one in plans))
        figures.append(
            Figure(
                what=f"full plan, {size:,} people, {plans[0]['pairs']:,} memberships, {name}",
                unit=Unit.SECONDS,
                measured=min(one["seconds"] for one in plans),
                floor=min(one["seconds"] for one in reads),
                floor_is="reading the same rows with plain SQL",
                bound=Bound(times=3),
            )
        )
    figures.append(
        Figure(
            what=f"  its peak memory at {SIZES[-1]:,} people, {name}",
            unit=Unit.MEGABYTES,
            measured=peaks[-1],
            floor=peaks[0],
            floor_is=f"the same at {SIZES[0]:,} people",
            bound=Bound(times=1.2),
        )
    )
    return figures


def _apart(what: str, url: str) -> dict[str, Any]:
    return apart("tests.benchmarks.planning", what, url)


# Filling


def fill(url: str, *, size: int, folder: Path) -> None:
    """People, records, groups and channels as plain rows, and a mirror in which one membership in a hundred is missing."""
    app = _app(url, folder)
    with app.app_context():
        upgrade()
        organization_id = in_transaction(_organization)
        rows = _Rows(organization_id, size)
        for table, some in rows.all():
            for few in batches(some, AT_A_TIME):
                in_transaction(lambda session, table=table, few=few: session.execute(insert(table), list(few)))  # type: ignore[misc]  # defaults bind the loop's values
        in_transaction(lambda session: _channels(session, organization_id))
        _mirror(organization_id)
        with db.engine.begin() as connection:
            # A PostgreSQL that runs for longer than a benchmark knows its rows; SQLite is never told.
            if connection.dialect.name == "postgresql":
                connection.execute(text("ANALYZE"))
        db.engine.dispose()


def _app(url: str, folder: Path) -> Flask:
    return create_app(from_environment({"DOORLIST_HOME": str(folder / "planning"), "DATABASE_URL": url}))


def _organization(session: Session) -> str:
    organization = add_organization(session, "Northwind", at=now())
    session.flush()
    apply_rules(session, organization.id, parse(RULES), FILLER, now())
    return organization.id


class _Rows:
    """Everything about the people of one company, table by table, never all at once."""

    def __init__(self, organization_id: str, size: int) -> None:
        self._key = {"organization_id": organization_id}
        self._stamp = {"created_at": now(), "modified_at": now(), "version": 1, "journal_id": 1}
        self._size = size
        self._ids = [new_id() for _ in range(size)]

    def all(self) -> Iterator[tuple[type[Base], Iterator[dict[str, Any]]]]:
        groups = [(new_id(), group) for group in company.pushed_groups(company.people(size=self._size))]
        yield Person, (self._person(one) for one in company.people(size=self._size))
        yield Record, (self._record(one) for one in company.people(size=self._size))
        yield Group, iter([
            {**self._key, **self._stamp, "id": id, "source_id": "okta", "display_name": group.name, "display_name_key": name_key(group.name), "document": {}}
            for id, group in groups
        ])  # fmt: skip
        yield Membership, (
            {**self._key, "group_id": id, "record_id": f"r-{self._ids[number]}", "journal_id": 1} for id, group in groups for number in group.members
        )

    def _person(self, one: company.Person) -> dict[str, Any]:
        return {
            **self._key, **self._stamp, "id": self._ids[one.number], "standing": Standing.ACTIVE, "standing_reason": "joined", "access_epoch": 1,
            "user_name": one.user_name, "user_name_key": name_key(one.user_name), "display_name": one.display_name, "email": one.user_name,
            "user_type": one.user_type, "department": one.department, "division": one.division, "employee_number": one.employee_number,
            "manager_id": None if one.manager is None else self._ids[one.manager], "document": self._document(one),
        }  # fmt: skip

    def _record(self, one: company.Person) -> dict[str, Any]:
        return {
            **self._key, **self._stamp, "id": f"r-{self._ids[one.number]}", "source_id": "okta", "person_id": self._ids[one.number],
            "external_id": one.external_id, "user_name": one.user_name, "user_name_key": name_key(one.user_name), "active": True, "held": False,
            "active_said_at": self._stamp["created_at"], "document": self._document(one),
        }  # fmt: skip

    def _document(self, one: company.Person) -> dict[str, Any]:
        manager = None if one.manager is None else f"r-{self._ids[one.manager]}"
        body = one.okta_body(manager_id=manager)
        return {name: value for name, value in body.items() if name not in ("groups", "password", "active")}


def _channels(session: Session, organization_id: str) -> None:
    """One for each key that somebody has; the names are of no weight here."""
    keys = [one.belongs for one in keys_in_use(session, organization_id, current_rules(session, organization_id))]
    for some in batches(keys, AT_A_TIME):
        ids = [new_id() for _ in some]
        session.execute(
            insert(Channel),
            [{"organization_id": organization_id, "id": id, "name": id, "state": "active", "space": False, "created_at": now()} for id in ids],
        )
        session.execute(
            insert(Reach),
            [
                {"organization_id": organization_id, "rule_id": one.rule_id, "key": one.key, "channel_id": id, "created_at": now()}
                for id, one in zip(ids, some, strict=True)
            ],
        )


def _mirror(organization_id: str) -> None:
    since = now()
    with reading() as session:
        pairs = list(desired(session, organization_id, current_rules(session, organization_id), at=since))
    there = (pair for number, pair in enumerate(pairs) if number % 100)
    for some in batches(there, AT_A_TIME):
        rows = [
            {
                "organization_id": organization_id, "workspace_id": WORKSPACE, "channel_id": channel_id, "person_id": person_id, "why": "rule",
                "since": since,
            }
            for channel_id, person_id in some
        ]  # fmt: skip
        in_transaction(lambda session, rows=rows: session.execute(insert(ChannelMember), rows))  # type: ignore[misc]  # likewise


# One process each


def plan(session: Session) -> int:
    organization_id = session.scalars(select(Organization.id)).one()
    rules = current_rules(session, organization_id)
    found = summarise(desired(session, organization_id, rules, at=now()), _observed(session, organization_id))
    if not found.added or found.removed:
        raise RuntimeError(f"the plan should only add what the mirror lacks: {found}")
    return found.added + found.kept


def _observed(session: Session, organization_id: str) -> Iterator[tuple[Any, ...]]:
    query = (
        select(ChannelMember.channel_id, ChannelMember.person_id)
        .where(ChannelMember.organization_id == organization_id, ChannelMember.workspace_id == WORKSPACE)
        .order_by(ChannelMember.channel_id, ChannelMember.person_id)
    )
    return plain_rows(session, query)


PLAIN: Final = (
    "SELECT id, standing, user_type, department, manager_id, CAST(document AS text) FROM person ORDER BY id",
    "SELECT membership.group_id, record.person_id FROM membership JOIN record"
    " ON record.organization_id = membership.organization_id AND record.id = membership.record_id",
    "SELECT channel_id, person_id FROM channel_member ORDER BY channel_id, person_id",
)


def read(connection: Connection) -> int:
    """Every row that the plan is made of, once, streamed through the bare driver."""
    count = 0
    raw: Any = connection.connection.driver_connection
    for number, query in enumerate(PLAIN):
        cursor = raw.cursor() if connection.dialect.name == "sqlite" else raw.cursor(name=f"plain{number}")
        cursor.execute(query)
        while rows := cursor.fetchmany(AT_A_TIME):
            count += len(rows)
        cursor.close()
    return count


def main(what: str, url: str) -> None:
    app = _app(url, Path(".bench"))
    with app.app_context():
        with reading_engine().connect() as warm:
            warm.execute(text("SELECT 1"))
        began = time.monotonic()
        if what == "plan":
            with reading() as session:
                pairs = plan(session)
        else:
            with reading_engine().connect() as connection:
                pairs = read(connection)
        seconds = time.monotonic() - began
        db.engine.dispose()
    print(json.dumps({"seconds": seconds, "megabytes": peak_megabytes(), "pairs": pairs}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
