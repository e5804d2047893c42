"""Extensions that nobody declared: a URN that no schema here has is told from an attribute by what the resource holds."""

from typing import Any
from urllib.parse import quote

import pytest

from app.directory.vocabulary import ENTERPRISE_URN, GROUP_URN, USER_URN
from tests.clients.directory import Directory
from tests.unit.scim.choosing import get, group_with

URNS = ("urn:example:tags:2.0:User", "urn:example:tags", "urn:okta:acme:1.0:user:custom", "urn:example:hr/it+sales:it's~a@%20;b=1:User")
X = URNS[0]


def _patched(directory: Directory, record_id: str, *operations: dict[str, Any]) -> dict[str, Any]:
    """What is shown of the user afterwards, without what all users have."""
    answer = directory.patch(f"/Users/{record_id}", *operations)
    assert answer.status == 200, answer.text
    assert answer.document == get(directory, f"/Users/{record_id}")
    extensions = sorted(key for key, value in answer.document.items() if ":" in key and isinstance(value, dict))
    assert answer.document["schemas"] == [USER_URN, *extensions]
    return {key: value for key, value in answer.document.items() if key not in ("schemas", "id", "userName", "active", "groups", "meta")}


@pytest.mark.parametrize("urn", URNS)
@pytest.mark.parametrize("how", ["remove", "null", "empty", "no path"])
def test_a_whole_extension_is_taken_away(directory: Directory, urn: str, how: str) -> None:
    ways: dict[str, dict[str, Any]] = {
        "remove": {"op": "remove", "path": urn}, "null": {"op": "replace", "path": urn, "value": None},
        "empty": {"op": "Replace", "path": urn, "value": ""}, "no path": {"op": "replace", "value": {urn: None}},
    }  # fmt: skip
    said = ways[how]
    ada = directory.add_user("ada", **{urn: {"a": 1, "b": ["x"]}, "urn:example:other": {"a": 2}})
    ants = directory.send("POST", "/Groups", {"displayName": "ants", urn: {"a": 1}}).document["id"]

    assert _patched(directory, ada, said) == {"urn:example:other": {"a": 2}}
    assert _patched(directory, ada, said) == {"urn:example:other": {"a": 2}}
    assert directory.patch(f"/Groups/{ants}", said).status == 204
    shown = get(directory, f"/Groups/{ants}")
    assert shown["schemas"] == [GROUP_URN] and urn not in shown


@pytest.mark.parametrize("urn", URNS)
@pytest.mark.parametrize("verb", ["add", "replace"])
@pytest.mark.parametrize("value", [{"k": 2}, "x", ["x"], [{"k": 2}], 5, True], ids=str)
def test_an_attribute_is_said_in_its_extension_whatever_its_value_is(directory: Directory, urn: str, verb: str, value: Any) -> None:
    def after(name: str, said: dict[str, Any]) -> dict[str, Any]:
        return _patched(directory, directory.add_user(name, **{urn: {"a": 1}}), {"op": verb, **said})

    assert after("ada", {"path": f"{urn}:o", "value": value}) == {urn: {"a": 1, "o": value}}
    assert after("bob", {"value": {f"{urn}:o": value}}) == {urn: {"a": 1, "o": value}}
    assert after("cy", {"value": {urn: {"o": value}}}) == {urn: {"a": 1, "o": value}}


def test_an_object_within_an_extension_is_changed_where_it_is(directory: Directory) -> None:
    """A longer URN that is there as well is meant where the shorter one has no such attribute."""
    longer = {f"{X}:o": {"k": 1}}
    ada = directory.add_user("ada", **{X: {"a": 1, "o": {"k": 1}}}, **longer)

    assert _patched(directory, ada, {"op": "replace", "path": f"{X}:o", "value": {"k": 2}}) == {X: {"a": 1, "o": {"k": 2}}, **longer}
    assert _patched(directory, ada, {"op": "remove", "path": f"{X}:o"}) == {X: {"a": 1}, **longer}
    assert _patched(directory, ada, {"op": "add", "path": f"{X}:o", "value": {"l": 2}}) == {X: {"a": 1}, f"{X}:o": {"k": 1, "l": 2}}
    assert _patched(directory, ada, {"op": "remove", "path": f"{X}:o"}) == {X: {"a": 1}}


def test_an_extension_that_is_not_there_is_made_of_an_object(directory: Directory) -> None:
    ada, bob = directory.add_user("ada"), directory.add_user("bob")

    assert _patched(directory, ada, {"op": "add", "path": X, "value": {"a": 1}}) == {X: {"a": 1}}
    assert _patched(directory, ada, {"op": "add", "value": {f"{X}:b": {"k": 2}}}) == {X: {"a": 1, "b": {"k": 2}}}
    assert _patched(directory, bob, {"op": "add", "value": {X: {"a": 1}, f"{X}:b": {"k": 2}}}) == {X: {"a": 1, "b": {"k": 2}}}


@pytest.mark.parametrize("said", [{"path": X}, {}])
def test_each_attribute_of_an_extension_that_is_said_as_a_whole_is_said_by_itself(directory: Directory, said: dict[str, Any]) -> None:
    """As of an extension that has a schema: what is added stays beside what is there, and null takes away."""
    before = {"marks": ["x"], "o": {"k": 1}, "a": "t"}
    ada, bob = directory.add_user("ada", **{X: before}), directory.add_user("bob", **{X: before})

    def operation(verb: str, value: Any) -> dict[str, Any]:
        return {"op": verb, **said, "value": value if said else {X: value}}

    assert _patched(directory, ada, operation("add", {"marks": ["y"], "o": {"l": 2}, "b": 1, "a": None})) == {
        X: {"marks": ["x", "y"], "o": {"k": 1, "l": 2}, "a": "t", "b": 1}
    }
    assert _patched(directory, bob, operation("replace", {"marks": ["y"], "O": {"l": 2}, "a": None})) == {X: {"marks": ["y"], "o": {"k": 1, "l": 2}}}


@pytest.mark.parametrize("said", [{"path": X}, {}])
@pytest.mark.parametrize(("verb", "nothing"), [("replace", ""), ("replace", None), ("add", None)])
def test_what_says_nothing_makes_nothing_in_an_extension_that_is_not_there(directory: Directory, said: dict[str, Any], verb: str, nothing: Any) -> None:
    """As in one that is there: the same request says the same when it comes again."""
    ada, bob, cy = directory.add_user("ada"), directory.add_user("bob"), directory.add_user("cy", **{X: []})

    def operation(value: Any) -> dict[str, Any]:
        return {"op": verb, **said, "value": value if said else {X: value}}

    for _ in range(2):
        for one in (ada, cy):
            assert _patched(directory, one, operation({"a": 1, "b": nothing, "o": {"k": 1}})) == {X: {"a": 1, "o": {"k": 1}}}
        assert _patched(directory, bob, operation({"b": nothing})) == {}


@pytest.mark.parametrize("verb", ["add", "replace"])
def test_what_a_known_schema_does_not_name_stays_below_it(directory: Directory, verb: str) -> None:
    ada = directory.add_user("ada", custom={"a": 1}, **{ENTERPRISE_URN: {"department": "D", "place": {"city": "A"}}})

    changed = _patched(
        directory, ada, {"op": verb, "path": f"{ENTERPRISE_URN}:place", "value": {"city": "B"}},
        {"op": verb, "path": f"{USER_URN}:custom", "value": {"b": 2}},
    )  # fmt: skip

    assert changed == {"custom": {"a": 1, "b": 2}, ENTERPRISE_URN: {"department": "D", "place": {"city": "B"}}}
    assert _patched(directory, ada, {"op": "remove", "path": f"{ENTERPRISE_URN}:place"}, {"op": "remove", "path": f"{USER_URN}:custom"}) == {
        ENTERPRISE_URN: {"department": "D"}
    }


@pytest.mark.parametrize("path", [f"{X}:marks", "marks"])
def test_a_text_of_a_list_that_no_schema_has_is_picked_out_as_value(directory: Directory, path: str) -> None:
    """RFC 7643 §2.4: `value` is what each of them is."""
    ada = directory.add_user("ada", **({"marks": ["x", "y"]} if path == "marks" else {X: {"marks": ["x", "y"]}}))

    def marks(*operations: dict[str, Any]) -> Any:
        changed = _patched(directory, ada, *operations)
        return (changed if path == "marks" else changed[X]).get("marks")

    assert marks({"op": "remove", "path": f'{path}[value eq "z"]'}) == ["x", "y"]
    assert marks({"op": "remove", "path": f'{path}[value eq "x"]'}) == ["y"]
    assert marks({"op": "replace", "path": f'{path}[value eq "Y"]', "value": "z"}) == ["z"]
    assert marks({"op": "add", "path": path, "value": [{"value": "o", "type": "t"}]}, {"op": "remove", "path": f'{path}[type eq "t"]'}) == ["z"]
    assert marks({"op": "replace", "path": f'{path}[value eq "z"].value', "value": "w"}) == ["w"]
    assert marks({"op": "add", "path": path, "value": "v"}, {"op": "remove", "path": f'{path}[value eq "w"].value'}) == ["v"]
    assert marks({"op": "remove", "path": f"{path}[value pr]"}) is None


@pytest.mark.parametrize("picked", ['[value eq "y"]', '[value eq "y"].value', '[type eq "t"]', '[value eq "x"].display'])
def test_a_text_that_is_not_picked_out_stays(directory: Directory, picked: str) -> None:
    ada = directory.add_user("ada", **{X: {"mark": "x"}})

    assert _patched(directory, ada, {"op": "remove", "path": f"{X}:mark{picked}"}) == {X: {"mark": "x"}}
    assert _patched(directory, ada, {"op": "replace", "path": f'{X}:mark[value eq "X"].value', "value": "y"}) == {X: {"mark": ["y"]}}


@pytest.mark.parametrize("urn", URNS)
def test_a_filter_finds_who_has_an_extension(directory: Directory, urn: str) -> None:
    directory.add_user("ada", **{urn: {"a": 1, "o": {"k": "v"}}})
    directory.add_user("bob", **{f"{urn}:a": 1})
    directory.add_user("cy", **{urn: []})
    group_with(directory, name="ants")
    asked = {
        f"{urn} pr": "ada", f"not ({urn} pr)": "bob cy", f"{urn} eq null": "bob cy", f"{urn} ne null": "ada", f"{urn}[a eq 1]": "ada",
        f"{urn}:a pr": "ada bob", f"{urn}:a eq 1": "ada bob", f"{urn}:a ne 1": "cy", f"not ({urn}:a eq 1)": "cy", f'{urn}:o.k eq "V"': "ada",
        f"{urn}:a pr and not ({urn} pr)": "bob",
    }  # fmt: skip

    for text, names in asked.items():
        answer = directory.send("GET", f"/Users?filter={quote(text, safe='')}")
        assert answer.status == 200, answer.text
        assert [one["userName"] for one in answer.document["Resources"]] == names.split(), text
    assert get(directory, f"/Groups?filter={quote(f'{urn} pr')}")["totalResults"] == 0
