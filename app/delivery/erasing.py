"""Erasing in the workspaces what leavers wrote, when it is due, and reading again that it is gone. It cannot be undone.

Everything that speaks against it is asked twice: behind the person's lock before it begins, and once more right before the workspace is.
In doubt nothing is erased: there is always another day for it.
"""

import logging
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from flask import Flask
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from app.access.closed import why_closed
from app.access.sealing import KeyMissing
from app.access.tables import RESERVED, Account, Workspace, WorkspaceState
from app.audit import deeds
from app.audit.lag import audit_is_behind
from app.clock import Clock
from app.clock import now as wall_clock
from app.database import in_transaction, reading
from app.directory.settings import erase_after, value_of
from app.directory.tables import Person, Standing
from app.journal import work
from app.journal.tables import Subject
from app.lifecycle import legal_hold, retention
from app.lifecycle.people import lock_person, who_they_are
from app.revocation import departures
from app.revocation.erasure_tables import Erasure
from app.revocation.tables import Grade
from connectors.contract import AccountId, Conflict, ConnectorError, ErasesAccounts, RateLimited, Target, Unreachable

log = logging.getLogger(__name__)

AT_A_TIME: Final = 20
LEASE: Final = timedelta(minutes=15)
"""Longer than the files of one account take to be deleted."""
LONGEST_PAUSE: Final = timedelta(hours=6)
ASKED_AGAIN: Final = timedelta(hours=1)
"""After which it is asked again whether what stands in the way still does."""


class Opens(Protocol):
    """Opens the connector of a workspace. Raises KeyMissing, ConnectorError."""

    def of(self, organization_id: str, workspace_id: str) -> Target: ...


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """One erasure in hand. `first` where nobody was asked to do it before."""

    organization_id: str
    departure_id: str
    workspace_id: str
    person_id: str
    account_id: AccountId | None
    attempts: int
    first: bool

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.organization_id, self.departure_id, self.workspace_id)


class NotNow(Exception):
    """Something speaks against it at this moment; the message says what."""


def erase_due(app: Flask, targets: Opens, *, clock: Clock = wall_clock) -> int:
    """Erase some of what is due; returns how many were done. May run in several processes at once."""
    with app.app_context():
        with reading() as session:
            if _stopped(session, at=clock()):
                return 0
            keys = session.execute(
                select(Erasure.organization_id, Erasure.departure_id, Erasure.workspace_id)
                .join(Workspace, (Workspace.organization_id == Erasure.organization_id) & (Workspace.id == Erasure.workspace_id))
                .where(*_due(clock()), Workspace.state == WorkspaceState.RUNNING)
                .order_by(Erasure.next_at)
                .limit(AT_A_TIME)
            ).all()
        done = 0
        for organization_id, departure_id, workspace_id in keys:
            begun = in_transaction(lambda session, key=(organization_id, departure_id, workspace_id): _begin(session, key, at=clock()))  # type: ignore[misc]  # defaults bind the loop's values
            if begun is not None:
                done += _erase(begun, targets, clock=clock)
        return done


def _stopped(session: Session, *, at: datetime) -> bool:
    """Whether who has come back is not known, or nobody could read later what was erased."""
    return why_closed(session) is not None or audit_is_behind(session, at=at)


def _due(at: datetime) -> tuple[ColumnElement[bool], ...]:
    free = or_(Erasure.lease_until.is_(None), Erasure.lease_until <= at)
    return (Erasure.erased_at.is_(None), Erasure.ended_at.is_(None), Erasure.next_at <= at, Erasure.due_at <= at, free)


def _begin(session: Session, key: tuple[str, str, str], *, at: datetime) -> _Begun | None:
    row = session.get(Erasure, key, with_for_update=True, populate_existing=True)
    if row is None or row.erased_at is not None or row.ended_at is not None or row.next_at > at or (row.lease_until is not None and row.lease_until > at):
        return None
    # A hold locks them as well, as whoever they are: it is seen here, or sees that this has begun.
    for one in sorted({row.person_id, *who_they_are(session, row.organization_id, row.person_id)}):
        lock_person(session, row.organization_id, one)
    try:
        look(session, row, at=at)
    except NotNow as why:
        row.next_at, row.last_error = at + ASKED_AGAIN, str(why)
        return None
    account = session.get(Account, (row.organization_id, row.workspace_id, row.person_id))
    first = row.begun_at is None
    row.begun_at, row.lease_until, row.attempts = row.begun_at or at, at + LEASE, row.attempts + 1
    known = account is not None and account.state != RESERVED
    return _Begun(
        organization_id=row.organization_id, departure_id=row.departure_id, workspace_id=row.workspace_id, person_id=row.person_id,
        account_id=AccountId(account.account_id) if account is not None and known else None, attempts=row.attempts, first=first,
    )  # fmt: skip


def look(session: Session, row: Erasure, *, at: datetime) -> None:
    """Whether it may be erased at this moment. Raises NotNow."""
    person = session.get_one(Person, (row.organization_id, row.person_id), populate_existing=True)
    departure = departures.current(session, row.organization_id, row.person_id)
    after = erase_after(value_of(session, row.organization_id, "erase_after"))
    if person.standing != Standing.DEPARTED or departure is None or departure.id != row.departure_id:
        raise NotNow("that departure is over")
    names = who_they_are(session, row.organization_id, row.person_id)
    if not names:
        raise NotNow(retention.UNKNOWN)
    if any(legal_hold.standing(session, row.organization_id, one) for one in names):
        raise NotNow("a legal hold stands")
    left_at = retention.left_as(session, row.organization_id, names, row.left_at)
    if left_at is None:
        raise NotNow(retention.STILL_HERE)
    if after is None or left_at + after > at:
        raise NotNow("it is not due by erase_after")
    if row.due_at > at:
        raise NotNow("it is not due yet")


def _erase(begun: _Begun, targets: Opens, *, clock: Clock) -> bool:
    asked: list[AccountId] = []
    try:
        target = targets.of(begun.organization_id, begun.workspace_id)
        if not isinstance(target, ErasesAccounts):
            in_transaction(lambda session: _end(session, begun, "this kind of workspace cannot erase", at=clock()))
            return False
        accounts = _accounts(target, begun)
        for account_id in accounts:
            with reading() as session:
                if _stopped(session, at=clock()):
                    raise NotNow("nothing is erased just now")
                look(session, session.get_one(Erasure, begun.key), at=clock())
            asked.append(account_id)
            target.erase_account(account_id)
        if left := [one for one in accounts if not target.is_erased(one)]:
            raise Unreachable(f"{target.name}: {', '.join(left)} is not seen to be erased", sent=True)
    except (NotNow, ConnectorError, KeyMissing) as error:
        log.warning("what person %s left in a workspace was not erased: %s", begun.person_id, error)
        said, pause = str(error), _pause(error, begun.attempts)
        in_transaction(lambda session: _put_off(session, begun, said, pause, undo=begun.first and not asked, at=clock()))
        return False
    in_transaction(lambda session: _done(session, begun, accounts, at=clock()))
    return True


def _accounts(target: Target, begun: _Begun) -> list[AccountId]:
    """The account that we know of, and whichever carries the person's id there. Conflict where the former is somebody else's by now."""
    marked = target.find_account(begun.person_id)
    known = target.get_account(begun.account_id) if begun.account_id is not None else None
    if known is not None and known.person_id not in (None, begun.person_id):
        raise Conflict(f"{target.name}: {known.id} belongs to another person by now, and nothing of it is erased")
    return sorted({one.id for one in (known, marked) if one is not None})


def _pause(error: Exception, attempts: int) -> timedelta:
    if isinstance(error, NotNow):
        return ASKED_AGAIN
    if isinstance(error, RateLimited):
        return timedelta(seconds=error.wait)
    return min(timedelta(minutes=random.uniform(1, 2) * (1 << min(attempts, 10))), LONGEST_PAUSE)


def _put_off(session: Session, begun: _Begun, why: str, pause: timedelta, *, undo: bool, at: datetime) -> None:
    row = session.get_one(Erasure, begun.key, with_for_update=True, populate_existing=True)
    row.next_at, row.lease_until, row.last_error = at + pause, None, why[:500]
    if undo:
        # Nobody was asked for anything: whoever holds it now has come in time.
        row.begun_at = None
    _open_again(session, begun, at=at)


def _end(session: Session, begun: _Begun, why: str, *, at: datetime) -> None:
    row = session.get_one(Erasure, begun.key, with_for_update=True, populate_existing=True)
    row.ended_at, row.ended_why, row.lease_until, row.begun_at = at, why, None, None


def _done(session: Session, begun: _Begun, accounts: list[AccountId], *, at: datetime) -> None:
    row = session.get_one(Erasure, begun.key, with_for_update=True, populate_existing=True)
    row.erased_at, row.grade, row.accounts, row.lease_until, row.last_error = at, Grade.REREAD, list(accounts), None, None
    for account_id in accounts:
        deeds.record(
            session, begun.organization_id, workspace_id=begun.workspace_id, at=at, subject="person", subject_id=begun.person_id,
            did=f"erased account {account_id}",
        )  # fmt: skip
    _open_again(session, begun, at=at)


def _open_again(session: Session, begun: _Begun, *, at: datetime) -> None:
    """Who came back while the workspace was being asked may have been shut out by that: their account is looked at once more."""
    back = select(Person.standing).where(Person.organization_id == begun.organization_id, Person.id == begun.person_id)
    if session.scalar(back) == Standing.ACTIVE:
        work.want(
            session, begun.organization_id, subject=Subject.ACCOUNT, subject_ids=[begun.person_id], because=None, due_at=at,
            workspace_id=begun.workspace_id,
        )  # fmt: skip
