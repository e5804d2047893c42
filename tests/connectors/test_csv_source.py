"""CSV and JSON as a source: from a file and from an address; what is cut off or crooked is never a shorter list."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import responses

from connectors.contract import ConnectorError, Misconfigured, Secret, Unauthorised, Unreachable
from connectors.source_contract import Cursor, CursorLost, Incomplete, SourceGroup, SourceKey, SourcePerson, SourceSettings, TellsChanges
from connectors.sources import files
from connectors.sources.file_tables import Headings, Listing, read_csv
from connectors.sources.files import Files, unchanged
from connectors.sources.person_documents import ENTERPRISE

COMPANY = """\
id,userName,givenName,familyName,mail,department,manager,groups,active,endsAt
1,grace,Grace,Hopper,grace@acme.example,Navy,,Staff,yes,
2,ada,Ada,"Lovelace, Countess",ada@acme.example,Research,1,Staff;Research,yes,2026-12-31
3,alan,Alan,Turing,alan@acme.example,Research,1,Research,no,
"""
ADDRESS = "https://hr.example/export"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


def source(file: Path, content: str | bytes | None = None, *, secret: str = "", **options: str) -> Files:
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return Files(SourceSettings(name="list", url=file.as_uri(), secret=Secret(secret), options=options))


def people(found: Files) -> dict[str, SourcePerson]:
    return {person.key: person for person in found.list_people()}


def groups(found: Files) -> dict[str, SourceGroup]:
    return {group.key: group for group in found.list_groups()}


def test_rows_become_people(file: Path) -> None:
    found = people(source(file, COMPANY))

    assert [(person.key, person.active, person.manager) for person in found.values()] == [
        ("1", True, None),
        ("2", True, "1"),
        ("3", False, "1"),
    ]
    assert found["2"].document["name"] == {"givenName": "Ada", "familyName": "Lovelace, Countess"}
    assert found["2"].document["emails"] == [{"value": "ada@acme.example", "type": "work", "primary": True}]
    assert found["2"].document[ENTERPRISE] == {"department": "Research"}


def test_who_ends_on_a_day_works_until_it_is_over_there(file: Path) -> None:
    assert people(source(file, COMPANY))["2"].ends_at == "2027-01-01T00:00:00+00:00"
    assert people(source(file, COMPANY, zone="America/New_York"))["2"].ends_at == "2027-01-01T05:00:00+00:00"


def test_the_last_day_of_all_is_no_end(file: Path) -> None:
    assert people(source(file, "id,endsAt\n1,9999-12-31\n"))["1"].ends_at is None
    with pytest.raises(Incomplete, match="line 2: startsAt"):
        people(source(file, "id,startsAt\n1,9999-12-32\n"))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2028-02-29", "2028-02-29T00:00:00+00:00"),
        ("2026-03-29T02:30:00+02:00", "2026-03-29T00:30:00+00:00"),
        ("2026-03-29T09:00:00Z", "2026-03-29T09:00:00+00:00"),
    ],
)
def test_a_start_may_be_a_day_or_an_instant(file: Path, said: str, meant: str) -> None:
    assert people(source(file, f"id,startsAt\n1,{said}\n"))["1"].starts_at == meant


@pytest.mark.parametrize(
    "said", ["2027-02-29", "31.12.2026", "soon", "20261231T", "9999-12-31x", "20261231", "2026-W53", "2026-W53-4", "2026W534", "2026-12-31T17"]
)
def test_a_date_that_is_none_is_no_empty_date(file: Path, said: str) -> None:
    with pytest.raises(Incomplete, match="line 2: endsAt"):
        people(source(file, f"id,endsAt\n1,{said}\n"))


def test_people_name_their_groups(file: Path) -> None:
    assert {key: set(group.members) for key, group in groups(source(file, COMPANY)).items()} == {
        "Staff": {"1", "2"},
        "Research": {"2", "3"},
    }


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + COMPANY,
        COMPANY.replace("\n", "\r\n"),
        COMPANY + "\n\n",
        COMPANY.rstrip("\n"),
        "id;userName\n1;grace\n2;ada\n3;alan\n",
        "id\tuserName\n1\tgrace\n2\tada\n3\talan\n",
    ],
)
def test_files_as_spreadsheets_write_them(file: Path, content: str) -> None:
    assert [person.user_name for person in people(source(file, content)).values()] == ["grace", "ada", "alan"]


def test_columns_may_have_other_names(file: Path) -> None:
    content = "Personalnr;Login;Vorgesetzter;Status\n7;ada;grace;active\n8;grace;;inactive\n"

    found = people(
        source(file, content, key="Personalnr", user_name="Login", manager="Vorgesetzter", manager_by="user_name", active="Status")
    )

    assert (found["7"].manager, found["7"].active, found["8"].active) == ("8", True, False)


def test_a_manager_whom_two_people_could_be_is_nobody(file: Path) -> None:
    content = "id,userName,manager\n1,smith,\n2,smith,\n3,ada,smith\n"

    assert people(source(file, content, manager_by="user_name"))["3"].manager is None


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "empty"),
        ("\n1,ada\n", "empty"),
        ("id,userName\n1,ada\n2", "line 3 has 1 fields instead of 2"),
        ('id,userName\n1,"ada\n', "line 2 is not CSV"),
        ('id,userName\n1,"a"da\n', "line 2 is not CSV"),
        ("id,userName\n1,ada,more\n", "3 fields"),
        ("id,id\n1,1\n", "each once"),
        ("id,\n1,1\n", "name every column"),
        ("id,userName\n1,ada\n1,grace\n", "line 2 and line 3 have the same id"),
        ("id,userName\n,ada\n", "line 2 has no id"),
        ("userName\nada\n", "no column id"),
        ("id,active\n1,perhaps\n", "neither true nor false"),
        ("id,active\n1,\n", "neither true nor false"),
        ("id,userName\n1,a\0da\n", "line 2"),
    ],
)
def test_what_is_cut_off_or_crooked_is_never_a_shorter_list(file: Path, content: str, what: str) -> None:
    with pytest.raises(Incomplete, match=what):
        people(source(file, content))


def test_a_column_that_was_named_and_is_missing_empties_nobodys_department(file: Path) -> None:
    with pytest.raises(Incomplete, match="no column Abteilung"):
        people(source(file, COMPANY, department="Abteilung"))


def test_another_encoding_is_told_and_can_be_set(file: Path) -> None:
    content = "id,userName\n1,zoë\n".encode("cp1252")

    with pytest.raises(Incomplete, match="not utf-8"):
        people(source(file, content))
    assert people(source(file, content, encoding="cp1252"))["1"].user_name == "zoë"


def test_a_file_that_is_not_there_is_no_empty_one(file: Path) -> None:
    with pytest.raises(Unreachable):
        people(source(file))
    with pytest.raises(Unreachable):
        source(file).find_person(SourceKey("1"))


def test_a_file_that_is_being_written_is_no_whole_one(file: Path) -> None:
    file.write_text("id\n1\n")
    before = file.stat()
    assert unchanged(before, file.stat(), length=before.st_size)
    assert not unchanged(before, file.stat(), length=before.st_size - 1)

    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert not unchanged(before, file.stat(), length=before.st_size)

    # What the system writes as it is read has no size of its own.
    with pytest.raises(Incomplete, match="while it was read"):
        people(source(Path("/proc/self/status")))


@pytest.mark.parametrize("deep", [600, 5000])
def test_lists_that_are_nested_without_end_are_an_error(file: Path, deep: int) -> None:
    nested = f'[{{"id": "1", "groups": {"[" * deep}{"]" * deep}}}]'

    with pytest.raises(Incomplete):
        people(source(file, nested, format="json"))


def test_a_folder_in_its_place_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        people(source(tmp_path))


def test_somebody_is_found_and_an_emptied_file_says_nothing_of_anybody(file: Path) -> None:
    found = source(file, COMPANY)

    person = found.find_person(SourceKey("2"))

    assert person is not None and person.manager == "1"
    assert found.find_person(SourceKey("9")) is None
    source(file, COMPANY.split("\n", maxsplit=1)[0] + "\n")
    with pytest.raises(Incomplete, match="nobody at all"):
        found.find_person(SourceKey("2"))


def test_the_same_file_has_no_news_and_another_one_is_read_whole(file: Path) -> None:
    found = source(file, COMPANY)
    assert isinstance(found, TellsChanges)
    cursor = found.cursor_now()

    assert list(found.changes_since(cursor)) == [] and found.cursor_reached() == cursor
    source(file, COMPANY.replace("Navy", "Army"))
    with pytest.raises(CursorLost):
        list(found.changes_since(cursor))
    with pytest.raises(CursorLost):
        found.cursor_reached()


def test_other_settings_have_to_read_the_same_file_again(file: Path) -> None:
    cursor = source(file, COMPANY).cursor_now()

    for other in (cursor.replace(cursor[:4], "0000"), source(file, COMPANY, zone="Europe/Berlin").cursor_now()):
        with pytest.raises(CursorLost):
            list(source(file).changes_since(Cursor(other)))


# JSON.


def listing(**members: object) -> str:
    return json.dumps(
        {"people": [{"id": 1, "userName": "ada", "active": True}, {"id": "2", "userName": "grace", "active": False}], **members}
    )


def test_json_may_be_a_list_of_people(file: Path) -> None:
    content = json.dumps(
        [{"id": 1, "userName": "ada", "mail": ["ada@acme.example", "a@acme.example"], "groups": ["Staff", "R;D"], "title": None}]
    )

    found = source(file, content, format="json")

    assert [address["value"] for address in people(found)["1"].document["emails"]] == ["ada@acme.example", "a@acme.example"]
    assert "title" not in people(found)["1"].document
    assert set(groups(found)) == {"Staff", "R;D"}


def test_nested_groups_are_taken_apart_cycles_named_and_strangers_counted(tmp_path: Path) -> None:
    told = [
        {"id": "outer", "name": "Outer", "members": ["1", "inner"]},
        {"id": "inner", "members": ["2", "outer", "stranger"]},
        {"id": "self", "members": ["self"]},
        {"id": "empty", "members": []},
    ]

    found = groups(source(tmp_path / "people.json", listing(groups=told)))

    assert found["outer"] == SourceGroup(
        key=SourceKey("outer"), name="Outer", members=frozenset({SourceKey("1"), SourceKey("2")}), cycles=("Outer",), ignored=1
    )
    assert found["inner"].cycles == ("inner",) and found["self"].cycles == ("self",) and found["empty"].members == frozenset()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "null",
        '"people"',
        listing()[:-2],
        '{"people": [7]}',
        '{"people": {}}',
        '{"people": [], "people": []}',
        '{"people": [{"id": "1", "active": true, "active": false}]}',
        '{"people": [{"id": NaN}]}',
        '{"people": [{"id": {"is": 1}}]}',
        '{"people": [{"id": "1", "userName": "a\\u0000da"}]}',
        '{"people": [{"userName": "ada"}]}',
        "[" * 100_000,
    ],
)
def test_json_that_is_crooked_is_never_a_shorter_list(tmp_path: Path, content: str) -> None:
    with pytest.raises(Incomplete):
        people(source(tmp_path / "people.json", content))


@pytest.mark.parametrize(
    "told",
    [
        {},
        [7],
        [{"id": "g"}],
        [{"id": "", "members": []}],
        [{"id": "g", "members": "1"}],
        [{"id": "g", "members": []}] * 2,
        [{"id": "1", "members": []}],
    ],
)
def test_groups_that_are_crooked_empty_no_group(tmp_path: Path, told: object) -> None:
    with pytest.raises(Incomplete):
        groups(source(tmp_path / "people.json", listing(groups=told)))


# From an address.


def remote(*, url: str = ADDRESS, secret: str = "token-of-hr", **options: str) -> Files:
    return Files(SourceSettings(name="list", url=url, secret=Secret(secret), options=options))


@responses.activate
def test_a_list_may_be_fetched_with_a_token() -> None:
    responses.get(ADDRESS, body=COMPANY, content_type="text/csv")

    assert set(people(remote())) == {"1", "2", "3"}
    assert responses.calls[0].request.headers["Authorization"] == "Bearer token-of-hr"


@responses.activate
@pytest.mark.parametrize(
    ("status", "body", "kind", "error"),
    [
        (401, "no", "text/plain", Unauthorised),
        (404, "id\n", "text/csv", Misconfigured),
        (500, "id\n", "text/csv", Unreachable),
        (204, "", "text/csv", Misconfigured),
        (302, "", "text/csv", Misconfigured),
        (200, "<html>Sign in</html>", "text/html", Misconfigured),
    ],
)
def test_an_answer_that_is_no_list_is_never_an_empty_one(status: int, body: str, kind: str, error: type[ConnectorError]) -> None:
    responses.get(ADDRESS, status=status, body=body, content_type=kind)

    with pytest.raises(error) as caught:
        people(remote())

    assert "token-of-hr" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "what"),
    [
        ("http://hr.example/export", {}, "https"),
        ("ftp://hr.example/export", {}, "address is"),
        ("", {}, "address is"),
        ("file:///folder/a%00b.csv", {}, "address is"),
        ("https://[hr.example", {}, "cannot be read"),
        ("https://[hr.example]/export", {}, "cannot be read"),
        (ADDRESS, {"zone": "Mars/Olympus"}, "zone"),
        (ADDRESS, {"delimiter": "::"}, "delimiter"),
        (ADDRESS, {"encoding": "ebcdic"}, "encoding"),
        (ADDRESS, {"colour": "red"}, "no option colour"),
    ],
)
def test_settings_that_cannot_be_right_are_refused_at_once(url: str, options: dict[str, str], what: str) -> None:
    with pytest.raises(Misconfigured, match=what):
        remote(url=url, **options)


def test_a_check_reads_every_row(file: Path) -> None:
    check = source(file, COMPANY).check()

    assert [step.good for step in check.steps] == [True] * 4 and (check.people, check.groups) == (3, 2)
    assert "whole file" in check.cost


@pytest.mark.parametrize(("content", "failing"), [(None, "connect"), ("", "search"), ("id,active\n1,yes\n2,perhaps\n", "count")])
def test_a_check_stops_at_the_step_that_fails(file: Path, content: str | None, failing: str) -> None:
    check = source(file, content).check()

    assert check.steps[-1].name == failing and not check.good and check.people is None and check.cost == ""


def test_a_file_is_taken_apart_once_for_all_who_are_asked_for(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = source(file, COMPANY)
    taken_apart: list[str] = []

    def counted(text: str, headings: Headings, *, name: str, delimiter: str = "") -> Listing:
        taken_apart.append(text)
        return read_csv(text, headings, name=name, delimiter=delimiter)

    monkeypatch.setattr(files, "read_csv", counted)
    asked = [found.find_person(SourceKey(key)) for key in ("1", "2", "3", "4")]

    assert asked == [*source(file).list_people(), None]
    assert len(taken_apart) == 2

    file.write_text(COMPANY.replace("3,alan", "4,alan"))
    assert found.find_person(SourceKey("3")) is None
    assert found.find_person(SourceKey("4")) is not None
    assert len(taken_apart) == 3
