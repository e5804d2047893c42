"""Break-glass accounts: named people who may come in while their identity provider does not answer. There are none unless one is added.

There is no password. Somebody comes in with a security key that asks for a PIN or a finger, or with a one-time code from
an envelope and the code of an authenticator app (docs/decisions/0020-break-glass.md).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.access import factors, sessions
from app.access.factor_tables import BreakGlassAccount, CodePurpose, Factor, FactorKind, OneTimeCode
from app.access.factors import BadFactor
from app.access.session_tables import WebSession
from app.access.sessions import Authenticated, Present
from app.access.spent import spend
from app.actors import Actor, ActorKind
from app.database import in_transaction, new_id
from app.directory.tables import Person, Standing
from app.journal import entries
from app.journal.tables import Lane
from app.lifecycle.errors import NotFound, Taken
from app.lifecycle.people import lock_person
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import raise_alarm
from app.revocation.tables import Departure
from app.revocation.telling import tell_parties
from app.settings import Settings
from app.sso.entering import Entered, admit, refuse_while_closed, refuse_without_access
from app.sso.limits import limits_of
from app.sso.refusals import Reason, Refused

SET_UP_WITHIN: Final = timedelta(hours=24)
ENVELOPE: Final = 8
"""How many one-time codes somebody is given to keep."""
FREE_TRIES: Final = 5
LONGEST_BLOCK: Final = timedelta(hours=24)
CHALLENGE_GOOD_FOR: Final = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An account as it is listed. `closed_at` is when a departure closed it: a return does not open it again."""

    account: BreakGlassAccount
    person: Person
    factors: tuple[str, ...]
    codes_left: int
    closed_at: datetime | None


def add(session: Session, organization_id: str, person_id: str, *, actor: Actor, at: datetime) -> tuple[BreakGlassAccount, str]:
    """An account for somebody who stands, and the code to set it up with, shown this once. Raises Taken where there is one."""
    person = lock_person(session, organization_id, person_id)
    if person.standing != Standing.ACTIVE:
        raise Taken("person", person.user_name, f"{person.user_name} has no access; nothing was added")
    standing = _account(session, organization_id, person_id)
    if standing is not None and _closed_at(session, standing) is None:
        raise Taken("person", person.user_name, f"{person.user_name} has a break-glass account already")
    if standing is not None:
        _end(session, standing, at=at)
    factors.end_factors(session, organization_id, person_id, at=at)
    account = BreakGlassAccount(
        organization_id=organization_id, id=new_id(), person_id=person_id, added_by=str(actor), added_at=at, failures=0
    )
    _journal(session, person, "break-glass added", actor=actor, at=at)
    session.add(account)
    session.flush()
    return account, _set_up_code(session, account, at=at)


def set_up_code(session: Session, account: BreakGlassAccount, *, actor: Actor, at: datetime) -> str:
    """Another code, good for a day, to set a factor up with. Raises Taken for an account that a departure closed."""
    person = lock_person(session, account.organization_id, account.person_id)
    if _closed_at(session, account) is not None:
        raise Taken("person", person.user_name, f"a departure closed the break-glass account of {person.user_name}: add it anew, if they may")
    _journal(session, person, "break-glass code given", actor=actor, at=at)
    return _set_up_code(session, account, at=at)


def _set_up_code(session: Session, account: BreakGlassAccount, *, at: datetime) -> str:
    given = factors.give_codes(
        session, account.organization_id, account.person_id, purpose=CodePurpose.SET_UP, count=1, at=at, good_for=SET_UP_WITHIN
    )
    return given[0]


def find(session: Session, organization_id: str, person_id: str) -> BreakGlassAccount:
    """The account of a person that has not ended. Raises NotFound."""
    account = _account(session, organization_id, person_id)
    if account is None:
        raise NotFound("break-glass account of", person_id)
    return account


def end(session: Session, account: BreakGlassAccount, *, actor: Actor, at: datetime) -> None:
    """The account, its factors and codes are over, and so is every session that it opened and whatever was granted from there."""
    person = lock_person(session, account.organization_id, account.person_id)
    entry = _journal(session, person, "break-glass ended", actor=actor, at=at)
    _end(session, account, at=at)
    factors.end_factors(session, account.organization_id, account.person_id, at=at)
    sessions.end_by_break_glass(session, account.organization_id, account.person_id, why="its break-glass account was ended", at=at)
    tell_parties(session, account.organization_id, account.person_id, because=entry, at=at, lane=Lane.SYNC)


def accounts(session: Session, organization_id: str) -> list[Listed]:
    """Every account that has not ended, by name."""
    rows = session.execute(
        select(BreakGlassAccount, Person)
        .join(Person, (Person.organization_id == BreakGlassAccount.organization_id) & (Person.id == BreakGlassAccount.person_id))
        .where(BreakGlassAccount.organization_id == organization_id, BreakGlassAccount.ended_at.is_(None))
        .order_by(Person.user_name)
    ).all()
    return [
        Listed(
            account=account, person=person, closed_at=_closed_at(session, account),
            factors=tuple(one.kind for one in factors.factors_of(session, organization_id, person.id)),
            codes_left=factors.codes_left(session, organization_id, person.id),
        )
        for account, person in rows
    ]  # fmt: skip


def any_stands(session: Session) -> bool:
    """Whether there is any such account here; where there is none, there is no such door."""
    return session.scalar(select(BreakGlassAccount.id).where(BreakGlassAccount.ended_at.is_(None)).limit(1)) is not None


def who_sets_up(session: Session, code: str, *, at: datetime) -> Person | None:
    """Whose set-up code this is; it is not used up by asking."""
    found = factors.find_code(session, code, purpose=CodePurpose.SET_UP, at=at)
    account = None if found is None else _account(session, found.organization_id, found.person_id)
    if found is None or account is None or _closed_at(session, account) is not None:
        return None
    return session.get(Person, (found.organization_id, found.person_id))


def set_up_app(settings: Settings, code: str, *, secret: str, typed: str, at: datetime) -> list[str] | Refused:
    """Keep an authenticator app that shows the right code; the codes for the envelope come back, shown this once."""
    step = factors.step_of(secret, typed, at=at)
    if step is None:
        return Refused(Reason.NOT_KNOWN, "the authenticator app shows another code: is its clock right?")

    def act(session: Session, person: Person) -> list[str]:
        factors.add_totp(session, settings, person.organization_id, person.id, secret=secret, step=step, at=at)
        return factors.give_codes(session, person.organization_id, person.id, purpose=CodePurpose.SIGN_IN, count=ENVELOPE, at=at)

    return _set_up(code, FactorKind.TOTP, act, at=at)


def set_up_key(settings: Settings, code: str, *, credential: str, challenge: bytes, at: datetime) -> list[str] | Refused:
    """Keep a security key that has proved itself. It needs no codes beside it."""
    try:
        key = factors.new_key(settings, credential, challenge=challenge)
    except BadFactor as error:
        return Refused(Reason.NOT_KNOWN, str(error))

    def act(session: Session, person: Person) -> list[str]:
        factors.add_key(session, person.organization_id, person.id, key, at=at)
        return []

    return _set_up(code, FactorKind.SECURITY_KEY, act, at=at)


def _set_up(code: str, kind: FactorKind, act: Callable[[Session, Person], list[str]], *, at: datetime) -> list[str] | Refused:
    def inside(session: Session) -> list[str] | Refused:
        person = who_sets_up(session, code, at=at)
        found = factors.find_code(session, code, purpose=CodePurpose.SET_UP, at=at)
        if person is None or found is None:
            return Refused(Reason.NOT_KNOWN, "no such code to set up with, or it was used or is older than a day")
        person = lock_person(session, person.organization_id, person.id)
        try:
            refuse_without_access(person, connection_id=None, at=at)
        except Refused as error:
            return error
        if not factors.use_code(session, found, at=at):
            return Refused(Reason.USED_BEFORE, "the code was used at the same moment")
        entries.write(
            session, person.organization_id, at=at, actor=Actor(kind=ActorKind.PERSON, name=person.id), verb="factor added",
            because="set up for break-glass", subject_kind="person", subject_id=person.id, after={"kind": kind},
        )  # fmt: skip
        return act(session, person)

    return in_transaction(inside)


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """How somebody comes: with which browser, instead of which session, and where to."""

    agent: str
    address: str
    replaces: Present | None
    return_to: str


def enter_by_code(settings: Settings, code: str, typed: str, *, arrival: Arrival, at: datetime) -> Entered | Refused:
    """Come in with a one-time code and the code of an authenticator app. What was tried in vain stays counted."""

    def act(session: Session) -> Entered | Refused:
        found = factors.find_code(session, code, purpose=CodePurpose.SIGN_IN, at=at)
        if found is None:
            return Refused(Reason.NOT_KNOWN, "no such one-time code, or it was used")
        return _try(session, found.organization_id, found.person_id, lambda: _by_code(session, settings, found, typed, at=at), arrival=arrival, at=at)

    return in_transaction(act)


def _by_code(session: Session, settings: Settings, found: OneTimeCode, typed: str, *, at: datetime) -> tuple[str, ...] | None:
    apps = [one for one in factors.factors_of(session, found.organization_id, found.person_id) if one.kind == FactorKind.TOTP]
    right = any(factors.use_totp(session, settings, one, typed, at=at) for one in apps)
    # Only a right code of the app uses the other one up: a slip of the finger costs a try and no code.
    return ("otp", "mfa") if right and factors.use_code(session, found, at=at) else None


def enter_by_key(settings: Settings, credential: str, *, challenge: bytes, arrival: Arrival, at: datetime) -> Entered | Refused:
    """Come in with a security key. The challenge must be one of ours for this browser; it counts once."""

    def act(session: Session) -> Entered | Refused:
        key = factors.find_key(session, credential)
        if key is None:
            return Refused(Reason.NOT_KNOWN, "nobody has set up such a security key")
        return _try(
            session, key.organization_id, key.person_id, lambda: _by_key(session, settings, key, credential, challenge, at=at),
            arrival=arrival, at=at,
        )  # fmt: skip

    return in_transaction(act)


def _by_key(session: Session, settings: Settings, key: Factor, credential: str, challenge: bytes, *, at: datetime) -> tuple[str, ...] | None:
    fresh = spend(session, key.organization_id, sender="security key", message_id=challenge.hex(), expires_at=at + 2 * CHALLENGE_GOOD_FOR)
    try:
        factors.use_key(session, settings, key, credential, challenge=challenge, at=at)
    except BadFactor:
        return None
    return ("hwk", "user", "mfa") if fresh else None


def _try(
    session: Session, organization_id: str, person_id: str, prove: Callable[[], tuple[str, ...] | None], *, arrival: Arrival, at: datetime
) -> Entered | Refused:
    """One try on one account. The person is locked, so that a departure goes first or ends what begins here."""
    person = lock_person(session, organization_id, person_id)
    account = _account(session, organization_id, person_id, lock=True)
    try:
        refuse_while_closed(session, connection_id=None, at=at)
        refuse_without_access(person, connection_id=None, at=at)
        if account is None or (closed_at := _closed_at(session, account)) is not None:
            when = "" if account is None else f" since {closed_at:%Y-%m-%d %H:%M} UTC, when access was taken"
            raise Refused(Reason.NO_ACCESS, f"the break-glass account is closed{when}", person_id=person_id)
        if account.blocked_until is not None and account.blocked_until > at:
            raise Refused(Reason.NO_ACCESS, f"too many wrong tries; blocked until {account.blocked_until:%H:%M:%S} UTC", person_id=person_id)
    except Refused as error:
        _note_refused(session, person, error, arrival, at=at)
        return error
    amr = prove()
    if amr is None:
        return _failed(session, person, account, arrival, at=at)
    account.failures, account.blocked_until, account.last_used_at = 0, None, at
    limits = limits_of(session, organization_id, break_glass=True)
    how = Authenticated(connection_id=None, at=at, amr=amr, strong=True, break_glass=True)
    before = arrival.replaces
    entered = admit(
        session, person, how, agent=arrival.agent, at=at, return_to=arrival.return_to, because=f"break-glass from {arrival.address}",
        replaces=None if before is None else session.get(WebSession, (before.organization_id, before.session_id)), limits=limits,
    )  # fmt: skip
    raise_alarm(
        session, organization_id, kind=AlarmKind.BREAK_GLASS_USED, about=entered.present.session_id,
        sentence=f"{person.display_name} ({person.user_name}) came in by break-glass from {arrival.address}", at=at,
    )  # fmt: skip
    return entered


def _failed(session: Session, person: Person, account: BreakGlassAccount, arrival: Arrival, *, at: datetime) -> Refused:
    account.failures += 1
    if account.failures >= FREE_TRIES:
        account.blocked_until = at + min(LONGEST_BLOCK, timedelta(minutes=2 ** min(account.failures - FREE_TRIES, 12)))
        raise_alarm(
            session, person.organization_id, kind=AlarmKind.BREAK_GLASS_USED, about=f"tries {account.id}",
            sentence=f"{account.failures} wrong tries to come in as {person.display_name} by break-glass, the last from {arrival.address}", at=at,
        )  # fmt: skip
    error = Refused(Reason.NOT_KNOWN, f"the second factor is wrong, {account.failures} times in a row", person_id=person.id)
    _note_refused(session, person, error, arrival, at=at)
    return error


def _note_refused(session: Session, person: Person, error: Refused, arrival: Arrival, *, at: datetime) -> None:
    entries.write(
        session, person.organization_id, at=at, actor=Actor(kind=ActorKind.PERSON, name=person.id), verb="break-glass refused",
        because=error.reason, subject_kind="person", subject_id=person.id,
        after={"reference": error.reference, "said": str(error), "from": arrival.address},
    )  # fmt: skip


def _account(session: Session, organization_id: str, person_id: str, *, lock: bool = False) -> BreakGlassAccount | None:
    query = select(BreakGlassAccount).where(
        BreakGlassAccount.organization_id == organization_id, BreakGlassAccount.person_id == person_id, BreakGlassAccount.ended_at.is_(None)
    )
    return session.scalar(query.with_for_update().execution_options(populate_existing=True) if lock else query)


def _closed_at(session: Session, account: BreakGlassAccount) -> datetime | None:
    """When a departure closed it: any since it was added, whether or not the person is back."""
    return session.scalar(
        select(Departure.decided_at)
        .where(
            Departure.organization_id == account.organization_id, Departure.person_id == account.person_id,
            Departure.decided_at >= account.added_at,
        )
        .order_by(Departure.decided_at)
        .limit(1)
    )  # fmt: skip


def _end(session: Session, account: BreakGlassAccount, *, at: datetime) -> None:
    session.execute(
        update(BreakGlassAccount)
        .where(BreakGlassAccount.organization_id == account.organization_id, BreakGlassAccount.id == account.id)
        .values(ended_at=at)
    )


def _journal(session: Session, person: Person, verb: str, *, actor: Actor, at: datetime) -> int:
    return entries.write(
        session, person.organization_id, at=at, actor=actor, verb=verb, because="operator", subject_kind="person", subject_id=person.id
    )

