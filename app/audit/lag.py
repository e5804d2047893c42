"""Whether evidence keeps up with what is done. While it does not, nobody is given anything new; taking away never asks."""

from datetime import datetime, timedelta
from typing import Any, Final

from flask import current_app
from sqlalchemy import Connection, ScalarSelect, func, select
from sqlalchemy.orm import Session

from app.audit.leaves import EVIDENCE, Evidence
from app.audit.tree_tables import AuditSequencer
from app.database import clocks_apart
from app.settings import Settings


def _first_waiting(evidence: Evidence) -> ScalarSelect[Any]:
    high = select(AuditSequencer.high).where(AuditSequencer.kind == evidence.kind).scalar_subquery()
    # By number, since that is how the sequencer comes to them: one look at the end of one index.
    return select(evidence.table.at).where(evidence.table.id > func.coalesce(high, 0)).order_by(evidence.table.id).limit(1).scalar_subquery()


_WAITING: Final = select(*(_first_waiting(one) for one in EVIDENCE))


def waiting_since(session: Session | Connection) -> datetime | None:
    """Since when the oldest entry has been waiting that the sequencer has not come to; None where there is none."""
    return min((at for at in session.execute(_WAITING).one() if at is not None), default=None)


def audit_is_behind(session: Session | Connection, *, at: datetime) -> bool:
    """Whether something has waited too long for its leaf (`DOORLIST_AUDIT_LAG`), so that nothing new may be given. Costs a few look-ups by key.

    The sequencer serves all organisations alike: when it has stopped, it has stopped for each. Nothing turns this off.
    """
    settings: Settings = current_app.config["DOORLIST"]
    since = waiting_since(session)
    # What others wrote bears their time: a machine whose clock is ahead would give nothing for as long as anything waits.
    return since is not None and at + clocks_apart(session) - since > timedelta(seconds=settings.audit_lag)
