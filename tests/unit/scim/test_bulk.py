"""Bulk: each operation does what it does alone, and is answered as it is alone; and what no Bulk may be."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError

from app.database import db, reading
from app.directory.tables import Standing
from app.journal.tables import Entry
from app.scim.bulk import MAX_OPERATIONS, MAX_PAYLOAD
from tests.clients.directory import Directory
from tests.unit.scim.bulking import bulk, group, id_in, is_refused, managed_by, names, patch, send, statuses, user
from tests.unit.scim.choosing import OFF, get, group_with, members_of, person_of, set_brake

# What a single request does.


@pytest.mark.parametrize(
    ("kind", "name", "patched"), [("Users", "userName", "200"), ("Groups", "displayName", "204")], ids=["users", "groups"]
)
def test_each_operation_is_answered_with_its_place_its_version_and_the_status_it_has_alone(
    directory: Directory, kind: str, name: str, patched: str
) -> None:
    there, leaver = (directory.send("POST", f"/{kind}", {name: one}).document for one in ("there", "leaver"))
    base = there["meta"]["location"].removesuffix(f"/{kind}/{there['id']}")
    path, gone = f"/{kind}/{there['id']}", f"/{kind}/{leaver['id']}"

    told = bulk(
        directory,
        {"method": "POST", "path": f"/{kind}", "bulkId": "n", "data": {name: "new"}},
        {"method": "PUT", "path": path, "data": {name: "there", "nickName": "put"}},
        patch(path, {"op": "replace", "path": "nickName", "value": "patched"}, bulkId="p"),
        {"method": "DELETE", "path": gone},
    )

    made = id_in(told[0])
    assert told == [
        {"method": "POST", "bulkId": "n", "location": f"{base}/{kind}/{made}", "version": 'W/"1"', "status": "201"},
        {"method": "PUT", "location": base + path, "version": 'W/"2"', "status": "200"},
        {"method": "PATCH", "bulkId": "p", "location": base + path, "version": 'W/"3"', "status": patched},
        {"method": "DELETE", "location": base + gone, "status": "204"},
    ]
    assert get(directory, f"/{kind}/{made}")[name] == "new"
    assert (get(directory, path)["nickName"], get(directory, path)["meta"]["version"]) == ("patched", 'W/"3"')
    assert directory.send("GET", gone).status == 404


def test_what_fails_is_told_as_it_is_told_alone_and_hinders_nobody_else(directory: Directory) -> None:
    directory.add_user("taken")
    alone = [
        directory.send("POST", "/Users", {"userName": "taken"}).document,
        directory.send("PUT", "/Users/nobody", {"userName": "x"}).document,
        directory.send("POST", "/Groups", {"displayName": "g", "members": [{"value": "nobody"}]}).document,
    ]

    told = bulk(
        directory,
        user("a", "taken"),
        {"method": "PUT", "path": "/Users/nobody", "data": {"userName": "x"}},
        group("g", "nobody"),
        user("b", "bob"),
    )

    assert statuses(told) == ["409", "404", "400", "201"]
    assert [operation["response"] for operation in told[:3]] == alone
    assert ["location" in operation for operation in told] == [False, True, False, True]
    assert names(directory) == ["bob", "taken"]


def test_a_version_is_asked_for_as_by_if_match(directory: Directory) -> None:
    ada, bob = directory.add_user("ada"), directory.add_user("bob")
    engineers = group_with(directory, ada)
    title = {"op": "add", "path": "title", "value": "Dr"}

    told = bulk(
        directory,
        patch(f"/Users/{ada}", title, version='W/"1"'),
        patch(f"/Users/{ada}", OFF, version='W/"1"'),
        {"method": "PUT", "path": f"/Users/{ada}", "data": {"userName": "other"}, "version": '"1"'},
        patch(f"/Groups/{engineers}", {"op": "remove", "path": "members"}, version='W/"7"'),
        {"method": "DELETE", "path": f"/Users/{ada}", "version": 'W/"1"'},
        {"method": "DELETE", "path": f"/Groups/{engineers}", "version": 'W/"7"'},
        patch(f"/Users/{bob}", OFF, version="yesterday"),
        patch(f"/Users/{bob}", OFF, version=1),
        {"method": "DELETE", "path": f"/Users/{bob}", "version": 'W/"1"'},
    )

    assert statuses(told) == ["200", "412", "412", "412", "412", "412", "412", "400", "204"]
    assert all(is_refused(operation, "412", None) for operation in told[1:7])
    assert is_refused(told[7], "400", "invalidValue")
    assert (names(directory), get(directory, f"/Users/{ada}")["active"]) == (["ada"], True)
    assert members_of(directory, engineers) == [ada]


def test_an_off_in_a_bulk_meets_the_same_brake(directory: Directory) -> None:
    set_brake("1/60s")
    people = [directory.add_user(name) for name in ("ada", "bob", "kim")]

    told = bulk(directory, *(patch(f"/Users/{one}", OFF) for one in people[:2]), {"method": "DELETE", "path": f"/Users/{people[2]}"})

    assert statuses(told) == ["200", "200", "204"]
    assert [get(directory, f"/Users/{one}")["active"] for one in people[:2]] == [False, False]
    assert [person_of(one).standing for one in people] == [Standing.DEPARTED, Standing.ACTIVE, Standing.ACTIVE]


def test_the_journal_says_that_it_was_a_bulk(directory: Directory) -> None:
    bulk(directory, user("a"), patch("/Users/bulkId:a", OFF))

    with reading() as session:
        said = session.scalars(select(Entry.because).where(Entry.subject_kind == "record").order_by(Entry.id)).all()
    assert list(said) == ["SCIM Bulk POST", "SCIM Bulk PATCH"]


# Operations that are none, and failOnErrors.


@pytest.mark.parametrize(
    ("operation", "status", "problem"),
    [
        ({"method": "GET", "path": "/Users"}, "405", None),
        ({"method": "post", "path": "/Users", "bulkId": "x", "data": {"userName": "x"}}, "405", None),
        ({"method": "BREW", "path": "/Users/1"}, "405", None),
        ({"method": "POST", "path": "/Users/1", "bulkId": "x", "data": {"userName": "x"}}, "405", None),
        ({"method": "DELETE", "path": "/Users"}, "405", None),
        ({"method": "POST", "path": "/Bulk", "bulkId": "x", "data": {"Operations": []}}, "404", None),
        ({"method": "POST", "path": "/users", "bulkId": "x", "data": {"userName": "x"}}, "404", None),
        ({"method": "PUT", "path": "/Users/1/2", "data": {"userName": "x"}}, "404", None),
        ({"method": "DELETE", "path": ""}, "404", None),
        ({"method": "POST", "bulkId": "x", "data": {"userName": "x"}}, "400", "invalidSyntax"),
        ({"path": "/Users", "bulkId": "x", "data": {"userName": "x"}}, "400", "invalidSyntax"),
        ({"method": ["POST"], "path": {"a": 1}, "bulkId": ["x"]}, "400", "invalidSyntax"),
        ({"method": "POST", "path": "/Users", "bulkId": "x"}, "400", "invalidSyntax"),
        ({"method": "POST", "path": "/Users", "bulkId": "x", "data": "bulkId:x"}, "400", "invalidSyntax"),
        ({"method": "PATCH", "path": "/Users/1", "data": [1]}, "400", "invalidSyntax"),
        ({"method": "POST", "path": "/Users", "data": {"userName": "x"}}, "400", "invalidValue"),
        ({"method": "POST", "path": "/Users", "bulkId": 7, "data": {"userName": "x"}}, "400", "invalidValue"),
        ({"method": "POST", "path": "/Users", "bulkId": "", "data": {"userName": "x"}}, "400", "invalidValue"),
        ({"method": "POST", "path": "/Users", "bulkId": "x", "data": {"userName": "bulkId:x"}}, "400", "invalidValue"),
        ("POST /Users", "400", "invalidSyntax"),
        (None, "400", "invalidSyntax"),
    ],
)
def test_an_operation_that_is_none_fails_alone(directory: Directory, operation: Any, status: str, problem: str | None) -> None:
    told = bulk(directory, user("a"), operation, user("b"))

    assert [told[0]["status"], told[2]["status"]] == ["201", "201"]
    assert is_refused(told[1], status, problem)
    assert names(directory) == ["a", "b"]


def test_keys_count_in_any_case_and_a_bulk_may_be_empty(directory: Directory) -> None:
    answer = directory.send(
        "POST", "/Bulk", {"operations": [{"Method": "POST", "PATH": "/Users", "bulkid": "a", "Data": {"userName": "a"}}]}
    )

    assert statuses(answer.document["Operations"]) == ["201"]
    assert bulk(directory) == []


def test_at_so_many_errors_the_bulk_ends_and_tells_what_was_done(directory: Directory) -> None:
    wrong: dict[str, Any] = {"method": "DELETE", "path": "/Users/nobody"}

    told = bulk(directory, wrong, user("a"), wrong, user("b"), wrong, user("c"), failOnErrors=2)

    assert statuses(told) == ["404", "201", "404"]
    assert names(directory) == ["a"]


# The whole request.


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "invalidSyntax"),
        ({"Operations": {"method": "POST"}}, "invalidSyntax"),
        ({"Operations": None}, "invalidSyntax"),
        ("[]", "invalidSyntax"),
        *(({"failOnErrors": most, "Operations": [user("a")]}, "invalidValue") for most in (0, -1, True, "1", 1.5)),
    ],
)
def test_a_body_that_is_no_bulk_is_refused(directory: Directory, body: Any, problem: str) -> None:
    before = directory.written()

    answer = directory.send("POST", "/Bulk", body)

    assert (answer.status, answer.document["scimType"]) == (400, problem)
    assert directory.written() == before


def test_a_bulk_of_too_many_operations_is_refused_and_the_most_there_may_be_are_not(directory: Directory) -> None:
    wrong: dict[str, Any] = {"method": "DELETE", "path": "/nowhere"}
    before = directory.written()

    answer = send(directory, user("a"), *[wrong] * MAX_OPERATIONS)

    assert answer.status == 413 and answer.document["status"] == "413"
    assert "maxOperations" in answer.document["detail"] and str(MAX_OPERATIONS) in answer.document["detail"]
    assert directory.written() == before
    assert len(bulk(directory, *[wrong] * MAX_OPERATIONS)) == MAX_OPERATIONS


def _of_size(size: int) -> bytes:
    body = json.dumps({"Operations": [user("a")]}).encode()
    return body + b" " * (size - len(body))


def test_a_bulk_that_is_too_large_is_refused_and_the_largest_there_may_be_is_not(directory: Directory) -> None:
    before = directory.written()

    answer = directory.send("POST", "/Bulk", _of_size(MAX_PAYLOAD + 1))

    assert answer.status == 413 and answer.document["status"] == "413"
    assert "maxPayloadSize" in answer.document["detail"] and str(MAX_PAYLOAD) in answer.document["detail"]
    assert directory.written() == before
    assert directory.send("POST", "/Bulk", _of_size(MAX_PAYLOAD)).status == 200


def test_a_bulk_that_does_not_say_its_length_is_measured_too(directory: Directory) -> None:
    def send_in_chunks(size: int) -> int:
        environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        with directory.http.open(
            directory.base + "/Bulk", method="POST", input_stream=io.BytesIO(_of_size(size)), environ_overrides=environ,
            headers={"Authorization": f"Bearer {directory.token}", "Content-Type": "application/scim+json"},
        ) as response:  # fmt: skip
            return response.status_code

    assert send_in_chunks(MAX_PAYLOAD + 1) == 413
    assert send_in_chunks(MAX_PAYLOAD) == 200


def test_the_limits_are_told_and_a_smaller_body_limit_counts(directory: Directory) -> None:
    said = {"supported": True, "maxOperations": MAX_OPERATIONS, "maxPayloadSize": MAX_PAYLOAD}

    assert get(directory, "/ServiceProviderConfig")["bulk"] == said
    directory.app.config["MAX_CONTENT_LENGTH"] = 2000
    assert get(directory, "/ServiceProviderConfig")["bulk"] == {**said, "maxPayloadSize": 2000}
    assert "maxPayloadSize of 2000" in directory.send("POST", "/Bulk", _of_size(2001)).document["detail"]


def test_only_this_directorys_token_sends_a_bulk_and_it_reaches_this_directory_only(directory: Directory) -> None:
    other = directory.beside("entra")
    theirs, mine = other.add_user("theirs"), directory.add_user("mine")
    before = directory.written()

    refused = directory.send("POST", "/Bulk", {"Operations": [user("a")]}, Authorization=f"Bearer {other.token}")
    told = bulk(
        directory,
        {"method": "DELETE", "path": f"/Users/{theirs}"},
        {"method": "DELETE", "path": f"/Users/{theirs}", "version": 'W/"1"'},
        patch(f"/Users/{theirs}", OFF),
        group("g", theirs),
    )

    assert refused.status == 401
    assert statuses(told) == ["404", "404", "404", "400"]
    assert directory.written() == before
    assert get(other, f"/Users/{theirs}")["active"] is True and get(directory, f"/Users/{mine}")["active"] is True


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_bulk_is_only_posted(directory: Directory, method: str) -> None:
    answer = directory.send(method, "/Bulk", {"Operations": []})

    assert (answer.status, answer.document["status"], answer.headers["Allow"]) == (405, "405", "POST")


# Faults on the way.

AWAY = OperationalError("SELECT", {}, Exception("server closed the connection unexpectedly"))


@contextmanager
def _hearing(**heard: Any) -> Iterator[None]:
    """Each event of the database's engine goes to the function of its name, which may refuse by raising."""
    for name, hear in heard.items():
        event.listen(db.engine, name, hear)
    try:
        yield
    finally:
        for name, hear in heard.items():
            event.remove(db.engine, name, hear)


@contextmanager
def _failing_at(word: str, error: Exception) -> Iterator[list[str]]:
    """The database refuses whatever has this word among its values. Yields what it was asked before that."""
    asked: list[str] = []

    def refuse(_connection: object, _cursor: object, _statement: str, parameters: Any, *_: object) -> None:
        asked.append(repr(parameters))
        if word in repr(parameters):
            raise error

    with _hearing(before_cursor_execute=refuse):
        yield asked


def test_an_unforeseen_fault_ends_one_operation_and_shows_no_insides(directory: Directory) -> None:
    with _failing_at("unlucky", RuntimeError("insides")):
        told = bulk(directory, user("a"), user("b", "unlucky"), user("c", **managed_by("bulkId:b")), user("d"))

    assert statuses(told) == ["201", "500", "409", "201"]
    assert "reference" in told[1]["response"]["detail"] and "insides" not in json.dumps(told)
    assert names(directory) == ["a", "d"]


def test_once_the_database_is_away_no_further_operation_waits_for_it(directory: Directory) -> None:
    with _failing_at("unlucky", AWAY) as asked:
        told = bulk(directory, user("a"), user("b", "unlucky"), user("c", "never-asked"), {"method": "DELETE", "path": "/Users/bulkId:a"})

    assert statuses(told) == ["201", "503", "503", "503"]
    assert "never-asked" not in "".join(asked)
    assert names(directory) == ["a"]


def test_what_was_done_is_not_told_as_failed_where_its_version_cannot_be_read(directory: Directory) -> None:
    engineers = group_with(directory, directory.add_user("ada"))
    seen = {"change": False, "commit": False}

    def refuse_after_the_change(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if seen["commit"]:
            raise AWAY
        seen["change"] = seen["change"] or statement.startswith("UPDATE")

    def commit(_connection: object) -> None:
        seen["commit"] = seen["change"]

    with _hearing(before_cursor_execute=refuse_after_the_change, commit=commit):
        told = bulk(directory, patch(f"/Groups/{engineers}", {"op": "remove", "path": "members"}))

    assert (told[0]["status"], id_in(told[0]), "version" in told[0]) == ("204", engineers, False)
    assert members_of(directory, engineers) == []
