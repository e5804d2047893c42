"""PATCH as pure changes: the dialects of Okta and Entra, on documents and on sets of members."""

from typing import Any

import pytest

from app.directory.vocabulary import ENTERPRISE_URN, GROUP_URN, USER_URN
from app.scim.answers import SCIMError
from app.scim.bodies import tidied
from app.scim.members import MemberChanges, split_members
from app.scim.operations import read_operations
from app.scim.patch import patched

ADA: dict[str, Any] = {
    "userName": "ada",
    "name": {"givenName": "Ada", "familyName": "Byron"},
    "emails": [{"value": "ada@home.example", "type": "home", "primary": True}],
    "title": "Analyst",
    "active": True,
}


def _after(document: dict[str, Any], *operations: dict[str, Any]) -> dict[str, Any]:
    changed = tidied(patched(document, read_operations({"Operations": list(operations)})), USER_URN)
    changed.pop("schemas")
    return changed


def _members(*operations: dict[str, Any]) -> MemberChanges:
    return split_members(read_operations({"Operations": list(operations)}))[0]


def test_okta_replaces_without_a_path() -> None:
    changed = _after(ADA, {"op": "replace", "value": {"active": False}})

    assert changed == {**ADA, "active": False}


def test_entra_says_replace_and_false_in_its_own_way() -> None:
    assert _after(ADA, {"op": "Replace", "path": "active", "value": "False"})["active"] is False


def test_dotted_keys_and_urn_keys_without_a_path_are_places() -> None:
    value = {"name.familyName": "Lovelace", f"{ENTERPRISE_URN}:employeeNumber": "E-1", "displayName": "A. L."}

    changed = _after(ADA, {"op": "replace", "value": value})

    assert changed["name"] == {"givenName": "Ada", "familyName": "Lovelace"}
    assert changed[ENTERPRISE_URN] == {"employeeNumber": "E-1"}
    assert changed["displayName"] == "A. L."


def test_replace_of_an_element_that_is_missing_makes_it_and_keeps_the_others() -> None:
    changed = _after(
        ADA, {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "ada@work.example"}
    )

    assert changed["emails"] == [*ADA["emails"], {"type": "work", "value": "ada@work.example"}]


def test_several_adds_to_a_missing_element_make_one() -> None:
    added = [
        {"op": "Add", "path": f'addresses[type eq "work"].{part}', "value": value}
        for part, value in (("locality", "London"), ("country", "GB"))
    ]

    assert _after(ADA, *added)["addresses"] == [{"type": "work", "locality": "London", "country": "GB"}]


def test_replace_of_an_element_that_is_there_changes_only_it() -> None:
    changed = _after(
        ADA, {"op": "replace", "path": 'emails[type eq "home"].value', "value": "new@home.example"}
    )

    assert changed["emails"] == [{"value": "new@home.example", "type": "home", "primary": True}]


@pytest.mark.parametrize("verb", ["add", "replace"])
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ('emails[value eq "ada@home.example"].value', "new@home.example"),
        ('emails[type eq "HOME" and value eq "ada@home.example"].value', "new@home.example"),
        ('emails[type eq "home"].type', "other"),
        ("emails[primary eq true].primary", "False"),
        ('emails[value eq "ada@home.example"]', "new@home.example"),
        ('emails[value eq "ada@home.example"]', {"value": "new@home.example", "type": "home", "primary": "True", "display": None}),
        ('nicknames[value eq "countess"]', "enchantress"),
        (f'{ENTERPRISE_URN}:manager[value eq "m-1"].value', "m-2"),
    ],
)
def test_the_same_once_more_makes_no_other_element_where_the_first_fits_no_more(verb: str, path: str, value: Any) -> None:
    there = {**ADA, "nicknames": ["ada", "countess"], ENTERPRISE_URN: {"manager": {"value": "m-1"}}}
    operation = {"op": verb, "path": path, "value": value}

    once = _after(there, operation)

    assert once != there
    assert _after(once, operation) == once


def test_another_element_is_made_where_none_has_become_what_the_path_means() -> None:
    two = {**ADA, "emails": [{"value": "new@x.example", "type": "home"}]}

    changed = _after(two, {"op": "replace", "path": 'emails[type eq "work" and value eq "old@x.example"].value', "value": "new@x.example"})

    assert changed["emails"] == [*two["emails"], {"type": "work", "value": "new@x.example"}]


def test_a_new_primary_takes_the_place_of_the_old() -> None:
    work = {"value": "ada@work.example", "type": "work", "primary": "True"}

    changed = _after(ADA, {"op": "add", "path": "emails", "value": [work]})

    assert [(email["type"], email["primary"]) for email in changed["emails"]] == [
        ("home", False),
        ("work", True),
    ]


@pytest.mark.parametrize("verb", ["add", "replace"])
def test_an_element_that_is_made_as_the_primary_one_takes_its_place(verb: str) -> None:
    """RFC 7644 §3.5.2: what becomes primary makes false of the others, whichever part of the path says so."""
    operation = {"op": verb, "path": 'emails[type eq "work" and primary eq true].value', "value": "ada@work.example"}

    once = _after(ADA, operation)

    assert once["emails"] == [
        {"value": "ada@home.example", "type": "home", "primary": False}, {"type": "work", "primary": True, "value": "ada@work.example"},
    ]  # fmt: skip
    assert _after(once, operation) == once


def test_adding_what_is_there_changes_nothing() -> None:
    assert _after(ADA, {"op": "add", "path": "emails", "value": ADA["emails"]}) == ADA


@pytest.mark.parametrize("path", ["emails", 'emails[type eq "home"]'])
def test_a_null_takes_nothing_from_an_element_that_is_added_again(path: str) -> None:
    """RFC 7643 §2.5: it is as if it was not said. Some clients write it for whatever they have no value for."""
    said = {"value": "ada@home.example", "type": None, "primary": None, "display": None}

    assert _after(ADA, {"op": "add", "path": path, "value": said}) == ADA


WORK = {"type": "work", "locality": "London", "country": "GB"}


@pytest.mark.parametrize("said", [WORK, {**WORK, "region": None}, {**WORK, "value": None}, {**WORK, "primary": True}, {**WORK, "type": None}])
def test_an_address_that_is_there_is_known_by_what_it_says(said: dict[str, Any]) -> None:
    """It has no `value`. Null says nothing (RFC 7643 §2.5), no type means any, and which is the primary one is no part of what it is."""
    there = {**ADA, "addresses": [{**WORK, "primary": False}, {"type": "home", "locality": "Ockham", "primary": True}]}

    added = _after(there, {"op": "add", "path": "addresses", "value": [said]})["addresses"]
    removed = _after(there, {"op": "remove", "path": "addresses", "value": [said]})["addresses"]

    assert [one["locality"] for one in added] == ["London", "Ockham"]
    assert [one["primary"] for one in added] == ([True, False] if said.get("primary") else [False, True])
    assert removed == [{"type": "home", "locality": "Ockham", "primary": True}]


@pytest.mark.parametrize("said", [{**WORK, "type": "home"}, {**WORK, "locality": "Ockham"}, {**WORK, "region": "Surrey"}])
def test_an_address_that_says_something_else_is_another(said: dict[str, Any]) -> None:
    there = {**ADA, "addresses": [WORK]}

    assert _after(there, {"op": "add", "path": "addresses", "value": [said]})["addresses"] == [WORK, said]
    assert _after(there, {"op": "remove", "path": "addresses", "value": [said]}) == there


@pytest.mark.parametrize("nothing", ["", None])
def test_an_empty_value_clears(nothing: str | None) -> None:
    changed = _after(ADA, {"op": "Replace", "path": "title", "value": nothing})

    assert changed == {key: value for key, value in ADA.items() if key != "title"}


def test_adding_null_clears_nothing() -> None:
    assert _after(ADA, {"op": "add", "path": "title", "value": None}) == ADA


def test_remove_takes_away_an_attribute_an_element_or_only_named_elements() -> None:
    two = {**ADA, "roles": [{"value": "a"}, {"value": "b"}]}

    assert "title" not in _after(ADA, {"op": "remove", "path": "title"})
    assert "emails" not in _after(ADA, {"op": "remove", "path": 'emails[type eq "home"]'})
    assert _after(two, {"op": "Remove", "path": "roles", "value": [{"value": "a"}]})["roles"] == [
        {"value": "b"}
    ]
    assert _after(two, {"op": "remove", "path": "roles", "value": []}) == two
    assert _after(ADA, {"op": "remove", "path": 'emails[type eq "other"]'}) == ADA
    assert _after(ADA, {"op": "remove", "path": "nickName"}) == ADA


@pytest.mark.parametrize("value", ["m-1", {"value": "m-1"}, [{"$ref": None, "value": "m-1"}]])
def test_a_manager_comes_in_three_forms_and_is_kept_in_one(value: Any) -> None:
    changed = _after(ADA, {"op": "Add", "path": f"{ENTERPRISE_URN}:manager", "value": value})

    assert changed[ENTERPRISE_URN] == {"manager": {"value": "m-1"}}


def test_another_manager_does_not_keep_the_former_ones_name() -> None:
    managed = {**ADA, ENTERPRISE_URN: {"manager": {"value": "m-1", "displayName": "Em"}, "department": "X"}}

    changed = _after(managed, {"op": "Replace", "path": "manager", "value": {"value": "m-2"}})

    assert changed[ENTERPRISE_URN] == {"manager": {"value": "m-2"}, "department": "X"}


@pytest.mark.parametrize("verb", ["add", "replace"])
@pytest.mark.parametrize("how", ["path", "extension", "no path"])
def test_what_is_not_said_of_a_manager_stays(verb: str, how: str) -> None:
    def after(said: Any) -> Any:
        managed = {**ADA, ENTERPRISE_URN: {"manager": {"value": "m-1", "displayName": "Em"}, "department": "X"}}
        ways: dict[str, dict[str, Any]] = {
            "path": {"path": "manager", "value": said}, "extension": {"path": ENTERPRISE_URN, "value": {"Manager": said}},
            "no path": {"value": {ENTERPRISE_URN.upper(): {"manager": said}}},
        }  # fmt: skip
        changed = _after(managed, {"op": verb, **ways[how]})[ENTERPRISE_URN]
        assert changed["department"] == "X"
        return changed["manager"]

    assert after({"displayName": "The Boss"}) == {"value": "m-1", "displayName": "The Boss"}
    assert after({"$ref": "../Users/m-1"}) == {"value": "m-1", "displayName": "Em", "$ref": "../Users/m-1"}
    assert after({"Value": "m-1", "displayName": None}) == {"value": "m-1"}
    assert after([{"value": "m-1"}]) == {"value": "m-1", "displayName": "Em"}
    assert after("m-2") == {"value": "m-2"}


@pytest.mark.parametrize("verb", ["add", "replace"])
@pytest.mark.parametrize(("path", "value"), [('manager[value eq "m-2"].value', "m-3"), ('manager[value eq "m-2"]', {"value": "m-3"})])
def test_a_manager_who_is_another_is_no_target(verb: str, path: str, value: Any) -> None:
    managed = {**ADA, ENTERPRISE_URN: {"manager": {"value": "m-1"}}}

    with pytest.raises(SCIMError) as refused:
        _after(managed, {"op": verb, "path": path, "value": value})

    assert (refused.value.status, refused.value.problem) == (400, "noTarget")
    assert _after(managed, {"op": verb, "path": path.replace("m-2", "m-1"), "value": value})[ENTERPRISE_URN] == {"manager": {"value": "m-3"}}
    assert _after(ADA, {"op": verb, "path": path, "value": value})[ENTERPRISE_URN] == {"manager": {"value": "m-3"}}


def test_an_empty_manager_is_no_manager() -> None:
    managed = {**ADA, ENTERPRISE_URN: {"manager": {"value": "m-1"}}}

    assert ENTERPRISE_URN not in _after(managed, {"op": "Replace", "path": "manager", "value": ""})
    assert ENTERPRISE_URN not in _after(managed, {"op": "remove", "path": 'manager[value eq "m-1"]'})


def test_an_extension_object_is_merged() -> None:
    employed = {**ADA, ENTERPRISE_URN: {"employeeNumber": "E-1"}}

    changed = _after(employed, {"op": "replace", "value": {ENTERPRISE_URN: {"department": "Treasury"}}})

    assert changed[ENTERPRISE_URN] == {"employeeNumber": "E-1", "department": "Treasury"}


def test_unknown_attributes_and_extensions_are_kept() -> None:
    tag = "urn:example:2.0:User"

    changed = _after(ADA, {"op": "replace", "value": {tag: {"tag": "x"}, "shoeSize": 38}})

    assert (changed[tag], changed["shoeSize"]) == ({"tag": "x"}, 38)
    assert _after(ADA, {"op": "add", "path": f"{tag}:tag", "value": "y"})[tag] == {"tag": "y"}


def test_the_document_given_stays_as_it_is() -> None:
    before = repr(ADA)

    _after(ADA, {"op": "replace", "path": 'emails[type eq "home"].value', "value": "x@y.example"})

    assert repr(ADA) == before


@pytest.mark.parametrize(
    ("operation", "problem"),
    [
        ({"op": "move", "path": "title", "value": "x"}, "invalidSyntax"),
        ({"path": "title", "value": "x"}, "invalidSyntax"),
        ({"op": "remove"}, "noTarget"),
        ({"op": "replace", "value": "x"}, "invalidValue"),
        ({"op": "replace", "path": "emails[type", "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": 7, "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": 'emails[type sw "w"].value', "value": "x"}, "noTarget"),
        ({"op": "replace", "path": "active", "value": "perhaps"}, "invalidValue"),
        ({"op": "add", "path": "members.value.x", "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": "$.active", "value": False}, "invalidPath"),
        ({"op": "replace", "value": {"$.active": False}}, "invalidPath"),
        ({"op": "replace", "path": "$", "value": {"active": False}}, "invalidPath"),
    ],
)
def test_what_cannot_be_applied_is_refused(operation: dict[str, Any], problem: str) -> None:
    with pytest.raises(SCIMError) as refused:
        _after(ADA, operation)

    assert refused.value.problem == problem


def test_members_are_added_and_removed_as_sets() -> None:
    changes = _members(
        {"op": "remove", "path": 'members[value eq "a"]'},
        {
            "op": "Add",
            "path": "members",
            "value": [{"$ref": None, "value": "b"}, {"value": "c", "display": "C"}],
        },
        {"op": "Remove", "path": "members", "value": [{"value": "d"}]},
        {"op": "add", "path": "members", "value": "e"},
    )

    assert changes == MemberChanges(add={"b", "c", "e"}, remove={"a", "d"})


def test_the_last_word_about_a_member_counts() -> None:
    add, remove = (
        {"op": "add", "path": "members", "value": [{"value": "a"}]},
        {"op": "remove", "path": 'members[value eq "a"]'},
    )

    assert _members(add, remove) == MemberChanges(remove={"a"})
    assert _members(remove, add) == MemberChanges(add={"a"})


def test_a_whole_set_takes_the_place_of_all() -> None:
    whole = {"op": "replace", "path": "members", "value": [{"value": "a"}, {"value": "b"}]}

    assert _members(whole, {"op": "remove", "path": 'members[value eq "b"]'}) == MemberChanges(whole={"a"})
    assert _members({"op": "replace", "path": "members", "value": []}) == MemberChanges(whole=set())
    assert _members({"op": "remove", "path": "members"}) == MemberChanges(whole=set())
    assert _members({"op": "remove", "path": "members", "value": []}) == MemberChanges()


def test_a_rename_says_nothing_of_members() -> None:
    operations = read_operations(
        {"Operations": [{"op": "replace", "value": {"id": "g", "displayName": "New"}}]}
    )

    members, others = split_members(operations)

    assert members == MemberChanges()
    assert tidied(patched({"displayName": "Old"}, others), GROUP_URN) == {
        "schemas": [GROUP_URN],
        "displayName": "New",
    }


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": 'members[display eq "a"]'},
        {"op": "replace", "path": 'members[value eq "a"]', "value": {"value": "b"}},
        {"op": "add", "path": "members.value", "value": "a"},
        {"op": "add", "path": "members", "value": [7]},
    ],
)
def test_members_named_otherwise_than_by_id_are_refused(operation: dict[str, Any]) -> None:
    with pytest.raises(SCIMError):
        _members(operation)
