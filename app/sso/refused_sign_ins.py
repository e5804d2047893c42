"""What is kept of a sign-in that was refused: its number, why, and through which connection; never what was sent."""

import heapq
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Final

from flask import current_app
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.access.connection_tables import Connection
from app.access.factor_tables import BreakGlassAccount
from app.access.rates import Buckets
from app.actors import Actor, ActorKind
from app.database import in_transaction
from app.journal import entries
from app.journal.tables import Entry
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import raise_alarm
from app.sso.refusals import Reason, Refused

log = logging.getLogger(__name__)
LONGEST: Final = 300
KEPT: Final = "doorlist_refusals_kept"
AT_A_TIME: Final = 500


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A refusal as the journal has it. `connection` is a name, and *break-glass* for those; `person_id` is whose it was, where that was clear."""

    at: datetime
    number: str
    connection: str
    reason: str
    said: str
    person_id: str | None


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


def kept_refusals(session: Session, organization_id: str, *, connection: Connection | None = None, since: datetime | None = None) -> Iterator[Kept]:
    """Refused sign-ins, the newest first, read as they are asked for: through one connection, or through any and by break-glass, ended ones too.

    Costs what was refused since then.
    """
    connections = session.execute(select(Connection.id, Connection.name).where(Connection.organization_id == organization_id)).all()
    ways = [_newest(session, organization_id, id, "sign-in refused", name) for id, name in connections if connection is None or id == connection.id]
    if connection is None:
        accounts = session.scalars(select(BreakGlassAccount.person_id).where(BreakGlassAccount.organization_id == organization_id).distinct())
        ways += [_newest(session, organization_id, person_id, "break-glass refused", "break-glass") for person_id in accounts.all()]
    found = (kept for _, kept in heapq.merge(*ways, key=lambda one: -one[0]))
    return takewhile(lambda one: since is None or one.at >= since, found)


def _newest(session: Session, organization_id: str, subject_id: str, verb: str, name: str) -> Iterator[tuple[int, Kept]]:
    """By the journal's numbers."""
    before: int | None = None
    while True:
        query = select(Entry).where(Entry.organization_id == organization_id, Entry.subject_id == subject_id, Entry.verb == verb)
        rows = session.scalars((query if before is None else query.where(Entry.id < before)).order_by(Entry.id.desc()).limit(AT_A_TIME)).all()
        for row in rows:
            yield row.id, _kept_in(row, name)
        if len(rows) < AT_A_TIME:
            return
        before = rows[-1].id


def _kept_in(row: Entry, name: str) -> Kept:
    # Of somebody who was erased nothing is left of it.
    after = row.after or {}
    person_id = row.subject_id if row.subject_kind == "person" else after.get("person")
    return Kept(
        at=row.at, number=str(after.get("reference", "")), connection=name, reason=row.because, said=str(after.get("said", "")), person_id=person_id
    )  # fmt: skip


def _plain(text: str) -> str:
    """One line, since names of others may stand in it and none may begin a line of the log."""
    return "".join(mark if mark.isprintable() else " " for mark in text)[:LONGEST]
