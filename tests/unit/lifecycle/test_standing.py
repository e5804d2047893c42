"""Deciding standing: pure, so that every order of what voices say can be tried."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.directory.tables import Standing, StatementKind, Voice
from app.lifecycle.standing import COMEBACKS, RecordSaid, Said, decide, in_force, stricter

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    return EPOCH + timedelta(days=number)


def on(*, since: float | None = None, until: float | None = None, said: float = 0, means: Standing | None = None) -> RecordSaid:
    starts_at, ends_at = (None if one is None else day(one) for one in (since, until))
    return RecordSaid(on=True, said_at=day(said), means=means, ended=False, starts_at=starts_at, ends_at=ends_at)


def off(*, said: float, means: Standing = Standing.DEPARTED) -> RecordSaid:
    return RecordSaid(on=False, said_at=day(said), means=means, ended=False)


def says(
    kind: StatementKind, *, voice: Voice = Voice.HR, said: float, at: float | None = None, engagement: str = "", means: Standing | None = None,
    heard: float | None = None,
) -> Said:
    if means is None and kind not in COMEBACKS:
        means = {StatementKind.PAUSES: Standing.PAUSED, StatementKind.STARTS: Standing.EXPECTED}.get(kind, Standing.DEPARTED)
    return Said(
        voice=voice, kind=kind, engagement=engagement, said_at=day(said), heard_at=day(said if heard is None else heard),
        effective_at=day((said if heard is None else heard) if at is None else at), means=means,
    )  # fmt: skip


def standing(records: list[RecordSaid], statements: list[Said], now: float) -> Standing:
    return decide(records, statements, now=day(now)).standing


# Dates of records


def test_a_record_that_begins_later_makes_somebody_expected_until_that_instant() -> None:
    record = on(since=10)

    before, at = decide([record], [], now=day(9)), decide([record], [], now=day(10))

    assert (before.standing, before.reason, before.until, before.wake_at) == (Standing.EXPECTED, "expected by directory", None, day(10))
    assert at.standing is Standing.ACTIVE


def test_a_record_that_ends_is_off_at_that_instant_though_nobody_says_so() -> None:
    record = on(until=10, means=Standing.PAUSED)

    before, at = decide([record], [], now=day(9)), decide([record], [], now=day(10))

    assert (before.standing, before.until, before.wake_at) == (Standing.ACTIVE, day(10), day(10))
    assert at.standing is Standing.PAUSED


def test_what_a_records_end_means_is_departed_where_nothing_else_was_frozen() -> None:
    assert standing([on(until=10)], [], 11) is Standing.DEPARTED


def test_of_two_records_the_one_in_force_keeps_somebody_in_between_them_nobody_is() -> None:
    records = [on(until=10), on(since=20, said=5)]

    assert [standing(records, [], one) for one in (5, 10, 19, 20)] == [Standing.ACTIVE, Standing.EXPECTED, Standing.EXPECTED, Standing.ACTIVE]


def test_a_record_that_is_off_is_not_expected_whatever_its_dates() -> None:
    record = RecordSaid(on=False, said_at=day(0), means=Standing.DEPARTED, ended=False, starts_at=day(10), ends_at=None)

    assert standing([record], [], 5) is Standing.DEPARTED


def test_a_record_whose_dates_are_the_wrong_way_round_lets_nobody_in() -> None:
    record = on(since=20, until=10)

    assert all(standing([record], [], one) is not Standing.ACTIVE for one in (5, 10, 15, 20, 25))


def test_a_return_before_a_record_ends_does_not_outlive_its_date() -> None:
    back = says(StatementKind.RETURNS, voice=Voice.OPERATOR, said=5)

    assert standing([on(until=10)], [back], 10) is Standing.DEPARTED


# Starts that are said


@pytest.mark.parametrize("voice", [Voice.HR, Voice.OPERATOR, Voice.SPONSOR])
def test_whoever_is_said_to_start_later_is_expected_although_their_directory_has_them_on(voice: Voice) -> None:
    start = says(StatementKind.STARTS, voice=voice, said=1, at=10)

    assert [standing([on()], [start], one) for one in (2, 10)] == [Standing.EXPECTED, Standing.ACTIVE]


def test_the_last_word_of_a_voice_on_the_start_counts() -> None:
    words = [says(StatementKind.STARTS, said=1, at=10), says(StatementKind.STARTS, said=2, at=20)]

    assert [standing([on()], words, one) for one in (10, 20)] == [Standing.EXPECTED, Standing.ACTIVE]


def test_an_operator_lets_somebody_start_earlier_than_others_said() -> None:
    words = [says(StatementKind.STARTS, said=1, at=20), says(StatementKind.STARTS, voice=Voice.OPERATOR, said=2, at=5)]

    assert [standing([on(since=30)], words, one) for one in (4, 5)] == [Standing.EXPECTED, Standing.ACTIVE]


def test_hr_does_not_let_in_whom_an_operator_expects_later() -> None:
    words = [says(StatementKind.STARTS, voice=Voice.OPERATOR, said=1, at=20), says(StatementKind.STARTS, said=2, at=5)]

    assert standing([on()], words, 6) is Standing.EXPECTED


def test_a_start_gives_nobody_back_what_was_taken() -> None:
    words = [says(StatementKind.LEAVES, said=1), says(StatementKind.STARTS, said=2, at=5)]

    assert standing([on()], words, 6) is Standing.DEPARTED


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_fixed_term_is_kept_from_its_first_day_to_its_last_in_whatever_order_it_is_said(order: tuple[float, float]) -> None:
    words = [says(StatementKind.STARTS, said=order[0], at=10), says(StatementKind.LEAVES, said=order[1], at=20)]

    found = [standing([on()], words, one) for one in (5, 10, 20)]

    assert found == [Standing.EXPECTED, Standing.ACTIVE, Standing.DEPARTED]


def test_calling_off_a_leaving_lets_nobody_start_earlier() -> None:
    words = [says(StatementKind.STARTS, said=1, at=10), says(StatementKind.LEAVES, said=2, at=20), says(StatementKind.RETURNS, said=3)]

    assert [standing([on()], words, one) for one in (5, 10, 20)] == [Standing.EXPECTED, Standing.ACTIVE, Standing.ACTIVE]


def test_a_rehire_now_starts_now_whatever_start_was_said_before() -> None:
    words = [says(StatementKind.STARTS, said=1, at=10), says(StatementKind.REHIRES, said=3)]

    assert standing([on()], words, 5) is Standing.ACTIVE


def test_somebody_with_another_engagement_to_come_is_expected_when_the_present_one_has_ended() -> None:
    words = [
        says(StatementKind.LEAVES, said=1, at=5, engagement="e-1"),
        says(StatementKind.STARTS, said=2, at=10, engagement="e-2", means=Standing.ACTIVE),
    ]

    assert [standing([on()], words, one) for one in (3, 5, 10)] == [Standing.ACTIVE, Standing.EXPECTED, Standing.ACTIVE]


def test_another_engagement_that_begins_later_takes_nothing_from_who_is_here() -> None:
    start = says(StatementKind.STARTS, said=2, at=10, engagement="e-2", means=Standing.ACTIVE)

    assert [standing([on()], [start], one) for one in (3, 10)] == [Standing.ACTIVE, Standing.ACTIVE]


def test_a_leaving_of_everything_does_not_end_what_was_announced_after_it() -> None:
    words = [says(StatementKind.LEAVES, said=1), says(StatementKind.STARTS, said=2, at=10, engagement="e-2")]

    assert [standing([on()], words, one) for one in (3, 10)] == [Standing.EXPECTED, Standing.ACTIVE]


def test_a_leaving_of_everything_ends_what_was_announced_before_it() -> None:
    words = [says(StatementKind.STARTS, said=1, at=10, engagement="e-2"), says(StatementKind.LEAVES, said=2)]

    assert [standing([on()], words, one) for one in (3, 10)] == [Standing.DEPARTED, Standing.DEPARTED]


# Reinstating


def test_a_reinstatement_undoes_what_every_voice_had_taken() -> None:
    words = [
        says(StatementKind.LEAVES, said=1), says(StatementKind.PAUSES, voice=Voice.SPONSOR, said=1), says(StatementKind.LEAVES, voice=Voice.SIGNAL, said=1),
        says(StatementKind.BARS, voice=Voice.OPERATOR, said=1), says(StatementKind.REINSTATES, voice=Voice.OPERATOR, said=2),
    ]  # fmt: skip

    assert standing([off(said=1)], words, 3) is Standing.ACTIVE


def test_a_reinstatement_leaves_what_was_announced_for_later() -> None:
    words = [says(StatementKind.LEAVES, said=1, at=10), says(StatementKind.REINSTATES, voice=Voice.OPERATOR, said=3)]

    found = decide([off(said=2)], words, now=day(4))

    assert (found.standing, found.until) == (Standing.ACTIVE, day(10))
    assert standing([off(said=2)], words, 10) is Standing.DEPARTED


def test_a_reinstatement_does_not_outrank_what_is_said_after_it() -> None:
    words = [says(StatementKind.REINSTATES, voice=Voice.OPERATOR, said=2), says(StatementKind.LEAVES, voice=Voice.SIGNAL, said=3)]

    assert standing([on()], words, 4) is Standing.DEPARTED


def test_a_reinstatement_lets_nobody_start_earlier() -> None:
    words = [says(StatementKind.REINSTATES, voice=Voice.OPERATOR, said=2)]

    assert standing([on(since=10, said=1)], words, 4) is Standing.EXPECTED


# The day that a sponsor has named


@pytest.mark.parametrize("kind", list(COMEBACKS))
@pytest.mark.parametrize("voice", [Voice.OPERATOR, Voice.HR])
def test_a_sponsors_day_stands_whoever_else_brings_somebody_back_before_it(voice: Voice, kind: StatementKind) -> None:
    words = [
        says(StatementKind.PAUSES, voice=Voice.SPONSOR, said=1, at=10), says(StatementKind.LEAVES, voice=voice, said=2), says(kind, voice=voice, said=3),
    ]  # fmt: skip

    found = decide([on()], words, now=day(4))

    assert (found.standing, found.until) == (Standing.ACTIVE, day(10))
    assert standing([on()], words, 10) is Standing.PAUSED


def test_a_sponsors_day_is_taken_back_by_a_sponsor_and_once_it_has_come_by_an_operator() -> None:
    ends = says(StatementKind.PAUSES, voice=Voice.SPONSOR, said=1, at=10)

    assert standing([on()], [ends, says(StatementKind.RETURNS, voice=Voice.SPONSOR, said=3)], 10) is Standing.ACTIVE
    assert standing([on()], [ends, says(StatementKind.RETURNS, voice=Voice.OPERATOR, said=11)], 12) is Standing.ACTIVE


# Clocks


def test_what_was_said_for_at_once_holds_where_the_clock_is_put_back_behind_it() -> None:
    assert standing([on()], [says(StatementKind.LEAVES, said=5)], 3) is Standing.DEPARTED
    assert standing([off(said=5)], [], 3) is Standing.DEPARTED


# Where a clock was far ahead: what is said now counts as said behind that, and its dates are those of now


@pytest.mark.parametrize("voice", [Voice.OPERATOR, Voice.HR])
def test_what_is_announced_is_not_due_because_it_counts_as_said_later(voice: Voice) -> None:
    leaves = says(StatementKind.LEAVES, voice=voice, said=300, heard=2, at=9)

    assert [standing([on()], [leaves], now) for now in (3, 8.9, 9)] == [Standing.ACTIVE, Standing.ACTIVE, Standing.DEPARTED]
    assert decide([on()], [leaves], now=day(3)).until == day(9)


@pytest.mark.parametrize("kind", [StatementKind.RETURNS, StatementKind.REHIRES, StatementKind.REINSTATES])
def test_a_comeback_does_not_outlive_a_records_date_because_it_counts_as_said_later(kind: StatementKind) -> None:
    said = [says(StatementKind.LEAVES, voice=Voice.OPERATOR, said=299), says(kind, voice=Voice.OPERATOR, said=300, heard=2)]

    assert [standing([on(until=5)], said, now) for now in (3, 5)] == [Standing.ACTIVE, Standing.DEPARTED]


def test_a_reinstatement_leaves_what_was_announced_and_undoes_what_a_clock_ahead_said_for_at_once() -> None:
    said = [
        says(StatementKind.LEAVES, voice=Voice.HR, said=1, at=9), says(StatementKind.LEAVES, voice=Voice.OPERATOR, said=200),
        says(StatementKind.REINSTATES, voice=Voice.OPERATOR, said=300, heard=3),
    ]  # fmt: skip

    assert [standing([on()], said, now) for now in (4, 9)] == [Standing.ACTIVE, Standing.DEPARTED]
    assert standing([off(said=250)], said[1:], 4) == Standing.ACTIVE


@pytest.mark.parametrize("order", [1, -1])
def test_a_bar_is_the_reason_where_an_operator_has_also_said_that_they_leave(order: int) -> None:
    said = [says(StatementKind.LEAVES, voice=Voice.OPERATOR, said=1), says(StatementKind.BARS, voice=Voice.OPERATOR, said=2)]

    assert decide([on()], said[::order], now=day(3)).reason == "barred by an operator"


def test_of_two_decisions_the_stricter_one_lets_in_less_or_ends_first() -> None:
    expected, open_end, ends = (decide([one], [], now=day(1)) for one in (on(since=5), on(), on(until=9)))

    assert stricter(expected, open_end) is expected and stricter(open_end, expected) is expected
    assert stricter(ends, open_end) is ends and stricter(open_end, ends) is ends


# What holds for everything that can be said

INSTANTS = st.integers(0, 12)
MAYBE = st.one_of(st.none(), INSTANTS)
RECORDS = st.lists(
    st.builds(
        lambda switched_on, ended, said, since, until, means: RecordSaid(
            on=switched_on and not ended, said_at=day(said), means=means, ended=ended,
            starts_at=None if since is None else day(since), ends_at=None if until is None else day(until),
        ),
        st.booleans(), st.booleans(), st.integers(0, 3), MAYBE, MAYBE, st.sampled_from([None, Standing.PAUSED, Standing.DEPARTED]),
    ),
    min_size=1, max_size=3,
)  # fmt: skip


def statements(kinds: list[StatementKind]) -> st.SearchStrategy[list[Said]]:
    one = st.builds(
        lambda voice, kind, engagement, said, at: says(kind, voice=voice, said=said, at=at, engagement=engagement),
        st.sampled_from([Voice.OPERATOR, Voice.HR, Voice.SPONSOR, Voice.SIGNAL]), st.sampled_from(kinds), st.sampled_from(["", "e-1", "e-2"]),
        st.integers(0, 3), INSTANTS,
    )  # fmt: skip
    return st.lists(one, max_size=5)


TAKING = [StatementKind.LEAVES, StatementKind.PAUSES, StatementKind.BARS, StatementKind.STARTS]
ANYTHING = statements(list(StatementKind))


@settings(max_examples=400)
@given(records=RECORDS, said=statements(TAKING), now=INSTANTS)
def test_nobody_has_access_outside_of_every_window(records: list[RecordSaid], said: list[Said], now: int) -> None:
    found = decide(records, said, now=day(now))

    if found.standing is Standing.ACTIVE:
        lasting = [one for one in records if one.on and in_force(starts_at=None, ends_at=one.ends_at, at=day(now))]
        inside = [one for one in lasting if in_force(starts_at=one.starts_at, ends_at=None, at=day(now))]
        # An operator may let somebody start before the day that their directory names.
        early = [one for one in said if one.voice is Voice.OPERATOR and one.kind is StatementKind.STARTS and one.effective_at <= max(day(now), one.said_at)]
        assert inside or (lasting and early)
        outright = [one for one in said if one.voice is not Voice.HR and one.kind is not StatementKind.STARTS]
        assert all(one.effective_at > max(day(now), one.said_at) for one in outright)


@settings(max_examples=400)
@given(records=RECORDS, said=ANYTHING, now=INSTANTS, then=INSTANTS)
def test_deciding_at_an_instant_is_the_same_as_having_decided_at_every_wake_up_before_it(
    records: list[RecordSaid], said: list[Said], now: int, then: int
) -> None:
    at, end = day(min(now, then)), day(max(now, then))
    stepwise = decide(records, said, now=at)

    while stepwise.wake_at is not None and stepwise.wake_at <= end:
        assert stepwise.wake_at > at
        at = stepwise.wake_at
        stepwise = decide(records, said, now=at)

    assert stepwise == decide(records, said, now=end)


@settings(max_examples=400)
@given(records=RECORDS, said=ANYTHING, now=INSTANTS)
def test_access_ends_by_itself_at_the_first_instant_at_which_somebody_is_out(records: list[RecordSaid], said: list[Said], now: int) -> None:
    found = decide(records, said, now=day(now))
    later = [(one, standing(records, said, one)) for one in range(now, 14)]
    out = next((one for one, stands in later if stands is not Standing.ACTIVE), None)

    assert found.until == (day(out) if found.standing is Standing.ACTIVE and out is not None else None)


@settings(max_examples=200)
@given(records=RECORDS, said=ANYTHING, now=INSTANTS, extra=statements([StatementKind.LEAVES, StatementKind.PAUSES, StatementKind.BARS]))
def test_another_voice_that_takes_access_gives_nobody_any(records: list[RecordSaid], said: list[Said], now: int, extra: list[Said]) -> None:
    more = [one for one in extra if one.voice is not Voice.HR]

    if standing(records, said, now) is not Standing.ACTIVE:
        assert standing(records, [*said, *more], now) is not Standing.ACTIVE
