"""What one reading of a source found to be different, on disk until it is applied: memory does not grow with the organisation.

A private database of SQLite's that is gone when it is closed, or when the process dies: the next pull reads again.
"""

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Literal, Self

from app.clock import microseconds
from app.intake.pull_drafts import Said

Kind = Literal["person", "group"]
Marked = Literal["person", "group", "kept"]
"""`kept` are memberships that somebody kept, by both ids."""
_TABLES: Final = """
CREATE TABLE seen (kind TEXT, key TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID;
CREATE TABLE again (kind TEXT, key TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID;
CREATE TABLE absent (kind TEXT, key TEXT, subject TEXT, since INTEGER, counts INTEGER, answer TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID;
CREATE TABLE person (
    key TEXT PRIMARY KEY, place INTEGER, subject TEXT, new INTEGER, said TEXT, digest BLOB, manager TEXT, takes INTEGER, counts INTEGER,
    ends TEXT, level INTEGER
);
CREATE INDEX person_manager ON person (manager);
CREATE INDEX person_subject ON person (subject) WHERE takes = 1;
CREATE INDEX absent_subject ON absent (subject);
CREATE TABLE grp (key TEXT PRIMARY KEY, place INTEGER, subject TEXT, said TEXT, digest BLOB, added TEXT, removed TEXT, dropped TEXT);
"""
_TABLE_OF: Final[Mapping[Kind, str]] = {"person": "person", "group": "grp"}
AT_ONCE: Final = 500


@dataclass(frozen=True, kw_only=True)
class StagedPerson:
    """Somebody who is new, or of whom something else is said. `takes` where it takes them off, or will within days; `counts` where that
    costs somebody access."""

    key: str
    subject: str | None
    new: bool
    said: str
    digest: bytes
    manager: str | None
    takes: bool
    counts: bool


@dataclass(frozen=True, kw_only=True)
class StagedGroup:
    """A group that is new (`removed` is empty), or that changed. `said` is None where only its members were told.

    `removed` are records that are members here, by key; `dropped` are all keys that are told to be none, known or not.
    """

    key: str
    subject: str | None
    said: tuple[str, str | None] | None
    digest: bytes | None
    added: Sequence[str]
    removed: Mapping[str, str]
    dropped: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Absent:
    """An entry that was not told, or was told to be gone. `answer` is what the source said when it was asked: `none`, or `unasked`."""

    kind: Kind
    key: str
    subject: str | None
    since: int | None
    counts: int
    answer: str | None


class Staging:
    """Written by a reading, read when it is weighed and applied. Used by one thread; closed at the end of the `with`."""

    def __init__(self) -> None:
        # An empty name is a database in a file without a name, with a small cache.
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(_TABLES)
        # Nothing of it outlives this process, so nothing has to be safe from a power cut, or undone.
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("BEGIN")
        self._place = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._db.close()

    # Who was told

    def see(self, kind: Kind, keys: Collection[str]) -> int:
        """Remember that these were told; returns how many of them for the first time."""
        before = self._db.total_changes
        self._db.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", [(kind, key) for key in keys])
        return self._db.total_changes - before

    def seen_among(self, kind: Kind, keys: Sequence[str]) -> set[str]:
        marks = ", ".join("?" * len(keys))
        return {key for (key,) in self._db.execute(f"SELECT key FROM seen WHERE kind = ? AND key IN ({marks})", (kind, *keys))}

    def clear_marks(self, kind: Marked, key: str) -> None:
        """This is there again: what is remembered of its absence goes."""
        self._db.execute("INSERT OR IGNORE INTO again VALUES (?, ?)", (kind, key))

    def there_again(self, kind: Marked) -> list[str]:
        return [key for (key,) in self._db.execute("SELECT key FROM again WHERE kind = ? ORDER BY key", (kind,))]

    # Who was not

    def miss(self, absent: Absent) -> None:
        """This entry was not told, or was told to be gone; what was told of it before counts no more."""
        self._db.execute(
            "INSERT OR REPLACE INTO absent VALUES (?, ?, ?, ?, ?, ?)",
            (absent.kind, absent.key, absent.subject, absent.since, absent.counts, absent.answer),
        )
        self._db.execute(f"DELETE FROM {_TABLE_OF[absent.kind]} WHERE key = ?", (absent.key,))
        self._db.execute("DELETE FROM again WHERE kind = ? AND key = ?", (absent.kind, absent.key))

    def is_there(self, kind: Kind, key: str) -> None:
        self._db.execute("DELETE FROM absent WHERE kind = ? AND key = ?", (kind, key))

    def unstage(self, kind: Kind, key: str) -> None:
        """It is there, and nothing of it is different after all."""
        self._db.execute(f"DELETE FROM {_TABLE_OF[kind]} WHERE key = ?", (key,))
        self.is_there(kind, key)

    def is_absent(self, kind: Kind, key: str) -> bool:
        return self._db.execute("SELECT 1 FROM absent WHERE kind = ? AND key = ?", (kind, key)).fetchone() is not None

    def answered(self, kind: Kind, key: str, answer: str) -> None:
        self._db.execute("UPDATE absent SET answer = ? WHERE kind = ? AND key = ?", (answer, kind, key))

    def answer_the_rest(self, kind: Kind, answer: str) -> None:
        self._db.execute("UPDATE absent SET answer = ? WHERE kind = ? AND answer IS NULL", (answer, kind))

    def absent(self, kind: Kind) -> Iterator[Absent]:
        """In the order of their keys. May be changed while it is read."""
        after = ""
        while rows := self._db.execute(
            "SELECT key, subject, since, counts, answer FROM absent WHERE kind = ? AND key > ? ORDER BY key LIMIT ?", (kind, after, AT_ONCE)
        ).fetchall():
            for key, subject, since, counts, answer in rows:
                yield Absent(kind=kind, key=key, subject=subject, since=since, counts=counts, answer=answer)
            after = rows[-1][0]

    # People

    def stage_person(self, said: Said, *, subject: str | None, new: bool, takes: bool = False, counts: bool = False, ends: str | None = None) -> None:
        """What is told last of somebody is what counts. `ends` is when it will take them, where it has yet to."""
        self._place += 1
        self._db.execute(
            "INSERT OR REPLACE INTO person VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            (said.key, self._place, subject, new, said.text, said.digest, said.manager, takes, counts, ends),
        )
        self.is_there("person", said.key)

    def has_person(self, key: str) -> bool:
        return self._db.execute("SELECT 1 FROM person WHERE key = ?", (key,)).fetchone() is not None

    def changed(self, *, taking: bool) -> Iterator[list[StagedPerson]]:
        """Those who are known, in the order in which they were told: who is taken off, or all others."""
        return self._people("new = 0 AND takes = ?", "place", (taking,))

    def these(self, keys: Sequence[str]) -> Iterator[list[StagedPerson]]:
        """Some of those who are known, by key."""
        self._db.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (key TEXT PRIMARY KEY)")
        self._db.execute("DELETE FROM wanted")
        self._db.executemany("INSERT INTO wanted VALUES (?)", [(key,) for key in keys])
        return self._people("key IN (SELECT key FROM wanted)", "place", ())

    def joining(self) -> Iterator[list[StagedPerson]]:
        """Those who are new, each after their manager where that one is new too, as far as there is such an order."""
        self._db.execute("UPDATE person SET level = NULL WHERE new = 1")
        self._db.execute(
            "UPDATE person SET level = 0 WHERE new = 1 AND (manager IS NULL OR manager NOT IN (SELECT key FROM person WHERE new = 1))"
        )
        level = 0
        while self._db.execute(
            "UPDATE person SET level = ? WHERE new = 1 AND level IS NULL AND manager IN (SELECT key FROM person WHERE level = ?)", (level + 1, level)
        ).rowcount:
            level += 1
        return self._people("new = 1", "coalesce(level, 1000000), place", (), by_level=True)

    def in_circles(self) -> list[str]:
        """Those who are new and in no such order, since their managers report to each other."""
        return [key for (key,) in self._db.execute("SELECT key FROM person WHERE new = 1 AND level IS NULL ORDER BY key")]

    def _people(self, where: str, order: str, values: tuple[Any, ...], *, by_level: bool = False) -> Iterator[list[StagedPerson]]:
        # The keys are collected first on disk, so that rows may change while they are applied.
        self._db.execute("CREATE TEMP TABLE IF NOT EXISTS turn (number INTEGER PRIMARY KEY, key TEXT, level INTEGER)")
        self._db.execute("DELETE FROM turn")
        self._db.execute(f"INSERT INTO turn (key, level) SELECT key, level FROM person WHERE {where} ORDER BY {order}", values)
        after = 0
        while True:
            rows = self._db.execute(
                "SELECT t.number, t.level, p.key, p.subject, p.new, p.said, p.digest, p.manager, p.takes, p.counts FROM turn t JOIN person p USING (key) "
                "WHERE t.number > ? ORDER BY t.number LIMIT ?", (after, AT_ONCE),
            ).fetchall()  # fmt: skip
            if not rows:
                return
            if by_level:
                # A batch is of one level, so that managers are there before whoever reports to them.
                rows = [row for row in rows if row[1] == rows[0][1]]
            yield [
                StagedPerson(
                    key=key, subject=subject, new=bool(new), said=said, digest=digest, manager=manager, takes=bool(takes), counts=bool(counts)
                )
                for _, _, key, subject, new, said, digest, manager, takes, counts in rows
            ]
            after = rows[-1][0]

    # Groups

    def stage_group(self, group: StagedGroup) -> None:
        """What is told last of a group is what counts; what is told of its members only comes on top of what was told before."""
        if group.said is None and (before := self.group(group.key)) is not None:
            group = _folded(before, group)
        self._place += 1
        self._db.execute(
            "INSERT OR REPLACE INTO grp VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                group.key, self._place, group.subject, None if group.said is None else json.dumps(group.said), group.digest, json.dumps(list(group.added)),
                json.dumps(dict(group.removed)), json.dumps(list(group.dropped)),
            ),
        )  # fmt: skip
        self.is_there("group", group.key)

    def group(self, key: str) -> StagedGroup | None:
        row = self._db.execute("SELECT key, subject, said, digest, added, removed, dropped FROM grp WHERE key = ?", (key,)).fetchone()
        return None if row is None else _group(row)

    def groups(self) -> Iterator[StagedGroup]:
        """In the order in which they were told; those that are known first, since one of them may give up the name that a new one has."""
        for (key,) in self._db.execute("SELECT key FROM grp ORDER BY subject IS NULL, place").fetchall():
            group = self.group(key)
            if group is not None:
                yield group

    # In numbers

    def count(self, what: str) -> int:
        """How many of something there are, by the name of the question."""
        (number,) = self._db.execute(_COUNTS[what]).fetchone()
        return int(number or 0)

    def removals(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Of each group here whose members are fewer, who is to be taken out: records by key."""
        query = "SELECT subject, removed FROM grp WHERE removed <> '{}' AND subject IS NOT NULL ORDER BY place"
        for subject, removed in self._db.execute(query).fetchall():
            yield subject, json.loads(removed)

    def leaving_among(self, subjects: Sequence[str]) -> set[str]:
        """Which of these records are to be switched off, or to end, or are not there."""
        marks = ", ".join("?" * len(subjects))
        query = (
            f"SELECT subject FROM person WHERE takes = 1 AND subject IN ({marks}) "
            f"UNION SELECT subject FROM absent WHERE kind = 'person' AND subject IN ({marks})"
        )
        return {subject for (subject,) in self._db.execute(query, (*subjects, *subjects))}

    def counted_among(self, subjects: Sequence[str]) -> set[str]:
        """Which of these records are to be switched off, or to end, or are not there, and that costs somebody access."""
        marks = ", ".join("?" * len(subjects))
        query = (
            f"SELECT subject FROM person WHERE takes = 1 AND counts = 1 AND subject IN ({marks}) "
            f"UNION SELECT subject FROM absent WHERE kind = 'person' AND counts > 0 AND subject IN ({marks})"
        )
        return {subject for (subject,) in self._db.execute(query, (*subjects, *subjects))}

    def takers(self) -> Iterator[tuple[str, str | None]]:
        """The records that are to be switched off; or to end, then with the instant."""
        yield from self._db.execute("SELECT subject, ends FROM person WHERE takes = 1 AND subject IS NOT NULL ORDER BY place").fetchall()


_COUNTS: Final = {
    "new": "SELECT count(*) FROM person WHERE new = 1",
    "changed": "SELECT count(*) FROM person WHERE new = 0 AND takes = 0",
    "off": "SELECT count(*) FROM person WHERE takes = 1",
    "off that counts": "SELECT count(*) FROM person WHERE takes = 1 AND counts = 1",
    "groups": "SELECT count(*) FROM grp",
}


def _group(row: Sequence[Any]) -> StagedGroup:
    key, subject, said, digest, added, removed, dropped = row
    name = None if said is None else json.loads(said)
    return StagedGroup(
        key=key, subject=subject, said=None if name is None else (name[0], name[1]), digest=digest, added=json.loads(added),
        removed=json.loads(removed), dropped=json.loads(dropped),
    )  # fmt: skip


def _folded(before: StagedGroup, then: StagedGroup) -> StagedGroup:
    added = (set(before.added) - set(then.dropped)) | set(then.added)
    removed = {key: record for key, record in {**before.removed, **then.removed}.items() if key not in then.added}
    dropped = (set(before.dropped) | set(then.dropped)) - set(then.added)
    # What it holds in the end was not told whole, so nothing is known to compare with next time.
    return StagedGroup(
        key=before.key, subject=before.subject, said=before.said, digest=None, added=sorted(added), removed=removed, dropped=sorted(dropped)
    )


def since_of(instant: datetime | None) -> int | None:
    """An instant as it is kept here."""
    return None if instant is None else microseconds(instant)
