"""Handing over channels of a workspace that are not ours: without their owner nobody there could look after them any more.

They can only be given to somebody else while the leaver's account is there. So that is locked, which ends all of its access, and is
deactivated once it is known of each of its channels what becomes of it. Nothing of this keeps *shut* waiting.
"""

import logging
import time
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.closed import why_closed
from app.access.tables import RESERVED, Account
from app.audit import deeds
from app.audit.lag import audit_is_behind
from app.clock import Clock
from app.database import in_transaction, reading
from app.delivery.permits import LAST_GIFT_BEFORE_LEASE
from app.delivery.wanted import NotYet
from app.delivery.workspaces import halted
from app.directory.settings import handover_order, value_of
from app.directory.tables import Person, Standing
from app.journal.tables import Lane, Subject
from app.journal.work import PRIORITY, Claim, most_urgent
from app.lifecycle import handover
from app.lifecycle.handover_tables import HandedChannel, Handover, HandoverPlace, Heir, Outcome
from app.revocation import departures
from app.revocation.tables import Departure
from app.rules.tables import Room
from connectors.contract import (
    AccountId,
    AccountState,
    ChannelRef,
    Conflict,
    ConnectorError,
    EndsSessions,
    HandsOver,
    HoldsChannels,
    Led,
    Missing,
    Permit,
    Refused,
    Target,
    Unreachable,
    Withdrawn,
)

log = logging.getLogger(__name__)

SECONDS_AT_ONCE: Final = 2.0
"""Then others who have left have their turn, and it goes on behind them."""
PATIENCE: Final = 5
"""Failures at one channel, or at the list of them, after which it is left as it is, and the account is deactivated all the same."""


class LeftInChannels(NotYet):
    """Shut, and still in channels that somebody else is to have first."""


def shut(taken: Claim, departure: Departure, target: Target, account_id: AccountId, *, clock: Clock) -> bool:
    """End all access of an account. True where it is left in channels that somebody else is to have first: else it is deactivated already."""
    if not isinstance(target, HandsOver) or not isinstance(target, HoldsChannels) or departure.means != Standing.DEPARTED:
        target.deactivate_account(account_id)
        return False
    joined = target.lock_account(account_id)
    ours, others = parted(taken, joined or frozenset())
    if (joined is not None and not others) or not _hands_over(taken, departure):
        target.deactivate_locked(account_id)
        return False
    try:
        if isinstance(target, EndsSessions):
            target.end_sessions(account_id)
    except ConnectorError as error:
        # Deactivating ends them as well. Channels are nothing that access waits for.
        why = f"had to be deactivated at once: {error}"
        in_transaction(lambda session: begin_place(session, taken, departure, at=clock(), given_up=why))
        target.deactivate_locked(account_id)
        return False
    if ours:
        # That ends a connection which was open before the lock, and would let one more message pass.
        try:
            target.remove_members(min(ours), [account_id])
        except ConnectorError as error:
            log.warning("%s could not be taken out of a channel: %s", account_id, error)
    return True


def deactivate(target: Target, account_id: AccountId) -> None:
    """End an account that was only locked so far. Looked at first: it is asked for again and again until it has left its channels."""
    seen = target.get_account(account_id)
    if seen is not None and seen.state is not AccountState.DEACTIVATED:
        target.deactivate_account(account_id)


def parted(taken: Claim, joined: frozenset[ChannelRef]) -> tuple[frozenset[ChannelRef], frozenset[ChannelRef]]:
    """Which of these channels the rules have made, and which they have not."""
    if not joined:
        return frozenset(), frozenset()
    with reading() as session:
        refs = session.scalars(
            select(Room.ref).where(Room.organization_id == taken.organization_id, Room.workspace_id == taken.workspace_id, Room.ref.in_(sorted(joined)))
        ).all()
    ours = frozenset(ChannelRef(ref) for ref in refs if ref is not None)
    return ours, joined - ours


def _hands_over(taken: Claim, departure: Departure) -> bool:
    """Whether anything is handed over here: asked only of whoever is in channels that are not ours."""
    with reading() as session:
        place = handover.place_of(session, taken.organization_id, departure.id, taken.workspace_id)
        if place is not None:
            return place.done_at is None
        named = session.get(Heir, (taken.organization_id, taken.subject_id)) is not None or handover.begun(session, departure) is not None
        return named or bool(handover_order(value_of(session, taken.organization_id, "handover")))


def begin_place(session: Session, taken: Claim, departure: Departure, *, at: datetime, given_up: str | None = None) -> None:
    """Write down that the account stays locked until its channels are handed over; or with `given_up` why they are not."""
    place = handover.place_of(session, taken.organization_id, departure.id, taken.workspace_id)
    if place is None:
        place = HandoverPlace(
            organization_id=taken.organization_id, departure_id=departure.id, workspace_id=taken.workspace_id, begun_at=at, upto="", attempts=0
        )
        session.add(place)
    if given_up is not None:
        place.done_at, place.last_error = at, given_up
    session.flush()


def hand_over(taken: Claim, target: Target, *, clock: Clock) -> None:
    """Hand over some of the leaver's channels, and write down when it was the last. Raises ConnectorError where it has to be tried again.

    Whoever is still to be shut out comes first, before each channel. What fails again and again is left as it is: nobody stays half
    shut out for the sake of a channel.
    """
    until = time.monotonic() + SECONDS_AT_ONCE
    with reading() as session:
        if why_closed(session) is not None or audit_is_behind(session, at=clock()):
            # Nothing is given meanwhile; that they are shut out is known already.
            return
        if _others_wait(session, at=clock()):
            return
        departure = departures.current(session, taken.organization_id, taken.subject_id)
        place = None if departure is None else handover.place_of(session, taken.organization_id, departure.id, taken.workspace_id)
        row = session.get(Account, (taken.organization_id, taken.workspace_id, taken.subject_id))
    if departure is None or place is None or place.done_at is not None:
        return
    try:
        waiting = _waiting(taken, target, place, row)
    except (Unreachable, Refused, Conflict, Missing) as error:
        _failed(taken, departure, error, listing=True, at=clock())
        raise
    for number, (account_id, ref) in enumerate(waiting):
        if number:
            with reading() as session:
                if time.monotonic() > until or _others_wait(session, at=clock()):
                    return
        _one(taken, target, departure, account_id, ref, clock=clock)
    in_transaction(lambda session: _close(session, taken, departure, at=clock()))


def _others_wait(session: Session, *, at: datetime) -> bool:
    """Whether anybody waits to be shut out for the first time: what was tried already, and handing over itself, comes behind that."""
    return session.scalar(most_urgent((Lane.DEPARTURES,), halted, PRIORITY[Subject.ACCOUNT]), {"at": at}) is not None


def _waiting(taken: Claim, target: Target, place: HandoverPlace, row: Account | None) -> list[tuple[AccountId, ChannelRef]]:
    """The channels of which it is not known yet what becomes of them, in the order in which they are gone through."""
    assert isinstance(target, HoldsChannels)
    marked = target.find_account(taken.subject_id)
    accounts = {AccountId(row.account_id)} if row is not None and row.state != RESERVED else set()
    accounts |= {marked.id} if marked is not None else set()
    found = [(account_id, ref) for account_id in accounts for ref in parted(taken, target.channels_of(account_id))[1]]
    return sorted((one for one in found if _key(*one) > place.upto), key=lambda one: _key(*one))


def _key(account_id: AccountId, ref: ChannelRef) -> str:
    return f"{account_id} {ref}"


def _one(taken: Claim, target: Target, departure: Departure, account_id: AccountId, ref: ChannelRef, *, clock: Clock) -> None:
    assert isinstance(target, HandsOver)
    key = _key(account_id, ref)
    led: Led | None = None
    try:
        led = target.led_by(ref, account_id)
        line = None if led is None or led.direct else _decide(taken, target, departure, led, clock=clock)
    except Unreachable as error:
        if not _failed(taken, departure, error, listing=False, at=clock()):
            raise
        line = _line(taken, departure, ref, led, Outcome.COULD_NOT, because=str(error), at=clock())
    except (Refused, Conflict, Missing) as error:
        line = _line(taken, departure, ref, led, Outcome.COULD_NOT, because=str(error), at=clock())
    in_transaction(lambda session: _write(session, taken, departure, key, line, at=clock()))


def _decide(taken: Claim, target: Target, departure: Departure, led: Led, *, clock: Clock) -> HandedChannel:
    """What becomes of one channel that the leaver owns. Raises ConnectorError."""
    assert isinstance(target, HandsOver)

    def look(session: Session) -> tuple[frozenset[AccountId], Handover | None, Person | None, Account | None]:
        person = session.get_one(Person, (taken.organization_id, taken.subject_id))
        begun = handover.begin(session, departure, person, at=clock())
        heir = None if begun is None else handover.heir_now(session, begun, at=clock())
        account = None if heir is None else session.get(Account, (taken.organization_id, taken.workspace_id, heir.id))
        return _with_access(session, taken, led.others), begun, heir, account

    others, begun, heir, account = in_transaction(look)
    if others:
        return _line(taken, departure, led.ref, led, Outcome.OTHERS_OWN_IT, because=", ".join(sorted(others)), at=clock())
    if led.company == 0:
        # Notes to themselves are nobody else's.
        return _line(taken, departure, led.ref, led, Outcome.NOBODY_IN_IT, because=None, at=clock())
    if heir is None:
        why = begun.how if begun is not None else "the organisation hands nothing over any more"
        return _line(taken, departure, led.ref, led, Outcome.COULD_NOT, because=why, at=clock())
    if account is None or account.state != AccountState.ACTIVE:
        why = f"{heir.user_name} has no account in {target.name}"
        return _line(taken, departure, led.ref, led, Outcome.COULD_NOT, because=why, at=clock())
    to = AccountId(account.account_id)
    arrival = target.hand_over(led.ref, to, permit=_permit(taken, departure, heir, clock=clock))
    line = _line(taken, departure, led.ref, led, Outcome.HANDED_OVER, because=None, at=clock())
    line.to_person_id, line.to_account, line.arrival = heir.id, to, arrival
    return line


def _with_access(session: Session, taken: Claim, others: frozenset[AccountId]) -> frozenset[AccountId]:
    """Those who go on owning it: of two who leave at the same time each would else count on the other."""
    out = session.scalars(
        select(Account.account_id)
        .join(Person, (Person.organization_id == Account.organization_id) & (Person.id == Account.person_id))
        .where(
            Account.organization_id == taken.organization_id, Account.workspace_id == taken.workspace_id, Account.account_id.in_(sorted(others)),
            Person.standing == Standing.DEPARTED,
        )
    )  # fmt: skip
    return others - {AccountId(one) for one in out}


def _permit(taken: Claim, departure: Departure, heir: Person, *, clock: Clock) -> Permit:
    """Allows the gift while the heir has access, the leaver has not come back, and the claim is surely still ours."""

    def permit() -> None:
        now = clock()
        if now > taken.lease_until - LAST_GIFT_BEFORE_LEASE:
            raise Withdrawn("the lease is running out")
        with reading() as session:
            if (why := why_closed(session)) is not None:
                raise Withdrawn(f"nothing is given: {why}")
            current = departures.current(session, taken.organization_id, taken.subject_id)
            there = session.get(Person, (taken.organization_id, heir.id), populate_existing=True)
        if current is None or current.id != departure.id:
            raise Withdrawn(f"person {taken.subject_id} came back meanwhile")
        if there is None or there.access_epoch != heir.access_epoch or not handover.may_take_over(there, at=now):
            raise Withdrawn(f"person {heir.id} lost access meanwhile")

    return permit


def _line(
    taken: Claim, departure: Departure, ref: ChannelRef, led: Led | None, outcome: Outcome, *, because: str | None, at: datetime
) -> HandedChannel:
    return HandedChannel(
        organization_id=taken.organization_id, departure_id=departure.id, workspace_id=taken.workspace_id, channel=ref,
        name=(led.name if led is not None else "") or ref, outcome=outcome, because=because, at=at,
        # Said anew as a whole, where it stands there already.
        to_person_id=None, to_account=None, arrival=None,
    )  # fmt: skip


def _write(session: Session, taken: Claim, departure: Departure, key: str, line: HandedChannel | None, *, at: datetime) -> None:
    place = session.get_one(HandoverPlace, (taken.organization_id, departure.id, taken.workspace_id))
    place.upto, place.attempts, place.last_error = key, 0, None
    if line is None:
        return
    session.merge(line)
    if line.outcome == Outcome.HANDED_OVER:
        deeds.record(
            session, taken.organization_id, workspace_id=taken.workspace_id, at=at, subject="person", subject_id=taken.subject_id,
            did=f"handed channel {line.channel} over to {line.to_account}",
        )  # fmt: skip


def _failed(taken: Claim, departure: Departure, error: ConnectorError, *, listing: bool, at: datetime) -> bool:
    """Count a failure; whether it was one too many. Where not even the channels could be listed, none is handed over then.

    A workspace that is away comes nowhere near: the departure itself is asked about first.
    """

    def act(session: Session) -> bool:
        place = session.get_one(HandoverPlace, (taken.organization_id, departure.id, taken.workspace_id))
        place.attempts, place.last_error = place.attempts + 1, str(error)
        tired = place.attempts >= PATIENCE
        if tired and listing:
            place.done_at = at
        return tired

    return in_transaction(act)


def _close(session: Session, taken: Claim, departure: Departure, *, at: datetime) -> None:
    place = session.get_one(HandoverPlace, (taken.organization_id, departure.id, taken.workspace_id))
    place.done_at = at
