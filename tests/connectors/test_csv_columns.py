"""Columns of a list: found in whatever capitals, and missed where everybody had them before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.contract import Misconfigured, Secret
from connectors.source_contract import Cursor, CursorLost, Incomplete, KnowsColumns, SourceKey, SourceSettings
from connectors.sources.files import Files
from connectors.sources.person_documents import ENTERPRISE

COMPANY = "id,userName,department,active,endsAt,notes\n1,ada,Research,yes,,\n2,grace,Navy,no,2026-12-31,\n"


def opened(folder: Path, content: str | None = None, *, since: Cursor | None = None, **options: str) -> Files:
    """The list as it is now; and as one who has seen it at a cursor expects it."""
    file = folder / "people"
    if content is not None:
        file.write_text(content)
    files = Files(SourceSettings(name="list", url=file.as_uri(), secret=Secret(""), options=options))
    if since is not None:
        files.expect(since)
    return files


def said(files: Files) -> list[tuple[str, bool, object, bool]]:
    people = sorted(files.list_people(), key=lambda person: person.user_name)
    return [(one.user_name, one.active, one.document.get(ENTERPRISE, {}).get("department"), one.ends_at is not None) for one in people]


@pytest.mark.parametrize("written", [str.upper, str.title, lambda text: text.replace(",", " , "), lambda text: text.replace("active", "ACTIVE")])
def test_capitals_and_blanks_in_a_heading_make_no_difference(written: Callable[[str], str], tmp_path: Path) -> None:
    heading, rows = COMPANY.split("\n", 1)

    assert said(opened(tmp_path, f"{written(heading)}\n{rows}")) == said(opened(tmp_path, COMPANY))


def test_a_column_that_an_option_names_may_have_other_capitals_too(tmp_path: Path) -> None:
    content = "PERSONALNR;STATUS\n7;active\n8;inactive\n"

    assert [person.active for person in opened(tmp_path, content, key="Personalnr", active="Status").list_people()] == [True, False]


def test_of_two_columns_the_one_that_is_named_to_the_letter_counts(tmp_path: Path) -> None:
    assert said(opened(tmp_path, "id,userName,Active,active\n1,ada,no,yes\n")) == [("ada", True, None, False)]
    assert said(opened(tmp_path, "id,Name,name\n1,ada,grace\n", user_name="name", title="Name")) == [("grace", True, None, False)]
    with pytest.raises(Incomplete, match="names active more than once"):
        said(opened(tmp_path, "id,userName,Active,ACTIVE\n1,ada,no,yes\n"))


def test_json_may_have_other_capitals_in_each_entry(tmp_path: Path) -> None:
    content = [{"id": "1", "userName": "ada", "Active": False}, {"ID": "2", "username": "grace", "active": False}]

    assert said(opened(tmp_path, json.dumps(content), format="json")) == [("ada", False, None, False), ("grace", False, None, False)]


# What is not there any more


def test_the_cursor_tells_which_columns_there_were(tmp_path: Path) -> None:
    files = opened(tmp_path, COMPANY)
    assert isinstance(files, KnowsColumns)

    assert files.cursor_now().split(":")[2] == "active,department,ends_at,key,user_name"


def test_a_cursor_of_before_has_the_list_read_once_more(tmp_path: Path) -> None:
    files = opened(tmp_path, COMPANY)
    cursor = files.cursor_now()

    with pytest.raises(CursorLost):
        list(files.changes_since(Cursor(cursor.rpartition(":")[0])))


@pytest.mark.parametrize("lost", ["active", "department", "endsAt"])
def test_a_column_that_is_lost_makes_the_list_incomplete(lost: str, tmp_path: Path) -> None:
    since = opened(tmp_path, COMPANY).cursor_now()

    files = opened(tmp_path, COMPANY.replace(lost, f"{lost}_2"), since=since)

    for read in (files.list_people, files.list_groups, lambda: iter([files.find_person(SourceKey("2"))])):
        with pytest.raises(Incomplete, match=f"there is no column {lost} any more"):
            list(read())


def test_a_column_that_nothing_is_read_from_may_go(tmp_path: Path) -> None:
    since = opened(tmp_path, COMPANY).cursor_now()

    assert said(opened(tmp_path, COMPANY.replace("notes", "remarks"), since=since)) == said(opened(tmp_path, COMPANY))


def test_whoever_sets_an_option_says_how_it_is_meant(tmp_path: Path) -> None:
    since = opened(tmp_path, COMPANY).cursor_now()
    renamed, without = COMPANY.replace("active", "enabled"), COMPANY.replace("department", "dept")

    assert said(opened(tmp_path, renamed, since=since, active="enabled")) == said(opened(tmp_path, COMPANY))
    assert said(opened(tmp_path, without, since=since, department="-")) == [("ada", True, None, False), ("grace", False, None, True)]
    # Also where there is one of that name.
    assert said(opened(tmp_path, COMPANY, active="-"))[1] == ("grace", True, "Navy", True)
    with pytest.raises(Misconfigured, match="key is a column"):
        opened(tmp_path, key="-")


def test_of_json_what_everybody_had_has_to_stay(tmp_path: Path) -> None:
    before = [{"id": "1", "active": True, "title": "Countess"}, {"id": "2", "active": False}]
    since = opened(tmp_path, json.dumps(before), format="json").cursor_now()
    assert since.split(":")[2] == "active,key"

    # That the last who had a title has gone is no news; that somebody has no word on whether they are on is.
    assert said(opened(tmp_path, json.dumps(before[1:]), since=since, format="json")) == [("2", False, None, False)]
    with pytest.raises(Incomplete, match="no column active any more"):
        said(opened(tmp_path, json.dumps([before[0], {"id": "2", "enabled": False}]), since=since, format="json"))
