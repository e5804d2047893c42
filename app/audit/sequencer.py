"""The one sequencer: everything that was written down becomes a leaf of its organisation's tree, once, whenever it was committed.

It runs behind the transactions. Rows are numbered before they are committed, so on PostgreSQL a lower number may appear
after a higher one. Numbers that were passed over are remembered and looked for again, until no transaction is left that
could still bring them.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, any_, func, literal, or_, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.audit import tree
from app.audit.leaves import EVIDENCE, KINDS, Evidence, Row, leaf_of
from app.audit.spelling import exact
from app.audit.stored import KEPT_EVERY, frontier_of
from app.audit.tree_tables import AuditLeaf, AuditNode, AuditSequencer, AuditTree
from app.clock import microseconds
from app.many_rows import write_rows

BATCH = 500
"""Rows of each kind that one pass takes: on SQLite others wait some 4 ms, while they are appended."""
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


@dataclass(frozen=True, kw_only=True)
class _Looked:
    """How far the rows of one kind had been looked at, and how far they now have: the last number, and the gaps before it."""

    before: tuple[int, list[Any]]
    after: tuple[int, list[Any]]


@dataclass(frozen=True, kw_only=True)
class _Grown:
    """What one tree grows by, and its frontier afterwards."""

    frontier: tree.Frontier
    sequenced_at: datetime
    leaves: list[dict[str, Any]]
    nodes: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class WorkedOut:
    """What a pass found, as it would be written: by kind how far it looked, by organisation how its tree grows."""

    looked: Mapping[str, _Looked]
    grown: Mapping[str, _Grown]
    more: bool

    @property
    def number(self) -> int:
        return sum(len(one.leaves) for one in self.grown.values())


def run_pass(session: Session, *, at: datetime, origin_of: OriginOf, batch: int = BATCH) -> Passed:
    """Append what has come since the last pass, in the caller's transaction. Two at once: the second does nothing."""
    if not _alone(session):
        return Passed(elsewhere=True)
    return append(session, work_out(session, at=at, batch=batch), origin_of=origin_of)


def run_pass_in_turn(session: Session, *, at: datetime, origin_of: OriginOf, batch: int = BATCH) -> Passed:
    """The same for whoever cannot do without what another process is just appending: that is waited for."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ONLY_ONE})
    return run_pass(session, at=at, origin_of=origin_of, batch=batch)


def work_out(session: Session, *, at: datetime, batch: int = BATCH) -> WorkedOut:
    """What a pass would append. Writes nothing, so that nobody waits for it meanwhile; on PostgreSQL the caller is the one sequencer."""
    running_since = _running_since(session)
    looked = {one.kind: _look(session, one, running_since=running_since, batch=batch) for one in EVIDENCE}
    # What was done first stands first, as far as one pass can see.
    rows = sorted((row for found in looked.values() for row in found.rows), key=lambda row: (row["at"], row["kind"], row["id"]))
    by_organization: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_organization[row["organization_id"]].append(row)
    return WorkedOut(
        looked={kind: found.looked for kind, found in looked.items()},
        grown={id: _grow(session, id, rows, at=at) for id, rows in sorted(by_organization.items())},
        more=any(found.full for found in looked.values()),
    )


def append(session: Session, found: WorkedOut, *, origin_of: OriginOf) -> Passed:
    """Write down what was worked out; nothing, where another process has done so meanwhile."""
    states = {kind: session.get(AuditSequencer, kind) for kind in found.looked}
    # No tree grows but by rows that are looked at.
    if any(_state(states[kind]) != one.before for kind, one in found.looked.items()):
        return Passed(elsewhere=True)
    for kind, one in found.looked.items():
        state = states[kind]
        if state is None:
            state = AuditSequencer(kind=kind)
            session.add(state)
        state.high, state.gaps = one.after
    for id, grows in found.grown.items():
        grown = session.get(AuditTree, id, with_for_update=True, populate_existing=True)
        if grown is None:
            grown = AuditTree(organization_id=id, origin=origin_of(id), checkpoint_size=0, pruned=0)
            session.add(grown)
        grown.size, grown.frontier = grows.frontier.size, [one.hex() for one in grows.frontier.hashes]
        grown.sequenced_at = grows.sequenced_at
        write_rows(session, AuditLeaf, grows.leaves)
        write_rows(session, AuditNode, grows.nodes)
    session.flush()
    return Passed(appended=found.number, more=found.more)


def is_due(session: Session) -> bool:
    """Whether a pass would find something: asked first, since a pass writes even when it does not."""
    for evidence in EVIDENCE:
        state = session.get(AuditSequencer, evidence.kind)
        if state is not None and state.gaps:
            return True
        if session.scalar(select(evidence.table.id).where(evidence.table.id > (state.high if state else 0)).limit(1)) is not None:
            return True
    return False


def behind(session: Session) -> int:
    """How many rows of one kind wait at the most: their numbers follow one another, but for those that nothing was written under."""
    most = 0
    for evidence in EVIDENCE:
        state = session.get(AuditSequencer, evidence.kind)
        most = max(most, (session.scalar(select(func.max(evidence.table.id))) or 0) - (state.high if state else 0))
    return most


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


@dataclass(frozen=True, kw_only=True)
class _Found:
    looked: _Looked
    rows: list[Row]
    full: bool


def _state(stored: AuditSequencer | None) -> tuple[int, list[Any]]:
    return (0, []) if stored is None else (stored.high, stored.gaps)


def _look(session: Session, evidence: Evidence, *, running_since: int, batch: int) -> _Found:
    stored = session.get(AuditSequencer, evidence.kind)
    high, gaps = _state(stored)
    table = evidence.table
    late = _rows(session, evidence, _inside(table.id, gaps)) if gaps else []
    fresh = _rows(session, evidence, table.id > high, limit=batch)
    came = {row["id"] for row in late}
    # Whoever could still bring a number was under way when we first missed it. If all of them are through and the
    # number is not here, it belonged to a transaction that was rolled back.
    waiting = [one for first, last, noted in gaps if noted >= running_since for one in _without(first, last, noted, came)]
    upto = high
    if fresh:
        noted = _database_now(session)
        missing = _between([high, *(row["id"] for row in fresh)])
        # In SQLite a number that was passed over never comes.
        waiting += [(first, last, noted) for first, last in missing] if session.get_bind().dialect.name == "postgresql" else []
        upto = fresh[-1]["id"]
    looked = _Looked(before=(high, gaps), after=(upto, [list(one) for one in waiting]))
    return _Found(looked=looked, rows=[*late, *fresh], full=len(fresh) == batch)


def _inside(number: InstrumentedAttribute[int], gaps: list[Any]) -> ColumnElement[bool]:
    # Rolled back by the thousand while one transaction runs for an hour, they are one array and not as many conditions.
    single = [one for first, last, _ in gaps if last - first < SHORT_GAP for one in range(first, last + 1)]
    wide = [number.between(first, last) for first, last, _ in gaps if last - first >= SHORT_GAP]
    return or_(number == any_(literal(single, ARRAY(BigInteger))), *wide)


def _rows(session: Session, evidence: Evidence, condition: Any, *, limit: int | None = None) -> list[Row]:
    query = select(*evidence.texts(session.get_bind().dialect.name)).where(condition).order_by(evidence.table.id).limit(limit)
    return [evidence.read(row) for row in session.execute(query)]


def _between(numbers: list[int]) -> Iterable[tuple[int, int]]:
    for one, following in pairwise(numbers):
        if following > one + 1:
            yield one + 1, following - 1


def _without(first: int, last: int, noted: int, came: set[int]) -> Iterable[tuple[int, int, int]]:
    inside = sorted(one for one in came if first <= one <= last)
    return [(start, end, noted) for start, end in _between([first - 1, *inside, last + 1])]


def _grow(session: Session, organization_id: str, rows: list[Row], *, at: datetime) -> _Grown:
    grown = session.get(AuditTree, organization_id)
    frontier = tree.Frontier() if grown is None else frontier_of(grown)
    # A clock that was turned back is not followed: it shows as entries that are older than their place.
    sequenced_at = at if grown is None else max(at, grown.sequenced_at)
    sequenced, stored_at = exact(sequenced_at), microseconds(sequenced_at)
    leaves, nodes = [], []
    for row in rows:
        salt = secrets.token_bytes(32)
        leaf = leaf_of(row, salt=salt, sequenced=sequenced)
        hashed = tree.leaf_hash(leaf.encode())
        leaves.append(
            {
                "organization_id": organization_id, "number": frontier.size, "kind": row["kind"], "source_id": row["id"],
                "sequenced_at": stored_at, "hash": hashed, "leaf": leaf, "salt": salt,
            }
        )  # fmt: skip
        nodes += [
            {"organization_id": organization_id, "level": level, "number": number, "hash": node}
            for level, number, node in frontier.append(hashed)
            if level % KEPT_EVERY == 0
        ]
    return _Grown(frontier=frontier, sequenced_at=sequenced_at, leaves=leaves, nodes=nodes)


def leaf_number(session: Session, organization_id: str, *, kind: str, source_id: int) -> int | None:
    """Which leaf was made from this row; None while there is none yet."""
    assert kind in KINDS
    return session.scalar(
        select(AuditLeaf.number).where(AuditLeaf.organization_id == organization_id, AuditLeaf.kind == kind, AuditLeaf.source_id == source_id)
    )
