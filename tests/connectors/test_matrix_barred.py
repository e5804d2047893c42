"""The first that is done to a leaver on a real Synapse when many leave at once: no new request of theirs is answered."""

from __future__ import annotations

import pytest

from connectors.contract import AccountId, AccountState, BarsAccounts, Refused
from connectors.targets.matrix import Matrix
from tests.connectors.matrix_arrangement import allowed, as_user, joiner, room, someone
from tests.servers.synapse import Synapse

pytestmark = pytest.mark.synapse

WHOAMI = "/_matrix/client/v3/account/whoami"


def test_the_connector_keeps_this_promise_too(chat: Matrix) -> None:
    assert isinstance(chat, BarsAccounts)


def test_a_phone_is_refused_at_once_and_nobody_can_sign_in(chat: Matrix, synapse: Synapse) -> None:
    ada = joiner(chat)
    ref = room(chat, ada).ref
    phone = synapse.sign_in(ada)
    assert as_user(phone, synapse, "GET", WHOAMI).status_code == 200

    chat.bar_account(ada)

    assert as_user(phone, synapse, "GET", WHOAMI).json()["errcode"] == "M_USER_LOCKED"
    assert synapse.try_sign_in(ada, device_id="TABLET", password=synapse.password_of(ada)).status_code == 401
    seen = chat.show_access(ada)
    # The rest is still there, and is ended by what comes after it.
    assert (seen.can_sign_in, seen.sessions, seen.memberships) == (False, 1, 1)
    assert chat.channels_of(ada) == frozenset({ref})


@pytest.mark.parametrize("end", ["deactivate_account", "pause_account"])
def test_whoever_is_kept_out_is_shut_out_as_anybody_else(chat: Matrix, synapse: Synapse, end: str) -> None:
    ada = joiner(chat)
    room(chat, ada)
    synapse.sign_in(ada)
    chat.bar_account(ada)
    chat.bar_account(ada)

    getattr(chat, end)(ada)

    assert chat.show_access(ada).shut
    seen = chat.get_account(ada)
    assert seen is not None
    assert seen.state is (AccountState.PAUSED if end == "pause_account" else AccountState.DEACTIVATED)


def test_whoever_comes_back_meanwhile_is_let_in_again(chat: Matrix, synapse: Synapse) -> None:
    profile = someone()
    ada = joiner(chat, profile)
    phone = synapse.sign_in(ada)
    chat.bar_account(ada)

    chat.reactivate_account(ada, profile, permit=allowed)

    assert as_user(phone, synapse, "GET", WHOAMI).status_code == 200


def test_it_makes_no_account_opens_none_and_spares_our_own(chat: Matrix, synapse: Synapse) -> None:
    gone, nobody = joiner(chat), AccountId("@nobody-here:chat.test")
    chat.deactivate_account(gone)

    chat.bar_account(gone)
    chat.bar_account(nobody)

    shut = chat.get_account(gone)
    assert shut is not None and shut.state is AccountState.DEACTIVATED
    assert chat.get_account(nobody) is None
    with pytest.raises(Refused):
        chat.bar_account(AccountId(synapse.admin_id))
    assert chat.show_access(AccountId(synapse.admin_id)).can_sign_in
