"""A number in the place of a truth, or the other way about, is another value: Python alone takes them for the same."""

from typing import Any

import pytest

from app.database import same_document
from tests.clients.directory import Directory
from tests.unit.scim.choosing import get, group_with, person_of
from tests.unit.scim.extending import HR, attribute, declares, kept, says


@pytest.mark.parametrize(("was", "now"), [(1, True), (True, 1), (0, False), (False, 0), ([1], [True]), ({"a": {"b": 0}}, {"a": {"b": False}})])
@pytest.mark.parametrize("more", [{}, {"active": False}])
def test_a_user_becomes_what_was_said(directory: Directory, was: Any, now: Any, more: dict[str, Any]) -> None:
    ada = directory.add_user("ada", level=was)

    answer = directory.send("PUT", f"/Users/{ada}", {"userName": "ada", "level": now, **more})

    shown = get(directory, f"/Users/{ada}")
    assert repr(shown["level"]) == repr(answer.document["level"]) == repr(now)
    assert shown["meta"]["version"] == 'W/"2"'
    assert repr(person_of(ada).document["level"]) == repr(now)
    assert directory.patch(f"/Users/{ada}", {"op": "replace", "path": "level", "value": was}).document["level"] == was
    assert repr(get(directory, f"/Users/{ada}")["level"]) == repr(was)


def test_a_group_becomes_what_was_said(directory: Directory) -> None:
    group = group_with(directory)
    for said in (1, True, 1, False, 0):
        assert directory.send("PUT", f"/Groups/{group}", {"displayName": "Engineers", "level": said}).status == 200
        assert repr(get(directory, f"/Groups/{group}")["level"]) == repr(said)


def test_elements_of_a_list_are_told_apart(directory: Directory) -> None:
    ada = directory.add_user("ada", marks=[1, 0], rows=[{"value": 1, "remark": "n"}])

    def after(name: str, verb: str, value: Any, below: str = "") -> str:
        answer = directory.patch(f"/Users/{ada}", {"op": verb, "path": name + below, "value": value})
        assert answer.status == 200, answer.text
        return repr(answer.document[name])

    assert after("marks", "add", [True, 1.0, 0, "1"]) == "[1, 0, True, '1']"
    assert after("marks", "remove", [False]) == "[1, 0, True, '1']"
    assert after("marks", "remove", [True]) == "[1, 0, '1']"
    assert after("marks", "remove", [1]) == "[0, '1']"
    assert after("rows", "add", [{"value": True}]) == "[{'value': 1, 'remark': 'n'}, {'value': True}]"
    assert after("rows", "remove", True, '[remark eq "n"].value') == "[{'value': 1, 'remark': 'n'}, {'value': True}]"


def test_a_truth_is_no_whole_number_in_a_declared_list(directory: Directory) -> None:
    declares(attribute("marks", "integer", multiValued=True))
    ada = directory.add_user("ada", **{HR: {"marks": [1, 2]}})

    assert says(directory.patch(f"/Users/{ada}", {"op": "add", "path": f"{HR}:marks", "value": [True]}), "invalidValue", "a whole number")
    assert directory.patch(f"/Users/{ada}", {"op": "remove", "path": f"{HR}:marks", "value": [True]}).status == 200
    assert kept(directory, ada) == {"marks": [1, 2]}


def test_what_is_the_same_is_told_from_what_is_not() -> None:
    document = {"a": [1, 2.0, "x", None, True], "b": {"c": False}}

    assert same_document(document, {"b": {"c": False}, "a": [1.0, 2, "x", None, True]})
    for other in ({"a": [1, 2.0, "x", None, 1], "b": {"c": False}}, {**document, "b": {"c": 0}}, {**document, "d": 1}, {"a": document["a"]}, None):
        assert not same_document(document, other)
