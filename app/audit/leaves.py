"""What a leaf of the audit tree says: the fact itself in the open, and whatever may name a person as a digest with a salt.

A digest binds us to the value and tells nobody anything, since the salt is not in the leaf. Whoever is shown value and
salt can check them; once the salt is gone nobody can, and the tree is as whole as before.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Text, cast, type_coerce

from app.audit.spelling import canonical, digest_of, exact, key_of
from app.audit.tables import Deed
from app.audit.tree_tables import AuditLeaf
from app.clock import stored_instant
from app.database import Instant
from app.journal.tables import Entry

VERSION = 1
_FIRST: Final = stored_instant(0)
_SEQUENCED: Final = '"sequenced":"'
SEQUENCED_AT: Final = type_coerce(AuditLeaf.sequenced_at, BigInteger)
"""As it is stored, for `instant_of`."""
Row = dict[str, Any]
"""What one leaf is made from: the columns of its evidence by their names, and the `kind` of it."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A kind of row that becomes leaves. `plain` columns stand in the leaf, `hidden` ones as digests; both by their own names.

    A plain column must hold nothing that names a person, and no secret; ids of ours are opaque, and so may stand there.
    """

    kind: str
    table: type[Entry] | type[Deed]
    plain: tuple[str, ...]
    hidden: tuple[str, ...]

    def texts(self, dialect: str) -> list[Any]:
        """All that leaves are made from, documents as JSON text, for `read`: what makes thousands of leaves a second reads as few objects as it can."""
        return [_plain(getattr(self.table, name), dialect) for name in self._columns]

    def read(self, texts: Sequence[Any]) -> Row:
        """A row of `texts`, its values by name, with the `kind` of evidence that it is. A document that is none is the text that stands there.

        SQLite keeps values of any type where another hand writes them. They are told as they stand, so that none of them ends an export.
        """
        row = dict(zip(self._columns, texts, strict=True))
        row["at"] = instant_of(row["at"])
        for name, value in row.items():
            if isinstance(value, bytes):
                row[name] = text_of(value)
        for name in self._documents:
            if (text := row[name]) is not None:
                row[name] = None if text == "null" else _document(text)
        row["kind"] = self.kind
        return row

    @cached_property
    def _columns(self) -> tuple[str, ...]:
        return ("id", "organization_id", "at", *self.plain, *self.hidden)

    @cached_property
    def _documents(self) -> tuple[str, ...]:
        return tuple(name for name in self.hidden if isinstance(getattr(self.table, name).type, JSON))


def instant_of(stored: object) -> datetime:
    """What microseconds since 1970 say; what says no instant is read as 1970, which is not what a leaf says of it."""
    try:
        return stored_instant(stored) if isinstance(stored, int) else _FIRST
    except OverflowError:
        return _FIRST


def dated_anew(text: str, stored: object) -> bool:
    """Whether its row says another instant than a leaf's text of when it was appended. By the row an export finds a time, and retention what is old."""
    return _SEQUENCED in text and f'{_SEQUENCED}{exact(instant_of(stored))}"' not in text


def text_of(stored: object) -> str:
    """What stands where a text should."""
    return stored.hex() if isinstance(stored, bytes) else str(stored)


def _plain(column: Any, dialect: str) -> Any:
    if isinstance(column.type, Instant):
        return type_coerce(column, BigInteger)
    if not isinstance(column.type, JSON):
        return column
    return cast(column, Text) if dialect == "postgresql" else type_coerce(column, Text)


def _document(text: Any) -> Any:
    """What a text says as JSON. SQLite keeps whatever another hand wrote there, and whoever checks is told that it is not what it was."""
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return text


EVIDENCE: Final = (
    Evidence(kind="journal", table=Entry, plain=("verb", "subject_kind", "subject_id"), hidden=("actor", "because", "before", "after")),
    Evidence(kind="deed", table=Deed, plain=("workspace_id", "subject", "subject_id", "because"), hidden=("did", "ended")),
)
KINDS: Final = {one.kind: one for one in EVIDENCE}


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A hidden value with the key that its digest was made with."""

    key: str
    value: Any = field(repr=False)


def leaf_of(row: Row, *, salt: bytes, sequenced: str) -> str:
    """The text of one leaf, of what `Evidence.read` gives. Columns that are null are left out, which says that they were null."""
    evidence = KINDS[row["kind"]]
    said = {"v": VERSION, "kind": evidence.kind, "sequenced": sequenced, **_in_the_open(evidence, row)}
    for name in evidence.hidden:
        if (value := row[name]) is not None:
            said[name] = digest_of(key_of(salt, name), value)
    return canonical(said).decode()


def read_leaf(text: str | None) -> Mapping[str, Any]:
    """What a leaf says; nothing where its text is gone, or was made unreadable, which its hash will show."""
    try:
        said = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _in_the_open(evidence: Evidence, row: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in a leaf as it stands in its row."""
    said: dict[str, Any] = {"id": row["id"], "at": exact(row["at"])}
    for name in evidence.plain:
        if (value := row[name]) is not None:
            said[name] = value
    return said


def differing(evidence: Evidence, leaf: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says in the open by now that its leaf does not, or not so; null for what it says no more."""
    now = _in_the_open(evidence, row)
    return {name: now.get(name) for name in ("id", "at", *evidence.plain) if now.get(name) != leaf.get(name)}


def opened(evidence: Evidence, leaf: Mapping[str, Any], row: Mapping[str, Any], *, salt: bytes) -> dict[str, Opened]:
    """What is needed to check a leaf's digests, also where a value is gone: as long as the salt is kept, so is what it opens."""
    return {
        name: Opened(key=key_of(salt, name).hex(), value=row[name])
        for name in evidence.hidden
        if name in leaf or row[name] is not None
    }  # fmt: skip
