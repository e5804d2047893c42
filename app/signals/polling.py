"""What time asks for: transmitters that are polled (RFC 8936), verification of every stream, and an alarm for one that is silent."""

import json
import logging
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.access.published_keys import KEYS, ReadBefore
from app.access.sealing import KeyMissing, unseal
from app.access.tokens import digest_of
from app.clock import Clock, now
from app.database import in_transaction, reading
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import settle_alarm
from app.revocation.stream_tables import Delivery, Transmitter
from app.settings import Settings
from app.signals.events import BadEvent
from app.signals.receiving import alarm_of_silence, take
from app.signals.transmitters import policy_of
from connectors.contract import ConnectorError, Refused, Unauthorised, Unreachable
from connectors.visits import Reply, Visitor

log = logging.getLogger(__name__)

AT_ONCE: Final = 100
"""Events asked for at a time."""
ROUNDS: Final = 50
"""Questions at one look: what is left over waits for the next."""
ALONE: Final = timedelta(minutes=2)
"""How long a look may take before another process may begin one."""
POLL_EVERY: Final = timedelta(seconds=5)
LOOK_EVERY: Final = timedelta(minutes=1)
WAIT_AFTER_FAILURE: Final = timedelta(seconds=30)


def tick(settings: Settings, *, clock: Clock = now) -> None:
    """Look at every transmitter that is due. May run in several processes at once: each transmitter is looked at by one of them."""
    with reading() as session:
        due = session.scalars(
            select(Transmitter).where(Transmitter.ended_at.is_(None), Transmitter.look_again_at <= clock()).order_by(Transmitter.look_again_at)
        ).all()
    for transmitter in due:
        if in_transaction(lambda session, one=transmitter: _claim(session, one, at=clock())):  # type: ignore[misc]  # defaults bind the loop's values
            look(settings, transmitter, clock=clock)


def look(settings: Settings, transmitter: Transmitter, *, clock: Clock) -> None:
    """Ask for what waits, and whether the stream is alive; then see whether it has been silent for too long."""
    error: str | None = None
    try:
        if transmitter.verification_url is not None and _verification_due(transmitter, at=clock()):
            _ask(settings, transmitter, at=clock())
        if transmitter.delivery == Delivery.POLL:
            _poll(settings, transmitter, clock=clock)
    except (ConnectorError, KeyMissing) as failure:
        log.error("transmitter %s: %s", transmitter.id, failure)
        error = str(failure)
    except DBAPIError as failure:
        # The next look comes soon; the database may have been away for a moment.
        log.error("transmitter %s: the database failed: %s", transmitter.id, failure.__class__.__name__)
        return
    in_transaction(lambda session: _close(session, transmitter, error, at=clock()))


def _claim(session: Session, transmitter: Transmitter, *, at: datetime) -> bool:
    done = session.execute(
        update(Transmitter)
        .where(
            Transmitter.organization_id == transmitter.organization_id, Transmitter.id == transmitter.id, Transmitter.ended_at.is_(None),
            Transmitter.look_again_at <= at,
        )
        .values(look_again_at=at + ALONE)
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    return bool(done.rowcount)  # type: ignore[attr-defined]  # every UPDATE has one; the stub names the wider class


def _close(session: Session, transmitter: Transmitter, error: str | None, *, at: datetime) -> None:
    row = session.get_one(Transmitter, (transmitter.organization_id, transmitter.id))
    if row.ended_at is not None:
        return
    row.last_error = error
    row.look_again_at = at + (WAIT_AFTER_FAILURE if error is not None else POLL_EVERY if row.delivery == Delivery.POLL else LOOK_EVERY)
    bound = row.silent_after
    since = row.heard_at or row.created_at
    silent = bound is not None and at - since > timedelta(seconds=bound)
    if error is None and row.delivery == Delivery.POLL and row.verification_url is None:
        # There is nothing else to ask: a transmitter that answers is one that can be heard.
        row.heard_at = at
        if silent:
            # Only then: it may also have said that the stream was paused, and answers all the while.
            settle_alarm(session, row.organization_id, kind=AlarmKind.STREAM_SILENT, about=row.id, at=at)
    elif silent:
        why = f"nothing was heard for {int((at - since).total_seconds() // 60)} minutes" + (f"; {error}" if error else "")
        alarm_of_silence(session, row, why, at=at)


def _verification_due(transmitter: Transmitter, *, at: datetime) -> bool:
    return transmitter.asked_at is None or at - transmitter.asked_at >= timedelta(seconds=transmitter.verify_every)


def _ask(settings: Settings, transmitter: Transmitter, *, at: datetime) -> None:
    """Have the transmitter send a verification event (SSF 1.0 §8.1.4.2). Written down first: the answer may be here before the reply is."""
    state = secrets.token_urlsafe(24)

    def remember(session: Session) -> None:
        row = session.get_one(Transmitter, (transmitter.organization_id, transmitter.id))
        row.state_digest, row.asked_at = digest_of(state), at

    in_transaction(remember)
    body = {"state": state, **({} if transmitter.stream_id is None else {"stream_id": transmitter.stream_id})}
    assert transmitter.verification_url is not None
    _post(settings, transmitter, transmitter.verification_url, body)


def _poll(settings: Settings, transmitter: Transmitter, *, clock: Clock) -> None:
    acknowledged: list[str] = []
    faults: dict[str, dict[str, str]] = {}
    assert transmitter.poll_url is not None
    for _ in range(ROUNDS):
        asked: dict[str, object] = {"maxEvents": AT_ONCE, "returnImmediately": True, "ack": acknowledged}
        if faults:
            asked["setErrs"] = faults
        reply = _post(settings, transmitter, transmitter.poll_url, asked)
        # They are judged by keys that were read since: so one reading decides on all of them.
        came = KEYS.clock()
        sets = reply.document().part("sets").plain()
        # Only what is committed here is acknowledged there, with the next question: what is lost in between comes again.
        acknowledged, faults = _take_all(settings, transmitter, sets, came=came, clock=clock)
        if not acknowledged and not faults:
            # Either nothing is left, or what is left has to wait for newer keys.
            return
    if acknowledged or faults:
        _post(settings, transmitter, transmitter.poll_url, {"maxEvents": 0, "returnImmediately": True, "ack": acknowledged, "setErrs": faults})


def _take_all(
    settings: Settings, transmitter: Transmitter, sets: Mapping[str, object], *, came: float, clock: Clock
) -> tuple[list[str], dict[str, dict[str, str]]]:
    """What can be acknowledged, and what is refused for good. What is neither comes with the next question again."""
    acknowledged: list[str] = []
    faults: dict[str, dict[str, str]] = {}
    for jti, token in sets.items():
        try:
            take(settings, transmitter, token if isinstance(token, str) else "", came=came, clock=clock)
        except ReadBefore as error:
            log.info("transmitter %s: a token is put off: %s", transmitter.id, error)
        except BadEvent as error:
            log.warning("transmitter %s: refused a token: %s", transmitter.id, error)
            faults[jti] = {"err": error.fault, "description": str(error)}
        else:
            acknowledged.append(jti)
    return acknowledged, faults


def _post(settings: Settings, transmitter: Transmitter, url: str, body: Mapping[str, Any]) -> Reply:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if transmitter.sealed_authorization is not None:
        headers["Authorization"] = unseal(settings, transmitter.sealed_authorization)
    visitor = Visitor(name=transmitter.name, allow_private=policy_of(transmitter).allow_private)
    reply = visitor.post(url, json.dumps(body), headers=headers)
    if reply.status in (401, 403):
        raise Unauthorised(f"{reply.source}: answered {reply.status}: our authorization is not taken there")
    if reply.status == 404:
        raise Refused(f"{reply.source}: answered 404: is the stream still there?")
    if reply.status >= 400:
        raise Unreachable(f"{reply.source}: answered {reply.status}", sent=True)
    return reply


