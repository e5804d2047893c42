"""What every test may ask for: above all `database_url`, which runs a test once on each kind of database."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import HealthCheck
from hypothesis import settings as examples
from sqlalchemy import create_engine

from app.access.sealing import make_key
from app.assembly import without_doors
from app.database import Base, db
from app.settings import from_environment
from tests.compiled_once import compile_once
from tests.databases import let_go, migrated
from tests.keys_at_hand import keep_signing_keys_at_hand
from tests.late_doors import create_late
from tests.servers.lent_databases import LentDatabases, lending
from tests.servers.postgres import DatabaseName, Postgres, PostgresMissing, running_postgres

# A run in continuous integration may not pass by leaving something out.
NOTHING_MAY_BE_MISSING = bool(os.environ.get("CI"))

# Examples are judged by what comes of them; how long they take is a matter for benchmarks, and of whatever else runs here.
examples.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
examples.load_profile("untimed")

compile_once()
keep_signing_keys_at_hand()

pytest_plugins = [name for name in ("tests.servers.fixtures",) if find_spec(name)]


NO_SEQUENCER_RUNS = timedelta(days=36_500).total_seconds()
"""How far the audit tree may be behind beside tests, which write much of another year. Tests of that say so: `tests.lagging`."""


# While thousands of tests are read nothing of it is garbage, and to look for some takes a quarter of the time.
gc.disable()


def pytest_collection_finish() -> None:
    """Thousands of tests that were just read are looked through by the garbage collector again and again, seconds at a time."""
    gc.collect()
    gc.freeze()
    gc.enable()
    # And what a test makes is seldom looked at before it has gone by itself: a twentieth of the time of all of them.
    gc.set_threshold(20_000, *gc.get_threshold()[1:])


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One cluster for the whole run; ask it for a database of your own."""
    try:
        with running_postgres() as server:
            yield server
    except PostgresMissing as missing:
        if NOTHING_MAY_BE_MISSING:
            raise
        pytest.skip(f"NOT TESTED ON POSTGRESQL: {missing}")


@pytest.fixture(scope="session")
def present_schema(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> DatabaseName:
    """A database on PostgreSQL with the present schema, to be copied: that takes a tenth of the time of migrating."""
    name = postgres.create()
    home = tmp_path_factory.mktemp("present-schema")
    app = without_doors(from_environment({"DOORLIST_HOME": str(home), "DATABASE_URL": postgres.url(name)}))
    with app.app_context():
        migrated()
        # Nobody may be using what is copied.
        db.engine.dispose()
    return name


@pytest.fixture(scope="session")
def bare_tables(postgres: Postgres) -> DatabaseName:
    """The same for tests that change rows at will: only the tables, without what guards them."""
    import migrations.every_table  # noqa: F401  # so that none is missing

    name = postgres.create()
    engine = create_engine(postgres.url(name))
    Base.metadata.create_all(engine)
    engine.dispose()
    return name


@pytest.fixture(scope="session")
def lent_databases(postgres: Postgres) -> Iterator[LentDatabases]:
    with lending(postgres) as databases:
        yield databases


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """SQLAlchemy's URL of a fresh database; the test runs on SQLite and again on PostgreSQL.

    On SQLite it is empty until `migrated()`; on PostgreSQL it has the present schema, unless the test is marked `empty` or `bare`.
    """
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'doorlist.sqlite'}"
        yield url
        let_go(url)
        return
    # Asked for only here, so that nothing is started for those who run without PostgreSQL.
    server: Postgres = request.getfixturevalue("postgres")
    if request.node.get_closest_marker("empty"):
        yield server.database()
        return
    like = "bare_tables" if request.node.get_closest_marker("bare") else "present_schema"
    databases: LentDatabases = request.getfixturevalue("lent_databases")
    with databases.lent(like=request.getfixturevalue(like)) as url:
        yield url
        let_go(url)


@pytest.fixture
def installed(database_url: str, tmp_path: Path) -> Iterator[Flask]:
    """An application whose database has the present schema and an encryption key; inside its context."""
    settings = replace(
        from_environment({"DOORLIST_HOME": str(tmp_path / "home"), "DATABASE_URL": database_url}), audit_lag=NO_SEQUENCER_RUNS
    )
    make_key(settings)
    app = create_late(settings)
    with app.app_context():
        migrated()
        yield app
        db.engine.dispose()
