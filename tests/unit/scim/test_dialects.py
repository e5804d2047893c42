"""What departs from the RFCs and is accepted, one test for each, and that whatever is not listed is refused as they say."""

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from app.directory.vocabulary import ENTERPRISE_URN, GROUP_URN, USER_URN
from app.scim.answers import SCIMError
from app.scim.bodies import tidied
from app.scim.dialects import DEVIATIONS, Deviation, page
from app.scim.members import MemberChanges, split_members
from app.scim.operations import read_operations
from app.scim.patch import patched

DOCS = Path(__file__).parents[3] / "docs"
PAGES = [DOCS / "scim.md", *sorted((DOCS / "scim").glob("*.md"))]
HOME: dict[str, Any] = {"value": "ada@home.example", "type": "home"}
ADA: dict[str, Any] = {"userName": "ada", "title": "Analyst", "emails": [HOME], "active": True}
MANAGED: dict[str, Any] = {**ADA, ENTERPRISE_URN: {"manager": {"value": "m-1"}, "department": "Engines"}}
MAKERS: dict[str, Any] = {"displayName": "Makers"}


def _user(**said: Any) -> dict[str, Any]:
    return {key: value for key, value in tidied(said, USER_URN).items() if key != "schemas"}


def _after(document: dict[str, Any], *operations: Any, core: str = USER_URN) -> dict[str, Any]:
    changed = tidied(patched(document, read_operations({"Operations": list(operations)}), core), core)
    changed.pop("schemas")
    return changed


def _members(*operations: dict[str, Any]) -> MemberChanges:
    return split_members(read_operations({"Operations": list(operations)}))[0]


def _named(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


# The list.


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda deviation: deviation.name)
def test_each_departure_names_who_sends_it_a_source_its_function_and_its_test(deviation: Deviation) -> None:
    assert deviation.clients and deviation.sources and deviation.sends.endswith(".")
    assert callable(_named(deviation.done_by))
    assert callable(_named(f"tests.{deviation.test}"))
    assert deviation.test.partition(":")[2].startswith("test_")


def test_each_departure_is_listed_once() -> None:
    assert len({deviation.name for deviation in DEVIATIONS}) == len(DEVIATIONS)


def test_the_page_of_departures_is_current() -> None:
    assert (DOCS / "scim" / "dialects.md").read_text() == page(), "python -m app.scim.dialects > docs/scim/dialects.md"


def test_each_client_has_a_page_that_scim_md_leads_to() -> None:
    clients = {client.lower() for deviation in DEVIATIONS for client in deviation.clients}

    assert clients <= {path.stem for path in PAGES}
    assert {path.stem for path in PAGES[1:]} == set(re.findall(r"\(scim/(\w+)\.md\)", PAGES[0].read_text()))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_of_the_pages_lead_somewhere(path: Path) -> None:
    for file, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", path.read_text()):
        target = (path.parent / file).resolve() if file else path
        assert target.is_file(), file
        heads = {
            re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
        }
        assert not anchor or anchor in heads, anchor


# What is accepted.


@pytest.mark.parametrize("word", ["Replace", "REPLACE", "replace"])
def test_an_op_is_read_in_any_case(word: str) -> None:
    assert _after(ADA, {"op": word, "path": "title", "value": "Countess"})["title"] == "Countess"


@pytest.mark.parametrize(("said", "meant"), [("True", True), ("False", False), ("false", False)])
def test_true_and_false_may_be_texts(said: str, meant: bool) -> None:
    assert _user(userName="ada", active=said)["active"] is meant
    assert _user(userName="ada", roles=[{"value": "r", "primary": said}])["roles"] == [{"value": "r", "primary": meant}]
    assert _after(ADA, {"op": "Replace", "path": "active", "value": said})["active"] is meant


def test_true_may_be_a_text_in_a_filter() -> None:
    two = {**ADA, "roles": [{"value": "a", "primary": True}, {"value": "b"}]}

    changed = _after(two, {"op": "Replace", "path": 'roles[primary eq "True"].value', "value": "c"})

    assert changed["roles"] == [{"value": "c", "primary": True}, {"value": "b"}]


@pytest.mark.parametrize("op", ["Add", "Replace"])
def test_an_element_is_made_where_none_fits(op: str) -> None:
    parts = [{"op": op, "path": f'addresses[type eq "work"].{part}', "value": part} for part in ("locality", "country")]

    changed = _after(ADA, *parts, {"op": op, "path": 'emails[type eq "work"].value', "value": "ada@work.example"})

    assert changed["addresses"] == [{"type": "work", "locality": "locality", "country": "country"}]
    assert changed["emails"] == [HOME, {"type": "work", "value": "ada@work.example"}]


def test_keys_without_a_path_may_be_paths_themselves() -> None:
    said = {"name.givenName": "Ada", f"{ENTERPRISE_URN}:employeeNumber": "E-1", 'emails[type eq "home"].value': "a@home.example"}

    changed = _after(MANAGED, {"op": "replace", "value": said})

    assert changed["name"] == {"givenName": "Ada"}
    assert changed["emails"] == [{"value": "a@home.example", "type": "home"}]
    assert changed[ENTERPRISE_URN] == {"manager": {"value": "m-1"}, "department": "Engines", "employeeNumber": "E-1"}


def test_replace_makes_an_unknown_attribute() -> None:
    once = _after(ADA, {"op": "Replace", "path": "shoeSize", "value": "38"})

    assert once == {**ADA, "shoeSize": "38"}
    assert _after(once, {"op": "remove", "path": "shoeSize"}) == ADA


def test_unknown_attributes_are_kept_as_they_come() -> None:
    said = {"userName": "ada", "department": "Engines", "urn:example:2.0:User": {"tag": ["x"]}, "name": {"shortName": "A"}}

    assert _user(**said) == said
    assert _after(ADA, {"op": "add", "value": {"shoeSize": 38}}) == {**ADA, "shoeSize": 38}
    assert _after(ADA, {"op": "Add", "path": "urn:example:2.0:User:tag", "value": "x"}) == {**ADA, "urn:example:2.0:User": {"tag": "x"}}


@pytest.mark.parametrize(
    "schemas",
    [
        None, [], "nonsense", [USER_URN, ENTERPRISE_URN], ["urn:scim:schemas:core:1.0"], ["urn:ietf:params:scim:schemas:extension:enterprise:2.0User"],
        ["http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
    ],
)  # fmt: skip
def test_schemas_say_what_is_there_whatever_was_said(schemas: Any) -> None:
    assert tidied({"schemas": schemas, "userName": "ada"}, USER_URN)["schemas"] == [USER_URN]
    assert tidied({**MANAGED, "schemas": schemas}, USER_URN)["schemas"] == [USER_URN, ENTERPRISE_URN]
    assert read_operations({"schemas": schemas, "Operations": [{"op": "remove", "path": "title"}]})


def test_enterprise_attributes_may_be_named_without_their_schema() -> None:
    changed = _after(
        MANAGED, {"op": "Replace", "path": "manager", "value": "m-2"}, {"op": "Replace", "path": "department", "value": "Proofs"}
    )

    assert changed[ENTERPRISE_URN] == {"manager": {"value": "m-2"}, "department": "Proofs"}


@pytest.mark.parametrize("said", ["m-2", ["m-2"], {"value": "m-2"}, [{"$ref": None, "value": "m-2"}]])
def test_a_manager_may_be_a_text_or_a_list_of_one(said: Any) -> None:
    wanted = {"manager": {"value": "m-2"}}

    assert _user(userName="ada", **{ENTERPRISE_URN: {"manager": said}})[ENTERPRISE_URN] == wanted
    assert _after(ADA, {"op": "Add", "path": f"{ENTERPRISE_URN}:manager", "value": said})[ENTERPRISE_URN] == wanted


@pytest.mark.parametrize(
    ("path", "one"),
    [
        ("active", False), ("active", "False"), ("title", "Countess"), ("name", {"givenName": "Ada"}), ("name.familyName", "Byron"),
        ('emails[type eq "home"].value', "ada@new.example"), ('emails[type eq "home"]', {"value": "ada@new.example"}),
        (f"{ENTERPRISE_URN}:department", "Looms"), (ENTERPRISE_URN, {"department": "Looms"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["add", "replace"])
def test_a_list_of_one_is_that_one_where_there_can_be_no_list(verb: str, path: str, one: Any) -> None:
    said = {"op": verb, "path": path, "value": one}

    assert _after(MANAGED, {**said, "value": [one]}) == _after(MANAGED, said) != MANAGED
    with pytest.raises(SCIMError):
        _after(MANAGED, {**said, "value": [one, one]})


@pytest.mark.parametrize("value", ["x", "", "[]", "{", "null", '{"title": NaN}', '[{"title": "x"}]', ['{"title": "x"}']])
def test_what_stands_for_no_resource_is_refused_without_a_path(value: Any) -> None:
    with pytest.raises(SCIMError) as refused:
        _after(ADA, {"op": "replace", "value": value})

    assert (refused.value.problem, refused.value.detail) == ("invalidValue", "operation 1: without a path, value must be an object")


def test_a_resource_may_be_the_text_of_its_json_without_a_path() -> None:
    said = {"title": "Countess", "name": {"givenName": "Ada"}, "active": False}

    assert _after(ADA, {"op": "replace", "value": json.dumps(said)}) == _after(ADA, {"op": "replace", "value": said}) == {**ADA, **said}


def test_a_manager_may_be_removed_by_a_filter() -> None:
    gone = _after(MANAGED, {"op": "remove", "path": 'manager[value eq "m-1"]'})
    other = _after(MANAGED, {"op": "remove", "path": 'manager[value eq "m-2"]'})

    assert gone[ENTERPRISE_URN] == {"department": "Engines"}
    assert other == MANAGED


@pytest.mark.parametrize("nobody", ["", {"value": ""}, {"value": "", "displayName": " "}, [], None])
def test_an_empty_manager_is_none(nobody: Any) -> None:
    assert ENTERPRISE_URN not in _user(userName="ada", **{ENTERPRISE_URN: {"manager": nobody}})
    assert _after(MANAGED, {"op": "Replace", "path": "manager", "value": nobody})[ENTERPRISE_URN] == {"department": "Engines"}


@pytest.mark.parametrize("path", ["title", 'emails[type eq "home"].value', f"{ENTERPRISE_URN}:department", "manager"])
def test_replacing_by_an_empty_text_takes_away(path: str) -> None:
    assert _after(MANAGED, {"op": "Replace", "path": path, "value": ""}) == _after(MANAGED, {"op": "remove", "path": path}) != MANAGED


def test_a_remove_that_lists_elements_means_only_those() -> None:
    two = {**ADA, "roles": [{"value": "a"}, {"value": "b"}]}

    assert _after(two, {"op": "Remove", "path": "roles", "value": [{"value": "a"}]})["roles"] == [{"value": "b"}]


def test_a_remove_that_lists_members_means_only_those() -> None:
    assert _members({"op": "remove", "path": "members", "value": [{"value": "a"}]}) == MemberChanges(remove={"a"})


def test_a_remove_that_names_a_value_leaves_another() -> None:
    path = 'emails[type eq "home"].value'

    assert _after(ADA, {"op": "Remove", "path": path, "value": "stale@home.example"}) == ADA
    assert "emails" not in _after(ADA, {"op": "Remove", "path": path, "value": HOME["value"]})


@pytest.mark.parametrize(
    "path", ["nickName", 'emails[type eq "other"]', 'emails[type eq "other"].value', "manager", 'phoneNumbers[type eq "work"]']
)
def test_removing_what_is_not_there_is_no_error(path: str) -> None:
    assert _after(ADA, {"op": "remove", "path": path}) == ADA


@pytest.mark.parametrize("said", ["a", ["a"], {"value": "a"}, [{"value": "a", "$ref": None}], [{"Value": "a", "display": None}]])
def test_members_may_be_bare_ids(said: Any) -> None:
    assert _members({"op": "Add", "path": "members", "value": said}) == MemberChanges(add={"a"})


def test_one_object_may_stand_for_a_list() -> None:
    assert _user(userName="ada", emails=HOME)["emails"] == [HOME]


def test_an_id_echoed_without_a_path_is_passed_over() -> None:
    said = {"schemas": [GROUP_URN], "id": "g-1", "displayName": "Engineers"}

    assert _after(MAKERS, {"op": "replace", "value": said}, core=GROUP_URN) == {"displayName": "Engineers"}


def test_a_password_is_dropped() -> None:
    assert _user(userName="ada", password="pl4ceh0lder", Password="x") == {"userName": "ada"}
    assert _after(ADA, {"op": "replace", "value": {"password": "n3w"}}, {"op": "replace", "path": "password", "value": "n3w"}) == ADA


def test_no_operations_change_nothing() -> None:
    assert _after(ADA) == ADA


# What is refused.

ADD_TITLE = {"op": "add", "path": "title", "value": "Countess"}


@pytest.mark.parametrize(
    ("operation", "problem"),
    [
        # RFC 7644 §3.5.2: an object with one of three operations.
        ("add", "invalidSyntax"),
        ({**ADD_TITLE, "op": "repalce"}, "invalidSyntax"),
        ({**ADD_TITLE, "op": " add "}, "invalidSyntax"),
        ({**ADD_TITLE, "op": ["add"]}, "invalidSyntax"),
        ({**ADD_TITLE, "op": None}, "invalidSyntax"),
        ({"path": "title", "value": "x"}, "invalidSyntax"),
        # §3.5.2.1 and §3.5.2.3: what is to be there must be said.
        ({"op": "add", "path": "title"}, "invalidValue"),
        ({"op": "replace", "path": "title"}, "invalidValue"),
        ({"op": "replace"}, "invalidValue"),
        ({"op": "replace", "value": "x"}, "invalidValue"),
        ({"op": "add", "value": [{"title": "x"}]}, "invalidValue"),
        # §3.5.2.2: what is to go must be named.
        ({"op": "remove"}, "noTarget"),
        ({"op": "remove", "value": {"title": "Analyst"}}, "noTarget"),
        # §3.5.2 and §3.10: a path is a text of that grammar, and leads to an attribute of the schemas.
        ({**ADD_TITLE, "path": 7}, "invalidPath"),
        ({**ADD_TITLE, "path": ""}, "invalidPath"),
        ({**ADD_TITLE, "path": " "}, "invalidPath"),
        ({**ADD_TITLE, "path": "emails[type"}, "invalidPath"),
        ({**ADD_TITLE, "path": "emails[type eq work]"}, "invalidPath"),
        ({**ADD_TITLE, "path": "/title"}, "invalidPath"),
        ({**ADD_TITLE, "path": "titel"}, "invalidPath"),
        ({"op": "remove", "path": "titel"}, "invalidPath"),
        ({**ADD_TITLE, "path": "name.givenname.x"}, "invalidPath"),
        ({**ADD_TITLE, "path": "name.firstName"}, "invalidPath"),
        ({**ADD_TITLE, "path": 'emails[type eq "home"].vlaue'}, "invalidPath"),
        ({**ADD_TITLE, "path": f"{ENTERPRISE_URN}:departement"}, "invalidPath"),
        ({**ADD_TITLE, "path": "location"}, "invalidPath"),
        ({**ADD_TITLE, "path": "members"}, "invalidPath"),
        ({**ADD_TITLE, "path": 'name[givenName eq "Ada"].familyName'}, "invalidPath"),
        ({"op": "replace", "path": 'title[value eq "x"]', "value": "x"}, "invalidPath"),
        # §3.5.2.3: no element fits, and the filter does not say how to make one.
        ({"op": "replace", "path": 'emails[type sw "w"].value', "value": "x"}, "noTarget"),
        ({"op": "replace", "path": 'emails[type eq "a" or type eq "b"].value', "value": "x"}, "noTarget"),
        # §3.5.2: "readOnly" must not be modified.
        ({"op": "replace", "path": "id", "value": "x"}, "mutability"),
        ({"op": "replace", "path": "meta.version", "value": "x"}, "mutability"),
        ({"op": "add", "path": "groups", "value": [{"value": "g"}]}, "mutability"),
        ({"op": "remove", "path": 'groups[value eq "g"]'}, "mutability"),
        ({"op": "replace", "value": {"title": "x", "meta": {"version": "x"}}}, "mutability"),
        # RFC 7643 §2.3: each attribute has its type.
        ({"op": "replace", "path": "active", "value": "perhaps"}, "invalidValue"),
        ({"op": "replace", "path": "active", "value": " True "}, "invalidValue"),
        ({"op": "replace", "path": "active", "value": 0}, "invalidValue"),
        ({"op": "replace", "path": "title", "value": 7}, "invalidValue"),
        ({"op": "replace", "path": "title", "value": {"value": "x"}}, "invalidValue"),
        ({"op": "replace", "path": "name", "value": "Ada"}, "invalidValue"),
        ({"op": "add", "path": "emails", "value": "ada@work.example"}, "invalidValue"),
        ({"op": "add", "path": "manager", "value": 7}, "invalidValue"),
        # RFC 7643 §2.4: at most one value is the primary one.
        ({"op": "replace", "path": "emails", "value": [{"value": "a", "primary": True}, {"value": "b", "primary": True}]}, "invalidValue"),
    ],
)  # fmt: skip
def test_an_operation_that_is_not_listed_is_refused(operation: Any, problem: str) -> None:
    with pytest.raises(SCIMError) as refused:
        _after(ADA, operation)

    assert (refused.value.status, refused.value.problem) == (400, problem)
    assert refused.value.detail


@pytest.mark.parametrize(
    ("operation", "problem"),
    [
        ({"op": "add", "path": "title", "value": "x"}, "invalidPath"),
        ({"op": "add", "path": f"{ENTERPRISE_URN}:department", "value": "x"}, "invalidPath"),
        ({"op": "remove", "path": "member"}, "invalidPath"),
        ({"op": "replace", "path": "id", "value": "x"}, "mutability"),
    ],
)
def test_an_operation_on_what_no_group_has_is_refused(operation: dict[str, Any], problem: str) -> None:
    with pytest.raises(SCIMError) as refused:
        _after(MAKERS, operation, core=GROUP_URN)

    assert refused.value.problem == problem


@pytest.mark.parametrize(
    ("operation", "problem"),
    [
        ({"op": "replace", "path": "members", "value": ""}, "invalidValue"),
        ({"op": "replace", "path": "members"}, "invalidValue"),
        ({"op": "add", "path": "members", "value": [7]}, "invalidValue"),
        ({"op": "add", "path": "members", "value": [{"display": "Ada"}]}, "invalidValue"),
        ({"op": "add", "path": 'members[value eq "a"]', "value": [{"value": "a"}]}, "invalidPath"),
        ({"op": "remove", "path": 'members[display eq "a"]'}, "invalidPath"),
        ({"op": "remove", "path": 'members[not (value eq "a")]'}, "invalidPath"),
        ({"op": "remove", "path": "members.value"}, "invalidPath"),
    ],
)
def test_members_that_are_not_named_by_id_are_refused(operation: dict[str, Any], problem: str) -> None:
    with pytest.raises(SCIMError) as refused:
        _members(operation)

    assert refused.value.problem == problem


@pytest.mark.parametrize("operations", [None, "x", {"op": "add", "path": "title", "value": "x"}])
def test_operations_that_are_no_list_are_refused(operations: Any) -> None:
    with pytest.raises(SCIMError) as refused:
        read_operations({"Operations": operations})

    assert refused.value.problem == "invalidSyntax"


@pytest.mark.parametrize(
    "said",
    [
        {"active": "yes"}, {"active": 1}, {"title": ["Analyst"]}, {"name": "Ada"}, {"name": [{"givenName": "Ada"}]}, {"emails": "ada@home.example"},
        {"emails": ["ada@home.example"]}, {"emails": [{"value": 7}]}, {"emails": [{**HOME, "primary": True}, {"value": "b", "primary": "True"}]},
        {ENTERPRISE_URN: "Engines"}, {ENTERPRISE_URN: {"manager": ["m-1", "m-2"]}}, {ENTERPRISE_URN: {"employeeNumber": 701984}},
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(SCIMError) as refused:
        tidied({"userName": "ada", **said}, USER_URN)

    assert refused.value.problem == "invalidValue"
