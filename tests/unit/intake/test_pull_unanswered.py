"""Whom a source does not answer for: they stay, and every pull asks again until it says whether they are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from flask import Flask

from connectors.contract import Refused
from connectors.source_contract import SourceKey, SourcePerson
from tests.unit.intake.pulled_company import MINUTE, Pulled, pulled_company
from tests.unit.intake.scripted_directory import Directory, group, person

pytestmark = pytest.mark.slow

REFUSED = Refused("corp: this entry is not shown")


@pytest.fixture
def corp(installed: Flask) -> Pulled:
    corp = pulled_company()
    corp.directory.put(person("a"), person("b"), group("staff", "a", "b"))
    corp.pull()
    return corp


def asked(corp: Pulled) -> int:
    return corp.directory.asked.count("b")


@pytest.mark.parametrize("whole", [False, True])
def test_whom_a_source_refuses_to_answer_for_stays_and_goes_when_it_has_said_so_twice(corp: Pulled, whole: bool) -> None:
    corp.directory.drop("b")
    corp.directory.answers = {"b": REFUSED}
    first = corp.pull(whole=whole)
    assert (first.missing, first.notes) == (0, ("entry b could not be asked for: corp: this entry is not shown",))

    # The source tells once that somebody is gone; nothing is told of it any more.
    for number in (2, 3, 4):
        corp.wait(15 * MINUTE)
        outcome = corp.pull()
        assert (outcome.left, outcome.missing, outcome.notes, asked(corp)) == (0, 0, first.notes, number)
        corp.wait()
        assert corp.ask_again() is None
    assert corp.standing()["b@x.example"] == "active"

    corp.directory.answers = {}
    once = corp.pull()
    assert (once.missing, once.left, corp.standing()["b@x.example"]) == (1, 0, "active")
    corp.wait()
    twice = corp.ask_again()

    assert twice is not None
    assert (twice.left, corp.standing()["b@x.example"]) == (1, "departed")
    number = asked(corp)
    corp.pull()
    assert asked(corp) == number


@pytest.mark.parametrize("whole", [False, True])
def test_whoever_turns_out_to_be_there_is_asked_for_no_longer(corp: Pulled, whole: bool) -> None:
    there = corp.directory.people["b"]
    corp.directory.drop("b")
    corp.directory.answers = {"b": REFUSED}
    corp.pull(whole=whole)
    corp.directory.people["b"], corp.directory.answers = there, {}

    assert (corp.pull().moved, asked(corp)) == (0, 2)

    assert (corp.pull().unchanged, asked(corp)) == (0, 2)
    assert corp.pull(whole=True).unchanged == 2
    assert corp.groups() == {"Staff": {"a@x.example", "b@x.example"}}
    assert corp.entry("b", "again") is None


def test_who_is_listed_again_is_asked_for_no_longer(corp: Pulled) -> None:
    there = corp.directory.people["b"]
    corp.directory.drop("b")
    corp.directory.answers = {"b": REFUSED}
    corp.pull()
    corp.directory.put(there)

    corp.pull()
    corp.pull()

    assert asked(corp) == 1


def test_one_whose_second_answer_is_refused_is_left_to_the_pulls(corp: Pulled) -> None:
    """Else a source would be asked every few seconds, each time in a run of its own, for what it does not say."""
    corp.directory.drop("b")
    assert corp.pull().missing == 1
    corp.directory.answers = {"b": REFUSED}
    corp.wait()
    refused = corp.ask_again()
    assert refused is not None
    assert (refused.left, asked(corp)) == (0, 2)

    for _ in range(3):
        corp.wait()
        assert corp.ask_again() is None
    assert asked(corp) == 2

    corp.pull()
    assert (asked(corp), corp.standing()["b@x.example"]) == (3, "active")
    corp.directory.answers = {}
    assert corp.pull().missing == 1
    corp.wait()
    gone = corp.ask_again()
    assert gone is not None
    assert (gone.left, corp.standing()["b@x.example"]) == (1, "departed")


def test_an_answer_to_another_is_not_waited_for(corp: Pulled) -> None:
    corp.directory.put(person("c"))
    corp.pull()
    corp.directory.drop("a", "b")
    corp.directory.answers = {"b": REFUSED}

    assert corp.pull().missing == 1
    corp.wait()
    assert corp.pull().left == 1

    assert corp.standing() == {"a@x.example": "departed", "b@x.example": "active", "c@x.example": "active"}


@dataclass
class Watched(Directory):
    """Tells before each answer whom it was asked for."""

    before: Callable[[int], None] | None = None

    def find_person(self, key: SourceKey) -> SourcePerson | None:
        if self.before is not None:
            self.before(len(self.asked))
        return super().find_person(key)


def test_whom_it_was_not_asked_for_any_more_is_asked_for_by_the_next_pull(installed: Flask) -> None:
    """More are missing than may go, so the rest is not asked for; but then nothing is held, since the brake was taken off meanwhile."""
    directory = Watched()
    corp = pulled_company(directory=directory)
    keys = [f"p{number:02}" for number in range(40)]
    directory.put(*map(person, keys))
    corp.pull()
    directory.drop(*keys[:20])
    directory.before = lambda number: corp.sets("pull_brake", "off") if number == 5 else None
    first = corp.pull()
    assert (first.held, first.missing, len({*keys[:20]}.intersection(directory.asked))) == (None, 11, 11)

    assert corp.pull().missing == 9
    corp.wait()
    corp.ask_again()

    assert sum(standing == "active" for standing in corp.standing().values()) == 20
