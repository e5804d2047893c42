"""Ends that a source brings as news: those within days take like those that have come, those further ahead are announced."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from app.lifecycle.errors import WorldMoved
from tests.unit.intake.deciding import approves, digest_of, rejects, undoes
from tests.unit.intake.ends_told import (
    DAY,
    KEYS,
    deleted,
    ends,
    given_a_nearer_end,
    here,
    lives_on,
    promote,
    switched_off,
    thirty_people,
    until,
)
from tests.unit.intake.pulled_company import MINUTE, Pulled

pytestmark = pytest.mark.slow


@pytest.fixture
def corp(installed: Flask) -> Pulled:
    return thirty_people()


def test_ends_within_days_for_too_many_are_held(corp: Pulled) -> None:
    """A bulk edit of accountExpires: nobody could look before the hour is over."""
    ends(corp, corp.at + 60 * MINUTE, *KEYS)
    foreseen = corp.pull(dry_run=True)

    outcome = corp.pull()

    assert outcome.held is not None
    assert foreseen.held is not None
    assert (foreseen.left, foreseen.held.would_lose_access) == (outcome.left, outcome.held.would_lose_access) == (0, 30)
    assert corp.pull().held == outcome.held
    lives_on(corp, DAY)
    assert here(corp) == 30
    # What has come by now is held as what it is, and still nobody is out.
    later = corp.pull().held
    assert later is not None
    assert (later.digest != outcome.held.digest, later.would_lose_access) == (True, 30)
    lives_on(corp, MINUTE)
    assert here(corp) == 30


def test_ends_further_ahead_are_announced(corp: Pulled) -> None:
    ends_at = corp.at + 8 * DAY
    ends(corp, ends_at, *KEYS)

    outcome = corp.pull()

    assert (outcome.moved, outcome.left, outcome.held) == (30, 0, None)
    assert until(corp, "p00") == ends_at
    # A title is no news of an end that is near by now; to move it nearer is.
    corp.wait(3 * DAY)
    for key in KEYS:
        promote(corp, key)
    assert (corp.pull(whole=True).moved, until(corp, "p00")) == (30, ends_at)
    ends(corp, corp.at + DAY, *KEYS)
    assert corp.pull().held is not None
    assert until(corp, "p00") == ends_at


def test_an_end_that_is_put_off_takes_nobody(corp: Pulled) -> None:
    ends(corp, corp.at + DAY, "p00")
    corp.pull()
    ends_at = corp.at + 2 * DAY
    ends(corp, ends_at, "p00")

    outcome = corp.pull()

    assert (outcome.left, outcome.moved, until(corp, "p00")) == (0, 1, ends_at)
    ends(corp, None, "p00")
    assert (corp.pull().left, until(corp, "p00")) == (0, None)


def test_an_end_within_days_is_written_down_as_taken(corp: Pulled) -> None:
    ends(corp, corp.at + DAY, "p00")

    outcome = corp.pull()

    assert (outcome.left, outcome.moved, outcome.held) == (1, 0, None)
    assert corp.lines(outcome.run or 0) == [("ends", "p00@x.example")]
    assert here(corp) == 30
    lives_on(corp, 2 * DAY)
    assert corp.standing()["p00@x.example"] == "departed"


def test_a_few_ends_with_each_pull_count_together(corp: Pulled) -> None:
    held = []
    for start in range(0, 15, 5):
        ends(corp, corp.at + 10 * MINUTE, *KEYS[start : start + 5])
        held.append(corp.pull().held)
        lives_on(corp, 5 * MINUTE)

    assert held[:2] == [None, None]
    assert held[2] is not None
    assert held[2].reason.startswith("corp: 5 of 25 people would lose access, after 10 in the last 24 hours (50% together)")


@pytest.mark.parametrize("taken", [given_a_nearer_end, switched_off, deleted])
@pytest.mark.parametrize("whole", [False, True])
def test_whoever_is_taken_after_all_is_not_counted_for_their_end_as_well(corp: Pulled, whole: bool, taken: Callable[[Pulled, list[str]], None]) -> None:
    ends(corp, corp.at + 2 * DAY, *KEYS[:9])
    assert corp.pull().left == 9
    taken(corp, KEYS[:9])

    foreseen, outcome = corp.pull(whole=whole, dry_run=True), corp.pull(whole=whole)

    assert (foreseen.held, outcome.held, outcome.left + outcome.missing) == (None, None, 9)
    # Whoever else goes comes on top of them.
    switched_off(corp, KEYS[9:11])
    held = corp.pull(whole=whole).held
    assert held is not None
    assert "(37%" in held.reason


# Undone


@pytest.mark.parametrize("length", [MINUTE, 2 * DAY], ids=["before it comes", "after it has come"])
def test_an_undo_takes_an_end_back_for_as_long_as_the_source_says_it(corp: Pulled, length: timedelta) -> None:
    ends_at = corp.at + DAY
    ends(corp, ends_at, "p00")
    number = corp.pull().run or 0
    lives_on(corp, length)

    undone = undoes(corp, number)

    assert (undone.lines, undone.moved_on, corp.standing()["p00@x.example"], until(corp, "p00")) == (1, (), "active", None)
    promote(corp, "p00")
    assert (corp.pull(whole=True).left, corp.records()["p00@x.example"].document["title"], until(corp, "p00")) == (0, "Countess", None)
    lives_on(corp, 2 * DAY)
    assert corp.standing()["p00@x.example"] == "active"
    # Another end is another word, and so is an *off*.
    ends(corp, corp.at + DAY, "p00")
    assert (corp.pull().left, until(corp, "p00") is not None) == (1, True)


def test_an_undo_gives_back_the_end_of_before(corp: Pulled) -> None:
    before = corp.at + 30 * DAY
    ends(corp, before, "p00")
    corp.pull()
    ends(corp, corp.at + DAY, "p00")
    number = corp.pull().run or 0
    lives_on(corp, 2 * DAY)

    undoes(corp, number)

    assert (corp.standing()["p00@x.example"], until(corp, "p00")) == ("active", before)
    lives_on(corp, 31 * DAY)
    assert corp.standing()["p00@x.example"] == "departed"


def test_an_end_that_was_changed_since_is_left_alone(corp: Pulled) -> None:
    ends(corp, corp.at + DAY, "p00", "p01")
    number = corp.pull().run or 0
    ends_at = corp.at + 2 * DAY
    ends(corp, ends_at, "p00")
    corp.pull()

    undone = undoes(corp, number)

    assert (undone.lines, undone.moved_on) == (1, ("p00@x.example has changed since",))
    assert (until(corp, "p00"), until(corp, "p01")) == (ends_at, None)


def test_whoever_is_switched_off_after_an_end_was_undone_is_off(corp: Pulled) -> None:
    ends(corp, corp.at + DAY, "p00")
    undoes(corp, corp.pull().run or 0)

    corp.directory.alter("p00", active=False)

    assert (corp.pull().left, corp.standing()["p00@x.example"]) == (1, "departed")


# Held


def test_what_was_approved_ends_when_it_was_said(corp: Pulled) -> None:
    ends_at = corp.at + DAY
    ends(corp, ends_at, *KEYS)
    corp.pull()

    approved = approves(corp, digest_of(corp))

    assert (len(approved.people), approved.left, here(corp), until(corp, "p00")) == (30, None, 30, ends_at)
    assert (corp.pull(whole=True).held, until(corp, "p00")) == (None, ends_at)
    lives_on(corp, 2 * DAY)
    assert here(corp) == 0
    assert undoes(corp, approved.run or 0).lines == 30
    assert here(corp) == 30
    assert (corp.pull(whole=True).held, here(corp)) == (None, 30)


@pytest.mark.parametrize("other", [None, 2 * DAY, 90 * DAY])
def test_what_has_another_end_by_now_is_not_approved(corp: Pulled, other: timedelta | None) -> None:
    ends(corp, corp.at + DAY, *KEYS)
    corp.pull()
    digest = digest_of(corp)
    ends(corp, None if other is None else corp.at + other, "p07")

    with pytest.raises(WorldMoved, match=r"p07@x\.example has another end"):
        approves(corp, digest)

    assert until(corp, "p00") is None


def test_what_was_rejected_stays_for_as_long_as_the_source_says_the_same(corp: Pulled) -> None:
    ends(corp, corp.at + DAY, *KEYS)
    corp.pull()
    rejects(corp)

    assert (corp.pull().held, until(corp, "p00")) == (None, None)
    lives_on(corp, 2 * DAY)
    assert (corp.pull(whole=True).held, here(corp)) == (None, 30)
    for key in KEYS:
        corp.directory.alter(key, active=False)
    assert corp.pull().held is not None


def test_an_end_to_come_is_heard_of_whoever_was_rejected_as_off(corp: Pulled) -> None:
    for key in KEYS:
        corp.directory.alter(key, active=False)
    corp.pull()
    rejects(corp)
    corp.pull()
    ends_at = corp.at + DAY
    corp.directory.alter("p00", active=True)
    ends(corp, ends_at, "p00")

    outcome = corp.pull()

    assert (outcome.left, until(corp, "p00")) == (1, ends_at)
