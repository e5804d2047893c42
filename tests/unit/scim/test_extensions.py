"""Values of an organisation's own attributes: checked by the declared type, in every way in which they can come."""

from __future__ import annotations

from typing import Any

import pytest

from app.directory.vocabulary import GROUP_URN, USER_URN
from tests.clients.directory import Directory
from tests.unit.scim.bulking import bulk, is_refused
from tests.unit.scim.choosing import OFF, get, members_of
from tests.unit.scim.extending import HR, USUAL, attribute, declares, kept, posts, says, takes_back

WHOLE = {
    "grade": 7, "quota": 0.5, "remote": True, "startDate": "2026-11-30T17:00:00+01:00", "site": "Oslo", "costCode": "aB", "key": "AAECAw==",
    "profile": "https://example.com/ada", "skills": ["go", "py"], "badges": [{"number": 1, "type": "door", "primary": True}],
    "desk": {"floor": 3, "row": "b"},
}  # fmt: skip
WRONG = [
    ("grade", "7", "a whole number, not a text"),
    ("grade", 7.5, "a whole number without a decimal point"),
    ("grade", True, "a whole number, not true or false"),
    ("grade", 2**53, "must be between"),
    ("quota", "0.5", "a number, not a text"),
    ("quota", 10**400, "too large"),
    ("remote", "yes", "true or false, not a text"),
    ("startDate", "2026-11-30", "an instant with its time zone"),
    ("startDate", "2026-11-30T17:00:00", "an instant with its time zone"),
    ("startDate", 20261130, "a text, not a number"),
    ("site", 5, "a text, not a number"),
    ("site", ["Oslo"], "a text, not a list"),
    ("key", "*", "base64"),
    ("profile", {}, "a text, not an object"),
    ("skills", "go", "a list, not a text"),
    ("skills", [1], "a text, not a number"),
    ("badges", [{"number": "1"}], "badges.number must be a whole number"),
    ("badges", [{"type": "door"}], "badges.number is required"),
    ("badges", [{"number": 1, "primary": True}, {"number": 2, "primary": True}], "more than one value that is primary"),
    ("desk", "3b", "an object, not a text"),
    ("desk", {"floor": "3"}, "desk.floor must be a whole number"),
]


@pytest.fixture
def declared(directory: Directory) -> Directory:
    # Somebody was there before, so that the hot paths are open.
    posts(directory, "first")
    declares(*USUAL)
    return directory


def test_values_are_kept_as_the_schema_says(declared: Directory) -> None:
    record_id = declared.add_user("ada", **{HR.upper(): {name.upper(): value for name, value in WHOLE.items()}})

    assert kept(declared, record_id) == {**WHOLE, "startDate": "2026-11-30T16:00:00.000Z"}
    assert get(declared, f"/Users/{record_id}")["schemas"] == [USER_URN, HR]


def test_entras_booleans_and_single_values_are_taken_as_for_core_attributes(declared: Directory) -> None:
    record_id = declared.add_user("ada", **{HR: {"remote": "False", "badges": {"number": 1}, "site": None, "grade": 1}})

    assert kept(declared, record_id) == {"remote": False, "badges": [{"number": 1}], "grade": 1}


@pytest.mark.parametrize(("name", "value", "sentence"), WRONG, ids=[f"{name}-{number}" for number, (name, _, _) in enumerate(WRONG)])
def test_a_wrong_value_is_refused_wherever_it_comes(declared: Directory, name: str, value: Any, sentence: str) -> None:
    record_id = declared.add_user("ada", **{HR: {"site": "Oslo"}})
    before, label = declared.written(), f"{HR}:{name}"

    assert says(posts(declared, "bob", **{HR: {name: value}}), "invalidValue", label, sentence)
    assert says(declared.send("PUT", f"/Users/{record_id}", {"userName": "ada", HR: {name: value}}), "invalidValue", label, sentence)
    assert says(declared.patch(f"/Users/{record_id}", {"op": "replace", "path": label, "value": value}), "invalidValue", label, sentence)
    assert says(declared.patch(f"/Users/{record_id}", {"op": "replace", "value": {HR: {name: value}}}), "invalidValue", label, sentence)
    assert is_refused(bulk(declared, {"method": "POST", "path": "/Users", "bulkId": "bob", "data": {"userName": "bob", HR: {name: value}}})[0], "400", "invalidValue")
    assert declared.written() == before


SITE = attribute("site", "complex", subAttributes=[attribute("value"), attribute("label")])


def test_what_is_no_manager_is_not_taken_for_one(directory: Directory) -> None:
    """An attribute of yours may have a `value` too, and that names nobody."""
    declares(SITE)
    empty = {"value": "", "label": "none yet"}
    record_id = directory.add_user("ada", **{HR: {"site": empty}})
    path = f"/Users/{record_id}"

    assert kept(directory, record_id) == {"site": empty}
    assert directory.patch(path, {"op": "replace", "path": f"{HR}:site", "value": {**empty, "label": "L"}}).status == 200
    assert kept(directory, record_id) == {"site": {**empty, "label": "L"}}
    for value, kind in (("b1", "a text"), ([{"value": "b1"}], "a list"), ([], "a list")):
        assert says(posts(directory, "bob", **{HR: {"site": value}}), "invalidValue", f"{HR}:site must be an object, not {kind}")
        assert says(directory.patch(path, {"op": "replace", "path": f"{HR}:site", "value": value}), "invalidValue", f"not {kind}")
    assert says(directory.patch(path, {"op": "remove", "path": f'{HR}:site[value eq ""]'}), "invalidPath", "site has one value")


@pytest.mark.parametrize("verb", ["add", "replace"])
def test_what_is_not_said_of_an_attribute_with_parts_stays(directory: Directory, verb: str) -> None:
    """RFC 7644 §3.5.2.1 and §3.5.2.3, wherever it is said."""
    declares(attribute("cost", "complex", subAttributes=[attribute("value", "decimal"), attribute("currency")]), attribute("skills", multiValued=True))
    record_id = directory.add_user("ada", **{HR: {"cost": {"value": 5, "currency": "USD"}, "skills": ["go"]}})

    def after(**said: Any) -> Any:
        assert directory.patch(f"/Users/{record_id}", {"op": verb, **said}).status == 200
        return kept(directory, record_id)["cost"]

    assert after(path=f"{HR}:cost", value={"currency": "EUR"}) == {"value": 5, "currency": "EUR"}
    assert after(path=HR, value={"COST": {"value": 9}}) == {"value": 9, "currency": "EUR"}
    assert after(value={HR.upper(): {"cost": {"currency": "GBP"}, "skills": ["py"]}}) == {"value": 9, "currency": "GBP"}
    assert kept(directory, record_id)["skills"] == (["go", "py"] if verb == "add" else ["py"])


def test_an_extension_that_is_no_object_is_refused(declared: Directory) -> None:
    assert says(posts(declared, "bob", **{HR: "Oslo"}), "invalidValue", HR, "an object, not a text")


def test_paths_reach_into_a_declared_schema(declared: Directory) -> None:
    record_id = declared.add_user("ada", **{HR: WHOLE})

    answer = declared.patch(
        f"/Users/{record_id}",
        {"op": "replace", "path": f"{HR}:desk.floor", "value": 4},
        {"op": "add", "path": f"{HR.upper()}:SKILLS", "value": ["c"]},
        {"op": "replace", "path": f"{HR}:badges[number eq 1].type", "value": "gate"},
        {"op": "add", "path": f"{HR}:badges", "value": [{"number": 2, "primary": "True"}]},
        {"op": "remove", "path": f"{HR}:site"},
        {"op": "replace", "path": HR, "value": {"grade": 8, "remote": "false"}},
    )

    assert answer.status == 200, answer.text
    assert kept(declared, record_id) == {
        **{name: value for name, value in WHOLE.items() if name != "site"},
        "startDate": "2026-11-30T16:00:00.000Z", "desk": {"floor": 4, "row": "b"}, "skills": ["go", "py", "c"], "grade": 8, "remote": False,
        "badges": [{"number": 1, "type": "gate", "primary": False}, {"number": 2, "primary": True}],
    }  # fmt: skip


@pytest.mark.parametrize("verb", ["add", "replace", "remove"])
@pytest.mark.parametrize("path", ["titel", "desk.flor", "badges[number eq 1].titel"])
def test_a_path_to_what_the_schema_has_not_is_refused(declared: Directory, verb: str, path: str) -> None:
    record_id = declared.add_user("ada", **{HR: WHOLE})

    answer = declared.patch(f"/Users/{record_id}", {"op": verb, "path": f"{HR}:{path}", "value": "x"})

    assert says(answer, "invalidPath", "is no attribute of this resource")


def test_a_misspelt_attribute_is_no_extension_of_its_own(declared: Directory) -> None:
    record_id = declared.add_user("ada", **{HR: WHOLE})

    answer = declared.patch(f"/Users/{record_id}", {"op": "add", "path": f"{HR}:titel", "value": {"x": 1}})

    assert says(answer, "invalidPath", "titel")


def test_what_the_schema_does_not_name_is_kept_as_it_comes(declared: Directory) -> None:
    record_id = declared.add_user("ada", **{HR: {"site": "Oslo", "extra": [1]}, "urn:example:other": {"grade": "7"}})

    assert kept(declared, record_id) == {"site": "Oslo", "extra": [1]}
    assert kept(declared, record_id, "urn:example:other") == {"grade": "7"}
    assert declared.patch(f"/Users/{record_id}", {"op": "remove", "path": f"{HR}:extra"}).status == 200
    assert kept(declared, record_id) == {"site": "Oslo"}


def test_a_required_attribute_is_asked_for_where_the_schema_is_used(directory: Directory) -> None:
    declares(attribute("site", required=True), attribute("grade", "integer"))

    record_id = directory.add_user("ada", **{HR: {"site": "Oslo", "grade": 1}})

    assert directory.add_user("bob")
    assert says(posts(directory, "cy", **{HR: {"grade": 1}}), "invalidValue", f"{HR}:site is required")
    assert says(directory.patch(f"/Users/{record_id}", {"op": "remove", "path": f"{HR}:site"}), "mutability", f"{HR}:site is required")
    assert directory.patch(f"/Users/{record_id}", {"op": "remove", "path": HR}).status == 200
    assert kept(directory, record_id) is None


def test_a_value_from_before_the_schema_keeps_nobody_from_being_switched_off(directory: Directory) -> None:
    old = {"grade": "seven", "startDate": "soon"}
    record_id = directory.add_user("ada", **{HR: old})
    declares(*USUAL, attribute("team", required=True))

    assert directory.patch(f"/Users/{record_id}", OFF, {"op": "replace", "path": "title", "value": "x"}).document["active"] is False
    assert directory.send("PUT", f"/Users/{record_id}", {"userName": "ada", "active": False, HR: old}).document["active"] is False
    assert kept(directory, record_id) == old
    assert directory.patch(f"/Users/{record_id}", {"op": "replace", "path": f"{HR}:startDate", "value": "2026-11-30T17:00:00Z"}).status == 200
    assert says(directory.patch(f"/Users/{record_id}", {"op": "replace", "path": f"{HR}:grade", "value": "8"}), "invalidValue", "grade")


FROM_BEFORE: dict[str, dict[str, Any]] = {
    "no attributes": {HR: []},
    "a text": {HR: "x"},
    "true": {HR: True},
    "a name in two spellings": {HR: {"grade": "x", "Grade": "y"}},
    "a URN in two spellings": {HR: {"grade": "x", "site": "Oslo"}, HR.upper(): {"Grade": "z"}},
    "an object and none": {HR: {"grade": "x"}, HR.upper(): []},
    "names within in other letters": {HR: {"desk": {"Floor": "x"}, "badges": [{"Number": "x"}, {"number": 1, "NUMBER": 2}]}},
    "null and an empty list": {HR: {"team": None, "teams": [], "site": "Oslo"}},
    "a required name in one of two spellings of the URN": {HR: {"team": "x", "teams": ["x"]}, HR.upper(): {"site": "Oslo"}},
    "a required name without a value in one of two spellings": {HR: {"Team": "x", "team": [], "Teams": ["x"], "teams": None, "site": "Oslo"}},
}


@pytest.mark.parametrize("shape", FROM_BEFORE)
def test_whatever_is_from_before_the_schema_keeps_nobody_in(directory: Directory, shape: str) -> None:
    """PHP, for one, writes an object without members as an empty list."""
    patched, put = (directory.add_user(name, **FROM_BEFORE[shape]) for name in ("ada", "bob"))
    ants = directory.send("POST", "/Groups", {"displayName": "ants", "members": [{"value": patched}, {"value": put}], **FROM_BEFORE[shape]}).document["id"]
    required = attribute("team", required=True), attribute("teams", required=True, multiValued=True)

    declares(*USUAL, *required)
    off = directory.patch(f"/Users/{patched}", OFF, {"op": "replace", "path": "title", "value": "x"})
    put_off = directory.send("PUT", f"/Users/{put}", {**get(directory, f"/Users/{put}"), "active": False})
    declares(*USUAL, *required, core=GROUP_URN)
    renamed = directory.patch(f"/Groups/{ants}", {"op": "replace", "value": {"id": ants, "displayName": "bees"}}, {"op": "remove", "path": f'members[value eq "{put}"]'})

    assert (off.status, off.document["active"], put_off.status, put_off.document["active"]) == (200, False, 200, False), off.text + put_off.text
    assert (renamed.status, members_of(directory, ants)) == (204, [patched]), renamed.text
    assert directory.patch(f"/Users/{patched}", {"op": "remove", "path": HR}).status == 200
    assert kept(directory, patched) is None


def test_what_is_said_by_the_schema_takes_the_place_of_what_was_spelled_otherwise(directory: Directory) -> None:
    said = {"grade": "x", "Grade": "y", "SITE": "Oslo", "desk": {"FLOOR": "x", "Row": "b"}}
    record_id = directory.add_user("ada", **{HR: said})
    declares(*USUAL)

    for path, value in (("grade", 3), ("desk.floor", 2)):
        assert directory.patch(f"/Users/{record_id}", {"op": "replace", "path": f"{HR}:{path}", "value": value}).status == 200
    assert directory.patch(f"/Users/{record_id}", {"op": "remove", "path": f"{HR}:site"}).status == 200

    assert kept(directory, record_id) == {"grade": 3, "desk": {"floor": 2, "row": "b"}}


@pytest.mark.parametrize("nothing", [[], "x", True])
def test_what_was_no_object_becomes_one_once_something_is_said_in_it(directory: Directory, nothing: Any) -> None:
    record_id = directory.add_user("ada", **{HR: nothing})
    declares(*USUAL)

    assert says(directory.send("PUT", f"/Users/{record_id}", {"userName": "ada", HR: [1]}), "invalidValue", HR, "an object, not a list")
    assert directory.patch(f"/Users/{record_id}", {"op": "remove", "path": f"{HR}:grade"}).status == 200
    assert kept(directory, record_id) == nothing
    assert directory.patch(f"/Users/{record_id}", {"op": "add", "path": f"{HR}:grade", "value": 3}).status == 200
    assert kept(directory, record_id) == {"grade": 3}


def test_an_empty_list_for_an_undeclared_extension_becomes_an_object_once_something_is_said_in_it(directory: Directory) -> None:
    record_id = directory.add_user("ada", **{HR: []})

    assert directory.patch(f"/Users/{record_id}", {"op": "add", "path": f"{HR}:grade", "value": 3}).status == 200

    assert kept(directory, record_id) == {"grade": 3}


def test_what_is_named_as_a_path_names_it_from_before_the_schema_keeps_nobody_in(directory: Directory) -> None:
    flat = {f"{HR}:grade": "x", f"{HR}:desk": {"floor": 1}}
    record_id = directory.add_user("ada", **flat)
    declares(*USUAL)

    off = directory.patch(f"/Users/{record_id}", OFF, {"op": "replace", "path": f"{HR}:grade", "value": 3})
    put = directory.send("PUT", f"/Users/{record_id}", {"userName": "ada", "active": False, **flat})

    assert (off.status, off.document["active"], off.document[HR], {name: off.document[name] for name in flat}) == (200, False, {"grade": 3}, flat)
    assert put.status == 200 and put.document[f"{HR}:grade"] == "x"
    assert says(posts(directory, "bob", **flat), "invalidSyntax", f"{HR}:grade names grade as a path does")
    assert directory.add_user("cy", **{f"{HR}:other": "x"})


def test_a_schema_for_groups_is_asked_of_groups_only(directory: Directory) -> None:
    team = "urn:example:team"
    declares(attribute("size", "integer"), urn=team, core=GROUP_URN)

    assert says(directory.send("POST", "/Groups", {"displayName": "a", team: {"size": "3"}}), "invalidValue", f"{team}:size")
    made = directory.send("POST", "/Groups", {"displayName": "a", team.upper(): {"SIZE": 3}})
    assert made.document[team] == {"size": 3}
    path = f"/Groups/{made.document['id']}"
    assert says(directory.send("PUT", path, {"displayName": "a", team: {"size": "3"}}), "invalidValue", f"{team}:size")
    assert says(directory.patch(path, {"op": "add", "path": f"{team}:size", "value": "3"}), "invalidValue", f"{team}:size")
    assert directory.patch(path, {"op": "add", "path": f"{team}:size", "value": 4}).status == 204
    assert get(directory, path)[team] == {"size": 4}
    assert directory.add_user("ada", **{team: {"size": "3"}})


@pytest.mark.parametrize(("kind", "other"), [("Users", GROUP_URN), ("Groups", USER_URN)])
def test_a_patch_leaves_what_a_schema_for_the_other_kind_names_as_it_was_said(directory: Directory, kind: str, other: str) -> None:
    declares(attribute("grade", "integer"), attribute("since", "dateTime"), urn=HR, core=other)
    said = {"Grade": 1, "grade": "x", "since": "2026-11-30T17:00:00+01:00"}
    made = directory.send("POST", f"/{kind}", {"userName": "ada", "displayName": "a", HR: said})
    path = f"/{kind}/{made.document['id']}"

    directory.patch(path, {"op": "add", "path": "externalId", "value": "7"})
    as_left = get(directory, path)[HR]
    later = {"Grade": 2, "since": "2026-12-01T02:00:00+02:00"}
    directory.patch(path, {"op": "replace", "path": f"{HR.upper()}:Grade", "value": 2}, {"op": "add", "value": {HR: {"since": later["since"]}}})

    assert made.document[HR] == as_left == said
    assert get(directory, path)[HR] == {**said, **later}


def test_a_schema_that_was_removed_is_asked_no_more(declared: Directory) -> None:
    record_id = declared.add_user("ada", **{HR: {"grade": 7}})
    takes_back()

    assert kept(declared, record_id) == {"grade": 7}
    assert declared.add_user("bob", **{HR: {"grade": "7"}})
    assert declared.patch(f"/Users/{record_id}", {"op": "replace", "path": f"{HR}:grade", "value": "8"}).status == 200


def test_a_changed_schema_is_heard_of_at_once(declared: Directory) -> None:
    assert says(posts(declared, "ada", **{HR: {"grade": "A"}}), "invalidValue", "grade")

    declares(attribute("grade"))

    assert posts(declared, "ada", **{HR: {"grade": "A"}}).status == 201


def test_a_value_that_is_no_object_is_picked_out_as_value(directory: Directory) -> None:
    """RFC 7643 §2.4: `value` is what each of them is."""
    declares(*USUAL)
    record_id = directory.add_user("ada", **{HR: {"skills": ["welding", "rigging"]}})

    def skills(*operations: dict[str, str]) -> Any:
        answer = directory.patch(f"/Users/{record_id}", *operations)
        assert answer.status == 200, answer.text
        return answer.document.get(HR, {}).get("skills")

    picked = f'{HR}:skills[value eq "welding"]'
    assert skills({"op": "replace", "path": picked, "value": "diving"}) == ["diving", "rigging"]
    assert skills({"op": "replace", "path": picked, "value": "knots"}) == ["diving", "rigging", "knots"]
    assert skills({"op": "remove", "path": f'{HR}:skills[value sw "r" or value eq "knots"]'}) == ["diving"]
    assert skills({"op": "replace", "path": f'{HR}:skills[value eq "diving"].value', "value": "ropes"}) == ["ropes"]
    assert not skills({"op": "remove", "path": f"{HR}:skills[value pr].value"})


JANUARY, FEBRUARY = "2026-01-01T01:00:00+01:00", "2026-02-01T00:00:00Z"


@pytest.mark.parametrize("schema_first", [True, False])
def test_instants_of_a_list_are_one_in_whatever_form_they_come(directory: Directory, schema_first: bool) -> None:
    """They are kept in UTC, to the millisecond: what a directory says again, or takes away in its own words, is what is there."""
    if schema_first:
        declares(attribute("seen", "dateTime", multiValued=True))
    record_id = directory.add_user("ada", **{HR: {"seen": [JANUARY]}})
    if not schema_first:
        declares(attribute("seen", "dateTime", multiValued=True))

    def seen(op: str, path: str = "", **more: Any) -> Any:
        answer = directory.patch(f"/Users/{record_id}", {"op": op, "path": f"{HR}:seen{path}", **more})
        assert answer.status == 200, answer.text
        return answer.document.get(HR, {}).get("seen")

    assert len(seen("add", value=[JANUARY])) == 1
    assert len(seen("add", value=["2026-01-01T00:00:00Z"])) == 1
    assert seen("remove", value=[FEBRUARY]) != []
    assert seen("remove", value=[JANUARY]) == []
    assert seen("add", value=[JANUARY]) == ["2026-01-01T00:00:00.000Z"]
    for _ in range(2):
        assert seen("replace", f'[value eq "{JANUARY}"]', value=FEBRUARY) == ["2026-02-01T00:00:00.000Z"]


def test_an_element_that_is_an_instant_is_known_by_it(directory: Directory) -> None:
    declares(attribute("trips", "complex", multiValued=True, subAttributes=[attribute("value", "dateTime"), attribute("type"), attribute("to")]))
    record_id = directory.add_user("ada", **{HR: {"trips": [{"value": JANUARY, "type": "air"}]}})

    def trips(op: str, path: str = "", **more: Any) -> Any:
        answer = directory.patch(f"/Users/{record_id}", {"op": op, "path": f"{HR}:trips{path}", **more})
        assert answer.status == 200, answer.text
        return answer.document.get(HR, {}).get("trips")

    kept_as = {"value": "2026-01-01T00:00:00.000Z", "type": "air", "to": "Oslo"}
    assert trips("add", value=[{"value": JANUARY, "type": "air", "to": "Oslo"}]) == [kept_as]
    assert trips("remove", '[type eq "air"].value', value=FEBRUARY) == [kept_as]
    for _ in range(2):
        assert trips("replace", f'[value eq "{JANUARY}"].value', value=FEBRUARY) == [{**kept_as, "value": "2026-02-01T00:00:00.000Z"}]
    assert not trips("remove", '[type eq "air"].value', value=FEBRUARY)
