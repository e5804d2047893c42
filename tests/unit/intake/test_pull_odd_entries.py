"""Entries that cannot be taken over as they are: each is set aside with its reason, and all others go on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.vocabulary import ENTERPRISE_URN
from app.intake import mapping_kept, pulling
from app.json_text import DEEPEST, UnreadableJSON, read_json
from app.lifecycle import questions
from app.lifecycle.sources import find_source
from connectors.contract import Refused
from connectors.source_contract import Incomplete, SourceKey
from tests.company import ADMIN
from tests.unit.intake.deciding import undoes
from tests.unit.intake.pulled_company import MINUTE, Pulled, pulled_company
from tests.unit.intake.scripted_directory import Listing, group, person

pytestmark = pytest.mark.slow


@pytest.fixture
def corp(installed: Flask) -> Pulled:
    return pulled_company()


def deep(levels: int) -> dict[str, Any]:
    """An object this many levels below the one that it is a part of, and a number in it."""
    found: Any = 7
    for _ in range(levels):
        found = {"x": found}
    return {"x-deep": found}


ODD = [
    (person("odd", "od\0d@x.example"), "it holds a NUL"),
    (person("odd", document={"title": "half \ud83d"}), "half of a sign"),
    (person("odd", document={"title": float("nan")}), "not JSON compliant"),
    (person("odd", document=deep(DEEPEST)), "nested more than 32 deep"),
    (person("odd", document=deep(2_000)), "nested more than 32 deep"),
    (person("odd", document=deep(200_000)), "nested more than 32 deep"),
    (person("odd", document={"title": object()}), "it holds a object"),
    (person("odd", document={"name": ["Odd"]}), "name is a list and not an object"),
    (person("odd", document={"emails": "odd@x.example"}), "emails is a text and not a list of objects"),
    (person("odd", document={"emails": [7]}), "emails is a list and not a list of objects"),
    (person("odd", document={"title": True}), "title is true or false and not a text"),
    (person("odd", document={ENTERPRISE_URN: "7"}), "is a text and not an object"),
    (person("odd", "  "), "it has no userName"),
    (person("odd", "o" * 3_000), "its userName is 3000 bytes long"),
    (person("odd", external_id="e" * 3_000), "its externalId is 3000 bytes long"),
    (person("odd", ends_at="the day after tomorrow"), "endsAt is no instant"),
    (person("odd", "ADA@x.example"), "userName 'ADA@x.example' belongs to another user"),
    (person("odd", "\uff41\uff44\uff41@x.example"), "belongs to another user"),
    (person("odd", external_id="ada"), "externalId 'ada' belongs to another user"),
]


@pytest.mark.parametrize(("odd", "reason"), ODD, ids=lambda value: value if isinstance(value, str) else "")
def test_one_that_cannot_be_taken_over_is_set_aside_and_all_others_go_on(corp: Pulled, odd: Any, reason: str) -> None:
    corp.directory.put(person("ada"), odd, person("bob", manager="odd"), group("staff", "ada", "odd", "bob"))

    outcome = corp.pull()

    assert (outcome.seen, outcome.joined) == (3, 2)
    assert set(corp.records()) == {"ada@x.example", "bob@x.example"}
    assert corp.groups()["Staff"] == {"ada@x.example", "bob@x.example"}
    [note] = outcome.notes
    assert "is set aside: " in note
    assert reason in note

    # Neither pull forgets it, and it comes in as soon as it can.
    assert len(corp.pull().notes) == 1
    assert len(corp.pull(whole=True).notes) == 1
    corp.directory.put(person("odd"))
    outcome = corp.pull()

    assert (outcome.joined, outcome.notes) == (1, ())
    assert corp.groups()["Staff"] == {"ada@x.example", "bob@x.example", "odd@x.example"}
    assert corp.person("bob@x.example").manager_id == corp.person("odd@x.example").id


@pytest.mark.parametrize(("odd", "reason"), ODD, ids=lambda value: value if isinstance(value, str) else "")
def test_whoever_is_off_is_off_however_odd_the_rest_is(corp: Pulled, odd: Any, reason: str) -> None:
    corp.directory.put(person("ada"), person("odd"))
    corp.pull()

    corp.directory.put(replace(odd, active=False))
    outcome = corp.pull()

    assert outcome.left == 1
    assert corp.standing()["odd@x.example"] == "departed"
    assert corp.standing()["ada@x.example"] == "active"
    assert reason in outcome.notes[0]
    assert corp.lines(outcome.run or 0) == [("off", "odd@x.example")]


@pytest.mark.parametrize(("odd", "reason"), [one for one in ODD if one[0].ends_at is None], ids=lambda value: value if isinstance(value, str) else "")
def test_whoever_has_ended_is_off_however_odd_the_rest_is(corp: Pulled, odd: Any, reason: str) -> None:
    corp.directory.put(person("ada"), person("odd"))
    corp.pull()

    corp.directory.put(replace(odd, ends_at=(corp.at + MINUTE).isoformat()))
    assert corp.pull().left == 0
    corp.wait()
    outcome = corp.pull()

    assert outcome.left == 1
    assert corp.standing() == {"odd@x.example": "departed", "ada@x.example": "active"}
    assert reason in outcome.notes[0]
    # What somebody decided counts for as long as the source says the same.
    undoes(corp, outcome.run or 0)
    assert corp.pull(whole=True).left == 0
    assert corp.standing()["odd@x.example"] == "active"


def test_as_deep_as_a_push_may_be_is_taken_over(corp: Pulled) -> None:
    allowed = deep(DEEPEST - 1)
    assert read_json(json.dumps(allowed).encode()) == allowed
    with pytest.raises(UnreadableJSON):
        read_json(json.dumps(deep(DEEPEST)).encode())

    corp.directory.put(person("odd", document=allowed))
    outcome = corp.pull()

    assert (outcome.joined, outcome.notes) == (1, ())


def test_an_odd_key_is_left_out(corp: Pulled) -> None:
    corp.directory.put(person("a\0b", "first@x.example"), person("k" * 2_000, "second@x.example"), person("ok"), group("g\0", "ok"))

    outcome = corp.pull()

    assert (outcome.joined, len(outcome.notes)) == (1, 3)
    assert all("is left out: its key" in note for note in outcome.notes)


def test_a_name_that_is_freed_in_the_same_pull_can_be_taken(corp: Pulled) -> None:
    corp.directory.put(person("a", "first@x.example"), person("b", "second@x.example"), person("c", "third@x.example"))
    corp.pull()

    corp.directory.put(person("c", "first@x.example"), person("a", "fourth@x.example"))
    outcome = corp.pull()

    assert outcome.notes == ()
    assert set(corp.records()) == {"first@x.example", "second@x.example", "fourth@x.example"}


def test_two_that_swap_their_names_are_told_and_keep_them(corp: Pulled) -> None:
    corp.directory.put(person("a", "first@x.example"), person("b", "second@x.example"))
    corp.pull()

    corp.directory.put(person("a", "second@x.example", document={"title": "Lead"}), person("b", "first@x.example"))
    outcome = corp.pull()

    assert [note.partition(":")[0] for note in outcome.notes] == ["second@x.example is set aside", "first@x.example is set aside"]
    assert corp.records()["first@x.example"].external_id == "a"
    corp.directory.put(person("a", "third@x.example"))
    assert corp.pull().notes == ()
    assert corp.records()["first@x.example"].external_id == "b"


def test_two_with_one_address_are_two_people(corp: Pulled) -> None:
    shared = [{"value": "info@x.example", "primary": True}]
    corp.directory.put(person("a", document={"emails": shared}), person("b", document={"emails": shared}))

    assert corp.pull().joined == 2
    assert corp.person("a@x.example").id != corp.person("b@x.example").id


def test_managers_in_a_circle_are_told_and_join(corp: Pulled) -> None:
    corp.directory.put(person("a", manager="c"), person("b", manager="a"), person("c", manager="b"), person("d", manager="a"), person("e", manager="e"))

    outcome = corp.pull()

    assert outcome.joined == 5
    assert sorted(outcome.notes) == [
        "a@x.example, b@x.example, c@x.example: they report to each other in a circle", "e@x.example: they report to each other in a circle",
    ]  # fmt: skip
    assert corp.person("d@x.example").manager_id == corp.person("a@x.example").id
    assert corp.person("a@x.example").manager_id == corp.person("c@x.example").id
    assert corp.pull(whole=True).unchanged == 5


def test_a_manager_who_comes_later_is_named_then(corp: Pulled) -> None:
    corp.directory.put(person("a", manager="boss"), person("b", manager="nobody"))
    corp.pull()
    corp.directory.put(person("boss"))

    corp.pull()

    assert corp.person("a@x.example").manager_id == corp.person("boss@x.example").id
    entry = corp.entry("b")
    assert entry is not None
    assert entry.manager_key == "nobody"
    corp.directory.put(person("a"))
    corp.pull()
    assert corp.person("a@x.example").manager_id is None


def test_one_who_is_off_and_gets_another_external_id_is_the_same_entry(corp: Pulled) -> None:
    corp.directory.put(person("a", external_id="1"), person("b", external_id="2"))
    corp.pull()
    was = {name: corp.person(name).id for name in corp.records()}
    corp.directory.alter("a", active=False)
    corp.directory.alter("b", active=False)
    corp.pull()

    corp.directory.alter("a", external_id="11")
    corp.directory.alter("b", external_id="22", active=True)
    assert corp.pull().notes == ()

    assert {name: corp.person(name).id for name in corp.records()} == was
    assert corp.records()["b@x.example"].external_id == "22"
    corp.directory.alter("a", active=True)
    corp.pull()
    assert corp.records()["a@x.example"].external_id == "11"
    assert {name: corp.person(name).id for name in corp.records()} == was


def test_what_is_told_last_counts(corp: Pulled) -> None:
    corp.directory.put(person("a"), person("b"))
    corp.pull()
    corp.directory.alter("a", active=False)
    corp.directory.alter("a", active=True)
    corp.directory.drop("b")
    corp.directory.put(person("b"), person("c"))
    corp.directory.drop("c")

    outcome = corp.pull()

    assert (outcome.left, outcome.missing, outcome.joined, outcome.unchanged) == (0, 0, 0, 2)
    corp.directory.drop("b")
    corp.directory.put(person("b", "bea@x.example"))
    outcome = corp.pull()
    assert (outcome.missing, outcome.moved) == (0, 1)
    assert corp.directory.asked == []


def test_an_entry_that_cannot_be_asked_for_stays_and_the_others_are_asked(corp: Pulled) -> None:
    corp.sets("gone_after", "0s")
    corp.directory.put(*(person(key) for key in "abc"))
    corp.pull()
    corp.directory.drop("a", "b")
    corp.directory.answers = {"a": Refused("corp: not allowed")}

    corp.pull(whole=True)
    outcome = corp.pull(whole=True)

    assert outcome.left == 1
    assert corp.standing() == {"a@x.example": "active", "b@x.example": "departed", "c@x.example": "active"}
    assert outcome.notes == ("entry a could not be asked for: corp: not allowed",)


def test_an_answer_that_is_no_answer_takes_nobody(corp: Pulled) -> None:
    corp.sets("gone_after", "0s")
    corp.directory.put(*(person(key) for key in "abc"))
    corp.pull()
    corp.directory.drop("a")
    corp.pull()
    corp.directory.answers = {"a": Incomplete("corp: nobody at all is shown")}

    outcome = corp.pull(whole=True)

    assert outcome.held is not None
    assert corp.standing()["a@x.example"] == "active"
    with pytest.raises(Incomplete):
        corp.directory.find_person(SourceKey("a"))


def test_somebody_who_moves_from_one_source_to_another_stays(corp: Pulled) -> None:
    corp.sets("gone_after", "0s")
    other = pulled_company(corp.company, name="other")
    corp.directory.put(person("a", "ada@x.example", number="7"), person("b"))
    corp.pull()
    was = corp.person("ada@x.example")
    corp.directory.drop("a")
    other.directory.put(person("x", "ada@x.example", number="7"))

    other.pull()
    corp.pull()
    corp.pull()

    assert set(corp.records()) == {"b@x.example"}
    now = corp.person("ada@x.example")
    assert (now.id, now.standing) == (was.id, "active")


def test_an_entry_made_anew_under_another_key_is_the_same_person_by_number(corp: Pulled) -> None:
    corp.sets("gone_after", "0s")
    corp.directory.put(person("a", "ada@x.example", number="7"), person("b"))
    corp.pull()
    was = corp.person("ada@x.example")
    corp.directory.drop("a")
    corp.directory.put(person("a2", "ada@x.example", number="7"))

    for _ in range(3):
        outcome = corp.pull()

    assert outcome.notes == ()
    assert corp.person("ada@x.example").id == was.id
    assert corp.standing() == {"ada@x.example": "active", "b@x.example": "active"}


def test_whoever_is_in_doubt_waits_for_an_answer(corp: Pulled) -> None:
    other = pulled_company(corp.company, name="other")
    other.directory.put(person("x", "bea@y.example", number="7"))
    other.pull()
    corp.directory.put(person("a", "ada@x.example", number="7"), person("b"), group("g", "a", "b"))

    outcome = corp.pull()
    assert (outcome.asked, outcome.joined, set(corp.records())) == (1, 1, {"b@x.example"})
    assert corp.groups() == {"G": {"b@x.example"}}
    corp.directory.alter("a", document={**corp.directory.people["a"].document, "title": "Lead"})
    assert corp.pull().asked == 0
    assert corp.pull(whole=True).unchanged == 2
    with reading() as session:
        [question] = questions.waiting(session, corp.organization_id)
        assert questions.said_of(session, question).document["title"] == "Lead"

    corp.directory.drop("a")
    corp.pull()
    with reading() as session:
        assert questions.waiting(session, corp.organization_id) == []
    assert corp.entry("a") is None


def test_the_same_said_in_another_order_is_the_same(corp: Pulled) -> None:
    corp.directory.put(person("a"), person("b"), group("g", "a", "b"))
    corp.pull()
    corp.directory.people = dict(reversed(corp.directory.people.items()))
    corp.directory.people["a"] = replace(corp.directory.people["a"], document=dict(reversed(list(corp.directory.people["a"].document.items()))))

    outcome = corp.pull(whole=True)

    assert (outcome.unchanged, outcome.moved) == (2, 0)


def test_a_source_without_changes_is_read_whole_each_time(corp: Pulled) -> None:
    corp.opened = Listing(corp.directory)
    corp.directory.put(person("a"))
    corp.pull()
    corp.directory.alter("a", active=False)

    assert corp.pull().left == 1
    assert corp.directory.listings == 2


def test_one_who_cannot_be_mapped_is_set_aside_and_heard_to_be_off(corp: Pulled) -> None:
    def maps(title: str) -> None:
        def act(session: Session) -> None:
            source = find_source(session, corp.organization_id, corp.name)
            mapping_kept.keep(session, source, {"title": title}, actor=ADMIN, at=corp.at)

        in_transaction(act)

    corp.directory.put(person("a", document={"title": "lead"}), person("b"), person("c", document={"title": "cook"}))
    corp.pull()
    maps("person.document.title + '!'")

    outcome = corp.pull()
    assert corp.records()["a@x.example"].document["title"] == "lead!"
    assert ["b@x.example is set aside: title cannot be mapped" in note for note in outcome.notes] == [True]
    assert len(corp.records()) == 3

    corp.directory.alter("b", active=False)
    assert corp.pull().left == 1
    assert corp.standing()["b@x.example"] == "departed"
    maps("'x'")
    corp.pull()
    assert {name: record.document["title"] for name, record in corp.records().items()} == dict.fromkeys(corp.records(), "x")


def test_a_mapping_that_is_changed_while_a_pull_reads_counts_for_everybody(corp: Pulled) -> None:
    corp.directory.put(person("a"), person("b"))

    def meanwhile() -> None:
        corp.directory.while_listing = None

        def act(session: Session) -> None:
            mapping_kept.keep(session, find_source(session, corp.organization_id, corp.name), {"title": "'new'"}, actor=ADMIN, at=corp.at)

        in_transaction(act)

    corp.directory.while_listing = meanwhile
    with pytest.raises(pulling.TakenOver):
        corp.pull()
    corp.pull()

    assert [record.document["title"] for record in corp.records().values()] == ["new", "new"]
