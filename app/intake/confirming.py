"""Calls that wait for the vendor's own word: unsigned ones are confirmed before anything is done, thin ones understood."""

import logging
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.access.sealing import KeyMissing, unseal
from app.actors import Actor, ActorKind
from app.clock import Clock, now
from app.database import in_transaction, reading
from app.directory.tables import Source
from app.intake.described import act_on, must_ask, reread, with_details
from app.intake.description_types import Event
from app.intake.hr import BadCall, Call, kept, whom
from app.intake.hr_systems import take_secret
from app.intake.hr_tables import HRPerson
from app.intake.news import OUT, Vendor, known_by, news_of, remember, still_said, vendor_of
from app.intake.places import text_at
from app.intake.tables import HREvent
from app.intake.vendor_api import NotConnected
from app.intake.vendor_calls import Said, read_body
from app.settings import Settings
from connectors.contract import ConnectorError, Refused

log = logging.getLogger(__name__)

AT_ONCE: Final = 200
ALONE: Final = timedelta(minutes=2)
"""How long a piece of work may take before another process may begin it."""
FIRST_WAIT: Final = timedelta(seconds=15)
LONGEST_WAIT: Final = timedelta(minutes=30)


def work(settings: Settings, *, clock: Clock = now) -> int:
    """Work on every call that is due; returns how many. May run in several processes at once: each call is worked on by one of them."""
    with reading() as session:
        systems = session.execute(
            select(HREvent.organization_id, HREvent.source_id)
            .where(HREvent.due_at <= clock())
            .group_by(HREvent.organization_id, HREvent.source_id)
            .order_by(func.min(HREvent.due_at))
        ).all()
    return sum(_work_for(settings, organization_id, source_id, clock=clock) for organization_id, source_id in systems)


def _work_for(settings: Settings, organization_id: str, source_id: str, *, clock: Clock) -> int:
    """What is due of one system. Once its API has not answered, what has to be asked there waits for the next time: each call would take as
    long, and keep those of other systems waiting."""
    with reading() as session:
        due = session.execute(
            select(HREvent.event_id, HREvent.state)
            .where(HREvent.organization_id == organization_id, HREvent.source_id == source_id, HREvent.due_at <= clock())
            .order_by(HREvent.due_at)
            .limit(AT_ONCE)
        ).all()
    done, answers = 0, True
    for event_id, state in due:
        key = (organization_id, source_id, event_id)
        if (answers or state == "waiting") and in_transaction(lambda session, key=key: _claim(session, key, at=clock())):  # type: ignore[misc]  # defaults bind the loop's values
            answers = _attend_to(settings, key, clock=clock) and answers
            done += 1
    return done


def _claim(session: Session, key: tuple[str, str, str], *, at: datetime) -> bool:
    which = (HREvent.organization_id == key[0], HREvent.source_id == key[1], HREvent.event_id == key[2], HREvent.due_at <= at)
    done = session.execute(update(HREvent).where(*which).values(due_at=at + ALONE).execution_options(synchronize_session=False))
    return bool(done.rowcount)  # type: ignore[attr-defined]  # every UPDATE has one; the stub names the wider class


def _attend_to(settings: Settings, key: tuple[str, str, str], *, clock: Clock) -> bool:
    """Work on one call; returns False where its vendor did not answer. Whatever is wrong with it, the others have their turn."""
    try:
        return _work_on(settings, key, clock=clock)
    except DBAPIError as failure:
        # It is due again soon; the database may have been away for a moment.
        log.error("HR call of source %s: the database failed: %s", key[1], failure.__class__.__name__)
    except Exception as failure:
        # Nothing that was foreseen: a person has to look.
        log.error("HR call of source %s could not be worked on", key[1], exc_info=failure)
        problem = f"it could not be worked on ({failure.__class__.__name__}); the log says more"
        in_transaction(lambda session: _close(session, key, "parked", problem))
    return True


def _work_on(settings: Settings, key: tuple[str, str, str], *, clock: Clock) -> bool:
    with reading() as session:
        event = session.get_one(HREvent, key)
    try:
        vendor = vendor_of(settings, key[0], key[1])
        if vendor is None:
            in_transaction(lambda session: _close(session, key, "dropped", "its HR system was disconnected"))
        elif event.state == "waiting":
            in_transaction(lambda session: _come_due(session, key, at=clock()))
        elif event.body.get("type") == "handshake":
            _shake_hands(vendor, event, clock=clock)
        else:
            _understand(vendor, event, clock=clock)
    except (BadCall, NotConnected, Refused) as error:
        # Asking again would be answered the same.
        sentence = str(error)
        in_transaction(lambda session: _close(session, key, "parked", sentence))
    except (ConnectorError, KeyMissing) as error:
        problem = f"not confirmed yet: {error}"
        log.warning("HR call of source %s: %s", key[1], problem)
        in_transaction(lambda session: _put_off(session, key, problem, at=clock()))
        return False
    return True


def _body_of(vendor: Vendor, event: HREvent) -> bytes:
    if event.sealed_body is None:
        raise BadCall("what was sent is not kept any more")
    return unseal(vendor.settings, event.sealed_body).encode()


def _understand(vendor: Vendor, event: HREvent, *, clock: Clock) -> None:
    """Read a stored call anew, ask about its person where that is needed, and act."""
    hint = reread(vendor.description, event, _body_of(vendor, event), time_zone=vendor.time_zone, at=event.received_at)
    with reading() as session:
        asks = must_ask(session, vendor.description, vendor.source, hint)
    if not asks:
        in_transaction(lambda session: _act(session, vendor, event, hint, record=None, at=clock()))
        return
    assert hint.key is not None
    row = vendor.api().one(hint.key)
    record = vendor.record(row, at=clock()) if row is not None else None
    in_transaction(lambda session: _decide(session, vendor, event, hint, record, at=clock()))


def _decide(session: Session, vendor: Vendor, event: HREvent, hint: Said, record: Said | None, *, at: datetime) -> None:
    """A signed word that is whole stands, and the record only adds who is meant. Else the record decides, or nothing is done."""
    name = vendor.description.vendor
    if record is not None and not vendor.description.confirms and not hint.fetch:
        _act(session, vendor, event, with_details(hint, record), record=None, at=at)
    elif record is not None:
        (record,) = still_said([record], known_by(session, vendor, [record.key]))
        news = news_of(session, vendor, [record], at=at)
        if news:
            # One call is one word: of two the one that takes.
            _act(session, vendor, event, news[-1], record=record, at=at)
        else:
            _close(session, _key(event), "ignored", f"{name} says nothing new of them: {record.event}")
            remember(session, vendor, [record], at=at)
    elif (
        vendor.description.details is not None and vendor.description.details.missing_is_gone and hint.event in OUT and hint.key is not None
    ):
        # An address that is wrong answers *not there* for everybody. So only somebody counts as gone of whom it has told before.
        if session.get(HRPerson, (event.organization_id, event.source_id, hint.key)) is None:
            _close(session, _key(event), "parked", f"{name} knows nobody by this id, and never told us of them")
        else:
            _act(session, vendor, event, hint, record=None, at=at)
    else:
        _close(session, _key(event), "parked", f"{name} knows nobody by this id")


def _act(session: Session, vendor: Vendor, event: HREvent, said: Said, *, record: Said | None, at: datetime) -> None:
    row = session.get_one(HREvent, _key(event), with_for_update=True)
    if row.state != "received":
        return
    act_on(session, session.get_one(Source, (row.organization_id, row.source_id)), row, said, waited=True, at=at)
    if record is not None:
        session.flush()
        remember(session, vendor, [record], at=at)


def _come_due(session: Session, key: tuple[str, str, str], *, at: datetime) -> None:
    """Somebody comes back on this day. Unless HR has said something else of them since, which counts."""
    row = session.get_one(HREvent, key, with_for_update=True)
    if row.state != "waiting":
        return
    call = kept(session, row)
    assert call is not None
    if _said_since(session, row, call):
        _close(session, key, "ignored", "HR has said something else of them since")
        return
    said = Said(event=Event.REHIRED, key=row.person_key, number=row.employee_id, email=call.work_email, engagement=call.engagement)
    act_on(session, session.get_one(Source, key[:2]), row, said, waited=True, at=at)


def _said_since(session: Session, row: HREvent, call: Call) -> bool:
    """Whether HR has said anything later of this person, by whichever of their ids; also that they come back on another day."""
    linked = None if row.person_key is None else session.get(HRPerson, (row.organization_id, row.source_id, row.person_key))
    person_id = linked.person_id if linked is not None else None
    if person_id is None and call.employee_id is not None:
        person_id, _ = whom(session, row.organization_id, call.employee_id, work_email=call.work_email)
    by = ((HREvent.person_key, row.person_key), (HREvent.employee_id, call.employee_id), (HREvent.person_id, person_id))
    later = select(HREvent.event_id).where(
        HREvent.organization_id == row.organization_id, HREvent.source_id == row.source_id, _came_after(row),
        HREvent.state.in_(("applied", "waiting")),
    )  # fmt: skip
    # One after the other, each by its index: asked for any of them at once, the database reads all calls that there were.
    return any(session.scalar(later.where(column == value).limit(1)) is not None for column, value in by if value is not None)


def _came_after(row: HREvent) -> ColumnElement[bool]:
    """Calls that came later than this one: further on in the journal, and between two of its entries by the clock."""
    if row.heard_after is None:
        return (HREvent.received_at > row.received_at) | HREvent.heard_after.is_not(None)
    return (HREvent.heard_after > row.heard_after) | ((HREvent.heard_after == row.heard_after) & (HREvent.received_at > row.received_at))


def _shake_hands(vendor: Vendor, event: HREvent, *, clock: Clock) -> None:
    handshake = vendor.description.handshake
    document = read_body(vendor.description, _body_of(vendor, event))
    token = None if handshake is None else text_at(document, handshake.token)
    if token is None:
        raise BadCall(f"{vendor.description.vendor} gives no secret in this way any more")
    vendor.api().give_back(document)

    def act(session: Session) -> None:
        source = session.get_one(Source, (event.organization_id, event.source_id))
        actor = Actor(kind=ActorKind.SOURCE, name=source.name)
        take_secret(
            session, source, token, settings=vendor.settings, actor=actor, at=clock(), because=f"handshake of {vendor.description.vendor}"
        )
        _close(session, _key(event), "applied", None)
        # It holds the secret, which is sealed with the source by now.
        session.get_one(HREvent, _key(event)).sealed_body = None

    in_transaction(act)


def _key(event: HREvent) -> tuple[str, str, str]:
    return (event.organization_id, event.source_id, event.event_id)


def _close(session: Session, key: tuple[str, str, str], state: str, problem: str | None) -> None:
    row = session.get_one(HREvent, key, with_for_update=True)
    row.state, row.problem, row.due_at = state, problem, None


def _put_off(session: Session, key: tuple[str, str, str], problem: str, *, at: datetime) -> None:
    row = session.get_one(HREvent, key, with_for_update=True)
    row.problem, row.attempts = problem, row.attempts + 1
    row.due_at = at + min(FIRST_WAIT * 2 ** min(row.attempts - 1, 10), LONGEST_WAIT)
