"""Two requests at once that give each other's people away: neither waits for the other, who waits for it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from app.database import db
from tests.clients.directory import Directory
from tests.unit.scim.choosing import numbered, set_brake, someone_off

pytestmark = pytest.mark.slow

ROUNDS = 15
Act = Callable[[Directory], Any]


@pytest.fixture
def deadlocks(directory: Directory) -> Iterator[list[str]]:
    """What PostgreSQL broke off; SQLite has one writer at a time."""
    found: list[str] = []

    def note(context: Any) -> None:
        if getattr(context.original_exception, "sqlstate", None) == "40P01":
            found.append(str(context.statement))

    event.listen(db.engine, "handle_error", note)
    yield found
    event.remove(db.engine, "handle_error", note)


def _at_once(directory: Directory, *acts: Act) -> list[int]:
    with ThreadPoolExecutor(len(acts)) as threads:
        answers = threads.map(lambda act: act(replace(directory, http=directory.app.test_client())), acts)
        return [answer.status for answer in answers]


def _posts(name: str, key: str) -> Act:
    return lambda client: client.send("POST", "/Users", {"userName": name, "externalId": key})


def _puts(record_id: str, name: str, key: str, number: str) -> Act:
    body = {"userName": name, "externalId": key, "active": True, **numbered(number)}
    return lambda client: client.send("PUT", f"/Users/{record_id}", body)


def test_two_who_come_back_under_each_others_names(directory: Directory, deadlocks: list[str]) -> None:
    set_brake("off")
    for number in range(ROUNDS):
        for name in "ab":
            someone_off(directory, f"{name}{number}", f"key-{name}{number}")

        assert _at_once(directory, _posts(f"b{number}", f"key-a{number}"), _posts(f"a{number}", f"key-b{number}")) == [201, 201]

    assert deadlocks == []


def test_two_resources_that_go_to_each_others_people(directory: Directory, deadlocks: list[str]) -> None:
    set_brake("off")
    for number in range(ROUNDS):
        ids = [someone_off(directory, f"{name}{number}", f"key-{name}{number}", **numbered(f"{name}{number}")) for name in "ab"]
        acts = [
            _puts(record_id, f"{was}{number}", f"new-{now}{number}", f"{now}{number}") for record_id, was, now in zip(ids, "ab", "ba", strict=True)
        ]

        assert _at_once(directory, *acts) == [200, 200]

    assert deadlocks == []
