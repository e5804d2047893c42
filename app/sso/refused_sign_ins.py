"""What is kept of a sign-in that was refused: its number, why, and through which connection; never what was sent."""

import logging
from datetime import datetime
from typing import Final

from flask import current_app
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.access.connection_tables import Connection
from app.access.rates import Buckets
from app.actors import Actor, ActorKind
from app.database import in_transaction
from app.journal import entries
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import raise_alarm
from app.sso.refusals import Reason, Refused

log = logging.getLogger(__name__)
LONGEST: Final = 300
KEPT: Final = "doorlist_refusals_kept"


def note_refusal(error: Refused, *, at: datetime) -> None:
    """Write a refusal to the log and, where it came through a connection, to the journal of its organisation.

    An administrator without a second factor is an alarm too. That nothing could be written refuses nobody less.
    """
    said = _plain(str(error))
    log.warning("sign-in refused, number %s, connection %s: %s: %s", error.reference, error.connection_id or "-", error.reason, said)
    if error.connection_id is None or _kept().take(error.connection_id):
        return
    try:
        in_transaction(lambda session: _write(session, error, said, at=at))
    except SQLAlchemyError as failed:
        log.error("refusal %s could not be written down: %s", error.reference, failed.__class__.__name__)


def _kept() -> Buckets:
    """Anybody can be refused as often as they like. What is kept for years is bounded for each connection; the log has all."""
    kept: Buckets = current_app.extensions.setdefault(KEPT, Buckets(rate=2.0, burst=200.0))
    return kept


def _write(session: Session, error: Refused, said: str, *, at: datetime) -> None:
    # Whose it is, is what the connection's own row says, also of one that has ended.
    connection = session.scalar(select(Connection).where(Connection.id == error.connection_id))
    if connection is None:
        return
    entries.write(
        session, connection.organization_id, at=at, actor=Actor(kind=ActorKind.SOURCE, name=connection.name), verb="sign-in refused",
        because=error.reason, subject_kind="connection", subject_id=connection.id,
        after={"reference": error.reference, "reason": error.reason, "said": said, **({"person": error.person_id} if error.person_id else {})},
    )  # fmt: skip
    if error.reason is Reason.SECOND_FACTOR and error.person_id is not None:
        raise_alarm(
            session, connection.organization_id, kind=AlarmKind.ADMIN_WITHOUT_SECOND_FACTOR, about=error.person_id,
            sentence=f"through {connection.name}: {said} (number {error.reference})", at=at,
        )  # fmt: skip


def _plain(text: str) -> str:
    """One line, since names of others may stand in it and none may begin a line of the log."""
    return "".join(mark if mark.isprintable() else " " for mark in text)[:LONGEST]
