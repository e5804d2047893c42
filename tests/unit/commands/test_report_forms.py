"""How the rows of a report come out: CSV as RFC 4180 has it, without a formula in it; JSON as one object; nothing before all is there."""

from __future__ import annotations

import csv
import io
import json

import pytest

from app.commands.report_forms import FORMULAS, Form, Rows, as_cell

COLUMNS = ("name", "count", "said")


def written(capsys: pytest.CaptureFixture[bytes], form: Form, *rows: dict[str, object], **fields: object) -> bytes:
    with Rows("report.test", COLUMNS, ("name", "count"), form) as made:
        for row in rows:
            made.add(row)
        made.end(fields)
        made.show()
    return capsys.readouterr().out


def test_lines_of_csv_end_as_the_standard_says(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    out = written(capsysbinary, Form.CSV, {"name": "Zoë, \"Z\"", "count": -1}, {"name": "b", "said": {"x": 2}})

    assert out == 'name,count,said\r\n"Zoë, ""Z""",-1,\r\nb,,2 x\r\n'.encode()


def test_any_reader_takes_it_back(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    rows: list[dict[str, object]] = [{"name": name} for name in ("a,b", '"', "a\nb", "a\r\nb", "'", " ", "ä")]

    out = written(capsysbinary, Form.CSV, *rows)

    back = list(csv.DictReader(io.StringIO(out.decode(), newline=""), strict=True))
    assert [row["name"] for row in back] == ['a,b', '"', "a b", "a  b", "'", " ", "ä"]


def test_json_is_one_object_on_one_line(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    out = written(capsysbinary, Form.JSON, {"name": "=1\ud800", "said": {"x": 2}}, {"count": 1}, total=2)

    assert out.count(b"\n") == 1
    assert json.loads(out) == {
        "schema": "doorlist.report.test/1", "total": 2,
        "lines": [{"name": "=1\ud800", "count": None, "said": {"x": 2}}, {"name": None, "count": 1, "said": None}],
    }  # fmt: skip


def test_in_json_somebody_is_also_called_as_everywhere_else(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with Rows("report.test", ("user_name", "employee_number"), ("user_name",), Form.JSON) as made:
        made.add({"user_name": "ada"})
        made.end({})
        made.show()

    [line] = json.loads(capsysbinary.readouterr().out)["lines"]
    assert line == {"user_name": "ada", "userName": "ada", "employee_number": None, "employeeNumber": None}


def test_a_table_in_a_pipe_has_only_what_is_shown_and_no_cell_breaks_out(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    out = written(capsysbinary, Form.TABLE, {"name": "a\tb\nc\x1b[2J", "count": 1, "said": "never"})

    assert out == b"name\tcount\na b c [2J\t1\n"


@pytest.mark.parametrize("rows", [0, 3, 1100])
def test_a_terminal_shows_every_row(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    with Rows("report.test", COLUMNS, ("name", "count"), Form.TABLE) as made:
        for number in range(rows):
            made.add({"name": f"person-{number:04}", "count": number})
        made.end({})
        made.show()

    shown = terminal.getvalue()
    assert shown.count("person-") == rows and "count" in shown


def test_nothing_is_printed_before_everything_is_there(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with Rows("report.test", COLUMNS, COLUMNS, Form.CSV) as made:
        for number in range(10_000):
            made.add({"name": "x" * 100, "count": number})

    assert capsysbinary.readouterr().out == b""


@pytest.mark.parametrize(
    "name", ["=HYPERLINK(1)", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "＝1", "＠x", '=1","2', "=1\r\n=2", "\0=1"]
)
def test_no_text_becomes_a_formula_in_a_spreadsheet(name: str) -> None:
    cell = as_cell(name)

    assert isinstance(cell, str) and cell.startswith("'")
    assert not any(letter < " " for letter in cell)


@pytest.mark.parametrize("name", ["Bob;=HYPERLINK(1)", "B,ob; =1", "Bob;\t+1", 'Bob;"=1"', 'a";"@x', "a;;-1;\u00a0＝1", ";=1;=2,=3", "=1;=2", '"";=1'])
def test_none_does_where_a_semicolon_parts_the_cells(name: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    out = written(capsysbinary, Form.CSV, {"name": name, "count": 1, "said": [name]}, {"name": "a", "said": name})

    # A spreadsheet is more lenient with quotes than csv is, and drops them.
    cells = [cell.replace('"', "").lstrip() for line in out.decode().splitlines() for cell in line.split(";")]
    assert not [cell for cell in cells if cell.startswith(FORMULAS)]
    assert {row["said"] for row in csv.DictReader(io.StringIO(out.decode(), newline=""), strict=True)} == {as_cell(name)}


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""), (True, "yes"), (False, "no"), (-0.5, -0.5), (0, 0), ([], ""), (["a", "=b"], "a, =b"), (["=b"], "'=b"),
        ({"sessions": 2, "grants": 0}, "2 sessions, 0 grants"), ({}, ""), ("Zoë", "Zoë"), ("\ud800x", " x"),
        ("R&D; Sales", "R&D; Sales"), ("a;=b", "a;'=b"),
    ],
)  # fmt: skip
def test_a_cell_says_what_json_says(value: object, cell: object) -> None:
    assert as_cell(value) == cell
