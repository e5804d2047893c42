"""Accounts in a workspace that nobody stands behind: local ones, bots, those of strangers, and those of people who have no access here.

Each workspace is read anew, and nothing is changed there or here. What cannot be read is said to be unknown: no account is ever
taken for absent because a workspace did not answer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.sealing import KeyMissing
from app.access.tables import RESERVED, Workspace
from app.access.tables import Account as AccountRow
from app.database import reading
from app.directory.names import name_key
from app.directory.tables import Person, Record, RecordEmail, Standing
from connectors.contract import Account, AccountState, ConnectorError, Target

AT_A_TIME: Final = 500


class Behind(StrEnum):
    """Who is behind an account. `UNKNOWN` is of a workspace that could not be read, or not to its end.

    `LOCAL` was made there, by hand or for a bot; `STRANGER` carries an id of ours that nobody here has; the others are people's who
    have no access: they have left, are away, or have yet to start. `SECOND` is one more account of somebody who has another.
    """

    LOCAL = "local"
    STRANGER = "stranger"
    LEFT = "left"
    AWAY = "away"
    NOT_STARTED = "not started"
    SECOND = "second"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """One account, or with `UNKNOWN` what was not read. `like` is whose address it has, with their standing."""

    workspace: str
    behind: Behind
    account: str | None = None
    state: str | None = None
    display_name: str | None = None
    emails: tuple[str, ...] = ()
    person_id: str | None = None
    user_name: str | None = None
    like: str | None = None
    why: str | None = None


@dataclass(kw_only=True)
class Seen:
    """How many accounts there are in a workspace, and what stands behind those that let somebody in. `shut` are in nobody's use any more."""

    name: str
    accounts: int = 0
    shut: int = 0
    orphans: int = 0
    error: str | None = None


Opens = Callable[[Workspace], Target]
"""Opens the connector of a workspace. Raises KeyMissing, ConnectorError."""


def orphans_of(organization_id: str, workspace: Workspace, seen: Seen, *, opens: Opens) -> Iterator[Orphan]:
    """Every account that could let somebody in and should not, or that nobody is known by. `seen` is filled on the way.

    A deactivated account is nobody's way in and is only counted, and so is one that is paused with its owner.
    """
    try:
        for accounts in _pages(opens(workspace).list_accounts()):
            seen.accounts += len(accounts)
            for orphan in _among(organization_id, workspace, accounts, seen):
                seen.orphans += 1
                yield orphan
    except (ConnectorError, KeyMissing) as error:
        seen.error = str(error)
        read = "nothing was read" if seen.accounts == 0 else f"it broke off after {seen.accounts} accounts"
        yield Orphan(workspace=workspace.name, behind=Behind.UNKNOWN, why=f"{read}: {error}")


def _pages(listed: Iterable[Account]) -> Iterator[list[Account]]:
    """So many at a time. No transaction is open while a workspace is read: it may take as long as it likes. What came before it broke off counts."""
    page: list[Account] = []
    try:
        for account in listed:
            page.append(account)
            if len(page) == AT_A_TIME:
                yield page
                page = []
    except ConnectorError:
        if page:
            yield page
        raise
    if page:
        yield page


def _among(organization_id: str, workspace: Workspace, accounts: Sequence[Account], seen: Seen) -> Iterator[Orphan]:
    open_ones = [one for one in accounts if one.state is not AccountState.DEACTIVATED]
    seen.shut += len(accounts) - len(open_ones)
    with reading() as session:
        owners = _owners(session, organization_id, workspace.id, open_ones)
        people = _people(session, organization_id, {*owners.values(), *(one.person_id for one in open_ones if one.person_id is not None)})
        ours = _accounts_of(session, organization_id, workspace.id, people)
        orphans = [_orphan(workspace, one, owners.get(one.id), people, ours) for one in open_ones]
        nobodys = [one for one in orphans if one is not None and one.behind in (Behind.LOCAL, Behind.STRANGER)]
        likes = _likes(session, organization_id, nobodys)
    for orphan in orphans:
        if orphan is None:
            continue
        if orphan.behind in (Behind.LEFT, Behind.AWAY, Behind.NOT_STARTED) and orphan.state != AccountState.ACTIVE:
            seen.shut += 1
            continue
        yield replace(orphan, like=likes.get(orphan.account or ""))


def _orphan(
    workspace: Workspace, account: Account, owner_id: str | None, people: Mapping[str, Person], ours: Mapping[str, str]
) -> Orphan | None:
    """What is to be said of an account; None where it is the one that somebody with access has."""
    marked = account.person_id or owner_id
    if marked is None:
        return _said(workspace, account, Behind.LOCAL, None, None, why=None)
    person = people.get(marked)
    if person is None:
        return _said(workspace, account, Behind.STRANGER, None, marked, why="it carries an id that nobody here has")
    if person.standing == Standing.ACTIVE:
        mine = ours.get(person.id)
        if mine is None or mine == account.id:
            return None
        return _said(workspace, account, Behind.SECOND, person, marked, why=f"their account here is {mine}")
    behind = {Standing.DEPARTED: Behind.LEFT, Standing.PAUSED: Behind.AWAY}.get(Standing(person.standing), Behind.NOT_STARTED)
    return _said(workspace, account, behind, person, marked, why=f"they are {person.standing}")


def _said(workspace: Workspace, account: Account, behind: Behind, person: Person | None, marked: str | None, *, why: str | None) -> Orphan:
    return Orphan(
        workspace=workspace.name, behind=behind, account=account.id, state=account.state.value, display_name=account.display_name,
        emails=account.emails, person_id=marked, user_name=None if person is None else person.user_name, why=why,
    )  # fmt: skip


def _owners(session: Session, organization_id: str, workspace_id: str, accounts: Sequence[Account]) -> dict[str, str]:
    """Whose accounts these are by what we remember: one that has lost our mark is still the person's."""
    rows = session.execute(
        select(AccountRow.account_id, AccountRow.person_id).where(
            AccountRow.organization_id == organization_id, AccountRow.workspace_id == workspace_id, AccountRow.state != RESERVED,
            AccountRow.account_id.in_([one.id for one in accounts]),
        )
    )  # fmt: skip
    return {account_id: person_id for account_id, person_id in rows}


def _people(session: Session, organization_id: str, ids: set[str]) -> dict[str, Person]:
    return {one.id: one for one in session.scalars(select(Person).where(Person.organization_id == organization_id, Person.id.in_(sorted(ids))))}


def _accounts_of(session: Session, organization_id: str, workspace_id: str, people: Mapping[str, Person]) -> dict[str, str]:
    rows = session.execute(
        select(AccountRow.person_id, AccountRow.account_id).where(
            AccountRow.organization_id == organization_id, AccountRow.workspace_id == workspace_id, AccountRow.state != RESERVED,
            AccountRow.person_id.in_(sorted(people)),
        )
    )  # fmt: skip
    return {person_id: account_id for person_id, account_id in rows}


def _likes(session: Session, organization_id: str, orphans: Sequence[Orphan]) -> dict[str, str]:
    """Whose address an account of nobody's has, by what directories say. Nobody is given it for that."""
    addresses: dict[str, list[str]] = {}
    for one in orphans:
        for email in one.emails:
            addresses.setdefault(name_key(email), []).append(str(one.account))
    if not addresses:
        return {}
    rows = session.execute(
        select(RecordEmail.address_key, Person.user_name, Person.standing)
        .join(Record, (Record.organization_id == RecordEmail.organization_id) & (Record.id == RecordEmail.record_id))
        .join(Person, (Person.organization_id == Record.organization_id) & (Person.id == Record.person_id))
        .where(RecordEmail.organization_id == organization_id, RecordEmail.address_key.in_(sorted(addresses)))
        .order_by(Person.user_name_key, Person.id)
    )
    likes: dict[str, dict[str, None]] = {}
    for address, user_name, standing in rows:
        for account in addresses[address]:
            likes.setdefault(account, {})[f"{user_name} ({standing})"] = None
    return {account: ", ".join(found) for account, found in likes.items()}
