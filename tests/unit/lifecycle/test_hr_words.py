"""What HR says of somebody's leaving and of their leaves of absence, decided together: pure, so that every order can be tried."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.directory.tables import Standing, StatementKind, Voice
from app.lifecycle.standing import GRAVITY, Said, decide
from tests.unit.lifecycle.test_standing import day, on, says, standing

LEAVES, PAUSES, RETURNS, REHIRES, STARTS = (
    StatementKind.LEAVES, StatementKind.PAUSES, StatementKind.RETURNS, StatementKind.REHIRES, StatementKind.STARTS
)  # fmt: skip
OUT = (Standing.DEPARTED, Standing.PAUSED)


def stands(words: list[Said], *days: float) -> list[Standing]:
    return [standing([on()], words, one) for one in days]


# A leave of absence and a last day


def test_a_leave_that_is_announced_of_a_leaver_lets_nobody_in_until_then() -> None:
    words = [says(LEAVES, said=1), says(PAUSES, said=2, at=30)]

    assert stands(words, 3, 31) == [Standing.DEPARTED, Standing.DEPARTED]


def test_a_last_day_that_is_told_during_a_leave_lets_nobody_in_until_then() -> None:
    words = [says(PAUSES, said=1), says(LEAVES, said=2, at=90)]

    assert stands(words, 3, 89, 90) == [Standing.PAUSED, Standing.PAUSED, Standing.DEPARTED]


def test_a_leave_of_a_leaver_makes_nobody_come_back_later() -> None:
    assert stands([says(LEAVES, said=1), says(PAUSES, said=2)], 3) == [Standing.DEPARTED]


@pytest.mark.parametrize("order", list(permutations((1, 2))))
def test_a_leave_and_a_last_day_that_are_announced_each_come_on_their_day_in_whatever_order_they_are_said(order: tuple[float, float]) -> None:
    leave_first = [says(PAUSES, said=order[0], at=5), says(LEAVES, said=order[1], at=20)]
    leave_behind = [says(LEAVES, said=order[0], at=20), says(PAUSES, said=order[1], at=30)]

    assert stands(leave_first, 4, 6, 21) == [Standing.ACTIVE, Standing.PAUSED, Standing.DEPARTED]
    assert stands(leave_behind, 4, 21, 31) == [Standing.ACTIVE, Standing.DEPARTED, Standing.DEPARTED]


def test_a_leave_that_begins_at_once_puts_off_no_last_day() -> None:
    words = [says(LEAVES, said=1, at=20), says(PAUSES, said=2)]

    assert stands(words, 3, 20) == [Standing.PAUSED, Standing.DEPARTED]


@pytest.mark.parametrize(("first", "then", "ends"), [(20, 30, 30), (30, 20, 20), (20, 5, 5)])
@pytest.mark.parametrize(("kind", "means"), [(LEAVES, Standing.DEPARTED), (PAUSES, Standing.PAUSED)])
def test_a_day_that_is_corrected_before_it_has_come_counts_as_it_was_told_last(
    kind: StatementKind, means: Standing, first: float, then: float, ends: float
) -> None:
    words = [says(kind, said=1, at=first), says(kind, said=2, at=then)]

    assert stands(words, ends - 0.5, ends, 40) == [Standing.ACTIVE, means, means]


def test_a_day_that_is_corrected_when_it_has_come_lets_nobody_in_again() -> None:
    words = [says(LEAVES, said=1, at=20), says(LEAVES, said=25, at=50)]

    assert stands(words, 19, 26, 51) == [Standing.ACTIVE, Standing.DEPARTED, Standing.DEPARTED]


def test_calling_off_ends_a_leave_and_calls_off_the_last_day() -> None:
    words = [says(PAUSES, said=1), says(LEAVES, said=2, at=20), says(RETURNS, said=3)]

    assert stands(words, 4, 21) == [Standing.ACTIVE, Standing.ACTIVE]


def test_a_reinstatement_leaves_the_last_day_that_was_told_of_a_leaver() -> None:
    words = [says(LEAVES, said=1), says(LEAVES, said=2, at=9), says(StatementKind.REINSTATES, voice=Voice.OPERATOR, said=3)]

    assert stands(words, 4, 9) == [Standing.ACTIVE, Standing.DEPARTED]


def test_a_reinstatement_does_not_outrank_a_leave_that_is_said_of_a_leaver_after_it() -> None:
    words = [says(LEAVES, said=1), says(StatementKind.REINSTATES, voice=Voice.OPERATOR, said=2), says(PAUSES, said=3)]

    assert stands(words, 4) == [Standing.PAUSED]


def test_a_last_day_that_is_announced_makes_nobody_wait_for_their_first_whom_a_rehire_let_in() -> None:
    words = [says(STARTS, said=1, at=10), says(REHIRES, said=2), says(LEAVES, said=3, at=30)]

    assert stands(words, 4, 11, 30) == [Standing.ACTIVE, Standing.ACTIVE, Standing.DEPARTED]


# Calls that name their engagement, and calls that do not


@pytest.mark.parametrize(
    "words",
    [
        [says(LEAVES, said=1, at=30, engagement="e-7"), says(RETURNS, said=2)],
        [says(RETURNS, said=2)],
        [says(PAUSES, said=1), says(RETURNS, said=2)],
        [says(LEAVES, said=1, engagement="e-7"), says(REHIRES, said=2)],
        [says(STARTS, said=1, at=2)],
        [says(LEAVES, said=1, at=30)],
    ],
)
@pytest.mark.parametrize(("kind", "means"), [(LEAVES, Standing.DEPARTED), (PAUSES, Standing.PAUSED)])
def test_who_is_here_by_words_that_name_no_engagement_is_out_by_one_that_does(words: list[Said], kind: StatementKind, means: Standing) -> None:
    taking = says(kind, said=3, engagement="e-7")

    assert (stands(words, 2.5), stands([*words, taking], 3)) == ([Standing.ACTIVE], [means])


@pytest.mark.parametrize("engagement", ["e-7", "e-8"])
def test_a_rehire_that_names_no_engagement_is_ended_by_the_next_leaving_that_does(engagement: str) -> None:
    words = [says(LEAVES, said=1, engagement="e-7"), says(REHIRES, said=2), says(LEAVES, said=3, at=30, engagement=engagement)]

    assert stands(words, 4, 30) == [Standing.ACTIVE, Standing.DEPARTED]


def test_a_rehire_that_names_no_engagement_is_none_of_those_that_are_named_after_it_has_ended() -> None:
    words = [says(REHIRES, said=1), says(LEAVES, said=2, at=10, engagement="e-7"), says(STARTS, said=3, at=20, engagement="e-8", means=Standing.ACTIVE)]

    assert stands(words, 4, 10, 20) == [Standing.ACTIVE, Standing.EXPECTED, Standing.ACTIVE]


def test_a_leaving_of_everything_is_put_off_by_one_that_names_an_engagement_and_ends_that() -> None:
    words = [says(LEAVES, said=1, at=20), says(LEAVES, said=2, at=30, engagement="e-7")]

    assert stands(words, 21, 30) == [Standing.ACTIVE, Standing.DEPARTED]


def test_a_leave_of_everything_is_one_of_the_engagement_that_is_named_later_too() -> None:
    words = [says(PAUSES, said=1), says(LEAVES, said=2, at=10, engagement="e-7")]

    assert stands(words, 3, 10) == [Standing.PAUSED, Standing.DEPARTED]


def test_whoever_leaves_everything_is_expected_until_what_begins_later() -> None:
    words = [says(LEAVES, said=1, at=5), says(STARTS, said=2, at=10, engagement="e-8", means=Standing.ACTIVE)]

    assert stands(words, 3, 5, 10) == [Standing.ACTIVE, Standing.EXPECTED, Standing.ACTIVE]


@pytest.mark.parametrize("engagement", ["e-7", ""])
def test_a_leaving_of_everything_ends_an_engagement_though_another_first_day_is_told_of_it_since(engagement: str) -> None:
    words = [says(STARTS, said=1, at=10, engagement="e-7"), says(LEAVES, said=2, at=30), says(STARTS, said=3, at=12, engagement=engagement)]

    assert stands(words, 11, 12, 30) == [Standing.EXPECTED, Standing.ACTIVE, Standing.DEPARTED]


def test_what_was_called_off_of_everything_is_not_said_again_by_another_first_day() -> None:
    words = [
        says(STARTS, said=1, at=10, engagement="e-7"), says(LEAVES, said=2, engagement="e-7"), says(RETURNS, said=3),
        says(STARTS, said=4, at=12, engagement="e-7"),
    ]  # fmt: skip

    assert stands(words, 5, 12) == [Standing.EXPECTED, Standing.ACTIVE]


def test_a_first_day_that_names_no_engagement_begins_one_that_no_leaving_before_it_ends() -> None:
    words = [says(LEAVES, said=1, at=5, engagement="e-7"), says(STARTS, said=2, at=10)]

    assert stands(words, 6, 10) == [Standing.EXPECTED, Standing.ACTIVE]


def test_a_leaving_of_everything_that_an_operator_undid_lets_in_nobody_who_left_since() -> None:
    words = [says(LEAVES, said=1, at=20), says(RETURNS, voice=Voice.OPERATOR, said=2), says(LEAVES, said=3, engagement="e-7")]

    assert stands(words, 4, 21) == [Standing.DEPARTED, Standing.DEPARTED]


def test_calling_off_the_end_of_one_engagement_undoes_no_other() -> None:
    words = [
        says(LEAVES, said=1, at=20, engagement="e-1"), says(LEAVES, said=2, at=20, engagement="e-2"),
        says(RETURNS, said=3, engagement="e-2"), says(LEAVES, said=4, engagement="e-2"),
    ]  # fmt: skip

    assert stands(words, 5, 20) == [Standing.ACTIVE, Standing.DEPARTED]


# What holds for everything that HR can say

WORDS = st.lists(
    st.builds(
        lambda kind, engagement, at: (kind, engagement, at),
        st.sampled_from([LEAVES, PAUSES, RETURNS, REHIRES, STARTS]), st.sampled_from(["", "e-1", "e-2"]), st.integers(0, 12),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


def in_turn(words: list[tuple[StatementKind, str, int]]) -> list[Said]:
    """Each said on a day of its own; a comeback of HR's is never announced."""
    return [
        says(kind, said=number, at=number if kind in (RETURNS, REHIRES) else max(number, at), engagement=engagement)
        for number, (kind, engagement, at) in enumerate(words)
    ]


@settings(max_examples=400)
@given(words=WORDS, kind=st.sampled_from([LEAVES, PAUSES]), at=st.integers(0, 20), which=st.integers(0, 6))
def test_nobody_who_is_out_is_less_so_by_a_word_that_they_leave_or_are_away(
    words: list[tuple[StatementKind, str, int]], kind: StatementKind, at: int, which: int
) -> None:
    said, now = in_turn(words), len(words)
    before = decide([on()], said, now=day(now)).standing
    more = says(kind, said=now, at=max(now, at), engagement=["", *(one.engagement for one in said)][which % (len(said) + 1)])

    after = decide([on()], [*said, more], now=day(now)).standing

    if before in OUT:
        assert GRAVITY[after] <= GRAVITY[before]


@settings(max_examples=400)
@given(words=WORDS)
def test_whoever_leaves_each_engagement_that_was_ever_named_is_out(words: list[tuple[StatementKind, str, int]]) -> None:
    said, now = in_turn(words), len(words)
    names = {one.engagement for one in said if one.engagement} or {"e-9"}

    ends = [says(LEAVES, said=now + number, engagement=name) for number, name in enumerate(sorted(names))]

    assert standing([on()], [*said, *ends], now + len(ends)) in OUT
