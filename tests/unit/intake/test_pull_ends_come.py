"""Ends that have come: before a worker has looked, and as LDAP servers tell of them: by then the account is off for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from tests.unit.intake.deciding import approves, digest_of, rejects, undoes
from tests.unit.intake.ends_told import (
    DAY,
    KEYS,
    comes,
    deleted,
    disabled,
    ends,
    here,
    lives_on,
    promote,
    promoted,
    seen_to_pass,
    switched_off,
    thirty_people,
    title,
)
from tests.unit.intake.pulled_company import MINUTE, Pulled

pytestmark = pytest.mark.slow


@pytest.fixture
def corp(installed: Flask) -> Pulled:
    return thirty_people()


def test_ends_that_have_come_count_before_a_worker_has_looked(corp: Pulled) -> None:
    ends(corp, corp.at + 5 * MINUTE, *KEYS[:9])
    corp.pull()

    corp.wait(6 * MINUTE)
    ends(corp, corp.at + 5 * MINUTE, *KEYS[9:18])
    held = corp.pull().held

    assert held is not None
    assert held.reason.startswith("corp: 9 of 21 people would lose access, after 9 in the last 24 hours (60% together)")


@pytest.mark.parametrize("said", [seen_to_pass, switched_off, disabled, promoted, deleted])
@pytest.mark.parametrize("whole", [False, True])
def test_ends_that_have_come_count_once_where_a_pull_looks_before_a_worker(
    corp: Pulled, whole: bool, said: Callable[[Pulled, list[str]], None]
) -> None:  # fmt: skip
    ends(corp, corp.at + 5 * MINUTE, *KEYS[:9])
    corp.pull()
    corp.wait(6 * MINUTE)
    said(corp, KEYS[:9])
    corp.pull(whole=whole)
    corp.wait()
    corp.ask_again()

    switched_off(corp, KEYS[9:10])
    assert corp.pull(whole=whole).held is None
    switched_off(corp, KEYS[10:11])
    held = corp.pull(whole=whole).held
    assert held is not None
    assert held.reason.startswith("corp: 1 of 20 people would lose access, after 10 in the last 24 hours (37% together)")


def test_an_end_that_comes_during_a_listing_that_takes_them_counts_once(corp: Pulled) -> None:
    ends(corp, corp.at + 5 * MINUTE, *KEYS[:9])
    corp.pull()
    switched_off(corp, KEYS[:10])
    corp.directory.while_listing = lambda: corp.wait(6 * MINUTE)

    outcome = corp.pull(whole=True)

    assert (outcome.held, here(corp)) == (None, 20)


# As LDAP servers tell of them


@pytest.mark.parametrize("length", [MINUTE, 2 * DAY], ids=["before it comes", "after it has come"])
def test_an_end_that_was_undone_does_not_take_when_it_comes(corp: Pulled, length: timedelta) -> None:
    ends(corp, corp.at + DAY, "p00")
    number = corp.pull().run or 0
    lives_on(corp, length)
    assert undoes(corp, number).lines == 1

    comes(corp, "p00")

    for whole in (False, True, True):
        assert (corp.pull(whole=whole).left, corp.standing()["p00@x.example"]) == (0, "active")
    # Another end is another word.
    ends(corp, corp.at - MINUTE, "p00")
    assert (corp.pull().left, corp.standing()["p00@x.example"]) == (1, "departed")


@pytest.mark.parametrize("whole", [False, True])
def test_an_end_that_does_not_count_does_not_count_when_it_comes(corp: Pulled, whole: bool) -> None:
    ends(corp, corp.at + DAY, *KEYS)
    assert corp.pull().held is not None
    rejects(corp)

    comes(corp, *KEYS)
    promote(corp, "p00")

    for _ in range(2):
        outcome = corp.pull(whole=whole)
        assert (outcome.held, outcome.left, here(corp), title(corp)) == (None, 0, 30, "Countess")
    # Switched off by hand, they are off.
    corp.directory.alter("p00", ended=False, state="disabled")
    assert (corp.pull(whole=whole).left, corp.standing()["p00@x.example"]) == (1, "departed")


@pytest.mark.parametrize("whole", [False, True])
def test_an_end_can_be_undone_though_listings_have_seen_it_pass(corp: Pulled, whole: bool) -> None:
    ends(corp, corp.at + DAY, "p00")
    number = corp.pull().run or 0
    comes(corp, "p00")
    for _ in range(2):
        outcome = corp.pull(whole=whole)
        assert (outcome.left, outcome.moved, corp.standing()["p00@x.example"]) == (0, 0, "departed")

    undone = undoes(corp, number)

    assert (undone.lines, undone.moved_on, corp.standing()["p00@x.example"]) == (1, (), "active")
    for _ in range(2):
        assert (corp.pull(whole=whole).left, corp.standing()["p00@x.example"]) == (0, "active")


def test_so_can_one_that_was_approved(corp: Pulled) -> None:
    ends(corp, corp.at + DAY, *KEYS)
    corp.pull()
    number = approves(corp, digest_of(corp)).run or 0
    comes(corp, *KEYS)
    corp.pull()
    assert here(corp) == 0

    assert (undoes(corp, number).lines, here(corp)) == (30, 30)
    assert (corp.pull(whole=True).held, here(corp)) == (None, 30)


def test_whoever_is_disabled_after_their_end_stays_out_though_it_is_undone(corp: Pulled) -> None:
    ends(corp, corp.at + DAY, "p00")
    number = corp.pull().run or 0
    comes(corp, "p00")
    corp.pull()
    disabled(corp, ["p00"])
    corp.pull()

    undone = undoes(corp, number)

    assert (undone.lines, undone.moved_on) == (0, ("p00@x.example has changed since",))
    assert corp.standing()["p00@x.example"] == "departed"


def test_whoever_is_put_on_again_after_their_end_is_in(corp: Pulled) -> None:
    ends(corp, corp.at + DAY, "p00")
    corp.pull()
    comes(corp, "p00")
    corp.pull()

    corp.directory.alter("p00", active=True, ended=False, state="", ends_at=None)

    corp.pull()
    assert corp.standing()["p00@x.example"] == "active"


def test_an_end_that_has_come_when_it_is_first_told_takes(corp: Pulled) -> None:
    ends(corp, corp.at - DAY, "p00")
    comes(corp, "p00")

    assert (corp.pull().left, corp.standing()["p00@x.example"]) == (1, "departed")
