"""What a source says of time: dates from and until when somebody is on, and that an *off* is for a while only."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from app.database import in_transaction
from app.lifecycle.putting_back import undo
from tests.company import ADMIN
from tests.unit.intake.deciding import approves, digest_of, undoes
from tests.unit.intake.pulled_company import MINUTE, Pulled, pulled_company
from tests.unit.intake.scripted_directory import group, person

pytestmark = pytest.mark.slow

DAY = timedelta(days=1)
KEYS = [f"p{number:02}" for number in range(30)]


@pytest.fixture
def corp(installed: Flask) -> Pulled:
    return pulled_company()


def test_an_end_that_has_passed_is_an_off(corp: Pulled) -> None:
    corp.directory.put(person("a"), person("b"))
    corp.pull()

    corp.directory.alter("a", ends_at=(corp.at - DAY).isoformat())
    outcome = corp.pull()

    assert outcome.left == 1
    assert corp.standing()["a@x.example"] == "departed"
    assert corp.lines(outcome.run or 0) == [("off", "a@x.example")]
    corp.directory.alter("a", ends_at=(corp.at + DAY).isoformat())
    corp.pull()
    assert corp.standing()["a@x.example"] == "active"


def thirty_people(corp: Pulled, **said: Any) -> None:
    """All of whom are then told otherwise, which is held."""
    corp.directory.put(*map(person, KEYS))
    corp.pull()
    for key in KEYS:
        corp.directory.alter(key, **said)
    assert corp.pull().held is not None


@pytest.mark.parametrize(
    ("said", "standing"),
    [({"ends_at": -365 * DAY}, "departed"), ({"starts_at": 365 * DAY}, "expected"), ({"active": False, "state": "SUSPENDED"}, "paused")],
    ids=["ended", "put off", "suspended"],
)
def test_whoever_is_approved_is_off_as_the_source_says_and_can_be_put_back(corp: Pulled, said: dict[str, Any], standing: str) -> None:
    thirty_people(corp, **{name: (corp.at + value).isoformat() if isinstance(value, timedelta) else value for name, value in said.items()})

    approved = approves(corp, digest_of(corp))

    assert set(corp.standing().values()) == {standing}
    # Nothing is left that the next pull would write, and that nobody could undo any more.
    assert (corp.pull(whole=True).moved, corp.pull().moved, set(corp.standing().values())) == (0, 0, {standing})
    undone = undoes(corp, approved.run or 0)
    assert (undone.lines, undone.moved_on, set(corp.standing().values())) == (30, (), {"active"})
    assert (corp.pull(whole=True).left, set(corp.standing().values())) == (0, {"active"})


def test_an_end_to_come_takes_nobody_yet(corp: Pulled) -> None:
    corp.directory.put(person("a", ends_at=(corp.at + DAY).isoformat()))

    assert corp.pull().joined == 1
    assert corp.person("a@x.example").access_until == corp.at.replace(microsecond=0) - timedelta(seconds=1) + DAY


def test_ends_that_passed_for_too_many_are_held(corp: Pulled) -> None:
    """A column of dates that slipped by a year."""
    corp.directory.put(*(person(f"p{number}") for number in range(30)))
    corp.pull()
    for number in range(30):
        corp.directory.alter(f"p{number}", ends_at=(corp.at - 365 * DAY).isoformat())

    outcome = corp.pull()

    assert outcome.held is not None
    assert outcome.held.would_lose_access == 30
    assert set(corp.standing().values()) == {"active"}


def test_a_start_that_was_put_off_counts_as_taking(corp: Pulled) -> None:
    corp.directory.put(*(person(f"p{number}") for number in range(30)))
    corp.pull()
    for number in range(30):
        corp.directory.alter(f"p{number}", starts_at=(corp.at + DAY).isoformat())

    outcome = corp.pull()

    assert outcome.held is not None
    assert set(corp.standing().values()) == {"active"}


def test_whom_a_date_took_an_undo_gives_back_without_it(corp: Pulled) -> None:
    corp.directory.put(person("a"), person("b"))
    corp.pull()
    corp.directory.alter("a", ends_at=(corp.at - DAY).isoformat())
    number = corp.pull().run or 0

    undone = in_transaction(lambda session: undo(session, corp.organization_id, number, actor=ADMIN, at=corp.at))

    assert (undone.lines, corp.standing()["a@x.example"]) == (1, "active")
    assert (corp.pull(whole=True).left, corp.standing()["a@x.example"]) == (0, "active")


def test_whom_a_date_took_an_undo_gives_back_until_the_end_of_before(corp: Pulled) -> None:
    before = corp.at + 90 * DAY
    corp.directory.put(person("a", ends_at=before.isoformat()), person("b"))
    corp.pull()
    corp.directory.alter("a", ends_at=(corp.at - DAY).isoformat())

    undone = undoes(corp, corp.pull().run or 0)

    assert (undone.lines, corp.person("a@x.example").access_until) == (1, before)
    assert (corp.pull(whole=True).left, corp.person("a@x.example").access_until) == (0, before)


def test_whose_own_end_has_come_since_is_not_given_back_without_one(corp: Pulled) -> None:
    """A contractor who was switched off by mistake in the last week."""
    corp.directory.put(person("a", ends_at=(corp.at + 5 * DAY).isoformat()), person("b"))
    corp.pull()
    corp.directory.alter("a", active=False)
    number = corp.pull().run or 0
    corp.wait(7 * DAY)

    undone = undoes(corp, number)

    assert (undone.lines, undone.moved_on) == (0, ("what a@x.example had until then has ended as well",))
    assert corp.standing()["a@x.example"] == "departed"


def test_a_suspension_pauses_and_a_deprovisioning_after_it_does_not(corp: Pulled) -> None:
    corp.directory.put(person("a"), person("b"), person("c", active=False, state="Suspended"))
    corp.pull()
    assert corp.standing()["c@x.example"] == "paused"

    corp.directory.alter("a", active=False, state="SUSPENDED")
    outcome = corp.pull()
    assert (outcome.left, corp.standing()["a@x.example"]) == (1, "paused")

    corp.directory.alter("a", state="DEPROVISIONED")
    corp.pull()
    assert corp.standing()["a@x.example"] == "departed"
    corp.directory.alter("a", state="SUSPENDED")
    corp.pull()
    assert corp.standing()["a@x.example"] == "paused"
    corp.directory.alter("a", active=True, state="ACTIVE")
    corp.pull()
    assert corp.standing()["a@x.example"] == "active"


def test_whoever_is_suspended_is_away_however_odd_the_rest_is(corp: Pulled) -> None:
    corp.directory.put(person("a"), person("b"))
    corp.pull()
    corp.directory.alter("a", active=False, state="SUSPENDED", ends_at="sometime")

    outcome = corp.pull()

    assert (outcome.left, corp.standing()["a@x.example"]) == (1, "paused")
    assert [note for note in outcome.notes if "sometime" in note or "endsAt" in note]
    assert (corp.pull(whole=True).left, corp.standing()["a@x.example"]) == (0, "paused")


def test_a_state_that_decides_nothing_is_no_change(corp: Pulled) -> None:
    corp.directory.put(person("a", state="ACTIVE"))
    corp.pull()

    corp.directory.alter("a", state="PASSWORD_EXPIRED")

    assert (corp.pull().unchanged, corp.pull(whole=True).unchanged) == (1, 1)


def test_memberships_of_those_who_leave_are_counted_with_them(corp: Pulled) -> None:
    """One who leaves a small company is in many groups: that is one leaver, and no burst."""
    corp.directory.put(person("a"), person("b"), person("c"), *(group(f"g{number}", "a", "b") for number in range(15)))
    corp.pull()
    corp.directory.alter("a", active=False)
    corp.directory.put(*(group(f"g{number}", "b") for number in range(15)))

    outcome = corp.pull()

    assert (outcome.left, outcome.held) == (1, None)
    assert set(map(frozenset, corp.groups().values())) == {frozenset({"b@x.example"})}
    corp.directory.put(*(group(f"g{number}") for number in range(15)))
    assert corp.pull().held is not None
    corp.wait(MINUTE)
