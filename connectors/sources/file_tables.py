"""A list of people as text: rows of CSV (RFC 4180) or objects of JSON. What is cut off or crooked is an error, never a shorter list."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

from connectors.source_contract import Incomplete
from connectors.sources.person_documents import plain

DELIMITERS: Final = ",;\t|"

Value = str | tuple[str, ...]


class Rows(Protocol):
    """Rows of a CSV, one after the other."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...

    def __next__(self) -> list[str]: ...


@dataclass(frozen=True, kw_only=True)
class Entry:
    """`at` says where it stands, for messages."""

    at: str
    values: Mapping[str, Value]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """`columns` are those that anybody has. `groups` None: none are listed by themselves, and each person names their own."""

    people: Sequence[Entry]
    columns: frozenset[str]
    groups: Sequence[Entry] | None = None


class Headings:
    """Columns by the names that are looked for: capitals and blanks around them do not count, unless there is one that is named to the letter."""

    def __init__(self, wanted: Collection[str]) -> None:
        self._wanted: dict[str, str] = {}
        for name in wanted:
            # Two that differ in nothing else are only found by the letter.
            self._wanted[_folded(name)] = name if self._wanted.get(_folded(name), name) == name else ""

    def named(self, columns: Collection[str], where: str) -> list[str]:
        """Raises Incomplete where two may be meant."""
        named = [column if (meant := self._wanted.get(_folded(column)) or column) in columns else meant for column in columns]
        if len(set(named)) != len(named):
            twice = {column for column in named if named.count(column) > 1}
            raise Incomplete(f"{where} names {', '.join(sorted(twice))} more than once, in other capitals each time")
        return named


def _folded(column: str) -> str:
    return column.strip().casefold()


def columns_of(text: str, headings: Headings, *, name: str, delimiter: str = "") -> frozenset[str]:
    """Those of a CSV, whose rows are not read. Raises Incomplete."""
    return frozenset(_opened(text, headings, name=name, delimiter=delimiter)[1])


def read_csv(text: str, headings: Headings, *, name: str, delimiter: str = "") -> Listing:
    """The first row names the columns. Raises Incomplete."""
    rows, columns = _opened(text, headings, name=name, delimiter=delimiter)
    people = []
    try:
        for row in rows:
            if not row:
                continue
            if len(row) != len(columns):
                raise Incomplete(f"{name}: line {rows.line_num} has {len(row)} fields instead of {len(columns)}: was the file cut off?")
            people.append(Entry(at=f"line {rows.line_num}", values=dict(zip(columns, (field.strip() for field in row), strict=True))))
    except csv.Error as error:
        raise _no_csv(name, rows.line_num, error) from None
    return Listing(people=people, columns=frozenset(columns))


def _opened(text: str, headings: Headings, *, name: str, delimiter: str) -> tuple[Rows, list[str]]:
    """The rows behind the first, and the columns that it names."""
    heading = text.split("\n", 1)[0].strip("\r")
    if not heading.strip():
        raise Incomplete(f"{name}: the file is empty, even of a row that names the columns")
    if (nul := text.find("\0")) >= 0:
        raise Incomplete(f"{name}: line {text.count(chr(10), 0, nul) + 1} holds a NUL; is the encoding right?")
    rows: Rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter or max(DELIMITERS, key=heading.count), strict=True)
    try:
        columns = [column.strip() for column in next(rows)]
    except csv.Error as error:
        raise _no_csv(name, rows.line_num, error) from None
    if len(set(columns)) != len(columns) or "" in columns:
        raise Incomplete(f"{name}: the first row must name every column, and each once")
    return rows, headings.named(columns, f"{name}: the first row")


def _no_csv(name: str, line: int, error: csv.Error) -> Incomplete:
    # Its sentences speak of quotes and line ends, not of what stands there.
    return Incomplete(f"{name}: line {line} is not CSV: {error}")


def read_json(text: str, headings: Headings, *, name: str) -> Listing:
    """A list of people, or `{"people": […], "groups": […]}`. Raises Incomplete."""
    try:
        read: object = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Incomplete(f"{name}: the file is not JSON, or is cut off, or says something twice") from None
    people, groups = (read.get("people"), read.get("groups")) if isinstance(read, dict) else (read, None)
    if not isinstance(people, list) or not isinstance(groups, list | None):
        raise Incomplete(f"{name}: the file must be a list of people, or hold one named people and perhaps one named groups")
    listed = [
        Entry(at=one.at, values=dict(zip(headings.named(one.values, f"{name}: {one.at}"), one.values.values(), strict=True)))
        for one in _entries(people, "person", name=name)
    ]
    columns = frozenset(column for entry in listed for column in entry.values)
    return Listing(people=listed, columns=columns, groups=None if groups is None else _entries(groups, "group", name=name))


def _entries(items: list[object], what: str, *, name: str) -> list[Entry]:
    entries = []
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            raise Incomplete(f"{name}: {what} {number} is not an object")
        at = f"{what} {number}"
        try:
            values = {column: _value(value, f"{name}: {at}: {column}") for column, value in item.items()}
        except RecursionError:
            raise Incomplete(f"{name}: {at} has lists that are nested too deeply") from None
        entries.append(Entry(at=at, values=values))
    return entries


def _value(value: object, where: str) -> Value:
    if isinstance(value, list):
        found = [_value(one, where) for one in value]
        return tuple(one for one in found if isinstance(one, str))
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, str | int | float):
        text = str(value).strip()
        if plain(text) != text:
            raise Incomplete(f"{where} holds a NUL, or half a character")
        return text
    raise Incomplete(f"{where} is an object; only texts, numbers, true, false and lists of them can be read")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError
    return read


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)
