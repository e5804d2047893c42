"""A database of a test goes with the test: nothing that an application kept for it stays behind."""

import gc
import os
import weakref
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.audit.request_tables import RequestSeen
from app.database import db, in_transaction, reading
from tests.clients.directory import directory_on
from tests.databases import let_go

pytestmark = pytest.mark.slow


def open_files() -> list[str]:
    return [os.readlink(one) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]


def test_no_file_is_left_open(installed: Flask) -> None:
    in_transaction(lambda session: session.execute(select(1)))

    db.engine.dispose()
    let_go(installed.config["DOORLIST"].database_url)

    assert [one for one in open_files() if str(db.engine.url.database) in one] == []


def test_what_was_seen_is_written_down_while_there_is_something_to_write_it_to(database_url: str, tmp_path: Path) -> None:
    with directory_on(database_url, tmp_path) as directory:
        directory.send("GET", "/Users")

        let_go(database_url)

        with directory.app.app_context(), reading() as session:
            assert session.scalar(select(func.count()).select_from(RequestSeen)) == 1


def test_an_application_goes_though_it_had_connections_without_a_session(database_url: str, tmp_path: Path) -> None:
    with directory_on(database_url, tmp_path) as directory:
        # A token that has just been good is the usual one.
        assert [directory.send("GET", "/Users").status for _ in range(2)] == [200, 200]
    app = weakref.ref(directory.app)

    del directory
    gc.collect()

    assert app() is None
