"""P05: the ids of another organisation, anywhere an id can stand, are answered as ids that never were."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from app.database import new_id
from app.directory.vocabulary import ENTERPRISE_URN
from tests.clients.directory import PATCH_URN, Directory
from tests.clients.transcript import Answer
from tests.unit.scim.choosing import person_of

_AN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_AN_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request with an id in it; `{}` stands for the id, `own user` and `own group` for what may be changed."""

    method: str
    path: str
    body: Any = None


def _patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"schemas": [PATCH_URN], "Operations": list(operations)}


USER_PLACES = [
    Asked(method="GET", path="/Users/{}"),
    Asked(method="GET", path="/Users/{}?attributes=userName"),
    Asked(method="PUT", path="/Users/{}", body={"userName": "taken over", "active": False}),
    Asked(method="PATCH", path="/Users/{}", body=_patch({"op": "replace", "value": {"active": False}})),
    Asked(method="PATCH", path="/Users/{}", body=_patch({"op": "replace", "path": "title", "value": "x"})),
    Asked(method="DELETE", path="/Users/{}"),
    Asked(method="GET", path='/Users?filter=id eq "{}"'),
    Asked(method="GET", path='/Users?filter=manager.value eq "{}"'),
    Asked(method="GET", path='/Users?filter=externalId eq "{}"'),
    Asked(method="GET", path='/Groups?filter=members.value eq "{}"'),
    Asked(method="GET", path='/Groups?filter=members[value eq "{}"]'),
    Asked(method="GET", path='/Groups?filter=members.$ref co "{}"'),
    Asked(method="POST", path="/Groups", body={"displayName": "x", "members": [{"value": "{}"}]}),
    Asked(method="POST", path="/Groups", body={"displayName": "x", "members": [{"$ref": "../Users/{}"}]}),
    Asked(
        method="POST", path="/Groups", body={"displayName": "x", "members": [{"value": "own user", "$ref": "https://x/scim/v2/y/Users/{}"}]}
    ),
    Asked(method="PUT", path="/Groups/own group", body={"displayName": "x", "members": [{"value": "{}", "type": "User"}]}),
    Asked(method="PATCH", path="/Groups/own group", body=_patch({"op": "add", "path": "members", "value": [{"value": "{}"}]})),
    Asked(
        method="PATCH",
        path="/Groups/own group",
        body=_patch({"op": "replace", "path": "members", "value": [{"value": "own user"}, {"value": "{}"}]}),
    ),
    Asked(method="PATCH", path="/Groups/own group", body=_patch({"op": "remove", "path": 'members[value eq "{}"]'})),
    Asked(method="PATCH", path="/Groups/own group", body=_patch({"op": "remove", "path": "members", "value": [{"value": "{}"}]})),
    Asked(method="POST", path="/Users", body={"userName": "eve", ENTERPRISE_URN: {"manager": {"value": "{}"}}}),
    Asked(method="POST", path="/Users", body={"userName": "eve", ENTERPRISE_URN: {"manager": {"value": "x", "$ref": "../Users/{}"}}}),
    Asked(method="POST", path="/Users", body={"userName": "eve", "id": "{}"}),
    Asked(method="POST", path="/Users", body={"userName": "eve", "externalId": "{}"}),
    Asked(method="POST", path="/Users", body={"userName": "{}"}),
    Asked(method="PATCH", path="/Users/own user", body=_patch({"op": "replace", "path": f"{ENTERPRISE_URN}:manager", "value": "{}"})),
    Asked(method="PATCH", path="/Users/own user", body=_patch({"op": "add", "path": "groups", "value": [{"value": "{}"}]})),
    Asked(method="PATCH", path="/Users/own user", body=_patch({"op": "replace", "value": {"id": "{}", "meta": {"location": "{}"}}})),
]
GROUP_PLACES = [
    Asked(method="GET", path="/Groups/{}"),
    Asked(method="GET", path="/Groups/{}?excludedAttributes=members"),
    Asked(method="PUT", path="/Groups/{}", body={"displayName": "taken over"}),
    Asked(method="PATCH", path="/Groups/{}", body=_patch({"op": "add", "path": "members", "value": [{"value": "own user"}]})),
    Asked(method="PATCH", path="/Groups/{}", body=_patch({"op": "replace", "path": "displayName", "value": "x"})),
    Asked(method="DELETE", path="/Groups/{}"),
    Asked(method="GET", path='/Groups?filter=id eq "{}"'),
    Asked(method="GET", path='/Users?filter=groups.value eq "{}"'),
    Asked(method="GET", path='/Users?filter=groups[value eq "{}"]'),
    Asked(method="POST", path="/Groups", body={"displayName": "x", "members": [{"value": "{}", "type": "Group"}]}),
    Asked(method="POST", path="/Users", body={"userName": "eve", "groups": [{"value": "{}"}]}),
]
BULK_URN = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
BULK_PLACES = [
    {"method": "DELETE", "path": "/Users/{}"},
    {"method": "PUT", "path": "/Users/{}", "data": {"userName": "taken over"}},
    {"method": "PATCH", "path": "/Users/{}", "data": _patch({"op": "replace", "value": {"active": False}})},
    {"method": "POST", "path": "/Groups", "bulkId": "g", "data": {"displayName": "x", "members": [{"value": "{}"}]}},
    {"method": "POST", "path": "/Users", "bulkId": "{}", "data": {"userName": "eve"}},
    {"method": "PATCH", "path": "/Groups/own group", "data": _patch({"op": "add", "path": "members", "value": [{"value": "bulkId:{}"}]})},
]


def _all_places() -> Iterator[tuple[str, Asked]]:
    for asked in USER_PLACES:
        yield "user", asked
    for asked in GROUP_PLACES:
        yield "group", asked
    for operation in BULK_PLACES:
        yield "user", Asked(method="POST", path="/Bulk", body={"schemas": [BULK_URN], "Operations": [operation]})


class _World:
    """One's own user and group, whom nobody has touched before: each request starts from the same state."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.user = directory.add_user(new_id())
        members = [{"value": self.user}]
        self.group = directory.send("POST", "/Groups", {"displayName": new_id(), "members": members}).document["id"]

    def answer(self, asked: Asked, named: str) -> tuple[int, str, list[tuple[str, str]]]:
        """Status, text and headers; the id in question and what is new each time are replaced."""
        body = None if asked.body is None else self._filled(json.dumps(asked.body), named)
        answer = self.directory.send(asked.method, self._filled(asked.path, named).replace(" ", "%20"), body)
        self._take_back(asked, answer)
        return answer.status, self._bare(answer.text, named), [(name, self._bare(value, named)) for name, value in answer.headers.items()]

    def _filled(self, text: str, named: str) -> str:
        return text.replace("{}", named).replace("own user", self.user).replace("own group", self.group)

    def _take_back(self, asked: Asked, answer: Answer) -> None:
        made = [answer.headers["Location"]] if answer.status == 201 else []
        if asked.path == "/Bulk" and answer.status == 200:
            made = [one["location"] for one in answer.document["Operations"] if one["method"] == "POST" and one["status"] == "201"]
        for location in made:
            assert self.directory.send("DELETE", location.partition(self.directory.base)[2]).status == 204

    def _bare(self, text: str, named: str) -> str:
        for known, word in ((named, "THE-ID"), (self.user, "OWN-USER"), (self.group, "OWN-GROUP")):
            text = text.replace(known, word)
        return _AN_INSTANT.sub("AT", _AN_ID.sub("NEW", text))


@pytest.fixture
def theirs(foreign: Directory) -> dict[str, str]:
    user = foreign.add_user("victim", title="secret", externalId="00u-victim")
    manager = {"manager": {"value": user}}
    foreign.add_user("report", **{ENTERPRISE_URN: manager})
    group = foreign.send("POST", "/Groups", {"displayName": "Their group", "members": [{"value": user}]}).document["id"]
    return {"user": user, "group": group}


def _state(foreign: Directory, theirs: dict[str, str]) -> list[str]:
    return [
        foreign.send("GET", f"/Users/{theirs['user']}").text,
        foreign.send("GET", f"/Groups/{theirs['group']}").text,
        foreign.send("GET", "/Users").text,
    ]


def test_p05_an_id_of_another_organisation_is_answered_as_one_that_never_was(
    directory: Directory, foreign: Directory, theirs: dict[str, str]
) -> None:
    before = _state(foreign, theirs)

    for kind, asked in _all_places():
        absent = _World(directory).answer(asked, new_id())
        known = _World(directory).answer(asked, theirs[kind])

        assert known == absent, asked
        assert "secret" not in known[1]

    assert _state(foreign, theirs) == before


def test_p05_another_directorys_ids_are_no_ids_here_either(directory: Directory, beside: Directory) -> None:
    user = beside.add_user("victim", title="secret")
    group = beside.send("POST", "/Groups", {"displayName": "Their group", "members": [{"value": user}]}).document["id"]
    before = _state(beside, {"user": user, "group": group})

    for kind, asked in _all_places():
        if "manager" in json.dumps(asked.body):
            # One organisation may have its managers in another of its directories; what is shown is what was said either way.
            continue
        absent = _World(directory).answer(asked, new_id())
        known = _World(directory).answer(asked, user if kind == "user" else group)

        assert known == absent, asked

    assert _state(beside, {"user": user, "group": group}) == before


def test_p05_a_manager_of_another_organisation_manages_nobody_here(
    directory: Directory, foreign: Directory, theirs: dict[str, str]
) -> None:
    report = directory.add_user("eve", **{ENTERPRISE_URN: {"manager": {"value": theirs["user"]}}})

    assert person_of(report).manager_id is None


def test_p05_names_and_keys_of_another_organisation_are_free_here(directory: Directory, foreign: Directory, theirs: dict[str, str]) -> None:
    user = directory.send("POST", "/Users", {"userName": "VICTIM", "externalId": "00u-victim"})
    group = directory.send("POST", "/Groups", {"displayName": "their GROUP"})

    assert (user.status, group.status) == (201, 201)
    assert user.document["id"] != theirs["user"]
    assert foreign.send("GET", "/Users").document["totalResults"] == 2
