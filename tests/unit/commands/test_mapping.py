"""Attribute mappings on the command line: checked, seen on real people, set, and shown."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from app.clock import now
from app.database import reading
from app.directory.tables import Record
from app.directory.vocabulary import ENTERPRISE_URN
from app.intake import mapping_kept
from app.intake.mapping import UnusableMapping
from app.journal.tables import Entry
from app.lifecycle.pulled_tables import SourceState
from app.lifecycle.sources import find_source
from tests.unit.commands.conftest import Desk

PEOPLE = """id,userName,givenName,familyName,mail,department,active
17,Ada,Ada,Lovelace,ada@acme.example,Research,yes
18,Grace,Grace,Hopper,grace@acme.example,Navy,yes
19,NoMail,,,,,no
"""
MAPPING = f"""
userName: 'lower(person.userName) + "@acme.example"'
displayName: person.document.name.givenName + " " + person.document.name.familyName
{ENTERPRISE_URN}:department: >
  person.document["{ENTERPRISE_URN}"].department == "Navy" ? "Sea"
  : person.document["{ENTERPRISE_URN}"].department
"""


@pytest.fixture
def staff(desk: Desk) -> Desk:
    """A desk with a source named staff that reads a file."""
    people = desk.file("people.csv", PEOPLE)
    desk.asks("source", "add", "csv", "staff", "--url", people)
    return desk


def settings_of(desk: Desk) -> dict[str, object]:
    with desk.app.app_context(), reading() as session:
        return find_source(session, str(desk.asks("init")["organization"]["id"]), "staff").settings or {}


def test_a_source_begins_without_a_mapping(staff: Desk) -> None:
    assert staff.asks("mapping", "show", "staff") == {"schema": "doorlist.mapping/1", "source": "staff", "mapping": {}}


def test_a_mapping_is_set_and_shown_and_the_journal_has_both(staff: Desk) -> None:
    before = settings_of(staff)

    answer = staff.asks("mapping", "set", "staff", "--file", staff.file("m.yaml", "userName: lower(person.userName)\n"))
    again = staff.asks("mapping", "set", "staff", "--file", staff.file("m.json", '{"userName": "lower(person.userName)"}'))
    other = staff.asks("mapping", "set", "staff", "--file", staff.file("m.yaml", "userName: person.key\n"))

    assert (answer["changed"], again["changed"], other["changed"]) == (True, False, True)
    assert staff.asks("mapping", "show", "staff")["mapping"] == {"userName": "person.key"}
    assert settings_of(staff) == {**before, "mapping": {"userName": "person.key"}}
    with staff.app.app_context(), reading() as session:
        entries = session.scalars(select(Entry).where(Entry.verb == "mapping changed").order_by(Entry.id)).all()
    assert [(entry.before, entry.after) for entry in entries] == [
        ({"mapping": {}}, {"mapping": {"userName": "lower(person.userName)"}}),
        ({"mapping": {"userName": "lower(person.userName)"}}, {"mapping": {"userName": "person.key"}}),
    ]


def test_an_empty_mapping_takes_people_as_they_come_again(staff: Desk) -> None:
    before = settings_of(staff)
    staff.asks("mapping", "set", "staff", "--file", staff.file("m.yaml", "userName: person.key\n"))

    staff.asks("mapping", "set", "staff", "--file", staff.file("m.yaml", "# nothing\n"))

    assert settings_of(staff) == before


def test_one_that_cannot_be_used_says_the_attribute_and_the_place_and_changes_nothing(staff: Desk) -> None:
    file = staff.file("m.yaml", "displayName: \"'a' + person.dokument\"\n")

    for verb in ("set", "check", "preview"):
        said = staff.types("mapping", verb, "staff", "--file", file, "--json")

        assert said.exit == 2
        assert said.json["error"].startswith("displayName, character 7: person has no dokument; it has document, key")
        assert (said.json["attribute"], said.json["character"]) == ("displayName", 7)
    assert staff.asks("mapping", "show", "staff")["mapping"] == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "userName: a ? 'b' : 'c'\n",
            "line 1: this is not YAML: mapping values are not allowed here; an expression with ': ' in it stands in quotes",
        ),
        ("userName: a\nuserName: b\n", "line 2, userName: a field is named once"),
        ("userName: [a]\n", "line 1, userName: it must be a text"),
        ("- userName\n", "line 1: it must be fields with values"),
        ("userName: ''\n", "line 1, userName: it must be a text"),
    ],
)
def test_a_file_that_cannot_be_read_says_the_line(staff: Desk, text: str, sentence: str) -> None:
    said = staff.types("mapping", "check", "staff", "--file", staff.file("m.yaml", text), "--json")

    assert said.exit == 2
    assert sentence in said.json["error"]


def test_a_directory_that_pushes_has_no_mapping(desk: Desk) -> None:
    desk.directory()

    said = desk.types("mapping", "set", "okta", "--file", desk.file("m.yaml", "userName: person.key\n"), "--json")

    assert said.exit == 1
    assert "okta is not pulled" in said.json["error"]


def test_attributes_of_a_declared_schema_can_be_mapped(staff: Desk) -> None:
    urn = "urn:acme:params:scim:schemas:badge:2.0:User"
    file = staff.file("m.yaml", f"{urn}:floor: size(person.userName)\n")
    unknown = staff.types("mapping", "check", "staff", "--file", file)
    staff.asks("schemas", "import", staff.file("badge.json", f'{{"id": "{urn}", "attributes": [{{"name": "floor", "type": "integer"}}]}}'))

    known = staff.types("mapping", "check", "staff", "--file", file)

    assert (unknown.exit, known.exit) == (2, 0)
    preview = staff.asks("mapping", "preview", "staff", "--file", file, "--person", "17")
    assert preview["people"][0]["attributes"] == [{"attribute": f"{urn}:floor", "before": None, "after": 3, "changed": True}]


def test_a_preview_shows_real_people_before_and_after(staff: Desk) -> None:
    answer = staff.asks("mapping", "preview", "staff", "--file", staff.file("m.yaml", MAPPING), "--first", "2")

    assert (answer["set_aside"], answer["not_found"]) == (0, [])
    assert [person["userName"] for person in answer["people"]] == ["Ada", "Grace"]
    assert answer["people"][1] == {
        "key": "18", "userName": "Grace", "problem": None, "attributes": [
            {"attribute": "userName", "before": "Grace", "after": "grace@acme.example", "changed": True},
            {"attribute": "displayName", "before": None, "after": "Grace Hopper", "changed": True},
            {"attribute": f"{ENTERPRISE_URN}:department", "before": "Navy", "after": "Sea", "changed": True},
        ],
    }  # fmt: skip
    assert answer["people"][0]["attributes"][2] == {
        "attribute": f"{ENTERPRISE_URN}:department",
        "before": "Research",
        "after": "Research",
        "changed": False,
    }


def test_a_preview_says_who_would_be_set_aside_and_why(staff: Desk) -> None:
    said = staff.types("mapping", "preview", "staff", "--file", staff.file("m.yaml", MAPPING), "--json")

    assert said.exit == 6
    assert said.json["set_aside"] == 1
    aside = next(person for person in said.json["people"] if person["key"] == "19")
    assert aside["problem"]["attribute"] == "displayName"
    assert "values together that do not go together" in aside["problem"]["reason"]


@pytest.mark.parametrize("named", ["18", "grace", "GRACE@acme.example"])
def test_people_are_named_by_key_name_or_address(staff: Desk, named: str) -> None:
    answer = staff.asks("mapping", "preview", "staff", "--file", staff.file("m.yaml", MAPPING), "--person", named)

    assert [person["key"] for person in answer["people"]] == ["18"]


def test_whom_the_source_does_not_have_is_said(staff: Desk) -> None:
    said = staff.types(
        "mapping", "preview", "staff", "--file", staff.file("m.yaml", MAPPING), "--person", "ada", "--person", "nobody", "--json"
    )

    assert said.exit == 6
    assert (said.json["not_found"], len(said.json["people"])) == (["nobody"], 1)


def test_a_preview_is_of_the_mapping_in_force_where_no_file_is_given(staff: Desk) -> None:
    staff.asks("mapping", "set", "staff", "--file", staff.file("m.yaml", "title: person.key\n"))

    answer = staff.asks("mapping", "preview", "staff", "--person", "17")

    assert answer["people"][0]["attributes"] == [{"attribute": "title", "before": None, "after": "17", "changed": True}]


def test_a_source_that_cannot_be_read_is_no_preview(staff: Desk) -> None:
    Path(staff.folder / "people.csv").unlink()

    assert staff.types("mapping", "preview", "staff", "--file", staff.file("m.yaml", MAPPING)).exit == 7


def test_a_preview_works_where_nothing_can_be_written(staff: Desk) -> None:
    staff.asks("mapping", "set", "staff", "--file", staff.file("m.yaml", "title: person.key\n"))
    url = staff.environment["DATABASE_URL"]
    shut = replace(staff, environment={**staff.environment, "DATABASE_URL": read_only(url)})

    answer = shut.asks("mapping", "preview", "staff", "--person", "17")
    refused = shut.types("mapping", "set", "staff", "--file", staff.file("m.yaml", "title: person.userName\n"))

    assert answer["people"][0]["attributes"][0]["after"] == "17"
    # Which shows that nothing could have been written.
    assert refused.exit == 1


def read_only(url: str) -> str:
    if url.startswith("sqlite"):
        return url.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true"
    return f"{url}{'&' if '?' in url else '?'}options=-c%20default_transaction_read_only%3Don"


def test_the_next_pull_after_a_change_begins_anew(staff: Desk) -> None:
    organization_id = staff.organization_id
    source_id = staff.acts(lambda session: find_source(session, organization_id, "staff").id)
    under_way = SourceState(
        organization_id=organization_id, source_id=source_id, cursor="c1", full_at=now(), failures=0, claimed_by="pull", claimed_until=now()
    )
    staff.acts(lambda session: session.add(under_way))

    staff.asks("mapping", "set", "staff", "--file", staff.file("m.yaml", "title: person.key\n"))

    state = staff.acts(lambda session: session.get_one(SourceState, (organization_id, source_id)))
    assert (state.cursor, state.full_at, state.claimed_by) == ("c1", None, None)


def people_here(desk: Desk) -> dict[str, tuple[str, bool]]:
    organization_id = desk.organization_id
    query = select(Record.external_id, Record.user_name, Record.active).where(
        Record.organization_id == organization_id, Record.ended_at.is_(None)
    )
    return desk.acts(lambda session: {str(key): (name, on) for key, name, on in session.execute(query)})


def test_a_pull_takes_people_over_as_they_are_mapped_and_lists_whom_it_cannot(staff: Desk) -> None:
    staff.asks("mapping", "set", "staff", "--file", staff.file("m.yaml", "userName: before(person.document.emails[0].value, '@')\n"))

    run = staff.asks("source", "pull", "staff")
    notes = staff.asks("run", "show", str(run["run"]))["notes"]

    assert people_here(staff) == {"17": ("ada", True), "18": ("grace", True)}
    assert any("userName cannot be mapped: a list is shorter than it takes" in note for note in notes), notes


def test_after_a_change_the_next_pull_maps_those_who_did_not_change(staff: Desk) -> None:
    staff.asks("source", "pull", "staff")

    staff.asks("mapping", "set", "staff", "--file", staff.file("m.yaml", "userName: lower(person.userName)\n"))
    staff.asks("source", "pull", "staff")

    assert people_here(staff) == {"17": ("ada", True), "18": ("grace", True), "19": ("nomail", False)}


def test_who_is_off_goes_even_where_the_mapping_fails_for_them(staff: Desk) -> None:
    staff.asks("mapping", "set", "staff", "--file", staff.file("m.yaml", "userName: before(person.document.emails[0].value, '@')\n"))
    staff.asks("source", "pull", "staff")

    staff.file("people.csv", PEOPLE.replace("18,Grace,Grace,Hopper,grace@acme.example,Navy,yes", "18,Grace,Grace,Hopper,,Navy,no"))
    staff.asks("source", "pull", "staff")

    assert people_here(staff) == {"17": ("ada", True), "18": ("grace", False)}


def test_an_auditor_sees_the_mapping_and_changes_nothing(staff: Desk) -> None:
    token = staff.asks("operator", "add", "aud", "--role", "auditor")["token"]
    file = staff.file("m.yaml", MAPPING)

    assert staff.types("mapping", "show", "staff", token=token).exit == 0
    for verb in ("set", "check", "preview"):
        assert staff.types("mapping", verb, "staff", "--file", file, token=token).exit == 4


def test_a_mapping_that_can_be_used_no_more_lets_nobody_be_pulled_by_half_of_it(staff: Desk) -> None:
    urn = "urn:acme:params:scim:schemas:badge:2.0:User"
    staff.asks("schemas", "import", staff.file("badge.json", f'{{"id": "{urn}", "attributes": [{{"name": "floor", "type": "integer"}}]}}'))
    staff.asks("mapping", "set", "staff", "--file", staff.file("m.yaml", f"userName: person.key\n{urn}:floor: '1'\n"))
    organization_id = staff.organization_id
    staff.acts(lambda session: mapping_kept.opened(session, find_source(session, organization_id, "staff")))

    staff.asks("schemas", "remove", urn)

    with pytest.raises(UnusableMapping, match="no schema"):
        staff.acts(lambda session: mapping_kept.opened(session, find_source(session, organization_id, "staff")))


def test_no_command_waits_for_the_library_before_it_is_needed() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import sys, app.assembly, app.intake.mapping; print('cel' in sys.modules)"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip

    assert ended.stdout.strip() == "False"
