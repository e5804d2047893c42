"""Names that a body says twice in different letters: of what is to be done nobody guesses, in a resource the last counts."""

from typing import Any

import pytest

from tests.clients.directory import PATCH_URN, Directory
from tests.unit.scim.bulking import bulk, is_refused, names, patch, send, statuses, user
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
