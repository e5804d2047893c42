"""Whoever an operator has barred stays out, also where their directory deletes them and pushes them again; nobody else is held by a name that they had."""

from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.clock import now
from app.directory.tables import Standing, StatementKind, Voice
from app.lifecycle import leaving
from tests.clients.directory import Directory
from tests.company import ADMIN
from tests.two_at_once import meanwhile
from tests.unit.scim.choosing import get, numbered, off, person_again, person_of, post, says

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("way")]

MAIL = {"emails": [{"value": "ada@northwind.example"}]}


def deleted(directory: Directory, kind: StatementKind | None = StatementKind.BARS, **attributes: Any) -> Any:
    """Somebody of whom an operator said this, and whom the directory has deleted."""
    ada = post(directory, "ada", "00u1", **MAIL, **attributes).document["id"]
    person = person_of(ada)
    if kind is not None:
        says(person, Voice.OPERATOR, kind)
    assert directory.send("DELETE", f"/Users/{ada}").status == 204
    return person_again(person)


def test_whoever_is_barred_is_not_let_in_by_being_pushed_anew(directory: Directory) -> None:
    person = deleted(directory)

    again = post(directory, "ada", "00u1", **MAIL)

    assert (again.status, again.document["active"]) == (201, False)
    assert person_of(again.document["id"]).id == person.id
    assert person_again(person).standing == Standing.DEPARTED


def test_nor_where_the_operator_says_so_at_that_very_moment(directory: Directory) -> None:
    person = deleted(directory, kind=None)

    def bar(session: Session) -> None:
        leaving.say(
            session, person.organization_id, person.id, voice=Voice.OPERATOR, kind=StatementKind.BARS, said_by="ana", effective_at=now(), actor=ADMIN,
            at=now(), because="doorlist depart",
        )  # fmt: skip

    _, again = meanwhile(directory.app, bar, lambda: post(directory, "ada", "00u1", **MAIL))

    assert (again.status, again.document["active"]) == (201, False)
    assert person_of(again.document["id"]).id == person.id


def test_nor_is_it_by_an_operation_of_a_bulk(directory: Directory) -> None:
    person = deleted(directory)
    user = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "ada.k", "externalId": "00u1"}
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": [{"method": "POST", "path": "/Users", "bulkId": "a", "data": user}]}

    answer = directory.send("POST", "/Bulk", body)

    record_id = answer.document["Operations"][0]["location"].rpartition("/")[2]
    assert not get(directory, f"/Users/{record_id}")["active"]
    assert person_of(record_id).id == person.id


def test_nor_by_another_user_being_given_their_id(directory: Directory) -> None:
    person = deleted(directory)
    bob = post(directory, "bob", "00u2").document["id"]
    off(directory, bob)

    answer = directory.send("PATCH", f"/Users/{bob}", {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "replace", "value": {"externalId": "00u1", "active": True}}],
    })  # fmt: skip

    assert (answer.status, answer.document["active"]) == (200, False)
    assert person_of(bob).id == person.id


def test_an_operator_lets_them_in_again(directory: Directory) -> None:
    person = deleted(directory)
    again = post(directory, "ada", "00u1").document["id"]

    says(person, Voice.OPERATOR, StatementKind.RETURNS)

    assert get(directory, f"/Users/{again}")["active"]
    assert person_again(person).standing == Standing.ACTIVE


def test_a_bar_that_was_lifted_holds_nobody(directory: Directory) -> None:
    ada = post(directory, "ada", "00u1").document["id"]
    person = person_of(ada)
    says(person, Voice.OPERATOR, StatementKind.BARS)
    says(person, Voice.OPERATOR, StatementKind.RETURNS)
    directory.send("DELETE", f"/Users/{ada}")

    again = post(directory, "ada", "00u1").document

    assert again["active"]
    assert person_of(again["id"]).id != person.id


@pytest.mark.parametrize("kind", [None, StatementKind.LEAVES])
def test_whoever_only_left_is_somebody_new_as_ever(directory: Directory, kind: StatementKind | None) -> None:
    person = deleted(directory, kind)

    again = post(directory, "ada", "00u1").document

    assert again["active"]
    assert person_of(again["id"]).id != person.id


@pytest.mark.parametrize(("external_id", "number"), [("00u2", "E-1"), ("00u1", "E-2")])
def test_another_id_or_another_number_is_somebody_else(directory: Directory, external_id: str, number: str) -> None:
    person = deleted(directory, **numbered("E-9" if external_id == "00u2" else "E-1"))

    other = post(directory, "ada", external_id, **numbered(number)).document

    assert other["active"]
    assert person_of(other["id"]).id != person.id


def test_another_directory_may_have_the_same_id_for_somebody(directory: Directory) -> None:
    person = deleted(directory)

    other = post(directory.beside("entra"), "ada", "00u1").document

    assert other["active"]
    assert person_of(other["id"]).id != person.id


def test_a_newcomer_is_pushed_the_quick_way_unless_somebody_was_deleted_who_had_the_id(directory: Directory, counted: list[str]) -> None:
    deleted(directory, None)
    before = len(counted)

    post(directory, "bob", "00u2")
    post(directory, "cyd", "00u1")

    assert counted[before:] == ["post_user"]
