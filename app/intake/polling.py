"""Polling: every HR system's records read again and again, so that what no call told is heard; and an alarm for one that is silent."""

import hashlib
import json
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.access.sealing import KeyMissing, seal
from app.clock import Clock, now
from app.database import in_transaction, new_id, reading
from app.directory.tables import Record, Source
from app.intake.described import act_on
from app.intake.description_types import Event, Place
from app.intake.hr import BadCall, numbered
from app.intake.hr_tables import HRSystem
from app.intake.news import Vendor, digest_of, kept_of, known_by, news_of, remember, still_said, vendor_of
from app.intake.places import NOTHING_AROUND, text_at
from app.intake.tables import HREvent
from app.intake.vendor_api import NotConnected
from app.intake.vendor_calls import Said, not_understood
from app.lifecycle.order import position
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import raise_alarm, settle_alarm
from app.settings import Settings
from connectors.contract import ConnectorError

log = logging.getLogger(__name__)

AT_ONCE: Final = 200
"""People in one transaction."""
ALONE: Final = timedelta(minutes=10)
LOOK_EVERY: Final = timedelta(minutes=15)
"""How often a system that is not polled is looked at, for its silence."""
AWAY_FOR: Final = timedelta(hours=1)
"""After how long an API that cannot be asked is an alarm."""
Rows = Sequence[tuple[Said, dict[str, Any]]]


def look(settings: Settings, *, clock: Clock = now) -> None:
    """Poll every HR system that is due, and see which have fallen silent. May run in several processes at once."""
    with reading() as session:
        due = session.execute(select(HRSystem.organization_id, HRSystem.source_id).where(HRSystem.look_again_at <= clock())).all()
    for organization_id, source_id in due:
        key = (organization_id, source_id)
        try:
            vendor = vendor_of(settings, *key)
            if vendor is not None and in_transaction(lambda session, one=key: _claim(session, one, at=clock())):  # type: ignore[misc]  # defaults bind the loop's values
                look_at(vendor, clock=clock)
        except DBAPIError as failure:
            # The next look comes soon; the database may have been away for a moment.
            log.error("source %s: the database failed: %s", source_id, failure.__class__.__name__)
        except Exception as failure:
            # Whatever is wrong with one system, the others are looked at.
            log.error("source %s could not be looked at", source_id, exc_info=failure)
            why = str(failure) if isinstance(failure, NotConnected) else f"it could not be looked at ({failure.__class__.__name__})"
            in_transaction(lambda session, one=key, why=why: _fail(session, one, why, at=clock()))  # type: ignore[misc]  # as above


def look_at(vendor: Vendor, *, clock: Clock) -> str | None:
    """Poll one HR system where it can be polled, and note how that went; returns what went wrong."""
    error: str | None = None
    unheard: str | None = None
    polls = vendor.description.poll is not None
    try:
        if polls:
            _, unread = poll(vendor, clock=clock)
            error = f"{len(unread)} records could not be read" if unread else None
            unheard = in_transaction(lambda session: _unheard(session, vendor, unread))
    except (ConnectorError, NotConnected, KeyMissing) as failure:
        error, polls = str(failure), False
        log.warning("source %s: %s", vendor.source.id, failure)
    in_transaction(lambda session: _note(session, vendor, error, unheard=unheard, polled=polls, at=clock()))
    return error


def poll(vendor: Vendor, *, clock: Clock) -> tuple[int, list[dict[str, Any]]]:
    """Read everybody's record and act on what is news; returns how many records there were, and which could not be read.

    Nobody is taken out because they are not in the list: only what a record says counts. Raises ConnectorError, NotConnected.
    """
    people: dict[str, list[tuple[Said, dict[str, Any]]]] = {}
    seen, unread = 0, list[dict[str, Any]]()
    for row in vendor.api().everybody():
        seen += 1
        try:
            said = vendor.record(row, at=clock())
        except BadCall as error:
            assert vendor.description.record is not None
            log.warning("a record of source %s is %s", vendor.source.id, not_understood(vendor.description.record, row, NOTHING_AROUND, error))
            unread.append(row)
            continue
        if said.key is not None and said.event is not Event.NOTHING:
            # Somebody who came back may have a second record under another id: it is the number that makes them one person.
            people.setdefault(f"number {said.number}" if said.number else f"key {said.key}", []).append((said, row))
    names = sorted(people)
    for start in range(0, len(names), AT_ONCE):
        part = [people[name] for name in names[start : start + AT_ONCE]]
        in_transaction(lambda session, part=part: _reconcile(session, vendor, part, at=clock()))  # type: ignore[misc]  # defaults bind the loop's values
    return seen, unread


def _reconcile(session: Session, vendor: Vendor, part: Sequence[Rows], *, at: datetime) -> None:
    source = session.get_one(Source, (vendor.source.organization_id, vendor.source.id))
    if source.ended_at is not None:
        # It was given up while it was read.
        return
    known = known_by(session, vendor, [said.key for rows in part for said, _ in rows])
    for rows in part:
        records = still_said([said for said, _ in rows], known)
        if all(key in known and known[key].said == said for key, said in kept_of(records).items()):
            continue
        digest = digest_of(records)
        for number, news in enumerate(news_of(session, vendor, records, at=at)):
            # One after the other: of two words that were said at the same instant neither would be the later.
            _keep(session, vendor, source, news, [row for _, row in rows], digest=digest, at=at + timedelta(microseconds=number))
        session.flush()
        remember(session, vendor, records, at=at)


def _keep(session: Session, vendor: Vendor, source: Source, news: Said, rows: list[dict[str, Any]], *, digest: str, at: datetime) -> None:
    """One piece of news, kept like a call. That of somebody unknown waits for them without an alarm: lists name leavers of years."""
    raw = json.dumps(rows, sort_keys=True)
    linked = bool(known_by(session, vendor, [news.key]))
    # What was said last is only kept of somebody who is linked. Of others each poll says it again, and it is one piece of news all the same.
    same = hashlib.sha256(f"{news.key} {news.digest} {digest}".encode()).hexdigest()
    event_id = f"poll:{new_id() if linked else same}"
    if session.get(HREvent, (source.organization_id, source.id, event_id)) is not None:
        return
    event = HREvent(
        organization_id=source.organization_id, source_id=source.id, event_id=event_id, received_at=at, heard_after=position(session), state="received",
        attempts=0, sha256=hashlib.sha256(raw.encode()).hexdigest(), sealed_body=seal(vendor.settings, raw), body={}, person_key=news.key, employee_id=news.number,
    )  # fmt: skip
    session.add(event)
    session.flush()
    act_on(session, source, event, news, waited=False, at=at)
    # Asked only now, when whoever was just joining has been waited for.
    if event.state == "parked" and not linked and (news.number is None or not numbered(session, source.organization_id, news.number)):
        event.state, event.problem = "awaited", None


def _claim(session: Session, key: tuple[str, str], *, at: datetime) -> bool:
    mine = (HRSystem.organization_id == key[0], HRSystem.source_id == key[1], HRSystem.look_again_at <= at)
    done = session.execute(update(HRSystem).where(*mine).values(look_again_at=at + ALONE).execution_options(synchronize_session=False))
    return bool(done.rowcount)  # type: ignore[attr-defined]  # every UPDATE has one; the stub names the wider class


def _unheard(session: Session, vendor: Vendor, unread: Sequence[dict[str, Any]]) -> str | None:
    """What is to be told of records that could not be read: whoever has one and is somebody here may have left. Of nobody else's is anybody told.

    Who it is, and what stands there, is not for everybody who sees alarms: the log says it.
    """
    reading = vendor.description.record
    assert reading is not None
    said = [(_text(row, reading.key), _text(row, reading.number)) for row in unread]
    theirs = 0
    for start in range(0, len(said), AT_ONCE):
        part = said[start : start + AT_ONCE]
        known = known_by(session, vendor, [key for key, _ in part])
        numbers = set(
            session.scalars(
                select(Record.employee_number).where(
                    Record.organization_id == vendor.source.organization_id, Record.employee_number.in_([number for _, number in part if number is not None])
                )
            )
        )
        theirs += sum(key in known or (number is not None and number in numbers) for key, number in part)
    who = "1 person" if theirs == 1 else f"{theirs} people"
    return f"the records of {who} here could not be read; the log says which" if theirs else None


def _text(row: dict[str, Any], place: Place) -> str | None:
    try:
        return text_at(row, place)
    except BadCall:
        return None


def _note(session: Session, vendor: Vendor, error: str | None, *, unheard: str | None, polled: bool, at: datetime) -> None:
    row = session.get_one(HRSystem, (vendor.source.organization_id, vendor.source.id))
    question = vendor.description.poll
    row.last_error, row.look_again_at = error, at + (question.every if question is not None else LOOK_EVERY)
    if polled:
        row.polled_at = at
    if session.get_one(Source, (row.organization_id, row.source_id)).ended_at is not None:
        # Nobody waits for what was given up while it was read.
        return
    why = _silence(vendor, row, at=at) or unheard
    if why is not None and not row.alarmed:
        _alarm(session, vendor.source, why, at=at)
    elif why is None and row.alarmed:
        settle_alarm(session, row.organization_id, kind=AlarmKind.SOURCE_SILENT, about=row.source_id, at=at)
    row.alarmed = why is not None


def _fail(session: Session, key: tuple[str, str], why: str, *, at: datetime) -> None:
    """Note that a system could not even be looked at. There is nothing to wait for: somebody is told at once."""
    row = session.get_one(HRSystem, key)
    row.last_error, row.look_again_at = why, at + LOOK_EVERY
    if not row.alarmed:
        _alarm(session, session.get_one(Source, key), why, at=at)
    row.alarmed = True


def _alarm(session: Session, source: Source, why: str, *, at: datetime) -> None:
    sentence = f"{source.name}: {why}."
    raise_alarm(session, source.organization_id, kind=AlarmKind.SOURCE_SILENT, about=source.id, sentence=sentence, at=at)


def _silence(vendor: Vendor, row: HRSystem, *, at: datetime) -> str | None:
    """What is missing: its calls for longer than the description allows, or an answer of its API."""
    allowed = vendor.description.silent_after
    heard = row.heard_at or row.created_at
    if vendor.description.event is not None and allowed is not None and at - heard > allowed:
        return f"no call has come for {(at - heard).days} days; its webhook may have ended with the account that made it"
    if vendor.description.poll is not None and at - (row.polled_at or row.created_at) > max(AWAY_FOR, 3 * vendor.description.poll.every):
        return f"its records could not be read: {row.last_error}"
    return None
