"""Rounds through the stored tree, some leaves at a time: whether what lies far back is still what was appended.

Signing follows hashes, and of a block that is complete takes the hash of the block. So each of its leaves is looked at here, in turn, and
what a round finds keeps the tree from being signed until it is found no more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.audit import checkpoints, tree
from app.audit.leaves import SEQUENCED_AT, dated_anew, text_of
from app.audit.stored import KEPT_EVERY, StoredTree, TreeBroken
from app.audit.tree_tables import AuditDelivery, AuditLeaf, AuditTree
from app.journal.work import insert_for

RECEIVER: Final = "rounds"
"""Under which its place in each tree is kept, as that of whoever is handed leaves."""
BLOCK: Final = 1 << KEPT_EVERY
_ON_A_LEVEL: Final = BLOCK - 1


@dataclass(frozen=True, kw_only=True)
class Looked:
    """Where a round goes on. `broken` says what is not as it was: there it stays."""

    blocks: int
    next: int
    broken: str | None = None


def in_turn(session: Session, *, most: int) -> Sequence[str]:
    """Organisations, from the one whose tree was looked at longest ago."""
    last = AuditDelivery.delivered_at
    return session.scalars(
        select(AuditTree.organization_id)
        .outerjoin(AuditDelivery, (AuditDelivery.organization_id == AuditTree.organization_id) & (AuditDelivery.receiver == RECEIVER))
        .where(AuditTree.size > 0)
        .order_by(last.asc().nulls_first(), AuditTree.organization_id)
        .limit(most)
    ).all()


def look(session: Session, organization_id: str, *, blocks: int) -> Looked:
    """Look at some blocks more, to the end of the tree at most. The session has to see one moment: meanwhile leaves come, and content goes."""
    grown = session.get_one(AuditTree, organization_id)
    place = _place(session, organization_id)
    start = 0 if place is None or place.next >= grown.size else place.next
    done = 0
    try:
        while start < grown.size and done < blocks:
            done += 1
            _look_at(session, grown, start)
            start += BLOCK
    except TreeBroken as error:
        return Looked(blocks=done, next=start, broken=str(error))
    # From the end the next round begins, however fast the tree grows.
    return Looked(blocks=done, next=start if start < grown.size else 0)


def note(session: Session, organization_id: str, looked: Looked, *, at: datetime) -> None:
    """Write down how far a round has come, and what it found."""
    key = {"organization_id": organization_id, "receiver": RECEIVER}
    said = {"next": looked.next, "delivered_at": at, "last_error": looked.broken}
    # The first two may come at once: a worker, and whoever calls for a checkpoint.
    place = insert_for(session.get_bind().dialect.name)(AuditDelivery).values(key | said)
    session.execute(place.on_conflict_do_update(index_elements=list(key), set_=said))


def refuse_if_broken(session: Session, organization_id: str) -> None:
    """Raises TreeBroken while what a round found stands."""
    place = _place(session, organization_id)
    if place is not None and place.last_error is not None:
        raise TreeBroken(place.last_error)


def _place(session: Session, organization_id: str) -> AuditDelivery | None:
    return session.get(AuditDelivery, (organization_id, RECEIVER))


def _look_at(session: Session, grown: AuditTree, start: int) -> None:
    """Each leaf of a block, and whatever became complete with it; with the last block the whole. Raises TreeBroken."""
    end = min(start + BLOCK, grown.size)
    query = select(AuditLeaf.number, AuditLeaf.hash, AuditLeaf.leaf, SEQUENCED_AT).where(
        AuditLeaf.organization_id == grown.organization_id, AuditLeaf.number >= start, AuditLeaf.number < end
    ).order_by(AuditLeaf.number)  # fmt: skip
    expected = start
    for number, hashed, stored, sequenced_at in session.execute(query):
        text = None if stored is None else text_of(stored)
        if number != expected:
            break
        if text is None and number >= grown.pruned:
            raise TreeBroken(f"leaf {number} has lost its text, and is not old enough for that")
        if text is not None and tree.leaf_hash(text.encode("utf-8", "surrogatepass")) != hashed:
            raise TreeBroken(f"leaf {number} is not what it was")
        if text is not None and dated_anew(text, sequenced_at):
            raise TreeBroken(f"leaf {number} was appended at another instant than is stored beside it")
        expected += 1
    if expected != end:
        raise TreeBroken(f"leaf {expected} is missing")
    if end == start + BLOCK:
        _look_above(StoredTree(session, grown.organization_id), start // BLOCK)
    if end == grown.size:
        checkpoints.root_of(session, grown)


def _look_above(stored: StoredTree, number: int) -> None:
    level = KEPT_EVERY
    while True:
        if stored.anew(level, number) != stored(level, number):
            first, last = number << level, (number + 1 << level) - 1
            raise TreeBroken(f"leaves {first} to {last} do not lead to the hash that is stored of them")
        if number & _ON_A_LEVEL != _ON_A_LEVEL:
            return
        level, number = level + KEPT_EVERY, number >> KEPT_EVERY
