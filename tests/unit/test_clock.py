"""What is written later is later, whatever the clock of the machine does meanwhile."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo

import pytest

from app import clock

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)

Shown = Callable[..., None]


@pytest.fixture
def shows(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What the machine's clock shows next, one after the other."""

    def shown(*instants: datetime) -> None:
        ahead = iter(instants)

        class Machine:
            @staticmethod
            def now(zone: tzinfo) -> datetime:
                assert zone is UTC
                return next(ahead)

        monkeypatch.setattr(clock, "datetime", Machine)
        monkeypatch.setattr(clock, "_forward", clock._Forward())

    return shown


def test_two_instants_of_a_clock_that_stands_still_differ(shows: Shown) -> None:
    shows(NOON, NOON, NOON)

    first, second, third = clock.now(), clock.now(), clock.now()

    assert first == NOON
    assert first < second < third < NOON + timedelta(milliseconds=1)


def test_a_clock_that_wavers_does_not_turn_the_order_round(shows: Shown) -> None:
    shows(NOON, NOON - timedelta(milliseconds=12), NOON - timedelta(milliseconds=999), NOON + timedelta(milliseconds=1))

    read = [clock.now() for _ in range(4)]

    assert read == sorted(set(read))
    assert read[-1] == NOON + timedelta(milliseconds=1)


def test_a_clock_that_was_set_back_is_followed(shows: Shown) -> None:
    shows(NOON, NOON - timedelta(hours=1), NOON - timedelta(minutes=59))

    assert clock.now() == NOON
    assert clock.now() == NOON - timedelta(hours=1)
    assert clock.now() == NOON - timedelta(minutes=59)
