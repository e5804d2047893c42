"""`/.search`, searches of everything, `/Me`, and what of a resource is shown."""

from typing import Any
from urllib.parse import quote

import pytest

from app.access.sealing import make_key
from app.directory.vocabulary import ENTERPRISE_URN, GROUP_URN, USER_URN
from tests.clients.directory import Directory
from tests.clients.transcript import Answer
from tests.unit.scim.choosing import get, group_with

SEARCH_URN = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
BADGE_URN = "urn:example:params:scim:schemas:badge:2.0:Badge"


def _search(directory: Directory, at: str = "", **asked: Any) -> Answer:
    return directory.send("POST", f"{at}/.search", {"schemas": [SEARCH_URN], **asked})


def _names(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.text
    return [resource.get("userName") or resource["displayName"] for resource in answer.document["Resources"]]


@pytest.fixture
def company(directory: Directory) -> Directory:
    """ada, bob, cyd, and the groups ants (ada), bees (nobody)."""
    ada, *_ = [directory.add_user(name, title=title) for name, title in {"ada": "Analyst", "bob": "Clerk", "cyd": "Clerk"}.items()]
    group_with(directory, ada, name="ants")
    group_with(directory, name="bees")
    return directory


def test_a_search_by_post_finds_what_the_list_finds(company: Directory) -> None:
    by_post = _search(company, "/Users", filter='title eq "clerk"', sortBy="userName", sortOrder="descending", startIndex=1, count=1)
    by_get = company.send("GET", "/Users?filter=title%20eq%20%22clerk%22&sortBy=userName&sortOrder=descending&startIndex=1&count=1")

    assert _names(by_post) == ["cyd"]
    assert by_post.document == by_get.document
    assert by_post.document["totalResults"] == 2
    assert _names(_search(company, "/Groups", filter="members pr")) == ["ants"]
    assert _names(_search(company, "/Groups")) == ["ants", "bees"]


def test_a_search_shows_what_it_is_asked_for(company: Directory) -> None:
    shown = _search(company, "/Users", filter='userName eq "ada"', attributes=["userName", "groups.display"]).document["Resources"][0]
    rest = _search(company, "/Users", filter='userName eq "ada"', excludedAttributes=["title", "meta"]).document["Resources"][0]

    assert set(shown) == {"schemas", "id", "userName", "groups"}
    assert shown["groups"] == [{"display": "ants"}]
    assert {"title", "meta"}.isdisjoint(rest)
    assert rest["userName"] == "ada"


def test_a_search_pages_by_cursor(company: Directory) -> None:
    make_key(company.app.config["DOORLIST"])

    first = _search(company, cursor="", count=4)
    second = _search(company, cursor=first.document["nextCursor"], count=4)

    assert _names(first) == ["ada", "bob", "cyd", "ants"]
    assert _names(second) == ["bees"]
    assert "nextCursor" not in second.document


@pytest.mark.parametrize(
    ("start", "count", "found"),
    [(1, 100, "ada bob cyd ants bees"), (1, 2, "ada bob"), (3, 2, "cyd ants"), (4, 1, "ants"), (5, 9, "bees"), (6, 9, ""), (1, 0, "")],
)
def test_a_search_of_everything_finds_users_and_then_groups(company: Directory, start: int, count: int, found: str) -> None:
    by_post = _search(company, startIndex=start, count=count)
    by_get = company.send("GET", f"/?startIndex={start}&count={count}")

    assert _names(by_post) == found.split()
    assert (by_post.document["totalResults"], by_post.document["startIndex"]) == (5, start)
    assert by_get.document == by_post.document


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('userName eq "ada"', "ada"),
        ('displayName eq "ants"', "ants"),
        ('userName sw "a" or displayName sw "a"', "ada ants"),
        ("members pr", "ants"),
        ("groups pr", "ada"),
        ('meta.resourceType eq "Group"', "ants bees"),
        ('meta.resourceType eq "User" and title eq "clerk"', "bob cyd"),
        # RFC 7644 §3.4.2.1: what a kind does not have counts as having no value.
        ('not (userName eq "ada")', "bob cyd ants bees"),
        (f'schemas eq "{GROUP_URN}"', "ants bees"),
        ('badge eq "x"', ""),
    ],
)
def test_what_only_one_kind_has_finds_nothing_in_the_other(company: Directory, text: str, found: str) -> None:
    answer = _search(company, filter=text)

    assert _names(answer) == found.split()
    assert answer.document["totalResults"] == len(found.split())
    assert _names(company.send("GET", f"/?filter={quote(text)}")) == found.split()


def test_everything_is_sorted_as_one_list(company: Directory) -> None:
    assert _names(_search(company, sortBy="meta.created", sortOrder="descending")) == ["bees", "ants", "cyd", "bob", "ada"]
    # What a kind does not have is missing, and so comes first here.
    assert _names(_search(company, sortBy="userName", sortOrder="descending")) == ["ants", "bees", "cyd", "bob", "ada"]
    answer = _search(company, sortBy="badge")
    assert (answer.status, answer.document["scimType"]) == (400, "invalidPath")


@pytest.mark.parametrize("at", ["", "/Users", "/Groups"])
def test_a_search_is_made_by_post_alone(company: Directory, at: str) -> None:
    body = {"schemas": [USER_URN], "userName": "x", "displayName": "x"}

    for slash in ("", "/"):
        for method, said in (("GET", None), ("PUT", body), ("PATCH", {"Operations": []}), ("DELETE", None)):
            answer = company.send(method, f"{at}/.search{slash}", said)
            assert (answer.status, answer.document["status"], answer.headers["Allow"]) == (405, "405", "POST"), (method, slash)
    for name in (".searched", "x.search", ".search.x"):
        assert company.send("GET", f"/Users/{name}").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_the_base_url_is_only_read_with_a_slash_and_without(company: Directory, method: str) -> None:
    for at in ("", "/"):
        answer = company.send(method, at, {"userName": "x"})
        assert (answer.status, answer.document["status"], answer.headers["Allow"]) == (405, "405", "GET, HEAD")
        assert _names(company.send("GET", at)) == ["ada", "bob", "cyd", "ants", "bees"]


@pytest.mark.parametrize("at", ["", "/Users", "/Groups"])
def test_a_search_may_have_a_slash_at_its_end(company: Directory, at: str) -> None:
    answer = company.send("POST", f"{at}/.search/", {"schemas": [SEARCH_URN], "filter": "displayName pr"})

    assert answer.status == 200, answer.text
    assert answer.document == _search(company, at, filter="displayName pr").document


def test_one_directory_finds_nothing_of_another(company: Directory) -> None:
    other = company.beside("entra")

    assert [_search(other, at).document["totalResults"] for at in ("", "/Users", "/Groups")] == [0, 0, 0]
    assert other.send("POST", "/.search", {"schemas": [SEARCH_URN]}, Authorization=f"Bearer {company.token}").status == 401


@pytest.mark.parametrize(
    ("body", "problem", "named"),
    [
        ({}, "invalidSyntax", "schemas"),
        ({"schemas": SEARCH_URN}, "invalidSyntax", "schemas"),
        ({"schemas": [USER_URN]}, "invalidSyntax", "schemas"),
        ({"schemas": [7]}, "invalidSyntax", "schemas"),
        ([], "invalidSyntax", "list"),
        ({"schemas": [SEARCH_URN], "filter": 7}, "invalidValue", "filter"),
        ({"schemas": [SEARCH_URN], "filter": "title"}, "invalidFilter", "filter"),
        ({"schemas": [SEARCH_URN], "startIndex": "1"}, "invalidValue", "startIndex"),
        ({"schemas": [SEARCH_URN], "startIndex": True}, "invalidValue", "startIndex"),
        ({"schemas": [SEARCH_URN], "count": 1.5}, "invalidValue", "count"),
        ({"schemas": [SEARCH_URN], "cursor": 0}, "invalidCursor", "cursor"),
        ({"schemas": [SEARCH_URN], "cursor": [""]}, "invalidCursor", "cursor"),
        ({"schemas": [SEARCH_URN], "cursor": "", "count": "1"}, "invalidCount", "count"),
        ({"schemas": [SEARCH_URN], "cursor": "", "startIndex": 1}, "invalidValue", "startIndex"),
        ({"schemas": [SEARCH_URN], "sortBy": ["title"]}, "invalidValue", "sortBy"),
        ({"schemas": [SEARCH_URN], "sortBy": "name"}, "invalidPath", "sortBy"),
        ({"schemas": [SEARCH_URN], "attributes": "title"}, "invalidValue", "attributes"),
        ({"schemas": [SEARCH_URN], "excludedAttributes": [7]}, "invalidValue", "excludedAttributes"),
        ({"schemas": [SEARCH_URN], "attributes": ["title"], "excludedAttributes": ["id"]}, "invalidValue", "excludedAttributes"),
    ],
)
def test_a_search_that_cannot_be_read_is_refused_by_name(company: Directory, body: Any, problem: str, named: str) -> None:
    answer = company.send("POST", "/.search", body)

    assert (answer.status, answer.document["scimType"]) == (400, problem), answer.text
    assert named in answer.document["detail"]


def test_null_and_other_spellings_are_read_as_json_has_them_in_scim(company: Directory) -> None:
    answer = company.send(
        "POST", "/.search", {"SCHEMAS": [SEARCH_URN.upper()], "FILTER": None, "Count": 1, "attributes": None, "sortBy": None}
    )

    assert _names(answer) == ["ada"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_nobody_is_me(directory: Directory, method: str) -> None:
    before = directory.written()

    answer = directory.send(method, "/Me", {"userName": "x"})

    assert (answer.status, answer.document["status"]) == (501, "501")
    assert "/Users" in answer.document["detail"]
    assert directory.written() == before
    assert directory.send(method, "/Me", Authorization="Bearer wrong").status == 401


# What of a resource is shown.


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("attributes=userName,title", {"userName", "title"}),
        ("attributes=userName&attributes=title", {"userName", "title"}),
        ("attributes=USERNAME,%20Title%20,", {"userName", "title"}),
        (f"attributes={USER_URN}:userName", {"userName"}),
        (f"attributes={USER_URN}", {"userName", "name", "title", "active", "groups"}),
        (f"attributes={USER_URN.upper()},shoeSize", {"userName", "name", "title", "active", "groups", "shoeSize"}),
        (f"attributes={ENTERPRISE_URN}", {ENTERPRISE_URN}),
        (f"attributes={ENTERPRISE_URN}:department", {ENTERPRISE_URN}),
        ("attributes=department", {ENTERPRISE_URN}),
        (f"attributes={BADGE_URN.upper()}", {BADGE_URN}),
        (f"attributes={BADGE_URN}:NUMBER", {BADGE_URN}),
        ("attributes=name.familyname", {"name"}),
        ("attributes=shoesize", {"shoeSize"}),
        ("attributes=nothing", set()),
        ("attributes=id", set()),
    ],
)
def test_only_what_is_asked_for_is_shown_beside_id_and_schemas(directory: Directory, asked: str, shown: set[str]) -> None:
    user_id = _someone(directory)

    user = get(directory, f"/Users/{user_id}?{asked}")

    assert set(user) == {"id", "schemas", *shown}
    assert user.get("name", {"familyName": "Byron"}) == {"familyName": "Byron"}
    assert user.get(ENTERPRISE_URN, {}).keys() <= ({"department"} if "department" in asked else {"department", "costCenter"})


@pytest.mark.parametrize(
    ("asked", "missing"),
    [
        ("excludedAttributes=title,userName", {"title", "userName"}),
        ("excludedAttributes=title&excludedAttributes=userName", {"title", "userName"}),
        (f"excludedAttributes={ENTERPRISE_URN.lower()},{BADGE_URN.lower()}", {ENTERPRISE_URN, BADGE_URN}),
        ("excludedAttributes=GROUPS,Meta.version", {"groups"}),
        ("excludedAttributes=id,schemas", set()),
        (f"excludedAttributes={USER_URN.lower()}", {"userName", "name", "title", "active", "groups"}),
        ("excludedAttributes=", set()),
        ("attributes=&excludedAttributes=title", {"title"}),
    ],
)
def test_all_but_what_is_excluded_is_shown(directory: Directory, asked: str, missing: set[str]) -> None:
    user_id = _someone(directory)

    user = get(directory, f"/Users/{user_id}?{asked}")

    assert set(get(directory, f"/Users/{user_id}")) - set(user) == missing
    assert ("version" in user["meta"]) is ("version" not in asked)


def test_the_schema_of_groups_means_all_that_it_has(directory: Directory) -> None:
    group_id = group_with(directory, directory.add_user("ada"), name="ants")

    assert set(get(directory, f"/Groups/{group_id}?attributes={GROUP_URN}")) == {"id", "schemas", "displayName", "members"}
    assert set(get(directory, f"/Groups/{group_id}?excludedAttributes={GROUP_URN}")) == {"id", "schemas", "meta"}
    assert set(_search(directory, "/Groups", attributes=[GROUP_URN]).document["Resources"][0]) == {"id", "schemas", "displayName", "members"}


@pytest.mark.parametrize(("at", "name"), [("/Users", "userName"), ("/Groups", "displayName")])
@pytest.mark.parametrize("asked", ["", "?attributes=id", "?excludedAttributes=meta"])
def test_a_new_resource_says_where_it_is_whatever_is_shown(directory: Directory, at: str, name: str, asked: str) -> None:
    answer = directory.send("POST", f"{at}{asked}", {name: "ada"})

    there = get(directory, f"{at}/{answer.document['id']}")
    assert (answer.status, answer.headers["Location"]) == (201, there["meta"]["location"])


def test_attributes_and_excluded_attributes_together_are_refused(directory: Directory) -> None:
    user_id = _someone(directory)
    group_id = group_with(directory, name="ants")
    before = directory.written()
    both = "attributes=userName&excludedAttributes=title"

    answers = [
        directory.send("GET", f"/Users/{user_id}?{both}"),
        directory.send("GET", f"/Users?{both}"),
        directory.send("POST", f"/Users?{both}", {"userName": "bob"}),
        directory.send("PUT", f"/Users/{user_id}?{both}", {"userName": "bob"}),
        directory.patch(f"/Users/{user_id}?{both}", {"op": "add", "path": "title", "value": "x"}),
        directory.patch(f"/Groups/{group_id}?{both}", {"op": "add", "path": "displayName", "value": "x"}),
    ]

    assert {(answer.status, answer.document.get("scimType")) for answer in answers} == {(400, "invalidValue")}
    assert directory.written() == before


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("attributes=displayName", {"displayName"}),
        ("attributes=displayName,members.value", {"displayName", "members"}),
        ("attributes=", {"displayName", "members", "meta"}),
        ("excludedAttributes=members", {"displayName", "meta"}),
    ],
)
def test_a_patched_group_is_shown_to_who_says_what_of_it(directory: Directory, asked: str, shown: set[str]) -> None:
    ada, bob = directory.add_user("ada"), directory.add_user("bob")
    group_id = group_with(directory, ada, name="ants")
    join = {"op": "add", "path": "members", "value": [{"value": bob}]}

    answer = directory.patch(f"/Groups/{group_id}?{asked}", join, {"op": "replace", "path": "displayName", "value": "bees"})

    assert answer.status == 200, answer.text
    assert set(answer.document) == {"id", "schemas", *shown}
    assert (answer.document["id"], answer.document["displayName"]) == (group_id, "bees")
    assert sorted(one["value"] for one in answer.document.get("members", [])) == (sorted([ada, bob]) if "members" in shown else [])
    assert answer.headers["ETag"] == 'W/"2"'
    assert directory.patch(f"/Groups/{group_id}", {"op": "remove", "path": "members"}).status == 204


def _someone(directory: Directory) -> str:
    return directory.add_user(
        "ada", title="Analyst", shoeSize="38", name={"familyName": "Byron"},
        **{ENTERPRISE_URN: {"department": "ops", "costCenter": "7"}, BADGE_URN: {"number": "7"}},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("attributes=location", {"location"}),
        ("attributes=department", {"department", ENTERPRISE_URN}),
        (f"attributes={ENTERPRISE_URN}:department", {ENTERPRISE_URN}),
        ("excludedAttributes=department,meta,userName", {"location", "addresses", "groups", "active", ENTERPRISE_URN}),
        ("excludedAttributes=location,meta,userName", {"department", "addresses", "groups", "active", ENTERPRISE_URN}),
    ],
)
def test_what_is_kept_at_the_top_is_chosen_by_its_own_name(directory: Directory, asked: str, shown: set[str]) -> None:
    places: dict[str, Any] = {"location": "Berlin", "addresses": [{"type": "work", "locality": "Rome"}]}
    user_id = directory.add_user("ada", **places, **{"department": "Sales", ENTERPRISE_URN: {"department": "Ops", "costCenter": "7"}})

    assert set(get(directory, f"/Users/{user_id}?{asked}")) == {"id", "schemas", *shown}


@pytest.mark.parametrize("at", ["/ServiceProviderConfig", "/Schemas", f"/Schemas/{USER_URN}", "/ResourceTypes", "/ResourceTypes/User"])
def test_discovery_takes_no_filter(directory: Directory, at: str) -> None:
    answer = directory.send("GET", f"{at}?filter=name%20eq%20%22User%22")

    assert (answer.status, answer.document["status"]) == (403, "403")
    assert "filter" in answer.document["detail"]
    assert directory.send("GET", f"{at}?startIndex=1&sortBy=id").status == 200
