"""Whether anything is due: asked many times in a second, so each question is built once, and no session is opened for it."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, Text, bindparam, or_, select

from app.database import Instant, reading_engine
from app.delivery.workspaces import halted
from app.journal.tables import Lane, Subject, Work, WorkState
from app.journal.work import PRIORITY

_NOW: Final = bindparam("now", type_=Instant())
_DUE: Final = (
    select(Work.due_at)
    .where(Work.lane == bindparam("asked_lane", type_=Text()), Work.state == WorkState.WAITING, Work.due_at <= _NOW)
    .where(or_(Work.lease_until.is_(None), Work.lease_until < _NOW), Work.workspace_id.not_in(halted()))
    .limit(1)
)
_STILL_IN: Final = _DUE.where(Work.subject == Subject.ACCOUNT, Work.priority == PRIORITY[Subject.ACCOUNT])


def is_due(lane: Lane, *, at: datetime) -> bool:
    """Whether a lane has work that is in nobody's hands."""
    return _is_one(_DUE, lane, at)


def somebody_is_still_in(*, at: datetime) -> bool:
    """Whether somebody who has left is still in somewhere: nobody was at their account yet."""
    return _is_one(_STILL_IN, Lane.DEPARTURES, at)


def _is_one(query: Select[Any], lane: Lane, at: datetime) -> bool:
    with reading_engine().connect() as connection:
        return connection.execute(query, {"asked_lane": lane, "now": at}).first() is not None
