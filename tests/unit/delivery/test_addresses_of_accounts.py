"""The e-mail addresses of accounts follow the directory: what it takes away goes, and what one gives up another may have."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from flask import Flask
from sqlalchemy import select

from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Record
from app.journal import work
from app.journal.tables import Subject, Work, WorkState
from app.lifecycle.records import RecordDraft, change_record
from connectors.contract import Account, AccountId, AccountState, AddressTaken, Conflict, Permit, Profile
from tests.company import OKTA, Company
from tests.unit.delivery.crew import crew, employ, settle
from tests.workspace import Workspace

pytestmark = pytest.mark.slow


class Strict(Workspace):
    """No two accounts have one address, as in Synapse."""

    def _require_free(self, id: AccountId, profile: Profile) -> None:
        for other in self.accounts.values():
            if other.id != id and (taken := set(other.emails) & set(profile.emails)):
                raise AddressTaken(f"{taken} is the address of {other.id}, not of {id}")

    def create_account(self, id: AccountId, profile: Profile, *, permit: Permit) -> Account:
        self._require_free(id, profile)
        return super().create_account(id, profile, permit=permit)

    def update_account(self, id: AccountId, profile: Profile, *, permit: Permit) -> Account:
        self._require_free(id, profile)
        return super().update_account(id, profile, permit=permit)

    def reactivate_account(self, id: AccountId, profile: Profile, *, permit: Permit) -> Account:
        self._require_free(id, profile)
        return super().reactivate_account(id, profile, permit=permit)


@dataclass
class Firm:
    app: Flask
    there: Strict
    company: Company
    workspace_id: str

    def addresses(self, record: Record, *addresses: str) -> None:
        """The directory gives somebody these."""
        document = {**record.document, "emails": [{"value": one, "type": "work", "primary": True} for one in addresses]}
        draft = RecordDraft(external_id=record.external_id, user_name=record.user_name, active=True, document=document)
        in_transaction(
            lambda session: change_record(
                session, self.company.organization_id, record.source_id, record.id, draft, actor=OKTA, at=now(), because="test"
            )
        )

    def is_looked_at(self, record: Record) -> None:
        in_transaction(
            lambda session: work.want(
                session, self.company.organization_id, subject=Subject.ACCOUNT, subject_ids=[record.person_id], because=None, due_at=now(),
                workspace_id=self.workspace_id,
            )
        )  # fmt: skip

    def delivers(self) -> None:
        settle(self.app, self.there)

    def delivers_once(self) -> None:
        """What is due now. Whoever is refused is set aside."""
        crew(self.app, self.there).run_until_idle()

    def has(self, name: str) -> set[str]:
        return set(self.there.accounts[AccountId(name)].emails)

    def adds_by_hand(self, name: str, address: str) -> None:
        account = self.there.accounts[AccountId(name)]
        self.there.accounts[account.id] = replace(account, emails=(*account.emails, address))


@pytest.fixture
def firm(installed: Flask) -> Firm:
    there = Strict()
    company, workspace_id = employ(there)
    return Firm(app=installed, there=there, company=company, workspace_id=workspace_id)


def test_an_address_that_the_directory_takes_away_goes_from_the_account(firm: Firm) -> None:
    ada = firm.company.joins("ada@x.example")
    firm.delivers()

    firm.addresses(ada)
    firm.delivers()

    assert firm.has("ada") == set()


def test_so_does_one_whose_place_was_taken_by_one_that_was_added_by_hand(firm: Firm) -> None:
    ada = firm.company.joins("ada@x.example")
    firm.delivers()
    firm.adds_by_hand("ada", "ada@y.example")

    firm.addresses(ada, "ada@y.example")
    firm.delivers()

    assert firm.has("ada") == {"ada@y.example"}


def test_one_that_was_added_by_hand_stays_while_nothing_changes_here(firm: Firm) -> None:
    ada = firm.company.joins("ada@x.example")
    firm.delivers()
    firm.adds_by_hand("ada", "ada@y.example")

    firm.is_looked_at(ada)
    firm.delivers()

    assert firm.has("ada") == {"ada@x.example", "ada@y.example"}


def parked() -> set[str]:
    with reading() as session:
        return set(session.scalars(select(Work.subject_id).where(Work.state == WorkState.PARKED)))


def test_who_was_refused_an_address_has_it_once_it_was_given_up(firm: Firm) -> None:
    ada, bob = firm.company.joins("ada@x.example"), firm.company.joins("bob@x.example")
    firm.delivers()
    firm.addresses(bob, "ada@x.example")
    firm.delivers_once()
    assert parked() == {bob.person_id}

    firm.addresses(ada, "ada@y.example")
    firm.delivers()

    assert (firm.has("ada"), firm.has("bob")) == ({"ada@y.example"}, {"ada@x.example"})


def test_two_who_swap_theirs_have_each_the_others(firm: Firm) -> None:
    ada, bob = firm.company.joins("ada@x.example"), firm.company.joins("bob@x.example")
    firm.delivers()

    firm.addresses(ada, "bob@x.example")
    firm.addresses(bob, "ada@x.example")
    firm.delivers_once()
    firm.delivers()

    assert (firm.has("ada"), firm.has("bob")) == ({"bob@x.example"}, {"ada@x.example"})


def test_who_comes_in_the_place_of_a_leaver_has_an_account_once_they_are_gone(firm: Firm) -> None:
    ada = firm.company.joins("ada@x.example")
    firm.delivers()
    bob = firm.company.joins("bob@x.example")
    firm.addresses(bob, "ada@x.example")
    firm.delivers_once()
    assert parked() == {bob.person_id}

    firm.company.says(ada, active=False, at=now())
    firm.delivers()

    assert firm.has("bob") == {"ada@x.example"}


def test_an_address_that_is_given_up_while_another_is_refused_it_is_not_overlooked(firm: Firm) -> None:
    ada, bob = firm.company.joins("ada@x.example"), firm.company.joins("bob@x.example")
    firm.delivers()
    firm.addresses(bob, "ada@x.example")
    require = firm.there._require_free

    def meanwhile(id: AccountId, profile: Profile) -> None:
        try:
            require(id, profile)
        except Conflict:
            firm.there._require_free = require  # type: ignore[method-assign]  # once
            with firm.app.app_context():
                firm.addresses(ada, "ada@y.example")
                firm.delivers_once()
            raise

    firm.there._require_free = meanwhile  # type: ignore[method-assign]  # seen on its way
    firm.delivers_once()
    firm.delivers()

    assert (firm.has("ada"), firm.has("bob")) == ({"ada@y.example"}, {"ada@x.example"})


def test_one_that_a_stranger_has_is_refused_as_before_and_wakes_nobody(firm: Firm) -> None:
    stranger = AccountId("stranger")
    firm.there.accounts[stranger] = Account(id=stranger, person_id=None, display_name="Z", emails=("z@x.example",), state=AccountState.ACTIVE)
    ada = firm.company.joins("ada@x.example")
    firm.delivers()

    firm.addresses(ada, "z@x.example")
    firm.delivers_once()

    assert parked() == {ada.person_id} and firm.has("stranger") == {"z@x.example"} and firm.has("ada") == set()


def test_who_is_refused_an_address_keeps_the_id_that_was_chosen_for_them(firm: Firm) -> None:
    stranger = AccountId("stranger")
    firm.there.accounts[stranger] = Account(id=stranger, person_id=None, display_name="Z", emails=("bob@x.example",), state=AccountState.ACTIVE)
    bob = firm.company.joins("bob@x.example")
    firm.delivers_once()
    assert parked() == {bob.person_id}

    del firm.there.accounts[stranger]
    firm.is_looked_at(bob)
    firm.delivers()

    assert list(firm.there.accounts) == [AccountId("bob")]
