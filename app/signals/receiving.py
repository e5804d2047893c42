"""Taking a signal: kept by its id with what became of it, and acted on once, in one transaction."""

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access.connection_tables import Connection
from app.access.published_keys import KEYS
from app.access.signed_tokens import BadToken, SignedToken, Unproved, unproved
from app.access.tokens import digest_of
from app.clock import Clock
from app.database import in_transaction
from app.directory.settings import parse_push_brake, value_of
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import raise_alarm, settle_alarm
from app.revocation.stream_tables import Outcome, Received, Transmitter
from app.settings import Settings
from app.signals.effects import Sender, act
from app.signals.events import SKEW, SSF, THE_STREAM, BadEvent, Fault, SecurityEvent, verified
from app.signals.subjects import Opaque, as_document
from app.signals.transmitters import policy_of, sender_of, terms_of
from app.signals.whom import find

VERIFICATION: Final = f"{SSF}verification"
STREAM_UPDATED: Final = f"{SSF}stream-updated"
HEARD_EVERY: Final = timedelta(seconds=10)
"""That a stream is alive is not written down with each of a thousand events."""
LEAST_REMEMBERED: Final = timedelta(days=30)
AT_A_TIME: Final = 500


def take(settings: Settings, transmitter: Transmitter, token: str, *, came: float | None = None, clock: Clock) -> None:
    """Check a token of this transmitter, keep it, and act on it. A repetition does nothing. Raises BadEvent, ConnectorError.

    `came` is when the token was here, by the clock of KEYS, where that was before now. One whose key may be newer than the keys that
    were read before it came is neither taken nor refused: that raises ReadBefore, and it has to come again.
    """
    terms, allow_private = terms_of(transmitter), policy_of(transmitter).allow_private
    here = KEYS.clock() if came is None else came

    def prove(shown: Unproved) -> SignedToken:
        return KEYS.prove(shown, transmitter.jwks_uri, algorithms=terms.algorithms, allow_private=allow_private, came=here)

    event = verified(_unproved(token), terms, prove, clock=clock)
    at = clock()
    sha256 = hashlib.sha256(token.encode()).hexdigest()
    key = (transmitter.organization_id, transmitter.id)
    once(lambda session: _take(session, settings, session.get_one(Transmitter, key), event, sha256=sha256, at=at))


def _unproved(token: str) -> Unproved:
    try:
        return unproved(token)
    except BadToken as error:
        raise BadEvent(Fault.INVALID_REQUEST, str(error)) from error


def once(change: Callable[[Session], None]) -> None:
    """Run a transaction that keeps a signal. Where the same one arrived twice at once, the other was first, and nothing is done here."""
    try:
        in_transaction(change)
    except IntegrityError as error:
        if "signal_received" not in str(error.orig):
            raise


def _take(session: Session, settings: Settings, transmitter: Transmitter, event: SecurityEvent, *, sha256: str, at: datetime) -> None:
    if transmitter.ended_at is not None or session.get(Received, (transmitter.organization_id, transmitter.id, event.jti)) is not None:
        return
    # Whether it was here before cannot be known of one that would be forgotten by now.
    forgotten = event.issued_at < at - remembered_for(settings)
    if event.event == VERIFICATION and not forgotten:
        _check_state(transmitter, event)
    row = kept(session, sender_of(transmitter, settings), event, sha256=sha256, at=at)
    if forgotten:
        row.why = "it was issued longer ago than signals are remembered"
        return
    if event.event == VERIFICATION:
        row.why = "the stream is alive"
    elif event.event == STREAM_UPDATED:
        _note_status(session, transmitter, event, row, at=at)
        return
    else:
        sender = sender_of(transmitter, settings)
        result = act(session, sender, event, find(session, event.subject, sender.scope), at=at)
        row.outcome, row.why, row.person_id = result.outcome, result.why, result.person_id
        if result.outcome == Outcome.APPLIED:
            alarm_of_flood(session, sender, at=at)
    _heard(session, transmitter, at=at)


def kept(session: Session, sender: Sender, event: SecurityEvent, *, sha256: str, at: datetime) -> Received:
    """Write the signal down before anything is done: two that arrive at once meet here, and one of them fails."""
    row = Received(
        organization_id=sender.scope.organization_id, sender_id=sender.sender_id, jti=event.jti, event=event.event, subject=as_document(event.subject),
        txn=event.txn, sha256=sha256, happened_at=event.happened_at, received_at=at, outcome=Outcome.IGNORED, why="",
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def remembered_for(settings: Settings) -> timedelta:
    """How long signals are kept by their ids. Not less than a month, however little else is kept: a repetition must not act again."""
    return max(timedelta(days=min(settings.requests_kept_days, 36_500)), LEAST_REMEMBERED)


def prune(session: Session, settings: Settings, organization_id: str, *, at: datetime) -> int:
    """Delete a few of what was received long ago. Returns how many; 0 means that nothing is left to delete."""
    # By sender, as the index has them. A token may be dated a little later than it was received.
    senders = [id for table in (Transmitter, Connection) for id in session.scalars(select(table.id).where(table.organization_id == organization_id))]
    old = (
        select(Received.sender_id, Received.jti)
        .where(
            Received.organization_id == organization_id, Received.sender_id.in_(senders),
            Received.received_at < at - remembered_for(settings) - SKEW,
        )
        .limit(AT_A_TIME)
    )  # fmt: skip
    keys = [(sender_id, jti) for sender_id, jti in session.execute(old)]
    if keys:
        session.execute(
            delete(Received)
            .where(Received.organization_id == organization_id, tuple_(Received.sender_id, Received.jti).in_(keys))
            .execution_options(synchronize_session=False)
        )
    return len(keys)


def _check_state(transmitter: Transmitter, event: SecurityEvent) -> None:
    """A verification that we asked for echoes what we said (SSF 1.0 §8.1.4); one that nobody asked for has no state."""
    if transmitter.stream_id is not None and event.subject not in (Opaque(id=transmitter.stream_id), Opaque(id=THE_STREAM["id"])):
        raise BadEvent(Fault.INVALID_REQUEST, "the verification is of another stream")
    state = event.said.get("state")
    if state is None:
        return
    asked = transmitter.state_digest
    if not isinstance(state, str) or not state.isprintable() or asked is None or not hmac.compare_digest(digest_of(state), asked):
        raise BadEvent(Fault.INVALID_STATE, "state is not what was asked for")
    transmitter.state_digest = None


def _note_status(session: Session, transmitter: Transmitter, event: SecurityEvent, row: Received, *, at: datetime) -> None:
    status = event.said.get("status")
    row.why = f"the transmitter says the stream is {status if status in ('enabled', 'paused', 'disabled') else 'changed'}"
    if status in ("paused", "disabled"):
        alarm_of_silence(session, transmitter, row.why, at=at)
    else:
        _heard(session, transmitter, at=at)


def _heard(session: Session, transmitter: Transmitter, *, at: datetime) -> None:
    if transmitter.heard_at is None or at - transmitter.heard_at >= HEARD_EVERY:
        transmitter.heard_at = at
    transmitter.last_error = None
    settle_alarm(session, transmitter.organization_id, kind=AlarmKind.STREAM_SILENT, about=transmitter.id, at=at)


def alarm_of_silence(session: Session, transmitter: Transmitter, why: str, *, at: datetime) -> None:
    """Say that nothing may be reaching us from this transmitter."""
    raise_alarm(
        session, transmitter.organization_id, kind=AlarmKind.STREAM_SILENT, about=transmitter.id,
        sentence=f"{transmitter.name}: {why}", at=at,
    )  # fmt: skip


def alarm_of_flood(session: Session, sender: Sender, *, at: datetime) -> None:
    """Raise an alarm where one sender has more taken away than the organisation's brake would let a directory. It is obeyed all the same."""
    organization_id = sender.scope.organization_id
    bound = parse_push_brake(value_of(session, organization_id, "push_brake"))
    if bound is None:
        return
    session.flush()
    lately = session.scalar(
        select(func.count()).where(
            Received.organization_id == organization_id, Received.sender_id == sender.sender_id, Received.received_at > at - bound.within,
            Received.outcome == Outcome.APPLIED,
        )
    ) or 0  # fmt: skip
    if lately > bound.most:
        raise_alarm(
            session, organization_id, kind=AlarmKind.REVOCATION_FLOOD, about=sender.sender_id,
            sentence=f"{sender.name} had {lately} revocations done within {bound.within.total_seconds():g} seconds", at=at,
        )  # fmt: skip
