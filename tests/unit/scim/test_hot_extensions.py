"""Extensions of an organisation's own are written by the hot paths as by the ordinary way, by the schemas that stand at that moment."""

from pathlib import Path
from typing import Any

import pytest

from app.directory.vocabulary import ENTERPRISE_URN
from tests.clients.directory import Directory
from tests.unit.scim.choosing import set_brake
from tests.unit.scim.extending import HR, USUAL, attribute, declares, kept, takes_back
from tests.unit.scim.twins import ADA, Twin, active, both_ways, change, set_up

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("way")]
BADGE = "urn:x:own:2.0:Badge"
SAID = {"Grade": 7, "remote": "True", "site": "Zürich", "badges": [{"NUMBER": 1, "primary": "true"}], "more": {"n": 1.0}}


def everyday(twin: Twin, name: str) -> None:
    person = {**ADA, "userName": name, "externalId": f"x-{name}"}
    twin.tell(name, "POST", "/Users", {**person, HR: SAID, BADGE.upper(): {"Number": 7}})
    twin.tell("", "PATCH", f"/Users/{{{name}}}", change("replace", f"{HR}:grade", 8))
    twin.tell("", "PATCH", f"/Users/{{{name}}}", change("Add", None, {HR.upper(): {"SITE": "Basel"}, ENTERPRISE_URN: {"department": "Sales"}}))
    twin.tell("", "PATCH", f"/Users/{{{name}}}", change("remove", BADGE))
    twin.tell("", "PUT", f"/Users/{{{name}}}", {**person, HR: {**SAID, "grade": 9}})
    twin.tell("", "PATCH", f"/Users/{{{name}}}", active(False))


@pytest.mark.parametrize("declared", [False, True])
def test_what_is_declared_or_not_leaves_the_same_rows(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str], declared: bool
) -> None:
    def story(twin: Twin) -> None:
        if declared:
            declares(*USUAL)
        set_up(twin)
        everyday(twin, "ada")
        twin.tell("", "GET", "/Users/{ada}")

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == ["post_user", *["patch_user"] * 3, "put_user", "patch_user", "get_user"]


def test_a_schema_that_was_declared_since_is_heard_at_once(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    said = [change("replace", f"{HR}:GRADE", 1), change("replace", f"{HR}:GRADE", 2)]

    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("dee", "POST", "/Users", {"userName": "dee"})
        for name, attributes in (("ada", USUAL), ("bob", ()), ("cy", (attribute("Grade", "integer"),))):
            everyday(twin, name)
            if attributes:
                declares(*attributes)
            else:
                takes_back()
            # The first takes the ordinary way, which learns of it.
            for one in said:
                twin.tell("", "PATCH", "/Users/{dee}", one)

    both_ways(urls, tmp_path, monkeypatch, story)

    usual = ["post_user", *["patch_user"] * 3, "put_user", "patch_user"]
    assert counted == ["post_user", *[*usual, "patch_user"] * 3]


def test_whoever_joins_meanwhile_is_read_by_it(directory: Directory, counted: list[str]) -> None:
    directory.send("GET", "/ServiceProviderConfig")
    directory.add_user("ada", **{HR: {"GRADE": 7}})
    declares(*USUAL)

    bob, cy = (directory.add_user(name, **{HR: {"GRADE": 7}}) for name in ("bob", "cy"))

    assert counted == ["post_user", "post_user"]
    assert [kept(directory, one) for one in (bob, cy)] == [{"grade": 7}] * 2


@pytest.mark.parametrize("said", [{"grade": "seven"}, {"badges": [{"type": "x"}]}, {"startDate": "tomorrow"}])
def test_what_is_wrong_in_one_is_said_in_words(directory: Directory, counted: list[str], said: dict[str, Any]) -> None:
    set_brake("off")
    declares(*USUAL)
    ada = directory.add_user("ada")
    del counted[:]

    answers = [
        directory.send("POST", "/Users", {"userName": "bob", HR: said}), directory.send("PUT", f"/Users/{ada}", {"userName": "ada", HR: said}),
        directory.patch(f"/Users/{ada}", {"op": "replace", "value": {HR: said}}),
    ]  # fmt: skip

    assert [answer.status for answer in answers] == [400] * 3
    assert all(HR in answer.document["detail"] for answer in answers)
    assert counted == []


def test_what_nobody_is_shown_is_left_to_the_ordinary_way(directory: Directory, counted: list[str]) -> None:
    set_brake("off")
    ada = directory.add_user("ada")
    declares(attribute("salary", "integer", returned="never"), attribute("site"))
    del counted[:]

    answer = directory.send("PUT", f"/Users/{ada}", {"userName": "ada", HR: {"salary": 1, "site": "Basel"}})

    assert (answer.status, answer.document[HR], kept(directory, ada)) == (200, {"site": "Basel"}, {"site": "Basel"})
    assert counted == []
