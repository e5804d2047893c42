"""Requests that arrive together, as a directory sends them after a time-out or from several of its own workers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tests.clients.directory import Directory, directory_on
from tests.clients.transcript import Answer


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
