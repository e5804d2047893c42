"""The floor on SQLite: the driver's own connection, one for each thread, as durable as Doorlist's."""

import sqlite3
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from tests.benchmarks.scim.floor_rows import INDEXES, TABLES, Shown, rows

Result = TypeVar("Result")
WAITS: Final = 15
_GROUPS: Final = (
    "(SELECT json_group_array(json_object('value', c.id, '$ref', '/Groups/' || c.id, 'display', c.name, 'type', 'direct'))"
    " FROM member m JOIN circle c ON c.id = m.circle_id WHERE m.record_id = record.id AND m.ended IS NULL)"
)
_COLUMNS: Final = f"id, document, active, version, created, modified, {_GROUPS}"
_FOUND: Final = {
    ("userName", "eq"): f"SELECT {_COLUMNS} FROM record WHERE name_key = ?",
    ("externalId", "eq"): f"SELECT {_COLUMNS} FROM record WHERE external_id = ?",
    ("userName", "co"): f"SELECT {_COLUMNS} FROM record WHERE instr(name_key, ?)",
}
_ENTRY: Final = "INSERT INTO journal (at, actor, verb, subject, before, after) VALUES (?, 'source:okta', ?, ?, ?, ?)"
_WANTED: Final = (
    "INSERT INTO work VALUES (?, ?, 1, ?) ON CONFLICT (subject) DO UPDATE SET generation = generation + 1, due = excluded.due, entry = excluded.entry"
)


class SQLiteFloor:
    """Writers take turns in the process, as Doorlist's do: in SQLite itself they would sleep between two tries."""

    def __init__(self, url: str) -> None:
        self._path = url.removeprefix("sqlite:///")
        self._threads = threading.local()
        self._pen = threading.Lock()

    def _connection(self) -> sqlite3.Connection:
        there: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if there is None:
            there = sqlite3.connect(self._path, timeout=WAITS, isolation_level=None)
            for pragma in ("journal_mode=WAL", "synchronous=FULL"):
                there.execute(f"PRAGMA {pragma}")
            self._threads.connection = there
        return there

    def knows(self, digest: str) -> bool:
        return self._connection().execute("SELECT 1 FROM token WHERE digest = ?", (digest,)).fetchone() is not None

    def user(self, id: str) -> Shown | None:
        row = self._connection().execute(f"SELECT {_COLUMNS} FROM record WHERE id = ?", (id,)).fetchone()
        return None if row is None else Shown(*row)

    def found(self, attribute: str, operator: str, value: str) -> list[Shown]:
        return [Shown(*row) for row in self._connection().execute(_FOUND[attribute, operator], (value,))]

    def page(self, offset: int, count: int) -> tuple[list[Shown], int]:
        connection = self._connection()
        page = connection.execute(f"SELECT {_COLUMNS} FROM record ORDER BY id LIMIT ? OFFSET ?", (count, offset)).fetchall()
        total: int = connection.execute("SELECT count(*) FROM record").fetchone()[0]
        return [Shown(*row) for row in page], total

    def add_user(self, id: str, name_key: str, external_id: str, document: str, at: int) -> Shown:
        def act(connection: sqlite3.Connection) -> Shown:
            entry = connection.execute(_ENTRY, (at, "joined", id, None, document)).lastrowid
            connection.execute("INSERT INTO person VALUES (?, 'active', 1, 1, ?, ?)", (f"p-{id}", document, entry))
            connection.execute(
                "INSERT INTO record VALUES (?, ?, ?, ?, 1, 1, ?, ?, ?, ?)", (id, f"p-{id}", name_key, external_id, document, at, at, entry)
            )
            connection.execute("INSERT INTO email VALUES (?, ?)", (id, name_key))
            connection.execute(_WANTED, (f"p-{id}", at, entry))
            return Shown(id, document, 1, 1, at, at, "[]")

        return self._written(act)

    def set_active(self, id: str, active: bool, at: int) -> Shown:
        def act(connection: sqlite3.Connection) -> Shown:
            entry = connection.execute(_ENTRY, (at, "switched", id, str(not active), str(active))).lastrowid
            row = connection.execute(
                f"UPDATE record SET active = ?, version = version + 1, modified = ?, entry = ? WHERE id = ? RETURNING {_COLUMNS}", (active, at, entry, id)
            ).fetchone()
            standing = "active" if active else "departed"
            connection.execute("UPDATE person SET standing = ?, epoch = epoch + 1, entry = ? WHERE id = ?", (standing, entry, f"p-{id}"))
            if active:
                connection.execute("UPDATE departure SET closed = ? WHERE person_id = ? AND closed IS NULL", (at, f"p-{id}"))
            else:
                connection.execute("INSERT INTO departure VALUES (?, ?, ?, NULL, ?)", (f"{entry}", f"p-{id}", at, entry))
            connection.execute(_WANTED, (f"p-{id}", at, entry))
            return Shown(*row)

        return self._written(act)

    def set_member(self, group: str, id: str, *, inside: bool, at: int) -> None:
        def act(connection: sqlite3.Connection) -> None:
            entry = connection.execute(_ENTRY, (at, "group changed", group, None, id)).lastrowid
            connection.execute("UPDATE circle SET version = version + 1, modified = ?, entry = ? WHERE id = ?", (at, entry, group))
            connection.execute(
                "INSERT INTO member VALUES (?, ?, ?, ?) ON CONFLICT (circle_id, record_id) DO UPDATE SET ended = excluded.ended, entry = excluded.entry",
                (group, id, None if inside else at, entry),
            )
            connection.execute(_WANTED, (f"p-{id}", at, entry))

        self._written(act)

    def members(self, group: str) -> list[str]:
        found = self._connection().execute("SELECT record_id FROM member WHERE circle_id = ? AND ended IS NULL", (group,))
        return [row[0] for row in found]

    def fill(self, digest: str, ids: list[str], group: str, members: range) -> None:
        connection = self._connection()
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(
            "CREATE TABLE journal (id INTEGER PRIMARY KEY AUTOINCREMENT, at BIGINT, actor TEXT, verb TEXT, subject TEXT, before TEXT, after TEXT)"
        )
        connection.execute("BEGIN IMMEDIATE")
        for table, some in rows(digest, ids, group, members):
            for row in some:
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        for statement in INDEXES:
            connection.execute(statement)
        connection.execute("COMMIT")

    def _written(self, act: Callable[[sqlite3.Connection], Result]) -> Result:
        connection = self._connection()
        with self._pen:
            connection.execute("BEGIN IMMEDIATE")
            try:
                done = act(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        return done
