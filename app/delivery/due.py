"""Whether anything is due: asked many times in a second, so each question is built once, and no session is opened for it."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from flask import Flask
from sqlalchemy import Connection, Select, bindparam, or_, select

from app.bare.connection import waited
from app.bare.lent import bare_of, forget
from app.clock import microseconds
from app.database import Instant, asking
from app.delivery.workspaces import halted
from app.journal.tables import Lane, Subject, Work, WorkState
from app.journal.work import PRIORITY, left_out, most_urgent

_AT: Final = bindparam("at", type_=Instant())
_STILL_IN: Final = (
    select(Work.priority)
    .where(Work.lane == Lane.DEPARTURES, Work.state == WorkState.WAITING, Work.priority == PRIORITY[Subject.ACCOUNT], Work.subject == Subject.ACCOUNT)
    .where(or_(Work.lease_until.is_(None), Work.lease_until < _AT), Work.workspace_id.not_in(halted()))
    .order_by(Work.due_at)
    .limit(1)
)


def is_due(app: Flask, lane: Lane, *, at: datetime, but: Collection[str] = ()) -> bool:
    """Whether a lane has work that is in nobody's hands, by a connection of this thread's own. Raises what the driver raises.

    For threads that do nothing but look, which a session's connection, pinged whenever it is lent, would cost three times as much.
    `but` are places that are not looked at.
    """
    if but:
        with asking() as connection:
            return is_due_by(connection, lane, at=at, but=but)
    try:
        rows = waited(bare_of(app).rows(most_urgent((lane,), halted), {"at": microseconds(at)}))
    except BaseException:
        forget(app)
        raise
    return rows[0][0] is not None


def is_due_by(connection: Connection, lane: Lane, *, at: datetime, but: Collection[str] = ()) -> bool:
    """The same for whoever has more to ask on a connection."""
    return _is_one(connection, most_urgent((lane,), halted, but=bool(but)), at, but)


def somebody_is_still_in(*, at: datetime) -> bool:
    """Whether somebody who has left is still in somewhere: nobody was at their account yet."""
    with asking() as connection:
        return _is_one(connection, _STILL_IN, at)


def _is_one(connection: Connection, query: Select[Any], at: datetime, but: Collection[str] = ()) -> bool:
    return connection.scalar(query, {"at": at, **left_out(but)}) is not None
