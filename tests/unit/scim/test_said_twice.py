"""Names that a body says twice: of what is to be done nobody guesses, in a resource the last counts."""

from typing import Any

import pytest

from tests.clients.directory import PATCH_URN, Directory
from tests.unit.scim.bulking import BULK_URN, bulk, is_refused, names, patch, send, statuses, user
from tests.unit.scim.choosing import OFF, ON, get, group_with, members_of
from tests.unit.scim.extending import says
from tests.unit.scim.test_search import SEARCH_URN


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"Operations": [ON], "operations": [OFF]}, "Operations"),
        ({"Operations": [], "schemas": [PATCH_URN], "SCHEMAS": []}, "schemas"),
        ({"Operations": [OFF, {**OFF, "Op": "add"}]}, "operation 2: op"),
        ({"Operations": [{**OFF, "PATH": "title"}]}, "operation 1: path"),
        ({"Operations": [{**ON, "Value": False}]}, "operation 1: value"),
        ({"Operations": [{**ON, "VALUE": True}]}, "operation 1: value"),
    ],
)
def test_a_patch_that_can_be_read_in_two_ways_is_refused(directory: Directory, body: Any, name: str) -> None:
    ada = directory.add_user("ada", title="x")
    ants = group_with(directory, ada)
    before = directory.written()

    answers = [directory.send("PATCH", path, body) for path in (f"/Users/{ada}", f"/Groups/{ants}")]

    assert all(says(answer, "invalidSyntax", f"{name} is said twice") for answer in answers)
    assert directory.written() == before


TWICE = [
    ('{"Operations":[{OFF,"value":true}]}', "operation 1: value"),
    ('{"Operations":[{OFF,"v\\u0061lue":true}]}', "operation 1: value"),
    ('{"Operations":[{OFF},{OFF,"op":"add"}]}', "operation 2: op"),
    ('{"Operations":[{"path":"title",OFF}]}', "operation 1: path"),
    ('{"Operations":[{OFF}],"Operations":[]}', "Operations"),
    ('{"schemas":["PATCH"],"schemas":[],"Operations":[{OFF}]}', "schemas"),
    ('{"Operations":[{"op":"add","path":"members","value":[{"value":"ADA"}],"value":[]}]}', "operation 1: value"),
    ('{"Operations":[{"op":"add","op":"remove","path":"members","value":[{"value":"ADA"}]}]}', "operation 1: op"),
    ('{"Operations":[],"Operations":[{"op":"remove","path":"members","value":[{"value":"ADA"}]}]}', "Operations"),
]


def _written(text: str, **words: str) -> str:
    usual = {"OFF": '"op":"replace","path":"active","value":false', "PATCH": PATCH_URN, "BULK": BULK_URN, "SEARCH": SEARCH_URN}
    for word, meant in (usual | words).items():
        text = text.replace(word, meant)
    return text


@pytest.mark.usefixtures("door")
@pytest.mark.parametrize(("body", "name"), TWICE)
def test_a_patch_that_says_a_name_twice_in_the_same_letters_is_refused(directory: Directory, body: str, name: str) -> None:
    ada = directory.add_user("ada", title="x")
    ants = group_with(directory, ada)
    before, said = directory.written(), _written(body, ADA=ada)

    answers = [directory.send("PATCH", path, said) for path in (f"/Users/{ada}", f"/Groups/{ants}")]
    in_bulk = [_in_bulk(directory, path, said, method) for path in (f"/Users/{ada}", f"/Groups/{ants}") for method in ("method", "Method")]

    assert all(says(answer, "invalidSyntax", f"{name} is said twice") for answer in answers)
    assert all(is_refused(told, "400", "invalidSyntax") and name in told["response"]["detail"] for told in in_bulk)
    assert directory.written() == before


def _in_bulk(directory: Directory, path: str, said: str, method: str) -> dict[str, Any]:
    """What became of a PATCH, the name of whose method is written so."""
    operation = f'{{"{method}":"PATCH","path":"{path}","data":{said}}}'
    raw = _written('{"schemas":["BULK"],"Operations":[ONE]}', ONE=operation)
    told: dict[str, Any] = directory.send("POST", "/Bulk", raw).document["Operations"][0]
    return told


def test_a_bulk_or_search_that_says_a_name_twice_in_the_same_letters_is_refused(directory: Directory) -> None:
    twice = '{"method":"POST","path":"/Users","bulkId":"a","data":{"userName":"a"},"data":{"userName":"b"}}'
    once = '{"method":"POST","path":"/Users","bulkId":"c","data":{"userName":"c","title":"x","title":"y"}}'
    bulked = _written('{"schemas":["BULK"],"Operations":[TWICE,ONCE]}', TWICE=twice, ONCE=once)
    searched = _written('{"schemas":["SEARCH"],"count":1,"count":2}')

    told = directory.send("POST", "/Bulk", bulked).document["Operations"]

    assert is_refused(told[0], "400", "invalidSyntax") and "data is said twice" in told[0]["response"]["detail"]
    assert (told[1]["status"], names(directory)) == ("201", ["c"])
    assert says(directory.send("POST", "/Bulk", bulked[:-1] + ',"Operations":[]}'), "invalidSyntax", "Operations is said twice")
    assert says(directory.send("POST", "/.search", searched), "invalidSyntax", "count is said twice")


def test_of_what_a_patch_says_of_a_resource_the_last_word_counts(directory: Directory) -> None:
    ada = directory.add_user("ada")

    answer = directory.send("PATCH", f"/Users/{ada}", '{"Operations":[{"op":"replace","value":{"title":"x","title":"y","custom":{"a":1,"a":2}}}]}')
    refused = directory.send("PATCH", f"/Users/{ada}", '{"Operations":[{"op":"replace","path":"title","value":{"a":1,"a":2}}]}')

    assert (answer.status, answer.document["title"], get(directory, f"/Users/{ada}")["custom"]) == (200, "y", {"a": 2})
    assert says(refused, "invalidValue", "title must be a text, not an object")


@pytest.mark.parametrize("more", [{"operations": []}, {"FailOnErrors": 1, "failOnErrors": 2}, {"Schemas": []}])
def test_a_bulk_that_can_be_read_in_two_ways_is_refused(directory: Directory, more: Any) -> None:
    assert says(send(directory, user("a"), **more), "invalidSyntax", "is said twice")
    assert names(directory) == []


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"Method": "DELETE"}, "method"),
        ({"PATH": "/Users/x"}, "path"),
        ({"Data": {"userName": "x"}}, "data"),
        ({"VERSION": 'W/"7"'}, "version"),
        ({"bulkid": "y"}, "bulkId"),
    ],
)
def test_an_operation_of_a_bulk_that_can_be_read_in_two_ways_fails_alone(directory: Directory, more: Any, name: str) -> None:
    ada = directory.add_user("ada")
    bad = {"method": "PUT", "path": f"/Users/{ada}", "bulkId": "x", "version": 'W/"1"', "data": {"userName": "other"}, **more}

    told = bulk(directory, bad, patch(f"/Users/{ada}", OFF))

    assert statuses(told) == ["400", "200"] and is_refused(told[0], "400", "invalidSyntax")
    assert f"{name} is said twice" in told[0]["response"]["detail"]
    assert (names(directory), get(directory, f"/Users/{ada}")["active"]) == (["ada"], False)


@pytest.mark.parametrize("name", ["schemas", "filter", "sortBy", "sortOrder", "startIndex", "count", "cursor", "attributes", "excludedAttributes"])
def test_a_search_that_can_be_read_in_two_ways_is_refused(directory: Directory, name: str) -> None:
    asked: dict[str, Any] = {"schemas": [SEARCH_URN], name: None, name.upper(): None}

    assert says(directory.send("POST", "/.search", asked), "invalidSyntax", f"{name} is said twice")


def test_in_a_resource_the_last_word_counts(directory: Directory) -> None:
    ada, bob = directory.add_user("ada"), directory.add_user("bob")
    ants = group_with(directory, ada)

    put = directory.send("PUT", f"/Users/{ada}", '{"userName":"ada","active":true,"Active":false,"ACTIVE":null}')
    patched = directory.patch(f"/Users/{bob}", {"op": "replace", "value": {"active": True, "Active": False}})
    made = directory.send("POST", "/Groups", {"displayName": "bees", "members": [{"value": ada}], "Members": [{"value": bob}]})
    directory.send("PUT", f"/Groups/{ants}", {"displayName": "ants", "MEMBERS": [{"value": ada}], "members": [{"value": ada, "Value": bob}]})

    assert (put.document["active"], patched.document["active"]) == (False, False)
    assert members_of(directory, made.document["id"]) == members_of(directory, ants) == [bob]
