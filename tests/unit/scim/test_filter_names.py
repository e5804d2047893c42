"""Which attribute a filter names: of which kind of resource, and whether it is the one of that name or one further down."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from app.directory.filters import DEEPEST, LONGEST, MOST_ANDS, Compare, ValuePath, parse, parse_asked
from app.directory.vocabulary import ENTERPRISE_URN, GROUP_URN, USER_URN
from tests.clients.directory import Directory
from tests.unit.scim.choosing import group_with


def _found(directory: Directory, at: str, text: str) -> list[str]:
    answer = directory.send("GET", f"{at}?filter={quote(text, safe='')}")
    assert answer.status == 200, f"{text}: {answer.text}"
    return [resource.get("userName") or resource["displayName"] for resource in answer.document["Resources"]]


@pytest.mark.parametrize(
    ("at", "text", "found"),
    [
        ("/", f"{GROUP_URN}:displayName pr", "G1"),
        ("/", f"{USER_URN}:displayName pr", "ada"),
        ("/", f"{GROUP_URN.upper()}:displayName pr", "G1"),
        ("/", f'{USER_URN}:userName eq "ADA"', "ada"),
        ("/", f"not ({GROUP_URN}:displayName pr)", "ada"),
        ("/", f'{GROUP_URN}:displayName ne "x"', "ada G1"),
        ("/", f"{GROUP_URN}:displayName eq null", "ada"),
        ("/", f"{USER_URN}:meta.created pr", "ada"),
        ("/", f'{GROUP_URN}:members[value pr] or {USER_URN}:emails[type eq "work"]', "ada G1"),
        ("/", f'{USER_URN}:emails[type eq "work"].value sw "a"', "ada"),
        ("/Groups", f'{USER_URN}:displayName eq "G1"', ""),
        ("/Groups", f"{USER_URN}:members.value pr", ""),
        ("/Groups", f"{USER_URN}:members[value pr]", ""),
        ("/Groups", f'{GROUP_URN}:displayName eq "g1"', "G1"),
        ("/Groups", f"{GROUP_URN}:members pr", "G1"),
        ("/Groups", f"{GROUP_URN}:id pr", "G1"),
        ("/Users", f"{GROUP_URN}:id pr", ""),
        ("/Users", f"{GROUP_URN}:groups pr", ""),
        ("/Users", f'{GROUP_URN}:emails.value eq "a@x"', ""),
        ("/Users", f'{GROUP_URN}:emails[value eq "a@x"]', ""),
        ("/Users", f'{USER_URN}:emails eq "a@x"', "ada"),
        ("/Users", f'{USER_URN}:userName eq "ada"', "ada"),
    ],
)  # fmt: skip
def test_a_core_schema_says_which_kind_of_resource_is_meant(directory: Directory, at: str, text: str, found: str) -> None:
    ada = directory.add_user("ada", displayName="G1", emails=[{"value": "a@x", "type": "work"}])
    group_with(directory, ada, name="G1")

    assert _found(directory, at, text) == found.split()


def _employed(directory: Directory) -> None:
    """Each has a department or a place: as an attribute of that name, as the enterprise's, at work, or not at all."""
    said: dict[str, dict[str, Any]] = {
        "top": {"location": "Berlin", "department": "Sales", "manager": "M-1"},
        "other": {"location": "Rome", "department": "Ops", "manager": {"value": "M-1"}, "division": 7},
        "enterprise": {ENTERPRISE_URN: {"department": "Sales", "manager": {"value": "M-1"}, "division": "7"}},
        "at-work": {"addresses": [{"type": "work", "locality": "Berlin"}]},
        "numbered": {ENTERPRISE_URN: {"employeeNumber": "7"}},
        "number-at-top": {"employeeNumber": "7"},
        "nowhere": {},
    }
    for name, attributes in said.items():
        directory.add_user(name, **attributes)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('location eq "Berlin"', "top"),
        ('location ne "Berlin"', "other enterprise at-work numbered number-at-top nowhere"),
        ("location pr", "top other"),
        ("location eq null", "enterprise at-work numbered number-at-top nowhere"),
        ('addresses[type eq "work"].locality eq "berlin"', "at-work"),
        ('department eq "sales"', "top enterprise"),
        ('department ne "Sales"', "other at-work numbered number-at-top nowhere"),
        ("department pr", "top other enterprise"),
        ("department eq null", "at-work numbered number-at-top nowhere"),
        ('department sw "s" and department pr', "top enterprise"),
        ('not (department co "a")', "other at-work numbered number-at-top nowhere"),
        (f'{ENTERPRISE_URN}:department eq "sales"', "enterprise"),
        # Look-ups go by the index of numbers.
        ('employeeNumber eq "7"', "numbered"),
        ('division eq "7"', "enterprise"),
        ("division eq 7", "other"),
        ('manager eq "M-1"', "top enterprise"),
        ('manager.value eq "M-1"', "other enterprise"),
        ('manager[value eq "M-1"]', "other enterprise"),
        ('manager[value eq "M-1"].value sw "M"', "other enterprise"),
    ],
)  # fmt: skip
def test_an_attribute_is_the_one_of_that_name_even_where_rules_have_a_short_word(directory: Directory, text: str, found: str) -> None:
    _employed(directory)

    assert _found(directory, "/Users", text) == found.split()


@pytest.mark.parametrize("operator", ["gt", "ge", "lt", "le"])
@pytest.mark.parametrize(
    "name", ["active", "emails.primary", "x509Certificates.value", "x509Certificates", "addresses.primary", f"{USER_URN}:active"]
)
def test_what_has_no_order_is_not_compared_by_it(directory: Directory, name: str, operator: str) -> None:
    inner = [f'{many}[{sub} {operator} "A"]' for many, sub in (("emails", "primary"), ("x509Certificates", "value"))]

    for text in (f'{name} {operator} "A"', f"{name} {operator} 7", *inner):
        answer = directory.send("GET", f"/Users?filter={quote(text, safe='')}")

        assert (answer.status, answer.document.get("scimType")) == (400, "invalidFilter"), text


@pytest.mark.parametrize("text", [f'{GROUP_URN}:displayName eq "x"', f'{GROUP_URN}:emails[type eq "work"]'])
def test_a_rule_that_was_stored_with_a_core_schema_means_what_it_meant(text: str) -> None:
    """Else everybody whom it put into a channel would leave it with the next version."""
    asked, stored = parse_asked(text), parse(text)

    assert isinstance(asked, Compare | ValuePath) and asked.path.core == GROUP_URN
    assert isinstance(stored, Compare | ValuePath) and stored.path.core is None


def test_a_filter_joins_as_often_as_the_page_says(directory: Directory) -> None:
    directory.add_user("ada")
    told = (Path(__file__).parents[3] / "docs" / "scim.md").read_text()
    joined = " and ".join(['title ne "x"'] * (MOST_ANDS + 1))

    refused = directory.send("GET", f"/Users?filter={quote(f'{joined} and title pr')}")

    assert f"{LONGEST:,} characters, {DEEPEST} deep, {MOST_ANDS} times `and`" in told
    assert _found(directory, "/Users", joined) == ["ada"]
    assert (refused.status, refused.document["scimType"]) == (400, "invalidFilter")
