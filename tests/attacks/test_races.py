"""P11, P12, P13: requests that arrive together, too late, or in the wrong order."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from app.directory.tables import StatementKind, Voice
from tests.clients.directory import Directory
from tests.clients.transcript import Answer
from tests.unit.scim.choosing import OFF, ON, departures_of, get, person_of, says


def _at_once(directory: Directory, acts: list[Callable[[Directory], Answer]]) -> list[Answer]:
    with ThreadPoolExecutor(len(acts)) as threads:
        return list(threads.map(lambda act: act(replace(directory, http=directory.app.test_client())), acts))


@pytest.mark.parametrize(
    ("path", "bodies"),
    [
        ("/Users", [{"userName": "ada"}, {"userName": "ADA"}, {"userName": "ａｄａ"}, {"userName": "ada", "externalId": "1"}]),
        ("/Users", [{"userName": f"user{number}", "externalId": "one key"} for number in range(4)]),
        ("/Groups", [{"displayName": "Eng"}, {"displayName": "ENG"}, {"displayName": "eng "}, {"displayName": "Eng", "externalId": "g"}]),
        ("/Groups", [{"displayName": f"group{number}", "externalId": "one key"} for number in range(4)]),
    ],
)
def test_p11_of_creates_at_once_one_is_made_and_the_others_hear_why_not(
    directory: Directory, path: str, bodies: list[dict[str, str]]
) -> None:
    def created(body: dict[str, str]) -> Callable[[Directory], Answer]:
        return lambda client: client.send("POST", path, body)

    answers = _at_once(directory, [created(body) for body in bodies])

    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]
    assert {answer.document["scimType"] for answer in answers if answer.status == 409} == {"uniqueness"}
    assert directory.send("GET", path).document["totalResults"] == 1


def test_p12_what_was_changed_meanwhile_is_not_written_over(directory: Directory) -> None:
    ada = directory.add_user("ada", title="one")
    seen = get(directory, f"/Users/{ada}")["meta"]["version"]
    directory.send("PUT", f"/Users/{ada}", {"userName": "ada", "title": "two"})
    stale = [
        directory.send("PUT", f"/Users/{ada}", {"userName": "ada", "title": "three"}, If_Match=tag)
        for tag in (seen, seen.removeprefix("W/"), f"  {seen} ", 'W/"0"', 'W/"99"', '"x"', 'W/"1e0"', 'W/"１"', "1; DROP", '""')
    ]
    patched = directory.send("PATCH", f"/Users/{ada}", {"Operations": [{"op": "replace", "value": {"title": "three"}}]}, If_Match=seen)

    assert {answer.status for answer in (*stale, patched)} == {412}
    assert get(directory, f"/Users/{ada}")["title"] == "two"


def test_p12_without_a_version_or_with_a_star_the_last_word_counts(directory: Directory) -> None:
    ada = directory.add_user("ada")

    for title, tag in (("one", ""), ("two", "*"), ("three", None)):
        standing = get(directory, f"/Users/{ada}")["meta"]["version"] if tag is None else tag
        answer = directory.send("PUT", f"/Users/{ada}", {"userName": "ada", "title": title}, If_Match=standing)
        assert (answer.status, answer.document["title"]) == (200, title)
    assert directory.send("PUT", "/Users/nobody", {"userName": "x"}, If_Match="*").status == 404


def test_p12_of_two_changes_from_one_version_one_is_made(directory: Directory) -> None:
    ada = directory.add_user("ada")
    version = get(directory, f"/Users/{ada}")["meta"]["version"]

    def titled(title: str) -> Callable[[Directory], Answer]:
        return lambda client: client.send("PUT", f"/Users/{ada}", {"userName": "ada", "title": title}, If_Match=version)

    answers = _at_once(directory, [titled(title) for title in ("a", "b", "c", "d")])

    assert sorted(answer.status for answer in answers) == [200, 412, 412, 412]
    assert get(directory, f"/Users/{ada}")["title"] == next(answer.document["title"] for answer in answers if answer.status == 200)


def test_p13_a_profile_that_comes_late_does_not_bring_somebody_back(directory: Directory) -> None:
    ada = directory.add_user("ada")
    version = get(directory, f"/Users/{ada}")["meta"]["version"]
    directory.patch(f"/Users/{ada}", OFF)

    late = directory.send("PUT", f"/Users/{ada}", {"userName": "ada", "active": True, "title": "x"}, If_Match=version)
    silent = directory.send("PUT", f"/Users/{ada}", {"userName": "ada", "title": "x"})

    assert late.status == 412
    assert (silent.status, silent.document["active"]) == (200, False)
    assert person_of(ada).standing == "departed"


@pytest.mark.parametrize(
    ("voice", "kind"), [(Voice.HR, StatementKind.LEAVES), (Voice.OPERATOR, StatementKind.LEAVES), (Voice.OPERATOR, StatementKind.BARS)]
)
def test_p13_a_directory_that_pushes_everybody_again_revives_nobody_whom_others_took_out(
    directory: Directory, voice: Voice, kind: StatementKind
) -> None:
    ada = directory.add_user("ada", externalId="1")
    says(person_of(ada), voice, kind)
    out = person_of(ada)

    answers = [
        directory.send("PUT", f"/Users/{ada}", {"userName": "ada", "externalId": "1", "active": True}),
        directory.patch(f"/Users/{ada}", ON),
        directory.patch(f"/Users/{ada}", {"op": "Replace", "path": "active", "value": "True"}),
        directory.patch(f"/Users/{ada}", {"op": "add", "value": {"active": True}}),
    ]

    assert [(answer.status, answer.document["active"]) for answer in answers] == [(200, False)] * 4
    assert (person_of(ada).standing, person_of(ada).access_epoch) == ("departed", out.access_epoch)
    assert len(departures_of(out)) == 1


def test_p13_the_same_directory_takes_its_own_off_back(directory: Directory) -> None:
    ada = directory.add_user("ada")
    directory.patch(f"/Users/{ada}", OFF)

    answer = directory.patch(f"/Users/{ada}", ON)

    assert (answer.status, answer.document["active"]) == (200, True)
    assert person_of(ada).standing == "active"
