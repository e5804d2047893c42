"""Groups that are pulled: who is in them, members who are nobody yet, and that none is gone by one word."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import select

from app.database import reading
from app.directory.tables import Group
from connectors.source_contract import Memberships, SourceKey
from tests.unit.intake.pulled_company import Pulled, pulled_company
from tests.unit.intake.scripted_directory import group, person


@pytest.fixture
def corp(installed: Flask) -> Pulled:
    return pulled_company()


def test_a_group_that_holds_itself_is_told(corp: Pulled) -> None:
    corp.directory.put(person("a"), group("g", "a", cycles=("H",)))

    assert corp.pull().notes == ("group G: it holds itself, through H; everybody in the circle is in it",)
    assert corp.groups() == {"G": {"a@x.example"}}


def test_two_groups_of_one_name_are_told_and_the_first_one_counts(corp: Pulled) -> None:
    corp.directory.put(person("a"), person("b"), group("g", "a", name="Sales"), group("h", "b", name="SALES"), group("i", "b", name=" "))

    outcome = corp.pull()

    assert corp.groups() == {"Sales": {"a@x.example"}}
    assert [note.partition(":")[0] for note in outcome.notes] == ["group SALES is set aside", "group i is set aside"]
    corp.directory.put(group("h", "b", name="Sales North"))
    corp.pull()
    assert corp.groups()["Sales North"] == {"b@x.example"}


def test_members_who_are_nobody_yet_are_in_as_soon_as_they_join(corp: Pulled) -> None:
    corp.directory.put(person("a"), group("g", "a", "later", "never"))
    corp.pull()
    corp.directory.put(person("later"))

    corp.pull()

    assert corp.groups() == {"G": {"a@x.example", "later@x.example"}}
    corp.directory.put(group("g", "a"), person("never"))
    corp.pull()
    assert corp.groups() == {"G": {"a@x.example"}}


def test_a_change_of_members_only_is_taken_over(corp: Pulled) -> None:
    corp.directory.put(*(person(key) for key in "abcd"), group("g", "a", "b"))
    corp.pull()
    keys = {key: SourceKey(key) for key in "abcdg"}
    corp.directory.groups["g"] = group("g", "c", "d")
    corp.directory.tell(
        Memberships(group=keys["g"], added=frozenset({keys["c"]}), removed=frozenset({keys["a"]})),
        Memberships(group=keys["g"], added=frozenset({keys["d"], keys["a"]}), removed=frozenset({keys["b"]})),
        Memberships(group=keys["g"], removed=frozenset({keys["a"]})),
    )

    outcome = corp.pull()

    assert corp.groups() == {"G": {"c@x.example", "d@x.example"}}
    assert corp.directory.listings == 1
    assert corp.lines(outcome.run or 0) == [("out", "a@x.example"), ("out", "b@x.example")]
    assert corp.pull(whole=True).held is None
    assert corp.groups() == {"G": {"c@x.example", "d@x.example"}}


def test_members_of_a_group_that_nobody_told_of_are_read_whole(corp: Pulled) -> None:
    corp.directory.put(person("a"))
    corp.pull()
    corp.directory.groups["g"] = group("g", "a")
    corp.directory.tell(Memberships(group=SourceKey("g"), added=frozenset({SourceKey("a")})))

    corp.pull()

    assert corp.directory.listings == 2
    assert corp.groups() == {"G": {"a@x.example"}}


def test_a_group_is_gone_when_the_source_has_said_so_twice(corp: Pulled) -> None:
    corp.directory.put(person("a"), group("g", "a"), group("h", "a"))
    corp.pull()
    corp.directory.drop("g")

    corp.pull()
    assert set(corp.groups()) == {"G", "H"}
    corp.wait()
    outcome = corp.ask_again()

    assert set(corp.groups()) == {"H"}
    assert outcome is not None
    assert corp.lines(outcome.run or 0) == [("group gone", "")]
    corp.directory.put(group("g", "a"))
    corp.pull()
    assert corp.groups() == {"G": {"a@x.example"}, "H": {"a@x.example"}}


def test_a_group_that_is_named_again_under_its_key_is_the_same_one(corp: Pulled) -> None:
    def ids() -> set[str]:
        with reading() as session:
            return set(session.scalars(select(Group.id).where(Group.organization_id == corp.organization_id)))

    corp.sets("gone_after", "0s")
    corp.directory.put(person("a"), person("b"), group("g", "a"), group("h", "a"))
    corp.pull()
    before = ids()
    for _ in range(2):
        corp.directory.drop("g")
        corp.pull()
        corp.pull()
        assert set(corp.groups()) == {"H"}

        corp.directory.put(group("g", "b", name="Renamed"))
        corp.pull()

        assert corp.groups() == {"Renamed": {"b@x.example"}, "H": {"a@x.example"}}
        assert ids() == before


@pytest.mark.parametrize("asked", [False, True])
def test_a_group_that_was_made_anew_takes_the_place_of_the_one_that_is_gone(corp: Pulled, asked: bool) -> None:
    """Its name is free when the other one is gone, and nothing tells of it again."""
    corp.directory.put(person("a"), person("b"), group("g", "a", name="Sales"), group("h", "b"), group("i", "b"))
    corp.pull()
    corp.directory.drop("g", "h")
    corp.directory.put(group("new", "a", "b", name="Sales"), group("i", "b", name="H"))
    assert [note.partition(":")[0] for note in corp.pull().notes] == ["group H is set aside", "group Sales is set aside"]
    corp.wait()

    outcome = corp.ask_again() if asked else corp.pull()

    assert outcome is not None and outcome.notes == ()
    assert corp.directory.listings == 1
    assert corp.groups() == {"Sales": {"a@x.example", "b@x.example"}, "H": {"b@x.example"}}


def test_a_new_group_has_the_name_that_another_one_has_just_given_up(corp: Pulled) -> None:
    corp.directory.put(person("a"), person("b"), group("g", "a", name="Sales"))
    corp.pull()
    corp.directory.put(group("new", "b", name="Sales"), group("g", "a", name="Old sales"))

    assert corp.pull().notes == ()

    assert corp.groups() == {"Sales": {"b@x.example"}, "Old sales": {"a@x.example"}}


@pytest.mark.parametrize("whole", [False, True])
def test_a_group_that_is_listed_again_was_never_gone(corp: Pulled, whole: bool) -> None:
    corp.directory.put(person("a"), group("g", "a"), group("h", "a"))
    corp.pull()
    corp.directory.drop("g")
    corp.pull(whole=whole)
    corp.directory.groups["g"] = group("g", "a")
    corp.wait()

    corp.ask_again()
    corp.wait()
    corp.pull(whole=True)

    assert set(corp.groups()) == {"G", "H"}


def test_a_group_is_not_gone_by_two_listings_shortly_after_each_other(corp: Pulled) -> None:
    corp.directory.put(person("a"), group("g", "a"), group("h", "a"))
    corp.pull()
    corp.directory.drop("g")

    for _ in range(3):
        corp.pull(whole=True)
    assert set(corp.groups()) == {"G", "H"}
    corp.wait()
    corp.pull(whole=True)
    assert set(corp.groups()) == {"H"}


def test_whoever_is_back_is_in_the_groups_that_never_took_them_out(corp: Pulled) -> None:
    corp.sets("gone_after", "0s")
    corp.directory.put(person("a"), person("b"), group("g", "a", "b"))
    corp.pull()
    was = corp.directory.people["b"]
    corp.directory.drop("b")
    corp.pull()
    corp.pull()
    assert corp.groups() == {"G": {"a@x.example"}}
    corp.directory.put(was)

    corp.pull(whole=True)

    assert corp.groups() == {"G": {"a@x.example", "b@x.example"}}
