"""The brake over a day: a directory that takes a few with each pull is held like one that takes as many at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from app.database import db, in_transaction, reading
from app.directory.tables import Source, StatementKind, Voice
from app.intake.pull_here import batches
from app.intake.pull_lately import taken_lately
from app.intake.pulling import Outcome
from app.lifecycle.leaving import say
from tests.company import ADMIN
from tests.unit.intake.deciding import approves, digest_of, passes, undoes
from tests.unit.intake.pulled_company import MINUTE, Pulled, pulled_company
from tests.unit.intake.scripted_directory import group, person

pytestmark = pytest.mark.slow

HOUR = 60 * MINUTE
DAY = timedelta(days=1)
KEYS = [f"p{number:02}" for number in range(50)]
NINE, OTHERS = KEYS[:9], KEYS[9:]


@pytest.fixture
def corp(installed: Flask) -> Pulled:
    """Fifty people, pulled: ten of them may go at once."""
    corp = pulled_company()
    corp.directory.put(*(person(key) for key in KEYS), group("staff", *KEYS))
    corp.pull()
    return corp


def active(corp: Pulled) -> int:
    return sum(standing == "active" for standing in corp.standing().values())


def lately(corp: Pulled) -> int:
    with reading() as session:
        return taken_lately(session, session.get_one(Source, (corp.organization_id, corp.source_id)), counted=lambda _: set(), at=corp.at).out


def off(corp: Pulled, *keys: str) -> None:
    for key in keys:
        corp.directory.alter(key, active=False)


def three_each_time(corp: Pulled, keys: Sequence[str], *, every: timedelta = 15 * MINUTE, whole: bool = False) -> list[Outcome]:
    """Pulls, before each of which three more were switched off."""
    outcomes: list[Outcome] = []
    for some in batches(keys, 3):
        off(corp, *some)
        outcomes.append(corp.pull(whole=whole))
        corp.wait(every)
    return outcomes


@pytest.mark.parametrize("whole", [False, True])
def test_a_few_with_each_pull_are_held_like_as_many_at_once(corp: Pulled, whole: bool) -> None:
    outcomes = three_each_time(corp, KEYS[:15], whole=whole)

    assert [outcome.left for outcome in outcomes] == [3, 3, 3, 0, 0]
    assert [None if outcome.held is None else outcome.held.reason for outcome in outcomes] == [
        None, None, None,
        "corp: 3 of 41 people would lose access, after 9 in the last 24 hours (24% together); pull_brake = 20%,10,500 allows 10",
        "corp: 6 of 41 people would lose access, after 9 in the last 24 hours (30% together); pull_brake = 20%,10,500 allows 10",
    ]  # fmt: skip
    assert outcomes[-1].held is not None
    assert (outcomes[-1].held.would_lose_access, active(corp)) == (6, 41)


def test_the_share_is_of_all_who_were_there_before(installed: Flask) -> None:
    corp = pulled_company()
    keys = [f"p{number:03}" for number in range(100)]
    corp.directory.put(*map(person, keys))
    corp.pull()

    outcomes = three_each_time(corp, keys[:21])

    assert [outcome.left for outcome in outcomes] == [3, 3, 3, 3, 3, 3, 0]
    assert outcomes[-1].held is not None
    assert outcomes[-1].held.reason.startswith("corp: 3 of 82 people would lose access, after 18 in the last 24 hours (21% together)")


@pytest.mark.parametrize("whole", [False, True])
def test_so_are_those_who_vanish(corp: Pulled, whole: bool) -> None:
    """Whoever is gone is missing first, and may be asked for again by no pull at all."""
    for some in batches(KEYS[:12], 3):
        corp.directory.drop(*some)
        outcome = corp.pull(whole=whole)
        corp.wait()
        corp.ask_again()
        corp.wait(15 * MINUTE)

    assert outcome.held is not None
    assert outcome.held.reason.startswith("corp: 3 of 41 people would lose access, after 9 in the last 24 hours (24% together)")
    assert (active(corp), corp.pull(whole=whole).left, active(corp)) == (41, 0, 41)


@pytest.mark.parametrize("whole", [False, True])
def test_a_rehearsal_foresees_the_same(corp: Pulled, whole: bool) -> None:
    three_each_time(corp, NINE, whole=whole)
    off(corp, KEYS[9])
    said = corp.pull(dry_run=True, whole=whole)
    done = corp.pull(whole=whole)
    assert (said.left, said.held) == (done.left, done.held) == (1, None)

    corp.directory.drop(*KEYS[10:12])
    said = corp.pull(dry_run=True, whole=whole)
    done = corp.pull(whole=whole)

    assert said.held is not None
    assert done.held is not None
    assert (said.held.reason, said.held.would_lose_access) == (done.held.reason, done.held.would_lose_access)
    assert "2 of 40 people would lose access, after 10 in the last 24 hours (24% together)" in said.held.reason


def test_no_more_are_asked_for_than_may_go_by_now(corp: Pulled) -> None:
    three_each_time(corp, NINE)

    corp.directory.drop(*OTHERS[:20])
    outcome = corp.pull()

    assert outcome.held is not None
    assert (outcome.held.would_lose_access, len(set(corp.directory.asked))) == (20, 2)


def test_after_a_day_it_is_counted_anew(corp: Pulled) -> None:
    off(corp, *NINE)
    corp.pull()
    off(corp, *OTHERS[:10])

    corp.wait(DAY - MINUTE)
    assert corp.pull(dry_run=True).held is not None
    corp.wait(2 * MINUTE)
    outcome = corp.pull()

    assert (outcome.held, outcome.left, active(corp)) == (None, 10, 31)


def test_what_is_spread_over_days_is_not_held(corp: Pulled) -> None:
    outcomes = three_each_time(corp, KEYS[:15], every=9 * HOUR)

    assert [(outcome.left, outcome.held) for outcome in outcomes] == [(3, None)] * 5


# Who is not counted


def leave_by_another_voice(corp: Pulled, keys: Sequence[str]) -> None:
    for key in keys:
        person_id = corp.person(f"{key}@x.example").id
        in_transaction(
            lambda session, person_id=person_id: say(  # type: ignore[misc]  # defaults bind the loop's values
                session, corp.organization_id, person_id, voice=Voice.OPERATOR, kind=StatementKind.LEAVES, said_by="ana", effective_at=corp.at,
                actor=ADMIN, at=corp.at, because="test",
            )
        )  # fmt: skip


def test_whoever_was_out_by_another_voice_is_not_counted(corp: Pulled) -> None:
    leave_by_another_voice(corp, NINE)
    off(corp, *NINE)
    assert corp.pull().left == 9

    assert lately(corp) == 0
    off(corp, *OTHERS[:10])
    assert (corp.pull().left, active(corp)) == (10, 31)


def test_whoever_has_come_back_is_not_counted(corp: Pulled) -> None:
    off(corp, *NINE)
    corp.pull()
    assert lately(corp) == 9
    for key in NINE:
        corp.directory.alter(key, active=True)
    corp.pull()

    assert lately(corp) == 0
    off(corp, *OTHERS[:10])
    assert (corp.pull().left, active(corp)) == (10, 40)


def test_whoever_comes_and_goes_is_one_and_counted_while_they_are_out(corp: Pulled) -> None:
    for _ in range(6):
        off(corp, *KEYS[:2])
        assert corp.pull().left == 2
        assert lately(corp) == 2
        for key in KEYS[:2]:
            corp.directory.alter(key, active=True)
        corp.pull()
        corp.wait(15 * MINUTE)

    off(corp, *KEYS[:2], *OTHERS[:8])
    assert (corp.pull().left, lately(corp)) == (10, 10)


def test_what_was_undone_is_not_counted(corp: Pulled) -> None:
    """Nor whoever stays out although the run was undone: that is another voice's doing."""
    off(corp, *NINE)
    number = corp.pull().run or 0
    leave_by_another_voice(corp, NINE)
    undoes(corp, number)
    assert active(corp) == 41

    assert lately(corp) == 0
    off(corp, *OTHERS[:10])
    assert (corp.pull().left, active(corp)) == (10, 31)


def test_what_came_before_an_approval_is_not_counted(corp: Pulled) -> None:
    three_each_time(corp, KEYS[:12])
    assert lately(corp) == 9

    approves(corp, digest_of(corp))

    assert (lately(corp), active(corp)) == (0, 38)
    off(corp, *KEYS[12:22])
    assert (corp.pull().left, active(corp)) == (10, 28)
    off(corp, KEYS[22])
    assert corp.pull().held is not None


def test_whom_an_administrator_let_pass_is_not_counted_though_the_rest_waits(corp: Pulled) -> None:
    off(corp, *KEYS[:20])
    corp.pull()
    two = [corp.person(f"{key}@x.example").id for key in KEYS[:2]]

    passes(corp, digest_of(corp), two)

    assert (active(corp), lately(corp)) == (48, 0)


def test_an_approval_of_memberships_says_nothing_of_people(corp: Pulled) -> None:
    three_each_time(corp, NINE)
    corp.directory.put(group("staff", *KEYS[:30]))
    assert corp.pull().held is not None

    approves(corp, digest_of(corp))

    assert (len(corp.groups()["Staff"]), lately(corp)) == (30, 9)
    off(corp, *OTHERS[:2])
    assert corp.pull().held is not None


def test_what_another_source_took_is_not_counted(corp: Pulled) -> None:
    other = pulled_company(corp.company, name="other")
    other.directory.put(*(person(f"o{number}") for number in range(20)))
    other.pull()
    off(other, *(f"o{number}" for number in range(9)))
    assert other.pull().left == 9

    off(corp, *OTHERS[:10])
    assert corp.pull().left == 10


def test_whose_start_was_put_off_is_counted(corp: Pulled) -> None:
    """They are in no more, though nobody calls them departed."""
    for key in NINE:
        corp.directory.alter(key, starts_at=(corp.at + 30 * DAY).isoformat())
    assert corp.pull().left == 9
    assert active(corp) == 41

    off(corp, *OTHERS[:2])
    assert corp.pull().held is not None


# What is ordinary


@pytest.mark.parametrize(("people", "leavers", "days"), [(1000, 5, 3), (60, 2, 8)])
def test_a_company_with_everyday_leavers_is_never_held(installed: Flask, people: int, leavers: int, days: int) -> None:
    corp = pulled_company()
    keys = [f"p{number:04}" for number in range(people)]
    corp.directory.put(*map(person, keys))
    corp.pull()

    for day in range(days):
        # Most are switched off in the course of the day, one is deleted.
        *switched, deleted = keys[day * leavers : (day + 1) * leavers]
        for key in switched:
            off(corp, key)
            assert corp.pull().held is None
            corp.wait(HOUR)
        corp.directory.drop(deleted)
        assert corp.pull(whole=day % 5 == 0).held is None
        corp.wait()
        gone = corp.ask_again()
        assert gone is not None
        assert (gone.held, gone.left) == (None, 1)
        corp.wait(DAY - len(switched) * HOUR)

    assert active(corp) == people - days * leavers


def test_it_costs_by_what_was_taken_lately(corp: Pulled) -> None:
    """Neither by how many runs there ever were, nor by how many people."""
    if db.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL's plan depends on how many there are")
    asked: list[tuple[str, Any]] = []
    event.listen(db.engine, "before_cursor_execute", lambda _connection, _cursor, statement, given, *_: asked.append((statement, given)))

    lately(corp)

    with db.engine.connect() as connection:
        plans = [
            str(step[3])
            for statement, given in asked
            if statement.startswith("SELECT") and "FROM run " in statement
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
        ]
    searched = sorted(step.partition(" (")[2] for step in plans if "SEARCH" in step or "SCAN" in step)
    # Each of both once, and the record besides, which has the end, and the entry which brought it.
    assert searched == [
        *3 * ["organization_id=? AND id=?)"], "organization_id=? AND person_id=?)", *2 * ["organization_id=? AND run=?)"],
        *2 * ["organization_id=? AND source_id=? AND started_at>?)"], "rowid=?)",
    ], plans  # fmt: skip
