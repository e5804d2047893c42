"""What the smaller identity providers send, as far as it is known; Okta and Entra have transcripts of their own.

Where each shape is known from stands in `app.scim.dialects` or beside the test. Of Rippling and Google no traffic is
known: there only what their forms let an admin choose is tested, and that a doubtful report is not built upon.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from app.directory.vocabulary import ENTERPRISE_URN, GROUP_URN, USER_URN
from tests.clients.directory import PATCH_URN, Directory, directory_on

JSON = "application/json"


@pytest.fixture
def directory(database_url: str, tmp_path: Path) -> Iterator[Directory]:
    with directory_on(database_url, tmp_path) as found:
        yield found


def _found(directory: Directory, what: str, filter_text: str) -> list[str]:
    answer = directory.send("GET", f"/{what}?filter={quote(filter_text)}&startIndex=1&count=100")
    assert answer.status == 200, answer.text
    return [each["id"] for each in answer.document["Resources"]]


def _user(directory: Directory, user_id: str) -> dict[str, Any]:
    document: dict[str, Any] = directory.send("GET", f"/Users/{user_id}").document
    return document


def _group(directory: Directory, *members: str) -> str:
    body = {"displayName": "Makers", "members": [{"value": member} for member in members]}
    return str(directory.send("POST", "/Groups", body).document["id"])


def _members(directory: Directory, group_id: str) -> list[str]:
    return sorted(member["value"] for member in directory.send("GET", f"/Groups/{group_id}").document["members"])


def _member(op: str, *ids: str) -> dict[str, Any]:
    return {"op": op, "path": "members", "value": [{"value": each} for each in ids]}


# OneLogin: an admin writes the body as a template, in which every parameter is a text.


def test_onelogin_fills_a_template_with_texts(directory: Directory) -> None:
    # https://doc.keepnetlabs.com/next-generation-product/platform/company/company-settings/scim-settings/onelogin-scim-integration
    body = {
        ENTERPRISE_URN: {"department": "Engines", "manager": {"managerId": "", "displayName": " "}}, "active": "true",
        "emails": [{"value": "ada@example.org", "type": "work", "primary": True}], "meta": {"resourceType": "User"},
        "name": {"familyName": "Byron", "givenName": "Ada", "formatted": "Ada Byron"}, "userName": "ada", "id": None, "schemas": [USER_URN],
    }  # fmt: skip

    made = directory.send("POST", "/Users", body)
    off = directory.send("PUT", f"/Users/{made.document['id']}", {**body, "active": "false"})

    assert (made.status, made.document["active"], made.document["userName"]) == (201, True, "ada")
    assert (off.status, off.document["active"], off.document["id"]) == (200, False, made.document["id"])
    assert _user(directory, made.document["id"])["active"] is False


def test_onelogin_sends_one_address_as_an_object_and_the_schemas_of_scim_1(directory: Directory) -> None:
    address = {"value": "ada@example.org", "type": "work"}

    made = directory.send("POST", "/Users", {"schemas": ["urn:scim:schemas:core:1.0"], "userName": "ada", "emails": address})

    assert (made.status, made.document["emails"], made.document["schemas"]) == (201, [address], [USER_URN])
    assert _found(directory, "Users", 'emails.value eq "ada@example.org"') == [made.document["id"]]


def test_onelogin_reads_what_the_server_can_do_when_the_connection_is_saved(directory: Directory) -> None:
    answer = directory.send("GET", "/ServiceProviderConfig")

    assert (answer.status, answer.document["patch"], answer.document["filter"]["supported"]) == (200, {"supported": True}, True)


# JumpCloud.


def test_jumpcloud_tries_a_connection_with_a_user_and_a_group_that_it_deletes(directory: Directory) -> None:
    user = directory.send("POST", "/Users", {"schemas": [USER_URN, ENTERPRISE_URN], "userName": "test@jumpcloud.example", "active": True})
    group = directory.send("POST", "/Groups", {"schemas": [GROUP_URN], "displayName": "JumpCloud test"})

    gone = [directory.send("DELETE", f"/Users/{user.document['id']}"), directory.send("DELETE", f"/Groups/{group.document['id']}")]

    assert (user.status, group.status, user.document["schemas"]) == (201, 201, [USER_URN])
    assert [answer.status for answer in gone] == [204, 204]
    assert directory.send("GET", "/Users").document["totalResults"] == 0


def test_jumpcloud_puts_whole_users_with_empty_lists_and_short_ones_with_null(directory: Directory) -> None:
    user_id = directory.add_user("ada", externalId="jc-1", emails=[{"value": "ada@example.org", "primary": True}])
    photo = [{"value": "https://example.org/ada.png", "type": "photo"}]
    whole = {
        "schemas": [USER_URN, ENTERPRISE_URN], "userName": "ada", "externalId": "jc-1", "name": {"givenName": "Ada", "familyName": "Byron"},
        "emails": [{"value": "ada@example.org", "type": "work", "primary": True}], "phoneNumbers": [], "addresses": [], "photos": photo,
        "active": True, "password": "",
    }  # fmt: skip

    full = directory.send("PUT", f"/Users/{user_id}", whole)
    short = directory.send("PUT", f"/Users/{user_id}", {"schemas": [USER_URN], "userName": "ada", "emails": None, "active": False})

    assert (full.status, full.document["photos"], full.document["emails"]) == (200, photo, whole["emails"])
    assert (short.status, short.document["active"], short.document.get("emails")) == (200, False, None)
    assert short.document["externalId"] == "jc-1"


def test_jumpcloud_patches_one_attribute_with_each_operation(directory: Directory) -> None:
    user_id = directory.add_user("jdoe", name={"givenName": "J", "familyName": "D", "formatted": "J D"})
    said = {"name.givenName": "John", "name.familyName": "Doe", "active": False}

    answer = directory.patch(f"/Users/{user_id}", *({"op": "replace", "path": path, "value": value} for path, value in said.items()))

    assert (answer.status, answer.document["active"]) == (200, False)
    assert answer.document["name"] == {"givenName": "John", "familyName": "Doe", "formatted": "J D"}


def test_jumpcloud_adds_the_same_member_again_and_removes_members_by_a_list(directory: Directory) -> None:
    ada, bob = directory.add_user("ada"), directory.add_user("bob")
    group_id = _group(directory, bob)

    added = [directory.patch(f"/Groups/{group_id}", _member("add", ada)) for _ in range(2)]
    both = _members(directory, group_id)
    removed = [directory.patch(f"/Groups/{group_id}", _member("remove", ada)) for _ in range(2)]

    assert [answer.status for answer in (*added, *removed)] == [204] * 4
    assert (both, _members(directory, group_id)) == (sorted([ada, bob]), [bob])


# PingFederate and PingOne: docs.pingidentity.com/integrations/scim, "SCIM provisioner settings reference".


@pytest.mark.parametrize("filter_text", ['userName eq "Ada@example.org"', 'emails eq "ada@example.org"'])
def test_pingfederate_looks_a_user_up_by_either_of_its_filters(directory: Directory, filter_text: str) -> None:
    user_id = directory.add_user("ada@example.org", emails=[{"value": "ada@example.org", "type": "work"}])
    directory.add_user("bob@example.org", emails=[{"value": "bob@example.org", "type": "work"}])

    assert _found(directory, "Users", filter_text) == [user_id]


def test_pingfederate_puts_everything_about_a_user_and_never_patches(directory: Directory) -> None:
    body = {"schemas": [USER_URN], "userName": "ada", "name": {"givenName": "Ada"}, "active": False}

    made = directory.send("POST", "/Users", body)
    put = [
        directory.send("PUT", f"/Users/{made.document['id']}", {**body, "active": active, "title": title})
        for active, title in ((True, "Analyst"), (False, "Analyst"))
    ]

    assert (made.status, made.document["active"]) == (201, False)
    assert [(answer.status, answer.document["active"], answer.document["title"]) for answer in put] == [
        (200, True, "Analyst"), (200, False, "Analyst"),
    ]  # fmt: skip
    assert directory.send("DELETE", f"/Users/{made.document['id']}").status == 204


def test_pingfederate_reads_all_groups_to_find_one(directory: Directory) -> None:
    ids = [directory.send("POST", "/Groups", {"displayName": f"Group {number}"}).document["id"] for number in range(5)]

    pages = [directory.send("GET", f"/Groups?startIndex={start}&count=2").document for start in (1, 3, 5)]

    assert [page["totalResults"] for page in pages] == [5, 5, 5]
    assert sorted(each["id"] for page in pages for each in page["Resources"]) == sorted(ids)


# Keycloak with a plugin.


def test_keycloak_puts_a_group_without_its_members_and_they_stay(directory: Directory) -> None:
    ada = directory.add_user("ada")
    group_id = _group(directory, ada)
    body = {"schemas": [GROUP_URN], "id": group_id, "externalId": "bbaffbe6-bca0-4bdd-a11e-60d77c22e83d", "displayName": "foo2"}

    answer = directory.send("PUT", f"/Groups/{group_id}", body, Content_Type=JSON)

    assert (answer.status, answer.document["displayName"], answer.document["externalId"]) == (200, "foo2", body["externalId"])
    assert _members(directory, group_id) == [ada]


def test_keycloak_may_say_the_id_of_the_resource_as_its_external_id(directory: Directory) -> None:
    # Captain-P-Goldfish/scim-for-keycloak#126
    user_id = directory.add_user("test-user", externalId="f:1:test-user")
    body = {
        "schemas": [USER_URN], "locale": "en_us", "emails": [{"primary": True, "value": "test@example.com"}],
        "name": {"givenName": "test", "familyName": "user"}, "timezone": "America/Chicago",
        ENTERPRISE_URN: {"division": "executive", "organization": "example, LLC", "department": "management"}, "title": "CTO",
        "externalId": user_id, "userName": "test-user", "active": True,
    }  # fmt: skip

    answer = directory.send("PUT", f"/Users/{user_id}", body, Content_Type=JSON)

    assert (answer.status, answer.document["id"], answer.document["externalId"]) == (200, user_id, user_id)
    assert answer.document["schemas"] == [USER_URN, ENTERPRISE_URN]
    assert answer.document["active"] is True


def test_keycloak_takes_a_group_over_by_the_text_of_its_json(directory: Directory) -> None:
    # Captain-P-Goldfish/scim-for-keycloak#172: who shall be in it comes in the same request, and was lost with it.
    ada, bea = directory.add_user("ada"), directory.add_user("bea")
    group_id = _group(directory, ada)
    text = json.dumps({"schemas": [GROUP_URN], "externalId": "kc-1", "displayName": "makers"})
    gone = {"op": "remove", "path": f'members[value eq "{ada}"]'}

    answer = directory.patch(f"/Groups/{group_id}", {"op": "replace", "value": text}, gone, _member("add", bea))

    group = directory.send("GET", f"/Groups/{group_id}").document
    assert (answer.status, group["displayName"], group["externalId"]) == (204, "makers", "kc-1")
    assert _members(directory, group_id) == [bea]


def test_keycloak_switches_somebody_off_by_a_list_of_one(directory: Directory) -> None:
    # Captain-P-Goldfish/SCIM-SDK#968
    user_id = directory.add_user("ada")

    answer = directory.patch(f"/Users/{user_id}", {"op": "replace", "path": "active", "value": [False]})

    assert (answer.status, _user(directory, user_id)["active"]) == (200, False)


# authentik: goauthentik/authentik authentik/providers/scim/clients/groups.py and users.py.


def test_authentik_makes_a_group_and_patches_it_whole_with_its_id(directory: Directory) -> None:
    ada = directory.add_user("ada")
    made = directory.send("POST", "/Groups", {"schemas": [GROUP_URN], "externalId": "pk-1", "displayName": "makers"}, Content_Type=JSON)
    group_id = made.document["id"]
    directory.patch(f"/Groups/{group_id}", _member("add", ada))
    whole = {"schemas": [GROUP_URN], "id": group_id, "externalId": "pk-1", "displayName": "engineers"}

    answer = directory.send(
        "PATCH", f"/Groups/{group_id}", {"schemas": [PATCH_URN], "Operations": [{"op": "replace", "value": whole}]}, Content_Type=JSON
    )

    assert (made.status, answer.status) == (201, 204)
    shown = directory.send("GET", f"/Groups/{group_id}").document
    assert (shown["displayName"], shown["externalId"]) == ("engineers", "pk-1")
    assert _members(directory, group_id) == [ada]


def test_authentik_settles_members_with_an_operation_for_each(directory: Directory) -> None:
    ada, bob, kim = (directory.add_user(name) for name in ("ada", "bob", "kim"))
    group_id = _group(directory, ada)

    answer = directory.patch(f"/Groups/{group_id}", _member("add", bob), _member("add", kim), _member("remove", ada))

    assert answer.status == 204
    assert _members(directory, group_id) == sorted([bob, kim])


def test_authentik_finds_a_group_that_is_there_already_by_its_name(directory: Directory) -> None:
    group_id = _group(directory)

    again = directory.send("POST", "/Groups", {"schemas": [GROUP_URN], "externalId": "pk-1", "displayName": "Makers"})

    assert (again.status, again.document["scimType"]) == (409, "uniqueness")
    assert _found(directory, "Groups", 'displayName eq "Makers"') == [group_id]


def test_authentik_puts_users_with_their_id_and_makes_anew_whom_it_does_not_find(directory: Directory) -> None:
    body = {"schemas": [USER_URN], "userName": "ada", "externalId": "uid-1", "active": True, "displayName": "Ada"}
    user_id = directory.send("POST", "/Users", body).document["id"]

    put = directory.send("PUT", f"/Users/{user_id}", {**body, "id": user_id, "displayName": "Ada Byron"})
    directory.send("DELETE", f"/Users/{user_id}")
    missing = directory.send("PUT", f"/Users/{user_id}", {**body, "id": user_id})
    anew = directory.send("POST", "/Users", body)

    assert (put.status, put.document["displayName"]) == (200, "Ada Byron")
    assert (missing.status, missing.document["schemas"]) == (404, ["urn:ietf:params:scim:api:messages:2.0:Error"])
    assert anew.status == 201 and anew.document["id"] != user_id


# Rippling: what its form lets an admin tick (workos.com/docs/integrations/rippling-scim).


def test_what_rippling_lets_an_admin_tick_is_there(directory: Directory) -> None:
    name = {"givenName": "Ada", "familyName": "Byron"}
    address = [{"value": "ada@example.org", "primary": True}]
    ada = directory.add_user("ada", externalId="r-1", emails=address, name=name, **{ENTERPRISE_URN: {"employeeNumber": "7"}})
    group_id = _group(directory)

    patched = directory.patch(f"/Groups/{group_id}", _member("add", ada))
    members = _members(directory, group_id)
    page = directory.send("GET", "/Users?startIndex=1&count=1").document

    assert (patched.status, members) == (204, [ada])
    assert (page["totalResults"], page["itemsPerPage"]) == (1, 1)
    [shown] = page["Resources"]
    assert (shown["externalId"], shown["emails"], shown["name"]) == ("r-1", address, name)
    assert shown[ENTERPRISE_URN]["employeeNumber"] == "7"
    assert directory.send("DELETE", f"/Groups/{group_id}").status == 204


# Google: the one report (operations without `op`, the address as id) is second-hand and is not built upon.


def test_an_operation_without_a_verb_is_refused_whoever_may_send_it(directory: Directory) -> None:
    ada = directory.add_user("ada@example.org")
    group_id = _group(directory, ada)
    before = directory.written()

    answer = directory.patch(f"/Groups/{group_id}", {"path": "members", "value": []})

    assert (answer.status, answer.document["scimType"]) == (400, "invalidSyntax")
    assert "add, replace or remove" in answer.document["detail"]
    assert (_members(directory, group_id), directory.written()) == ([ada], before)


def test_an_address_is_no_id(directory: Directory) -> None:
    directory.add_user("ada@example.org", emails=[{"value": "ada@example.org"}])

    assert directory.send("GET", "/Users/ada@example.org").status == 404
    assert directory.send("DELETE", "/Users/ada@example.org").status == 404


def test_a_push_of_all_members_takes_the_place_of_those_there(directory: Directory) -> None:
    ada, bob = directory.add_user("ada"), directory.add_user("bob")
    group_id = _group(directory, ada)

    answer = directory.patch(f"/Groups/{group_id}", _member("replace", bob))

    assert (answer.status, _members(directory, group_id)) == (204, [bob])
