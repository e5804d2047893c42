"""Accounts on a real Synapse: every trap that it sets for a provisioner, and that the connector does not fall into one."""

from __future__ import annotations

import pytest

from connectors.contract import (
    AccountId,
    AccountState,
    AddressTaken,
    Conflict,
    EndsSessions,
    HoldsChannels,
    Missing,
    PausesAccounts,
    Profile,
    Refused,
    ShowsAccess,
    Target,
    Withdrawn,
)
from connectors.http import path
from connectors.targets.matrix import Matrix
from tests.connectors.matrix_arrangement import allowed, joiner, numbers, someone, withdrawn
from tests.servers.synapse import SERVER_NAME, Synapse

pytestmark = pytest.mark.synapse


def test_the_connector_keeps_every_promise_it_names(chat: Matrix) -> None:
    target: Target = chat

    for power in (PausesAccounts, EndsSessions, ShowsAccess, HoldsChannels):
        assert isinstance(target, power)


def test_an_account_made_twice_is_one_account(chat: Matrix) -> None:
    ada = someone()
    id = chat.proposed_id(ada, attempt=1)

    first = chat.create_account(id, ada, permit=allowed)
    second = chat.create_account(id, ada, permit=allowed)

    assert first == second == chat.find_account(ada.person_id)
    assert first.emails == ada.emails
    assert first.state is AccountState.ACTIVE


def test_nothing_is_made_once_the_permit_is_withdrawn(chat: Matrix) -> None:
    ada = someone()
    id = chat.proposed_id(ada, attempt=1)

    with pytest.raises(Withdrawn):
        chat.create_account(id, ada, permit=withdrawn)

    assert chat.get_account(id) is None


@pytest.mark.parametrize(
    "user_name",
    ["Ada.Love@corp.test", "_ada", "Jürgen Groß", "李明", "a+b@corp.test", "x" * 400, "..", "@", "ADA/ops=1"],
)
def test_any_user_name_gives_an_id_that_synapse_takes(chat: Matrix, user_name: str) -> None:
    ada = someone(user_name=f"{user_name}")
    id = chat.proposed_id(ada, attempt=next(numbers))

    assert chat.create_account(id, ada, permit=allowed).id == id


def test_somebody_whose_user_name_is_a_number_gets_an_account(chat: Matrix) -> None:
    number = someone(user_name="00471@corp.test")

    account = chat.create_account(chat.proposed_id(number, attempt=1), number, permit=allowed)

    assert account.id == f"@person-00471:{SERVER_NAME}" and account.person_id == number.person_id


def test_an_id_of_nothing_but_digits_is_said_to_be_taken_so_that_another_is_chosen(chat: Matrix) -> None:
    with pytest.raises(Conflict, match="keeps for guests"):
        chat.create_account(AccountId(f"@00471:{SERVER_NAME}"), someone(), permit=allowed)


def test_an_id_is_never_given_to_a_second_person(chat: Matrix) -> None:
    ada, namesake = someone(user_name="same.name"), someone(user_name="same.name")
    id = joiner(chat, ada)
    chat.deactivate_account(id)

    with pytest.raises(Conflict):
        chat.create_account(id, namesake, permit=allowed)

    kept = chat.get_account(id)
    assert kept is not None
    assert kept.person_id == ada.person_id


def test_an_account_that_is_not_ours_is_not_taken_over_by_its_address(chat: Matrix, synapse: Synapse) -> None:
    ada = someone()
    id = chat.proposed_id(ada, attempt=1)
    address = {"medium": "email", "address": ada.emails[0]}
    synapse.admin("PUT", path("/_synapse/admin/v2/users/{}", id), {"threepids": [address]})

    with pytest.raises(Conflict):
        chat.create_account(id, ada, permit=allowed)

    assert chat.find_account(ada.person_id) is None


def test_an_address_is_not_silently_moved_from_its_owner(chat: Matrix) -> None:
    owner = someone()
    owner_id = joiner(chat, owner)
    taker = someone(email=owner.emails[0])

    with pytest.raises(AddressTaken):
        joiner(chat, taker)

    kept = chat.get_account(owner_id)
    assert kept is not None
    assert kept.emails == owner.emails
    assert chat.find_account(taker.person_id) is None


def test_an_address_is_not_silently_moved_by_an_update(chat: Matrix) -> None:
    owner, taker = someone(), someone()
    owner_id, taker_id = joiner(chat, owner), joiner(chat, taker)
    greedy = Profile(
        person_id=taker.person_id, user_name=taker.user_name, display_name="T", emails=owner.emails
    )

    with pytest.raises(AddressTaken):
        chat.update_account(taker_id, greedy, permit=allowed)

    kept = chat.get_account(owner_id)
    assert kept is not None
    assert kept.emails == owner.emails


def test_the_account_that_synapse_leaves_behind_with_a_409_is_closed(chat: Matrix, synapse: Synapse) -> None:
    ada = someone()
    stray, other = chat.proposed_id(ada, attempt=1), chat.proposed_id(ada, attempt=2)

    def somebody_is_quicker() -> None:
        if chat.find_account(ada.person_id) is None:
            external = {"auth_provider": "oidc-doorlist", "external_id": ada.person_id}
            synapse.admin("PUT", path("/_synapse/admin/v2/users/{}", other), {"external_ids": [external]})

    made = chat.create_account(stray, ada, permit=somebody_is_quicker)

    assert made.id == other
    assert made.emails == ada.emails
    left = chat.get_account(stray)
    assert left is not None
    assert left.state is AccountState.DEACTIVATED


def test_what_others_put_on_an_account_survives_our_update(chat: Matrix, synapse: Synapse) -> None:
    ada = someone()
    id = joiner(chat, ada)
    url = path("/_synapse/admin/v2/users/{}", id)
    ours = {"auth_provider": "oidc-doorlist", "external_id": ada.person_id}
    theirs = {"auth_provider": "oidc-old", "external_id": f"old-{ada.person_id}"}
    phone = {"medium": "msisdn", "address": f"4930{next(numbers)}"}
    mail = {"medium": "email", "address": ada.emails[0]}
    synapse.admin("PUT", url, {"external_ids": [ours, theirs], "threepids": [mail, phone]})
    renamed = Profile(person_id=ada.person_id, user_name=ada.user_name, display_name="New", emails=ada.emails)

    chat.update_account(id, renamed, permit=allowed)

    after = synapse.admin("GET", url)
    assert after["displayname"] == "New"
    assert theirs["external_id"] in str(after["external_ids"])
    assert phone["address"] in str(after["threepids"])


def test_the_list_shows_paused_and_deactivated_accounts_too(chat: Matrix, synapse: Synapse) -> None:
    active, paused, left = joiner(chat), joiner(chat), joiner(chat)
    chat.pause_account(paused)
    chat.deactivate_account(left)

    listed = {account.id: account.state for account in chat.list_accounts()}

    assert listed[active] is AccountState.ACTIVE
    assert listed[paused] is AccountState.PAUSED
    assert listed[left] is AccountState.DEACTIVATED
    assert synapse.admin_id not in listed


def test_an_addresss_spelling_does_not_look_like_a_change(chat: Matrix) -> None:
    ada = someone(email=f"  Ada{next(numbers)}@CORP.Test ")
    fitted = chat.fit(ada)
    id = joiner(chat, fitted)

    seen = chat.get_account(id)

    assert seen is not None
    assert seen.emails == fitted.emails


def test_updating_a_missing_account_does_not_make_one(chat: Matrix) -> None:
    nobody = AccountId(f"@nobody:{SERVER_NAME}")

    with pytest.raises(Missing):
        chat.update_account(nobody, someone(), permit=allowed)

    assert chat.get_account(nobody) is None


def test_taking_access_from_a_missing_account_makes_none(chat: Matrix) -> None:
    nobody = AccountId(f"@nobody:{SERVER_NAME}")

    chat.deactivate_account(nobody)
    chat.pause_account(nobody)
    ended = chat.end_sessions(nobody)

    assert ended == 0
    assert chat.get_account(nobody) is None
    assert chat.show_access(nobody).gone


def test_the_provisioner_never_shuts_itself_out(chat: Matrix, synapse: Synapse) -> None:
    own = AccountId(synapse.admin_id)

    for act in (chat.deactivate_account, chat.pause_account, chat.end_sessions):
        with pytest.raises(Refused):
            act(own)

    assert chat.show_access(own).can_sign_in
