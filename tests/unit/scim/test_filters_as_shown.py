"""Filters ask of what an answer shows, also where it is in no document: members' names, addresses and versions."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.clients.directory import Directory
from tests.unit.scim.choosing import get, group_with

pytestmark = pytest.mark.slow


def _found(directory: Directory, kind: str, text: str) -> list[str]:
    answer = directory.send("GET", f"/{kind}?filter={quote(text, safe='')}")
    assert answer.status == 200, f"{text}: {answer.text}"
    names = [resource.get("userName") or resource["displayName"] for resource in answer.document["Resources"]]
    assert answer.document["totalResults"] == len(names)
    return names


def test_a_member_is_found_by_the_name_that_is_shown(directory: Directory) -> None:
    group_with(directory, directory.add_user("ada@example.org"), name="unnamed")
    group_with(directory, directory.add_user("bob@example.org", displayName="Bob"), name="named")
    group_with(directory, directory.add_user("eve@example.org", displayName=""), name="empty")
    group_with(directory, name="nobody")
    wanted = {"ADA@example.org": ["unnamed"], "bob": ["named"], "eve@example.org": ["empty"], "bob@example.org": []}

    for name, groups in wanted.items():
        for text in (f'members.display eq "{name}"', f'members[display eq "{name}"]', f'members[type eq "User" and display sw "{name}"]'):
            assert _found(directory, "Groups", text) == groups, text
    for text in ("members.display pr", "members[display pr]", 'members.display co "B"', 'members[not (display eq "x")]'):
        assert _found(directory, "Groups", text) == (["named"] if " co " in text else ["unnamed", "named", "empty"]), text


def _shown(directory: Directory) -> tuple[dict[str, Any], dict[str, Any]]:
    """ada, who is in ants and was changed once, and the group; beside them bob and bees."""
    ada = directory.add_user("ada")
    directory.add_user("bob")
    ants = group_with(directory, ada, name="ants")
    group_with(directory, name="bees")
    directory.patch(f"/Users/{ada}", {"op": "replace", "path": "title", "value": "later"})
    return get(directory, f"/Users/{ada}"), get(directory, f"/Groups/{ants}")


def test_addresses_of_references_are_compared_as_they_are_shown(directory: Directory) -> None:
    ada, ants = _shown(directory)

    for kind, many, referred, found in (("Users", "groups", ants, "ada"), ("Groups", "members", ada, "ants")):
        address = ada["groups"][0]["$ref"] if kind == "Users" else ants["members"][0]["$ref"]
        for asked in (
            "pr", f'eq "{address}"', f'ew "{referred["id"]}"', f'sw "{address[:-1]}"', f'co "/{referred["id"][:8]}"', f'ge "{address}"',
            f'le "{address}"', 'gt "http"', 'ne "x"',
        ):  # fmt: skip
            others = [] if not asked.startswith("ne") else ["bob"] if kind == "Users" else ["bees"]
            assert _found(directory, kind, f"{many}.$ref {asked}") == [found, *others], asked
            assert _found(directory, kind, f"{many}[$ref {asked}]") == [found], asked
        for asked in (f'eq "{address.upper()}"', f'eq "{referred["id"]}"', f'eq "{ada["meta"]["location"]}x"', f'sw "x{address}"', f'lt "{address}"'):
            assert _found(directory, kind, f"{many}.$ref {asked}") == [], asked
            assert _found(directory, kind, f'{many}[$ref {asked} and value eq "{referred["id"]}"]') == [], asked
        assert _found(directory, kind, f"{many}.$ref eq null") == (["bob"] if kind == "Users" else ["bees"])


@pytest.mark.parametrize(("kind", "found", "other"), [("Users", "ada", "bob"), ("Groups", "ants", "bees")])
def test_meta_is_compared_as_it_is_shown(directory: Directory, kind: str, found: str, other: str) -> None:
    shown = _shown(directory)[0 if kind == "Users" else 1]
    location, version = shown["meta"]["location"], shown["meta"]["version"].replace('"', '\\"')
    asked = {
        "meta pr": [found, other],
        "meta.location pr": [found, other],
        "meta.version pr": [found, other],
        "not (meta pr)": [],
        "meta.location eq null": [],
        f'meta.location eq "{location}"': [found],
        f'meta.location ew "{shown["id"]}"': [found],
        f'meta.location co "/{kind}/"': [found, other],
        f'meta.location ne "{location}"': [other],
        f'meta.location eq "{location.upper()}"': [],
        f'meta.location eq "{location}0"': [],
        f'meta.version eq "{version}"': [found] if kind == "Users" else [found, other],
        'meta.version sw "W/"': [found, other],
        f'meta.version eq "{version.lower()}"': [],
        'meta.version eq "2"': [],
        f'meta[resourceType eq "{kind[:-1]}" and location ew "{shown["id"]}"]': [found],
        "meta[nowhere pr]": [],
        "meta[not (nowhere pr)]": [found, other],
        "id[not (value pr)]": [],
    }

    assert {text: _found(directory, kind, text) for text in asked} == asked


def test_addresses_are_compared_below_the_base_url_of_this_very_request(directory: Directory) -> None:
    _shown(directory)
    other = directory.beside("entra")
    eve = get(other, f"/Users/{other.add_user('eve')}")

    assert _found(other, "Users", f'meta.location eq "{eve["meta"]["location"]}"') == ["eve"]
    assert _found(directory, "Users", f'meta.location ew "{eve["id"]}" or meta.location co "{other.source_id}"') == []


ADDRESSES = [" pad@x.com ", "Plain@x.com", " ", "tab@x.com\t"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (" pad@x.com ", ["u0"]), (" PAD@x.com ", ["u0"]), ("pad@x.com", []), ("plain@X.COM", ["u1"]), (" plain@x.com", []), (" ", ["u2"]), ("  ", []),
        ("tab@x.com\\t", ["u3"]), ("tab@x.com", []),
    ],
)  # fmt: skip
def test_an_address_is_compared_with_its_blanks_and_without_its_case(directory: Directory, wanted: str, found: list[str]) -> None:
    for number, address in enumerate(ADDRESSES):
        directory.add_user(f"u{number}", emails=[{"value": address, "type": "work"}, {"value": f"u{number}@x.com"}])

    for text in (f'emails eq "{wanted}"', f'emails.value eq "{wanted}"', f'emails[value eq "{wanted}"]', f'emails[type eq "work"].value eq "{wanted}"'):
        assert _found(directory, "Users", text) == found, text
    assert len(_found(directory, "Users", f'emails.value ne "{wanted}"')) == len(ADDRESSES) - len(found)


@pytest.mark.parametrize("latest", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.998Z", "9999-12-31T23:59:59.999Z", "9999-01-01T00:00:00+14:00"])
def test_the_last_year_has_instants_too(directory: Directory, latest: str) -> None:
    directory.add_user("ada")
    asked = {"le": ["ada"], "lt": ["ada"], "ne": ["ada"], "eq": [], "gt": [], "ge": []}

    for name in ("created", "lastModified"):
        assert {operator: _found(directory, "Users", f'meta.{name} {operator} "{latest}"') for operator in asked} == asked
