"""What a declared schema changes in answers: discovery, filters, order, and which attributes are shown."""

from __future__ import annotations

from typing import Any

import pytest

from app.access import tokens
from app.access.sealing import make_key
from app.clock import now
from app.database import new_id, transaction
from app.directory.tables import Source
from app.directory.vocabulary import ENTERPRISE_URN, GROUP_URN
from app.journal import entries
from app.journal.tables import Organization
from tests.clients.directory import OKTA, Directory
from tests.unit.scim.choosing import get
from tests.unit.scim.extending import HR, USUAL, attribute, declares, found, kept, posts, says, takes_back

SHOWN = (
    attribute("site"), attribute("code", returned="always"), attribute("notes", returned="request"), attribute("rate", "integer", returned="never"),
)  # fmt: skip
SAID = {"site": "Oslo", "code": "x", "notes": "long", "rate": 5}


def test_discovery_tells_what_is_declared(directory: Directory) -> None:
    declares(*USUAL)
    declares(attribute("size", "integer"), urn="urn:example:team", core=GROUP_URN)

    told = get(directory, f"/Schemas/{HR}")
    grade = next(one for one in told["attributes"] if one["name"] == "grade")

    assert {key: told[key] for key in ("name", "description")} == {"name": "HR", "description": "What HR adds"}
    assert told["meta"] == {"resourceType": "Schema", "location": f"http://127.0.0.1:8484{directory.base}/Schemas/{HR}"}
    assert grade == {
        "name": "grade", "type": "integer", "multiValued": False, "description": "grade", "required": False, "caseExact": False,
        "mutability": "readWrite", "returned": "default", "uniqueness": "none",
    }  # fmt: skip
    assert {one["id"] for one in get(directory, "/Schemas")["Resources"]} > {HR, "urn:example:team", ENTERPRISE_URN}
    assert [one["schema"] for one in get(directory, "/ResourceTypes/User")["schemaExtensions"]] == [ENTERPRISE_URN, HR]
    assert [one["schema"] for one in get(directory, "/ResourceTypes/Group")["schemaExtensions"]] == ["urn:example:team"]


def test_discovery_forgets_what_is_declared_no_more(directory: Directory) -> None:
    declares(*USUAL)
    takes_back()

    assert directory.send("GET", f"/Schemas/{HR}").status == 404
    assert [one["schema"] for one in get(directory, "/ResourceTypes/User")["schemaExtensions"]] == [ENTERPRISE_URN]


@pytest.fixture
def people(directory: Directory) -> Directory:
    declares(*USUAL)
    everybody: dict[str, dict[str, Any]] = {
        "ada": {"grade": 10, "quota": 0.5, "remote": True, "startDate": "2026-11-30T17:00:00+01:00", "site": "Oslo", "costCode": "aB"},
        "bob": {"grade": 9, "quota": 2, "remote": False, "startDate": "2026-11-30T16:30:00Z", "site": "oslo", "costCode": "ab"},
        "cy": {"badges": [{"number": 10}, {"number": 9, "primary": True}], "site": "Bergen"},
        "dee": {},
    }
    for name, said in everybody.items():
        directory.add_user(name, **{HR: said})
    return directory


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("grade gt 9", ["ada"]),
        ("grade ge 9 and urn:example:params:scim:hr:2.0:User:grade lt 10.5", ["ada", "bob"]),
        ("GRADE eq 9", ["bob"]),
        ("quota lt 1.5", ["ada"]),
        ('remote eq "True"', ["ada"]),
        ("remote eq false", ["bob"]),
        ('startDate eq "2026-11-30T16:00:00Z"', ["ada"]),
        ('startDate eq "2026-11-30T18:00:00+02:00"', ["ada"]),
        ('startDate gt "2026-11-30T17:00:00.0004+01:00"', ["bob"]),
        ('startDate ge "2026-11-30T16:00:00.0000Z"', ["ada", "bob"]),
        ('startDate le "2026-11-30T16:00:00.0004Z"', ["ada"]),
        ('startDate eq "2026-11-30T16:00:00.0004Z"', []),
        ('site eq "OSLO"', ["ada", "bob"]),
        ('costCode eq "ab"', ["bob"]),
        ('costCode sw "aB"', ["ada"]),
        ("badges.number gt 9", ["cy"]),
        ("badges[number eq 9 and primary eq true]", ["cy"]),
        ("badges[number eq 10 and primary eq true]", []),
        ("grade pr", ["ada", "bob"]),
    ],
)
def test_filters_compare_by_the_declared_type(people: Directory, asked: str, names: list[str]) -> None:
    assert sorted(found(people, f"{HR}:{asked}")) == names


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ('marks[value eq "A"]', "ada bob"), ('marks[value eq "a" and value ne "b"]', "ada bob"), ('marks[value sw "a" and value ew "b"]', ""),
        ('marks[not (value eq "a")]', "ada"), ('marks[value eq "a" or value eq "c"]', "ada bob"), ("marks[value pr]", "ada bob"), ('marks[type eq "a"]', ""),
        ('not (marks[value eq "a"])', "cy"), ('marks[value eq "b"].value eq "b"', "ada"), ('marks[value eq "x"].value eq "b"', ""),
    ],
)  # fmt: skip
def test_texts_of_a_list_are_asked_for_as_value(directory: Directory, asked: str, names: str) -> None:
    """RFC 7643 §2.4: `value` is what each of them is."""
    declares(attribute("marks", multiValued=True))
    said: dict[str, Any] = {"ada": ["a", "b"], "bob": ["a"], "cy": []}
    for name, marks in said.items():
        directory.add_user(name, **{HR: {"marks": marks}})

    assert " ".join(found(directory, asked.replace("marks", f"{HR}:marks"))) == names


def test_elements_that_are_no_texts_are_asked_for_by_their_type(directory: Directory) -> None:
    declares(attribute("codes", multiValued=True, caseExact=True), attribute("flags", "boolean", multiValued=True), attribute("sizes", "integer", multiValued=True))
    ada = directory.add_user("ada", **{HR: {"codes": ["aB"], "flags": [True], "sizes": [1, 20]}})

    for asked, there in (
        (f'{HR}:codes[value eq "aB"]', True), (f'{HR}:codes[value eq "ab"]', False), (f'{HR}:flags[value eq "True"]', True),
        (f"{HR}:flags[value eq false]", False), (f"{HR}:sizes[value gt 1 and value lt 10]", False), (f"{HR}:sizes[value gt 10]", True),
        (f'{HR}:sizes[not (value eq 1)]', True), (f"{HR}:sizes[not (value pr)]", False), (f"{HR}:none[not (value pr)]", False),
    ):  # fmt: skip
        assert found(directory, asked) == (["ada"] if there else []), asked
    answer = directory.patch(f"/Users/{ada}", {"op": "remove", "path": f'{HR}:flags[value eq "True"]'}, {"op": "remove", "path": f'{HR}:codes[value eq "ab"]'})
    assert answer.document[HR] == {"codes": ["aB"], "sizes": [1, 20]}


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ('grade eq "9"', "grade is a number"),
        ('badges[number eq "9"]', "number is a number"),
        ('startDate gt "soon"', "an instant with its time zone"),
        ('remote gt "a"', "no order"),
        ('key gt "AA"', "no order"),
        ('desk eq "3"', "name one, such as desk."),
    ],
)
def test_a_filter_of_another_type_is_refused(people: Directory, asked: str, sentence: str) -> None:
    answer = people.send("GET", f"/Users?filter={HR}:{asked.replace(' ', '%20')}")

    assert says(answer, "invalidFilter", sentence)


@pytest.mark.parametrize(
    ("by", "forwards", "backwards"),
    [
        ("grade", "bob ada cy dee", "cy dee ada bob"),
        ("quota", "ada bob cy dee", "cy dee bob ada"),
        ("remote", "bob ada cy dee", "cy dee ada bob"),
        ("startDate", "ada bob cy dee", "cy dee bob ada"),
        ("costCode", "ada bob cy dee", "cy dee bob ada"),
        ("site", "cy ada bob dee", "dee ada bob cy"),
        ("badges.number", "cy ada bob dee", "ada bob dee cy"),
    ],
)
def test_lists_are_sorted_by_the_declared_type(people: Directory, by: str, forwards: str, backwards: str) -> None:
    assert " ".join(found(people, "userName pr", sortBy=f"{HR}:{by}")) == forwards
    assert " ".join(found(people, "userName pr", sortBy=f"{HR}:{by}", sortOrder="descending")) == backwards


def test_a_list_sorted_by_numbers_can_be_read_by_cursor(people: Directory) -> None:
    make_key(people.app.config["DOORLIST"])
    names: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = get(people, f"/Users?cursor={cursor}&count=1&sortBy={HR}:quota&sortOrder=descending")
        names += [one["userName"] for one in page["Resources"]]
        cursor = page.get("nextCursor")

    assert names[-2:] == ["bob", "ada"] and len(names) == 4


def test_numbers_from_before_the_schema_do_not_break_an_order(directory: Directory) -> None:
    for name, value in (("ada", 10**400), ("bob", 3), ("cy", "x"), ("dee", -(10**400))):
        directory.add_user(name, **{HR: {"grade": value}})
    declares(*USUAL)

    assert found(directory, "userName pr", sortBy=f"{HR}:grade") == ["dee", "bob", "ada", "cy"]


def test_a_list_cannot_be_sorted_by_what_a_group_schema_has(directory: Directory) -> None:
    declares(attribute("size", "integer"), urn="urn:example:team", core=GROUP_URN)

    assert says(directory.send("GET", "/Users?sortBy=urn:example:team:size"), "invalidPath", "no attribute of a User")
    assert directory.send("GET", "/Groups?sortBy=urn:example:team:size").status == 200


@pytest.fixture
def shy(directory: Directory) -> tuple[Directory, str]:
    """A directory whose organisation declares what is shown when, and somebody who has it all."""
    declares(*SHOWN)
    return directory, directory.add_user("ada", **{HR: SAID})


def test_answers_show_what_the_schema_lets_them(shy: tuple[Directory, str]) -> None:
    directory, record_id = shy
    usual = {"site": "Oslo", "code": "x"}

    def shown(query: str) -> Any:
        listed = get(directory, f"/Users?filter=userName%20eq%20%22ada%22{query.replace('?', '&')}")["Resources"][0].get(HR)
        alone = get(directory, f"/Users/{record_id}{query}").get(HR)
        assert listed == alone
        return alone

    assert shown("") == usual
    assert get(directory, "/Users")["Resources"][0][HR] == usual
    assert shown("?attributes=userName") == {"code": "x"}
    assert shown(f"?attributes={HR}:notes") == {"code": "x", "notes": "long"}
    assert shown(f"?attributes={HR}:rate") == {"code": "x"}
    assert shown(f"?attributes={HR}") == {**usual, "notes": "long"}
    assert shown(f"?excludedAttributes={HR}:code,{HR}:site") == {"code": "x"}
    assert shown(f"?excludedAttributes={HR}") == {"code": "x"}


def test_who_says_an_attribute_is_shown_it(shy: tuple[Directory, str]) -> None:
    directory, record_id = shy
    usual = {"site": "Oslo", "code": "x"}

    assert posts(directory, "bob", **{HR: SAID}).document[HR] == {**usual, "notes": "long"}
    assert directory.send("PUT", f"/Users/{record_id}", {"userName": "ada", HR: SAID}).document[HR] == {**usual, "notes": "long"}
    assert directory.patch(f"/Users/{record_id}", {"op": "add", "path": f"{HR}:notes", "value": "s"}).document[HR] == {**usual, "notes": "s"}
    assert directory.patch(f"/Users/{record_id}", {"op": "add", "path": "title", "value": "s"}).document[HR] == usual
    assert directory.patch(f"/Users/{record_id}", {"op": "replace", "path": "active", "value": False}).document[HR] == usual


def test_who_patches_a_group_and_asks_for_it_is_shown_what_they_said_of_it(directory: Directory) -> None:
    team = "urn:example:team"
    declares(attribute("site"), attribute("notes", returned="request"), urn=team, core=GROUP_URN)
    group_id = directory.send("POST", "/Groups", {"displayName": "ants", team: {"site": "Oslo", "notes": "long"}}).document["id"]

    def shown(name: str) -> Any:
        return directory.patch(f"/Groups/{group_id}?excludedAttributes=members", {"op": "add", "path": name, "value": "s"}).document[team]

    assert shown(f"{team}:notes") == {"site": "Oslo", "notes": "s"}
    assert shown("externalId") == {"site": "Oslo"}


def test_what_is_never_shown_can_be_asked_for_but_not_sorted_by(shy: tuple[Directory, str]) -> None:
    directory, _ = shy

    assert found(directory, f"{HR}:rate eq 5") == ["ada"]
    assert says(directory.send("GET", f"/Users?sortBy={HR}:rate"), "invalidPath", "rate")


def test_an_extension_of_which_all_is_hidden_is_not_shown(directory: Directory) -> None:
    declares(attribute("rate", "integer", returned="never"))
    record_id = directory.add_user("ada", **{HR: {"rate": 5}})

    assert kept(directory, record_id) is None


def test_whoever_puts_back_what_they_read_loses_nothing_that_answers_leave_out(shy: tuple[Directory, str]) -> None:
    """Okta reads a user, changes what differs, and puts all of it back."""
    directory, record_id = shy
    read = get(directory, f"/Users/{record_id}")

    put = directory.send("PUT", f"/Users/{record_id}", {**read, "title": "Dr"})

    assert (put.status, put.document[HR]) == (200, {"site": "Oslo", "code": "x"})
    assert get(directory, f"/Users/{record_id}?attributes={HR}:notes")[HR] == {"code": "x", "notes": "long"}
    assert found(directory, f"{HR}:rate eq 5") == ["ada"]


@pytest.mark.parametrize("returned", ["request", "never"])
@pytest.mark.parametrize("beside", [{}, {"site": "Oslo"}])
def test_what_is_required_and_not_shown_keeps_nobody_from_being_switched_off(directory: Directory, returned: str, beside: dict[str, str]) -> None:
    declares(attribute("site"), attribute("rate", "integer", returned=returned, required=True))
    record_id = directory.add_user("ada", **{HR: {"rate": 5, **beside}})
    read = get(directory, f"/Users/{record_id}")

    off = directory.send("PUT", f"/Users/{record_id}", {**read, "active": False})

    assert (off.status, off.document["active"]) == (200, False), off.text
    assert found(directory, f"{HR}:rate eq 5") == ["ada"]


@pytest.mark.parametrize("said", [{HR: {"site": "Oslo", "Rate": None, "notes": None}}, {HR: None}, {}])
def test_a_put_takes_away_what_it_says_is_nothing_and_an_extension_that_it_leaves_out(shy: tuple[Directory, str], said: dict[str, Any]) -> None:
    directory, record_id = shy

    assert directory.send("PUT", f"/Users/{record_id}", {"userName": "ada", **said}).status == 200

    assert found(directory, f"{HR}:rate pr or {HR}:notes pr or {HR}:code pr") == []


def test_a_successor_gets_nothing_that_was_not_shown_of_whoever_had_the_resource(directory: Directory) -> None:
    declares(attribute("site"), attribute("rate", "integer", returned="never"))
    record_id = directory.add_user("ada", externalId="1", active=False, **{HR: {"site": "Oslo", "rate": 5}})

    put = directory.send("PUT", f"/Users/{record_id}", {"userName": "ada", "externalId": "2", "active": True, HR: {"site": "Rome"}})

    assert (put.status, put.document["active"], found(directory, f"{HR}:rate pr")) == (200, True, [])


def test_a_group_that_is_put_back_keeps_what_is_not_shown_of_it(directory: Directory) -> None:
    team = "urn:example:team"
    declares(attribute("rate", "integer", returned="never"), attribute("notes", returned="request"), urn=team, core=GROUP_URN)
    group_id = directory.send("POST", "/Groups", {"displayName": "ants", team: {"rate": 5, "notes": "long"}}).document["id"]

    assert directory.send("PUT", f"/Groups/{group_id}", {"displayName": "ants", team: {"notes": "s"}}).document[team] == {"notes": "s"}
    assert team not in directory.send("PUT", f"/Groups/{group_id}", get(directory, f"/Groups/{group_id}")).document

    assert get(directory, f"/Groups?filter={team}:rate eq 5 and {team}:notes eq \"s\"".replace(" ", "%20"))["totalResults"] == 1


def test_another_organisations_schema_is_not_ours(directory: Directory) -> None:
    declares(*USUAL)
    with transaction() as session:
        other, source_id = new_id(), new_id()
        session.add(Organization(id=other, name="Elsewhere", created_at=now()))
        session.flush()
        entry = entries.write(session, other, at=now(), actor=OKTA, verb="source added", because="test", subject_kind="source", subject_id=source_id)
        session.add(Source(organization_id=other, id=source_id, kind="scim", name="okta", created_at=now(), journal_id=entry))
        session.flush()
        token = tokens.issue(session, other, holder_kind="source", holder_id=source_id, at=now())
    elsewhere = Directory(app=directory.app, http=directory.http, source_id=source_id, token=token)

    assert elsewhere.add_user("ada", **{HR: {"grade": "seven"}})
    assert elsewhere.send("GET", f"/Schemas/{HR}").status == 404
    assert says(posts(directory, "ada", **{HR: {"grade": "seven"}}), "invalidValue", "grade")
