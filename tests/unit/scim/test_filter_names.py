"""Which attribute a filter names, and of which kind of resource."""

from urllib.parse import quote

import pytest

from app.directory.vocabulary import GROUP_URN, USER_URN
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
