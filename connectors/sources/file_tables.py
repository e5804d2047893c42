"""A list of people as text: rows of CSV (RFC 4180) or objects of JSON. What is cut off or crooked is an error, never a shorter list."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from connectors.source_contract import Incomplete
from connectors.sources.person_documents import plain

DELIMITERS: Final = ",;\t|"

Value = str | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """`at` says where it stands, for messages."""

    at: str
    values: Mapping[str, Value]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """`groups` None: none are listed by themselves, and each person names their own."""

    people: Sequence[Entry]
    columns: frozenset[str]
    groups: Sequence[Entry] | None = None


def read_csv(text: str, *, name: str, delimiter: str = "") -> Listing:
    """The first row names the columns. Raises Incomplete."""
    heading = text.split("\n", 1)[0].strip("\r")
    if not heading.strip():
        raise Incomplete(f"{name}: the file is empty, even of a row that names the columns")
    if (nul := text.find("\0")) >= 0:
        raise Incomplete(f"{name}: line {text.count(chr(10), 0, nul) + 1} holds a NUL; is the encoding right?")
    delimiter = delimiter or max(DELIMITERS, key=heading.count)
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        columns = [column.strip() for column in next(rows)]
        if len(set(columns)) != len(columns) or "" in columns:
            raise Incomplete(f"{name}: the first row must name every column, and each once")
        people = []
        for row in rows:
            if not row:
                continue
            if len(row) != len(columns):
                raise Incomplete(f"{name}: line {rows.line_num} has {len(row)} fields instead of {len(columns)}: was the file cut off?")
            people.append(Entry(at=f"line {rows.line_num}", values=dict(zip(columns, (field.strip() for field in row), strict=True))))
    except csv.Error as error:
        # Its sentences speak of quotes and line ends, not of what stands there.
        raise Incomplete(f"{name}: line {rows.line_num} is not CSV: {error}") from None
    return Listing(people=people, columns=frozenset(columns))


def read_json(text: str, *, name: str) -> Listing:
    """A list of people, or `{"people": […], "groups": […]}`. Raises Incomplete."""
    try:
        read: object = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Incomplete(f"{name}: the file is not JSON, or is cut off, or says something twice") from None
    people, groups = (read.get("people"), read.get("groups")) if isinstance(read, dict) else (read, None)
    if not isinstance(people, list) or not isinstance(groups, list | None):
        raise Incomplete(f"{name}: the file must be a list of people, or hold one named people and perhaps one named groups")
    listed = _entries(people, "person", name=name)
    columns = frozenset(column for entry in listed for column in entry.values)
    return Listing(people=listed, columns=columns, groups=None if groups is None else _entries(groups, "group", name=name))


def _entries(items: list[object], what: str, *, name: str) -> list[Entry]:
    entries = []
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            raise Incomplete(f"{name}: {what} {number} is not an object")
        at = f"{what} {number}"
        entries.append(Entry(at=at, values={column: _value(value, f"{name}: {at}: {column}") for column, value in item.items()}))
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
