"""P04: what one member costs does not grow with the group."""

import tracemalloc
from collections.abc import Callable

import pytest
from sqlalchemy import event, insert
from sqlalchemy.orm import Session
from werkzeug.test import EnvironBuilder, run_wsgi_app

from app.clock import now
from app.database import db, in_transaction, new_id
from app.directory.tables import Record
from app.scim.seen import request_log
from tests.clients.directory import Directory
from tests.clients.transcript import Answer
from tests.unit.scim.choosing import organization_of
from tests.work_counted import Count, work_counted

LARGE = 20_000


def _people(directory: Directory, number: int) -> list[str]:
    """Rows alone, as quickly as the database takes them; the requests that matter come afterwards."""
    ids = [new_id() for _ in range(number)]
    at = now()

    def act(session: Session) -> None:
        rows = [
            {
                "organization_id": organization_of(session).id, "id": one, "source_id": directory.source_id, "person_id": one, "user_name": one, "user_name_key": one,
                "active": True, "active_said_at": at, "document": {}, "created_at": at, "modified_at": at, "journal_id": 1, "held": False, "version": 1,
            }
            for one in ids
        ]  # fmt: skip
        session.execute(insert(Record), rows)

    in_transaction(act)
    return ids


def _group(directory: Directory, members: list[str]) -> str:
    body = {"displayName": new_id(), "members": [{"value": one} for one in members]}
    made = directory.send("POST", "/Groups?excludedAttributes=members", body)
    assert made.status == 201, made.text[:300]
    return f"/Groups/{made.document['id']}"


def _look_at_tables() -> None:
    """As PostgreSQL does by itself a while after so much has come, and SQLite never needs to."""
    with db.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("ANALYZE")


def _costs(directory: Directory, path: str, spare: str, count: Count) -> dict[str, int]:
    """How much the database does for each act on a group."""
    acts = {
        "add": lambda: directory.patch(path, {"op": "add", "path": "members", "value": [{"value": spare}]}),
        "remove": lambda: directory.patch(path, {"op": "remove", "path": f'members[value eq "{spare}"]'}),
        "rename": lambda: directory.patch(path, {"op": "replace", "path": "displayName", "value": new_id()}),
        "read": lambda: directory.send("GET", f"{path}?excludedAttributes=members"),
        "list": lambda: directory.send("GET", "/Groups?excludedAttributes=members"),
    }

    def done(act: Callable[[], Answer]) -> None:
        answer = act()
        assert answer.status in (200, 204), answer.text[:300]

    # Once before: what is asked only the first time is nothing that grows.
    for act in acts.values():
        done(act)
    return {name: count(lambda act=act: done(act)) for name, act in acts.items()}  # type: ignore[misc]  # mypy cannot tell a lambda with a default


@pytest.mark.slow
def test_p04_one_member_more_or_less_costs_alike_in_a_small_and_in_a_large_group(directory: Directory) -> None:
    ids = _people(directory, LARGE + 1)
    _look_at_tables()
    small, other = (_group(directory, ids[:10]) for _ in range(2))
    _look_at_tables()
    with work_counted(db.engine) as count:
        in_small = _costs(directory, small, ids[LARGE], count)
    assert directory.send("DELETE", other).status == 204
    large = _group(directory, ids[:LARGE])
    _look_at_tables()

    with work_counted(db.engine) as count:
        in_large = _costs(directory, large, ids[LARGE], count)
        every_member = count(lambda: directory.send("GET", large))

    assert {act: (in_small[act], cost) for act, cost in in_large.items() if cost > 2 * in_small[act] + 100} == {}
    # What reads every member would be seen.
    assert every_member > LARGE


def test_p04_a_large_group_is_answered_without_an_object_for_each_member(directory: Directory) -> None:
    group = _group(directory, _people(directory, LARGE // 10))

    def answered(path: str) -> int:
        address, _, query = (directory.base + path).partition("?")
        asked = EnvironBuilder(address, query_string=query, headers=[("Authorization", f"Bearer {directory.token}")])
        pieces, status, _ = run_wsgi_app(directory.app.wsgi_app, asked.get_environ())
        assert status == "200 OK"
        return sum(map(len, pieces))

    kept = request_log(directory.app)
    assert kept is not None
    for path in (group, f"{group}?attributes=members", "/Groups", "/Groups?filter=displayName%20sw%20%22%22"):
        length = answered(path)
        # What a thread makes of the requests before would be counted, too.
        assert kept.flush(within=60)
        tracemalloc.start()
        try:
            assert answered(path) == length > 400_000
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # The text as it came from the database, and as it goes to the client; objects of it take ten times as much.
        assert most < 3 * length, path


def test_p04_a_large_group_is_made_by_a_few_statements(directory: Directory) -> None:
    """A row for each member in the text of a statement takes ten times as long to write as to run."""
    ids = _people(directory, LARGE // 10)
    written: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, _parameters: object, _context: object, _many: bool) -> None:
        if statement.startswith("INSERT"):
            written.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        _group(directory, ids)
    finally:
        event.remove(db.engine, "before_cursor_execute", note)

    assert len(written) < 10
    assert max(map(len, written)) < 2_000


def test_p04_a_large_group_is_read_and_replaced_whole(directory: Directory) -> None:
    ids = _people(directory, LARGE // 4)
    group = directory.send("POST", "/Groups", {"displayName": "large", "members": [{"value": one} for one in ids]}).document
    kept = ids[5:]

    replaced = directory.patch(f"/Groups/{group['id']}", {"op": "replace", "path": "members", "value": [{"value": one} for one in kept]})

    shown = directory.send("GET", f"/Groups/{group['id']}").document
    short = directory.send("GET", f"/Groups/{group['id']}?excludedAttributes=members").document
    assert len(group["members"]) == len(ids)
    assert replaced.status == 204
    assert sorted(member["value"] for member in shown["members"]) == sorted(kept)
    assert "members" not in short
