"""In which order words count that were said of two people who turn out to be one: pure, so that every pair can be tried."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.directory.tables import Standing, StatementKind, Voice
from app.lifecycle.joined_words import said_again
from app.lifecycle.standing import COMEBACKS, RecordSaid, Said
from tests.unit.lifecycle.test_standing import day, off, on, says, standing

pytestmark = pytest.mark.slow

NOW = 5
INSTANTS = range(NOW, 20)
"""At which it is asked who is in: now, and at each day on which something could change."""

Words = list[Said]


def joined(one: Words, other: Words, *, off_since: datetime | None = None) -> Words:
    """All of it, as it counts once the two are one."""
    first, second = ({f"{who}-{number}": word for number, word in enumerate(said)} for who, said in (("one", one), ("other", other)))
    both = first | second
    again = said_again(first, second, off_since=off_since, now=day(NOW))
    moved = {word_id: replace(both[word_id], said_at=day(NOW) + timedelta(seconds=number)) for number, word_id in enumerate(again)}
    return list((both | moved).values())


def pairs(voices: list[Voice], kinds: list[StatementKind]) -> st.SearchStrategy[tuple[Words, Words]]:
    """What was said of two people until now, some of it for later, each at an instant of its own."""
    told = st.tuples(st.booleans(), st.sampled_from(voices), st.sampled_from(kinds), st.sampled_from([None, None, 8, 12, 16]))
    return st.lists(told, max_size=7).map(_told)


def _told(words: list[tuple[bool, Voice, StatementKind, int | None]]) -> tuple[Words, Words]:
    said: tuple[Words, Words] = ([], [])
    for number, (whom, voice, kind, at) in enumerate(words):
        at_once = kind is StatementKind.REINSTATES or (voice is Voice.HR and kind not in COMEBACKS)
        fits = kind if voice is Voice.OPERATOR else BY_HR.get(kind, kind)
        said[whom].append(says(fits, voice=voice, said=0.5 * (number + 1), at=None if at_once else at))
    return said


BY_HR = {StatementKind.REINSTATES: StatementKind.RETURNS, StatementKind.BARS: StatementKind.LEAVES}
"""What only an operator says, as others say it."""
TAKING = [StatementKind.LEAVES, StatementKind.PAUSES, StatementKind.BARS, StatementKind.RETURNS, StatementKind.REINSTATES]
BUT_HR = [Voice.OPERATOR, Voice.SPONSOR, Voice.SIGNAL]


@settings(max_examples=300, deadline=None)
@given(said=pairs(BUT_HR, list(StatementKind)))
def test_they_are_in_exactly_when_they_would_be_as_either(said: tuple[Words, Words]) -> None:
    both = joined(*said)

    for at in INSTANTS:
        alone = [standing([on()], words, at) is Standing.ACTIVE for words in said]
        assert (standing([on()], both, at) is Standing.ACTIVE) is all(alone), at


@settings(max_examples=300, deadline=None)
@given(said=pairs([Voice.OPERATOR, Voice.HR], TAKING))
def test_so_it_is_with_hr_which_hired_nobody_anew(said: tuple[Words, Words]) -> None:
    both = joined(*said)

    for at in INSTANTS:
        alone = [standing([on()], words, at) is Standing.ACTIVE for words in said]
        assert (standing([on()], both, at) is Standing.ACTIVE) is all(alone), at


@settings(max_examples=300, deadline=None)
@given(told=st.lists(st.tuples(st.booleans(), st.sampled_from([Voice.OPERATOR, Voice.HR]), st.sampled_from(TAKING), st.sampled_from([None, 8, 12, 16])), max_size=7))
def test_so_it_is_with_last_days_that_hr_names_of_either(told: list[tuple[bool, Voice, StatementKind, int | None]]) -> None:
    said: tuple[Words, Words] = ([], [])
    for number, (whom, voice, kind, at) in enumerate(told):
        fits = kind if voice is Voice.OPERATOR else BY_HR.get(kind, kind)
        said[whom].append(says(fits, voice=voice, said=0.5 * (number + 1), at=None if fits in COMEBACKS else at))
    both = joined(*said)

    for at in INSTANTS:
        alone = [standing([on()], words, at) is Standing.ACTIVE for words in said]
        assert (standing([on()], both, at) is Standing.ACTIVE) is all(alone), at


RECORDS = st.one_of(st.just(on()), st.sampled_from([8, 12]).map(lambda at: on(until=at)), st.floats(0, NOW).map(lambda at: off(said=at)))


@settings(max_examples=300, deadline=None)
@given(said=pairs([Voice.OPERATOR, Voice.HR, Voice.SPONSOR], TAKING), records=st.tuples(RECORDS, RECORDS))
def test_whoever_is_out_as_both_is_out_and_whoever_is_in_as_both_is_in(said: tuple[Words, Words], records: tuple[RecordSaid, RecordSaid]) -> None:
    offs = [record.said_at for record in records if not record.on]
    both = joined(*said, off_since=max(offs) if len(offs) == 2 else None)

    for at in INSTANTS:
        alone = {standing([record], words, at) is Standing.ACTIVE for record, words in zip(records, said, strict=True)}
        if len(alone) == 1:
            assert (standing(list(records), both, at) is Standing.ACTIVE) is alone.pop(), at


# HR speaks through all engagements


def test_a_later_engagement_of_the_one_ends_what_hr_said_before_of_the_other() -> None:
    left = [says(StatementKind.LEAVES, said=1)]

    for hired in (
        [says(StatementKind.LEAVES, said=2), says(StatementKind.REHIRES, said=3, engagement="n")],
        [says(StatementKind.STARTS, said=2, at=2, engagement="n"), says(StatementKind.PAUSES, voice=Voice.OPERATOR, said=3),
         says(StatementKind.RETURNS, voice=Voice.OPERATOR, said=4)],
    ):  # fmt: skip
        assert standing([on()], joined(left, hired), NOW) is Standing.ACTIVE


def test_an_engagement_of_the_one_that_goes_on_is_not_ended_by_another_of_the_other() -> None:
    ended, other = says(StatementKind.LEAVES, said=1, engagement="e-1"), says(StatementKind.STARTS, said=2, at=2, engagement="e-2")

    assert standing([on()], joined([ended], [other]), NOW) is Standing.ACTIVE


def test_what_hr_took_back_of_the_one_is_nothing_that_it_took_back_of_the_other() -> None:
    taken_back = [says(StatementKind.LEAVES, said=2), says(StatementKind.RETURNS, said=3)]

    assert standing([on()], joined([says(StatementKind.LEAVES, said=1)], taken_back), NOW) is Standing.DEPARTED


def test_a_rehire_of_the_one_takes_back_nothing_that_an_operator_said_of_the_other() -> None:
    hired = [says(StatementKind.LEAVES, said=2), says(StatementKind.REHIRES, said=3, engagement="n")]

    assert standing([on()], joined([says(StatementKind.LEAVES, voice=Voice.OPERATOR, said=1)], hired), NOW) is Standing.DEPARTED


def test_a_last_day_of_the_one_is_not_put_off_by_a_later_one_of_the_other() -> None:
    for one, other in (
        ([says(StatementKind.LEAVES, said=1, at=8)], [says(StatementKind.LEAVES, said=2, at=16)]),
        ([says(StatementKind.LEAVES, said=2, at=8)], [says(StatementKind.LEAVES, said=1, at=16)]),
        ([says(StatementKind.LEAVES, said=1, at=8, engagement="b")],
         [says(StatementKind.LEAVES, said=0.5, engagement="a"), says(StatementKind.LEAVES, said=2, at=16)]),
    ):  # fmt: skip
        both = joined(one, other)

        assert [standing([on()], both, at) for at in (8, 16)] == [Standing.DEPARTED, Standing.DEPARTED]


def test_a_return_of_the_one_that_is_over_does_not_come_behind_a_leave_of_the_other() -> None:
    has_yet_to_start = [says(StatementKind.STARTS, said=0.5, at=16, engagement="a"), says(StatementKind.RETURNS, said=1)]

    both = joined(has_yet_to_start, [says(StatementKind.PAUSES, said=1.5, at=8, engagement="b")])

    assert standing([on()], both, 8) is not Standing.ACTIVE


# What follows


def test_a_comeback_that_is_said_afterwards_takes_all_of_it_back() -> None:
    one = [says(StatementKind.LEAVES, said=1)]
    other = [says(StatementKind.BARS, voice=Voice.OPERATOR, said=2), says(StatementKind.RETURNS, voice=Voice.OPERATOR, said=3)]

    both = [*joined(one, other), says(StatementKind.RETURNS, voice=Voice.OPERATOR, said=NOW + 1)]

    assert standing([on()], both, NOW + 1) is Standing.ACTIVE


def test_where_nobody_was_brought_back_nothing_changes_its_place() -> None:
    one, other = {"a": says(StatementKind.LEAVES, said=1, at=9)}, {"b": says(StatementKind.PAUSES, voice=Voice.OPERATOR, said=2)}

    assert said_again(one, other, off_since=None, now=day(NOW)) == []
