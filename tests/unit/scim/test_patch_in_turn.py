"""Operations of one PATCH in turn: each finds what those before it said, in whichever way they said it."""

from typing import Any

import pytest

from app.directory.vocabulary import ENTERPRISE_URN, GROUP_URN, USER_URN
from app.scim.answers import SCIMError
from app.scim.bodies import tidied
from app.scim.operations import read_operations
from app.scim.patch import patched
from tests.clients.directory import Directory
from tests.unit.scim.choosing import person_of

MANAGER = f"{ENTERPRISE_URN}:manager"


def _after(document: dict[str, Any], *operations: dict[str, Any], core: str = USER_URN) -> dict[str, Any]:
    changed = tidied(patched(document, read_operations({"Operations": list(operations)}), core), core, before=document)
    changed.pop("schemas")
    return changed


@pytest.mark.parametrize("path", [{"path": MANAGER}, {}])
@pytest.mark.parametrize("said", ["NEW", {"Value": "NEW"}, [{"value": "NEW"}]])
def test_taking_the_former_manager_away_leaves_the_one_just_given(path: dict[str, str], said: Any) -> None:
    before = {ENTERPRISE_URN: {"manager": {"value": "OLD"}}}
    given = {"op": "Add", **path, "value": said if path else {ENTERPRISE_URN: {"Manager": said}}}

    changed = _after(before, given, {"op": "Remove", "path": f'{MANAGER}[value eq "OLD"]'})

    assert changed[ENTERPRISE_URN] == {"manager": {"value": "NEW"}}


@pytest.mark.parametrize(("attribute", "sub"), [("roles", "display"), ("emails", "type")])
def test_what_was_called_primary_in_words_is_found_by_words(attribute: str, sub: str) -> None:
    given = {"op": "Add", "path": attribute, "value": [{"value": "r", "Primary": "True"}]}

    changed = _after({}, given, {"op": "Replace", "path": f'{attribute}[primary eq "True"].{sub}', "value": "R"})

    assert changed[attribute] == [{"value": "r", "primary": True, sub: "R"}]


def test_a_value_given_in_other_letters_is_found_by_a_filter_and_not_given_twice() -> None:
    given = {"op": "Add", "path": "phoneNumbers", "value": [{"Type": "work", "Value": "1"}]}

    changed = _after({}, given, {"op": "Replace", "path": 'phoneNumbers[type eq "work"].value', "value": "2"})

    assert changed["phoneNumbers"] == [{"type": "work", "value": "2"}]
    assert _after(changed, {"op": "add", "path": "phoneNumbers", "value": [{"VALUE": "2", "display": "two"}]})["phoneNumbers"] == [
        {"type": "work", "value": "2", "display": "two"}
    ]


def test_an_element_named_in_other_letters_is_taken_away() -> None:
    before = {"phoneNumbers": [{"value": "1"}, {"value": "2"}]}

    assert _after(before, {"op": "Remove", "path": "phoneNumbers", "value": [{"Value": "1"}]}) == {"phoneNumbers": [{"value": "2"}]}


def test_a_value_of_another_type_is_another_value() -> None:
    """RFC 7643 §2.4: type and value together are one."""
    before = {"phoneNumbers": [{"value": "1", "type": "work"}]}

    added = _after(before, {"op": "add", "path": "phoneNumbers", "value": [{"value": "1", "type": "mobile"}, {"value": "1", "type": "WORK", "display": "x"}]})
    assert added["phoneNumbers"] == [{"value": "1", "type": "WORK", "display": "x"}, {"value": "1", "type": "mobile"}]
    # Without a type it is there already, and one that had none gets one.
    assert _after(before, {"op": "add", "path": "phoneNumbers", "value": [{"value": "1"}]}) == before
    bare = {"phoneNumbers": [{"value": "1"}]}
    both = [{"value": "1", "type": "work"}, {"value": "1", "type": "mobile"}]
    assert _after(bare, {"op": "add", "path": "phoneNumbers", "value": both})["phoneNumbers"] == both
    assert _after(bare, {"op": "add", "path": "phoneNumbers", "value": [{"value": "1", "type": "work"}]}) == before


@pytest.mark.parametrize("type_", [{"a": []}, [], 5, True])
def test_a_type_that_is_none_is_refused_and_fits_nothing(type_: Any) -> None:
    before = {"phoneNumbers": [{"value": "1", "type": "work"}]}
    odd = {"path": "phoneNumbers", "value": [{"value": "1", "type": type_}]}

    with pytest.raises(SCIMError, match=r"phoneNumbers\.type"):
        _after(before, {"op": "add", **odd})
    assert _after(before, {"op": "remove", **odd}) == before


def test_only_the_element_that_is_named_is_taken_away() -> None:
    before = {"phoneNumbers": [{"value": "1", "type": "work"}, {"value": "1", "type": "mobile"}, {"value": "2"}]}

    def left(*named: dict[str, str]) -> Any:
        return [one.get("type") for one in _after(before, {"op": "remove", "path": "phoneNumbers", "value": list(named)}).get("phoneNumbers", [])]

    assert left({"value": "1", "type": "Work"}) == ["mobile", None]
    assert left({"value": "1"}) == [None]
    assert left({"value": "1", "type": "home"}) == ["work", "mobile", None]
    assert left({"value": "2", "type": "work"}) == ["work", "mobile", None]


@pytest.mark.parametrize(("core", "name"), [(USER_URN, "userName"), (GROUP_URN, "displayName")])
def test_what_is_required_cannot_be_removed(core: str, name: str) -> None:
    for path in (name, f"{core}:{name}", name.upper()):
        with pytest.raises(SCIMError, match="is required") as refused:
            _after({name: "x"}, {"op": "remove", "path": path}, core=core)
        assert (refused.value.status, refused.value.problem) == (400, "mutability")
    # A user may do without the name that a group needs.
    assert _after({"userName": "ada", "displayName": "Ada"}, {"op": "remove", "path": "displayName"}) == {"userName": "ada"}


def test_null_and_nothing_in_a_value_still_take_away() -> None:
    before = {"name": {"givenName": "Ada", "familyName": "Byron"}, ENTERPRISE_URN: {"manager": {"value": "OLD"}, "department": "Engines"}}

    assert _after(before, {"op": "replace", "value": {"name": {"GivenName": None}}})["name"] == {"familyName": "Byron"}
    ways: tuple[Any, ...] = ("", [], None, {"value": ""})
    for nobody in ways:
        assert _after(before, {"op": "replace", "path": MANAGER, "value": nobody})[ENTERPRISE_URN] == {"department": "Engines"}


@pytest.mark.parametrize(("core", "other"), [(USER_URN, GROUP_URN), (GROUP_URN, USER_URN)])
@pytest.mark.parametrize("op", ["add", "replace"])
def test_the_resources_own_schema_is_no_extension_of_it(core: str, other: str, op: str) -> None:
    """Answered as done, it would switch nobody off."""
    for urn in (core, other, core.upper()):
        for said in ({"value": {urn: {"active": False}}}, {"path": urn, "value": {"active": False}}):
            with pytest.raises(SCIMError, match=r"is no extension of it|is no attribute of this resource") as refused:
                _after({}, {"op": op, **said}, core=core)
            assert refused.value.status == 400


@pytest.mark.parametrize("urn", [USER_URN, USER_URN.upper()])
def test_what_stands_below_the_resources_own_schema_from_long_ago_keeps_nobody_from_being_switched_off(urn: str) -> None:
    before = {"active": True, urn: {"active": False}}

    assert _after(before, {"op": "replace", "path": "active", "value": False}) == {"active": False}


IN_FULL = [
    (USER_URN, f"{USER_URN}:displayName", "Ada"), (USER_URN, f"{USER_URN}:active", False), (USER_URN, f"{USER_URN.upper()}:ACTIVE", "False"),
    (USER_URN, f"{USER_URN}:name.givenName", "Ada"), (USER_URN, f"{ENTERPRISE_URN}:employeeNumber", "7"), (USER_URN, f"{GROUP_URN}:members", []),
    (USER_URN, f"{ENTERPRISE_URN}:manager", {"value": "m"}), (GROUP_URN, f"{GROUP_URN}:externalId", "7"), (GROUP_URN, f"{GROUP_URN}:displayName", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("core", "key", "value"), IN_FULL)
def test_a_resource_that_names_an_attribute_as_a_path_does_is_refused(core: str, key: str, value: Any) -> None:
    """Answered as done, it would join, switch off or rename nobody."""
    for before in (None, {}, {"title": "x"}):
        with pytest.raises(SCIMError, match="as a path does") as refused:
            tidied({"userName": "ada", key: value}, core, before=before)
        assert (refused.value.status, refused.value.problem) == (400, "invalidSyntax")


@pytest.mark.parametrize(("core", "key", "value"), IN_FULL)
def test_what_stands_under_such_a_name_from_long_ago_keeps_nobody_from_being_switched_off(core: str, key: str, value: Any) -> None:
    before = {"active": True, key: value}

    assert _after(before, {"op": "replace", "path": "active", "value": False}, core=core) == {"active": False, key: value}


def test_nobody_is_taken_for_switched_off_by_such_a_name() -> None:
    key = f"{USER_URN}:active"

    with pytest.raises(SCIMError, match="as a path does"):
        tidied({"userName": "ada", key: False}, USER_URN, before={"userName": "ada", key: True})


def test_what_is_never_kept_is_not_kept_under_such_a_name_either() -> None:
    said = {f"{USER_URN}:{name}": "x" for name in ("password", "id", "meta", "groups", "schemas")}

    assert tidied({"userName": "ada", **said}, USER_URN, before=said) == {"schemas": [USER_URN], "userName": "ada"}


def test_a_manager_of_whom_only_the_name_is_said_stays_the_manager(directory: Directory) -> None:
    boss = directory.add_user("boss")
    ada = directory.add_user("ada", **{ENTERPRISE_URN: {"manager": {"value": boss}}})

    for said in ({"path": MANAGER, "value": {"displayName": "The Boss"}}, {"value": {ENTERPRISE_URN: {"manager": {"displayName": "B"}}}}):
        assert directory.patch(f"/Users/{ada}", {"op": "replace", **said}).status == 200
        assert person_of(ada).manager_id == person_of(boss).id


@pytest.mark.parametrize("op", ["add", "replace", "remove"])
@pytest.mark.parametrize("path", ["title.x", "active.value", "userName.first", f"{ENTERPRISE_URN}:department.name", "emails.value.x"])
def test_nothing_is_below_an_attribute_without_parts(directory: Directory, op: str, path: str) -> None:
    ada = directory.add_user("ada", title="Analyst", emails=[{"value": "ada@example.com"}])

    answer = directory.patch(f"/Users/{ada}", {"op": op, "path": path, "value": "y"})

    assert (answer.status, answer.document["scimType"]) == (400, "invalidPath")
    assert path.rpartition(":")[2] in answer.document["detail"]
    assert directory.send("GET", f"/Users/{ada}").document["title"] == "Analyst"
