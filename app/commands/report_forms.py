"""How a report is shown: one JSON object, CSV, or a table; row by row, and nothing at all unless the whole of it was made.

Rows go into a temporary file that has no name, so a report may be longer than memory, and one that fails halfway prints its error and nothing else.
"""

import csv
import functools
import json
import re
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self

import click

from app.commands.acting import ROLES, Acting, verb
from app.commands.exits import Exit
from app.commands.output import Answer, Table, is_terminal, plain, show
from app.lifecycle.operators import Role

Given = ParamSpec("Given")
DRAWN_AT_ONCE: Final = 500
COPIED_AT_ONCE: Final = 1 << 16
FORMULAS: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "﹦", "﹢", "﹣", "﹫")
"""What a spreadsheet takes for the beginning of a formula, in whichever width it is written (OWASP, CSV Injection)."""
# Where `;` parts lists, as in most of Europe, a spreadsheet begins a cell behind each: quotes only hold where a cell begins with them.
_BEHIND_A_SEMICOLON: Final = re.compile(rf';(?=[\s"]*[{re.escape("".join(FORMULAS))}])')


_ELSEWHERE: Final = {"user_name": "userName", "display_name": "displayName", "employee_number": "employeeNumber"}
"""How every other `--json` calls what these columns hold: it is said by both names."""


class Form(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What is said once all rows are there: `fields` beside the lines in JSON, `notes` for people on stderr."""

    fields: Mapping[str, object] = field(default_factory=dict)
    notes: Sequence[str] = ()
    exit: Exit = Exit.DONE


class Rows:
    """The rows of one report on their way to whoever asked. `columns` are all that a row has; a table shows those in `shown`."""

    def __init__(self, schema: str, columns: Sequence[str], shown: Sequence[str], form: Form) -> None:
        self._schema, self._columns, self._shown, self._form = schema, columns, shown, form
        # Who left and why stands in it: the file has no name, and is gone with the process.
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115  # closed by __exit__
        self._csv = csv.writer(self._file, lineterminator="\r\n")
        self.count = 0
        if form is Form.JSON:
            self._file.write(f'{{"schema": {json.dumps(f"doorlist.{schema}/1")}, "lines": [')
        elif form is Form.CSV:
            self._csv.writerow(columns)
        else:
            self._file.write("\t".join(shown) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def add(self, row: Mapping[str, object]) -> None:
        """One more row; what it leaves out is empty."""
        if self._form is Form.JSON:
            self._file.write(", " if self.count else "")
            told = {name: row.get(name) for name in self._columns}
            self._file.write(json.dumps(told | {_ELSEWHERE[name]: value for name, value in told.items() if name in _ELSEWHERE}))
        elif self._form is Form.CSV:
            self._csv.writerow([as_cell(row.get(name)) for name in self._columns])
        else:
            self._file.write("\t".join(plain(as_text(row.get(name))) for name in self._shown) + "\n")
        self.count += 1

    def end(self, fields: Mapping[str, object]) -> None:
        if self._form is Form.JSON:
            self._file.write("]" + "".join(f", {json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items()) + "}\n")
        self._file.flush()

    def show(self) -> None:
        """Print everything. Raises BrokenPipeError where whoever reads has seen enough."""
        self._file.seek(0)
        if self._form is Form.TABLE and is_terminal():
            self._draw()
            return
        while text := self._file.read(COPIED_AT_ONCE):
            # As bytes, so that no stream turns the ends of lines into others.
            click.echo(text.encode(), nl=False)

    def _draw(self) -> None:
        lines = (line.rstrip("\n").split("\t") for line in self._file)
        columns = tuple(next(lines))
        page: list[list[str]] = []
        for line in lines:
            page.append(line)
            if len(page) == DRAWN_AT_ONCE:
                show(Answer(schema=self._schema, tables=[Table(columns=columns, rows=page)]), as_json=False)
                page = []
        if page or self.count == 0:
            show(Answer(schema=self._schema, tables=[Table(columns=columns, rows=page)]), as_json=False)


def as_text(value: object) -> object:
    """A value in one cell: what is a list or an object in JSON is told in words."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return ", ".join(f"{count} {name}" for name, count in value.items()) or None
    if isinstance(value, list | tuple):
        return ", ".join(str(one) for one in value) or None
    return value


def as_cell(value: object) -> object:
    """A value in CSV (RFC 4180): empty where there is none, and never a formula of a spreadsheet's. Numbers stay numbers, also below nought.

    What cannot be printed becomes a space: a line break may be quoted, but half of all readers trip over it.
    """
    told = as_text(value)
    if told is None:
        return ""
    if isinstance(told, bool):
        return "yes" if told else "no"
    if isinstance(told, int | float):
        return told
    text = told if isinstance(told, str) and told.isprintable() else plain(told)
    text = _BEHIND_A_SEMICOLON.sub(";'", text) if ";" in text else text
    return f"'{text}" if text.lstrip().startswith(FORMULAS) else text


_inner = click.Group()


def report(
    group: click.Group, name: str, *, columns: Sequence[str], shown: Sequence[str], may: Collection[Role]
) -> Callable[[Callable[Concatenate[Acting, Rows, Given], Ended]], click.Command]:
    """Add a report to a group: a verb that is given who acts and where its rows go, and that can also answer in CSV."""

    def decorate(act: Callable[Concatenate[Acting, Rows, Given], Ended]) -> click.Command:
        options = list(getattr(act, "__click_params__", []))

        def inside(acting: Acting, form: Form, *args: Any, **given: Any) -> Answer:
            with Rows(f"report.{name}", columns, shown, form) as rows:
                ended = act(acting, rows, *args, **given)
                rows.end(ended.fields)
                with suppress(BrokenPipeError):
                    rows.show()
            # The rows are printed by now; what is left to say is for people.
            return Answer(schema=f"report.{name}", notes=() if form is Form.JSON else ended.notes, exit=ended.exit)

        framed = verb(_inner, f"report {name}", may=may)(inside)

        @functools.wraps(act, updated=())
        def run(as_json: bool, as_csv: bool, organization: str | None, **given: Any) -> int:
            if as_json and as_csv:
                raise click.UsageError("--json and --csv exclude each other")
            form = Form.JSON if as_json else Form.CSV if as_csv else Form.TABLE
            ended: int = click.get_current_context().invoke(framed, organization=organization, as_json=False, form=form, **given)
            return ended

        run.__click_params__ = options  # type: ignore[attr-defined]  # where click keeps what its decorators have added
        command = group.command(name)(_ORGANIZATION(_AS_JSON(_AS_CSV(run))))
        ROLES[command] = frozenset(may)
        return command

    return decorate


_ORGANIZATION: Final = click.option("--organization", metavar="NAME", help="Which organisation; may be left out where there is one.")
_AS_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else.")
_AS_CSV: Final = click.option("--csv", "as_csv", is_flag=True, help="Print CSV on stdout, with a header, and nothing else there.")
