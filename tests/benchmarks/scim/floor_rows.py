"""What the floor keeps, the same on both databases, and what each of the two must be able to do with it."""

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, Protocol

from tests.benchmarks.scim import people

MEDIA_TYPE: Final = "application/scim+json; charset=utf-8"
TABLES: Final = (
    "CREATE TABLE token (digest TEXT PRIMARY KEY)",
    "CREATE TABLE person (id TEXT PRIMARY KEY, standing TEXT, epoch BIGINT, version BIGINT, document TEXT, entry BIGINT)",
    "CREATE TABLE record (id TEXT PRIMARY KEY, person_id TEXT, name_key TEXT, external_id TEXT, active INTEGER, version BIGINT,"
    " document TEXT, created BIGINT, modified BIGINT, entry BIGINT)",
    "CREATE TABLE email (record_id TEXT, address TEXT, PRIMARY KEY (record_id, address))",
    "CREATE TABLE circle (id TEXT PRIMARY KEY, name TEXT, version BIGINT, modified BIGINT, entry BIGINT)",
    "CREATE TABLE member (circle_id TEXT, record_id TEXT, ended BIGINT, entry BIGINT, PRIMARY KEY (circle_id, record_id))",
    "CREATE TABLE work (subject TEXT PRIMARY KEY, due BIGINT, generation BIGINT, entry BIGINT)",
    "CREATE TABLE departure (id TEXT PRIMARY KEY, person_id TEXT, due BIGINT, closed BIGINT, entry BIGINT)",
)
INDEXES: Final = (
    "CREATE UNIQUE INDEX by_name ON record (name_key)",
    "CREATE UNIQUE INDEX by_external_id ON record (external_id)",
    "CREATE INDEX by_person ON record (person_id)",
    "CREATE INDEX by_address ON email (address)",
    "CREATE INDEX by_record ON member (record_id)",
    "CREATE INDEX by_departed ON departure (person_id)",
)
MADE_AT: Final = 1_790_000_000_000_000_000


class Shown(NamedTuple):
    """A person as a row is read: `document` and `groups` are JSON text."""

    id: str
    document: str
    active: int
    version: int
    created: int
    modified: int
    groups: str


class FloorStore(Protocol):
    """One database; threads may share it."""

    def knows(self, digest: str) -> bool: ...

    def user(self, id: str) -> Shown | None: ...

    def found(self, attribute: str, operator: str, value: str) -> list[Shown]: ...

    def page(self, offset: int, count: int) -> tuple[list[Shown], int]: ...

    def add_user(self, id: str, name_key: str, external_id: str, document: str, at: int) -> Shown: ...

    def set_active(self, id: str, active: bool, at: int) -> Shown: ...

    def set_member(self, group: str, id: str, *, inside: bool, at: int) -> None: ...

    def members(self, group: str) -> list[str]: ...

    def fill(self, digest: str, ids: list[str], group: str, members: range) -> None: ...


def rows(digest: str, ids: list[str], group: str, members: range) -> Iterator[tuple[str, Iterator[tuple[Any, ...]]]]:
    """Everything that a fresh floor holds, table by table."""
    yield "token", iter([(digest,)])
    yield "person", ((f"p-{id}", "active", 1, 1, _document(number), 1) for number, id in enumerate(ids))
    yield "record", ((
        id, f"p-{id}", people.user_name(number), people.external_id(number), 1, 1, _document(number), MADE_AT, MADE_AT, 1
    ) for number, id in enumerate(ids))  # fmt: skip
    yield "email", ((id, people.user_name(number)) for number, id in enumerate(ids))
    yield "circle", iter([(group, people.GROUP_NAME, 1, MADE_AT, 1)])
    yield "member", ((group, ids[number], None, 1) for number in members)


def _document(number: int) -> str:
    return json.dumps({name: value for name, value in people.document(number).items() if name != "active"}, ensure_ascii=False)
