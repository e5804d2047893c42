"""Delivering a departure: shut the account, look again, and write down how it is known.

The steps can be parted: of many who leave at once, all are kept from new requests before what is left of the first one is ended,
and those who are still in come before a second look at those who are not.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from app.access.tables import RESERVED
from app.access.tables import Account as AccountRow
from app.audit import deeds
from app.clock import Clock
from app.database import in_transaction, reading
from app.delivery import handing_over
from app.delivery.given_up import offer
from app.delivery.handing_over import LeftInChannels
from app.delivery.memberships import put_in_again
from app.delivery.wanted import NotYet, profile_of
from app.directory.tables import Person, Standing
from app.journal import work
from app.journal.tables import Subject
from app.journal.work import Claim
from app.lifecycle.handover import place_of
from app.revocation import departures
from app.revocation.tables import Departure, Grade, Proof
from app.rules.tables import MOVED, ChannelMember
from connectors.contract import (
    Access,
    AccountId,
    AccountState,
    ChannelRef,
    Conflict,
    EndsSessions,
    HoldsChannels,
    Missing,
    PausesAccounts,
    Refused,
    ShowsAccess,
    Target,
)

log = logging.getLogger(__name__)

PATIENCE = 60
"""Looks before we take a departed account out of channels ourselves: a workspace may still be doing it."""

_beside = ThreadPoolExecutor(max_workers=16, thread_name_prefix="beside")
NOTHING = Access(sessions=0, pushers=0, memberships=0, can_sign_in=False)


@dataclass(frozen=True, kw_only=True)
class ShutOut:
    """What was done to shut one person out of one workspace. `left`: whether the account is only locked until its channels are handed over."""

    departure: Departure
    accounts: frozenset[AccountId]
    left: bool
    sent_at: datetime
    acknowledged_at: datetime


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What still lets them in, and in how many rooms of others they stay although that is gone."""

    access: Access
    kept: int


def still_open(claims: Sequence[Claim]) -> dict[str, AccountId]:
    """The accounts of those who have left, by person, where they are known and were not shut yet. The claims are of one workspace."""
    first = claims[0]
    query = (
        select(AccountRow.person_id, AccountRow.account_id)
        .join(Person, and_(Person.organization_id == AccountRow.organization_id, Person.id == AccountRow.person_id))
        .join(Departure, and_(Departure.organization_id == Person.organization_id, Departure.person_id == Person.id))
        .where(
            AccountRow.organization_id == first.organization_id, AccountRow.workspace_id == first.workspace_id,
            AccountRow.person_id.in_([taken.subject_id for taken in claims]), AccountRow.state == AccountState.ACTIVE,
            Person.standing != Standing.ACTIVE, Departure.ended_at.is_(None),
        )
    )  # fmt: skip
    with reading() as session:
        return {person_id: AccountId(account_id) for person_id, account_id in session.execute(query)}


def shut_out(taken: Claim, target: Target, *, sent_at: datetime, clock: Clock) -> ShutOut | None:
    """Shut one person out of one workspace; None where there is nothing to prove, since they are back. Raises ConnectorError.

    `sent_at` is when the first was asked of the workspace, which may have been before.
    """
    with reading() as session:
        departure = departures.current(session, taken.organization_id, taken.subject_id)
        person = session.get(Person, (taken.organization_id, taken.subject_id))
        row = session.get(AccountRow, (taken.organization_id, taken.workspace_id, taken.subject_id))
        proof = session.get(Proof, (taken.organization_id, departure.id, taken.workspace_id)) if departure else None
        locked = departure is not None and proof is not None and proof.shut_at is not None
        place = place_of(session, taken.organization_id, departure.id, taken.workspace_id) if departure is not None and locked else None
    if departure is None or person is None or person.standing == Standing.ACTIVE:
        # They came back, perhaps while an earlier attempt was shutting them out: what it shut is opened again.
        if row is not None:
            if isinstance(target, EndsSessions) and row.state != RESERVED and not _was_shut(taken):
                _end_what_was_before(target, AccountId(row.account_id))
            in_transaction(lambda session: _open_again(session, taken, at=clock()))
        return None
    already_shut = proof is not None and proof.shut_at is not None
    means = Standing(departure.means)
    # A reserved id is not known to be this person's: somebody else may have taken it before we could.
    accounts = {AccountId(row.account_id)} if row is not None and row.state != RESERVED else set()
    # Whoever carries the person's external id can sign in as them, whatever we remember. That is looked up beside
    # shutting the known account, since each request before it would leave it open that much longer.
    looked_up = _beside.submit(target.find_account, taken.subject_id)
    # Whether they are only locked yet, until somebody else has their channels.
    left = place is not None and place.done_at is None
    try:
        if not already_shut:
            for account_id in accounts:
                left |= _shut(taken, departure, target, account_id, means=means, clock=clock)
        elif place is not None and not left:
            for account_id in accounts:
                handing_over.deactivate(target, account_id)
    finally:
        wait([looked_up])
    marked = looked_up.result()
    if marked is not None and (marked.id not in accounts or (already_shut and marked.state is AccountState.ACTIVE)):
        left |= _shut(taken, departure, target, marked.id, means=means, clock=clock)
        accounts.add(marked.id)
    return ShutOut(departure=departure, accounts=frozenset(accounts), left=left, sent_at=sent_at, acknowledged_at=clock())


def prove(taken: Claim, target: Target, done: ShutOut, *, clock: Clock) -> None:
    """Look again at somebody who was shut out, and write down what is seen. Raises ConnectorError, and NotYet until nothing is left.

    Where nothing is, the claim is closed along with that: of many departures, each transaction keeps all others waiting.
    LeftInChannels says that they are shut out, and that channels of theirs are to be handed over before anything else is done.
    """
    # Asked before the last look: a claim that was open then could still give something after it.
    with reading() as session:
        open_until = work.open_claims(
            session, taken.organization_id, workspace_id=taken.workspace_id, subject_id=taken.subject_id, at=clock()
        )
    looked = _look(taken, target, done)
    seen = looked.access
    given_up = None
    if done.left and not seen.shut:
        # Channels are nothing that access waits for.
        given_up = f"had to be deactivated at once: {seen.sessions} sessions and {seen.pushers} push registrations outlived the lock"
        for account_id in done.accounts:
            target.deactivate_account(account_id)
        looked = _look(taken, target, done)
        seen = looked.access
    seen_at = clock()
    known = Grade.REREAD if isinstance(target, ShowsAccess) else Grade.CLAIMED

    def act(session: Session) -> None:
        _write(session, taken, done, seen=looked, seen_at=seen_at, final=open_until is None, grade=known)
        if done.left:
            handing_over.begin_place(session, taken, done.departure, at=seen_at, given_up=given_up)
        # A return that was committed while we were shutting them out may have been delivered before our last call.
        back = select(Person.standing).where(Person.organization_id == taken.organization_id, Person.id == taken.subject_id)
        if session.scalar(back) == Standing.ACTIVE:
            _open_again(session, taken, at=clock())
        if open_until is None and seen.shut and seen.gone and (not done.left or given_up is not None):
            work.finish(session, taken)

    in_transaction(act)
    if open_until is not None:
        raise NotYet("an older delivery may still touch this account; it is looked at once more")
    if not seen.shut:
        raise NotYet(f"{seen.sessions} sessions and {seen.pushers} push registrations are still there")
    if done.left and given_up is None:
        raise LeftInChannels("channels are being handed over")
    if not seen.gone:
        if isinstance(target, HoldsChannels) and taken.attempts > PATIENCE:
            _take_out(taken, target, done)
        raise NotYet(f"{seen.memberships} memberships are still there")


def _was_shut(taken: Claim) -> bool:
    """Whether the last departure of whoever is back was seen shut in this workspace: what is signed in there now came after it."""
    last = (
        select(Proof.shut_at)
        .join(Departure, and_(Departure.organization_id == Proof.organization_id, Departure.id == Proof.departure_id))
        .where(
            Proof.organization_id == taken.organization_id, Proof.workspace_id == taken.workspace_id, Departure.person_id == taken.subject_id
        )
        .order_by(Departure.decided_at.desc(), Departure.id.desc())
        .limit(1)
    )  # fmt: skip
    with reading() as session:
        return session.scalar(last) is not None


def _end_what_was_before(target: EndsSessions, account_id: AccountId) -> None:
    """Nothing that was signed in before somebody left works again. What the workspace refuses keeps nobody from being let in. Raises Unreachable, RateLimited."""
    try:
        target.end_sessions(account_id)
    except (Refused, Conflict, Missing) as error:
        log.warning("sessions of %s could not be ended before they are let in again: %s", account_id, error)


def _open_again(session: Session, taken: Claim, *, at: datetime) -> None:
    put_in_again(session, taken)
    work.want(
        session, taken.organization_id, subject=Subject.ACCOUNT, subject_ids=[taken.subject_id], because=None, due_at=at,
        workspace_id=taken.workspace_id,
    )  # fmt: skip


def _shut(taken: Claim, departure: Departure, target: Target, account_id: AccountId, *, means: Standing, clock: Clock) -> bool:
    """Whether the account was left where it is, so that its channels can be handed over."""
    if means is Standing.PAUSED and isinstance(target, PausesAccounts):
        target.pause_account(account_id)
        return False
    return handing_over.shut(taken, departure, target, account_id, clock=clock)


def _is_paused(departure: Departure, target: object) -> bool:
    return departure.means == Standing.PAUSED and isinstance(target, PausesAccounts)


def _look(taken: Claim, target: Target, done: ShutOut) -> _Seen:
    """Somebody who is only away stays in rooms that others made where nobody but these can take them out; a leaver stays in none."""
    seen = _access(target, done.accounts)
    if not seen.memberships or not isinstance(target, HoldsChannels) or not _is_paused(done.departure, target):
        return _Seen(access=seen, kept=0)
    joined = frozenset[ChannelRef]().union(*(target.channels_of(account_id) for account_id in sorted(done.accounts)))
    ours, others = handing_over.parted(taken, joined)
    return _Seen(access=replace(seen, memberships=len(ours)), kept=len(others))


def _access(target: Target, accounts: frozenset[AccountId]) -> Access:
    if not isinstance(target, ShowsAccess):
        return NOTHING
    seen = [target.show_access(account_id) for account_id in sorted(accounts)]
    return Access(
        sessions=sum(one.sessions for one in seen), pushers=sum(one.pushers for one in seen), memberships=sum(one.memberships for one in seen),
        can_sign_in=any(one.can_sign_in for one in seen),
    )  # fmt: skip


def _take_out(taken: Claim, target: HoldsChannels, done: ShutOut) -> None:
    """Out of every channel that is left; one where that is refused does not keep them in the others, and is raised at the end."""
    refusals: list[Refused | Conflict | Missing] = []
    for account_id in sorted(done.accounts):
        joined = target.channels_of(account_id)
        for ref in sorted(handing_over.parted(taken, joined)[0] if _is_paused(done.departure, target) else joined):
            try:
                target.remove_members(ref, [account_id])
            except (Refused, Conflict, Missing) as error:
                refusals.append(error)
    if refusals:
        raise refusals[0]


def _write(session: Session, taken: Claim, done: ShutOut, *, seen: _Seen, seen_at: datetime, final: bool, grade: Grade) -> None:
    departure, accounts, access = done.departure, done.accounts, seen.access
    key = (taken.organization_id, departure.id, taken.workspace_id)
    proof = session.get(Proof, key)
    if proof is None:
        proof = Proof(organization_id=taken.organization_id, departure_id=departure.id, workspace_id=taken.workspace_id, attempts=0)
        session.add(proof)
    proof.attempts += 1
    proof.last_error = None
    if proof.sent_at is None:
        proof.sent_at, proof.acknowledged_at = done.sent_at, done.acknowledged_at
    if accounts:
        proof.closed = {"accounts": sorted(accounts)} | ({"rooms_of_others_kept": seen.kept} if seen.kept else {})
    if final and access.shut and proof.shut_at is None:
        proof.shut_at, proof.shut_grade = seen_at, grade
        for account_id in accounts:
            deeds.record(
                session, taken.organization_id, workspace_id=taken.workspace_id, at=seen_at, subject="person", subject_id=taken.subject_id,
                did=f"shut account {account_id}",
            )  # fmt: skip
        row = session.get(AccountRow, (taken.organization_id, taken.workspace_id, taken.subject_id))
        # What is only reserved stays so, unless it was seen to be theirs: else the sweep would find whoever has that id by now.
        if row is not None and (row.state != RESERVED or row.account_id in accounts):
            row.state, row.seen_at = departure.means, seen_at
    if final and access.gone and proof.gone_at is None:
        proof.gone_at, proof.gone_grade = seen_at, grade
        if departure.means == Standing.DEPARTED and (person := session.get(Person, (taken.organization_id, taken.subject_id))) is not None:
            offer(session, taken, profile_of(person).emails, at=seen_at)
        for member in session.scalars(
            select(ChannelMember).where(
                ChannelMember.organization_id == taken.organization_id, ChannelMember.workspace_id == taken.workspace_id,
                ChannelMember.person_id == taken.subject_id,
            )
        ):  # fmt: skip
            # Marked rather than deleted: whoever looks whether the channel is empty now has to know that it was theirs.
            member.why, member.left_at = MOVED, seen_at


def note_failure(session: Session, taken: Claim, error: str, *, at: datetime) -> None:
    """A departure that could not be delivered says why, in its receipt, and stays overdue."""
    departure = departures.current(session, taken.organization_id, taken.subject_id)
    if departure is None:
        return
    proof = session.get(Proof, (taken.organization_id, departure.id, taken.workspace_id))
    if proof is not None:
        proof.attempts += 1
        proof.last_error = error
        if proof.sent_at is None:
            proof.sent_at = at
