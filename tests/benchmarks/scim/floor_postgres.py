"""The floor on PostgreSQL: prepared statements on the driver's own connection, and one statement for each change."""

import threading
from typing import Any, Final

import psycopg

from tests.benchmarks.scim.durable import settle
from tests.benchmarks.scim.floor_rows import INDEXES, TABLES, Shown, rows

_GROUPS: Final = (
    "(SELECT coalesce(json_agg(json_build_object('value', c.id, '$ref', '/Groups/' || c.id, 'display', c.name, 'type', 'direct')), '[]')::text"
    " FROM member m JOIN circle c ON c.id = m.circle_id WHERE m.record_id = record.id AND m.ended IS NULL)"
)
_COLUMNS: Final = f"record.id, record.document, record.active, record.version, record.created, record.modified, {_GROUPS}"
_FOUND: Final = {
    ("userName", "eq"): f"SELECT {_COLUMNS} FROM record WHERE name_key = %s",
    ("externalId", "eq"): f"SELECT {_COLUMNS} FROM record WHERE external_id = %s",
    ("userName", "co"): f"SELECT {_COLUMNS} FROM record WHERE strpos(name_key, %s) > 0",
}
_WANTED: Final = (
    "INSERT INTO work SELECT %(person)s, %(at)s, 1, id FROM entry"
    " ON CONFLICT (subject) DO UPDATE SET generation = work.generation + 1, due = excluded.due, entry = excluded.entry"
)
_ADD_USER: Final = f"""
WITH entry AS (INSERT INTO journal (at, actor, verb, subject, after) VALUES (%(at)s, 'source:okta', 'joined', %(id)s, %(document)s) RETURNING id),
a AS (INSERT INTO person SELECT %(person)s, 'active', 1, 1, %(document)s, id FROM entry),
b AS (INSERT INTO record SELECT %(id)s, %(person)s, %(name)s, %(external)s, 1, 1, %(document)s, %(at)s, %(at)s, id FROM entry),
c AS (INSERT INTO email VALUES (%(id)s, %(name)s)),
d AS ({_WANTED})
SELECT id FROM entry
"""
_SET_ACTIVE: Final = f"""
WITH entry AS (
    INSERT INTO journal (at, actor, verb, subject, before, after)
    VALUES (%(at)s, 'source:okta', 'switched', %(id)s, %(before)s, %(after)s) RETURNING id
),
a AS (UPDATE person SET standing = %(standing)s, epoch = epoch + 1, entry = entry.id FROM entry WHERE person.id = %(person)s),
b AS (INSERT INTO departure SELECT entry.id::text, %(person)s, %(at)s, NULL, entry.id FROM entry WHERE %(active)s = 0),
c AS (UPDATE departure SET closed = %(at)s WHERE person_id = %(person)s AND closed IS NULL AND %(active)s = 1),
d AS ({_WANTED})
UPDATE record SET active = %(active)s, version = version + 1, modified = %(at)s, entry = entry.id FROM entry
WHERE record.id = %(id)s RETURNING {_COLUMNS}
"""
_SET_MEMBER: Final = f"""
WITH entry AS (
    INSERT INTO journal (at, actor, verb, subject, after) VALUES (%(at)s, 'source:okta', 'group changed', %(group)s, %(id)s) RETURNING id
),
a AS (UPDATE circle SET version = version + 1, modified = %(at)s, entry = entry.id FROM entry WHERE circle.id = %(group)s),
b AS (
    INSERT INTO member SELECT %(group)s, %(id)s, %(ended)s::bigint, id FROM entry
    ON CONFLICT (circle_id, record_id) DO UPDATE SET ended = excluded.ended, entry = excluded.entry
)
{_WANTED}
"""


class PostgresFloor:
    def __init__(self, url: str) -> None:
        self._url = url.replace("+psycopg", "")
        self._threads = threading.local()

    def _run(self, statement: str, values: Any) -> psycopg.Cursor[tuple[Any, ...]]:
        there: psycopg.Connection[tuple[Any, ...]] | None = getattr(self._threads, "connection", None)
        if there is None:
            there = psycopg.connect(self._url, autocommit=True, prepare_threshold=0)
            self._threads.connection = there
        return there.execute(statement, values)

    def knows(self, digest: str) -> bool:
        return self._run("SELECT 1 FROM token WHERE digest = %s", (digest,)).fetchone() is not None

    def user(self, id: str) -> Shown | None:
        row = self._run(f"SELECT {_COLUMNS} FROM record WHERE id = %s", (id,)).fetchone()
        return None if row is None else Shown(*row)

    def found(self, attribute: str, operator: str, value: str) -> list[Shown]:
        return [Shown(*row) for row in self._run(_FOUND[attribute, operator], (value,))]

    def page(self, offset: int, count: int) -> tuple[list[Shown], int]:
        page = self._run(f"SELECT {_COLUMNS} FROM record ORDER BY id LIMIT %s OFFSET %s", (count, offset)).fetchall()
        counted = self._run("SELECT count(*) FROM record", ()).fetchone()
        return [Shown(*row) for row in page], 0 if counted is None else counted[0]

    def add_user(self, id: str, name_key: str, external_id: str, document: str, at: int) -> Shown:
        values = {"id": id, "person": f"p-{id}", "name": name_key, "external": external_id, "document": document, "at": at}
        self._run(_ADD_USER, values)
        return Shown(id, document, 1, 1, at, at, "[]")

    def set_active(self, id: str, active: bool, at: int) -> Shown:
        values = {
            "id": id, "person": f"p-{id}", "active": int(active), "standing": "active" if active else "departed", "before": str(not active),
            "after": str(active), "at": at,
        }  # fmt: skip
        row = self._run(_SET_ACTIVE, values).fetchone()
        assert row is not None
        return Shown(*row)

    def set_member(self, group: str, id: str, *, inside: bool, at: int) -> None:
        self._run(_SET_MEMBER, {"group": group, "id": id, "person": f"p-{id}", "ended": None if inside else at, "at": at})

    def members(self, group: str) -> list[str]:
        return [row[0] for row in self._run("SELECT record_id FROM member WHERE circle_id = %s AND ended IS NULL", (group,))]

    def fill(self, digest: str, ids: list[str], group: str, members: range) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            for statement in TABLES:
                connection.execute(statement)
            connection.execute(
                "CREATE TABLE journal (id BIGSERIAL PRIMARY KEY, at BIGINT, actor TEXT, verb TEXT, subject TEXT, before TEXT, after TEXT)"
            )
            for table, some in rows(digest, ids, group, members):
                with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                    for row in some:
                        copy.write_row(row)
            for statement in INDEXES:
                connection.execute(statement)
        settle(self._url)
