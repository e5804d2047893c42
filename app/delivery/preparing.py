"""Preparing the account of somebody who has yet to start: it is there from then on, and lets nobody in before their day."""

from sqlalchemy.orm import Session

from app.access.tables import RESERVED
from app.access.tables import Account as AccountRow
from app.audit import deeds
from app.clock import Clock
from app.database import in_transaction, reading
from app.delivery.accounts import reserve
from app.delivery.permits import permit_for
from app.delivery.precedence import Precedence
from app.delivery.wanted import profile_of
from app.directory.tables import Person, Standing
from app.journal.work import Claim
from connectors.contract import Account, AccountId, AccountState, Conflict, Permit, PreparesAccounts, Profile, Target

_TO_BE_MADE = (None, RESERVED, AccountState.ACTIVE)
"""Of an account in any other state it is known that it is shut."""


def prepare_account(taken: Claim, target: Target, *, clock: Clock, precedence: Precedence) -> None:
    """Have the account of somebody who is expected made, shut from its first moment. Of anybody else nothing is done. Raises ConnectorError.

    A workspace that can make none that is shut is not asked: there the account is made on the day.
    """
    if not isinstance(target, PreparesAccounts):
        return
    with reading() as session:
        person = session.get(Person, (taken.organization_id, taken.subject_id))
        row = session.get(AccountRow, (taken.organization_id, taken.workspace_id, taken.subject_id))
    if person is None or person.standing != Standing.EXPECTED or (None if row is None else row.state) not in _TO_BE_MADE:
        return
    permit = permit_for(taken, epoch=person.access_epoch, clock=clock, precedence=precedence, standing=Standing.EXPECTED)
    account = _made(taken, target, target.fit(profile_of(person)), row, permit=permit)
    in_transaction(lambda session: _write(session, taken, account, clock=clock))


def _made(taken: Claim, target: Target, profile: Profile, row: AccountRow | None, *, permit: Permit) -> Account:
    assert isinstance(target, PreparesAccounts)
    kept = None if row is None else AccountId(row.account_id)
    try:
        return target.prepare_account(kept or reserve(taken, target, profile, look=False), profile, permit=permit)
    except Conflict:
        if row is not None and row.state != RESERVED:
            # It was theirs, and would be forgotten for another one.
            raise
        # Somebody else has the id, and as it is not marked as ours it is not taken over.
        return target.prepare_account(reserve(taken, target, profile, look=True), profile, permit=permit)


def _write(session: Session, taken: Claim, account: Account, *, clock: Clock) -> None:
    # As one that was not seen yet: the first look on their day asks for the channels that wait for them as owner.
    session.merge(
        AccountRow(
            organization_id=taken.organization_id, workspace_id=taken.workspace_id, person_id=taken.subject_id, account_id=account.id,
            state=account.state, profile_digest=None, seen_at=None,
        )
    )  # fmt: skip
    deeds.record(
        session, taken.organization_id, workspace_id=taken.workspace_id, at=clock(), subject="person", subject_id=taken.subject_id,
        did=f"prepared account {account.id}",
    )  # fmt: skip
