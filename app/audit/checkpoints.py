"""Signing what the tree is, at most once a minute, and only where it still holds everything that was signed before."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.audit import notes, tree
from app.audit.notes import Checkpoint, SignsNotes
from app.audit.stored import StoredTree, TreeBroken, frontier_of
from app.audit.tree_tables import AuditCheckpoint, AuditTree

EVERY = timedelta(seconds=60)


def due(session: Session, *, at: datetime) -> Sequence[str]:
    """Organisations whose tree has grown since its last checkpoint, which is a minute old. One that a wrong clock dated ahead is not waited for."""
    last = AuditTree.checkpoint_at
    return session.scalars(
        select(AuditTree.organization_id)
        .where(AuditTree.size > AuditTree.checkpoint_size, or_(last.is_(None), last <= at - EVERY, last > at + EVERY))
        .order_by(AuditTree.organization_id)
    ).all()


def sign(session: Session, organization_id: str, signer: SignsNotes, *, at: datetime) -> AuditCheckpoint | None:
    """The checkpoint of the tree as it is now, signed unless it was; None where there is no tree yet. Raises TreeBroken.

    A log must not sign what contradicts what it signed (tlog-checkpoint): so the hashes that are stored have to lead to
    the present root, and to the last one that was signed.
    """
    grown = session.get(AuditTree, organization_id, with_for_update=True, populate_existing=True)
    if grown is None and (last := latest(session, organization_id)) is not None:
        raise tree_missing(last)
    if grown is None or grown.size == 0:
        return None
    there = session.get(AuditCheckpoint, (organization_id, grown.size))
    if there is not None:
        return there
    # Clocks of several machines differ: a log whose checkpoints go back in time would read as an altered one.
    at = max(at, grown.checkpoint_at or at)
    root = root_of(session, grown)
    note = notes.signed(Checkpoint(origin=grown.origin, size=grown.size, root=root), signer)
    made = AuditCheckpoint(organization_id=organization_id, size=grown.size, at=at, root=root, note=note)
    session.add(made)
    grown.checkpoint_size, grown.checkpoint_at = grown.size, at
    session.flush()
    return made


def root_of(session: Session, grown: AuditTree) -> bytes:
    """The root of a tree, once the hashes that are stored are seen to lead to it, and it to begin with what was signed. Raises TreeBroken."""
    root = frontier_of(grown).root()
    stored = StoredTree(session, grown.organization_id)
    if tree.root_at(grown.size, stored) != root:
        raise TreeBroken(f"the tree's {grown.size} leaves do not lead to its root any more")
    last = session.get(AuditCheckpoint, (grown.organization_id, grown.checkpoint_size)) if grown.checkpoint_size else None
    if last is None and grown.checkpoint_size:
        raise TreeBroken(f"the checkpoint of {grown.checkpoint_size} leaves is missing")
    if last is not None and not tree.consistent(
        last.size, last.root, grown.size, root, tree.consistency_proof(last.size, grown.size, stored)
    ):
        raise TreeBroken(f"the tree does not begin with the {last.size} leaves that were signed")
    return root


def tree_missing(last: AuditCheckpoint) -> TreeBroken:
    """What is wrong where something was signed of a tree that is not there."""
    return TreeBroken(f"the tree is missing of which {last.size} leaves were signed")


def latest(session: Session, organization_id: str) -> AuditCheckpoint | None:
    return session.scalars(
        select(AuditCheckpoint).where(AuditCheckpoint.organization_id == organization_id).order_by(AuditCheckpoint.size.desc()).limit(1)
    ).first()


def inclusion(session: Session, organization_id: str, number: int, *, size: int) -> list[bytes]:
    """That a leaf is in the tree of `size` leaves, as a proof that stands without us. Raises TreeBroken."""
    return tree.inclusion_proof(number, size, StoredTree(session, organization_id))


def consistency(session: Session, organization_id: str, *, old: int, new: int) -> list[bytes]:
    """That the tree of `new` leaves begins with that of `old` ones. Raises TreeBroken."""
    return tree.consistency_proof(old, new, StoredTree(session, organization_id))
