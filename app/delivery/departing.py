"""Delivering a departure: shut the account, look again, and write down how it is known."""

from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.tables import Account as AccountRow
from app.audit import deeds
from app.clock import Clock
from app.database import in_transaction, reading
from app.delivery.accounts import RESERVED, NotYet
from app.directory.tables import Person, Standing
from app.journal import work
from app.journal.tables import Subject
from app.journal.work import Claim
from app.revocation import departures
from app.revocation.tables import Departure, Grade, Proof
from app.rules.tables import MOVED, ChannelMember
from connectors.contract import Access, AccountId, AccountState, HoldsChannels, PausesAccounts, ShowsAccess, Target

PATIENCE = 60
"""Looks before we take a departed account out of channels ourselves: a workspace may still be doing it."""

_beside = ThreadPoolExecutor(max_workers=16, thread_name_prefix="beside")
NOTHING = Access(sessions=0, pushers=0, memberships=0, can_sign_in=False)


def deliver_departure(taken: Claim, target: Target, *, clock: Clock) -> None:
    """Shut one person out of one workspace and prove it. Raises ConnectorError, and NotYet until nothing is left."""
    with reading() as session:
        departure = departures.current(session, taken.organization_id, taken.subject_id)
        person = session.get(Person, (taken.organization_id, taken.subject_id))
        row = session.get(AccountRow, (taken.organization_id, taken.workspace_id, taken.subject_id))
        proof = session.get(Proof, (taken.organization_id, departure.id, taken.workspace_id)) if departure else None
    if departure is None or person is None or person.standing not in (Standing.DEPARTED, Standing.PAUSED):
        # They came back, perhaps while an earlier attempt was shutting them out: what it shut is opened again.
        if row is not None:
            in_transaction(lambda session: _open_again(session, taken, at=clock()))
        return
    already_shut = proof is not None and proof.shut_at is not None
    sent_at = clock()
    means = Standing(departure.means)
    # A reserved id is not known to be this person's: somebody else may have taken it before we could.
    accounts = {AccountId(row.account_id)} if row is not None and row.state != RESERVED else set()
    # Whoever carries the person's external id can sign in as them, whatever we remember. That is looked up beside
    # shutting the known account, since each request before it would leave it open that much longer.
    looked_up = _beside.submit(target.find_account, taken.subject_id)
    try:
        if not already_shut:
            for account_id in accounts:
                _shut(target, account_id, means=means)
    finally:
        wait([looked_up])
    marked = looked_up.result()
    if marked is not None and (marked.id not in accounts or (already_shut and marked.state is AccountState.ACTIVE)):
        _shut(target, marked.id, means=means)
        accounts.add(marked.id)
    acknowledged_at = clock()
    # Asked before the last look: a claim that was open then could still give something after it.
    with reading() as session:
        open_until = work.open_claims(
            session, taken.organization_id, workspace_id=taken.workspace_id, subject_id=taken.subject_id, at=clock()
        )
    seen = _look(target, accounts)
    seen_at = clock()
    known = Grade.REREAD if isinstance(target, ShowsAccess) else Grade.CLAIMED

    def act(session: Session) -> None:
        _write(
            session, taken, departure, sent_at=sent_at, acknowledged_at=acknowledged_at, seen=seen, seen_at=seen_at, final=open_until is None,
            grade=known, accounts=accounts,
        )  # fmt: skip
        # A return that was committed while we were shutting them out may have been delivered before our last call.
        back = select(Person.standing).where(Person.organization_id == taken.organization_id, Person.id == taken.subject_id)
        if session.scalar(back) == Standing.ACTIVE:
            _open_again(session, taken, at=clock())

    in_transaction(act)
    if open_until is not None:
        raise NotYet("an older delivery may still touch this account; it is looked at once more")
    if not seen.shut:
        raise NotYet(f"{seen.sessions} sessions and {seen.pushers} push registrations are still there")
    if not seen.gone:
        if isinstance(target, HoldsChannels) and taken.attempts > PATIENCE:
            for account_id in sorted(accounts):
                for ref in sorted(target.channels_of(account_id)):
                    target.remove_members(ref, [account_id])
        raise NotYet(f"{seen.memberships} memberships are still there")


def _open_again(session: Session, taken: Claim, *, at: datetime) -> None:
    work.want(
        session, taken.organization_id, subject=Subject.ACCOUNT, subject_ids=[taken.subject_id], because=None, due_at=at,
        workspace_id=taken.workspace_id,
    )  # fmt: skip


def _shut(target: Target, account_id: AccountId, *, means: Standing) -> None:
    if means is Standing.PAUSED and isinstance(target, PausesAccounts):
        target.pause_account(account_id)
    else:
        target.deactivate_account(account_id)


def _look(target: Target, accounts: set[AccountId]) -> Access:
    if not isinstance(target, ShowsAccess):
        return NOTHING
    seen = [target.show_access(account_id) for account_id in sorted(accounts)]
    return Access(
        sessions=sum(one.sessions for one in seen), pushers=sum(one.pushers for one in seen), memberships=sum(one.memberships for one in seen),
        can_sign_in=any(one.can_sign_in for one in seen),
    )  # fmt: skip


def _write(
    session: Session, taken: Claim, departure: Departure, *,
    sent_at: datetime, acknowledged_at: datetime, seen: Access, seen_at: datetime, final: bool, grade: Grade,
    accounts: set[AccountId],
) -> None:  # fmt: skip
    key = (taken.organization_id, departure.id, taken.workspace_id)
    proof = session.get(Proof, key)
    if proof is None:
        proof = Proof(organization_id=taken.organization_id, departure_id=departure.id, workspace_id=taken.workspace_id, attempts=0)
        session.add(proof)
    proof.attempts += 1
    proof.last_error = None
    if proof.sent_at is None:
        proof.sent_at, proof.acknowledged_at = sent_at, acknowledged_at
    if accounts:
        proof.closed = {"accounts": sorted(accounts)}
    if final and seen.shut and proof.shut_at is None:
        proof.shut_at, proof.shut_grade = seen_at, grade
        for account_id in accounts:
            deeds.record(
                session, taken.organization_id, workspace_id=taken.workspace_id, at=seen_at, subject="person", subject_id=taken.subject_id,
                did=f"shut account {account_id}",
            )  # fmt: skip
        row = session.get(AccountRow, (taken.organization_id, taken.workspace_id, taken.subject_id))
        if row is not None:
            row.state, row.seen_at = departure.means, seen_at
    if final and seen.gone and proof.gone_at is None:
        proof.gone_at, proof.gone_grade = seen_at, grade
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
