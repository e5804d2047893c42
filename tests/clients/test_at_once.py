"""Requests that arrive together, as a directory sends them after a time-out or from several of its own workers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.clients.directory import Directory, directory_on
from tests.clients.transcript import Answer
from tests.unit.scim.choosing import departures_of, members_of, person_of

pytestmark = pytest.mark.slow


def _at_once(directory: Directory, number: int, act: Callable[[Directory, int], Answer]) -> list[Answer]:
    with ThreadPoolExecutor(number) as threads:
        each = [replace(directory, http=directory.app.test_client()) for _ in range(number)]
        return list(threads.map(act, each, range(number)))


def test_the_same_create_sent_at_once_makes_one_user(database_url: str, tmp_path: Path) -> None:
    with directory_on(database_url, tmp_path) as directory:
        answers = _at_once(directory, 6, lambda client, _: client.send("POST", "/Users", {"userName": "ada"}))

        listed = directory.send("GET", "/Users").document

    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409, 409, 409]
    assert listed["totalResults"] == 1


def test_members_added_at_once_are_all_there(database_url: str, tmp_path: Path) -> None:
    with directory_on(database_url, tmp_path) as directory:
        ids = [directory.add_user(f"user{number}") for number in range(10)]
        group = directory.send("POST", "/Groups", {"displayName": "Everyone"}).document["id"]

        answers = _at_once(
            directory,
            len(ids),
            lambda client, number: client.patch(
                f"/Groups/{group}", {"op": "add", "path": "members", "value": [{"value": ids[number]}]}
            ),
        )

        members = directory.send("GET", f"/Groups/{group}").document["members"]

    assert {answer.status for answer in answers} == {204}
    assert sorted(member["value"] for member in members) == sorted(ids)


@pytest.mark.parametrize(
    ("path", "name"), [("/Users", "userName"), ("/Users", "externalId"), ("/Groups", "displayName"), ("/Groups", "externalId")]
)
def test_of_creates_at_once_one_is_made_and_the_others_are_conflicts(database_url: str, tmp_path: Path, path: str, name: str) -> None:
    main = "userName" if path == "/Users" else "displayName"
    with directory_on(database_url, tmp_path) as directory:
        answers = _at_once(directory, 5, lambda client, number: client.send("POST", path, {main: f"x{number}", **{name: "the same"}}))

        listed = directory.send("GET", path).document

    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409, 409]
    assert {answer.document["scimType"] for answer in answers if answer.status == 409} == {"uniqueness"}
    assert listed["totalResults"] == 1


def test_two_changes_of_one_group_at_once_both_count(database_url: str, tmp_path: Path) -> None:
    with directory_on(database_url, tmp_path) as directory:
        old, new = directory.add_user("old"), directory.add_user("new")
        for number in range(5):
            group = directory.send("POST", "/Groups", {"displayName": f"g{number}", "members": [{"value": old}]}).document["id"]
            changes: list[dict[str, Any]] = [
                {"op": "add", "path": "members", "value": [{"value": new}]},
                {"op": "remove", "path": f'members[value eq "{old}"]'},
                {"op": "replace", "path": "displayName", "value": f"renamed{number}"},
                {"op": "replace", "path": "externalId", "value": f"key{number}"},
            ]

            answers = _at_once(directory, len(changes), lambda client, one, group=group, changes=changes: client.patch(f"/Groups/{group}", changes[one]))  # type: ignore[misc]  # a lambda's defaults have no types

            shown = directory.send("GET", f"/Groups/{group}").document
            assert {answer.status for answer in answers} == {204}
            assert [member["value"] for member in shown["members"]] == [new]
            assert (shown["displayName"], shown["externalId"], shown["meta"]["version"]) == (f"renamed{number}", f"key{number}", 'W/"5"')


def test_two_changes_of_one_user_at_once_both_count(database_url: str, tmp_path: Path) -> None:
    names = ("title", "nickName", "displayName", "locale", "userType", "timezone")
    with directory_on(database_url, tmp_path) as directory:
        ada = directory.add_user("ada")

        answers = _at_once(
            directory, len(names), lambda client, number: client.patch(f"/Users/{ada}", {"op": "add", "path": names[number], "value": "said"})
        )

        shown = directory.send("GET", f"/Users/{ada}").document

    assert {answer.status for answer in answers} == {200}
    assert [shown.get(name) for name in names] == ["said"] * len(names)
    assert shown["meta"]["version"] == f'W/"{len(names) + 1}"'


def test_a_deactivation_that_arrives_while_updates_are_under_way_wins(database_url: str, tmp_path: Path) -> None:
    def said(client: Directory, number: int, ada: str) -> Answer:
        if number == 3:
            return client.patch(f"/Users/{ada}", {"op": "replace", "path": "active", "value": False})
        if number % 2:
            return client.patch(f"/Users/{ada}", {"op": "replace", "path": "title", "value": f"t{number}"})
        # Neither of these says anything of `active`, so none may bring back what it read before the deactivation.
        return client.send("PUT", f"/Users/{ada}", {"userName": "ada", "nickName": f"n{number}"})

    with directory_on(database_url, tmp_path) as directory, directory.app.app_context():
        for _ in range(5):
            ada = directory.add_user("ada")

            answers = _at_once(directory, 8, lambda client, number, ada=ada: said(client, number, ada))  # type: ignore[misc]  # a lambda's defaults have no types

            person = person_of(ada)
            assert {answer.status for answer in answers} == {200}
            assert answers[3].document["active"] is False
            assert directory.send("GET", f"/Users/{ada}").document["active"] is False
            assert (person.standing, len(departures_of(person))) == ("departed", 1)
            directory.send("DELETE", f"/Users/{ada}")


def test_a_user_who_is_deleted_while_joining_a_group_is_in_no_group(database_url: str, tmp_path: Path) -> None:
    with directory_on(database_url, tmp_path) as directory, directory.app.app_context():
        group = directory.send("POST", "/Groups", {"displayName": "Everyone"}).document["id"]
        for number in range(8):
            ada = directory.add_user(f"ada{number}")

            def act(client: Directory, one: int, ada: str = ada) -> Answer:
                if one:
                    return client.patch(f"/Groups/{group}", {"op": "add", "path": "members", "value": [{"value": ada}]})
                return client.send("DELETE", f"/Users/{ada}")

            deleted, added = _at_once(directory, 2, act)

            assert deleted.status == 204
            assert added.status in (204, 400)
            assert members_of(directory, group) == []


def test_a_create_that_joins_somebody_who_is_changed_at_the_same_moment_is_made(database_url: str, tmp_path: Path) -> None:
    urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    with directory_on(database_url, tmp_path) as directory:
        entra = directory.beside("entra")
        for number in range(8):
            said = {urn: {"employeeNumber": f"E-{number}"}}
            ada = directory.add_user(f"ada{number}", **said)

            def act(client: Directory, one: int, number: int = number, ada: str = ada, said: dict[str, Any] = said) -> Answer:
                if one % 2:
                    return client.patch(f"/Users/{ada}", {"op": "replace", "path": "title", "value": f"t{one}"})
                there = replace(client, source_id=entra.source_id, token=entra.token)
                return there.send("POST", "/Users", {"userName": f"ada{number}-{one}", f"only{one}": "said", **said})

            answers = _at_once(directory, 6, act)

            assert sorted(answer.status for answer in answers) == [200, 200, 200, 201, 201, 201]


def test_a_repeated_request_changes_neither_version_nor_journal(database_url: str, tmp_path: Path) -> None:
    with directory_on(database_url, tmp_path) as directory:
        body = {"userName": "ada", "title": "x", "emails": [{"value": "a@b"}], "externalId": "1", "active": True}
        ada = directory.send("POST", "/Users", body).document["id"]
        group = directory.send("POST", "/Groups", {"displayName": "g", "members": [{"value": ada}], "externalId": "g"}).document["id"]
        user_path, group_path = f"/Users/{ada}", f"/Groups/{group}"
        repeated = [
            lambda client: client.send("PUT", user_path, body),
            lambda client: client.patch(user_path, {"op": "replace", "path": "title", "value": "x"}, {"op": "replace", "value": {"active": True}}),
            lambda client: client.patch(user_path, {"op": "add", "path": "emails", "value": [{"value": "a@b"}]}),
            lambda client: client.patch(user_path, {"op": "remove", "path": "nickName"}),
            lambda client: client.send("PUT", group_path, {"displayName": "g", "members": [{"value": ada}], "externalId": "g"}),
            lambda client: client.patch(group_path, {"op": "add", "path": "members", "value": [{"value": ada}]}),
            lambda client: client.patch(group_path, {"op": "replace", "path": "members", "value": [{"value": ada}]}),
            lambda client: client.patch(group_path, {"op": "replace", "path": "displayName", "value": "g"}),
        ]
        before = [directory.send("GET", path).text for path in (user_path, group_path)], directory.written()

        answers = [answer for act in repeated for answer in _at_once(directory, 3, lambda client, _, act=act: act(client))]  # type: ignore[misc]  # a lambda's defaults have no types

        assert {answer.status for answer in answers} == {200, 204}
        assert ([directory.send("GET", path).text for path in (user_path, group_path)], directory.written()) == before


@pytest.mark.parametrize("kind", ["Users", "Groups"])
def test_of_requests_from_one_version_at_once_one_is_done_and_the_others_are_stale(database_url: str, tmp_path: Path, kind: str) -> None:
    name = "userName" if kind == "Users" else "displayName"
    with directory_on(database_url, tmp_path) as directory:
        made = directory.send("POST", f"/{kind}", {name: "x"}).document
        path, version = f"/{kind}/{made['id']}", made["meta"]["version"]

        answers = _at_once(directory, 5, lambda client, number: client.send("PUT", path, {name: f"x{number}"}, If_Match=version))
        gone = directory.send("DELETE", path, If_Match=version)

        shown = directory.send("GET", path).document

    assert sorted(answer.status for answer in answers) == [200, 412, 412, 412, 412]
    assert gone.status == 412
    assert shown["meta"]["version"] == 'W/"2"'
    assert shown[name] == next(answer.document[name] for answer in answers if answer.status == 200)


def test_a_member_is_shown_under_its_name_and_a_user_with_its_groups(
    database_url: str, tmp_path: Path
) -> None:
    with directory_on(database_url, tmp_path) as directory:
        ada = directory.add_user("ada", displayName="Ada")
        group = directory.send(
            "POST", "/Groups", {"displayName": "Eng", "members": [{"value": ada}]}
        ).document

        user = directory.send("GET", f"/Users/{ada}").document
        short = directory.send("GET", f"/Groups/{group['id']}?excludedAttributes=members").document
        only = directory.send("GET", "/Users?attributes=userName,groups.display").document["Resources"]

    assert [(member["value"], member["display"]) for member in group["members"]] == [(ada, "Ada")]
    assert [(element["value"], element["display"]) for element in user["groups"]] == [(group["id"], "Eng")]
    assert "members" not in short
    assert [{key: value for key, value in each.items() if key not in ("id", "schemas")} for each in only] == [
        {"userName": "ada", "groups": [{"display": "Eng"}]}
    ]
