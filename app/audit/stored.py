"""The stored tree of one organisation, as the arithmetic asks for it."""

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.audit import tree
from app.audit.tree_tables import AuditLeaf, AuditNode, AuditTree

KEPT_EVERY = 8
"""Levels between two that are stored."""


class StoredTree:
    """Finds hashes of complete subtrees, and keeps those it has found: one proof asks for few, several for the same ones."""

    def __init__(self, session: Session, organization_id: str) -> None:
        self._session = session
        self._organization_id = organization_id
        self._found: dict[tuple[int, int], bytes] = {}

    def __call__(self, level: int, number: int) -> bytes:
        found = self._found.get((level, number))
        if found is None:
            found = self._found[level, number] = self._fold(level, number)
        return found

    def anew(self, level: int, number: int) -> bytes:
        """The hash of a complete subtree that is stored itself, worked out from what is stored of the level below."""
        return self._fold(level, number, KEPT_EVERY)

    def _fold(self, level: int, number: int, below: int | None = None) -> bytes:
        below = level % KEPT_EVERY if below is None else below
        hashes = [row[0] for row in self._stored(level - below, number << below, (number + 1) << below)]
        if len(hashes) != 1 << below:
            raise TreeBroken(f"{(1 << below) - len(hashes)} hashes of level {level - below} are missing below node {number} of level {level}")
        if not all(isinstance(one, bytes) for one in hashes):
            raise TreeBroken(f"what is stored below node {number} of level {level} is no hash")
        while len(hashes) > 1:
            hashes = [tree.node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
        return hashes[0]

    def _stored(self, level: int, start: int, end: int) -> list[Row[bytes]]:
        if level == 0:
            query = select(AuditLeaf.hash).where(
                AuditLeaf.organization_id == self._organization_id, AuditLeaf.number >= start, AuditLeaf.number < end
            ).order_by(AuditLeaf.number)  # fmt: skip
        else:
            query = select(AuditNode.hash).where(
                AuditNode.organization_id == self._organization_id, AuditNode.level == level, AuditNode.number >= start, AuditNode.number < end
            ).order_by(AuditNode.number)  # fmt: skip
        return list(self._session.execute(query).all())


class TreeBroken(Exception):
    """What is stored of a tree is not what it was. Nothing more is signed; the message says what differs."""


def frontier_of(row: AuditTree) -> tree.Frontier:
    return tree.Frontier(size=row.size, hashes=[bytes.fromhex(one) for one in row.frontier])
