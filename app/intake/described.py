"""Calls of an HR system that is known by a description: verified, stored sealed, answered, and acted on as far as they prove anything."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access.rates import Buckets
from app.access.sealing import seal
from app.database import in_transaction
from app.directory.tables import Source
from app.intake import descriptions, hr
from app.intake.call_parts import Told, challenge_of, parts_of, sender_id, whole
from app.intake.call_parts import reread as read_again
from app.intake.description_types import Description, Event
from app.intake.hr import BadCall, BadSignature
from app.intake.hr_tables import HRPerson, HRSystem
from app.intake.places import text_at
from app.intake.schemes import Request, verify
from app.intake.tables import HREvent
from app.intake.vendor_calls import Said, is_ping, not_understood, read_body, say
from app.lifecycle.order import position
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import settle_alarm
from app.settings import Settings

WINDOW: Final = 300
"""Seconds within which the same unsigned call is one call: its bytes are the same each time, and may be meant again later."""
HEARD_EVERY: Final = timedelta(minutes=1)
TRIES: Final = 3
_JUST: Final = timedelta(microseconds=1)
PENDING: Final = ("parked", "received", "waiting", "awaited", "applied", "ignored")
# Calls that prove nothing are only a reason to ask the vendor, so too many of them are not even stored.
_unproven = Buckets(rate=5, burst=200)


class TooMany(Exception):
    """More unsigned calls than are taken."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What became of a call: the state that it is in, of several events the one that most is still to be done about; *ping*; *challenge*."""

    state: str
    echo: str | None = None


@lru_cache(maxsize=256)
def description_of(text: str) -> Description:
    """A stored description, read once."""
    return descriptions.read(text)


def hear(
    settings: Settings, source: Source, system: HRSystem, request: Request, secrets: list[str], *, time_zone: str, at: datetime
) -> Heard:
    """Take one call. Raises BadSignature, BadCall where nothing was proved, and TooMany; whatever else is stored, and answered 2xx.

    `time_zone` is the organisation's. A call that is rightly signed and cannot be read is parked and not refused: some
    vendors never send again what was answered 4xx.
    """
    description = description_of(system.description)
    if description.signature is None or description.event is None:
        raise BadSignature(f"{description.vendor} is asked, and sends nothing that we take")
    echo = challenge_of(description, request)
    if echo is not None:
        _limit(source)
        return Heard(state="challenge", echo=echo)
    token = _handshake_of(description, request)
    if token is not None:
        _limit(source)
        name = f"handshake:{hashlib.sha256(token.encode()).hexdigest()}"
        return _store(settings, source, system, request, [(whole(description, request, name), None)], at=at)
    verify(description.signature, request, secrets, event_id=sender_id(description, request), at=at)
    if description.confirms:
        _limit(source)
    try:
        told = parts_of(description, request)
    except BadCall as error:
        if description.confirms:
            raise
        return _store(settings, source, system, request, [(whole(description, request), error)], at=at)
    read = _read_all(description, told, time_zone=description.time_zone or time_zone, at=at)
    if not read:
        in_transaction(lambda session: _note_heard(session, system, at=at))
        return Heard(state="ping" if told and isinstance(told[0].document, str) else "ignored")
    if description.confirms:
        for _ in read[1:]:
            _limit(source)
    return _store(settings, source, system, request, read, at=at)


def _read_all(description: Description, told: Sequence[Told], *, time_zone: str, at: datetime) -> list[tuple[Told, Said | BadCall]]:
    """What each event says, those left out that are not meant. One that cannot be read stops no other; of unsigned ones it is passed over."""
    assert description.event is not None
    read: list[tuple[Told, Said | BadCall]] = []
    refused: BadCall | None = None
    for one in told:
        try:
            if is_ping(description, one.document, one.around):
                continue
            said = say(description.event, one.document, time_zone=time_zone, at=at, around=one.around)
            if description.confirms:
                asks_about(said)
            read.append((one, said))
        except BadCall as error:
            if description.confirms:
                refused = error
            else:
                read.append((one, error))
    if refused is not None and not read:
        raise refused
    return read


def _limit(source: Source) -> None:
    if _unproven.take(source.id):
        raise TooMany("too many unsigned calls; nothing was taken")


def _handshake_of(description: Description, request: Request) -> str | None:
    """The secret that a first call brings, where this is one: it is not signed, since there was no secret before it."""
    if description.handshake is None or description.signature is None or request.headers.get(description.signature.header.lower()):
        return None
    try:
        return text_at(read_body(description, request.body), description.handshake.token)
    except BadCall:
        return None


def _store(
    settings: Settings, source: Source, system: HRSystem, request: Request, read: Sequence[tuple[Told, Said | BadCall | None]], *, at: datetime
) -> Heard:
    """Keep the events of a call, and act on each where it proves enough, all or none. A handshake says nothing, and waits to be given back."""
    sealed = [seal(settings, told.kept.decode("utf-8", "replace")) for told, _ in read]

    def act(session: Session) -> Heard:
        here = session.get_one(Source, (source.organization_id, source.id))
        _note_heard(session, system, at=at)
        states = [
            # Each has an instant of its own: of two words about one person, said at the same one, neither would be the later.
            _keep(session, here, description_of(system.description), told, said, sealed=one, sha256=sha256, at=at + number * _JUST)
            for number, ((told, said), one) in enumerate(zip(read, sealed, strict=True))
        ]
        return Heard(state=min(states, key=lambda state: PENDING.index(state) if state in PENDING else len(PENDING)))

    sha256 = hashlib.sha256(request.body).hexdigest()
    for _ in range(TRIES - 1):
        try:
            return in_transaction(act)
        except IntegrityError:
            # The same came twice at once, and the other one was first: now it is there.
            continue
    return in_transaction(act)


def _keep(
    session: Session, source: Source, description: Description, told: Told, said: Said | BadCall | None, *, sealed: bytes, sha256: str, at: datetime
) -> str:
    """Keep one event and act on it, unless it is there already; returns the state that it is in."""
    key = (source.organization_id, source.id)
    name = f"{told.name}:{int(at.timestamp()) // WINDOW}" if description.confirms and said is not None else told.name
    there = session.get(HREvent, (*key, name))
    if there is not None and _is_same(there, told, said):
        return there.state
    if there is not None:
        # Known bytes under headers that nobody signed: a reason to ask, at most.
        _limit(source)
        name = told.variant
        again = session.get(HREvent, (*key, name))
        if again is not None:
            return again.state
    event = HREvent(
        organization_id=source.organization_id, source_id=source.id, event_id=name, received_at=at, heard_after=position(session), state="received",
        attempts=0, sha256=sha256, sealed_body=sealed, body={"type": "handshake" if said is None else "unread", **told.apart},
    )  # fmt: skip
    session.add(event)
    if isinstance(said, BadCall):
        assert description.event is not None
        event.state, event.problem = "parked", not_understood(description.event, told.document, told.around, said)
        return event.state
    if said is None:
        event.due_at = at
        return event.state
    event.person_key, event.employee_id = said.key, said.number
    session.flush()
    if there is not None and not said.fetch and not description.confirms:
        event.state, event.problem = "parked", "the same bytes came before as another event, and the header that tells them apart is not signed"
    elif must_ask(session, description, source, said):
        event.due_at = at
    else:
        act_on(session, source, event, said, waited=False, at=at)
    return event.state


def _is_same(there: HREvent, told: Told, said: Said | BadCall | None) -> bool:
    """Whether what came is what is there. What is asked for may be delivered anew under another id; what is acted on, never."""
    if not isinstance(said, Said) or not (said.fetch or said.acts):
        return True
    if dict(told.beside) != there.body.get("beside", {}):
        return False
    return not said.fetch or told.delivery == there.body.get("delivery")


def asks_about(said: Said) -> bool:
    """Whether a word that nobody signed is a reason to ask. Raises BadCall where it does not say about whom."""
    if said.event is Event.NOTHING or (said.event is Event.CREATED and not said.acts):
        return False
    if said.key is None:
        # Their API is asked by the vendor's own id; without it nobody could confirm what anybody may have sent.
        raise BadCall("it does not say by the vendor's id whom it is about")
    return True


def must_ask(session: Session, description: Description, source: Source, said: Said) -> bool:
    """Whether the vendor's API has a say before anything is done: always where nothing is signed."""
    if description.confirms:
        return asks_about(said)
    if description.details is None or said.key is None:
        return False
    if said.fetch:
        return True
    return said.acts and said.number is None and session.get(HRPerson, (source.organization_id, source.id, said.key)) is None


def act_on(session: Session, source: Source, event: HREvent, said: Said, *, waited: bool, at: datetime) -> None:
    """Act on what was said, by a vendor that proved it or whose API was asked, at once or after it has `waited`.

    What changes nobody's standing is only kept.
    """
    beside = {name: value for name, value in event.body.items() if name in ("beside", "delivery")}
    event.person_key, event.employee_id, event.body = said.key, said.number or event.employee_id, {**said.as_own(), **beside}
    event.due_at, event.problem = None, None
    if not said.acts:
        event.state = "ignored"
        return
    if said.event is Event.REHIRED and said.at is not None and said.at > at:
        # Nobody is let in before the day on which they come back.
        event.state, event.due_at = "waiting", said.at
        return
    known = None if said.key is None else session.get(HRPerson, (event.organization_id, event.source_id, said.key))
    call = hr.kept(session, event)
    assert call is not None
    hr.apply(session, source, event, call, waited=waited, at=at, known=known.person_id if known is not None else None)
    if known is not None and event.state == "applied":
        # What the API said before is no longer the last word: its next answer is news again.
        known.said = None


def reread(description: Description, event: HREvent, kept: bytes, *, time_zone: str, at: datetime) -> Said:
    """What a stored call says. Raises BadCall, also where its description has been changed for one that reads no calls."""
    if description.event is None:
        raise BadCall(f"{description.vendor} is asked, and its calls are not read any more")
    document, around = read_again(description, kept, event.body.get("beside", {}))
    try:
        return say(description.event, document, time_zone=description.time_zone or time_zone, at=at, around=around)
    except BadCall as error:
        raise BadCall(not_understood(description.event, document, around, error)) from error


def with_details(hint: Said, record: Said) -> Said:
    """A signed word, with what the record knows of the person: number and address."""
    return replace(
        hint, number=hint.number or record.number, email=hint.email or record.email, engagement=hint.engagement or record.engagement
    )


def _note_heard(session: Session, system: HRSystem, *, at: datetime) -> None:
    row = session.get_one(HRSystem, (system.organization_id, system.source_id))
    if row.heard_at is None or at - row.heard_at > HEARD_EVERY:
        row.heard_at = at
    if row.alarmed and row.last_error is None:
        row.alarmed = False
        settle_alarm(session, row.organization_id, kind=AlarmKind.SOURCE_SILENT, about=row.source_id, at=at)
