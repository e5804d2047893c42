"""What the environment may say, and what is refused by the name of its setting."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.assembly import without_doors
from app.database import db
from app.schema import upgrade
from app.settings import SettingError, from_environment
from tests.databases import let_go


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which the process is started."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def kept(file: Path) -> None:
    """A database with something in it, as an older Doorlist left it there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")


@pytest.mark.parametrize("said", ["my.db", "./my.db"])
def test_a_relative_file_lies_where_the_process_is_started(here: Path, said: str) -> None:
    settings = from_environment({"DATABASE_URL": f"sqlite:///{said}"})
    with without_doors(settings).app_context():
        upgrade()
        db.engine.dispose()
    let_go(settings.database_url)

    assert settings.database_url == f"sqlite:///{here / 'my.db'}"
    with closing(sqlite3.connect(here / "my.db")) as connection:
        assert connection.execute("SELECT count(*) FROM organization").fetchone() == (0,)
    assert not (here / "instance").exists()


def test_what_stands_behind_the_path_of_a_file_is_kept(here: Path) -> None:
    assert from_environment({"DATABASE_URL": "sqlite:///my.db?timeout=3"}).database_url == f"sqlite:///{here}/my.db?timeout=3"
    as_uri = make_url(from_environment({"DATABASE_URL": "sqlite:///file:my.db?uri=true"}).database_url)
    assert (as_uri.database, dict(as_uri.query)) == (f"file:{here}/my.db", {"uri": "true"})


@pytest.mark.parametrize("copied", [False, True], ids=["", "after a copy of what was not there"])
def test_a_database_in_the_folder_of_before_is_not_begun_anew(here: Path, copied: bool) -> None:
    kept(here / "instance" / "my.db")
    if copied:
        (here / "my.db").touch()

    with pytest.raises(SettingError) as refused:
        from_environment({"DATABASE_URL": "sqlite:///my.db"})

    goes_on = f"sqlite:///{here / 'instance' / 'my.db'}"
    assert f"set DATABASE_URL to {goes_on}, or move" in str(refused.value)
    assert from_environment({"DATABASE_URL": goes_on}).database_url == goes_on


def test_a_database_in_the_folder_of_before_is_left_alone_beside_one_in_its_place(here: Path) -> None:
    kept(here / "instance" / "my.db")
    kept(here / "my.db")

    assert from_environment({"DATABASE_URL": "sqlite:///my.db"}).database_url == f"sqlite:///{here / 'my.db'}"
