"""A request that was seen is shown, and tried out again, as the request that it was, or it is said that it is none any more."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from app.scim.seen import flush_requests
from tests.unit.commands.pushing import Pusher

pytestmark = pytest.mark.slow

SEARCH = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]}
# Entra ID gives everybody the role `User`.
ROLES = [{"value": value} for value in ("User", "Users", "Groups", "search", "Bulk")]


def _kinds_of(pusher: Pusher) -> list[tuple[str, str, Any]]:
    """A user and a group changed in each way, with words in what is masked that stand in their addresses too."""
    ada = pusher.sends("POST", "/Users", {"userName": "ada", "roles": ROLES})["id"]
    team = pusher.sends("POST", "/Groups", {"displayName": "Team", "kinds": ROLES})["id"]
    return [
        ("PUT", f"/Users/{ada}", {"userName": "ada", "roles": ROLES}),
        ("PATCH", f"/Users/{ada}", {"Operations": [{"op": "add", "value": {"active": True, "roles": ROLES, "title": ada[9:13]}}]}),
        ("PUT", f"/Groups/{team}", {"displayName": "Team", "kinds": ROLES}),
        ("PATCH", f"/Groups/{team}", {"Operations": [{"op": "replace", "value": {"displayName": "Crew", "kinds": ROLES}}]}),
        ("POST", "/Users", {"userName": "bo", "roles": ROLES}),
    ]


def test_an_address_stays_whatever_roles_and_numbers_are_called(pusher: Pusher) -> None:
    for method, path, body in _kinds_of(pusher):
        pusher.sends(method, path, body)

        seen, again = pusher.listed("--limit", "1")[0], pusher.replays()

        assert (seen["method"], seen["path"], seen["status"] < 300) == (method, path, True)
        assert again["now"]["status"] == (409 if method == "POST" else seen["status"])


def test_an_address_in_a_bulk_is_kept_as_what_it_means(pusher: Pusher) -> None:
    *changes, (_, _, bo) = _kinds_of(pusher)
    spelled = [{"method": method, "path": path.strip("/").replace("-", "%2D"), "data": body} for method, path, body in changes]
    pusher.sends("POST", "/Bulk", {"Operations": [*spelled, {"method": "POST", "bulkId": "b", "path": "/Users", "data": bo}]})

    parts = sorted((one for one in pusher.listed() if one["part_of"] is not None), key=lambda one: one["part"])

    assert [one["path"] for one in parts] == [*(path for _, path, _ in changes), "/Users"]
    assert all(one["status"] < 300 for one in parts)
    for one in parts[:-1]:
        assert pusher.desk.asks("requests", "replay", one["id"], "--dry-run")["now"]["status"] == one["status"]


def test_what_comes_behind_a_bulk_is_listed_as_newer_than_its_operations(pusher: Pusher) -> None:
    operations = [{"method": "DELETE", "path": f"/Users/nobody{number}"} for number in range(3)]

    for method, path, body in [("POST", "/Bulk", json.dumps({"Operations": operations})), ("GET", "/Users/ada", None)]:
        # They are written down later, and together.
        token = {"Authorization": f"Bearer {pusher.token}"}
        pusher.http.open(f"/scim/v2/{pusher.source_id}{path}", method=method, data=body, content_type="application/scim+json", headers=token)
    flush_requests(pusher.desk.app)

    assert [(one["path"], one["part"]) for one in pusher.listed("--limit", "5")] == [
        ("/Users/ada", None), *((f"/Users/nobody{number}", number) for number in (2, 1, 0)), ("/Bulk", None),
    ]  # fmt: skip


def test_what_was_masked_is_in_no_address(pusher: Pusher) -> None:
    pusher.sends("PATCH", "/Users/hunter2-secret", {"Operations": [{"op": "replace", "value": {"active": False, "password": "hunter2-secret"}}]})

    assert pusher.listed("--limit", "1")[0]["path"] == "/Users/•••"
    assert "its address names a value that is masked" in pusher.cannot_replay()


def test_a_secret_that_looks_like_an_id_is_masked_where_an_id_stands(pusher: Pusher) -> None:
    secret = "01a22852-bf29-743c-9b90-79415581db3c"

    pusher.sends("PATCH", f"/Users/{secret}", {"Operations": [{"op": "replace", "value": {"active": False, "password": secret}}]})

    assert pusher.listed("--limit", "1")[0]["path"] == "/Users/•••"
    assert "its address names a value that is masked" in pusher.cannot_replay()


@pytest.mark.parametrize("asked", ['name.familyName eq "Lovelace"', 'title co "O\'Lovelace \\\\" and active eq true', "not (emails.value eq 'lovelace@acme.example')"])
@pytest.mark.parametrize("place", ["/Users", "/Users/nobody", "/Nowhere"])
def test_a_query_is_masked_whose_question_mark_was_encoded(pusher: Pusher, place: str, asked: str) -> None:
    encoded = f"{place}%3Ffilter={quote(asked)}"
    pusher.sends("GET", encoded)
    pusher.sends("POST", "/Bulk", {"Operations": [{"method": "GET", "path": encoded}]})

    part, *_ = seen = pusher.listed("--limit", "3")

    assert "lovelace" not in json.dumps([pusher.desk.asks("requests", "show", one["id"]) for one in seen]).lower()
    assert [one["path"].startswith(f"{place}?filter=") and "•••" in one["path"] for one in seen] == [True, False, True]
    assert part["error"].endswith(f" at {place}?•••")
    assert "its address names a value that is masked" in pusher.desk.types("requests", "replay", part["id"], "--dry-run").err


def _long(ids: list[str], name: str) -> str:
    return " or ".join(f'{name} eq "{id}"' for id in ids)


def test_what_is_too_long_to_be_kept_is_not_called_the_same_request(pusher: Pusher) -> None:
    ids = [f"01a22852-bf29-743c-9b90-{number:012}" for number in range(40)]
    team = pusher.sends("POST", "/Groups", {"displayName": "Team"})["id"]
    removal = {"op": "remove", "path": f"members[{_long(ids, 'value')}]"}
    of_a_long_name = {"op": "add", "value": {"x" * 300: True}}

    for method, path, body in (
        ("GET", f"/Users?filter={_long(ids, 'id')}", None),
        ("GET", f"/Users?attributes={','.join(f'name{number:060}' for number in range(20))}", None),
        ("POST", "/Users/.search", {**SEARCH, "filter": _long(ids, "id")}),
        ("POST", "/Users/.search", {**SEARCH, "attributes": [",".join(f"name{number:060}" for number in range(20))]}),
        ("GET", f"/Users/{'x' * 300}", None),
        ("PATCH", f"/Groups/{team}", {"Operations": [removal]}),
        ("PATCH", f"/Groups/{team}", {"Operations": [of_a_long_name]}),
    ):
        pusher.sends(method, path, body)

        assert pusher.desk.asks("requests", "curl", pusher.latest())["masked"] is True, path
        assert "mask" in pusher.cannot_replay(), path


@pytest.mark.parametrize(("path", "sent"), [("/Users/..", "as is"), ("/Users/.", "as is"), ("/Users/a..b", "usual"), ("/Users/.search", "usual")])
def test_an_id_of_dots_is_sent_as_it_was(pusher: Pusher, path: str, sent: str) -> None:
    pusher.sends("DELETE", path)

    line = pusher.desk.asks("requests", "curl", pusher.latest())["curl"]

    assert f"{pusher.source_id}{path} " in line
    assert ("--path-as-is" in line) == (sent == "as is")


def test_members_are_taken_out_again_by_one_path_that_names_several(pusher: Pusher) -> None:
    ids = [pusher.sends("POST", "/Users", {"userName": f"u{number}"})["id"] for number in range(12)]
    team = pusher.sends("POST", "/Groups", {"displayName": "Team", "members": [{"value": id} for id in ids]})["id"]
    pusher.patches(f"/Groups/{team}", op="remove", path=f"members[{_long(ids, 'value')}]")

    curl, again = pusher.desk.asks("requests", "curl", pusher.latest()), pusher.replays()

    assert curl["masked"] is False and all(id in curl["curl"] for id in ids)
    assert (again["then"]["status"], again["now"]["status"]) == (204, 204)


def test_an_attribute_whose_name_was_masked_is_left_out_of_a_replay(pusher: Pusher) -> None:
    ada = pusher.sends("POST", "/Users", {"userName": "ada"})["id"]
    pusher.patches(f"/Users/{ada}", op="add", value={"active": True, "a@b.example": True, "badge": {"y" * 300: True}})

    again = pusher.replays()

    assert (again["now"]["status"], again["changes"]) == (200, [])
    assert again["left_out"] == ["•••@b.example", f"{'y' * 200}•••"]
    assert pusher.desk.asks("requests", "curl", pusher.latest())["masked"] is True


@pytest.mark.parametrize("body", ['"ada"', '["ada"]', '["ada", true]'])
def test_a_body_that_is_no_object_is_not_tried_out_without_what_was_masked(pusher: Pusher, body: str) -> None:
    pusher.sends("POST", "/Users", body)

    assert pusher.cannot_replay().endswith("is not replayed: its body is no object, and what it says is masked")


@pytest.mark.parametrize("data", ["ada", ["ada"], {"userName": "ada"}])
def test_a_deletion_in_a_bulk_is_tried_out_whatever_was_sent_with_it(pusher: Pusher, data: Any) -> None:
    ada = pusher.sends("POST", "/Users", {"userName": "ada"})["id"]
    pusher.sends("POST", "/Bulk", {"Operations": [{"method": "DELETE", "path": f"/Users/{ada}", "data": data}]})

    (part,) = [one for one in pusher.listed() if one["part_of"] is not None]

    assert pusher.desk.asks("requests", "show", part["id"])["body"]["state"] == "none"
    assert pusher.desk.asks("requests", "replay", part["id"], "--dry-run")["now"]["status"] == 404


def test_a_resource_that_was_said_as_a_text_is_shown_and_tried_out_as_what_it_is(pusher: Pusher) -> None:
    ada = pusher.sends("POST", "/Users", {"userName": "ada", "title": "Analyst"})["id"]
    said = {"op": "replace", "value": json.dumps({"userName": "ada", "title": "Countess", "password": "hunter2-secret"})}
    pusher.patches(f"/Users/{ada}", **said)
    seen, again = pusher.listed("--limit", "1")[0], pusher.replays()
    shown = pusher.desk.asks("requests", "show", pusher.latest())["body"]["masked"]
    pusher.sends("POST", "/Bulk", {"Operations": [{"method": "PATCH", "path": f"/Users/{ada}", "data": {"Operations": [said]}}]})

    (part,) = [one for one in pusher.listed() if one["part_of"] is not None]

    assert seen["name"] == "ada"
    assert seen["attributes"] == part["attributes"] == ["userName", "title", "password"]
    assert shown["Operations"] == [{"op": "replace", "value": {"userName": "ada", "title": "•••", "password": "•••"}}]
    assert (again["now"]["status"], again["replaced"]) == (200, ["title"])
    assert pusher.desk.asks("requests", "replay", part["id"], "--dry-run")["now"]["status"] == 200


def test_what_was_said_in_a_text_is_masked_in_the_error_too(pusher: Pusher) -> None:
    ada = pusher.sends("POST", "/Users", {"userName": "ada"})["id"]
    refused = pusher.patches(f"/Users/{ada}", op="replace", value=json.dumps({'title[value eq "hunter2"]': "x"}))

    shown = pusher.desk.asks("requests", "show", pusher.latest())

    assert "hunter2" in refused["detail"]
    assert shown["status"] == 400 and "hunter2" not in json.dumps(shown)
