"""Requests that were seen: what is kept of them, and what is not."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_plus

import pytest
from sqlalchemy import select, text

from app.assembly import create_app
from app.audit.request_tables import RequestSeen
from app.clock import now
from app.database import db, reading
from app.directory.tables import Record, Source
from app.directory.vocabulary import ENTERPRISE_URN
from app.scim.rehearsal import rehearse
from app.scim.seen import flush_requests, request_log
from app.scim.teller import LARGEST_BODY
from app.settings import from_environment
from tests.clients.directory import Directory
from tests.unit.audit.seeing import body_of, everything_stored, seen
from tests.unit.scim.choosing import OFF, group_with


def test_a_request_is_kept_by_its_meaning(directory: Directory) -> None:
    record_id = directory.add_user("ada", externalId="00u1", title="Captain", **{ENTERPRISE_URN: {"department": "Sea"}})

    [row] = seen(directory)
    with reading() as session:
        record = session.scalars(select(Record).where(Record.id == record_id)).one()
    assert (row.source_id, row.known, row.method, row.path, row.status) == (directory.source_id, True, "POST", "/Users", 201)
    assert (row.resource_type, row.resource_id, row.name, row.person_id) == ("User", record_id, "ada", record.person_id)
    assert row.attributes == ["userName", "externalId", "title", "department"]
    assert row.error is None and row.took_us > 0 and abs(row.at - now()) < timedelta(minutes=1)
    assert (row.body, row.times) == ("kept", 1)
    assert "Captain" not in (body_of(row) or "") and '"department":"Sea"' in (body_of(row) or "")


def test_requests_about_somebody_are_read_by_the_indexes(directory: Directory) -> None:
    ways = (
        ("ix_request_seen_person", RequestSeen.person_id == "p", RequestSeen.found.is_(None)),
        ("ix_request_seen_name", RequestSeen.name_key == "n", RequestSeen.found.is_not(None), RequestSeen.person_id == "p"),
        ("ix_request_seen_name", RequestSeen.name_key == "n", RequestSeen.resource_type == "User"),
    )
    if db.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL's plan depends on how many there are")
    with reading() as session:
        for index, *way in ways:
            query = select(RequestSeen.id).where(RequestSeen.organization_id == "o", *way).order_by(RequestSeen.id.desc()).limit(50)
            written = query.compile(db.engine, compile_kwargs={"literal_binds": True})
            plan = str(session.execute(text(f"EXPLAIN QUERY PLAN {written}")).all())
            assert index in plan and "TEMP B-TREE" not in plan, plan


def test_every_way_to_a_user_names_the_person(directory: Directory) -> None:
    record_id = directory.add_user("ada", title="x")
    directory.send("GET", f"/Users/{record_id}")
    directory.send("GET", '/Users?filter=userName eq "ADA"')
    directory.send("PUT", f"/Users/{record_id}", {"userName": "ada.l"})
    directory.patch(f"/Users/{record_id}", OFF)
    directory.send("DELETE", f"/Users/{record_id}")
    directory.send("GET", f"/Users/{record_id}")

    rows = seen(directory)

    assert [(row.method, row.status) for row in rows] == [
        ("POST", 201), ("GET", 200), ("GET", 200), ("PUT", 200), ("PATCH", 200), ("DELETE", 204), ("GET", 404),
    ]  # fmt: skip
    with reading() as session:
        person_id = session.scalars(select(Record.person_id).where(Record.id == record_id)).one()
    # By the time the look-up is written down nobody has that name any more: its own words remain.
    assert [row.person_id for row in rows if row.resource_id] == [person_id] * 6
    assert rows[4].attributes == ["active"]


def test_a_look_up_says_for_whom_and_how_many_it_found(directory: Directory) -> None:
    directory.send("GET", '/Users?filter=userName eq "ada"&startIndex=1&count=100')
    directory.add_user("ada")
    directory.send("GET", '/Users?filter=userName eq "ada"')
    directory.send("GET", '/Users?filter=emails.value eq "ada@acme.example"&token=hunter2')

    rows = seen(directory)

    assert [(row.name, row.found) for row in rows if row.method == "GET"] == [("ada", 0), ("ada", 1), (None, 0)]
    assert rows[2].person_id is not None
    assert "ada%40" not in (rows[3].query or "") and "acme.example" in (rows[3].query or "")
    assert "hunter2" not in everything_stored(directory)


def test_a_request_with_a_slash_at_its_end_is_kept_as_the_same_one(directory: Directory) -> None:
    asked = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": 'userName eq "ada"'}
    bulk = {"Operations": [{"method": "POST", "path": "/Users", "bulkId": "a", "data": {"userName": "ada"}}]}

    for slash in ("", "/"):
        directory.send("POST", f"/Users/.search{slash}", asked)
        directory.send("POST", f"/Bulk{slash}", {"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], **bulk})

    assert sorted(row.path for row in seen(directory)) == sorted(["/Users/.search", "/Bulk", "/Users"] * 2)
    assert [row.found for row in seen(directory) if row.path == "/Users/.search"] == [0, 1]


def test_a_409_is_found_by_its_name_and_by_the_person_who_has_it(directory: Directory) -> None:
    record_id = directory.add_user("ada")

    directory.send("POST", "/Users", {"userName": "Ada", "password": "hunter2-secret"})

    row = seen(directory)[-1]
    with reading() as session:
        person_id = session.scalars(select(Record.person_id).where(Record.id == record_id)).one()
    assert (row.status, row.refused, row.scim_type) == (409, 4, "uniqueness")
    assert (row.name, row.name_key, row.person_id) == ("Ada", "ada", person_id)
    assert row.error == "userName 'Ada' belongs to another user of this directory"


def test_a_password_never_reaches_the_database(directory: Directory) -> None:
    record_id = directory.add_user("ada", password="hunter2-secret", title="x")
    for operation in (
        {"op": "replace", "path": "password", "value": "hunter2-secret"},
        {"op": "replace", "value": {"password": "hunter2-secret"}},
        {"op": "replace", "path": 'password[value eq "hunter2-secret', "value": "hunter2-secret"},
        {"op": "hunter", "path": "password", "value": "hunter2-secret"},
    ):
        directory.patch(f"/Users/{record_id}", operation)
    directory.send("PUT", f"/Users/{record_id}", {"userName": "ada", "password": {"value": "hunter2-secret"}})
    directory.send("POST", "/Users", '{"userName": "bo", "password": "hunter2-secret"')
    directory.send("POST", "/Users", {"userName": 7, "Password": "hunter2-secret"})
    directory.send("GET", '/Users?filter=password eq "hunter2-secret"')
    directory.send("GET", '/Users?password=hunter2-secret&filter=password eq "hunter2-secret')

    assert len(seen(directory)) == 10
    assert "hunter2" not in everything_stored(directory)


@pytest.mark.parametrize("compared", ["85000", "Smith-Jones", "'CANARY'", "Mary CANARY", '"CANARY"'])
def test_what_a_filter_or_a_path_compares_with_is_kept_in_no_form(directory: Directory, compared: str) -> None:
    user_id = directory.add_user("ada")
    search = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": f"name.familyName eq {compared}"}
    directory.send("GET", f"/Users?filter={quote(f'nickName eq {compared}')}")
    directory.send("GET", f"/Users?filter={quote(f'salary eq {compared} and userName eq x')}")
    directory.send("POST", "/Users/.search", search)
    directory.patch(f"/Users/{user_id}", {"op": "replace", "path": f"roles[value eq {compared}].display", "value": "x"})
    directory.patch(f"/Users/{user_id}", {"op": "remove", "path": f"title eq {compared}"})

    assert len(seen(directory)) == 6
    assert not [word for word in ("85000", "Smith", "Jones", "CANARY", "Mary") if word in everything_stored(directory)]


def test_what_a_list_is_asked_with_is_kept_like_a_filter(directory: Directory) -> None:
    compared = 'emails[value eq "ada.home@private.example"].value'
    search = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]}
    for name in ("sortBy", "attributes", "excludedAttributes", "sortOrder", "startIndex"):
        directory.send("GET", f"/Users?{name}={quote(compared)}")
        directory.send("POST", "/Users/.search", {**search, name: [compared] if name.endswith("ttributes") else compared})
    directory.send("POST", "/Users/.search", {**search, "filter": [compared]})
    directory.send("GET", f"/Users?{quote(compared)}")
    directory.send("GET", "/Users?filter=ada.home@private.example")
    directory.send("GET", "/Users?sortBy=name.familyName&attributes=userName,title&count=2")

    rows = seen(directory)

    assert "ada.home" not in everything_stored(directory)
    assert "sortBy: '•••'" in (rows[0].error or "") and unquote_plus(rows[0].query or "") == 'sortBy=emails[value eq "•••@private.example"].value'
    assert rows[-1].query == "sortBy=name.familyName&attributes=userName%2Ctitle&count=2"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/{token}", None), ("GET", "/{token}/x", None), ("GET", "/Users/{token}", None), ("DELETE", "/Groups/{token}", None),
        ("GET", '/Users?filter=userName eq "{token}"', None), ("GET", '/Users?filter=externalId eq "{token}"', None),
        ("POST", "/Users", {"userName": "{token}"}), ("POST", "/Users", {"userName": "ada", "{token}": 1, "externalId": "{token}"}),
        ("PATCH", "/Users/{token}", {"Operations": [{"op": "replace", "path": "{token}", "value": {"{token}": "{token}"}}]}),
        ("POST", "/Bulk", {"Operations": [{"method": "POST", "path": "/Users", "bulkId": "{token}", "data": {"userName": "{token}"}}]}),
        ("GET", "/Users?attributes={token}&sortBy={token}&{token}=1", None),
        ("POST", "/Users/.search", {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "attributes": ["{token}"], "sortBy": "{token}"}),
        ("POST", "/Bulk", {"Operations": [{"method": "{token}", "path": "{token}", "bulkId": "{token}"}]}),
        ("POST", "/Bulk", {"Operations": [{"method": "DELETE", "path": "/Users/{token}"}, {"method": "GET", "path": "/{token}"}]}),
    ],
)  # fmt: skip
def test_a_token_that_was_typed_into_the_wrong_place_is_not_kept(directory: Directory, method: str, path: str, body: Any) -> None:
    told = None if body is None else json.dumps(body).replace("{token}", directory.token)

    directory.send(method, path.replace("{token}", directory.token), told)

    assert seen(directory)
    assert directory.token[3:] not in everything_stored(directory)


def test_what_stands_where_a_name_should_and_can_be_none_is_not_kept(directory: Directory) -> None:
    directory.patch(f"/Users/{directory.add_user('ada')}", {"op": "replace", "path": 'password "hunter2!"', "value": "x"})

    assert seen(directory)[-1].attributes == ["•••"]
    assert "hunter2" not in everything_stored(directory)


def test_a_body_that_is_no_json_is_not_kept(directory: Directory) -> None:
    directory.send("POST", "/Users", '{"userName": "ada"')

    [row] = seen(directory)
    assert (row.body, row.body_bytes, body_of(row)) == ("unreadable", 18, None)
    assert row.scim_type == "invalidSyntax"


def test_a_large_body_is_cut_and_says_so(directory: Directory) -> None:
    group_id = group_with(directory)
    ids = [f"{number:06}-member" for number in range(LARGEST_BODY // 10)]

    directory.patch(f"/Groups/{group_id}", {"op": "add", "path": "members", "value": [{"value": one} for one in ids]})

    row = seen(directory)[-1]
    kept = body_of(row) or ""
    assert (row.body, row.resource_type, row.resource_id, row.attributes) == ("cut", "Group", group_id, ["members"])
    assert row.body_bytes > LARGEST_BODY == len(kept.encode())


def test_an_unknown_token_is_seen_at_a_known_source_only_and_its_body_not_at_all(directory: Directory) -> None:
    for _ in range(3):
        directory.send("POST", "/Users", {"userName": "ada"}, Authorization="Bearer dl_wrongwrongwrongwrong")
    directory.http.get("/scim/v2/nowhere/Users", headers={"Authorization": "Bearer wrong"})

    rows = seen(directory)

    assert sum(row.times for row in rows) == 3
    assert {(row.source_id, row.known, row.status, row.body) for row in rows} == {(directory.source_id, False, 401, "none")}
    assert "dl_wrong" not in everything_stored(directory)


def test_a_wrong_address_is_seen(directory: Directory) -> None:
    directory.send("GET", "/User")

    [row] = seen(directory)
    assert (row.path, row.status, row.resource_type, row.known) == ("/User", 404, "User", False)
    assert row.error == f"nothing is at /scim/v2/{directory.source_id}/User"


def test_a_request_with_what_no_database_holds_is_kept_all_the_same(directory: Directory) -> None:
    directory.send("POST", "/Users", '{"userName": "a\\u0000b", "x\\ud800": ["\\ud800"]}')
    directory.send("GET", "/Users/a%00b")
    directory.send("GET", "/Users?filter=userName eq %22%ff%00%22&attributes=%00")

    assert [row.status for row in seen(directory)][:2] == [400, 404]
    assert len(seen(directory)) == 3


def test_what_was_refused_as_no_json_number_is_shown_as_it_was_sent(directory: Directory) -> None:
    directory.send("POST", "/Users", '{"userName":"ada","active":NaN,"title":null}')

    [row] = seen(directory)
    assert (row.status, body_of(row)) == (400, '{"userName":"ada","active":NaN,"title":null}')


def test_operations_of_a_bulk_are_requests_of_their_own(directory: Directory) -> None:
    directory.add_user("taken")
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": "a", "data": {"userName": "ada", "password": "hunter2-secret"}},
        {"method": "POST", "path": "/Users", "bulkId": "b", "data": {"userName": "taken"}},
        {"method": "DELETE", "path": "/Users/nobody"},
    ]

    directory.send("POST", "/Bulk", {"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations})

    whole, *parts = [row for row in seen(directory) if row.path == "/Bulk" or row.part_of]
    assert (whole.resource_type, whole.status, whole.attributes) == ("Bulk", 200, [])
    assert {row.part_of for row in parts} == {whole.id}
    assert [(row.part, row.method, row.status, row.name) for row in parts] == [
        (0, "POST", 201, "ada"), (1, "POST", 409, "taken"), (2, "DELETE", 404, None),
    ]  # fmt: skip
    assert parts[0].person_id is not None and parts[1].scim_type == "uniqueness" and parts[2].error == "User nobody does not exist"
    assert "hunter2" not in everything_stored(directory)


@pytest.mark.parametrize(
    "odd",
    [
        {"bulkId": 1}, {"method": 7}, {"bulkId": ["hunter2"], "method": {"password": "hunter2"}}, {"METHOD": "GET"}, {"BulkID": "b", "bulkId": 2},
        {"bulkId": "a\0b"}, {"method": "PA\0TCH"}, {"bulkId": "\ud800"}, {"x\0": 1, "data": {"a\0b": {"\ud800": "\0"}}},
    ],
)  # fmt: skip
def test_an_operation_that_is_answered_is_listed_whatever_names_it(directory: Directory, odd: dict[str, Any]) -> None:
    record_id = directory.add_user("ada")
    operations: list[Any] = [{"method": "PATCH", "path": f"/Users/{record_id}", "data": {"Operations": [OFF]}, **odd}, "no operation"]
    operations += [{"method": "POST", "path": "/Users", "bulkId": "c", "data": {"userName": "bo"}}, {"method": "DELETE", "path": "/Users/nobody"}]

    answer = directory.send("POST", "/Bulk", {"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations})

    parts = [row for row in seen(directory) if row.part_of]
    assert [str(row.status) for row in parts] == [one["status"] for one in answer.document["Operations"]]
    assert [(row.part, row.resource_id) for row in parts[:1]] == [(0, record_id)] and [row.part for row in parts] == [0, 1, 2, 3]
    assert [row.method for row in parts[1:]] == ["NONE", "POST", "DELETE"]
    assert "hunter2" not in everything_stored(directory).lower()


def test_a_rehearsal_is_no_request(directory: Directory) -> None:
    with reading() as session:
        source = session.scalars(select(Source).where(Source.id == directory.source_id)).one()

    tried = rehearse(directory.app, source, method="POST", path="/Users", query=None, body={"userName": "ada"})

    assert (tried.status, tried.journal, tried.standing_after) == (201, ("record: joined",), "active")
    assert seen(directory) == [] and directory.written() == 1
    # What stood in for the database is gone again.
    assert directory.send("POST", "/Users", {"userName": "ada"}).status == 201


def test_where_bodies_are_not_kept_their_meaning_is(directory: Directory, database_url: str, tmp_path: Path) -> None:
    app = create_app(from_environment({"DATABASE_URL": database_url, "DOORLIST_HOME": str(tmp_path), "DOORLIST_BODIES_KEPT_DAYS": "0"}))
    app.test_client().post(
        f"{directory.base}/Users", json={"userName": "ada", "title": "x"}, headers={"Authorization": f"Bearer {directory.token}"}
    )
    flush_requests(app)
    with app.app_context():
        db.engine.dispose()

    [row] = seen(directory)
    assert (row.status, row.name, row.body, body_of(row)) == (201, "ada", "off", None)


def test_where_requests_are_not_kept_nothing_is(database_url: str, tmp_path: Path) -> None:
    app = create_app(from_environment({"DATABASE_URL": database_url, "DOORLIST_HOME": str(tmp_path), "DOORLIST_REQUESTS_KEPT_DAYS": "0"}))

    assert app.test_client().get("/scim/v2/x/nowhere").status_code == 404
    assert request_log(app) is None
