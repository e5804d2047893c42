"""The ceiling: small things pass, large ones stop."""

from __future__ import annotations

import pytest

from app.reconcile.ceiling import Ceiling, TooLarge
from app.reconcile.plan import Plan


@pytest.mark.parametrize(("removed", "of"), [(0, 0), (3, 3), (10, 10), (10, 20), (20, 100), (500, 100_000)])
def test_what_is_within_the_ceiling_passes(removed: int, of: int) -> None:
    Ceiling().check_counts(removed=removed, of=of)


@pytest.mark.parametrize(("removed", "of"), [(11, 11), (11, 50), (21, 100), (501, 100_000)])
def test_what_is_above_it_is_stopped_with_its_numbers(removed: int, of: int) -> None:
    with pytest.raises(TooLarge) as caught:
        Ceiling().check_counts(removed=removed, of=of)

    assert (caught.value.removed, caught.value.of) == (removed, of)
    assert str(removed) in str(caught.value)


def test_a_plan_is_measured_by_what_there_was() -> None:
    with pytest.raises(TooLarge, match=r"30 of 100 would be removed \(30%\); the ceiling allows 20"):
        Ceiling().check(Plan(added=500, removed=30, kept=70, digest=""))


def test_adding_is_never_too_large() -> None:
    Ceiling().check(Plan(added=100_000, removed=0, kept=0, digest=""))
