"""The merge, tried on any two sets."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.reconcile.plan import Line, LineKind, Pair, Tally, UnsortedStream, plan, summarise

pytestmark = pytest.mark.slow

PAIRS = st.frozensets(st.tuples(st.text(max_size=3), st.text(max_size=3)))


def apply(lines: list[Line], observed: frozenset[Pair]) -> frozenset[Pair]:
    added = {(line.channel, line.person) for line in lines if line.kind is LineKind.ADD}
    removed = {(line.channel, line.person) for line in lines if line.kind is LineKind.REMOVE}
    return (observed - removed) | added


@given(PAIRS, PAIRS)
def test_applying_a_plan_gives_what_is_desired(desired: frozenset[Pair], observed: frozenset[Pair]) -> None:
    lines = list(plan(sorted(desired), sorted(observed)))

    assert apply(lines, observed) == desired
    assert len(lines) == len(desired ^ observed)


@given(PAIRS)
def test_nothing_is_planned_when_all_is_so(pairs: frozenset[Pair]) -> None:
    summary = summarise(sorted(pairs), sorted(pairs))

    assert summary.empty
    assert summary.observed == len(pairs)


@given(PAIRS, PAIRS)
def test_lines_come_in_the_order_of_bytes(desired: frozenset[Pair], observed: frozenset[Pair]) -> None:
    keys = [(line.channel.encode(), line.person.encode()) for line in plan(sorted(desired), sorted(observed))]

    assert keys == sorted(keys)


@given(PAIRS, PAIRS, PAIRS)
def test_the_digest_tells_plans_apart(one: frozenset[Pair], other: frozenset[Pair], observed: frozenset[Pair]) -> None:
    first, second = (summarise(sorted(desired), sorted(observed)) for desired in (one, other))

    assert (first.digest == second.digest) == (one == other)


@pytest.mark.parametrize("stream", [[("b", "x"), ("a", "x")], [("a", "x"), ("a", "x")]])
def test_a_stream_out_of_order_is_refused(stream: list[Pair]) -> None:
    with pytest.raises(UnsortedStream):
        list(plan(stream, []))
    with pytest.raises(UnsortedStream):
        list(plan([], stream))


def test_memory_does_not_grow_with_the_plan() -> None:
    def stream(count: int, offset: int) -> Iterator[Pair]:
        return ((f"c{number // 100:06}", f"p{number * 2 + offset:08}") for number in range(count))

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            summarise(stream(count, 0), stream(count, 1))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)

    assert peak(20_000) < peak(2_000) * 1.2 + 4096


def test_a_tally_counts_what_has_passed() -> None:
    tally = Tally()

    lines = list(tally.lines([("a", "1"), ("a", "2")], [("a", "2"), ("b", "1")]))

    assert [str(line) for line in lines] == ["+ a 1", "- b 1"]
    assert (tally.plan().added, tally.plan().removed, tally.plan().kept) == (1, 1, 1)
