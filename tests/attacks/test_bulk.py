"""P19: Bulk in circles, without an end, and as a way around what single requests are held to."""

import time
from typing import Any

from tests.clients.directory import Directory
from tests.clients.transcript import Answer
from tests.unit.scim.choosing import get, members_of, person_of, set_brake

BULK_URN = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"


def _bulk(directory: Directory, *operations: dict[str, Any], **more: Any) -> Answer:
    return directory.send("POST", "/Bulk", {"schemas": [BULK_URN], "Operations": list(operations), **more})


def _statuses(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.text
    return [one["status"] for one in answer.document["Operations"]]


def _user(name: str, **more: Any) -> dict[str, Any]:
    return {"method": "POST", "path": "/Users", "bulkId": name, "data": {"userName": name, **more}}


def test_p19_references_in_a_circle_are_resolved_or_refused_but_end(directory: Directory) -> None:
    urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    began = time.thread_time()

    answer = _bulk(
        directory,
        _user("a", **{urn: {"manager": {"value": "bulkId:b"}}}),
        _user("b", **{urn: {"manager": {"value": "bulkId:a"}}}),
        _user("c", **{urn: {"manager": {"value": "bulkId:c"}}}),
        {
            "method": "POST",
            "path": "/Groups",
            "bulkId": "g",
            "data": {"displayName": "g", "members": [{"value": "bulkId:a"}, {"value": "bulkId:later"}]},
        },
        _user("later"),
    )

    assert _statuses(answer) == ["201"] * 5
    ids = {one["bulkId"]: one["location"].rpartition("/")[2] for one in answer.document["Operations"]}
    managers = {name: get(directory, f"/Users/{ids[name]}")[urn]["manager"]["value"] for name in ("a", "b", "c")}
    assert managers == {"a": ids["b"], "b": ids["a"], "c": ids["c"]}
    assert members_of(directory, ids["g"]) == sorted([ids["a"], ids["later"]])
    assert time.thread_time() - began < 10


def test_p19_a_reference_that_leads_nowhere_makes_nothing(directory: Directory) -> None:
    answer = _bulk(
        directory,
        {"method": "POST", "path": "/Groups", "bulkId": "g", "data": {"displayName": "g", "members": [{"value": "bulkId:nobody"}]}},
        {"method": "DELETE", "path": "/Users/bulkId:nobody"},
        {"method": "PATCH", "path": "/Users/bulkId:", "data": {"Operations": []}},
    )

    assert {status[0] for status in _statuses(answer)} == {"4"}
    assert get(directory, "/Groups")["totalResults"] == 0


def test_p19_too_many_operations_are_refused_before_the_first(directory: Directory) -> None:
    began = time.thread_time()

    answers = [
        _bulk(directory, *[{"method": "DELETE", "path": "/Users/x"}] * 30_000),
        _bulk(directory, *[{}] * 100_000),
        _bulk(directory, *[_user(f"user{number}") for number in range(1_001)]),
        _bulk(directory, _user("large", title="x" * 1_200_000)),
    ]

    assert [answer.status for answer in answers] == [413] * 4
    assert get(directory, "/Users")["totalResults"] == 0
    assert time.thread_time() - began < 10


def test_p19_after_so_many_errors_nothing_more_is_done(directory: Directory) -> None:
    bad = {"method": "DELETE", "path": "/Users/nobody"}

    stopped = _bulk(directory, _user("a"), bad, _user("b"), bad, _user("c"), failOnErrors=2)

    assert _statuses(stopped) == ["201", "404", "201", "404"]
    assert get(directory, "/Users")["totalResults"] == 2
    for wrong in (0, -1, "2", 1.5, True, [1]):
        assert _bulk(directory, _user("x"), failOnErrors=wrong).status in (200, 400), wrong


def test_p19_bulk_is_no_way_past_the_brake(directory: Directory) -> None:
    set_brake("3/60s")
    ids = [directory.add_user(f"user{number}") for number in range(10)]

    answer = _bulk(
        directory,
        *[
            {"method": "PATCH", "path": f"/Users/{one}", "data": {"Operations": [{"op": "replace", "value": {"active": False}}]}}
            for one in ids
        ],
    )

    assert _statuses(answer) == ["200"] * 10
    assert sorted(person_of(one).standing for one in ids) == ["active"] * 7 + ["departed"] * 3


def test_p19_bulk_reaches_nothing_but_users_and_groups(directory: Directory) -> None:
    ada = directory.add_user("ada")
    paths = (
        "/Bulk",
        "/Schemas",
        "/ServiceProviderConfig",
        "/Me",
        "/.search",
        "/Users/../Groups",
        "//Users",
        "Users",
        f"/Users/{ada}/x",
        "https://x/Users",
        "/Users?filter=x",
        "",
        "/",
    )

    answer = _bulk(
        directory,
        *[
            {"method": method, "path": path, "bulkId": f"{method}{path}", "data": {}}
            for path in paths
            for method in ("POST", "DELETE", "PATCH")
        ],
    )
    methods = _bulk(
        directory,
        *[{"method": method, "path": f"/Users/{ada}", "data": {}} for method in ("GET", "HEAD", "OPTIONS", "delete", "", None, 7)],
    )

    assert {status[0] for status in _statuses(answer)} == {"4"}
    assert get(directory, f"/Users/{ada}")["active"] is True
    assert all(
        status[0] == "4"
        for status, method in zip(_statuses(methods), ("GET", "HEAD", "OPTIONS", "delete"), strict=False)
        if method != "delete"
    )
