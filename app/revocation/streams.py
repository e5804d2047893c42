"""What those who listen are told of people's access: made in the transaction of whoever noticed it, waiting until it is taken.

A stream is told what stands, not what happened: it remembers what it was told of each person, and hears of the difference.
So looking twice tells nothing twice, and whatever was missed is told at the next look.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from app.database import new_id
from app.directory.tables import Person, Standing
from app.journal import work
from app.journal.tables import Lane, Subject
from app.revocation import departures
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import settle_alarm
from app.revocation.stream_tables import Delivery, Receiver, Stream, StreamEvent, StreamStatus, StreamSubject
from app.revocation.tables import Departure, Grade, Proof
from app.statements import param

SESSION_REVOKED: Final = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
ACCOUNT_DISABLED: Final = "https://schemas.openid.net/secevent/risc/event-type/account-disabled"
ACCOUNT_ENABLED: Final = "https://schemas.openid.net/secevent/risc/event-type/account-enabled"
SUPPORTED: Final = (SESSION_REVOKED, ACCOUNT_DISABLED, ACCOUNT_ENABLED)
VERIFICATION: Final = "https://schemas.openid.net/secevent/ssf/event-type/verification"
STREAM_UPDATED: Final = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"
MOST_WAITING: Final = 10_000
"""Events that wait for one receiver. Past it nobody is taking them, and its stream is disabled."""
KEPT: Final = timedelta(days=30)
"""How long an event that was taken is remembered; the proof of a departure stays."""
_LISTENS: Final = (Stream.ended_at.is_(None), Receiver.ended_at.is_(None), Stream.status != StreamStatus.DISABLED)
# Asked of everybody who leaves, so it is built once.
_LISTENING: Final = (
    select(Stream, Receiver)
    .join(Receiver, (Receiver.organization_id == Stream.organization_id) & (Receiver.id == Stream.receiver_id))
    .where(Stream.organization_id == param("organization"), *_LISTENS)
    .order_by(Stream.id)
)


def tell(session: Session, organization_id: str, person_id: str, *, issuer: str, lane: Lane, at: datetime) -> None:
    """Tell every stream that somebody's access has ended, so far as it does not know; each that is pushed to gets its own work."""
    listening = _standing(session, organization_id)
    person = session.get(Person, (organization_id, person_id)) if listening else None
    if person is None:
        return
    departure = departures.current(session, organization_id, person_id) if person.standing != Standing.ACTIVE else None
    for stream, receiver in listening:
        known = _known(session, stream, person_id)
        if known.removed:
            continue
        events: list[tuple[str, dict[str, Any]]] = []
        if departure is not None and not known.told_disabled:
            # The account first: a session that is ended while one can still sign in is soon there again.
            events.append((ACCOUNT_DISABLED, {}))
        if known.told_epoch is None or known.told_epoch < person.access_epoch:
            events.append((SESSION_REVOKED, _revoked("Access has ended" if departure else "Signed out everywhere", _when(departure, at))))
        # Of who is back already it stays known that their account was called disabled: that is for `tell_of_return` to take back.
        known.told_disabled, known.told_epoch = known.told_disabled or departure is not None, person.access_epoch
        _put(session, stream, receiver, person, events, issuer=issuer, txn=_cause(person, departure), departure=departure, lane=lane, at=at)
    session.flush()


def tell_of_return(session: Session, organization_id: str, person_id: str, *, issuer: str, at: datetime) -> None:
    """Tell every stream that called somebody's account disabled that they are back. Says nothing of anybody else."""
    person = session.get(Person, (organization_id, person_id))
    if person is None or person.standing != Standing.ACTIVE:
        return
    for stream, receiver in _standing(session, organization_id):
        # Locked, since a worker and whoever keeps time may look at once; taken by its whole key, so most people lock nothing.
        # Whoever was removed is told of once they are added again, if they are still back then.
        disabled = _of(stream, person_id).where(StreamSubject.told_disabled, StreamSubject.removed.is_(False))
        known = session.scalars(disabled.with_for_update()).one_or_none()
        if known is None:
            continue
        # Read once more behind the lock: whoever has left since this transaction began may have been told of already.
        session.refresh(person, ["standing", "access_epoch"])
        if person.standing != Standing.ACTIVE:
            return
        known.told_disabled, known.told_epoch = False, person.access_epoch
        _put(
            session, stream, receiver, person, [(ACCOUNT_ENABLED, {})], issuer=issuer, txn=_cause(person, None), departure=None,
            lane=Lane.SYNC, at=at,
        )  # fmt: skip
    session.flush()


def returned(session: Session) -> Sequence[tuple[str, str]]:
    """Organisation and id of everybody who is back and whose account a stream still takes for disabled; none of whom it is told nothing."""
    rows = session.execute(
        select(StreamSubject.organization_id, StreamSubject.person_id)
        .join(Person, (Person.organization_id == StreamSubject.organization_id) & (Person.id == StreamSubject.person_id))
        .join(Stream, (Stream.organization_id == StreamSubject.organization_id) & (Stream.id == StreamSubject.stream_id))
        .join(Receiver, (Receiver.organization_id == Stream.organization_id) & (Receiver.id == Stream.receiver_id))
        .where(StreamSubject.told_disabled, StreamSubject.removed.is_(False), Person.standing == Standing.ACTIVE, *_LISTENS)
        .distinct()
    )
    return [(row.organization_id, row.person_id) for row in rows]


def say_of_stream(session: Session, stream: Stream, event: str, said: Mapping[str, Any], *, at: datetime) -> StreamEvent:
    """Put an event about the stream itself; its subject is the stream (SSF 1.0 §8.1.4, §8.1.5)."""
    row = StreamEvent(
        organization_id=stream.organization_id, stream_id=stream.id, id=new_id(), event=event, said=dict(said),
        subject={"format": "opaque", "id": stream.id}, txn=new_id(), made_at=at,
    )  # fmt: skip
    session.add(row)
    session.flush()
    if stream.delivery == Delivery.PUSH:
        _want(session, stream, stream.id, lane=Lane.SYNC, at=at)
    return row


def waiting(session: Session, stream: Stream, *, about: str | None = None, most: int) -> Sequence[StreamEvent]:
    """What a stream has not taken yet, oldest first; of one person, or of the stream itself, where `about` is its own id."""
    query = select(StreamEvent).where(
        StreamEvent.organization_id == stream.organization_id, StreamEvent.stream_id == stream.id, StreamEvent.settled_at.is_(None)
    )
    if about is not None:
        query = query.where(StreamEvent.person_id.is_(None) if about == stream.id else StreamEvent.person_id == about)
    # Ids are made in the order of time.
    return session.scalars(query.order_by(StreamEvent.id).limit(most)).all()


def settle(session: Session, stream: Stream, jtis: Collection[str], *, at: datetime, refused: Mapping[str, str] | None = None) -> None:
    """The receiver has taken these, or refused some of them. What it does not hold, or has settled, is nothing to it."""
    faults = refused or {}
    rows = session.scalars(
        select(StreamEvent)
        .where(
            StreamEvent.organization_id == stream.organization_id, StreamEvent.stream_id == stream.id,
            StreamEvent.id.in_([*jtis, *faults]), StreamEvent.settled_at.is_(None),
        )
        .order_by(StreamEvent.id)
    ).all()  # fmt: skip
    for row in rows:
        row.settled_at, row.refused = at, faults.get(row.id)
    session.flush()
    for departure_id in sorted({row.departure_id for row in rows if row.departure_id is not None}):
        _prove(session, stream, departure_id, at=at)


def _prove(session: Session, stream: Stream, departure_id: str, *, at: datetime) -> None:
    """A departure's proof in this stream: that its receiver says it has taken all of it. What it did with it cannot be asked."""
    mine = select(StreamEvent).where(
        StreamEvent.organization_id == stream.organization_id, StreamEvent.stream_id == stream.id, StreamEvent.departure_id == departure_id
    )
    # Held first: of two who say at once that they took the last of it, the second sees what the first has settled.
    proof = _proof(session, stream, departure_id)
    events = session.scalars(mine.execution_options(populate_existing=True)).all()
    proof.attempts += 1
    sent = min((one.sent_at for one in events if one.sent_at is not None), default=at)
    proof.sent_at = proof.sent_at or sent
    refused = next((one.refused for one in events if one.refused is not None), None)
    if refused is not None:
        proof.last_error = f"the receiver refused it: {refused}"
    elif all(one.settled_at is not None for one in events) and proof.shut_at is None:
        proof.last_error = None
        proof.acknowledged_at = proof.shut_at = proof.gone_at = at
        proof.shut_grade = proof.gone_grade = Grade.CLAIMED
        proof.closed = {"events": len(events)}
    session.flush()


def _proof(session: Session, stream: Stream, departure_id: str) -> Proof:
    proof = session.get(Proof, (stream.organization_id, departure_id, stream.id), with_for_update=True, populate_existing=True)
    if proof is None:
        proof = Proof(organization_id=stream.organization_id, departure_id=departure_id, workspace_id=stream.id, attempts=0)
        session.add(proof)
    return proof


def change_status(session: Session, stream: Stream, status: StreamStatus, reason: str | None, *, at: datetime) -> int:
    """Enable, pause or disable. What waited while it was paused goes on; what waited when it is disabled is dropped: returns how much."""
    if stream.status == StreamStatus.DISABLED:
        _forget_notices(session, stream)
    stream.status, stream.status_reason, stream.changed_at = status, reason, at
    stream.failures, stream.retry_at = 0, None
    session.flush()
    if status is StreamStatus.DISABLED:
        return drop(session, stream)
    if status is StreamStatus.ENABLED:
        resume(session, stream, at=at)
    return 0


def _forget_notices(session: Session, stream: Stream) -> None:
    """Of what was said of the stream itself while it was disabled nothing is true any more, least of all that it is."""
    session.execute(
        delete(StreamEvent)
        .where(
            StreamEvent.organization_id == stream.organization_id, StreamEvent.stream_id == stream.id, StreamEvent.person_id.is_(None),
            StreamEvent.settled_at.is_(None),
        )
        .execution_options(synchronize_session=False)
    )  # fmt: skip


def resume(session: Session, stream: Stream, *, at: datetime) -> None:
    """Put everything that waits to work again, where it is pushed."""
    if stream.delivery != Delivery.PUSH:
        return
    about = session.scalars(
        select(StreamEvent.person_id)
        .where(StreamEvent.organization_id == stream.organization_id, StreamEvent.stream_id == stream.id, StreamEvent.settled_at.is_(None))
        .distinct()
    ).all()
    for person_id in about:
        _want(session, stream, person_id or stream.id, lane=Lane.DEPARTURES if person_id is not None else Lane.SYNC, at=at)


def drop(session: Session, stream: Stream) -> int:
    """Forget what waits for a stream that takes nothing any more (SSF 1.0 §8.1.2: what happens while it is disabled is never sent).

    A departure that it had not taken stays unproved there: nobody will be told, so there is nothing left to wait for, and no
    proof row that would claim to. Returns how many events were dropped.
    """
    mine = (StreamEvent.organization_id == stream.organization_id, StreamEvent.stream_id == stream.id)
    dropped = session.execute(delete(StreamEvent).where(*mine, StreamEvent.settled_at.is_(None)).execution_options(synchronize_session=False))
    session.execute(
        delete(Proof)
        .where(Proof.organization_id == stream.organization_id, Proof.workspace_id == stream.id, Proof.shut_at.is_(None))
        .execution_options(synchronize_session=False)
    )
    return int(dropped.rowcount)  # type: ignore[attr-defined]  # every DELETE has one; the stub names the wider class


def tidy(session: Session, *, at: datetime) -> list[tuple[Stream, int]]:
    """Disable each stream whose receiver lets too much wait, and forget what was taken long ago. Returns what was disabled, and how much it lost."""
    counts = session.execute(
        select(StreamEvent.organization_id, StreamEvent.stream_id)
        .where(StreamEvent.settled_at.is_(None))
        .group_by(StreamEvent.organization_id, StreamEvent.stream_id)
        .having(func.count() > MOST_WAITING)
    ).all()
    disabled = []
    for organization_id, stream_id in counts:
        stream = session.get_one(Stream, (organization_id, stream_id))
        reason = f"more than {MOST_WAITING} events were waiting to be taken"
        lost = change_status(session, stream, StreamStatus.DISABLED, reason, at=at)
        # SSF 1.0 §8.1.5: a receiver is told that its stream was stopped; this one will hear of it when it asks again.
        say_of_stream(session, stream, STREAM_UPDATED, {"status": StreamStatus.DISABLED.value, "reason": reason}, at=at)
        disabled.append((stream, lost))
    session.execute(delete(StreamEvent).where(StreamEvent.settled_at <= at - KEPT).execution_options(synchronize_session=False))
    return disabled


def end_stream(session: Session, stream: Stream, *, at: datetime) -> int:
    """The receiver, or an operator, has ended it: nothing waits for it any more. Returns how many events were dropped."""
    stream.ended_at = stream.changed_at = at
    stream.sealed_authorization = None
    session.flush()
    settle_alarm(session, stream.organization_id, kind=AlarmKind.STREAM_SILENT, about=stream.id, at=at)
    return drop(session, stream)


def names_of(session: Session, organization_id: str) -> dict[str, str]:
    """The receiver's name of each stream that there is or was, by the stream's id, which is what proofs are kept under."""
    rows = session.execute(
        select(Stream.id, Receiver.name)
        .join(Receiver, (Receiver.organization_id == Stream.organization_id) & (Receiver.id == Stream.receiver_id))
        .where(Stream.organization_id == organization_id)
    )
    return {row.id: row.name for row in rows}


def _standing(session: Session, organization_id: str) -> Sequence[tuple[Stream, Receiver]]:
    return [(stream, receiver) for stream, receiver in session.execute(_LISTENING, {"organization": organization_id})]


def _known(session: Session, stream: Stream, person_id: str) -> StreamSubject:
    key = {"organization_id": stream.organization_id, "stream_id": stream.id, "person_id": person_id}
    # Made first, so that two who look at once wait for each other at one row.
    session.execute(
        work.insert_for(session.get_bind().dialect.name)(StreamSubject).values(**key, told_disabled=False, removed=False).on_conflict_do_nothing()
    )
    return session.scalars(_of(stream, person_id).with_for_update()).one()


def _of(stream: Stream, person_id: str) -> Select[StreamSubject]:
    """What a stream was told of somebody, as it stands in the database now, and not as it was read before."""
    key = {"organization_id": stream.organization_id, "stream_id": stream.id, "person_id": person_id}
    return select(StreamSubject).filter_by(**key).execution_options(populate_existing=True)


def _put(
    session: Session, stream: Stream, receiver: Receiver, person: Person, events: Sequence[tuple[str, dict[str, Any]]], *,
    issuer: str, txn: str, departure: Departure | None, lane: Lane, at: datetime,
) -> None:  # fmt: skip
    wanted = [(event, said) for event, said in events if not stream.events_requested or event in stream.events_requested]
    if not wanted:
        return
    for event, said in wanted:
        session.add(
            StreamEvent(
                organization_id=stream.organization_id, stream_id=stream.id, id=new_id(), person_id=person.id,
                departure_id=None if departure is None else departure.id, event=event, said=said, subject=subject_of(receiver, person, issuer=issuer),
                txn=txn, made_at=at,
            )
        )  # fmt: skip
        session.flush()
    if stream.status == StreamStatus.ENABLED:
        if departure is not None:
            _proof(session, stream, departure.id)
        if stream.delivery == Delivery.PUSH:
            _want(session, stream, person.id, lane=lane, at=at)


def subject_of(receiver: Receiver, person: Person, *, issuer: str) -> dict[str, Any]:
    """A person as this receiver knows them: by their id here, which is what our OpenID provider calls them too, or by e-mail."""
    if receiver.subject_format == "email" and person.email is not None:
        return {"format": "email", "email": person.email}
    return {"format": "iss_sub", "iss": issuer, "sub": person.id}


def _want(session: Session, stream: Stream, about: str, *, lane: Lane, at: datetime) -> None:
    work.want(
        session, stream.organization_id, subject=Subject.ACCESS, subject_ids=[about], because=None, due_at=at, lane=lane, workspace_id=stream.id
    )


def _revoked(words: str, when: datetime) -> dict[str, Any]:
    # CAEP Interoperability Profile: reason_admin must be there and not be empty. Prepared words, since what was said of somebody is nobody else's business.
    return {"event_timestamp": int(when.timestamp()), "initiating_entity": "admin", "reason_admin": {"en": words}}


def _when(departure: Departure | None, at: datetime) -> datetime:
    return at if departure is None else departure.decided_at


def _cause(person: Person, departure: Departure | None) -> str:
    """`txn` (RFC 8417 §2.2): the same for all that has one cause. The departure's own id is what its receipt shows."""
    if departure is not None:
        return departure.id
    return hashlib.sha256(f"{person.organization_id} {person.id} {person.access_epoch}".encode()).hexdigest()[:32]
