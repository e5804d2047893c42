"""Whoever waits since it was in doubt whose they are: each pull looks whether it still is, and of whom."""

from __future__ import annotations

import pytest
from flask import Flask

from app.database import in_transaction, reading
from app.lifecycle import questions
from app.lifecycle.answering import answer
from app.lifecycle.pulled_tables import Question, QuestionState
from tests.company import ADMIN
from tests.unit.intake.pulled_company import Pulled, pulled_company
from tests.unit.intake.scripted_directory import group, person

pytestmark = pytest.mark.slow


@pytest.fixture
def other(installed: Flask) -> Pulled:
    """Another directory, whose Bea has number 7."""
    other = pulled_company(name="other")
    other.directory.put(person("x", "bea@y.example", number="7"))
    other.pull()
    return other


@pytest.fixture
def corp(other: Pulled) -> Pulled:
    """A directory whose Ada has the number too, and an address that Bea has not: she waits."""
    corp = pulled_company(other.company)
    corp.directory.put(person("a", "ada@x.example", number="7"), person("b"), group("g", "a", "b"))
    assert corp.pull().asked == 1
    return corp


def question(corp: Pulled) -> Question:
    with reading() as session:
        return questions.find(session, corp.organization_id, 1)


def tells_the_address(other: Pulled) -> None:
    bea = other.directory.people["x"]
    other.directory.alter("x", document={**bea.document, "emails": [{"value": "bea@y.example"}, {"value": "ada@x.example"}]})
    other.pull()


@pytest.mark.parametrize("whole", [False, True])
def test_whoever_turns_out_to_be_somebody_is_asked_about_no_more(corp: Pulled, other: Pulled, whole: bool) -> None:
    assert (corp.pull(whole=whole).joined, question(corp).state) == (0, QuestionState.OPEN)
    tells_the_address(other)

    said, done = corp.pull(whole=whole, dry_run=True), corp.pull(whole=whole)

    assert (said.joined, said.asked) == (done.joined, done.asked) == (1, 0)
    assert question(corp).state == QuestionState.WITHDRAWN
    assert corp.records()["ada@x.example"].person_id == other.records()["bea@y.example"].person_id
    assert corp.groups() == {"G": {"ada@x.example", "b@x.example"}}
    done = corp.pull(whole=whole)
    assert (done.joined, done.moved) == (0, 0)


@pytest.mark.parametrize("whole", [False, True])
def test_whoever_is_matched_by_other_keys_now_is_asked_about_no_more(corp: Pulled, other: Pulled, whole: bool) -> None:
    corp.sets("matching", "email")

    assert corp.pull(whole=whole).joined == 1

    assert question(corp).state == QuestionState.WITHDRAWN
    assert corp.records()["ada@x.example"].person_id != other.records()["bea@y.example"].person_id


@pytest.mark.parametrize("whole", [False, True])
def test_a_question_names_whoever_may_be_meant_by_now(corp: Pulled, other: Pulled, whole: bool) -> None:
    other.directory.put(person("y", "cleo@y.example", number="7"))
    other.pull()
    in_transaction(lambda session: answer(session, corp.organization_id, 2, same_as=None, actor=ADMIN, at=corp.at))

    said, done = corp.pull(whole=whole, dry_run=True), corp.pull(whole=whole)

    assert (said.joined, said.asked) == (done.joined, done.asked) == (0, 0)
    assert question(corp).reason == "2 people have employee number 7"
    assert {one.person_id for one in questions.candidates_of(question(corp))} == {one.person_id for one in other.records().values()}
    assert corp.pull(whole=True).unchanged == 2
