"""PATCH of attributes that only the other kind of resource has."""

from typing import Any

import pytest

from app.directory.vocabulary import ENTERPRISE_URN, GROUP_URN, USER_URN
from tests.clients.directory import Directory
from tests.clients.transcript import Answer
from tests.unit.scim.choosing import get, group_with, members_of


def _is_no_place(answer: Answer, named: str) -> bool:
    assert (answer.status, answer.document.get("scimType")) == (400, "invalidPath"), answer.text
    return named in answer.document["detail"]


@pytest.mark.parametrize("urn", [GROUP_URN, GROUP_URN.upper()])
@pytest.mark.parametrize("verb", ["add", "replace", "remove"])
def test_a_users_attribute_under_the_urn_of_groups_is_none(directory: Directory, verb: str, urn: str) -> None:
    ada = directory.add_user("ada", displayName="Ada", active=True)
    before = directory.written()

    for name, value in (("displayName", "x"), ("active", False), ("externalId", "1"), ("members", [{"value": ada}])):
        said = {"op": verb, "path": f"{urn}:{name}", **({} if verb == "remove" else {"value": value})}
        assert _is_no_place(directory.patch(f"/Users/{ada}", said), f"{GROUP_URN}:{name}")
        if verb != "remove":
            assert _is_no_place(directory.patch(f"/Users/{ada}", {"op": verb, "value": {f"{urn}:{name}": value}}), f"{GROUP_URN}:{name}")

    assert directory.written() == before


@pytest.mark.parametrize("verb", ["add", "replace", "remove"])
def test_a_groups_attribute_under_the_urn_of_users_is_none(directory: Directory, verb: str) -> None:
    ada, bob = directory.add_user("ada"), directory.add_user("bob")
    ants = group_with(directory, ada)
    before = directory.written()

    for path, value in (("displayName", "x"), ("members", [{"value": bob}]), (f'members[value eq "{ada}"]', {"value": bob})):
        said = {"op": verb, "path": f"{USER_URN}:{path}", **({} if verb == "remove" else {"value": value})}
        assert _is_no_place(directory.patch(f"/Groups/{ants}", said), f"{USER_URN}:{path.partition('[')[0]}")

    assert directory.written() == before
    assert members_of(directory, ants) == [ada]


@pytest.mark.parametrize("verb", ["add", "replace"])
def test_the_own_urn_says_no_more_than_the_address(directory: Directory, verb: str) -> None:
    ada = directory.add_user("ada")
    ants = group_with(directory, name="ants")

    answers = [
        directory.patch(f"/Users/{ada}", {"op": verb, "path": f"{USER_URN}:active", "value": False}),
        directory.patch(f"/Users/{ada}", {"op": verb, "value": {f"{USER_URN}:displayName": "A"}}),
        directory.patch(f"/Groups/{ants}", {"op": verb, "path": f"{GROUP_URN}:members", "value": [{"value": ada}]}),
        directory.patch(f"/Groups/{ants}", {"op": verb, "path": f"{GROUP_URN}:displayName", "value": "bees"}),
    ]

    assert [answer.status for answer in answers] == [200, 200, 204, 204]
    assert (answers[1].document["active"], answers[1].document["displayName"]) == (False, "A")
    assert (get(directory, f"/Groups/{ants}")["displayName"], members_of(directory, ants)) == ("bees", [ada])
    assert directory.patch(f"/Groups/{ants}", {"op": "remove", "path": f'{GROUP_URN}:members[value eq "{ada}"]'}).status == 204
    assert members_of(directory, ants) == []


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [("Groups", "userName", "x"), ("Groups", 'emails[type eq "work"].value', "a@x"), ("Users", "members", [{"value": "x"}])],
)
def test_an_attribute_that_only_the_other_kind_has_is_not_added(directory: Directory, kind: str, path: str, value: Any) -> None:
    there = {"Users": directory.add_user("ada"), "Groups": group_with(directory)}[kind]

    assert _is_no_place(directory.patch(f"/{kind}/{there}", {"op": "add", "path": path, "value": value}), path.partition("[")[0])


@pytest.mark.parametrize("verb", ["replace", "add"])
def test_a_name_of_the_enterprise_extension_is_one_like_others_in_a_group(directory: Directory, verb: str) -> None:
    """The extension is one of users: what a group says under that name is kept at its top, and changed there."""
    path = f"/Groups/{directory.send('POST', '/Groups', {'displayName': 'ants', 'department': 'North', 'manager': 'm-1'}).document['id']}"

    def after(**said: Any) -> dict[str, Any]:
        answer = directory.patch(path, said)
        assert answer.status == 204, answer.text
        shown = get(directory, path)
        assert shown["schemas"] == [GROUP_URN]
        return {name: part for name, part in shown.items() if name in ("department", "manager", "costCenter")}

    assert after(op=verb, path="department", value="South") == {"department": "South", "manager": "m-1"}
    assert after(op=verb, value={"manager": "m-2", "costCenter": "7"}) == {"department": "South", "manager": "m-2", "costCenter": "7"}
    assert after(op="remove", path="manager") == {"department": "South", "costCenter": "7"}


def test_what_a_group_has_below_the_enterprise_extension_is_changed_there(directory: Directory) -> None:
    path = f"/Groups/{directory.send('POST', '/Groups', {'displayName': 'ants', ENTERPRISE_URN: {'department': 'North'}}).document['id']}"

    assert directory.patch(path, {"op": "replace", "path": "department", "value": "South"}).status == 204
    assert get(directory, path)[ENTERPRISE_URN] == {"department": "South"}
    assert "department" not in get(directory, path)
