"""What an answer shows, and what its headers say, in the corners of RFC 7643 §2.5 and RFC 7644 §3.4.2.3, §3.9, §3.10 and §3.14."""

from __future__ import annotations

import pytest

from app.directory.vocabulary import ENTERPRISE_URN, GROUP_URN, USER_URN
from tests.clients.directory import Directory
from tests.unit.scim.choosing import group_with
from tests.unit.scim.extending import BADGES, HR, attribute, declares, found, kept, says


def test_the_version_is_in_the_header_whatever_is_shown(directory: Directory) -> None:
    ada = directory.add_user("ada")
    group = group_with(directory, ada)

    for method, path, body in (
        ("GET", f"/Users/{ada}?attributes=userName", None),
        ("HEAD", f"/Users/{ada}?excludedAttributes=meta", None),
        ("GET", f"/Groups/{group}?attributes=displayName", None),
        ("POST", "/Users?attributes=userName", {"userName": "bob"}),
    ):
        answer = directory.send(method, path, body)
        assert (answer.headers["ETag"], "Location" in answer.headers) == ('W/"1"', True), path
    patch = {"Operations": [{"op": "add", "path": "title", "value": "x"}]}
    for number, (method, said) in enumerate((("PUT", {"userName": "eve"}), ("PATCH", patch)), 2):
        answer = directory.send(method, f"/Users/{ada}?attributes=userName", said)
        assert (answer.headers["ETag"], "meta" in answer.document) == (f'W/"{number}"', False)


def test_below_the_other_kinds_urn_there_is_nothing(directory: Directory) -> None:
    ada = directory.add_user("ada", displayName="Ada", externalId="E")
    group = f"/Groups/{group_with(directory, ada, name='ants')}"

    for named in (USER_URN, f"{USER_URN}:displayName", f"{USER_URN.lower()}:meta.version"):
        assert set(directory.send("GET", f"{group}?attributes={named}").document) == {"id", "schemas"}, named
        assert directory.send("GET", f"{group}?excludedAttributes={named}").document == directory.send("GET", group).document
    for named in (GROUP_URN, f"{GROUP_URN}:externalId"):
        assert set(directory.send("GET", f"/Users/{ada}?attributes={named}").document) == {"id", "schemas"}
    asked = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "attributes": [f"{USER_URN}:displayName"]}
    shown = directory.send("POST", "/.search", asked).document["Resources"]
    assert sorted(one.get("displayName", "") for one in shown) == ["", "Ada"]


def test_what_is_left_empty_is_not_shown(directory: Directory) -> None:
    ada = directory.add_user("ada", name={"givenName": "Ada"}, emails=[{"value": "ada@x.example"}, {"type": "home", "display": "at home"}], **{ENTERPRISE_URN: {"division": "x"}})

    chosen = directory.send("GET", f"/Users/{ada}?attributes={ENTERPRISE_URN}:department,name.familyName,emails.value,groups.value").document
    assert {key: value for key, value in chosen.items() if key not in ("id", "schemas")} == {"emails": [{"value": "ada@x.example"}], "groups": []}
    without = directory.send("GET", f"/Users/{ada}?excludedAttributes=name.givenName,{ENTERPRISE_URN}:division").document
    assert "name" not in without and ENTERPRISE_URN not in without


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": f"{HR}:grade", "value": 9}, {"op": "replace", "value": {HR: {"grade": 9}}},
        {"op": "replace", "value": {f"{HR}:grade": 9}}, {"op": "add", "path": HR, "value": {"grade": 9}},
    ],
)  # fmt: skip
def test_what_was_said_in_other_letters_before_the_schema_stays(directory: Directory, operation: dict[str, object]) -> None:
    ada = directory.add_user("ada", **{HR.upper(): {"grade": 6, "site": "X"}})
    declares(attribute("grade", "integer"), attribute("site"))

    assert directory.patch(f"/Users/{ada}", operation).status == 200

    assert kept(directory, ada) == {"grade": 9, "site": "X"}


def test_of_several_values_of_an_own_attribute_the_primary_one_is_sorted_by(directory: Directory) -> None:
    declares(BADGES)
    directory.add_user("ada", **{HR: {"badges": [{"number": 9}, {"number": 1, "primary": True}]}})
    directory.add_user("bob", **{HR: {"badges": [{"number": 5}]}})
    directory.add_user("cy", **{HR: {"badges": [{"number": 7, "primary": False}, {"number": 0}]}})

    assert found(directory, "userName pr", sortBy=f"{HR}:badges.number") == ["ada", "bob", "cy"]


@pytest.mark.parametrize("number", ["1_0", "%D9%A1", "1.0", "0x1", "%2B-1", "9" * 5_000])
def test_a_number_is_written_in_digits_alone(directory: Directory, number: str) -> None:
    directory.add_user("ada")

    for name in ("count", "startIndex"):
        assert says(directory.send("GET", f"/Users?{name}={number}"), "invalidValue", f"{name} must be a whole number")
    assert directory.send("GET", "/Users?startIndex=%2B1&count=-1").document["totalResults"] == 1


def test_head_says_what_get_would(directory: Directory) -> None:
    ada = directory.add_user("ada", displayName="Ada, Countess", name={"givenName": "Ada"})
    group = group_with(directory, ada)

    for path in (f"/Users/{ada}", f"/Groups/{group}", "/Users", f"/Users/{ada}?attributes=name", '/Users?filter=userName+eq+"ada"', "/Users/nobody"):
        get, head = directory.send("GET", path), directory.send("HEAD", path)
        assert (head.status, head.text) == (get.status, "")
        assert {name: head.headers.get(name) for name in get.headers} == dict(get.headers), path


def test_options_is_no_method_of_scim(directory: Directory) -> None:
    for path in ("/Users", "/Groups/1", "/.search", "/Bulk", "/Schemas"):
        answer = directory.send("OPTIONS", path)
        assert (answer.status, answer.document["status"]) == (405, "405")
        assert "OPTIONS" not in answer.headers["Allow"]
