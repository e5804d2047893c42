"""Questions at the desk: who may be meant, and whose it is."""

import pytest
from sqlalchemy.orm import Session

from app.actors import Actor, ActorKind
from app.clock import now
from app.commands import housekeeping
from app.lifecycle.operators import Role, add_operator
from app.revocation.alarm_kinds import AlarmKind
from tests.unit.commands.conftest import Desk

ADA = "ada@acme.example"


@pytest.fixture
def asked(desk: Desk) -> dict[str, str]:
    """Two directories disagree about who has number E-1: the people's ids by name."""
    okta = desk.directory()
    entra = str(desk.asks("source", "add", "scim", "entra")["id"])
    return {
        "ada": desk.hires(okta, "ada", number="E-1"),
        "bob": desk.hires(entra, "bob", number="E-1", department="Research"),
        "cy": desk.hires(entra, "cy", number="E-9"),
    }


def test_questions_are_listed_with_everybody_who_may_be_meant(desk: Desk, asked: dict[str, str]) -> None:
    [one] = desk.asks("questions", "list")["questions"]
    said = desk.types("questions", "list")

    assert (one["number"], one["source"], one["userName"], one["state"]) == (1, "entra", "bob@acme.example", "open")
    assert [(each["id"], each["userName"], each["because"]) for each in one["candidates"]] == [(asked["ada"], ADA, "has employee number E-1")]
    assert said.out.splitlines()[0].split("\t") == ["number", "source", "userName", "reason", "since"] and "whose addresses are others" in said.out


def test_a_question_shows_what_the_source_says(desk: Desk, asked: dict[str, str]) -> None:
    shown = desk.asks("questions", "show", "1")

    assert shown["person"]["id"] == asked["bob"]
    assert shown["said"]["active"] is True and shown["said"]["document"]["displayName"] == "Bob"
    assert desk.types("questions", "show", "1").exit == 0
    assert desk.types("questions", "show", "7", "--json").exit == 1


def test_the_same_person_is_one_person_from_then_on(desk: Desk, asked: dict[str, str]) -> None:
    answered = desk.asks("questions", "answer", "1", "--same", ADA)

    assert (answered["answer"], answered["person"]["id"]) == ("same", asked["ada"])
    assert desk.asks("questions", "list")["questions"] == []
    shown = desk.asks("questions", "show", "1")
    assert shown["state"] == "answered" and shown["answered_by"].startswith("host:") and shown["person"]["id"] == asked["ada"]
    assert desk.asks("receipt", asked["bob"])["person"]["standing"] == "departed"


def test_somebody_new_stays_a_person_of_their_own(desk: Desk, asked: dict[str, str]) -> None:
    answered = desk.asks("questions", "answer", "1", "--new")

    assert (answered["answer"], answered["person"]["id"]) == ("new", asked["bob"])
    assert desk.types("questions", "answer", "1", "--new").exit == 1


def test_an_answer_is_one_of_the_two_and_names_somebody_who_was_asked_about(desk: Desk, asked: dict[str, str]) -> None:
    for arguments in ([], ["--same", ADA, "--new"], ["--same", "cy@acme.example"]):
        said = desk.types("questions", "answer", "1", *arguments, "--json")
        assert said.exit == 2, said
    assert desk.types("questions", "answer", "1", "--same", "nobody@acme.example", "--json").exit == 1
    assert "does not ask about cy@acme.example" in desk.types("questions", "answer", "1", "--same", "cy@acme.example").err
    assert len(desk.asks("questions", "list")["questions"]) == 1 and asked


@pytest.mark.parametrize("role", [Role.HELPDESK, Role.AUDITOR])
def test_only_administrators_answer(desk: Desk, asked: dict[str, str], role: Role) -> None:
    organization_id = desk.organization_id

    def operator(session: Session) -> str:
        return add_operator(session, organization_id, "olga", role, actor=Actor(kind=ActorKind.HOST, name="test"), at=now())[1]

    token = desk.acts(operator)

    assert desk.types("questions", "answer", "1", "--new", "--json", token=token).exit == 4
    assert len(desk.asks("questions", "list", token=token)["questions"]) == 1 and asked


def test_somebody_is_told_while_questions_wait(desk: Desk, asked: dict[str, str]) -> None:
    def told() -> list[str]:
        housekeeping.beat(desk.app)
        return [one["sentence"] for one in desk.asks("alarms", "list")["alarms"] if one["kind"] == AlarmKind.QUESTIONS_WAIT and one["state"] == "open"]

    assert told() == ["It is asked of 1 person who they are."] and asked
    desk.asks("questions", "answer", "1", "--new")
    assert told() == []
