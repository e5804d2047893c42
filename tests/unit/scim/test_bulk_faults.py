"""Bulk: what is wrong with the text of one operation ends that one alone, as it would have ended a request of its own."""

import json
import time
from typing import Any

import pytest

from app.json_text import DEEPEST
from tests.clients.directory import Directory
from tests.unit.scim.bulking import bulk, is_refused, names, patch, send, statuses, user
from tests.unit.scim.choosing import OFF, get


def _nested(deep: int) -> Any:
    value: Any = "x"
    for _ in range(deep):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"title": "x\0y"}, "invalidValue"),
        ({"title": "\ud800"}, "invalidValue"),
        ({"x\udfff": "y"}, "invalidValue"),
        ({"emails": [{"value": "a\0b"}]}, "invalidValue"),
        ({"badge": _nested(DEEPEST)}, "invalidSyntax"),
        ({"badge": _nested(200)}, "invalidSyntax"),
    ],
    ids=["nul", "half a pair", "in a name", "in a list", "too deep", "much too deep"],
)
def test_what_no_database_can_hold_fails_its_own_operation_as_it_does_alone(directory: Directory, said: Any, problem: str) -> None:
    ada, leaver = directory.add_user("ada"), directory.add_user("leaver")
    bad = {"userName": "bad", **said}
    alone = directory.send("POST", "/Users", bad)
    put_alone = directory.send("PUT", f"/Users/{ada}", bad)

    told = bulk(
        directory,
        user("a", "first"),
        {"method": "POST", "path": "/Users", "bulkId": "bad", "data": bad},
        {"method": "PUT", "path": f"/Users/{ada}", "data": bad},
        patch(f"/Users/{ada}", OFF),
        {"method": "DELETE", "path": f"/Users/{leaver}"},
        patch("/Users/bulkId:bad", OFF),
    )

    assert statuses(told) == ["201", "400", "400", "200", "204", "409"]
    assert is_refused(told[1], "400", problem)
    assert [one["response"] for one in told[1:3]] == [alone.document, put_alone.document]
    assert (told[1]["bulkId"], told[2]["location"]) == ("bad", get(directory, f"/Users/{ada}")["meta"]["location"])
    assert names(directory) == ["ada", "first"]
    assert get(directory, f"/Users/{ada}")["active"] is False


def test_what_is_taken_alone_is_taken_in_a_bulk(directory: Directory) -> None:
    deepest = _nested(DEEPEST - 1)

    assert directory.send("POST", "/Users", {"userName": "alone", "badge": deepest}).status == 201
    assert statuses(bulk(directory, user("a", "within", badge=deepest), *(user(f"b{number}") for number in range(40)))) == ["201"] * 41
    assert get(directory, "/Users?filter=userName%20eq%20%22within%22")["Resources"][0]["badge"] == deepest


@pytest.mark.parametrize("bad", ["\0", "\ud800"])
@pytest.mark.parametrize("name", ["method", "path", "bulkId", "version"])
def test_an_operation_that_cannot_be_told_of_fails_alone_and_is_told_of_without_it(directory: Directory, name: str, bad: str) -> None:
    ada = directory.add_user("ada")
    usual: dict[str, Any] = {"method": "PUT", "path": f"/Users/{ada}", "bulkId": "b", "version": 'W/"1"', "data": {"userName": "other"}}

    told = bulk(directory, {**usual, name: usual[name] + bad}, patch(f"/Users/{ada}", OFF))

    assert is_refused(told[0], "400", "invalidValue")
    assert name in told[0]["response"]["detail"]
    assert ("method" in told[0], "bulkId" in told[0]) == (name != "method", name != "bulkId")
    assert told[1]["status"] == "200"
    assert (names(directory), get(directory, f"/Users/{ada}")["active"]) == (["ada"], False)


def test_such_an_operation_is_one_of_the_errors_at_which_a_bulk_ends(directory: Directory) -> None:
    told = bulk(directory, user("a"), user("b", title="\0"), user("c"), failOnErrors=1)

    assert statuses(told) == ["201", "400"]
    assert names(directory) == ["a"]


def test_data_that_is_not_read_harms_nobody(directory: Directory) -> None:
    ada = directory.add_user("ada")

    assert statuses(bulk(directory, {"method": "DELETE", "path": f"/Users/{ada}", "data": {"x": "\0"}, "comment": "\ud800"})) == ["204"]


@pytest.mark.parametrize("more", [{"failOnErrors": "\0"}, {"schemas": ["\ud800"]}, {"x\0": 1}, {"comment": _nested(40)}])
def test_what_is_wrong_with_the_bulk_itself_refuses_all_of_it(directory: Directory, more: Any) -> None:
    answer = send(directory, user("a"), **more)

    assert answer.status == 400
    assert names(directory) == []


def test_what_is_no_json_or_nested_without_an_end_refuses_all_of_it_at_once(directory: Directory) -> None:
    began = time.thread_time()

    for value in ("[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000, "NaN", "[1"):
        body = json.dumps({"Operations": [user("a"), user("b", badge="HERE")]}).replace('"HERE"', value)
        answer = directory.send("POST", "/Bulk", body)
        assert (answer.status, answer.document["scimType"]) == (400, "invalidSyntax")

    assert names(directory) == []
    assert time.thread_time() - began < 10


def test_a_delete_does_not_wait_for_what_its_data_refers_to(directory: Directory) -> None:
    ada, bob = directory.add_user("ada"), directory.add_user("bob")

    told = bulk(
        directory,
        {"method": "DELETE", "path": f"/Users/{ada}", "data": {"x": "bulkId:none"}},
        {"method": "DELETE", "path": f"/Users/{bob}", "data": "bulkId:kim"},
        user("kim", "ada"),
    )

    assert statuses(told) == ["204", "204", "201"]
    assert names(directory) == ["ada"]


def test_a_version_that_is_none_is_named_as_the_operation_names_it(directory: Directory) -> None:
    ada = directory.add_user("ada")

    told = bulk(directory, patch(f"/Users/{ada}", OFF, version="yesterday"))
    alone = directory.send("DELETE", f"/Users/{ada}", If_Match="yesterday")

    assert told[0]["response"]["detail"] == "version: yesterday is no version of this resource"
    assert alone.document["detail"] == "If-Match: yesterday is no version of this resource"


def test_a_path_is_decoded_as_an_address_is(directory: Directory) -> None:
    ada, bob = directory.add_user("ada"), directory.add_user("bob")
    title = {"op": "add", "path": "title", "value": "x"}

    told = bulk(
        directory,
        patch(f"/Users/{ada.replace('-', '%2D')}", title),
        patch(f"/%55sers%2f{ada}", title),
        user("c d"),
        patch("/Users/bulkId%3Ac%20d", title),
        *({"method": "DELETE", "path": path} for path in ("/Users/%00", f"/Users/{bob}%00", "/Users/%ff", f"/Users/{bob}%2Fx", f"/Users/{bob}%3Fx")),
    )

    assert statuses(told) == ["200", "200", "201", "200", *["404"] * 5]
    assert told[0]["location"] == get(directory, f"/Users/{ada}")["meta"]["location"]
    assert get(directory, f"/Users/{bob}")["active"] is True
