"""What a signal does here: whose sessions end, whose access pauses, and what is only written down."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, assert_never

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.access import sessions
from app.actors import Actor, ActorKind
from app.directory.tables import Person, Standing, Statement, StatementKind, Voice
from app.journal import entries
from app.journal.tables import Lane
from app.lifecycle.leaving import say
from app.lifecycle.people import lock_meant
from app.lifecycle.signing_out import sign_out_everywhere
from app.lifecycle.standing import COMEBACKS
from app.revocation import telling
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import raise_alarm
from app.revocation.stream_tables import Outcome, Received
from app.revocation.tables import Departure
from app.signals.events import CAEP, RISC, SecurityEvent
from app.signals.subjects import Complex
from app.signals.whom import Everyone, Nobody, One, Scope, Whom, find, find_sign_in, identities_of

A_SECOND: Final = timedelta(seconds=1)
"""Stamps are in whole seconds: an event of the second in which somebody returned may have happened after it."""


class Effect(StrEnum):
    SIGN_OUT = "sign out"
    END_DEVICE = "end device"
    PAUSE = "pause"
    LEAVE = "leave"
    RETURN = "return"
    RECYCLE = "recycle"
    NOTE = "note"


_EFFECTS: Final = {
    f"{CAEP}session-revoked": Effect.SIGN_OUT,
    f"{CAEP}credential-change": Effect.SIGN_OUT,
    f"{CAEP}token-claims-change": Effect.SIGN_OUT,
    f"{RISC}sessions-revoked": Effect.SIGN_OUT,
    f"{RISC}credential-compromise": Effect.SIGN_OUT,
    f"{RISC}account-credential-change-required": Effect.SIGN_OUT,
    f"{RISC}account-disabled": Effect.PAUSE,
    f"{RISC}account-purged": Effect.LEAVE,
    f"{RISC}account-enabled": Effect.RETURN,
    f"{RISC}identifier-recycled": Effect.RECYCLE,
}
ACCOUNT_EVENTS: Final = tuple(event for event, effect in _EFFECTS.items() if effect in (Effect.PAUSE, Effect.LEAVE, Effect.RETURN))


@dataclass(frozen=True, kw_only=True)
class Sender:
    """On whose word something is done. `disabled_means` is what this sender's account-disabled says of somebody."""

    sender_id: str
    name: str
    scope: Scope
    disabled_means: StatementKind = StatementKind.PAUSES

    @property
    def actor(self) -> Actor:
        return Actor(kind=ActorKind.SOURCE, name=self.name)

    @property
    def said_by(self) -> str:
        """Who made a statement. With the id, since a name may be given again."""
        return f"{self.name} {self.sender_id}"


@dataclass(frozen=True, kw_only=True)
class Result:
    outcome: Outcome
    why: str
    person_id: str | None = None


def effect_of(event: SecurityEvent) -> Effect:
    """What this event asks for. Pure."""
    if event.event == f"{CAEP}device-compliance-change":
        return Effect.END_DEVICE if event.said.get("current_status") == "not-compliant" else Effect.NOTE
    return _EFFECTS.get(event.event, Effect.NOTE)


def act(session: Session, sender: Sender, event: SecurityEvent, whom: Whom, *, at: datetime) -> Result:
    """Do what an event asks for, in the caller's transaction; that it is heard once only is for the caller to see to."""
    effect = effect_of(event)
    if effect is Effect.NOTE:
        return Result(outcome=Outcome.IGNORED, why=_noted(event), person_id=whom.person_id if isinstance(whom, One) else None)
    if effect is Effect.RECYCLE:
        return _recycle(session, sender, event, whom, at=at)
    if isinstance(whom, Nobody) and not whom.known and event.event == f"{CAEP}session-revoked":
        whom = find_sign_in(session, event.subject, sender.scope) or whom
    match whom:
        case Nobody():
            return Result(outcome=Outcome.PARKED, why=whom.why)
        case Everyone():
            return _everyone(session, sender, event, effect, at=at)
        case One():
            return _one(session, sender, event, effect, whom, at=at)
        case _:
            assert_never(whom)


def _noted(event: SecurityEvent) -> str:
    if event.event == f"{RISC}identifier-changed":
        # Taken over, a signal could point somebody's account at another's address.
        return "how people are called is for their directory to say"
    return "nothing is done here for such an event"


def _one(session: Session, sender: Sender, event: SecurityEvent, effect: Effect, whom: One, *, at: datetime) -> Result:
    organization_id = sender.scope.organization_id
    person = lock_meant(session, organization_id, whom.person_id)
    if event.happened_at + A_SECOND <= _here_since(session, person, at=at):
        return Result(outcome=Outcome.IGNORED, why="it is older than the person's last return", person_id=person.id)
    match effect:
        case Effect.PAUSE | Effect.LEAVE:
            return _take(session, sender, event, effect, person, at=at)
        case Effect.RETURN:
            return _give_back(session, sender, event, person, at=at)
    if person.standing != Standing.ACTIVE:
        return Result(outcome=Outcome.IGNORED, why="the person has no access", person_id=person.id)
    because = because_of(event.event, jti=event.jti, txn=event.txn)
    if effect is Effect.END_DEVICE and whom.device_id is not None:
        sessions.end_device(session, organization_id, whom.device_id, why="not compliant", at=at)
        _narrow(session, sender, person, "device ended", because, after={"device": whom.device_id}, at=at)
        return Result(outcome=Outcome.APPLIED, why="the device was ended", person_id=person.id)
    if effect is Effect.SIGN_OUT and whom.session_ids and event.event == f"{CAEP}session-revoked":
        # Named once more now that the person is held: whoever was signing in at that moment has come in.
        again = find_sign_in(session, event.subject, sender.scope) or find(session, event.subject, sender.scope)
        named = sorted({*whom.session_ids, *(again.session_ids if isinstance(again, One) and again.person_id == person.id else ())})
        for one in named:
            sessions.end(session, organization_id, one, why=sessions.REVOKED_THERE, at=at)
        _narrow(session, sender, person, "sessions ended", because, after={"sessions": named}, at=at)
        return Result(outcome=Outcome.APPLIED, why=f"{len(named)} sessions were ended", person_id=person.id)
    sign_out_everywhere(session, organization_id, person.id, actor=sender.actor, at=at, because=because)
    return Result(outcome=Outcome.APPLIED, why="signed out everywhere", person_id=person.id)


def because_of(event: str, *, jti: str, txn: str | None) -> str:
    """Why something was done, for the journal."""
    return f"signal {event.rpartition('/')[2]} {jti}" + (f" txn {txn}" if txn else "")


def _narrow(session: Session, sender: Sender, person: Person, verb: str, because: str, *, after: dict[str, Any], at: datetime) -> None:
    entry = entries.write(
        session, person.organization_id, at=at, actor=sender.actor, verb=verb, because=because, subject_kind="person", subject_id=person.id,
        after=after,
    )  # fmt: skip
    telling.tell_parties(session, person.organization_id, person.id, because=entry, at=at, lane=Lane.DEPARTURES)


def _here_since(session: Session, person: Person, *, at: datetime) -> datetime:
    """Since when this person has been here without a gap, as far as their past is known."""
    returned = session.scalar(
        select(func.max(Departure.ended_at)).where(Departure.organization_id == person.organization_id, Departure.person_id == person.id)
    )
    if returned is not None:
        # Where a signal brought them back, it counts when that happened by the sender's clock, and not when we heard of it: what
        # happened in between is no older than it, though both came at once.
        told = session.scalar(
            select(func.max(Received.happened_at)).where(
                Received.organization_id == person.organization_id, Received.person_id == person.id, Received.event.in_(ACCOUNT_EVENTS),
                Received.outcome == Outcome.APPLIED, Received.received_at == returned,
            )
        )  # fmt: skip
        # A return in time to come was written by a clock that was ahead: when it was, nobody knows any more, and nothing is too old by it.
        returned = told or (returned if returned <= at else None)
    # Not before they came at all: an address may have been another's.
    return max(returned or person.created_at, person.created_at)


def _take(session: Session, sender: Sender, event: SecurityEvent, effect: Effect, person: Person, *, at: datetime) -> Result:
    if _outdated(session, sender, event, person):
        return Result(outcome=Outcome.IGNORED, why="a later event of this account was heard before", person_id=person.id)
    kind = StatementKind.LEAVES if effect is Effect.LEAVE else sender.disabled_means
    if any(off.said_by == sender.said_by and off.kind == kind for off in _standing_offs(session, person)):
        return Result(outcome=Outcome.IGNORED, why="it has said so already", person_id=person.id)
    say(
        session, person.organization_id, person.id, voice=Voice.SIGNAL, kind=kind, said_by=sender.said_by, effective_at=at, actor=sender.actor,
        at=at, because=because_of(event.event, jti=event.jti, txn=event.txn), received_at=at,
    )  # fmt: skip
    return Result(outcome=Outcome.APPLIED, why=f"the signal {kind} them", person_id=person.id)


def _give_back(session: Session, sender: Sender, event: SecurityEvent, person: Person, *, at: datetime) -> Result:
    """A sender takes back what it took itself: neither what a stronger voice took, nor what another stream did."""
    if _outdated(session, sender, event, person):
        return Result(outcome=Outcome.IGNORED, why="a later event of this account was heard before", person_id=person.id)
    offs = _standing_offs(session, person)
    if not offs:
        return Result(outcome=Outcome.IGNORED, why="no signal has taken this access", person_id=person.id)
    if any(off.said_by != sender.said_by for off in offs):
        # A return is of the voice as a whole, so it would undo theirs as well.
        return Result(outcome=Outcome.PARKED, why="another stream has taken this access too", person_id=person.id)
    say(
        session, person.organization_id, person.id, voice=Voice.SIGNAL, kind=StatementKind.RETURNS, said_by=sender.said_by, effective_at=at,
        actor=sender.actor, at=at, because=because_of(event.event, jti=event.jti, txn=event.txn), received_at=at,
    )  # fmt: skip
    return Result(outcome=Outcome.APPLIED, why="the signal takes back what it said", person_id=person.id)


def _standing_offs(session: Session, person: Person) -> list[Statement]:
    """What signals said against this person and nobody has undone."""
    said = session.scalars(
        select(Statement).where(
            Statement.organization_id == person.organization_id, Statement.person_id == person.id, Statement.withdrawn_at.is_(None)
        )
    ).all()
    back = [
        one
        for one in said
        if one.kind in COMEBACKS and (one.voice in (Voice.SIGNAL, Voice.OPERATOR) or one.kind == StatementKind.REHIRES)
    ]
    return [
        one
        for one in said
        if one.voice == Voice.SIGNAL and one.kind not in COMEBACKS and not any(later.said_at > one.said_at for later in back)
    ]


def _outdated(session: Session, sender: Sender, event: SecurityEvent, person: Person) -> bool:
    """Whether something that happened after it was heard first: events may arrive in any order, and the last one stands."""
    later = select(Received.jti).where(
        Received.organization_id == person.organization_id, Received.person_id == person.id, Received.sender_id == sender.sender_id,
        Received.event.in_(ACCOUNT_EVENTS), Received.outcome != Outcome.PARKED, Received.happened_at > event.happened_at,
    )  # fmt: skip
    return session.scalar(later.limit(1)) is not None


def _everyone(session: Session, sender: Sender, event: SecurityEvent, effect: Effect, *, at: datetime) -> Result:
    if effect is not Effect.SIGN_OUT:
        return Result(outcome=Outcome.PARKED, why="everybody can be signed out by one event, and nothing more")
    organization_id = sender.scope.organization_id
    # In one order everywhere, so that two of these never wait for each other.
    people = session.scalars(
        select(Person.id).where(Person.organization_id == organization_id, Person.standing == Standing.ACTIVE).order_by(Person.id)
    ).all()
    because = because_of(event.event, jti=event.jti, txn=event.txn)
    for person_id in people:
        sign_out_everywhere(session, organization_id, person_id, actor=sender.actor, at=at, because=because)
    return Result(outcome=Outcome.APPLIED, why=f"{len(people)} people were signed out everywhere")


def _recycle(session: Session, sender: Sender, event: SecurityEvent, whom: Whom, *, at: datetime) -> Result:
    """The identifier is somebody else's now: whoever was known by it is not any more, and a person has to look."""
    scope = sender.scope
    named = event.subject.members.get("user") if isinstance(event.subject, Complex) else event.subject
    ended = [] if named is None else identities_of(session, named, scope)
    because = because_of(event.event, jti=event.jti, txn=event.txn)
    for one in ended:
        one.ended_at = at
        entries.write(
            session, scope.organization_id, at=at, actor=sender.actor, verb="identity ended", because=because, subject_kind="person",
            subject_id=one.person_id, before={"issuer": one.issuer, "bound_by": one.bound_by},
        )  # fmt: skip
    session.flush()
    people = {one.person_id for one in ended} | ({whom.person_id} if isinstance(whom, One) else set())
    for person_id in sorted(people):
        sign_out_everywhere(session, scope.organization_id, person_id, actor=sender.actor, at=at, because=because)
    if not people:
        return Result(outcome=Outcome.PARKED, why="nobody is known by what was recycled")
    raise_alarm(
        session, scope.organization_id, kind=AlarmKind.IDENTIFIER_RECYCLED, about=sorted(people)[0],
        sentence=f"{sender.name} says that an identifier of {', '.join(sorted(people))} belongs to somebody else now", at=at,
    )  # fmt: skip
    return Result(
        outcome=Outcome.APPLIED, why=f"{len(ended)} identities were ended", person_id=next(iter(people)) if len(people) == 1 else None
    )
