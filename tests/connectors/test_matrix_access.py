"""Access to a real Synapse: taken away it is gone, from syncs that are open too, and a return brings back nothing old."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from connectors.contract import AccountState, Conflict, Member, Withdrawn
from connectors.http import path
from connectors.targets.matrix import Matrix
from tests.connectors.matrix_arrangement import (
    allowed,
    as_user,
    classic_sync,
    joiner,
    refused,
    register_pusher,
    room,
    say,
    sliding_sync,
    someone,
    withdrawn,
)
from tests.servers.synapse import SignIn, Synapse
from tests.waiting import until

pytestmark = pytest.mark.synapse


@pytest.mark.parametrize("take_away", ["deactivate_account", "pause_account"])
@pytest.mark.parametrize("open_sync", [classic_sync, sliding_sync])
def test_no_message_passes_through_a_sync_that_was_open(
    chat: Matrix,
    synapse: Synapse,
    take_away: str,
    open_sync: Callable[[SignIn, Synapse], Callable[[], str]],
) -> None:
    ada = joiner(chat)
    ref = room(chat, ada).ref
    client = synapse.sign_in(ada)
    wait_for_news = open_sync(client, synapse)
    before = synapse.held_syncs()

    with ThreadPoolExecutor(1) as phone:
        news: Future[str] = phone.submit(wait_for_news)
        assert until(lambda: synapse.held_syncs() > before)
        getattr(chat, take_away)(ada)
        assert until(news.done, within=3), "it ends by itself"
        say(synapse, ref, "not for leavers").raise_for_status()
        heard = news.result(10)

    assert "not for leavers" not in heard
    assert refused(client, synapse)


@pytest.mark.parametrize("take_away", ["deactivate_account", "pause_account"])
def test_someone_shut_out_has_no_session_no_push_and_no_way_in(
    chat: Matrix, synapse: Synapse, take_away: str
) -> None:
    ada = joiner(chat)
    ref = room(chat, ada).ref
    phone, laptop = synapse.sign_in(ada, device_id="PHONE"), synapse.sign_in(ada, device_id="LAPTOP")
    register_pusher(phone, synapse, event_id_only=True)
    before = chat.show_access(ada)

    getattr(chat, take_away)(ada)

    assert (before.sessions, before.pushers, before.memberships, before.can_sign_in) == (2, 1, 1, True)
    assert chat.show_access(ada).shut
    assert refused(phone, synapse)
    assert refused(laptop, synapse)
    again = synapse.try_sign_in(ada, device_id="NEW", password=synapse.password_of(ada))
    assert again.status_code in (401, 403)
    assert until(lambda: chat.show_access(ada).gone)
    assert Member(account=ada, joined=True) not in set(chat.list_members(ref))


def test_a_pause_withdraws_invitations_too(chat: Matrix, synapse: Synapse) -> None:
    ada, owner = joiner(chat), synapse.sign_in(joiner(chat))
    made = room(chat)
    chat.invite_members(made.ref, [ada], permit=allowed)
    as_user(owner, synapse, "POST", "/_matrix/client/v3/createRoom", preset="private_chat", invite=[ada]).raise_for_status()

    chat.pause_account(ada)

    # Into other people's rooms she is invited still, which is theirs to say.
    assert list(chat.list_members(made.ref)) == []
    assert chat.show_access(ada).gone


def test_taking_access_away_may_be_done_twice(chat: Matrix) -> None:
    ada = joiner(chat)

    chat.pause_account(ada)
    chat.pause_account(ada)
    chat.deactivate_account(ada)
    chat.deactivate_account(ada)
    chat.pause_account(ada)

    seen = chat.get_account(ada)
    assert seen is not None
    assert seen.state is AccountState.DEACTIVATED


def test_ended_sessions_take_their_push_registrations_along(chat: Matrix, synapse: Synapse) -> None:
    ada = joiner(chat)
    phone = synapse.sign_in(ada)
    register_pusher(phone, synapse, event_id_only=True)

    ended = chat.end_sessions(ada)

    after = chat.show_access(ada)
    assert ended == 1
    assert (after.sessions, after.pushers, after.can_sign_in) == (0, 0, True)
    assert refused(phone, synapse)
    assert chat.end_sessions(ada) == 0


def test_an_administrators_token_in_someones_name_is_refused_after_departure(
    chat: Matrix, synapse: Synapse
) -> None:
    # Such a token belongs to the administrator: it outlives deleted devices and deactivation. The lock, which stays
    # on the deactivated account, is what refuses it.
    ada = joiner(chat)
    minted = synapse.admin("POST", path("/_synapse/admin/v1/users/{}/login", ada), {})
    intruder = SignIn(user_id=ada, device_id="", token=str(minted["access_token"]))

    chat.deactivate_account(ada)

    assert refused(intruder, synapse)


@pytest.mark.parametrize("take_away", ["deactivate_account", "pause_account"])
def test_someone_who_returns_has_everything_again_and_nothing_old(
    chat: Matrix, synapse: Synapse, take_away: str
) -> None:
    profile = someone()
    ada = joiner(chat, profile)
    old = synapse.sign_in(ada)
    getattr(chat, take_away)(ada)

    back = chat.reactivate_account(ada, profile, permit=allowed)

    assert back.state is AccountState.ACTIVE
    assert back.emails == profile.emails
    assert back.person_id == profile.person_id
    assert chat.show_access(ada).can_sign_in
    assert refused(old, synapse)


def test_no_one_is_let_in_again_once_the_permit_is_withdrawn(chat: Matrix) -> None:
    profile = someone()
    ada = joiner(chat, profile)
    chat.deactivate_account(ada)

    with pytest.raises(Withdrawn):
        chat.reactivate_account(ada, profile, permit=withdrawn)

    assert not chat.show_access(ada).can_sign_in


def test_an_address_given_on_meanwhile_stays_with_its_new_owner(chat: Matrix) -> None:
    profile = someone()
    ada = joiner(chat, profile)
    chat.deactivate_account(ada)
    heir = joiner(chat, someone(email=profile.emails[0]))

    with pytest.raises(Conflict):
        chat.reactivate_account(ada, profile, permit=allowed)

    kept = chat.get_account(heir)
    assert kept is not None
    assert kept.emails == profile.emails
    assert not chat.show_access(ada).can_sign_in
