"""The one sequencer: everything that was written down becomes a leaf of its organisation's tree, once, whenever it was committed.

It runs behind the transactions. Rows are numbered before they are committed, so on PostgreSQL a lower number may appear
after a higher one. Numbers that were passed over are remembered and looked for again, until no transaction is left that
could still bring them.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, RowMapping, any_, insert, literal, or_, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.audit import tree
from app.audit.leaves import EVIDENCE, KINDS, Evidence, leaf_of
from app.audit.stored import KEPT_EVERY, frontier_of
from app.audit.tree_tables import AuditLeaf, AuditNode, AuditSequencer, AuditTree

BATCH = 250
"""Rows of each kind that one transaction takes: some 20 ms, for which others wait on SQLite."""
SHORT_GAP = 64
"""Numbers from which on a gap is asked for by its ends. A server that was stopped hard leaves out 32."""
_ONLY_ONE = 0x646C61756469
"""PostgreSQL's advisory lock of the sequencer."""

OriginOf = Callable[[str], str]
"""What a new tree is called in its checkpoints, given its organisation."""


@dataclass(frozen=True, kw_only=True)
class Passed:
    """What one pass did. `more` says that there was more than it took; `elsewhere` that another process is at it."""

    appended: int = 0
    more: bool = False
    elsewhere: bool = False


@dataclass(kw_only=True)
class _Found:
    rows: list[tuple[Evidence, RowMapping]] = field(default_factory=list)
    more: bool = False


def run_pass(session: Session, *, at: datetime, origin_of: OriginOf, batch: int = BATCH) -> Passed:
    """Append what has come since the last pass, in the caller's transaction. Two at once: the second does nothing."""
    if not _alone(session):
        return Passed(elsewhere=True)
    found = _Found()
    running_since = _running_since(session)
    for evidence in EVIDENCE:
        _look(session, evidence, found, running_since=running_since, batch=batch)
    # What was done first stands first, as far as one pass can see.
    found.rows.sort(key=lambda one: (one[1]["at"], one[0].kind, one[1]["id"]))
    by_organization: dict[str, list[tuple[Evidence, RowMapping]]] = defaultdict(list)
    for evidence, row in found.rows:
        by_organization[row["organization_id"]].append((evidence, row))
    for organization_id, rows in sorted(by_organization.items()):
        _append(session, organization_id, rows, at=at, origin_of=origin_of)
    session.flush()
    return Passed(appended=len(found.rows), more=found.more)


def is_due(session: Session) -> bool:
    """Whether a pass would find something: asked first, since a pass writes even when it does not."""
    for evidence in EVIDENCE:
        state = session.get(AuditSequencer, evidence.kind)
        if state is not None and state.gaps:
            return True
        if session.scalar(select(evidence.table.id).where(evidence.table.id > (state.high if state else 0)).limit(1)) is not None:
            return True
    return False


def _alone(session: Session) -> bool:
    # Whoever writes to SQLite is alone anyway.
    if session.get_bind().dialect.name != "postgresql":
        return True
    return bool(session.scalar(text("SELECT pg_try_advisory_xact_lock(:number)"), {"number": _ONLY_ONE}))


def _running_since(session: Session) -> int:
    """Since when the oldest other transaction has been running, by the database's clock; now, where there is none.

    Asked before rows are: a transaction that is seen to have ended here is one whose rows the next statement sees.
    """
    if session.get_bind().dialect.name != "postgresql":
        return _database_now(session)
    found = session.scalar(
        text(
            "SELECT (extract(epoch FROM least(clock_timestamp(), "
            "(SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()), "
            "(SELECT min(prepared) FROM pg_prepared_xacts WHERE database = current_database()))) * 1000000)::bigint"
        )
    )
    assert isinstance(found, int)
    return found


def _database_now(session: Session) -> int:
    postgres = session.get_bind().dialect.name == "postgresql"
    # On SQLite nothing else is under way while we write, so any number will do that is above those noted before.
    found = session.scalar(text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint" if postgres else "SELECT 9000000000000000"))
    assert isinstance(found, int)
    return found


def _look(session: Session, evidence: Evidence, found: _Found, *, running_since: int, batch: int) -> None:
    state = session.get(AuditSequencer, evidence.kind)
    if state is None:
        state = AuditSequencer(kind=evidence.kind, high=0, gaps=[])
        session.add(state)
    table = evidence.table
    late = _rows(session, evidence, _inside(table.id, state.gaps)) if state.gaps else []
    fresh = _rows(session, evidence, table.id > state.high, limit=batch)
    came = {row["id"] for row in late}
    # Whoever could still bring a number was under way when we first missed it. If all of them are through and the
    # number is not here, it belonged to a transaction that was rolled back.
    waiting = [one for first, last, noted in state.gaps if noted >= running_since for one in _without(first, last, noted, came)]
    if fresh:
        noted = _database_now(session)
        missing = _between([state.high, *(row["id"] for row in fresh)])
        # In SQLite a number that was passed over never comes.
        waiting += [(first, last, noted) for first, last in missing] if session.get_bind().dialect.name == "postgresql" else []
        state.high = fresh[-1]["id"]
    state.gaps = [list(one) for one in waiting]
    found.rows += [(evidence, row) for row in [*late, *fresh]]
    found.more = found.more or len(fresh) == batch


def _inside(number: InstrumentedAttribute[int], gaps: list[Any]) -> ColumnElement[bool]:
    # Rolled back by the thousand while one transaction runs for an hour, they are one array and not as many conditions.
    single = [one for first, last, _ in gaps if last - first < SHORT_GAP for one in range(first, last + 1)]
    wide = [number.between(first, last) for first, last, _ in gaps if last - first >= SHORT_GAP]
    return or_(number == any_(literal(single, ARRAY(BigInteger))), *wide)


def _rows(session: Session, evidence: Evidence, condition: Any, *, limit: int | None = None) -> list[RowMapping]:
    return list(session.execute(evidence.rows().where(condition).order_by(evidence.table.id).limit(limit)).mappings())


def _between(numbers: list[int]) -> Iterable[tuple[int, int]]:
    for one, following in pairwise(numbers):
        if following > one + 1:
            yield one + 1, following - 1


def _without(first: int, last: int, noted: int, came: set[int]) -> Iterable[tuple[int, int, int]]:
    inside = sorted(one for one in came if first <= one <= last)
    return [(start, end, noted) for start, end in _between([first - 1, *inside, last + 1])]


def _append(session: Session, organization_id: str, rows: list[tuple[Evidence, RowMapping]], *, at: datetime, origin_of: OriginOf) -> None:
    grown = session.get(AuditTree, organization_id, with_for_update=True, populate_existing=True)
    if grown is None:
        grown = AuditTree(
            organization_id=organization_id, origin=origin_of(organization_id), size=0, frontier=[], sequenced_at=at, checkpoint_size=0, pruned=0
        )
        session.add(grown)
    frontier = frontier_of(grown)
    # A clock that was turned back is not followed: it shows as entries that are older than their place.
    sequenced_at = max(at, grown.sequenced_at)
    leaves, nodes = [], []
    for evidence, row in rows:
        salt = secrets.token_bytes(32)
        leaf = leaf_of(evidence, row, salt=salt, sequenced_at=sequenced_at)
        hashed = tree.leaf_hash(leaf.encode())
        leaves.append(
            {
                "organization_id": organization_id, "number": frontier.size, "kind": evidence.kind, "source_id": row["id"],
                "sequenced_at": sequenced_at, "hash": hashed, "leaf": leaf, "salt": salt,
            }
        )  # fmt: skip
        nodes += [
            {"organization_id": organization_id, "level": level, "number": number, "hash": node}
            for level, number, node in frontier.append(hashed)
            if level % KEPT_EVERY == 0
        ]
    session.execute(insert(AuditLeaf), leaves)
    if nodes:
        session.execute(insert(AuditNode), nodes)
    grown.size, grown.frontier, grown.sequenced_at = frontier.size, [one.hex() for one in frontier.hashes], sequenced_at


def leaf_number(session: Session, organization_id: str, *, kind: str, source_id: int) -> int | None:
    """Which leaf was made from this row; None while there is none yet."""
    assert kind in KINDS
    return session.scalar(
        select(AuditLeaf.number).where(AuditLeaf.organization_id == organization_id, AuditLeaf.kind == kind, AuditLeaf.source_id == source_id)
    )
