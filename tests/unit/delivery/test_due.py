"""What is due, and what is not: seen at once among however many later days, and by whatever clock it was written down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy import event

from app.database import asking, db, in_transaction
from app.delivery.due import is_due, is_due_by, somebody_is_still_in
from app.delivery.workspaces import halted
from app.journal import work
from app.journal.tables import HERE, Lane, Subject
from app.journal.work import Claim
from tests.company import later

AHEAD = 3600


def want(subject: Subject, subject_id: str, *, at: float, lane: Lane = Lane.DEPARTURES, workspace_id: str = "chat") -> None:
    in_transaction(
        lambda session: work.want(
            session, "o", subject=subject, subject_ids=[subject_id], because=None, due_at=later(at), lane=lane, workspace_id=workspace_id
        )
    )


def take(*, at: float, lane: Lane = Lane.DEPARTURES, most: int = 1, like: Claim | None = None) -> list[Claim]:
    return in_transaction(
        lambda session: work.claim(session, lanes=[lane], worker="w", at=later(at), most=most, halted=halted, like=like)
    )


@pytest.mark.parametrize(("subject", "place"), [(Subject.ACCOUNT, "chat"), (Subject.ACCESS, HERE)])
def test_who_was_said_to_leave_by_a_clock_that_is_ahead_is_kept_out_now(installed: Flask, subject: Subject, place: str) -> None:
    want(subject, "ada", at=AHEAD, workspace_id=place)

    assert is_due(installed, Lane.DEPARTURES, at=later(0))
    assert somebody_is_still_in(at=later(0)) is (subject is Subject.ACCOUNT)
    [claim] = take(at=0)
    assert claim.subject_id == "ada"
    assert not is_due(installed, Lane.DEPARTURES, at=later(1)) and not somebody_is_still_in(at=later(1)), "it is in somebody's hands"


def test_so_are_all_who_left_together(installed: Flask) -> None:
    # Of those who left at one instant any may come first.
    for turn, name in enumerate(("ada", "bob", "cem")):
        want(Subject.ACCOUNT, name, at=AHEAD + turn / 1000)

    first = take(at=0)
    others = take(at=0, most=9, like=first[0])

    assert [one.subject_id for one in (*first, *others)] == ["ada", "bob", "cem"]


def test_what_was_tried_waits_for_its_time(installed: Flask) -> None:
    want(Subject.ACCOUNT, "ada", at=0)
    [claim] = take(at=1)
    in_transaction(lambda session: work.postpone(session, claim, until=later(30), error="it is down"))

    assert not is_due(installed, Lane.DEPARTURES, at=later(29)) and not somebody_is_still_in(at=later(29)) and take(at=29) == []
    assert is_due(installed, Lane.DEPARTURES, at=later(30)) and [one.put_off for one in take(at=30)] == [True]


@pytest.mark.parametrize(("subject", "lane"), [(Subject.DUE, Lane.DEPARTURES), (Subject.PERSON, Lane.SYNC), (Subject.ACCOUNT, Lane.SYNC)])
def test_a_later_day_is_waited_for_and_nobody_is_given_anything_before_it_is_due(installed: Flask, subject: Subject, lane: Lane) -> None:
    want(subject, "ada", at=10, lane=lane)

    assert not is_due(installed, lane, at=later(9)) and take(at=9, lane=lane) == []
    assert is_due(installed, lane, at=later(10)) and len(take(at=10, lane=lane)) == 1


def test_more_is_taken_up_than_of_the_most_urgent_kind(installed: Flask) -> None:
    want(Subject.ROSTER, "r", at=0, lane=Lane.SYNC)
    want(Subject.PERSON, "p", at=0, lane=Lane.SYNC)
    want(Subject.CHANNEL, "c", at=0, lane=Lane.SYNC)
    want(Subject.DUE, "d", at=50, lane=Lane.SYNC)

    assert {one.subject for one in take(at=1, lane=Lane.SYNC, most=2)} == {Subject.CHANNEL, Subject.PERSON}
    assert [one.subject for one in take(at=1, lane=Lane.SYNC, most=9)] == [Subject.ROSTER]


@pytest.fixture
def asked(installed: Flask) -> Iterator[list[tuple[str, Any]]]:
    """Every statement on work, with its values."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, given: Any, *_rest: object) -> None:
        if "FROM work" in statement:
            seen.append((statement, given))

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


def test_later_days_are_passed_over_in_the_index(installed: Flask, asked: list[tuple[str, Any]]) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL's plan depends on how many there are")
    want(Subject.PERSON, "p", at=0, lane=Lane.SYNC)
    want(Subject.ACCOUNT, "ada", at=0)
    del asked[:]

    [first] = take(at=1, lane=Lane.SYNC)
    [second] = take(at=1)
    take(at=1, like=second)
    with asking() as connection:
        is_due_by(connection, Lane.SYNC, at=later(1))
    somebody_is_still_in(at=later(1))

    with db.engine.connect() as connection:
        steps = [
            row[3]
            for statement, given in tuple(asked)
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
            if "work" in row[3]
        ]
    keys = [found[1] for step in steps if (found := re.search(r"ix_work_next \((.*)\)", step))]
    assert len(keys) > 10 and (first.subject, second.subject) == (Subject.PERSON, Subject.ACCOUNT)
    # Of what a departure asks for at once, nothing is for later.
    assert set(keys) == {"lane=? AND state=? AND priority=? AND due_at<?", "lane=? AND state=? AND priority=?"}
    assert keys.count("lane=? AND state=? AND priority=?") < len(keys) / 3


def test_a_look_whose_connection_broke_is_followed_by_one_on_another(installed: Flask) -> None:
    if db.engine.dialect.name == "sqlite":
        pytest.skip("nobody breaks a connection to a file")
    want(Subject.PERSON, "p", at=0, lane=Lane.SYNC)
    assert is_due(installed, Lane.SYNC, at=later(1))
    with db.engine.connect() as connection:
        connection.exec_driver_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")

    with pytest.raises(psycopg.OperationalError):
        is_due(installed, Lane.SYNC, at=later(1))
    assert is_due(installed, Lane.SYNC, at=later(1))
