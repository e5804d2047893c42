"""An account on a real Synapse that is there before its owner starts: nobody gets in until it is opened."""

from __future__ import annotations

import pytest

from connectors.contract import AccountId, AccountState, Conflict, PreparesAccounts, Refused, Target, Withdrawn
from connectors.targets.matrix import Matrix
from tests.connectors.matrix_arrangement import allowed, someone, withdrawn
from tests.servers.synapse import SERVER_NAME

pytestmark = pytest.mark.synapse


def test_the_connector_can_prepare_accounts(chat: Matrix) -> None:
    target: Target = chat

    assert isinstance(target, PreparesAccounts)


def test_a_prepared_account_is_known_as_its_persons_and_lets_nobody_in(chat: Matrix) -> None:
    eve = someone()

    made = chat.prepare_account(chat.proposed_id(eve, attempt=1), eve, permit=allowed)

    assert (made.person_id, made.state, made.emails) == (eve.person_id, AccountState.PAUSED, ())
    assert chat.find_account(eve.person_id) == made
    assert not chat.show_access(made.id).can_sign_in and chat.show_access(made.id).gone


def test_preparing_twice_makes_one_account(chat: Matrix) -> None:
    eve = someone()
    first = chat.prepare_account(chat.proposed_id(eve, attempt=1), eve, permit=allowed)

    assert chat.prepare_account(AccountId(f"@other:{SERVER_NAME}"), eve, permit=allowed) == first


def test_on_the_day_it_is_opened_with_name_and_addresses(chat: Matrix) -> None:
    eve = someone()
    made = chat.prepare_account(chat.proposed_id(eve, attempt=1), eve, permit=allowed)

    opened = chat.reactivate_account(made.id, chat.fit(eve), permit=allowed)

    assert (opened.id, opened.state, opened.emails, opened.display_name) == (made.id, AccountState.ACTIVE, eve.emails, eve.display_name)


def test_an_account_that_was_left_open_is_shut(chat: Matrix) -> None:
    eve = someone()
    made = chat.create_account(chat.proposed_id(eve, attempt=1), eve, permit=allowed)

    prepared = chat.prepare_account(made.id, eve, permit=allowed)

    assert (prepared.id, prepared.state) == (made.id, AccountState.PAUSED)


def test_one_that_was_deactivated_stays_so(chat: Matrix) -> None:
    eve = someone()
    made = chat.create_account(chat.proposed_id(eve, attempt=1), eve, permit=allowed)
    chat.deactivate_account(made.id)

    assert chat.prepare_account(made.id, eve, permit=allowed).state is AccountState.DEACTIVATED


def test_somebody_elses_account_is_not_taken(chat: Matrix) -> None:
    ada, eve = someone(), someone()
    theirs = chat.create_account(chat.proposed_id(ada, attempt=1), ada, permit=allowed)

    with pytest.raises(Conflict):
        chat.prepare_account(theirs.id, eve, permit=allowed)
    assert chat.get_account(theirs.id) == theirs


def test_nothing_is_made_for_whoever_is_not_expected_any_more(chat: Matrix) -> None:
    eve = someone()

    with pytest.raises(Withdrawn):
        chat.prepare_account(chat.proposed_id(eve, attempt=1), eve, permit=withdrawn)
    assert chat.find_account(eve.person_id) is None


def test_an_id_of_another_server_is_refused(chat: Matrix) -> None:
    with pytest.raises(Refused):
        chat.prepare_account(AccountId("@eve:elsewhere.test"), someone(), permit=allowed)
