"""Rooms of a leaver's own, on a real Synapse: handed over between lock and deactivation; and what is erased of them one day."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import requests

from connectors.contract import AccountId, AccountState, Arrival, ChannelRef, Conflict, ErasesAccounts, HandsOver, Led, Refused, Withdrawn
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
    withdrawn,
)
from tests.servers.synapse import SignIn, Synapse
from tests.waiting import until

pytestmark = pytest.mark.synapse

CLIENT = "/_matrix/client/v3"


def makes_room(client: SignIn, synapse: Synapse, *others: SignIn, **creation: Any) -> ChannelRef:
    """A room that somebody makes in their own client, with others in it."""
    asked = {"preset": "private_chat", "name": "Ours", "invite": [one.user_id for one in others], **creation}
    asked = {key: value for key, value in asked.items() if value is not None}
    made = as_user(client, synapse, "POST", f"{CLIENT}/createRoom", **asked)
    made.raise_for_status()
    ref = ChannelRef(made.json()["room_id"])
    for one in others:
        as_user(one, synapse, "POST", path(f"{CLIENT}/join/{{}}", ref)).raise_for_status()
    return ref


def can_rename(client: SignIn, synapse: Synapse, ref: ChannelRef) -> bool:
    as_user(client, synapse, "POST", path(f"{CLIENT}/join/{{}}", ref))
    return as_user(client, synapse, "PUT", path(f"{CLIENT}/rooms/{{}}/state/m.room.name/", ref), name="renamed").ok


def led(chat: Matrix, ref: ChannelRef, id: AccountId) -> Led:
    found = chat.led_by(ref, id)
    assert found is not None
    return found


def test_the_connector_keeps_these_promises_too(chat: Matrix) -> None:
    assert isinstance(chat, HandsOver)
    assert isinstance(chat, ErasesAccounts)


@pytest.mark.parametrize("version", ["10", "11", "12"])
@pytest.mark.parametrize("preset", ["private_chat", "public_chat"])
def test_a_locked_leavers_room_goes_to_somebody_else_who_can_lead_it_afterwards(
    chat: Matrix, synapse: Synapse, version: str, preset: str
) -> None:
    ada, boss, bob = (joiner(chat) for _ in range(3))
    ref = makes_room(synapse.sign_in(ada), synapse, synapse.sign_in(bob), room_version=version, preset=preset)

    joined = chat.lock_account(ada)
    arrival = chat.hand_over(ref, boss, permit=allowed)
    chat.deactivate_locked(ada)

    assert joined == frozenset({ref})
    assert arrival is (Arrival.OPEN if preset == "public_chat" else Arrival.INVITED)
    assert until(lambda: chat.channels_of(ada) == frozenset())
    assert can_rename(synapse.sign_in(boss), synapse, ref)


def test_once_the_last_owner_is_deactivated_nobody_can_be_made_owner_any_more(chat: Matrix, synapse: Synapse) -> None:
    ada, boss, bob = (joiner(chat) for _ in range(3))
    ref = makes_room(synapse.sign_in(ada), synapse, synapse.sign_in(bob))
    chat.deactivate_account(ada)
    assert until(lambda: chat.channels_of(ada) == frozenset())

    with pytest.raises(Refused):
        chat.hand_over(ref, boss, permit=allowed)


def test_who_is_in_the_room_already_is_its_owner_where_they_are(chat: Matrix, synapse: Synapse) -> None:
    ada, boss = joiner(chat), joiner(chat)
    ref = makes_room(synapse.sign_in(ada), synapse, synapse.sign_in(boss))
    chat.lock_account(ada)

    assert chat.hand_over(ref, boss, permit=allowed) is Arrival.JOINED
    assert chat.hand_over(ref, boss, permit=allowed) is Arrival.JOINED


def test_nothing_is_handed_over_once_the_permit_is_withdrawn(chat: Matrix, synapse: Synapse) -> None:
    ada, boss, bob = (joiner(chat) for _ in range(3))
    ref = makes_room(synapse.sign_in(ada), synapse, synapse.sign_in(bob))
    chat.lock_account(ada)

    with pytest.raises(Withdrawn):
        chat.hand_over(ref, boss, permit=withdrawn)

    assert chat.led_by(ref, boss) is None


def test_somebody_banned_from_a_room_is_not_reported_as_its_owner_in_it(chat: Matrix, synapse: Synapse) -> None:
    ada, boss, bob = (joiner(chat) for _ in range(3))
    client = synapse.sign_in(ada)
    ref = makes_room(client, synapse, synapse.sign_in(bob))
    as_user(client, synapse, "POST", path(f"{CLIENT}/rooms/{{}}/ban", ref), user_id=boss).raise_for_status()
    chat.lock_account(ada)

    with pytest.raises(Refused):
        chat.hand_over(ref, boss, permit=allowed)


def test_a_room_says_who_else_owns_it_and_how_many_are_in_it(chat: Matrix, synapse: Synapse) -> None:
    ada, bob, eve = (joiner(chat) for _ in range(3))
    client = synapse.sign_in(ada)
    ref = makes_room(client, synapse, synapse.sign_in(bob), synapse.sign_in(eve), room_version="11")
    alone = led(chat, ref, ada)
    levels = as_user(client, synapse, "GET", path(f"{CLIENT}/rooms/{{}}/state/m.room.power_levels/", ref)).json()
    levels["users"][bob] = 100
    as_user(client, synapse, "PUT", path(f"{CLIENT}/rooms/{{}}/state/m.room.power_levels/", ref), **levels).raise_for_status()

    shared = led(chat, ref, ada)

    assert (alone.name, alone.others, alone.company, alone.direct) == ("Ours", frozenset(), 2, False)
    assert shared.others == {bob}
    assert chat.led_by(ref, eve) is None


def test_a_co_creator_of_a_room_of_the_newest_version_owns_it_too(chat: Matrix, synapse: Synapse) -> None:
    ada, bob = joiner(chat), joiner(chat)
    ref = makes_room(synapse.sign_in(ada), synapse, synapse.sign_in(bob), room_version="12", creation_content={"additional_creators": [bob]})

    assert led(chat, ref, ada).others == {bob}


def test_who_left_the_room_owns_it_no_more(chat: Matrix, synapse: Synapse) -> None:
    ada, bob, eve = (joiner(chat) for _ in range(3))
    other = synapse.sign_in(bob)
    ref = makes_room(synapse.sign_in(ada), synapse, other, synapse.sign_in(eve), creation_content={"additional_creators": [bob]})
    as_user(other, synapse, "POST", path(f"{CLIENT}/rooms/{{}}/leave", ref)).raise_for_status()

    assert led(chat, ref, ada).others == frozenset()


@pytest.mark.parametrize("kept_by_the_client", [True, False])
def test_a_conversation_of_two_is_seen_to_be_one(chat: Matrix, synapse: Synapse, kept_by_the_client: bool) -> None:
    ada, bob = joiner(chat), joiner(chat)
    client = synapse.sign_in(ada)
    creation: dict[str, Any] = {"name": "about lunch"} if kept_by_the_client else {"name": None}
    ref = makes_room(client, synapse, synapse.sign_in(bob), is_direct=True, **creation)
    if kept_by_the_client:
        data = path(f"{CLIENT}/user/{{}}/account_data/m.direct", ada)
        as_user(client, synapse, "PUT", data, **{str(bob): [ref]}).raise_for_status()
    chat.lock_account(ada)

    assert led(chat, ref, ada).direct


def test_our_own_rooms_are_nobodys_to_hand_over(chat: Matrix) -> None:
    ada = joiner(chat)
    ref = room(chat, ada).ref
    chat.set_owners(ref, frozenset({ada}))

    assert chat.led_by(ref, ada) is None
    assert chat.led_by(ChannelRef("!nowhere"), ada) is None


def test_locking_may_be_done_twice_and_makes_no_account_and_opens_none(chat: Matrix) -> None:
    ada, gone = joiner(chat), joiner(chat)
    ref = room(chat, ada).ref
    chat.deactivate_account(gone)
    nobody = AccountId("@nobody-there:chat.test")

    assert chat.lock_account(ada) == chat.lock_account(ada) == frozenset({ref})
    assert chat.lock_account(gone) == chat.lock_account(nobody) == frozenset()

    seen = chat.get_account(ada)
    assert seen is not None and seen.state is AccountState.PAUSED
    assert chat.get_account(nobody) is None
    shut = chat.get_account(gone)
    assert shut is not None and shut.state is AccountState.DEACTIVATED
    chat.deactivate_locked(nobody)


@pytest.mark.parametrize("open_sync", [classic_sync, sliding_sync])
def test_no_message_of_any_room_passes_once_somebody_is_locked_and_out_of_one(
    chat: Matrix, synapse: Synapse, open_sync: Callable[[SignIn, Synapse], Callable[[], str]]
) -> None:
    """What comes before rooms are handed over: the lock, the devices, and one kick, which ends a sync that was open."""
    ada, bob = joiner(chat), joiner(chat)
    client, other = synapse.sign_in(ada), synapse.sign_in(bob)
    register_pusher(client, synapse, event_id_only=True)
    ours, theirs = room(chat, ada).ref, makes_room(client, synapse, other)
    wait_for_news = open_sync(client, synapse)
    before = synapse.held_syncs()

    with ThreadPoolExecutor(1) as phone:
        news: Future[str] = phone.submit(wait_for_news)
        assert until(lambda: synapse.held_syncs() > before)
        chat.lock_account(ada)
        chat.end_sessions(ada)
        chat.remove_members(ours, [ada])
        shut = chat.show_access(ada)
        assert until(news.done, within=3), "it ends by itself"
        say(synapse, theirs, "not for leavers", client=other).raise_for_status()
        heard = news.result(10)

    assert "not for leavers" not in heard
    assert refused(client, synapse)
    assert shut.shut and not shut.gone and theirs in chat.channels_of(ada)


# Erasing


def uploads(client: SignIn, synapse: Synapse) -> None:
    answer = requests.post(
        f"{synapse.url}/_matrix/media/v3/upload?filename=a.txt", data=b"private", timeout=10,
        headers={"Authorization": f"Bearer {client.token}", "Content-Type": "text/plain"},
    )  # fmt: skip
    answer.raise_for_status()


def test_an_erased_account_has_no_files_and_no_profile_and_its_words_are_kept_from_who_comes_later(chat: Matrix, synapse: Synapse) -> None:
    ada, bob, late = (joiner(chat) for _ in range(3))
    client = synapse.sign_in(ada)
    ref = room(chat, ada, bob).ref
    say(synapse, ref, "something of mine", client=client).raise_for_status()
    uploads(client, synapse)
    chat.deactivate_account(ada)
    assert not chat.is_erased(ada)

    chat.erase_account(ada)
    chat.erase_account(ada)

    assert chat.is_erased(ada)
    chat.add_members(ref, [late], permit=allowed)
    messages = path(f"{CLIENT}/rooms/{{}}/messages", ref) + "?dir=b&limit=50"
    assert "something of mine" not in as_user(synapse.sign_in(late), synapse, "GET", messages).text
    assert "something of mine" in as_user(synapse.sign_in(bob), synapse, "GET", messages).text
    kept = chat.get_account(ada)
    assert kept is not None and kept.person_id is not None and kept.state is AccountState.DEACTIVATED


def test_nothing_is_erased_of_an_account_that_is_only_locked_or_open(chat: Matrix, synapse: Synapse) -> None:
    for state in ("open", "locked"):
        ada = joiner(chat)
        uploads(synapse.sign_in(ada), synapse)
        if state == "locked":
            chat.lock_account(ada)

        with pytest.raises(Conflict):
            chat.erase_account(ada)

        seen = synapse.admin("GET", path("/_synapse/admin/v1/users/{}/media", ada))
        assert seen["total"] == 1 and not chat.is_erased(ada)
        account = chat.get_account(ada)
        assert account is not None and account.state is not AccountState.DEACTIVATED


def test_an_account_that_is_not_there_counts_as_erased(chat: Matrix) -> None:
    nobody = AccountId("@nobody-there:chat.test")

    chat.erase_account(nobody)

    assert chat.is_erased(nobody) and chat.get_account(nobody) is None


def test_more_files_than_one_call_deletes_are_all_deleted(chat: Matrix, synapse: Synapse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.targets.matrix_erasing.FILES_AT_ONCE", 2)
    ada = joiner(chat)
    client = synapse.sign_in(ada)
    for _ in range(5):
        uploads(client, synapse)
    chat.deactivate_account(ada)

    chat.erase_account(ada)

    assert chat.is_erased(ada)


# What a mover is told of history


def test_who_was_taken_out_reads_what_was_before_and_who_came_in_reads_all_of_it(chat: Matrix, synapse: Synapse) -> None:
    ada, late = joiner(chat), joiner(chat)
    client = synapse.sign_in(ada)
    ref = room(chat, ada).ref
    say(synapse, ref, "before the move").raise_for_status()
    chat.remove_members(ref, [ada])
    say(synapse, ref, "after the move").raise_for_status()

    chat.add_members(ref, [late], permit=allowed)

    messages = path(f"{CLIENT}/rooms/{{}}/messages", ref) + "?dir=b&limit=50"
    left = as_user(client, synapse, "GET", messages).text
    joined = as_user(synapse.sign_in(late), synapse, "GET", messages).text
    assert "before the move" in left and "after the move" not in left
    assert "before the move" in joined and "after the move" in joined
    assert (Matrix.HISTORY.left, Matrix.HISTORY.joined) == (
        "all that was written there until then, none of what comes after", "all that was written there before",
    )  # fmt: skip
