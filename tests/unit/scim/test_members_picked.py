"""Members of a group picked out by a filter in the path (RFC 7644 §3.5.2), as they are shown."""

from typing import Any

import pytest

from tests.clients.directory import Directory
from tests.clients.transcript import Answer


def _team(directory: Directory) -> tuple[str, list[str]]:
    ids = [directory.add_user("ada", displayName="Ada"), directory.add_user("bob"), directory.add_user("cy", displayName="Cy")]
    made = directory.send("POST", "/Groups", {"displayName": "Team", "members": [{"value": one} for one in ids]})
    return f"/Groups/{made.document['id']}", ids


def _in(directory: Directory, group: str) -> set[str]:
    return {str(one["display"]) for one in directory.send("GET", group).document["members"]}


def _refused(answer: Answer, problem: str) -> bool:
    return (answer.status, answer.document["scimType"]) == (400, problem)


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ('display eq "ada"', {"bob", "Cy"}),
        # Who has no name is shown by the userName.
        ('display eq "bob"', {"Ada", "Cy"}),
        ('display sw "a" or display sw "c"', {"bob"}),
        ('value eq "{0}" and type eq "User"', {"bob", "Cy"}),
        ('value eq "{0}" and type eq "Group"', {"Ada", "bob", "Cy"}),
        ('not (value eq "{0}")', {"Ada"}),
        ('value sw "0"', set()),
        ("value pr", set()),
        ('$ref ew "{1}"', {"Ada", "Cy"}),
        ('value eq "{0}" or value eq "{1}"', {"Cy"}),
        ('value eq "nobody" or display eq "Cy"', {"Ada", "bob"}),
    ],
)
def test_who_fits_is_taken_out(directory: Directory, where: str, left: set[str]) -> None:
    group, ids = _team(directory)

    answer = directory.patch(group, {"op": "remove", "path": f"members[{where.format(*ids)}]"})

    assert answer.status == 204, answer.text
    assert _in(directory, group) == left


@pytest.mark.parametrize("where", ['value eq "{0}"', 'display eq "Ada"'])
def test_one_member_is_replaced_by_another(directory: Directory, where: str) -> None:
    group, ids = _team(directory)
    dee = directory.add_user("dee")
    operation: dict[str, Any] = {"op": "replace", "path": f"members[{where.format(*ids)}]", "value": {"value": dee}}

    assert directory.patch(group, operation).status == 204
    assert _in(directory, group) == {"dee", "bob", "Cy"}
    assert _refused(directory.patch(group, operation), "noTarget")


def test_who_is_picked_is_among_those_whom_the_operations_before_have_left(directory: Directory) -> None:
    group, ids = _team(directory)
    dee = directory.add_user("dee")

    assert directory.patch(
        group,
        {"op": "add", "path": "members", "value": [{"value": dee}]},
        {"op": "remove", "path": f'members[value eq "{ids[0]}"]'},
        {"op": "remove", "path": 'members[display eq "dee" or display eq "Ada" or display eq "Cy"]'},
    ).status == 204
    assert _in(directory, group) == {"bob"}
    assert directory.patch(
        group,
        {"op": "replace", "path": "members", "value": [{"value": one} for one in (*ids, dee)]},
        {"op": "remove", "path": 'members[display co "e" or display co "y"]'},
        {"op": "replace", "path": "displayName", "value": "Crew"},
    ).status == 204  # fmt: skip
    assert _in(directory, group) == {"Ada", "bob"}


def test_what_cannot_be_done_to_those_who_are_picked_is_refused_and_changes_nobody(directory: Directory) -> None:
    group, ids = _team(directory)
    before = directory.written()

    assert _refused(directory.patch(group, {"op": "add", "path": 'members[display eq "Ada"]', "value": {"value": ids[1]}}), "invalidPath")
    assert _refused(directory.patch(group, {"op": "replace", "path": 'members[display eq "Zoe"]', "value": {"value": ids[1]}}), "noTarget")
    assert _refused(directory.patch(group, {"op": "replace", "path": 'members[display eq "Ada"]', "value": {"value": "nobody"}}), "invalidValue")
    assert directory.patch("/Groups/nowhere", {"op": "remove", "path": 'members[display eq "Ada"]'}).status == 404
    assert directory.written() == before
