"""What is said of somebody beside `active`, by a PATCH or a PUT, is written by the hot paths as by the ordinary way."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import in_transaction
from app.directory.tables import StatementKind, Voice
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal.tables import Organization
from tests.clients.directory import Directory
from tests.unit.scim.choosing import off, person_of, says, set_brake
from tests.unit.scim.twins import ADA, BARE, Twin, active, both_ways, change, set_up

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("way")]
URN = "urn:ietf:params:scim:schemas:core:2.0:User"


def under(manager: str) -> dict[str, Any]:
    return {ENTERPRISE_URN: {"manager": {"value": f"<{manager}>"}}}


ATTRIBUTES: list[dict[str, Any]] = [
    change("replace", "title", 'Chief "of" staff: \\ Ünïcode'),
    change("Replace", "name.givenName", "Adele"),
    change("Add", None, {"displayName": "Adele", f"{ENTERPRISE_URN}:department": "Sales", "name.familyName": "King"}),
    change("replace", None, {"nickName": "A.", ENTERPRISE_URN: {"division": "South", "costCenter": "7"}, "userType": "Contractor"}),
    change("replace", f"{URN}:title", "Chief"),
    change("replace", 'emails[type eq "work"].value', "adele@northwind.example"),
    change("add", "emails", [{"value": "third@home.example", "type": "other"}]),
    change("remove", 'emails[type eq "other"]'),
    change("replace", "emails", [{"value": "One@x.example"}]),
    change("remove", "emails"),
    change("add", 'phoneNumbers[type eq "mobile"].value', "+41 1"),
    change("replace", "x-note", {"badge": 7, "cost": 1.25}),
    change("remove", "displayName"),
    change("remove", "name"),
    change("replace", f"{ENTERPRISE_URN}:department", ""),
    change("remove", ENTERPRISE_URN),
    # Nothing of these is new.
    change("replace", "title", "Chief"),
    change("remove", "profileUrl"),
]


@pytest.mark.parametrize("brake", ["off", "1/60s"])
def test_attributes_are_changed_as_the_ordinary_way_changes_them(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str], brake: str
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin, brake=brake)
        twin.tell("ada", "POST", "/Users", ADA)
        for said in ATTRIBUTES:
            twin.tell("", "PATCH", "/Users/{ada}", said)
        twin.tell("", "GET", "/Users/{ada}")

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == ["post_user", *["patch_user"] * len(ATTRIBUTES), "get_user"]


def test_a_manager_comes_changes_and_goes(urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]) -> None:
    manager = f"{ENTERPRISE_URN}:manager"

    def story(twin: Twin) -> None:
        set_up(twin)
        for name in ("boss", "chief", "ada"):
            twin.tell(name, "POST", "/Users", {"userName": name, "externalId": f"x-{name}"})
        twin.tell("", "PATCH", "/Users/{ada}", change("replace", manager, {"value": "<boss>", "displayName": "Boss"}))
        twin.tell("", "PATCH", "/Users/{ada}", change("replace", "title", "Whose manager stays"))
        twin.tell("", "PATCH", "/Users/{ada}", change("Add", manager, "<chief>"))
        twin.tell("", "PUT", "/Users/{ada}", {"userName": "ada", "displayName": "Ada", **under("boss")})
        twin.tell("", "PATCH", "/Users/{boss}", change("replace", f"{manager}.value", "<boss>"))
        twin.tell("", "PATCH", "/Users/{ada}", change("replace", manager, ""))
        twin.tell("", "PATCH", "/Users/{boss}", change("remove", manager))

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == [*["post_user"] * 3, *["patch_user"] * 3, "put_user", *["patch_user"] * 3]


def test_a_put_says_all_of_somebody_anew(urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("ada", "POST", "/Users", ADA)
        twin.tell("bob", "POST", "/Users", BARE)
        twin.tell("", "PUT", "/Users/{ada}", {**ADA, "title": "Chief", "emails": [{"value": "a@x.example"}], "active": True})
        # What it leaves out is gone, but for `active` and the directory's own key.
        twin.tell("", "PUT", "/Users/{ada}", {"userName": ADA["userName"], "displayName": "Ada"})
        twin.tell("", "PUT", "/Users/{bob}", {**BARE, "displayName": "Bob", "password": "x", "id": "another", "groups": [{"value": "g"}]})
        twin.tell("", "GET", "/Users/{ada}")

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == ["post_user", "post_user", *["put_user"] * 3, "get_user"]


OTHERWISE: list[dict[str, Any]] = [
    change("replace", "userName", "eve"),
    change("replace", "userName", "Ada"),
    change("replace", "externalId", "another"),
    change("remove", "externalId"),
    change("replace", f"{ENTERPRISE_URN}:employeeNumber", "7"),
    change("replace", f"{ENTERPRISE_URN}:manager", "nobody"),
    change("replace", None, {"active": False, "title": "Left"}),
    # What is wrong is said in words.
    change("replace", "emails", [{"value": "a@x.example", "primary": True}, {"value": "b@x.example", "primary": True}]),
    change("remove", "userName"),
    change("add", "emails[", "x"),
    change("replace", "id", "another"),
    change("replace", "meta.version", "9"),
    change("replace", "active", "perhaps"),
    {"Operations": [{"op": "replace", "path": "title", "value": "x"}] * 2, "operations": []},
]


def test_who_somebody_is_and_what_is_wrong_go_the_ordinary_way(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        for number, said in enumerate(OTHERWISE):
            twin.tell("one", "POST", "/Users", {"userName": f"one{number}", "externalId": f"x-{number}"})
            twin.tell("", "PATCH", "/Users/{one}", said)
            twin.tell("", "GET", "/Users/{one}")

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == ["post_user", "get_user"] * len(OTHERWISE)


def test_whoever_is_off_stays_off_whatever_else_is_said(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("boss", "POST", "/Users", {"userName": "boss"})
        twin.tell("ada", "POST", "/Users", {**ADA, **under("boss")})
        twin.tell("", "PATCH", "/Users/{ada}", active(False))
        for said in ATTRIBUTES[:8]:
            twin.tell("", "PATCH", "/Users/{ada}", said)
        twin.tell("", "PUT", "/Users/{ada}", {"userName": ADA["userName"], "title": "Out"})
        twin.tell("", "PUT", "/Users/{ada}", {"userName": ADA["userName"], "title": "Still", "active": "False"})
        # Both at once has to be weighed.
        twin.tell("", "PUT", "/Users/{ada}", {"userName": ADA["userName"], "title": "Back", "active": True})
        twin.tell("", "PATCH", "/Users/{ada}", change("replace", None, {"active": False, "title": "Out again"}))
        twin.tell("", "GET", "/Users/{ada}")

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == ["post_user", "post_user", *["patch_user"] * 9, "put_user", "put_user", "get_user"]


@pytest.mark.parametrize("leaving_voice", ["hr", "directory"])
def test_what_off_meant_when_it_was_said_stays(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str], leaving_voice: str
) -> None:
    def chooses(session: Session) -> None:
        organization = session.scalars(select(Organization)).one()
        organization.settings = {**organization.settings, "leaving_voice": leaving_voice}

    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("ada", "POST", "/Users", ADA)
        twin.tell("", "PATCH", "/Users/{ada}", active(False))
        in_transaction(chooses)
        twin.tell("", "PATCH", "/Users/{ada}", change("replace", "title", "Out"))

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == ["post_user", "patch_user", "patch_user"]


def test_what_takes_long_keeps_no_others_waiting(urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]) -> None:
    def shown(*numbers: int) -> dict[str, Any]:
        return {"Operations": [{"op": "replace", "path": f'emails[value eq "{number}@x.example"].display', "value": "x"} for number in numbers]}

    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("ada", "POST", "/Users", {"userName": "ada", "emails": [{"value": f"{number}@x.example"} for number in range(100)]})
        twin.tell("bob", "POST", "/Users", {"userName": "bob", "x-note": "x" * 131_072})
        twin.tell("", "PATCH", "/Users/{ada}", shown(1, 2, 3))
        twin.tell("", "PATCH", "/Users/{ada}", shown(*range(100)))
        # What is long by itself is not even read.
        twin.tell("", "PATCH", "/Users/{bob}", change("replace", "title", "Chief"))
        twin.tell("", "PUT", "/Users/{bob}", {"userName": "bob"})
        twin.tell("", "PUT", "/Users/{bob}", {"userName": "bob", "title": "Chief"})

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == ["post_user", "patch_user", "put_user"]


def test_another_voice_stays_heard(directory: Directory, counted: list[str]) -> None:
    set_brake("off")
    ada = directory.add_user("ada")
    says(person_of(ada), Voice.HR, StatementKind.LEAVES)
    del counted[:]

    answer = directory.patch(f"/Users/{ada}", {"op": "replace", "path": "title", "value": "Still here?"})

    assert (answer.status, answer.document["active"], answer.document["title"]) == (200, False, "Still here?")
    assert (counted, str(person_of(ada).standing)) == ([], "departed")


def test_whoever_is_not_active_any_more_is_off(urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("ada", "POST", "/Users", ADA)
        twin.tell("", "PATCH", "/Users/{ada}", change("remove", "active"))
        twin.tell("", "PATCH", "/Users/{ada}", change("replace", None, {"active": True, "title": ADA["title"]}))

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == ["post_user", "patch_user", "patch_user"]


def test_a_name_said_twice_is_refused(directory: Directory, counted: list[str]) -> None:
    set_brake("off")
    ada = directory.add_user("ada")
    del counted[:]

    answer = directory.send("PATCH", f"/Users/{ada}", '{"Operations": [{"op": "replace", "path": "title", "path": "nickName", "value": "x"}]}')

    assert (answer.status, "said twice" in answer.text) == (400, True)
    assert counted == []


def test_of_somebody_elses_user_nothing_is_found_out(directory: Directory, counted: list[str]) -> None:
    set_brake("off")
    ada, bob = directory.add_user("ada"), directory.add_user("bob")
    assert directory.send("DELETE", f"/Users/{bob}").status == 204
    beside = directory.beside("entra")
    beside.send("GET", "/ServiceProviderConfig")
    del counted[:]

    said = {"op": "replace", "path": "title", "value": "Mine now"}
    answers = [who.patch(f"/Users/{one}", said).status for who, one in ((beside, ada), (beside, "nobody"), (directory, bob))]

    assert (answers, counted) == ([404] * 3, [])
    assert "title" not in directory.send("GET", f"/Users/{ada}").document


def test_nobody_who_was_switched_off_meanwhile_is_changed_into_one_who_is_on(directory: Directory, counted: list[str]) -> None:
    set_brake("off")
    ada = directory.add_user("ada")
    off(directory, ada)

    answer = directory.send("PUT", f"/Users/{ada}", {"userName": "ada", "title": "Gone"})

    assert (answer.status, answer.document["active"], str(person_of(ada).standing)) == (200, False, "departed")
