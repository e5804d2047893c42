"""An HR call: verified, read, and turned into one statement of the HR voice."""

import hashlib
import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import select
from sqlalchemy.orm import Session
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.actors import Actor, ActorKind
from app.clock import parse_instant
from app.directory.names import name_key
from app.directory.settings import value_of
from app.directory.tables import Person, Record, RecordEmail, Source, StatementKind, Voice
from app.intake.tables import HREvent
from app.lifecycle import leaving
from app.lifecycle.people import records_of

KINDS = {
    "employee.terminated": StatementKind.LEAVES,
    "employee.termination_cancelled": StatementKind.RETURNS,
    "employee.rehired": StatementKind.REHIRES,
}


class BadCall(ValueError):
    """The call cannot be read; the message names the field and what it should be."""


class BadSignature(Exception):
    """The call is not from who holds the secret, or it is too old."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One HR call, read. `effective_at` None means at once."""

    event_id: str
    kind: StatementKind
    employee_id: str
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
        document = json.loads(body)
    except ValueError as error:
        raise BadCall(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("data"), dict):
        raise BadCall("the body must be an object with type, timestamp and data")
    kind = KINDS.get(str(document.get("type")))
    if kind is None:
        raise BadCall(f"type must be one of {', '.join(KINDS)}, not {document.get('type')!r}")
    data = document["data"]
    employee_id = _text(data, "employee_id", needed=True)
    assert employee_id is not None
    return Call(
        event_id=event_id, kind=kind, employee_id=employee_id, work_email=_text(data, "work_email"), engagement=_text(data, "engagement_id") or "",
        effective_at=_effective(data, time_zone=time_zone) if kind is StatementKind.LEAVES else None,
    )  # fmt: skip


def _effective(data: dict[str, Any], *, time_zone: str) -> datetime | None:
    when = _text(data, "revoke_access") or "at_end_of_last_day"
    if when == "immediately":
        return None
    if when == "at_end_of_last_day":
        text = _text(data, "last_day_of_work") or _text(data, "termination_date", needed=True)
        assert text is not None
        try:
            last_day = date.fromisoformat(text)
        except ValueError as error:
            raise BadCall(f"data.last_day_of_work must be a date such as 2026-11-30, not {text!r}") from error
        zone_name = _text(data, "time_zone") or time_zone
        try:
            zone = ZoneInfo(zone_name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise BadCall(f"data.time_zone must be a name such as Europe/Berlin, not {zone_name!r}") from error
        # The end of a day is the start of the next one there, whatever daylight saving does in between.
        return datetime.combine(last_day + timedelta(days=1), time(), zone)
    try:
        return parse_instant(when)
    except ValueError as error:
        raise BadCall(f"data.revoke_access must be immediately, at_end_of_last_day or an instant with zone, not {when!r}") from error


def receive(session: Session, source: Source, call: Call, body: bytes, *, at: datetime) -> HREvent:
    """Keep the call and act on it: one statement where exactly one person is meant, else it waits, alarmed. A repetition does nothing."""
    key = (source.organization_id, source.id, call.event_id)
    there = session.get(HREvent, key)
    if there is not None:
        return there
    event = HREvent(
        organization_id=source.organization_id, source_id=source.id, event_id=call.event_id, received_at=at, state="received",
        sha256=hashlib.sha256(body).hexdigest(), body=json.loads(body), employee_id=call.employee_id,
    )  # fmt: skip
    session.add(event)
    session.flush()
    apply(session, source, event, call, at=at)
    return event


def apply(session: Session, source: Source, event: HREvent, call: Call, *, at: datetime) -> None:
    """Act on a kept call, now or once its person has appeared."""
    person_id, problem = _match(session, source.organization_id, call)
    if person_id is None:
        event.state, event.problem = "parked", problem
        return
    at = max(at, event.received_at)
    effective = call.effective_at if call.effective_at is not None and call.effective_at > at else at
    leaving.say(
        session, source.organization_id, person_id, voice=Voice.HR, kind=call.kind, said_by=source.name, effective_at=effective,
        actor=Actor(kind=ActorKind.SOURCE, name=source.name), at=at, because=f"HR call {call.event_id} sha256 {event.sha256}",
        engagement=call.engagement, source=source, received_at=event.received_at,
    )  # fmt: skip
    event.state, event.problem, event.person_id = "applied", None, person_id


def _match(session: Session, organization_id: str, call: Call) -> tuple[str | None, str | None]:
    """Exactly one person has that key, and their address does not contradict; an address alone names nobody."""
    if value_of(session, organization_id, "hr_key") == "none":
        return None, "the organisation chose no key that HR calls are matched by"
    ids = session.scalars(
        select(Record.person_id).where(Record.organization_id == organization_id, Record.employee_number == call.employee_id).distinct()
    ).all()
    if not ids:
        return None, f"nobody has employee number {call.employee_id}"
    if len(ids) > 1:
        return None, f"{len(ids)} people have employee number {call.employee_id}"
    if call.work_email is not None:
        person = session.get_one(Person, (organization_id, ids[0]))
        mine = [record.id for record in records_of(session, person)]
        known = set(
            session.scalars(
                select(RecordEmail.address_key).where(RecordEmail.organization_id == organization_id, RecordEmail.record_id.in_(mine))
            )
        )
        known.add(person.user_name_key)
        if name_key(call.work_email) not in known:
            return None, f"employee number {call.employee_id} is known, but not with the address that HR names"
    return ids[0], None


def retry_parked(session: Session, organization_id: str, employee_numbers: list[str], at: datetime) -> int:
    """Try parked calls again for people who have appeared meanwhile; returns how many were applied."""
    applied = 0
    waiting = session.scalars(
        select(HREvent)
        .where(HREvent.organization_id == organization_id, HREvent.state == "parked", HREvent.employee_id.in_(employee_numbers))
        .order_by(HREvent.received_at)
    ).all()
    for event in waiting:
        source = session.get_one(Source, (organization_id, event.source_id))
        call = read(json.dumps(event.body).encode(), event.event_id, time_zone=value_of(session, organization_id, "time_zone"))
        apply(session, source, event, call, at=at)
        applied += event.state == "applied"
    return applied
