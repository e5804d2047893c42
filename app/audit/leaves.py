"""What a leaf of the audit tree says: the fact itself in the open, and whatever may name a person as a digest with a salt.

A digest binds us to the value and tells nobody anything, since the salt is not in the leaf. Whoever is shown value and
salt can check them; once the salt is gone nobody can, and the tree is as whole as before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, Select, select

from app.audit.spelling import canonical, digest_of, exact, key_of
from app.audit.tables import Deed
from app.journal.tables import Entry

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A kind of row that becomes leaves. `plain` columns stand in the leaf, `hidden` ones as digests; both by their own names.

    A plain column must hold nothing that names a person, and no secret; ids of ours are opaque, and so may stand there.
    """

    kind: str
    table: type[Entry] | type[Deed]
    plain: tuple[str, ...]
    hidden: tuple[str, ...]

    def rows(self) -> Select[Any]:
        """Everything that leaves are made from, one row for each."""
        columns = ("id", "organization_id", "at", *self.plain, *self.hidden)
        return select(*(getattr(self.table, name) for name in columns))


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


def leaf_of(evidence: Evidence, row: RowMapping, *, salt: bytes, sequenced_at: datetime) -> str:
    """The text of one leaf. Columns that are null are left out, which says that they were null."""
    said: dict[str, Any] = {"v": VERSION, "kind": evidence.kind, "id": row["id"], "at": exact(row["at"]), "sequenced": exact(sequenced_at)}
    said |= {name: row[name] for name in evidence.plain if row[name] is not None}
    said |= {name: digest_of(key_of(salt, name), row[name]) for name in evidence.hidden if row[name] is not None}
    return canonical(said).decode()


def opened(evidence: Evidence, row: Mapping[str, Any], *, salt: bytes) -> dict[str, Opened]:
    """What is needed to check a leaf's digests, for those columns that still hold something."""
    return {
        name: Opened(key=key_of(salt, name).hex(), value=row[name])
        for name in evidence.hidden
        # What was pruned while the export was being read holds nothing any more.
        if row[name] not in (None, "")
    }  # fmt: skip
