"""Pushing events to those who listen (RFC 8935), and naming everybody who has to be told of somebody's access."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.access.closed import is_closed
from app.access.event_tokens import Told, signed_event
from app.access.keys import NoSigningKey
from app.access.sealing import KeyMissing, unseal
from app.actors import CLOCK
from app.clock import Clock
from app.database import in_transaction, reading
from app.delivery.workspaces import settings_here
from app.journal import entries
from app.journal.tables import Lane
from app.journal.work import Claim
from app.revocation import streams
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import raise_alarm
from app.revocation.stream_tables import Delivery, Receiver, Stream, StreamEvent, StreamStatus
from connectors.contract import ConnectorError, RateLimited, Refused, Unreachable
from connectors.visits import Reply, Visitor

AT_ONCE: Final = 50
REFUSALS: Final = 5
"""Times that an event is refused before the receiver is believed."""
ONE_TRIES: Final = timedelta(seconds=15)
"""How long others leave a receiver alone that does not answer, while one of them tries it."""
LONGEST_PAUSE: Final = 60.0


def want(session: Session, organization_id: str, person_id: str, *, lane: Lane, at: datetime) -> None:
    """Have every stream told that a person's access has ended, so far as it was not told yet."""
    streams.tell(session, organization_id, person_id, issuer=settings_here().public_url, lane=lane, at=at)


def note_return(session: Session, organization_id: str, person_id: str, *, at: datetime) -> None:
    """Have every stream that called this person's account disabled told that they are back. May be called for anybody, at any time.

    Not while the doors are closed: a database that was restored may take somebody for back who has left since.
    """
    if is_closed(session):
        return
    streams.tell_of_return(session, organization_id, person_id, issuer=settings_here().public_url, at=at)


def deliver_events(taken: Claim, stream: Stream, *, clock: Clock) -> None:
    """Push what one stream was not told yet of one person, or of itself. Raises Unreachable, RateLimited, Refused.

    A receiver that does not answer is tried by one worker at a time: its time-outs must not fill the lane of departures.
    """
    if stream.ended_at is not None or stream.status != StreamStatus.ENABLED or stream.delivery != Delivery.PUSH:
        return
    key = (stream.organization_id, stream.id)
    with reading() as session:
        receiver = session.get_one(Receiver, (stream.organization_id, stream.receiver_id))
        events = streams.waiting(session, stream, about=taken.subject_id, most=AT_ONCE)
    if not events:
        return
    _wait_for_turn(stream, at=clock())
    try:
        refused = _push(stream, receiver, events, clock=clock, believed=taken.attempts >= REFUSALS)
    except RateLimited as error:
        wait = error.wait
        in_transaction(lambda session: _fail(session, key, wait=wait, at=clock()))
        raise
    except (ConnectorError, KeyMissing, NoSigningKey) as error:
        # Whatever it is, a wrong certificate or our own key gone, it is tried again: there is no workspace here to halt.
        in_transaction(lambda session: _fail(session, key, wait=None, at=clock()))
        raise error if isinstance(error, Unreachable) else Unreachable(str(error), sent=False) from error
    if refused is not None:
        raise Refused(refused)
    if len(events) == AT_ONCE:
        raise RateLimited(f"{receiver.name}: more is waiting", wait=0)


def _wait_for_turn(stream: Stream, *, at: datetime) -> None:
    if stream.retry_at is None:
        return
    if stream.retry_at > at:
        raise RateLimited("the receiver did not answer lately", wait=(stream.retry_at - at).total_seconds())

    def mine(session: Session) -> bool:
        done = session.execute(
            update(Stream)
            .where(Stream.organization_id == stream.organization_id, Stream.id == stream.id, Stream.retry_at == stream.retry_at)
            .values(retry_at=at + ONE_TRIES)
            .execution_options(synchronize_session=False)
        )
        return bool(done.rowcount)  # type: ignore[attr-defined]  # every UPDATE has one; the stub names the wider class

    if not in_transaction(mine):
        raise RateLimited("another worker is trying the receiver", wait=1)


def _fail(session: Session, key: tuple[str, str], *, wait: float | None, at: datetime) -> None:
    stream = session.get_one(Stream, key)
    stream.failures += 1
    stream.retry_at = at + timedelta(seconds=min(2.0 ** min(stream.failures, 10), LONGEST_PAUSE) if wait is None else wait)


def _push(stream: Stream, receiver: Receiver, events: Sequence[StreamEvent], *, clock: Clock, believed: bool) -> str | None:
    """Push in order; returns why one was refused. What was taken is written down at once, so that it is not pushed again."""
    settings = settings_here()
    key = (stream.organization_id, stream.id)
    headers = {"Content-Type": "application/secevent+jwt", "Accept": "application/json"}
    if stream.sealed_authorization is not None:
        headers["Authorization"] = unseal(settings, stream.sealed_authorization)
    visitor = Visitor(name=receiver.name, allow_private=receiver.private_network)
    refused: str | None = None
    for event in events:
        told = Told(
            jti=event.id, audience=receiver.audience, issued_at=event.made_at, txn=event.txn, subject=event.subject, event=event.event, said=event.said
        )
        token = in_transaction(lambda session, one=told: signed_event(session, settings, one, algorithm=receiver.algorithm, at=clock()))  # type: ignore[misc]  # defaults bind the loop's values
        sent_at = clock()
        reply = visitor.post(stream.endpoint_url or "", token, headers=headers)
        fault = _fault(reply)

        def note(session: Session, event: StreamEvent = event, sent_at: datetime = sent_at, fault: str | None = fault) -> None:
            row = session.get(StreamEvent, (*key, event.id))
            if row is None:
                return
            row.sent_at = row.sent_at or sent_at
            here = session.get_one(Stream, key)
            here.failures, here.retry_at = 0, None
            if fault is None:
                streams.settle(session, here, [row.id], at=clock())
            elif believed:
                streams.settle(session, here, [], refused={row.id: fault}, at=clock())

        in_transaction(note)
        if fault is not None and not believed:
            refused = f"{receiver.name}: refused {event.event.rpartition('/')[2]}: {fault}"
    return refused


def _fault(reply: Reply) -> str | None:
    """Why the receiver refused it (RFC 8935 §2.4); None where it took it. Raises Unreachable where it said neither."""
    if reply.status in (200, 202, 204):
        # RFC 8935 §2.2 says 202; some say 200 or 204 and mean it.
        return None
    if reply.status != 400:
        raise Unreachable(f"{reply.source}: answered {reply.status}: is the authorization of this stream right?", sent=True)
    try:
        said = json.loads(reply.content)
    except (ValueError, RecursionError):
        said = None
    code = said.get("err") if isinstance(said, dict) else None
    # Words from outside, shown to an operator: kept short, and on one line.
    return code[:60] if isinstance(code, str) and code.isprintable() else "400 without a reason"


def keep_up(*, clock: Clock) -> None:
    """What time asks of streams: whoever is back is told of, and a receiver that takes nothing loses its stream. Twice does it once."""
    with reading() as session:
        # Nothing would be told; they are looked for again as soon as it is open.
        back = [] if is_closed(session) else streams.returned(session)
        any_stream = session.scalar(select(Stream.id).where(Stream.ended_at.is_(None)).limit(1)) is not None
    for organization_id, person_id in back:
        in_transaction(lambda session, o=organization_id, p=person_id: note_return(session, o, p, at=clock()))  # type: ignore[misc]  # defaults bind the loop's values
    if any_stream:
        in_transaction(lambda session: _tidy(session, at=clock()))


def _tidy(session: Session, *, at: datetime) -> None:
    for stream, lost in streams.tidy(session, at=at):
        receiver = session.get_one(Receiver, (stream.organization_id, stream.receiver_id))
        entries.write(
            session, stream.organization_id, at=at, actor=CLOCK, verb="signal stream disabled", because=stream.status_reason or "", subject_kind="signal stream",
            subject_id=stream.id, after={"dropped": lost},
        )  # fmt: skip
        raise_alarm(
            session, stream.organization_id, kind=AlarmKind.STREAM_SILENT, about=stream.id,
            sentence=f"the receiver {receiver.name} takes nothing, and its stream was disabled: {stream.status_reason}", at=at,
        )  # fmt: skip
