"""An organisation's audit as one file that anybody can check: lines of JSON, from the first leaf asked for to a signed end.

The first line says what the file holds; then come leaves, each with what its digests stand for as long as that is kept,
and after the leaf that completed it each signed checkpoint. The last line signs a digest of the whole file and a mark of
each line, so that a line that was altered, taken out or moved can be named.

What is stored is told as it is. Whether it is what it was is for whoever checks, so a row that is gone, emptied or changed is told too.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, BinaryIO, Final, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.audit import checkpoints, tree
from app.audit.leaves import EVIDENCE, SEQUENCED_AT, Evidence, Row, dated_anew, differing, instant_of, opened, read_leaf, text_of
from app.audit.spelling import END, MARK, SCHEMA, canonical, exact
from app.audit.stored import StoredTree
from app.audit.tree_tables import AuditCheckpoint, AuditLeaf, AuditTree

AT_A_TIME: Final = 500


class SignsEvidence(Protocol):
    """The key for evidence, as whoever holds it hands it in."""

    @property
    def kid(self) -> str: ...

    @property
    def public_bytes(self) -> bytes: ...

    def sign_bytes(self, message: bytes) -> bytes: ...


class NothingToExport(Exception):
    """There is no tree yet, or nothing in it of that time."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written: leaves `first` to `end` (not including that), of a tree of `size`."""

    first: int
    end: int
    size: int
    checkpoints: int
    lines: int


def write_export(
    session: Session, organization_id: str, name: str, file: BinaryIO, signer: SignsEvidence, *,
    at: datetime, kept: timedelta, since: datetime | None = None, until: datetime | None = None,
) -> Exported:  # fmt: skip
    """Write the leaves that came `since` and before `until` (all of them, unless said) up to the last checkpoint. Raises NothingToExport, TreeBroken.

    `kept` is how long content is. The session has to see one moment: what retention takes meanwhile would look as if it had been taken out.
    """
    last = checkpoints.latest(session, organization_id)
    grown = session.get(AuditTree, organization_id)
    if last is None:
        raise NothingToExport("nothing has been signed yet: run 'doorlist audit checkpoint'")
    if grown is None:
        raise checkpoints.tree_missing(last)
    first = 0 if since is None else _first_from(session, organization_id, since, size=last.size)
    end = last.size if until is None else _first_from(session, organization_id, until, size=last.size)
    if first >= end:
        raise NothingToExport("nothing was written down in that time")
    stored = StoredTree(session, organization_id)
    out = _Lines(file)
    out.add(
        {
            "schema": SCHEMA, "organization": {"id": organization_id, "name": name}, "origin": grown.origin, "first": first, "end": end,
            "size": last.size, "exported": exact(at), "kept_days": kept.days, "before": [one.hex() for one in tree.frontier_at(first, stored).hashes],
        }
    )  # fmt: skip
    signed = _signed(session, organization_id, first, end)
    count, due = 0, next(signed, None)
    for number, line in _leaves(session, organization_id, first, end):
        out.add(line)
        while due is not None and due.size == number + 1:
            out.add({"checkpoint": due.note, "at": exact(due.at)})
            count, due = count + 1, next(signed, None)
    if end < last.size:
        proof = [base64.b64encode(one).decode() for one in tree.consistency_proof(end, last.size, stored)]
        out.add({"checkpoint": last.note, "at": exact(last.at), "consistency": proof})
        count += 1
    out.close(signer)
    return Exported(first=first, end=end, size=last.size, checkpoints=count, lines=out.count)


class _Lines:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._whole = hashlib.sha256()
        self._marks = bytearray()
        self.count = 0

    def add(self, said: object) -> None:
        line = canonical(said) + b"\n"
        self._file.write(line)
        self._whole.update(line)
        self._marks += hashlib.sha256(line).digest()[:MARK]
        self.count += 1

    def close(self, signer: SignsEvidence) -> None:
        end = {"lines": self.count, "sha256": self._whole.hexdigest(), "marks": base64.b64encode(self._marks).decode()}
        signature = signer.sign_bytes(END + canonical(end))
        self._file.write(canonical({"end": end, "kid": signer.kid, "signature": base64.b64encode(signature).decode()}) + b"\n")
        self.count += 1


def _first_from(session: Session, organization_id: str, at: datetime, *, size: int) -> int:
    """The first leaf that was appended at or after an instant. Leaves only ever go on in time, so that halving finds it."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        then = session.scalar(
            select(SEQUENCED_AT).where(AuditLeaf.organization_id == organization_id, AuditLeaf.number == middle)
        )
        if then is not None and instant_of(then) < at:
            low = middle + 1
        else:
            high = middle
    return low


def _signed(session: Session, organization_id: str, first: int, end: int) -> Iterator[AuditCheckpoint]:
    after = first
    while True:
        found = session.scalars(
            select(AuditCheckpoint)
            .where(AuditCheckpoint.organization_id == organization_id, AuditCheckpoint.size > after, AuditCheckpoint.size <= end)
            .order_by(AuditCheckpoint.size)
            .limit(AT_A_TIME)
        ).all()
        yield from found
        if len(found) < AT_A_TIME:
            return
        after = found[-1].size


def _leaves(session: Session, organization_id: str, first: int, end: int) -> Iterator[tuple[int, dict[str, Any]]]:
    for start in range(first, end, AT_A_TIME):
        lines = [
            (row["number"], _line(evidence, row))
            for evidence in EVIDENCE
            for row in _rows(session, organization_id, evidence, start, min(start + AT_A_TIME, end))
        ]
        yield from sorted(lines, key=itemgetter(0))


def _rows(session: Session, organization_id: str, evidence: Evidence, start: int, end: int) -> Iterator[Row]:
    """Leaves of one kind, each with the row that it was made from; of one that is gone everything is null."""
    table = evidence.table
    own = (AuditLeaf.number, AuditLeaf.hash, AuditLeaf.leaf, AuditLeaf.salt, SEQUENCED_AT)
    query = (
        select(*own, *evidence.texts(session.get_bind().dialect.name))
        .outerjoin(table, (table.organization_id == AuditLeaf.organization_id) & (table.id == AuditLeaf.source_id))
        .where(AuditLeaf.organization_id == organization_id, AuditLeaf.kind == evidence.kind, AuditLeaf.number >= start, AuditLeaf.number < end)
    )
    names = ("number", "hash", "leaf", "salt", "sequenced_at")
    return (dict(zip(names, row[: len(own)], strict=True)) | evidence.read(row[len(own) :]) for row in session.execute(query))


def _bytes_of(stored: object) -> bytes:
    return stored if isinstance(stored, bytes) else text_of(stored).encode()


def _line(evidence: Evidence, row: Row) -> dict[str, Any]:
    said: dict[str, Any] = {"leaf": row["number"]}
    is_there = row["id"] is not None
    if row["leaf"] is None:
        said |= {"hash": base64.b64encode(_bytes_of(row["hash"])).decode(), "sequenced": exact(instant_of(row["sequenced_at"]))}
    else:
        text = text_of(row["leaf"])
        said["text"], leaf = text, read_leaf(text)
        differs = differing(evidence, leaf, row) if is_there else {}
        if dated_anew(text, row["sequenced_at"]):
            differs["sequenced"] = exact(instant_of(row["sequenced_at"]))
        if differs:
            said["row"] = differs
        if is_there and isinstance(row["salt"], bytes):
            shown = opened(evidence, leaf, row, salt=row["salt"])
            said["opened"] = {name: {"key": one.key, "value": one.value} for name, one in shown.items()}
    if not is_there:
        said["row"] = None
    return said
