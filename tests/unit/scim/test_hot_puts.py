"""A PUT that says what stands, or only another `active`, is answered by the hot paths as by the ordinary way; of all others nothing is lost."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.directory.vocabulary import ENTERPRISE_URN
from tests.clients.directory import Directory
from tests.unit.scim.choosing import person_of, set_brake
from tests.unit.scim.twins import ADA, BARE, Twin, active, both_ways, set_up

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("way")]
EVE: dict[str, Any] = {"userName": "eve", "externalId": "00u2", "emails": [{"value": "eve@x.example", "primary": True}], "active": True}


def test_a_put_of_what_stands_leaves_it_and_one_of_active_switches(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("ada", "POST", "/Users", ADA)
        twin.tell("bob", "POST", "/Users", BARE)
        ada = twin.tell("", "GET", "/Users/{ada}").document
        twin.tell("", "PUT", "/Users/{ada}", ADA)
        # As it was answered, with what only the server says.
        twin.tell("", "PUT", "/Users/{ada}", {**ada, "active": False, "password": "y"})
        twin.tell("", "PUT", "/Users/{ada}", {**ada, "active": False})
        twin.tell("", "PUT", "/Users/{ada}", {**ADA, "groups": [{"value": "g"}]})
        twin.tell("", "PUT", "/Users/{ada}", {**ADA, "active": "True"})
        twin.tell("", "PUT", "/Users/{bob}", {"USERNAME": "bob", "active": "False"})
        # What is so already, by a PATCH too.
        twin.tell("", "PATCH", "/Users/{bob}", active(False))
        twin.tell("", "PATCH", "/Users/{ada}", active(True))

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == ["post_user", "post_user", "get_user", *["put_user"] * 6, "patch_user", "patch_user"]


@pytest.mark.parametrize(
    "changed",
    [
        {"userName": "Eve"},
        {"externalId": "00u3"},
        {"externalId": ""},
        {"emails": [{"value": "eve@x.example", "primary": False}]},
        {"title": "Chief"},
        {"x-note": {"n": 1}},
        {ENTERPRISE_URN: {"department": "Research"}},
        {"externalId": None},
    ],
)
def test_whatever_else_is_said_goes_the_ordinary_way(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str], changed: dict[str, Any]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("eve", "POST", "/Users", EVE)
        twin.tell("", "PUT", "/Users/{eve}", {**EVE, **changed, "active": False})
        twin.tell("", "GET", "/Users/{eve}")

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == ["post_user", "get_user"]


def test_numbers_and_truth_are_told_apart(urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("eve", "POST", "/Users", {**EVE, "x-note": [1, {"cost": 1.5}, True]})
        for note in ([True, {"cost": 1.5}, True], [1, {"cost": 1.5}, 1], [1, {"cost": 1.25}, True], [1, {"cost": 1.5, "more": None}, True]):
            twin.tell("", "PUT", "/Users/{eve}", {**EVE, "x-note": note})

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == ["post_user", *["put_user"] * 4]


def test_a_put_that_the_brake_holds_waits_and_is_read_as_said(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin, brake="1/60s")
        people = {name: {"userName": name, "externalId": f"x-{name}"} for name in ("ada", "bob", "cy")}
        for name, body in people.items():
            twin.tell(name, "POST", "/Users", body)
        for name, body in people.items():
            twin.tell("", "PUT", f"/Users/{{{name}}}", {**body, "active": False})
        # Said again: it waits already, which is nothing plain.
        twin.tell("", "PUT", "/Users/{cy}", {**people["cy"], "active": False})
        twin.at += timedelta(minutes=1)
        twin.tell("", "PUT", "/Users/{cy}", {**people["cy"], "active": True})

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == [*["post_user"] * 3, "put_user", "put_user"]


def test_of_somebody_else_nothing_is_found_out(directory: Directory, counted: list[str]) -> None:
    set_brake("off")
    ada = directory.add_user("ada")
    beside = directory.beside("entra")
    beside.send("GET", "/ServiceProviderConfig")
    del counted[:]

    answers = [beside.send("PUT", f"/Users/{one}", {"userName": "ada", "active": False}) for one in (ada, "nobody")]

    assert [answer.status for answer in answers] == [404, 404]
    assert counted == []
    assert str(person_of(ada).standing) == "active"
