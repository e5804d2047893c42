"""`sortBy` and `sortOrder`: the order that RFC 7644 §3.4.2.3 asks for, alike on both databases."""

from typing import Any
from urllib.parse import quote

import pytest

from app.directory.vocabulary import COMMON, ENTERPRISE, ENTERPRISE_URN, GROUP, USER, Attribute, Kind
from tests.clients.directory import Directory
from tests.clients.transcript import Answer
from tests.unit.scim.choosing import OFF, group_with

OPS: dict[str, Any] = {ENTERPRISE_URN: {"department": "ops"}}


def _asked(directory: Directory, sort_by: str, order: str = "", *, at: str = "/Users", more: str = "") -> Answer:
    said = f"&sortOrder={order}" if order else ""
    return directory.send("GET", f"{at}?sortBy={quote(sort_by)}{said}{more}")


def _order(directory: Directory, sort_by: str, order: str = "", *, at: str = "/Users", more: str = "") -> list[str]:
    answer = _asked(directory, sort_by, order, at=at, more=more)
    assert answer.status == 200, answer.text
    return [resource.get("userName") or resource["displayName"] for resource in answer.document["Resources"]]


def test_texts_sort_without_case_and_what_is_missing_comes_last(directory: Directory) -> None:
    for name, shown in {"a": "beta", "b": "ÅSA", "c": "Alpha", "d": None, "e": "åke", "f": "ALPHA 2"}.items():
        directory.add_user(name, displayName=shown)

    assert _order(directory, "displayName") == ["c", "f", "a", "e", "b", "d"]
    assert _order(directory, "displayname", "ascending") == ["c", "f", "a", "e", "b", "d"]
    assert _order(directory, "displayName", "Descending") == ["d", "b", "e", "a", "f", "c"]


def test_an_external_id_sorts_by_case(directory: Directory) -> None:
    for name, key in {"a": "a1", "b": "B1", "c": "A2", "d": None}.items():
        directory.add_user(name, externalId=key)

    assert _order(directory, "externalId") == ["c", "b", "a", "d"]


def test_a_column_that_keeps_a_text_as_given_sorts_without_case_all_the_same(directory: Directory) -> None:
    for name, number in {"a": "b2", "b": "A1", "c": "a0", "d": None}.items():
        directory.add_user(name, **({ENTERPRISE_URN: {"employeeNumber": number}} if number else {}))

    assert _order(directory, "employeeNumber") == ["c", "b", "a", "d"]


def test_of_several_values_the_primary_one_counts_and_else_the_first(directory: Directory) -> None:
    directory.add_user("a", emails=[{"value": "a@x", "type": "work"}, {"value": "z@x", "type": "home", "primary": True}])
    directory.add_user("b", emails=[{"value": "m@x", "primary": False}, {"value": "b@x"}])
    directory.add_user("c", emails=[{"value": "c@x"}, {"value": "zz@x"}])
    directory.add_user("d")

    assert _order(directory, "emails.value") == ["c", "b", "a", "d"]
    assert _order(directory, "emails") == ["c", "b", "a", "d"]
    assert _order(directory, "emails.value", "descending") == ["d", "a", "b", "c"]
    assert _order(directory, "emails.type") == ["a", "b", "c", "d"]


def test_true_and_false_sort_and_active_is_as_it_is_answered(directory: Directory) -> None:
    off = directory.add_user("a", emails=[{"value": "a@x", "primary": True}])
    directory.add_user("b", emails=[{"value": "b@x", "primary": False}])
    directory.add_user("c")
    directory.patch(f"/Users/{off}", OFF)

    assert _order(directory, "active", "descending") == ["b", "c", "a"]
    assert _order(directory, "emails.primary") == ["b", "a", "c"]


def test_instants_and_versions_sort_as_what_they_are(directory: Directory) -> None:
    first, second = directory.add_user("a"), directory.add_user("b")
    for number in range(10):
        directory.patch(f"/Users/{first}", {"op": "replace", "path": "title", "value": f"{number}"})
    directory.patch(f"/Users/{second}", {"op": "replace", "path": "title", "value": "x"})

    assert _order(directory, "meta.created", "descending") == ["b", "a"]
    assert _order(directory, "meta.lastModified") == ["a", "b"]
    # Version 2 comes before version 11, which it would not as a text.
    assert _order(directory, "meta.version") == ["b", "a"]


def test_addresses_sort_as_they_are_answered(directory: Directory) -> None:
    ids = sorted(directory.add_user(f"u{number}") for number in range(3))
    groups = sorted(group_with(directory, name=f"g{number}") for number in range(2))

    for at, there in (("/Users", ids), ("/Groups", groups), ("/", [*groups, *ids])):
        for order, wanted in (("ascending", there), ("descending", there[::-1])):
            found = _asked(directory, "meta.location", order, at=at).document["Resources"]
            assert [one["id"] for one in found] == wanted
            assert [one["meta"]["location"] for one in found] == sorted((one["meta"]["location"] for one in found), reverse=order == "descending")


def test_extensions_are_reached_by_their_urn_or_by_the_short_name(directory: Directory) -> None:
    for name, place in {"a": "sales", "b": "Ops", "c": "legal"}.items():
        directory.add_user(name, **{ENTERPRISE_URN: {"department": place}})

    for path in (f"{ENTERPRISE_URN}:department", f"{ENTERPRISE_URN.lower()}:DEPARTMENT", "department"):
        assert _order(directory, path) == ["c", "b", "a"]


def test_equals_keep_the_order_of_ids_so_that_pages_hold_everyone_once(directory: Directory) -> None:
    ids = [directory.add_user(f"u{number}", **OPS) for number in range(7)]

    for order in ("ascending", "descending"):
        pages = [_asked(directory, "department", order, more=f"&startIndex={start}&count=3").document for start in (1, 4, 7)]

        assert [resource["id"] for page in pages for resource in page["Resources"]] == sorted(ids)
        assert [page["totalResults"] for page in pages] == [7, 7, 7]


def test_a_filter_and_an_order_go_together(directory: Directory) -> None:
    for name, shown in {"b": "y", "c": "x"}.items():
        directory.add_user(name, displayName=shown, **OPS)
    directory.add_user("a", displayName="a", **{ENTERPRISE_URN: {"department": "sales"}})

    assert _order(directory, "displayName", more="&filter=department%20eq%20%22ops%22") == ["c", "b"]


def test_groups_sort_by_what_they_have(directory: Directory) -> None:
    ada, bob = directory.add_user("ada", displayName="Ada"), directory.add_user("bob", displayName="Bob")
    group_with(directory, bob, name="b")
    group_with(directory, ada, name="C")
    group_with(directory, name="a")

    assert _order(directory, "displayName", at="/Groups") == ["a", "b", "C"]
    assert _order(directory, "members.display", at="/Groups") == ["C", "b", "a"]
    assert _order(directory, "members", "descending", at="/Groups") == ["a", "b", "C"]
    assert _order(directory, "groups.display") == ["bob", "ada"]


def test_who_is_in_no_group_is_missing_where_all_groups_are_alike(directory: Directory) -> None:
    directory.add_user("zed")
    group_with(directory, directory.add_user("bob"), name="b")
    directory.add_user("amy")
    group_with(directory, name="empty")

    assert _order(directory, "groups.type")[0] == "bob"
    assert _order(directory, "groups.type", "descending")[-1] == "bob"
    assert _order(directory, "members.type", at="/Groups") == ["b", "empty"]
    assert _order(directory, "members.type", "descending", at="/Groups") == ["empty", "b"]


def _paths(level: dict[str, Attribute], prefix: str = "") -> list[str]:
    found: list[str] = []
    for attribute in level.values():
        if attribute.kind is Kind.COMPLEX:
            found += _paths(dict(attribute.subs), f"{prefix}{attribute.name}.")
        elif attribute.mutability != "writeOnly":
            found.append(f"{prefix}{attribute.name}")
    return found


def test_every_attribute_that_is_known_can_be_sorted_by(directory: Directory) -> None:
    names = [f"u{number}" for number in range(3)]
    group_with(directory, *(directory.add_user(name) for name in names), name="g")
    users = [*_paths({**COMMON, **USER}), *(f"{ENTERPRISE_URN}:{path}" for path in _paths(dict(ENTERPRISE)))]
    groups = _paths({**COMMON, **GROUP})

    assert {path for path in users if sorted(_order(directory, path)) != names} == set()
    assert {path for path in users if sorted(_order(directory, path, "descending")) != names} == set()
    assert {path for path in groups if _order(directory, path, at="/Groups") != ["g"]} == set()


@pytest.mark.parametrize(
    ("at", "sort_by"),
    [
        ("/Users", "badge"),
        ("/Users", "name.badge"),
        ("/Users", "userName.x"),
        ("/Users", "members.value"),
        ("/Users", "urn:example:ext:2.0:User:badge"),
        ("/Users", "name"),
        ("/Users", "password"),
        ("/Users", "userName desc"),
        ("/Users", "userName,title"),
        ("/Users", 'emails[type eq "work"].value'),
        ("/Users", "'; drop table record"),
        ("/Groups", "userName"),
        ("/Groups", "department"),
        ("/Users", "urn:ietf:params:scim:schemas:core:2.0:Group:displayName"),
        ("/Groups", "urn:ietf:params:scim:schemas:core:2.0:User:displayName"),
    ],
)
def test_what_cannot_be_sorted_by_is_refused_by_name(directory: Directory, at: str, sort_by: str) -> None:
    answer = _asked(directory, sort_by, at=at)

    assert (answer.status, answer.document["scimType"]) == (400, "invalidPath"), answer.text
    assert answer.document["detail"].startswith("sortBy: ")


def test_an_order_of_another_name_is_refused(directory: Directory) -> None:
    answer = _asked(directory, "userName", "upwards")

    assert (answer.status, answer.document["scimType"]) == (400, "invalidValue")
    # RFC 7644 §3.4.2.3: without sortBy it says nothing.
    assert directory.send("GET", "/Users?sortOrder=upwards").status == 200
