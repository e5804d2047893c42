"""Members as the database's own JSON text: the same in every way of asking, whatever people are called and however many pieces it takes."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.scim import answers, hot_reads, member_texts
from app.scim.answers import JSONList, encoded
from tests.clients.directory import Directory

NAMES = ["Ada", 'Bob "the Ä"', "Cy\\\u2028", "日本 😀", "Eve\u0001", "{}],[", "Gil"]


@pytest.fixture(params=[1, 3, 7, 1000])
def _pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(member_texts, "AT_A_TIME", request.param)
    hot_reads._group.cache_clear()
    yield
    hot_reads._group.cache_clear()


def _joined(directory: Directory) -> list[dict[str, Any]]:
    """People of these names, each as a group says them, in the order of their ids."""
    ids = {directory.add_user(f"user-{number}", displayName=name): name for number, name in enumerate(NAMES)}
    public = directory.send("GET", f"/Users/{next(iter(ids))}").document["meta"]["location"].rpartition("/")[0]
    return [{"value": one, "$ref": f"{public}/{one}", "display": ids[one], "type": "User"} for one in sorted(ids)]


def _group(directory: Directory, name: str, members: list[dict[str, Any]]) -> str:
    made = directory.send("POST", "/Groups", {"displayName": name, "members": [{"value": one["value"]} for one in members]})
    assert made.document["members"] == members
    return str(made.document["id"])


@pytest.mark.usefixtures("_pieces")
def test_members_are_the_same_in_every_way_of_asking(directory: Directory) -> None:
    members = _joined(directory)
    all_of_them, nobody, some = (_group(directory, name, there) for name, there in (("all", members), ("none", []), ("some", members[2:])))
    said = {all_of_them: members, nobody: [], some: members[2:]}

    listed = directory.send("GET", "/Groups").document["Resources"]

    assert {one["id"]: one["members"] for one in listed} == said
    for group, there in said.items():
        quickly, at_length = directory.send("GET", f"/Groups/{group}"), directory.send("GET", f"/Groups/{group}", If_None_Match='W/"0"')
        assert quickly.document == at_length.document
        assert quickly.document["members"] == there
        assert quickly.headers["Content-Length"] == str(len(quickly.text.encode()))
        assert at_length.headers["Content-Length"] == str(len(at_length.text.encode()))


def test_who_left_the_group_is_in_no_piece(directory: Directory) -> None:
    members = _joined(directory)
    group = _group(directory, "all", members)

    directory.patch(f"/Groups/{group}", {"op": "remove", "path": f'members[value eq "{members[3]["value"]}"]'})

    assert directory.send("GET", f"/Groups/{group}").document["members"] == [*members[:3], *members[4:]]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("attributes=members", {"value", "$ref", "display", "type"}),
        ("attributes=MEMBERS.Value", {"value"}),
        ("attributes=members.display,members.$ref,displayName", {"display", "$ref"}),
        ("excludedAttributes=members.display", {"value", "$ref", "type"}),
        ("excludedAttributes=members.value,members.$ref,members.display,members.type", None),
        ("attributes=members.nickName", None),
        ("attributes=displayName", None),
        ("excludedAttributes=members", None),
        ("excludedAttributes=displayName", {"value", "$ref", "display", "type"}),
    ],
)
def test_of_members_is_said_what_was_asked_for(directory: Directory, query: str, shown: set[str] | None) -> None:
    members = _joined(directory)
    group = _group(directory, "all", members)

    answered = directory.send("GET", f"/Groups/{group}?{query}").document

    expected = None if shown is None else [{name: one[name] for name in one if name in shown} for one in members]
    assert answered.get("members") == expected
    assert answered["id"] == group


def test_a_member_without_a_name_is_shown_by_the_user_name(directory: Directory) -> None:
    ada, bob = directory.add_user("ada"), directory.add_user("bob", displayName="")
    group = directory.send("POST", "/Groups", {"displayName": "both", "members": [{"value": ada}, {"value": bob}]}).document["id"]

    for headers in ({}, {"If_None_Match": 'W/"0"'}):
        answered = directory.send("GET", f"/Groups/{group}", **headers).document
        assert {one["display"] for one in answered["members"]} == {"ada", "bob"}


def test_lists_come_where_they_stand_in_what_is_answered() -> None:
    one, two = JSONList(), JSONList()
    one.append('{"a":1},{"a":2}')
    one.append('{"a":3}')

    pieces = encoded({"é": "x", "one": one, "rows": [{"two": two}, {"one": one}]})

    assert b"".join(pieces).decode() == '{"é":"x","one":[{"a":1},{"a":2},{"a":3}],"rows":[{"two":[]},{"one":[{"a":1},{"a":2},{"a":3}]}]}'
    assert encoded({"plain": [1]}) == [b'{"plain":[1]}']


def test_what_looks_like_the_place_of_a_list_stays_text(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = iter([type("Mark", (), {"hex": "m1"})()])
    monkeypatch.setattr(answers, "uuid4", lambda: next(marks))
    one = JSONList()
    one.append("1")

    assert b"".join(encoded({"said": 'a "m1 b', "one": one})) == b'{"said":"a \\"m1 b","one":[1]}'


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError, match="set is no JSON"):
        encoded({"wrong": {1}})
