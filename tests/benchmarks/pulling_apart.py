"""What the benchmark of pulls measures, each in a process of its own: `python -m tests.benchmarks.pulling_apart WHAT …`.

`first`, `changes` and `listing` are pulls; `bare` writes the rows of the first one into another database by the driver alone, and
`alone` reads the directory with ldap3 alone. `cpu` is for how many of its seconds this process had a processor.
"""

import json
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from flask import Flask
from sqlalchemy import JSON, Connection, create_engine, select, text
from sqlalchemy.orm import Session

from app.access.sealing import make_key
from app.actors import Actor, ActorKind
from app.assembly import create_app
from app.clock import now
from app.database import Base, db, in_transaction, reading, reading_engine
from app.intake import pulling
from app.intake.pulling import Outcome
from app.journal.tables import Organization
from app.lifecycle.plain_joiners import AT_A_TIME
from app.lifecycle.sources import add_organization, add_pulled_source, find_source
from app.schema import upgrade
from app.settings import from_environment
from connectors.contract import Secret
from connectors.source_contract import SourceSettings
from connectors.sources.ldap_dialects import DIALECTS
from connectors.sources.ldap_library import ldap3
from connectors.sources.ldap_people import People
from connectors.sources.ldap_settings import read_settings
from tests.benchmarks.apart import peak_megabytes

FILLER: Final = Actor(kind=ActorKind.OPERATOR, name="benchmark")
SOURCE: Final = "corp"
ROWS: Final = {
    "journal": "WHERE verb = 'joined' ORDER BY id",
    "record": "ORDER BY id",
    "record_email": "ORDER BY record_id",
    "person": "ORDER BY id",
    "pulled_entry": "WHERE kind = 'person' ORDER BY subject_id",
    "work": "WHERE subject = 'person' ORDER BY subject_id",
}
"""The rows that people leave who are pulled for the first time. Ids grow, so this is the order in which they were written."""


def reached_by(given: SourceSettings) -> str:
    """Settings as these processes are told them."""
    return json.dumps({"name": given.name, "url": given.url, "secret": given.secret.reveal(), "options": dict(given.options)})


def _told(reached: str) -> SourceSettings:
    said = json.loads(reached)
    return SourceSettings(**{**said, "secret": Secret(said["secret"])})


@contextmanager
def _application(url: str, home: str) -> Iterator[Flask]:
    app = create_app(from_environment({"DOORLIST_HOME": home, "DATABASE_URL": url}))
    with app.app_context():
        with reading_engine().connect() as warm:
            warm.execute(text("SELECT 1"))
        yield app
        db.engine.dispose()


class _Watch:
    """From when it is made."""

    def __init__(self) -> None:
        self._began = time.monotonic(), time.process_time()

    def read(self) -> dict[str, Any]:
        wall, cpu = self._began
        return {"seconds": time.monotonic() - wall, "cpu": time.process_time() - cpu}


# Pulls


def first(url: str, home: str, reached: str) -> dict[str, Any]:
    """A directory is pulled into an empty database. `joining` is how long its people took to write, from when all was read."""
    given = _told(reached)
    told: list[tuple[dict[str, Any], str]] = []
    with _application(url, home) as app:
        make_key(app.config["DOORLIST"])
        upgrade()
        in_transaction(lambda session: _add_source(session, app, given))
        organization_id = _ready(app)
        watch = _Watch()
        outcome = _pull(app, organization_id, whole=False, progress=lambda words: told.append((watch.read(), words.partition(":")[0])))
        measured = watch.read()
        with db.engine.begin() as connection:
            # A PostgreSQL that runs for longer than a benchmark knows its rows; SQLite is never told.
            if connection.dialect.name == "postgresql":
                connection.execute(text("ANALYZE"))
    joining = [number for number, (_, what) in enumerate(told) if what == "joining"]
    before, after = told[joining[0] - 1][0], told[joining[-1]][0]
    return {**measured, "joining": {key: after[key] - before[key] for key in after}, "joined": outcome.joined}


def _add_source(session: Session, app: Flask, given: SourceSettings) -> None:
    organization = add_organization(session, "Northwind", at=now())
    add_pulled_source(
        session, organization.id, SOURCE, kind="ldap", reached={"url": given.url, "options": dict(given.options)}, secret=given.secret.reveal(),
        settings=app.config["DOORLIST"], actor=FILLER, at=now(),
    )  # fmt: skip


def again(url: str, home: str, *, whole: bool) -> dict[str, Any]:
    with _application(url, home) as app:
        organization_id = _ready(app)
        watch = _Watch()
        outcome = _pull(app, organization_id, whole=whole)
        measured = watch.read()
    return {**measured, "megabytes": peak_megabytes(), "seen": outcome.seen, "moved": outcome.moved, "unchanged": outcome.unchanged}


def _ready(app: Flask) -> str:
    """Whose source it is. The connector's libraries are loaded here, as in a process that has pulled before."""
    with reading() as session:
        organization_id = session.scalars(select(Organization.id)).one()
        pulling.open_source_of(app.config["DOORLIST"], find_source(session, organization_id, SOURCE))
    return organization_id


def _pull(app: Flask, organization_id: str, *, whole: bool, progress: Callable[[str], None] = pulling.silent) -> Outcome:
    outcome = pulling.pull(app.config["DOORLIST"], organization_id, SOURCE, whole=whole, actor=FILLER, progress=progress)
    if outcome.notes or outcome.held or outcome.left:
        raise RuntimeError(f"nothing was to be said of this pull: {outcome}")
    return outcome


# The floors


def bare(url: str, other: str, home: str) -> dict[str, Any]:
    """The same rows in the same batches, by the fastest way that the driver has: COPY, or many rows in one call. Reading them is not counted."""
    seconds, cpu, count = 0.0, 0.0, 0
    with _application(other, home), create_engine(url).connect() as source:
        upgrade()
        tables = {name: _batches(source, name, rest) for name, rest in ROWS.items()}
        raw: Any = db.engine.raw_connection()
        write = _copied if db.engine.dialect.name == "postgresql" else _inserted
        while some := {name: rows for name, batches in tables.items() if (rows := next(batches, None))}:
            watch = _Watch()
            write(raw, some)
            measured = watch.read()
            seconds += measured["seconds"]
            cpu += measured["cpu"]
            count += sum(map(len, some.values()))
        raw.close()
    return {"seconds": seconds, "cpu": cpu, "rows": count}


def _batches(source: Connection, table: str, rest: str) -> Iterator[Sequence[tuple[Any, ...]]]:
    postgres = source.dialect.name == "postgresql"
    columns = [
        f'CAST("{column.name}" AS text)' if postgres and isinstance(column.type, JSON) else f'"{column.name}"'
        for column in Base.metadata.tables[table].columns
    ]
    raw: Any = source.connection.driver_connection
    cursor = raw.cursor(name=table) if postgres else raw.cursor()
    cursor.execute(f"SELECT {', '.join(columns)} FROM {table} {rest}")
    while rows := cursor.fetchmany(AT_A_TIME):
        yield rows


def _columns(table: str) -> str:
    return ", ".join(f'"{column.name}"' for column in Base.metadata.tables[table].columns)


def _inserted(raw: Any, some: Mapping[str, Sequence[tuple[Any, ...]]]) -> None:
    cursor = raw.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    for table, rows in some.items():
        cursor.executemany(f"INSERT INTO {table} ({_columns(table)}) VALUES ({', '.join('?' * len(rows[0]))})", rows)
    cursor.execute("COMMIT")


def _copied(raw: Any, some: Mapping[str, Sequence[tuple[Any, ...]]]) -> None:
    with raw.cursor() as cursor:
        for table, rows in some.items():
            with cursor.copy(f"COPY {table} ({_columns(table)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
    raw.commit()


def alone(reached: str) -> dict[str, Any]:
    """Everybody and every group, with the attributes that we ask for, page by page over the same TLS."""
    settings = read_settings(_told(reached))
    dialect, place = DIALECTS["openldap"], settings.place
    people = People(settings, dialect)
    asked = [
        (settings.people_base, people.filter, list(people.attributes)),
        (settings.group_base, dialect.group_filter, [dialect.key_attribute, "cn", *dialect.member_attributes]),
    ]
    watch = _Watch()
    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=place.ca_file)
    server = ldap3.Server(place.host, port=place.port, use_ssl=True, tls=tls, get_info=ldap3.NONE)
    connection: Any = ldap3.Connection(
        server, place.bind_dn, place.password.reveal(), auto_bind=True, read_only=True, return_empty_attributes=False
    )
    count = 0
    for base, filter, attributes in asked:
        found = connection.extend.standard.paged_search(base, filter, attributes=attributes, paged_size=place.page_size, generator=True)
        count += sum(1 for _ in found)
    connection.unbind()
    return {**watch.read(), "megabytes": peak_megabytes(), "entries": count}


PARTS: Final[Mapping[str, Callable[..., dict[str, Any]]]] = {
    "first": first,
    "changes": lambda url, home: again(url, home, whole=False),
    "listing": lambda url, home: again(url, home, whole=True),
    "bare": bare,
    "alone": alone,
}


if __name__ == "__main__":
    print(json.dumps(PARTS[sys.argv[1]](*sys.argv[2:])))
