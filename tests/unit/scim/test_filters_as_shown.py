"""Filters ask of what an answer shows, also where it is in no document."""

from urllib.parse import quote

from tests.clients.directory import Directory
from tests.unit.scim.choosing import group_with


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
