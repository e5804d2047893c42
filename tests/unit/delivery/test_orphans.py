"""Accounts that nobody stands behind are found in the workspace as it is now; what could not be read is unknown and never *none*."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest
from flask import Flask
from sqlalchemy import select

from app.access.sealing import KeyMissing
from app.access.tables import Account as AccountRow
from app.access.tables import Workspace as WorkspaceRow
from app.clock import now
from app.database import in_transaction, reading
from app.delivery import orphans
from app.delivery.orphans import Behind, Orphan, Seen, orphans_of
from app.directory.tables import Person, StatementKind, Voice
from app.lifecycle import leaving
from app.lifecycle.records import RecordDraft, add_record
from connectors.contract import Account, AccountId, AccountState, Misconfigured, Target, Unreachable
from tests.company import ADMIN, OKTA, Company, document
from tests.unit.delivery.crew import employ, settle
from tests.workspace import Workspace


class Chat:
    """A company, its workspace, and what a look at it finds."""

    def __init__(self, app: Flask) -> None:
        self.app, self.workspace = app, Workspace()
        self.company: Company
        self.company, self.workspace_id = employ(self.workspace)
        self.breaks_off_after: int | None = None

    def has(self, name: str, *, person_id: str | None = None, emails: tuple[str, ...] = (), state: AccountState = AccountState.ACTIVE) -> None:
        """An account that nobody of ours has made."""
        id = AccountId(name)
        self.workspace.accounts[id] = Account(id=id, person_id=person_id, display_name=name.title(), emails=emails, state=state)

    def joins(self, name: str) -> str:
        person_id = self.company.joins(f"{name}@x.example", None, at=now()).person_id
        settle(self.app, self.workspace)
        return person_id

    def changes(self, name: str, **changed: object) -> None:
        id = AccountId(name)
        self.workspace.accounts[id] = replace(self.workspace.accounts[id], **changed)  # type: ignore[arg-type]  # fields of an account

    def leaves(self, person_id: str, kind: StatementKind = StatementKind.LEAVES) -> None:
        in_transaction(
            lambda session: leaving.say(
                session, self.company.organization_id, person_id, voice=Voice.OPERATOR, kind=kind, said_by="ana", effective_at=now(),
                actor=ADMIN, at=now(), because="test",
            )
        )  # fmt: skip
        settle(self.app, self.workspace)

    def list_accounts(self) -> Iterator[Account]:
        for number, account in enumerate(self.workspace.list_accounts()):
            if number == self.breaks_off_after:
                raise Unreachable("chat: no answer", sent=True)
            yield account
        if self.breaks_off_after is not None and self.breaks_off_after >= len(self.workspace.accounts):
            raise Unreachable("chat: no answer", sent=True)

    def look(self) -> tuple[dict[str, Orphan], Seen]:
        with reading() as session:
            row = session.scalars(select(WorkspaceRow).where(WorkspaceRow.id == self.workspace_id)).one()
        seen = Seen(name=row.name)
        found = list(orphans_of(self.company.organization_id, row, seen, opens=lambda _: cast(Target, self)))
        return {one.account or "?": one for one in found}, seen


@pytest.fixture
def chat(installed: Flask) -> Chat:
    return Chat(installed)


def test_accounts_of_people_with_access_are_nobodys_business(chat: Chat) -> None:
    chat.joins("ada")
    chat.joins("bob")

    found, seen = chat.look()

    assert found == {}
    assert (seen.accounts, seen.orphans, seen.error) == (2, 0, None)


def test_an_account_that_was_made_there_belongs_to_nobody(chat: Chat) -> None:
    chat.has("deploy-bot")

    found, _ = chat.look()

    assert (found["deploy-bot"].behind, found["deploy-bot"].person_id) == (Behind.LOCAL, None)


def test_an_account_that_carries_an_id_of_nobody_here_is_a_strangers(chat: Chat) -> None:
    chat.has("eve", person_id="somebody-of-another-installation")

    assert chat.look()[0]["eve"].behind is Behind.STRANGER


def test_an_account_of_a_leaver_that_is_alive_is_found(chat: Chat) -> None:
    chat.leaves(chat.joins("ada"))
    chat.changes("ada", state=AccountState.ACTIVE)

    found, _ = chat.look()

    assert (found["ada"].behind, found["ada"].user_name, found["ada"].why) == (Behind.LEFT, "ada@x.example", "they are departed")


def test_an_account_of_a_leaver_that_has_lost_our_mark_is_still_theirs(chat: Chat) -> None:
    chat.leaves(chat.joins("ada"))
    chat.changes("ada", state=AccountState.ACTIVE, person_id=None)

    assert chat.look()[0]["ada"].behind is Behind.LEFT


def test_an_account_of_somebody_who_is_away_is_found_only_where_it_is_alive(chat: Chat) -> None:
    chat.leaves(chat.joins("ada"), StatementKind.PAUSES)
    shut, seen = chat.look()
    chat.changes("ada", state=AccountState.ACTIVE)

    alive, _ = chat.look()

    assert (shut, seen.shut) == ({}, 1)
    assert alive["ada"].behind is Behind.AWAY


def test_an_account_of_somebody_who_has_yet_to_start_is_found_where_it_is_alive(chat: Chat) -> None:
    draft = RecordDraft(
        external_id="1", user_name="ada@x.example", active=True, document=document("ada@x.example", None), starts_at=now().replace(year=2099)
    )
    record = in_transaction(
        lambda s: add_record(s, chat.company.organization_id, chat.company.source_id, draft, actor=OKTA, at=now(), because="test")
    )
    chat.has("ada", person_id=record.person_id)

    assert chat.look()[0]["ada"].behind is Behind.NOT_STARTED


def test_a_second_account_of_somebody_with_access_is_found(chat: Chat) -> None:
    person_id = chat.joins("ada")
    chat.has("ada-old", person_id=person_id)

    found, _ = chat.look()

    assert set(found) == {"ada-old"}
    assert (found["ada-old"].behind, found["ada-old"].why) == (Behind.SECOND, "their account here is ada")


def test_a_deactivated_account_is_nobodys_way_in_and_only_counted(chat: Chat) -> None:
    chat.leaves(chat.joins("ada"))
    chat.has("old-bot", state=AccountState.DEACTIVATED)

    found, seen = chat.look()

    assert (found, seen.accounts, seen.shut) == ({}, 2, 2)


def test_a_local_account_with_a_leavers_address_names_them(chat: Chat) -> None:
    chat.leaves(chat.joins("ada"))
    chat.has("private-ada", emails=("other@x.example", "ADA@x.example"))
    chat.has("bot", emails=("bot@x.example",))

    found, _ = chat.look()

    assert (found["private-ada"].like, found["bot"].like) == ("ada@x.example (departed)", None)


def test_an_id_that_was_only_set_aside_makes_nobody_the_owner(chat: Chat) -> None:
    chat.has("ada")
    person_id = chat.company.joins("ada@x.example", None, at=now()).person_id
    row = AccountRow(
        organization_id=chat.company.organization_id, workspace_id=chat.workspace_id, person_id=person_id, account_id="ada", state="reserved"
    )
    in_transaction(lambda session: session.add(row))

    assert chat.look()[0]["ada"].behind is Behind.LOCAL


def test_a_workspace_that_cannot_be_read_is_unknown_and_not_empty(chat: Chat) -> None:
    chat.has("bot")
    chat.breaks_off_after = 0

    found, seen = chat.look()

    assert {name: one.behind for name, one in found.items()} == {"?": Behind.UNKNOWN}
    assert found["?"].why == "nothing was read: chat: no answer" and seen.error == "chat: no answer"


@pytest.mark.parametrize("page", [1, 2, 500])
def test_what_was_read_before_it_broke_off_is_told_and_the_rest_is_unknown(chat: Chat, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "AT_A_TIME", page)
    for number in range(3):
        chat.has(f"bot-{number}")
    chat.breaks_off_after = 3

    found, seen = chat.look()

    assert set(found) == {"bot-0", "bot-1", "bot-2", "?"}
    assert found["?"].why == "it broke off after 3 accounts: chat: no answer"
    assert (seen.accounts, seen.orphans) == (3, 3)


@pytest.mark.parametrize("error", [KeyMissing("no key"), Misconfigured("no such host")])
def test_a_workspace_that_cannot_even_be_opened_is_unknown(chat: Chat, error: Exception) -> None:
    def refuses(_: WorkspaceRow) -> Target:
        raise error

    with reading() as session:
        row = session.scalars(select(WorkspaceRow)).one()
    (found,) = orphans_of(chat.company.organization_id, row, Seen(name="chat"), opens=refuses)

    assert found.behind is Behind.UNKNOWN


def test_nobody_of_another_organisation_stands_behind_an_account(chat: Chat) -> None:
    other = Chat(chat.app)
    chat.has("eve", person_id=other.joins("eve"))

    assert chat.look()[0]["eve"].behind is Behind.STRANGER


def test_looking_writes_nothing(chat: Chat) -> None:
    chat.leaves(chat.joins("ada"))
    chat.changes("ada", state=AccountState.ACTIVE)
    with reading() as session:
        before = session.execute(select(Person.version, Person.journal_id)).all(), session.scalars(select(AccountRow.state)).all()

    chat.look()

    with reading() as session:
        assert (session.execute(select(Person.version, Person.journal_id)).all(), session.scalars(select(AccountRow.state)).all()) == before
    assert chat.workspace.accounts[AccountId("ada")].state is AccountState.ACTIVE
