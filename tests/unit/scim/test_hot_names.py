"""What the quick look-up by part of a name asks PostgreSQL's index for: what few names of the installation have."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import text

from app.database import db
from app.directory import name_parts
from app.scim import hot_reads
from tests.clients.directory import Directory, directory_on
from tests.unit.scim.choosing import set_brake

MANY = 120


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What was asked for, in turn."""
    asked: list[tuple[str, ...]] = []

    def noting(*given: Any, **more: Any) -> tuple[str, ...]:
        asked.append(name_parts.told(*given, **more))
        return asked[-1]

    monkeypatch.setattr(hot_reads, "told", noting)
    return asked


def test_the_index_is_asked_for_what_few_names_have(directory: Directory, told: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    if db.engine.dialect.name != "postgresql":
        pytest.skip("SQLite tells how many names have a trigram")
    set_brake("off")
    for number in range(MANY):
        directory.add_user(f"user{number:07d}@northwind.example")

    look_up = quote('userName co "user0000117@"')

    def found() -> list[str]:
        page = directory.send("GET", f"/Users?filter={look_up}").document
        return [one["userName"] for one in page["Resources"]]

    assert found() == ["user0000117@northwind.example"]
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE record"))
    assert found() == ["user0000117@northwind.example"]
    # A connection goes by what it has seen for a while.
    monkeypatch.setattr(hot_reads, "SAMPLE_FOR", -1.0)
    assert found() == ["user0000117@northwind.example"]

    assert told[0] == told[1]
    assert set(told[2]) <= {"%117%", "%17@%"}


def test_names_are_kept_as_they_are_said_whatever_the_environment_says_of_letters(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")

    with directory_on(database_url, tmp_path) as directory:
        # The first one goes the ordinary way, the other is quick.
        people = {name: directory.add_user(name) for name in ("zoë", "ﬂorian 花")}

        for name, user_id in people.items():
            for path in (f"/Users/{user_id}", f"/Users/{user_id}?attributes=userName"):
                assert directory.send("GET", path).document["userName"] == name, path


def test_a_member_that_no_database_can_hold_is_refused_in_words(directory: Directory) -> None:
    group = directory.send("POST", "/Groups", {"displayName": "all"}).document["id"]

    for wrong in ("\0", "a\0b", "\ud800"):
        for op in ("add", "remove", "replace"):
            answer = directory.patch(f"/Groups/{group}", {"op": op, "path": "members", "value": [{"value": wrong}]})
            assert answer.status in (400, 204), (op, wrong, answer.text)
            assert answer.status == 400 or op == "remove"
