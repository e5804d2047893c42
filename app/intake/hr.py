"""An HR call: verified, read, and turned into one statement of the HR voice."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import current_app
from sqlalchemy import ColumnElement, and_, literal, select, union_all, update
from sqlalchemy.orm import Session
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.access.sealing import seal
from app.actors import Actor, ActorKind
from app.clock import parse_instant
from app.directory.names import name_key
from app.directory.settings import value_of
from app.directory.tables import OUTSIDE, Person, Record, RecordEmail, Source, Standing, Statement, StatementKind, Voice
from app.intake.hr_tables import HRPerson
from app.intake.tables import HREvent
from app.journal.work import insert_for
from app.json_text import UnreadableJSON, read_json
from app.lifecycle import leaving
from app.lifecycle.days import NoSuchDay, read_day, start_of, zone_of
from app.lifecycle.key_locks import hold_numbers
from app.lifecycle.order import position
from app.lifecycle.people import lock_person
from app.lifecycle.standing import COMEBACKS, as_said, decide
from app.statements import param

KINDS = {
    "employee.terminated": StatementKind.LEAVES,
    "employee.termination_cancelled": StatementKind.RETURNS,
    "employee.rehired": StatementKind.REHIRES,
    "employee.on_leave": StatementKind.PAUSES,
    "employee.hired": StatementKind.STARTS,
}
KEPT = ("employee_id", "work_email", "engagement_id", "last_day_of_work", "termination_date", "time_zone", "revoke_access", "start_date", "starts_at")
"""What of `data` is acted on, and kept in the clear. The rest is in the sealed bytes alone, and goes with them."""
_WAITING: Final = ("parked", "awaited")
"""The states of calls whose person is not known yet."""
DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
LONGEST: Final = 2_048
"""Bytes in UTF-8 of what a call or a person is found by. A row of an index of PostgreSQL's ends at 2,704, and holds our own ids beside it."""
# Asked with every call, so they are built once.
_NUMBERED: Final = (
    select(Record.person_id).where(Record.organization_id == param("organization"), Record.employee_number == param("number")).distinct()
)
_NAMES: Final = union_all(
    select(Person.user_name_key).where(Person.organization_id == param("organization"), Person.id == param("person")),
    select(RecordEmail.address_key)
    .join(Record, and_(Record.organization_id == RecordEmail.organization_id, Record.id == RecordEmail.record_id))
    .where(Record.organization_id == param("organization"), Record.person_id == param("person")),
)


class BadCall(ValueError):
    """The call cannot be read; the message names the field and what it should be."""


class BadSignature(Exception):
    """The call is not from who holds the secret, or it is too old."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One HR call, read. `effective_at` None means at once."""

    event_id: str
    kind: StatementKind
    employee_id: str | None
    work_email: str | None
    engagement: str
    effective_at: datetime | None


def verify(body: bytes, headers: dict[str, str], secrets: list[str]) -> None:
    """Check the Standard Webhooks signature over the raw bytes, with any secret that is good now. Raises BadSignature.

    The library compares in constant time and refuses timestamps more than five minutes off.
    """
    reason = "no secret is good any more"
    for secret in secrets:
        try:
            Webhook(secret).verify(body, headers, json_parse=False)
        except WebhookVerificationError as error:
            reason = str(error) or "the signature does not fit"
        except ValueError:
            # Headers that are no base64 or no list, a body that is no text: the library does not catch these itself.
            reason = "the signature headers cannot be read"
        else:
            return
    raise BadSignature(reason)


def _text(data: dict[str, Any], field: str, *, needed: bool = False) -> str | None:
    value = data.get(field)
    if value is None and not needed:
        return None
    if not isinstance(value, str) or not value.strip():
        raise BadCall(f"data.{field} must be a non-empty string")
    return value.strip()


def read(body: bytes, event_id: str, *, time_zone: str) -> Call:
    """Read a call's body. `time_zone` is the organisation's, for calls that name none. Raises BadCall."""
    try:
        document = read_json(body, unique=True)
    except UnreadableJSON as error:
        raise BadCall(f"the body is not JSON that can be taken: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("data"), dict):
        raise BadCall("the body must be an object with type, timestamp and data")
    kind = KINDS.get(str(document.get("type")))
    if kind is None:
        raise BadCall(f"type must be one of {', '.join(KINDS)}, not {document.get('type')!r}")
    call = _call_of(kind, document["data"], event_id, time_zone=time_zone, number_needed=True)
    for field, text in (("webhook-id", event_id), ("data.employee_id", call.employee_id or "")):
        if (length := len(text.encode())) > LONGEST:
            raise BadCall(f"{field} is {length} bytes long; at most {LONGEST} can be looked up by")
    return call


def _call_of(kind: StatementKind, data: dict[str, Any], event_id: str, *, time_zone: str, number_needed: bool) -> Call:
    return Call(
        event_id=event_id, kind=kind, employee_id=_text(data, "employee_id", needed=number_needed), work_email=_text(data, "work_email"),
        engagement=_text(data, "engagement_id") or "", effective_at=_effective(data, kind, time_zone=time_zone),
    )  # fmt: skip


def _effective(data: dict[str, Any], kind: StatementKind, *, time_zone: str) -> datetime | None:
    if kind is StatementKind.STARTS:
        return _first_day(data, time_zone=time_zone)
    if kind not in (StatementKind.LEAVES, StatementKind.PAUSES):
        return None
    when = _text(data, "revoke_access") or ("at_end_of_last_day" if kind is StatementKind.LEAVES else "immediately")
    if when == "immediately":
        return None
    if when == "at_end_of_last_day":
        field = "last_day_of_work" if data.get("last_day_of_work") is not None else "termination_date"
        text = _text(data, field, needed=True)
        assert text is not None
        try:
            if not DATE.fullmatch(text):
                # Python takes a week for its Monday.
                raise ValueError(text)
            # The end of a day is the start of the next one there, whatever daylight saving does in between.
            day_after = date.fromisoformat(text) + timedelta(days=1)
        except (ValueError, OverflowError) as error:
            raise BadCall(f"data.{field} must be a date such as 2026-11-30, not {text!r}") from error
        zone_name = _text(data, "time_zone") or time_zone
        try:
            zone = ZoneInfo(zone_name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise BadCall(f"data.time_zone must be a name such as Europe/Berlin, not {zone_name!r}") from error
        return datetime.combine(day_after, time(), zone).astimezone(UTC)
    try:
        return parse_instant(when)
    except ValueError as error:
        raise BadCall(f"data.revoke_access must be immediately, at_end_of_last_day or an instant with zone, not {when!r}") from error


def _first_day(data: dict[str, Any], *, time_zone: str) -> datetime:
    instant = _text(data, "starts_at")
    try:
        if instant is not None:
            return parse_instant(instant)
    except ValueError as error:
        raise BadCall(f"data.starts_at must be an instant with zone, not {instant!r}") from error
    text = _text(data, "start_date", needed=True)
    assert text is not None
    try:
        return start_of(read_day(text), zone_of(_text(data, "time_zone") or time_zone))
    except NoSuchDay as error:
        raise BadCall(f"data.start_date and data.time_zone: {error}") from error


def receive(session: Session, source: Source, call: Call, body: bytes, *, at: datetime) -> HREvent:
    """Keep the call and act on it: one statement where exactly one person is meant, else it waits, alarmed. A repetition does nothing."""
    key = (source.organization_id, source.id, call.event_id)
    there = session.get(HREvent, key)
    if there is not None:
        return there
    document = json.loads(body)
    event = HREvent(
        organization_id=source.organization_id, source_id=source.id, event_id=call.event_id, received_at=at, heard_after=position(session), state="received",
        sha256=hashlib.sha256(body).hexdigest(), sealed_body=seal(current_app.config["DOORLIST"], body.decode()), employee_id=call.employee_id,
        body={"type": document["type"], "data": {name: value for name, value in document["data"].items() if name in KEPT}},
    )  # fmt: skip
    session.add(event)
    session.flush()
    apply(session, source, event, call, waited=False, at=at)
    return event


def kept(session: Session, event: HREvent) -> Call | None:
    """What a stored call says; None where its details have yet to be asked for."""
    kind, data = KINDS.get(str(event.body.get("type"))), event.body.get("data")
    if kind is None or not isinstance(data, dict):
        return None
    time_zone = value_of(session, event.organization_id, "time_zone")
    return _call_of(kind, data, event.event_id, time_zone=time_zone, number_needed=event.person_key is None)


def try_again(session: Session, source: Source, event: HREvent, *, at: datetime) -> None:
    """Act on a parked call anew; where it has yet to be understood or confirmed, have that done soon."""
    try:
        call = kept(session, event)
    except BadCall as error:
        # It was taken by a reading that has changed since. Somebody has to look; whoever is just joining is not kept out by that.
        event.state, event.problem = "parked", f"not understood any more: {error}"
        return
    known = None if event.person_key is None else session.get(HRPerson, (event.organization_id, event.source_id, event.person_key))
    if call is None or (event.person_key is not None and known is None and event.employee_id is None):
        event.state, event.due_at, event.attempts = "received", at, 0
        return
    apply(session, source, event, call, waited=True, at=at, known=known.person_id if known is not None else None)


def apply(
    session: Session, source: Source, event: HREvent, call: Call, *, waited: bool, at: datetime, known: str | None = None
) -> None:  # fmt: skip
    """Act on a kept call, now or, where it `waited`, once its person has appeared. `known` is whom the vendor's own id has been linked to."""
    at = max(at, event.received_at)
    if call.kind is StatementKind.STARTS and (call.effective_at is None or call.effective_at <= at):
        event.state, event.problem, event.due_at = "ignored", "that day has come: nobody has to be kept out until then", None
        return
    person_id, problem = _match(session, source.organization_id, call, known=known)
    if person_id is None:
        event.state, event.problem = "awaited" if _is_new(session, source.organization_id, call) else "parked", problem
        return
    if call.kind is StatementKind.STARTS and session.get_one(Person, (source.organization_id, person_id)).standing == Standing.DEPARTED:
        # Who has left comes back by a word that says just that; a first day may be an old one that comes late.
        event.state, event.problem = "parked", "they have departed: a rehire has to say so, with employee.rehired"
        return
    # What takes access does so from when it came, also where it waited since: a day that was told after that lets nobody in until then.
    since = at if call.kind in COMEBACKS else event.received_at
    effective = max(call.effective_at or since, since)
    leaving.say(
        session, source.organization_id, person_id, voice=Voice.HR, kind=call.kind, said_by=source.name, effective_at=effective,
        actor=Actor(kind=ActorKind.SOURCE, name=source.name), at=at, because=f"HR call {call.event_id} sha256 {event.sha256}",
        engagement=_engagement_of(session, source.organization_id, person_id, call, later=effective > at, at=at), source=source,
        received_at=event.received_at, heard_after=event.heard_after if waited else None,
    )  # fmt: skip
    event.state, event.problem, event.person_id, event.due_at = "applied", None, person_id, None
    if event.person_key is not None and known is None:
        link(session, source, event.person_key, person_id, at=at)


def _is_new(session: Session, organization_id: str, call: Call) -> bool:
    """Whether a first day is told of somebody whom no directory has named yet: that is as it should be, and nobody is alarmed."""
    return call.kind is StatementKind.STARTS and call.employee_id is not None and not numbered(session, organization_id, call.employee_id)


def _engagement_of(session: Session, organization_id: str, person_id: str, call: Call, *, later: bool, at: datetime) -> str:
    """The engagement that a call counts for; none where that is all of them.

    Whoever HR has out is not let in by an engagement that it names only now, to tell when that is to end or when they are to be away
    from it: so that counts as told of all that they have. What the brake holds has nobody out.
    """
    if not (later and call.engagement and call.kind in (StatementKind.LEAVES, StatementKind.PAUSES)):
        return call.engagement
    # Locked here, so that no other call comes between this look and what follows from it.
    lock_person(session, organization_id, person_id)
    words = session.scalars(
        select(Statement).where(
            Statement.organization_id == organization_id, Statement.person_id == person_id, Statement.voice == Voice.HR,
            Statement.withdrawn_at.is_(None), Statement.held.is_(False),
        )
    ).all()  # fmt: skip
    out = decide([], [as_said(one) for one in words], now=at).standing in OUTSIDE
    return "" if out and call.engagement not in {one.engagement for one in words} else call.engagement


def link(session: Session, source: Source, key: str, person_id: str, *, at: datetime) -> None:
    """From now on the vendor's own id `key` means this person; a link that is there already stays."""
    insert = insert_for(session.get_bind().dialect.name)
    row = insert(HRPerson).values(organization_id=source.organization_id, source_id=source.id, key=key, person_id=person_id, linked_at=at)
    session.execute(row.on_conflict_do_nothing())


def relink(session: Session, organization_id: str, was: str, now: str) -> None:
    """Two people have turned out to be one: what vendors call the one by their own ids means the other."""
    session.execute(
        update(HRPerson).where(HRPerson.organization_id == organization_id, HRPerson.person_id == was).values(person_id=now),
        execution_options={"synchronize_session": False},
    )


def _match(session: Session, organization_id: str, call: Call, *, known: str | None) -> tuple[str | None, str | None]:
    """Who is meant, or why that is not clear. Then whoever is just getting the number is waited for, so that a call never waits for somebody who is here."""
    found = _meant(session, organization_id, call, known=known)
    if found[0] is not None or call.employee_id is None:
        return found
    hold_numbers(session, organization_id, [call.employee_id])
    return _meant(session, organization_id, call, known=known)


def _meant(session: Session, organization_id: str, call: Call, *, known: str | None) -> tuple[str | None, str | None]:
    if known is not None and (call.employee_id is None or known in numbered(session, organization_id, call.employee_id)):
        return known, None
    if call.employee_id is None:
        return None, "the vendor's id of this person is linked to nobody here: doorlist hr link"
    if known is not None:
        return None, f"the vendor's id is linked to somebody who has not employee number {call.employee_id}"
    return whom(session, organization_id, call.employee_id, work_email=call.work_email)


def whom(session: Session, organization_id: str, number: str, *, work_email: str | None) -> tuple[str | None, str | None]:
    """Who is meant, or why that is not clear. Exactly one person has that number, and their address does not contradict; an address alone names nobody."""
    if value_of(session, organization_id, "hr_key") == "none":
        return None, "the organisation chose no key that HR calls are matched by"
    ids = numbered(session, organization_id, number)
    if not ids:
        return None, f"nobody has employee number {number}"
    if len(ids) > 1:
        return None, f"{len(ids)} people have employee number {number}"
    if work_email is not None and name_key(work_email) not in session.scalars(_NAMES, {"organization": organization_id, "person": ids[0]}).all():
        return None, f"employee number {number} is known, but not with the address that HR names"
    return ids[0], None


def numbered(session: Session, organization_id: str, number: str) -> list[str]:
    """Everybody who has this employee number, by any record of theirs."""
    return list(session.scalars(_NUMBERED, {"organization": organization_id, "number": number}))


def is_awaited(organization_id: ColumnElement[str], employee_number: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a call waits for whoever has this number, so that `retry_parked` has something to do."""
    calls = select(HREvent.event_id).where(
        HREvent.organization_id == organization_id, HREvent.state.in_([literal(state, literal_execute=True) for state in _WAITING]),
        HREvent.employee_id == employee_number,
    )  # fmt: skip
    # One at most, so that no database would look at all calls for the sake of one number.
    return calls.limit(1).scalar_subquery().is_not(None)


def retry_parked(session: Session, organization_id: str, employee_numbers: list[str], at: datetime) -> int:
    """Try parked calls again for people who have appeared meanwhile; returns how many were applied."""
    applied = 0
    waiting = session.scalars(
        select(HREvent)
        .where(
            HREvent.organization_id == organization_id, HREvent.state.in_(_WAITING), HREvent.employee_id.in_(employee_numbers)
        )
        .order_by(HREvent.heard_after.nulls_first(), HREvent.received_at)
    ).all()
    for event in waiting:
        try_again(session, session.get_one(Source, (organization_id, event.source_id)), event, at=at)
        applied += event.state == "applied"
    return applied
