"""What every test may ask for: above all `database_url`, which runs a test once on each kind of database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from flask import Flask

from app.access.sealing import make_key
from app.assembly import create_app
from app.database import db
from app.settings import from_environment
from tests.databases import migrated
from tests.servers.postgres import Postgres, PostgresMissing, running_postgres

# A run in continuous integration may not pass by leaving something out.
NOTHING_MAY_BE_MISSING = bool(os.environ.get("CI"))

pytest_plugins = [name for name in ("tests.servers.fixtures",) if find_spec(name)]


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


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLAlchemy's URL of a fresh, empty database; the test runs on SQLite and again on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'doorlist.sqlite'}"
    # Asked for only here, so that nothing is started for those who run without PostgreSQL.
    server: Postgres = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def installed(database_url: str, tmp_path: Path) -> Iterator[Flask]:
    """An application whose database has the present schema and an encryption key; inside its context."""
    settings = from_environment({"DOORLIST_HOME": str(tmp_path / "home"), "DATABASE_URL": database_url})
    make_key(settings)
    app = create_app(settings)
    with app.app_context():
        migrated()
        yield app
        db.engine.dispose()
