"""The work table: whom to look at, in which lane, and who is looking just now."""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, Select, bindparam, case, delete, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.database import Instant, Number
from app.journal.tables import Lane, Subject, Work, WorkState
from app.statements import ALWAYS, each_of, param, params

LEASE = timedelta(seconds=45)
"""Longer than any single delivery may take (deliveries stop themselves well before); after it the work is free again."""

# What has been begun is finished first: channels, then the accounts that join them, then the markers that make more of
# both. Were markers dealt with first, the workspaces would stand idle for as long as a directory goes on pushing.
PRIORITY = {Subject.DUE: 0, Subject.CHANNEL: 1, Subject.ACCOUNT: 2, Subject.ACCESS: 2, Subject.PERSON: 3, Subject.GROUP: 3, Subject.ROSTER: 4}
# What has been put off once takes turns with the markers: a thousand accounts that wait for one channel to be mended must
# not keep everybody's changes waiting with them.
_PUT_OFF = PRIORITY[Subject.PERSON]
Halted = Callable[[], Select[Any]]
Keep = Callable[[Callable[[Session], None]], None]
"""Has written down, in one transaction, how a claim ended; tried again where the database is away for a moment."""
_AT = param("at", Instant())
_PRIORITIES = tuple(sorted(set(PRIORITY.values())))
_KEY = (Work.organization_id, Work.workspace_id, Work.subject, Work.subject_id, Work.lane)
# Built once, as each piece of work begins and ends with one of them.
_ROWS: Final = tuple_(*_KEY).in_(bindparam("keys", expanding=True))
_TAKEN: Final = (
    update(Work)
    .where(_ROWS)
    .values(claimed_by=param("by"), claimed_at=_AT, claimed_generation=Work.generation, lease_until=param("until", Instant()))
    .returning(*_KEY, Work.generation, Work.attempts, Work.due_at, Work.because, Work.priority)
)
_HELD: Final = (_ROWS, Work.claimed_by == param("by"))
_DONE: Final = delete(Work).where(*_HELD, Work.generation == param("generation", Integer()))
_FREED: Final = update(Work).where(*_HELD).values(claimed_by=None, lease_until=None)
_EXPANDING: Final = (func.hashtext("expanding"), func.hashtext(param("organization")))
_EXPANDS: Final = select(func.pg_advisory_xact_lock_shared(*_EXPANDING))
_NOBODY_EXPANDS: Final = select(func.pg_advisory_xact_lock(*_EXPANDING))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One row of work in somebody's hands until `lease_until`."""

    organization_id: str
    workspace_id: str
    subject: Subject
    subject_id: str
    lane: Lane
    generation: int
    attempts: int
    claimed_by: str
    claimed_at: datetime
    lease_until: datetime
    due_at: datetime
    because: int | None = None
    put_off: bool = False
    """Whether it was begun before, and others come first."""


def want(
    session: Session,
    organization_id: str,
    *,
    subject: Subject,
    subject_ids: Iterable[str],
    because: int | None,
    due_at: datetime,
    lane: Lane = Lane.SYNC,
    workspace_id: str = "",
    anew: bool = True,
) -> None:
    """Ask that these be looked at. Asking twice makes one row, due at the earlier instant, in a newer generation.

    With `anew` False an existing row is left as it is, with its pauses: for whoever only needs it to be done some time.
    """
    ids = sorted(set(subject_ids))
    if not ids:
        return
    # What was said before comes first, so that two who say the same wait for each other in the same order.
    session.flush()
    connection = session.connection()
    given = {
        "organization": organization_id, "workspace": workspace_id, "subject": subject, "ids": json.dumps(ids), "lane": lane,
        "priority": PRIORITY[subject], "due": due_at, "because": because,
    }  # fmt: skip
    connection.execute(_wish(connection.dialect.name, anew), given)


@cache
def _wish(dialect: str, anew: bool) -> Any:
    """One statement for however many, whose text is always the same: a row for each takes longer to write than to run."""
    new: dict[str, Any] = {
        "organization_id": param("organization"), "workspace_id": param("workspace"), "subject": param("subject"), "subject_id": each_of("ids", dialect),
        "lane": param("lane"), "priority": param("priority", Integer()), "due_at": param("due", Instant()), "state": literal(WorkState.WAITING),
        "generation": literal(1), "attempts": literal(0), "because": param("because", Number),
    }  # fmt: skip
    statement = insert_for(dialect)(Work).from_select(list(new), select(*new.values()).where(ALWAYS), include_defaults=False)
    return wanted_again(statement, dialect) if anew else statement.on_conflict_do_nothing()


def hold_expansions(session: Session, organization_id: str) -> None:
    """Until the transaction ends, nobody's change is expanded. For whoever changes what everybody is expanded by, and then wants everybody.

    Who joins meanwhile is not among those, and would else be expanded by what was there before. SQLite has a single writer anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_NOBODY_EXPANDS, {"organization": organization_id})


def begin_expansion(session: Session, organization_id: str) -> None:
    """What a change is expanded by is read behind this: it stays as it is until the transaction ends."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_EXPANDS, {"organization": organization_id})


def insert_for(dialect: str) -> Callable[..., Any]:
    """The INSERT of this dialect, which knows ON CONFLICT."""
    return postgresql.insert if dialect == "postgresql" else sqlite.insert


def wanted_again(statement: Any, dialect: str) -> Any:
    """An insert of work in which rows that are there already move to a newer generation: by as many as the new row counts wishes."""
    new = statement.excluded
    earlier = func.least if dialect == "postgresql" else func.min
    # A parked row wakes up: the world has moved, so what was refused then may be right now.
    return statement.on_conflict_do_update(
        index_elements=[column.key for column in _KEY],
        set_={
            "generation": Work.generation + new.generation, "attempts": 0, "state": WorkState.WAITING, "because": new.because, "last_error": None,
            "priority": new.priority,
            # The wish that somebody is serving just now is theirs to end; only what is still to be served keeps its time.
            "due_at": case(
                ((Work.claimed_by.is_not(None)) & (Work.claimed_generation == Work.generation), new.due_at),
                else_=earlier(Work.due_at, new.due_at),
            ),
        },
    )  # fmt: skip


def claim(
    session: Session, *, lanes: Sequence[Lane], worker: str, at: datetime, most: int, halted: Halted | None = None, like: Claim | None = None,
    but: Collection[str] = (),
) -> list[Claim]:  # fmt: skip
    """Take up to `most` rows that are due and in nobody's hands, or in hands whose lease has run out.

    `halted` selects the ids of the workspaces that are to be left alone, `but` names more of them. With `like` just the same
    subject, in the same place, and none that was put off.
    """
    given = {"at": at, **left_out(but)}
    if like is None:
        first: int | None = session.connection().scalar(most_urgent(tuple(lanes), halted, but=bool(but)), given)
        asked = [one for one in _PRIORITIES if first is not None and one >= first]
    else:
        asked = [PRIORITY[like.subject]]
    keys: list[tuple[Any, ...]] = []
    for priority in asked:
        if len(keys) >= most:
            break
        query = _next(tuple(lanes), halted, priority, bool(but))
        if like is not None:
            query = query.where(
                Work.organization_id == like.organization_id, Work.workspace_id == like.workspace_id, Work.subject == like.subject
            )
        keys += [tuple(row) for row in session.connection().execute(query, {**given, "most": most - len(keys)})]
    if not keys:
        return []
    rows = session.connection().execute(_TAKEN, {"keys": keys, "by": worker, "at": at, "until": at + LEASE})
    return [
        Claim(
            organization_id=row.organization_id, workspace_id=row.workspace_id, subject=Subject(row.subject), subject_id=row.subject_id,
            lane=Lane(row.lane), generation=row.generation, attempts=row.attempts, claimed_by=worker, claimed_at=at,
            lease_until=at + LEASE, due_at=row.due_at, because=row.because, put_off=row.priority > PRIORITY[Subject(row.subject)],
        )
        for row in rows
    ]  # fmt: skip


def left_out(but: Collection[str]) -> dict[str, list[str]]:
    """What a statement that was made with `but` is given besides."""
    return {"but": sorted(but)} if but else {}


@cache
def most_urgent(lanes: tuple[Lane, ...], halted: Halted | None, up_to: int = _PRIORITIES[-1], *, but: bool = False) -> Select[Any]:
    """SELECT of the first priority of which anything is due at `:at` and in nobody's hands; null where nothing is up to `up_to`.

    Each is asked for apart: whatever is to be done on a later day, one row for each person with a last day, is passed over in the index.
    """
    # In order, which only the index has: a database that takes many rows for due would else read the table until it comes upon one.
    asked = [select(Work.priority).where(*_due(lanes, halted, one, but)).order_by(Work.due_at).limit(1) for one in _PRIORITIES if one <= up_to]
    return select(func.coalesce(*(one.scalar_subquery() for one in asked)))


@cache
def _next(lanes: tuple[Lane, ...], halted: Halted | None, priority: int, but: bool) -> Any:
    due = select(*_KEY).where(*_due(lanes, halted, priority, but)).order_by(Work.due_at)
    return due.limit(param("most", Integer())).with_for_update(skip_locked=True)


def _due(lanes: tuple[Lane, ...], halted: Halted | None, priority: int, but: bool) -> list[ColumnElement[bool]]:
    there = [Work.lane.in_(lanes), Work.state == WorkState.WAITING, Work.priority == priority]
    free = or_(Work.lease_until.is_(None), Work.lease_until < _AT)
    left = [] if halted is None else [Work.workspace_id.not_in(halted())]
    return [*there, _has_come(priority), free, *left, *([Work.workspace_id.not_in(params("but"))] if but else [])]


def _has_come(priority: int) -> ColumnElement[bool]:
    if priority != PRIORITY[Subject.ACCOUNT]:
        return Work.due_at <= _AT
    # Nobody was at it yet, so it is wanted at once: whoever wrote down that somebody has left may have had a clock that is ahead of this one.
    return or_(Work.due_at <= _AT, Work.lane == Lane.DEPARTURES)


def _mine(taken: Claim) -> tuple[object, ...]:
    return (taken.organization_id, taken.workspace_id, taken.subject, taken.subject_id, taken.lane)


def finish(session: Session, taken: Claim) -> None:
    """Close the claim. Where the subject was wanted again meanwhile, it stays, free, to be looked at once more."""
    # What was changed is written first, so that everybody locks rows in the same order: those of work are the last.
    session.flush()
    connection = session.connection()
    held = {"keys": [_mine(taken)], "by": taken.claimed_by}
    if not connection.execute(_DONE, held | {"generation": taken.generation}).rowcount:
        connection.execute(_FREED, held)


def postpone(session: Session, taken: Claim, *, until: datetime, error: str | None, counted: bool = True) -> None:
    """Close the claim and look again at `until`; a newer wish keeps its own, earlier time."""
    session.execute(
        update(Work)
        .where(tuple_(*_KEY) == _mine(taken), Work.claimed_by == taken.claimed_by)
        .values(
            claimed_by=None,
            lease_until=None,
            attempts=Work.attempts + (1 if counted else 0),
            last_error=error,
            priority=case((Work.priority < _PUT_OFF, _PUT_OFF), else_=Work.priority),
            due_at=case((Work.generation == taken.generation, literal(until, Instant())), else_=Work.due_at),
        ),
        execution_options={"synchronize_session": False},
    )


def park(session: Session, taken: Claim, *, error: str) -> None:
    """Set the subject aside for a person to look at; unless it was wanted again meanwhile."""
    session.execute(
        update(Work)
        .where(tuple_(*_KEY) == _mine(taken), Work.claimed_by == taken.claimed_by, Work.generation == taken.generation)
        .values(claimed_by=None, lease_until=None, state=WorkState.PARKED, last_error=error),
        execution_options={"synchronize_session": False},
    )
    session.execute(
        update(Work).where(tuple_(*_KEY) == _mine(taken), Work.claimed_by == taken.claimed_by).values(claimed_by=None, lease_until=None),
        execution_options={"synchronize_session": False},
    )


def open_claims(session: Session, organization_id: str, *, workspace_id: str, subject_id: str, at: datetime) -> datetime | None:
    """Until when somebody in the sync lane may still be acting on this account; None when nobody is."""
    return session.scalar(
        select(func.max(Work.lease_until).label("until")).where(
            Work.organization_id == organization_id, Work.workspace_id == workspace_id, Work.subject == Subject.ACCOUNT,
            Work.subject_id == subject_id, Work.lane == Lane.SYNC, Work.lease_until > at,
        )
    )  # fmt: skip
