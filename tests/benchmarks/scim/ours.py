"""Doorlist itself: installed and served by its own commands, filled by plain rows."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flask import Flask
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from app.assembly import create_app
from app.clock import now
from app.database import Base, db, in_transaction, new_id, reading
from app.directory import name_parts
from app.directory.names import name_key
from app.directory.tables import Group, Membership, Person, Record, RecordEmail, Source, Standing
from app.journal.tables import Entry
from app.settings import from_environment
from tests.benchmarks.house import batches
from tests.benchmarks.scim import people
from tests.benchmarks.scim.durable import settle
from tests.benchmarks.scim.served import SERVERS_CORE, NotServed, Served, last_words, started
from tests.ports import free_port

AT_A_TIME: Final = 2000
COMMAND_WITHIN: Final = 120.0
# What a benchmark must not run into: the brake is switched off as well, by its own command.
UNHINDERED: Final = {"DOORLIST_SCIM_RATE": "0"}


@dataclass(frozen=True, kw_only=True)
class Installed:
    """One installation with one directory that pushes, filled; `ids` are in the order of the people's numbers."""

    home: Path
    environment: dict[str, str]
    source_id: str
    token: str
    ids: list[str]
    group: str
    members: frozenset[int]
    port: int


def install(home: Path, *, url: str | None, size: int, group_size: int = people.GROUP_SIZE) -> Installed:
    """Set up as its README says, on `url` or on its own SQLite, and filled. Raises NotServed."""
    port = free_port()
    environment = _environment(home, port=port, url=url)
    run(environment, "init", "--organization", "Northwind")
    source = run(environment, "source", "add", "scim", "okta")
    run(environment, "settings", "set", "push_brake", "off")
    app = create_app(from_environment(environment))
    ids = [new_id() for _ in range(size)]
    members = range(min(group_size, size))
    with app.app_context():
        group = fill(app, source["id"], ids, members)
        # As the worker does each minute: the people have been there for a while.
        while in_transaction(name_parts.catch_up):
            pass
        db.engine.dispose()
    if url is not None and not url.startswith("sqlite"):
        settle(url)
    return Installed(
        home=home, environment=environment, source_id=source["id"], token=source["token"], ids=ids, group=group, members=frozenset(members), port=port
    )


def run(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    """One command of Doorlist's. Raises NotServed."""
    ended = subprocess.run(
        [_program(), *arguments, "--json"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=COMMAND_WITHIN
    )
    if ended.returncode:
        raise NotServed(f"`doorlist {' '.join(arguments)}` ended with {ended.returncode}: {(ended.stderr or ended.stdout).strip()[-300:]}")
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


@contextmanager
def serving(installed: Installed, *, log: Path, port: int | None = None, core: str | None = SERVERS_CORE) -> Iterator[Served]:
    """The web alone, as where `doorlist worker` runs elsewhere: the others have nobody to deliver to either."""
    chosen = port or installed.port
    command = [_program(), "serve", "--lanes", "none", "--host", "127.0.0.1", "--port", str(chosen)]
    with started(command, port=chosen, log=log, environment=installed.environment, core=core) as process:
        served = Served(
            port=chosen, prefix=f"/scim/v2/{installed.source_id}", token=installed.token, ids=installed.ids, group=installed.group,
            members=installed.members, process=process,
        )  # fmt: skip
        status, document = served.ask("GET", "/Users?count=1")
        if status != 200 or document.get("totalResults") != len(installed.ids):
            raise NotServed(f"it was filled with {len(installed.ids)} people and answers {status} {str(document)[:200]}: {last_words(log)}")
        yield served


def _program() -> str:
    return str(Path(sys.executable).with_name("doorlist"))


def _environment(home: Path, *, port: int, url: str | None) -> dict[str, str]:
    # What the shell says of another installation is none of this one's business.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DOORLIST_") and name != "DATABASE_URL"}
    ours = {"DOORLIST_HOME": str(home.absolute()), "DOORLIST_PUBLIC_URL": f"http://127.0.0.1:{port}", **UNHINDERED}
    return {**kept, **ours, **({} if url is None else {"DATABASE_URL": url})}


def fill(app: Flask, source_id: str, ids: list[str], members: range) -> str:
    """People, records, addresses and one group as plain rows, without work: nobody waits to be looked at. Returns the group's id."""
    with reading() as session:
        organization_id = session.scalars(select(Source.organization_id).where(Source.id == source_id)).one()
        entry = session.scalars(select(func.max(Entry.id))).one()
    rows = _Rows({"organization_id": organization_id}, source_id, entry or 1)
    group_id = new_id()
    _insert(Person, (rows.person(number, id) for number, id in enumerate(ids)))
    _insert(Record, (rows.record(number, id) for number, id in enumerate(ids)))
    _insert(RecordEmail, (rows.email(number, id) for number, id in enumerate(ids)))
    _insert(Group, iter([rows.group(group_id)]))
    _insert(Membership, (rows.membership(group_id, ids[number]) for number in members))
    return group_id


def _insert(table: type[Base], rows: Iterator[dict[str, Any]]) -> None:
    for some in batches(rows, AT_A_TIME):

        def act(session: Session, some: tuple[dict[str, Any], ...] = some) -> None:
            session.connection().execute(insert(table.__table__), list(some))  # type: ignore[arg-type]  # a mapped class always has a Table

        in_transaction(act)


class _Rows:
    """Rows as the verbs would have written them. A record has the id that the people's number was given, a person another."""

    def __init__(self, key: dict[str, str], source_id: str, entry: int) -> None:
        at = now()
        self._source_id = source_id
        self._at = at
        self._key = key
        self._stamp = {**key, "created_at": at, "modified_at": at, "version": 1, "journal_id": entry}
        self._entry = entry

    def person(self, number: int, id: str) -> dict[str, Any]:
        given, family = people.names(number)
        return {
            **self._stamp, "id": _person_id(id), "standing": Standing.ACTIVE.value, "standing_reason": "joined", "access_epoch": 1,
            "user_name": people.user_name(number), "user_name_key": name_key(people.user_name(number)), "display_name": f"{given} {family}",
            "email": people.user_name(number), "document": _document(number),
        }  # fmt: skip

    def record(self, number: int, id: str) -> dict[str, Any]:
        given, family = people.names(number)
        return {
            **self._stamp, "id": id, "source_id": self._source_id, "person_id": _person_id(id), "external_id": people.external_id(number),
            "user_name": people.user_name(number), "user_name_key": name_key(people.user_name(number)), "display_name": f"{given} {family}",
            "active": True, "held": False, "active_said_at": self._at, "document": _document(number),
        }  # fmt: skip

    def email(self, number: int, id: str) -> dict[str, Any]:
        return {**self._key, "record_id": id, "address_key": name_key(people.user_name(number))}

    def group(self, id: str) -> dict[str, Any]:
        document = {"schemas": [people.GROUP_URN], "displayName": people.GROUP_NAME}
        return {
            **self._stamp, "id": id, "source_id": self._source_id, "display_name": people.GROUP_NAME,
            "display_name_key": name_key(people.GROUP_NAME), "document": document,
        }  # fmt: skip

    def membership(self, group_id: str, record_id: str) -> dict[str, Any]:
        return {**self._key, "group_id": group_id, "record_id": record_id, "journal_id": self._entry}


def _person_id(record_id: str) -> str:
    # Another id, as a person always has, that sorts like the record's.
    return record_id[:-1] + ("0" if record_id[-1] != "0" else "1")


def _document(number: int) -> dict[str, Any]:
    return {name: value for name, value in people.document(number).items() if name != "active"}

