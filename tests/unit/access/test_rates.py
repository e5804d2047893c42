"""Buckets: how often somebody may knock."""

from __future__ import annotations

from dataclasses import dataclass

from app.access.rates import Buckets


@dataclass
class Hands:
    """A clock that is moved by hand."""

    at: float = 0.0

    def __call__(self) -> float:
        return self.at


def test_a_burst_passes_and_then_as_many_as_the_rate_lets_through() -> None:
    clock = Hands()
    buckets = Buckets(rate=2, burst=3, clock=clock)

    assert [buckets.take("okta") for _ in range(4)] == [0, 0, 0, 0.5]

    clock.at = 0.5
    assert [buckets.take("okta") for _ in range(2)] == [0, 0.5]


def test_silence_fills_the_bucket_to_the_burst_and_no_further() -> None:
    clock = Hands()
    buckets = Buckets(rate=2, burst=3, clock=clock)
    buckets.take("okta")

    clock.at = 1000.0

    assert [buckets.take("okta") > 0 for _ in range(4)] == [False, False, False, True]


def test_waiting_is_not_made_longer_by_asking() -> None:
    clock = Hands()
    buckets = Buckets(rate=1, burst=1, clock=clock)
    buckets.take("okta")
    for _ in range(50):
        assert buckets.take("okta") == 1

    clock.at = 1.0

    assert buckets.take("okta") == 0


def test_to_look_takes_nothing() -> None:
    buckets = Buckets(rate=1, burst=1, clock=Hands())

    assert [buckets.wait("okta"), buckets.wait("okta"), buckets.take("okta"), buckets.wait("okta")] == [0, 0, 0, 1]


def test_one_key_takes_nothing_from_another() -> None:
    buckets = Buckets(rate=1, burst=1, clock=Hands())
    buckets.take("okta")

    assert buckets.take("entra") == 0


def test_a_rate_of_nothing_lets_everything_through() -> None:
    buckets = Buckets(rate=0, burst=1, clock=Hands())

    assert not any(buckets.take("okta") or buckets.wait("okta") for _ in range(100))


def test_made_up_keys_push_out_those_silent_longest_and_fill_no_memory() -> None:
    buckets = Buckets(rate=1, burst=1, most=3, clock=Hands())
    for key in ("a", "b", "c", "a", "d"):
        buckets.take(key)

    assert {key: buckets.wait(key) for key in "abcd"} == {"a": 1, "b": 0, "c": 1, "d": 1}
