"""Delivering an account of someone who is active: the account itself, then the channels it is in."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access.tables import RESERVED
from app.access.tables import Account as AccountRow
from app.audit import deeds
from app.clock import Clock
from app.database import in_transaction, reading
from app.delivery.given_up import offer
from app.delivery.memberships import ensure_channels, leave_channels, put_in_again
from app.delivery.permits import permit_for
from app.delivery.precedence import Precedence
from app.delivery.wanted import Desired, NotYet, desired_of, digest_of
from app.directory.tables import Person
from app.journal import work
from app.journal.tables import Subject
from app.journal.work import Claim, Keep
from app.rules.revisions import current_rules
from app.rules.shapes import led_by
from connectors.contract import (
    Account,
    AccountId,
    AccountState,
    AddressTaken,
    Conflict,
    HoldsChannels,
    Missing,
    Permit,
    Profile,
    Refused,
    Target,
)

PATIENCE = 700
"""Looks, some ten minutes, before an account that stays in a channel after its deactivation is opened all the same."""

IN_TURN = 100
AT_RANDOM = 20
"""Attempts at an id behind those below `IN_TURN`: a chain of shops has hundreds of `office@`, and a name in letters that no id takes is like any other."""


class _Unmarked(Conflict):
    """Somebody took the person's id from the account that was theirs."""

    def __init__(self, target: Target, account: Account, profile: Profile) -> None:
        super().__init__(
            f"{target.name}: {account.id} was made for {profile.user_name}, and does not carry their id {profile.person_id} any more: "
            "it has to be given that again, or to be deactivated"
        )
        self.account = account


def deliver_account(taken: Claim, target: Target, *, clock: Clock, precedence: Precedence, keep: Keep) -> bool | None:
    """Bring one account in line; whether the claim is still to be closed. None where its person has no access, and nothing was done.

    Raises ConnectorError, NotYet.
    """
    with reading() as session:
        desired = desired_of(session, taken, at=clock())
    if desired is not None and not desired.complete:
        # Only now the database's one pen is asked for.
        desired = in_transaction(lambda session: desired_of(session, taken, at=clock(), make=True))
    if desired is None:
        return None
    permit = permit_for(taken, epoch=desired.epoch, clock=clock, precedence=precedence)
    try:
        account, came_back = _ensure_account(taken, target, desired, permit=permit, clock=clock)
        if came_back:
            with reading() as session:
                again = desired_of(session, taken, at=clock())
            if again is None:
                return None
            desired = again
        if not isinstance(target, HoldsChannels):
            return True
        return ensure_channels(taken, target, desired, account, permit=permit, clock=clock, keep=keep)
    except (Refused, Conflict, Missing) as error:
        # A workspace refuses what it is asked for somebody who is being shut out at this moment: that is no fault to be set aside.
        permit()
        if isinstance(error, _Unmarked) and isinstance(target, HoldsChannels):
            # Nothing is given to it, and what is taken waits for nobody.
            leave_channels(taken, target, desired, error.account, clock=clock)
        raise


def _ensure_account(taken: Claim, target: Target, desired: Desired, *, permit: Permit, clock: Clock) -> tuple[Account, bool]:
    """The account, and whether its person was shut out of channels that they were in."""
    profile = target.fit(desired.profile)

    did: list[str] = []
    seen = _known_account(target, desired)
    was_shut = seen is None or seen.state is not AccountState.ACTIVE
    if seen is None:
        seen = _create_account(taken, target, profile, desired.account_id, permit=permit)
        did.append(f"created account {seen.id}")
    elif seen.state is not AccountState.ACTIVE:
        _require_taken_out(taken, target, seen)
        with _giving_up(taken, target, seen, profile, permit=permit, clock=clock):
            seen = target.reactivate_account(seen.id, profile, permit=permit)
        did.append(f"reactivated account {seen.id}")
    elif seen.display_name != profile.display_name or not _has_addresses(seen, profile, told=desired.told):
        with _giving_up(taken, target, seen, profile, permit=permit, clock=clock):
            seen = target.update_account(seen.id, profile, permit=permit)
        did.append(f"updated account {seen.id}")
    account = seen

    def act(session: Session) -> bool:
        for what in did:
            deeds.record(
                session, taken.organization_id, workspace_id=taken.workspace_id, at=clock(), subject="person", subject_id=taken.subject_id, did=what
            )
        row = session.get(AccountRow, (taken.organization_id, taken.workspace_id, taken.subject_id))
        digest = digest_of(desired.profile)
        # Also where an earlier delivery let them in, and was cut short before it could say so.
        came_back = bool(desired.mirror) and (was_shut or row is None or row.state != AccountState.ACTIVE)
        if came_back:
            put_in_again(session, taken)
        if row is not None and (row.account_id, row.state, row.profile_digest) == (account.id, account.state, digest):
            return came_back
        if row is None:
            row = AccountRow(
                organization_id=taken.organization_id, workspace_id=taken.workspace_id, person_id=taken.subject_id, account_id=account.id,
                state=account.state,
            )  # fmt: skip
            session.add(row)
        opened = row.seen_at is None or row.state != AccountState.ACTIVE
        row.account_id, row.state, row.seen_at, row.profile_digest = account.id, account.state, clock(), digest
        if opened and (person := session.get(Person, (taken.organization_id, taken.subject_id))) is not None:
            # Channels that wait for this person as their owner could not name them before the account was there, and open.
            led = led_by(session, person, current_rules(session, taken.organization_id))
            work.want(
                session, taken.organization_id, subject=Subject.CHANNEL, subject_ids=led, because=None, due_at=clock(),
                workspace_id=taken.workspace_id,
            )  # fmt: skip
        return came_back

    return account, in_transaction(act)


@contextmanager
def _giving_up(taken: Claim, target: Target, seen: Account, profile: Profile, *, permit: Permit, clock: Clock) -> Iterator[None]:
    """Addresses that are somebody's no more are let go of also where they are refused another: of two who swap theirs, one has to begin."""
    given_up = set(seen.emails) - set(profile.emails)
    try:
        yield
    except AddressTaken:
        if given_up:
            kept = tuple(one for one in profile.emails if one in seen.emails)
            target.update_account(seen.id, replace(profile, emails=kept), permit=permit)
            in_transaction(lambda session: offer(session, taken, given_up, at=clock()))
        raise
    if given_up:
        in_transaction(lambda session: offer(session, taken, given_up, at=clock()))


def _has_addresses(seen: Account, profile: Profile, *, told: bool) -> bool:
    """What somebody adds over there stays until their profile changes here: then what was theirs before goes, though nothing takes its place."""
    return set(profile.emails) <= set(seen.emails) if told else set(profile.emails) == set(seen.emails)


def _known_account(target: Target, desired: Desired) -> Account | None:
    # Where we know of no account, the connector's own look before it creates one is enough.
    if desired.account_id is None:
        return None
    seen = target.get_account(desired.account_id)
    if seen is not None and seen.person_id == desired.profile.person_id:
        return seen
    if seen is not None and seen.person_id is None and desired.delivered and seen.state is not AccountState.DEACTIVATED:
        # Whichever other one were theirs from now on, this one would be forgotten, and nobody would shut it when they leave.
        raise _Unmarked(target, seen, desired.profile)
    return target.find_account(desired.profile.person_id)


def _require_taken_out(taken: Claim, target: Target, seen: Account) -> None:
    """Raises NotYet while a workspace still takes a deactivated account out of its channels: it goes on with that whoever is back meanwhile."""
    if seen.state is not AccountState.DEACTIVATED or not isinstance(target, HoldsChannels) or taken.attempts >= PATIENCE:
        return
    if still := target.channels_of(seen.id):
        raise NotYet(f"{seen.id} is still being taken out of {len(still)} channels")


def _create_account(taken: Claim, target: Target, profile: Profile, reserved: AccountId | None, *, permit: Permit) -> Account:
    account_id = reserved or reserve(taken, target, profile, look=False)
    try:
        return target.create_account(account_id, profile, permit=permit)
    except AddressTaken:
        # The id is not to blame, and another one would be refused as well.
        raise
    except Conflict:
        # Somebody else has the id, and as it is not marked as ours it is not taken over.
        return target.create_account(reserve(taken, target, profile, look=True), profile, permit=permit)


def reserve(taken: Claim, target: Target, profile: Profile, *, look: bool) -> AccountId:
    """Choose an id that no person ever had here and, with `look`, that nobody holds there; keep it before it is used."""
    for attempt in chain(range(1, IN_TURN), (random.randrange(IN_TURN, 10**9) for _ in range(AT_RANDOM))):
        proposed = target.proposed_id(profile, attempt=attempt)
        with reading() as session:
            used = session.scalar(
                select(AccountRow.person_id).where(
                    AccountRow.organization_id == taken.organization_id, AccountRow.workspace_id == taken.workspace_id,
                    AccountRow.account_id == proposed,
                )
            )  # fmt: skip
        if used is not None or (look and target.get_account(proposed) is not None):
            continue

        def act(session: Session, proposed: AccountId = proposed) -> None:
            session.merge(
                AccountRow(
                    organization_id=taken.organization_id, workspace_id=taken.workspace_id, person_id=taken.subject_id, account_id=proposed,
                    state=RESERVED, profile_digest=None, seen_at=None,
                )
            )  # fmt: skip

        try:
            in_transaction(act)
        except IntegrityError:
            continue
        return proposed
    raise Conflict(f"{target.name}: no free account id for {profile.user_name} in {IN_TURN - 1 + AT_RANDOM} attempts")
