"""Rows of requests that were seen, as the drivers take them: what writes hundreds of them every second makes no more of each.

SQLAlchemy would spend several times what the database does on them.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from app.audit.request_tables import BodyState, RequestBody, RequestSeen
from app.database import pen
from app.many_rows import copy_rows


class Seen(NamedTuple):
    """A row of `request_seen` but for its person. Values are the driver's: an instant in microseconds, a list as JSON text."""

    organization_id: str
    id: str
    at: int
    source_id: str
    known: int
    method: str
    path: str
    resource_type: str | None
    resource_id: str | None
    status: int
    took_us: int
    # A look-up has these,
    query: str | None = None
    name: str | None = None
    name_key: str | None = None
    found: int | None = None
    # a change these,
    attributes: str = "[]"
    body: str = BodyState.NONE.value
    body_bytes: int = 0
    # and few requests these.
    refused: int | None = None
    scim_type: str | None = None
    error: str | None = None
    part_of: str | None = None
    part: int | None = None
    times: int = 1


class Told(NamedTuple):
    """What is written of a request: its row, the person it was about, and the masked body that is kept beside it."""

    seen: Seen
    person_id: str | None
    body: str | None


_LOOK_UP, _CHANGE, _RARE = (Seen._fields.index(name) for name in ("query", "attributes", "refused"))
_DEFAULTS: Final = tuple(Seen._field_defaults.values())
_NO_LOOK_UP, _NO_CHANGE, _NOTHING_RARE = _DEFAULTS[: _CHANGE - _LOOK_UP], _DEFAULTS[_CHANGE - _LOOK_UP :], _DEFAULTS[_RARE - _LOOK_UP :]
_COLUMNS: Final = (*Seen._fields, "person_id")
_BODY_COLUMNS: Final = ("organization_id", "id", "body")
Row = tuple[Any, ...]


def write(connection: Connection, told: Sequence[Told]) -> None:
    """Write all of it in one transaction, or nothing."""
    bodies: list[Row] = [(one.seen.organization_id, one.seen.id, one.body) for one in told if one.body is not None]
    if connection.dialect.name == "sqlite":
        _insert(connection, told, bodies)
    else:
        _copy(connection, [(*one.seen, one.person_id) for one in told], bodies)


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _inserted(given: int) -> str:
    """Of a row whose first columns are given; those after them, but for the person, are as they mostly are.

    A NULL that is given costs the driver more than a text does, and one in the statement costs nothing.
    """
    left = [Seen._field_defaults[name] for name in Seen._fields[given:]]
    usual = ["NULL" if value is None else repr(value) for value in left]
    return f"INSERT INTO request_seen ({_listed(_COLUMNS)}) VALUES ({', '.join([*'?' * given, *usual, '?'])})"


_INSERT_SEEN: Final = {given: _inserted(given) for given in (_LOOK_UP, _CHANGE, _RARE, len(Seen._fields))}
_INSERT_BODY: Final = f"INSERT INTO request_body ({_listed(_BODY_COLUMNS)}) VALUES (?, ?, ?)"


def _given(seen: Seen) -> int:
    if seen[_CHANGE:] == _NO_CHANGE:
        return _LOOK_UP if seen[_LOOK_UP:_CHANGE] == _NO_LOOK_UP else _CHANGE
    return _RARE if seen[_RARE:] == _NOTHING_RARE else len(Seen._fields)


def _insert(connection: Connection, told: Sequence[Told], bodies: list[Row]) -> None:
    rows = defaultdict[int, list[Row]](list)
    for seen, person_id, _ in told:
        given = _given(seen)
        rows[given].append((*seen[:given], person_id))
    with pen(connection.engine):
        for given, alike in rows.items():
            connection.exec_driver_sql(_INSERT_SEEN[given], alike)
        if bodies:
            connection.exec_driver_sql(_INSERT_BODY, bodies)
        connection.commit()


def _copy(connection: Connection, seen: Sequence[Row], bodies: Sequence[Row]) -> None:
    if not connection.in_transaction():
        connection.begin()
    for table, columns, rows in ((RequestSeen, _COLUMNS, seen), (RequestBody, _BODY_COLUMNS, bodies)):
        if rows:
            copy_rows(connection, table, columns, rows)
    connection.commit()
