"""Pulling a source: what it says is here afterwards, by a whole listing and by what changed, and an error takes nothing from anybody."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.unit.intake.pulled_company import MINUTE, Pulled, pulled_company
from tests.unit.intake.scripted_directory import group, person

pytestmark = pytest.mark.slow


@pytest.fixture
def corp(installed: Flask) -> Pulled:
    return pulled_company()


def test_the_first_pull_takes_over_everybody(corp: Pulled) -> None:
    corp.directory.put(person("a", number="1"), person("b", active=False), person("c", manager="a"), group("staff", "a", "b", "c"), group("empty"))

    outcome = corp.pull()

    assert (outcome.run, outcome.seen, outcome.joined, outcome.left, outcome.held) == (1, 3, 3, 0, None)
    assert corp.standing() == {"a@x.example": "active", "b@x.example": "departed", "c@x.example": "active"}
    assert corp.groups() == {"Staff": {"a@x.example", "b@x.example", "c@x.example"}, "Empty": set()}
    assert corp.person("c@x.example").manager_id == corp.person("a@x.example").id
    assert outcome.notes == ()


def test_a_second_pull_of_the_same_changes_nothing(corp: Pulled) -> None:
    corp.directory.put(person("a"), person("b"), group("staff", "a"))
    corp.pull()
    before = corp.records()

    for whole in (False, True):
        outcome = corp.pull(whole=whole)
        assert (outcome.joined, outcome.moved, outcome.left, outcome.missing) == (0, 0, 0, 0)

    assert outcome.unchanged == 2
    assert {name: record.version for name, record in corp.records().items()} == {name: record.version for name, record in before.items()}


@pytest.mark.parametrize("whole", [False, True])
def test_what_changed_is_taken_over_by_either_way(corp: Pulled, whole: bool) -> None:
    corp.directory.put(*(person(key) for key in "abcd"), group("staff", "a", "b"), group("team", "c"))
    corp.pull()

    corp.directory.put(person("b", "bea@x.example"), person("c", active=False), person("e"), group("staff", "a", "e"), group("crew", "d", name="Crew"))
    outcome = corp.pull(whole=whole)

    assert (outcome.joined, outcome.moved, outcome.left) == (1, 1, 1)
    assert corp.standing() == {
        "a@x.example": "active", "bea@x.example": "active", "c@x.example": "departed", "d@x.example": "active", "e@x.example": "active",
    }  # fmt: skip
    assert corp.groups() == {"Staff": {"a@x.example", "e@x.example"}, "Team": {"c@x.example"}, "Crew": {"d@x.example"}}
    assert sorted(corp.lines(outcome.run or 0)) == [("off", "c@x.example"), ("out", "bea@x.example")]


@pytest.mark.parametrize("whole", [False, True])
def test_whoever_is_not_there_is_gone_when_the_source_has_said_so_twice(corp: Pulled, whole: bool) -> None:
    corp.directory.put(person("a"), person("b"), group("staff", "a", "b"))
    corp.pull()

    corp.directory.drop("b")
    first = corp.pull(whole=whole)
    assert (first.missing, first.left, corp.standing()["b@x.example"]) == (1, 0, "active")
    corp.wait(MINUTE / 2)
    assert corp.pull(whole=whole).left == 0

    corp.wait(MINUTE)
    second = corp.pull(whole=whole)

    assert (second.missing, second.left) == (0, 1)
    assert corp.standing()["b@x.example"] == "departed"
    assert set(corp.records()) == {"a@x.example"}
    assert corp.lines(second.run or 0) == [("gone", "b@x.example")]


def test_whoever_is_missing_is_asked_for_again_without_a_pull(corp: Pulled) -> None:
    corp.directory.put(person("a"), person("b"))
    corp.pull()
    corp.directory.drop("b")
    corp.pull()

    assert corp.ask_again() is None
    corp.wait()
    outcome = corp.ask_again()

    assert outcome is not None
    assert outcome.left == 1
    assert corp.standing()["b@x.example"] == "departed"
    assert corp.ask_again() is None


def test_whoever_is_only_missing_from_a_listing_stays(corp: Pulled) -> None:
    corp.directory.put(person("a"), person("b"))
    corp.pull()
    corp.directory.hidden.add("b")

    for _ in range(3):
        outcome = corp.pull(whole=True)
        corp.wait(2 * MINUTE)

    assert (outcome.missing, outcome.left) == (0, 0)
    assert corp.directory.asked == ["b", "b", "b"]
    assert corp.standing()["b@x.example"] == "active"


def test_whoever_is_back_in_time_was_never_gone(corp: Pulled) -> None:
    corp.directory.put(person("a"), person("b"))
    corp.pull()
    corp.directory.drop("b")
    corp.pull()
    corp.directory.put(person("b"))
    corp.wait()

    assert corp.pull().left == 0
    corp.wait()
    assert corp.pull(whole=True).left == 0

    assert corp.standing()["b@x.example"] == "active"
    entry = corp.entry("b")
    assert entry is not None
    assert entry.missing_since is None


def test_whoever_comes_again_under_the_same_key_is_the_same_person(corp: Pulled) -> None:
    corp.sets("gone_after", "0s")
    corp.directory.put(person("a"), person("b"), group("staff", "b"))
    corp.pull()
    was = corp.person("b@x.example")
    corp.directory.drop("b")
    corp.directory.put(group("staff"))
    corp.pull()
    corp.pull()
    assert corp.standing()["b@x.example"] == "departed"

    corp.directory.put(person("b", "bea@y.example"), group("staff", "b"))
    outcome = corp.pull()

    assert outcome.joined == 1
    again = corp.person("bea@y.example")
    assert (again.id, again.standing) == (was.id, "active")
    assert again.access_epoch > was.access_epoch
    assert corp.groups() == {"Staff": {"bea@y.example"}}
