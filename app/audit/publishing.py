"""Handing checkpoints to somebody else, so that a history that was made anew is one that others can tell from the first.

A folder (another disk, a bucket that is mounted, a share) or an address. The folder is a witness as well: what lies in it
is never replaced by what contradicts it.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session

from app.audit import checkpoints, notes, tree
from app.audit.notes import BadNote, Checkpoint
from app.audit.tree_tables import AuditCheckpoint
from connectors.contract import Refused
from connectors.visits import Visitor, bearer

LATEST: Final = "checkpoint"
Proof = Callable[[int, int], list[bytes]]
"""A proof of consistency from one size to another."""


class Forked(Exception):
    """What was published before is not the beginning of what is to be published now. The message names both sizes."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where checkpoints are published: none, one of these, or both."""

    folder: Path | None = None
    url: str | None = None
    token: str | None = None
    allow_private: bool = False

    def __bool__(self) -> bool:
        return self.folder is not None or self.url is not None


def check(places: Places) -> None:
    """Refuse an address that could not be called, or a token that no header may hold. Raises Misconfigured."""
    if places.url is not None:
        _visitor(places).check(places.url)
        _headers(places)


def unpublished(session: Session, organization_id: str) -> AuditCheckpoint | None:
    """The newest checkpoint, where it has not been handed on. Older ones need not be: the newest vouches for them."""
    newest = checkpoints.latest(session, organization_id)
    return newest if newest is not None and newest.published_at is None else None


def witness(made: AuditCheckpoint, places: Places, proof: Proof) -> None:
    """Refuse whatever does not hold all that was published before (tlog-witness: never a smaller tree, never another root).

    `proof` is asked for where another checkpoint lies in the folder already. Raises Forked, OSError.
    """
    latest = None if places.folder is None else places.folder / made.organization_id / LATEST
    if latest is None or not latest.exists():
        return
    try:
        before = read_unsigned(latest.read_text(encoding="utf-8", errors="replace"))
    except BadNote as error:
        raise Forked(f"{latest} is no checkpoint: {error}") from None
    if before.size > made.size:
        raise Forked(f"{latest} is of {before.size} leaves, and the tree has {made.size}: it is an older state of itself")
    if not tree.consistent(before.size, before.root, made.size, made.root, proof(before.size, made.size)):
        raise Forked(f"{latest} is of {before.size} leaves that the tree of {made.size} does not begin with")


def publish(made: AuditCheckpoint, places: Places) -> None:
    """Hand a checkpoint, once `witness` has seen it, to every place, the folder first. May be called twice. Raises ConnectorError, OSError."""
    if places.folder is not None:
        _into_folder(made, places.folder)
    if places.url is not None:
        _to_address(made, places.url, places)


def note_published(session: Session, made: AuditCheckpoint, *, at: datetime) -> None:
    row = session.get_one(AuditCheckpoint, (made.organization_id, made.size))
    row.published_at = at


def published_in(folder: Path, organization_id: str) -> list[str]:
    """The checkpoints of an organisation that lie in a folder, smallest first."""
    place = folder / organization_id
    found = sorted((int(one.name.removesuffix(".note")), one) for one in place.glob("*.note")) if place.is_dir() else []
    return [one.read_text(encoding="utf-8") for _, one in found]


def _into_folder(made: AuditCheckpoint, folder: Path) -> None:
    place = folder / made.organization_id
    if (place / LATEST).exists() and (place / LATEST).read_bytes() == made.note.encode():
        # Written as the last of the two: both are there.
        return
    place.mkdir(parents=True, exist_ok=True)
    _written(place / f"{made.size}.note", made.note)
    _written(place / LATEST, made.note)


def read_unsigned(note: str) -> Checkpoint:
    """What a checkpoint says, whoever signed it: to be held against something that is known. Raises BadNote."""
    return notes.read(note.partition("\n\n")[0] + "\n")


def _written(path: Path, text: str) -> None:
    # Whoever reads at this moment reads the old one or the new one, and never a part.
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _to_address(made: AuditCheckpoint, url: str, places: Places) -> None:
    body = json.dumps({"organization": made.organization_id, "size": made.size, "checkpoint": made.note})
    reply = _visitor(places).post(url, body, headers=_headers(places))
    if reply.status >= 300:
        raise Refused(f"{reply.source}: answered {reply.status}")


def _visitor(places: Places) -> Visitor:
    return Visitor(name="checkpoints", allow_private=places.allow_private)


def _headers(places: Places) -> dict[str, str]:
    return {"Content-Type": "application/json"} | bearer(places.token, name="checkpoints")
