"""What the check says of a real Synapse, and how one that is away or not ready yet is met."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.contract import ChannelWanted, RateLimited, Unauthorised, Unreachable
from connectors.targets.matrix import Matrix
from tests.connectors.matrix_arrangement import allowed, connect, joiner, numbers, register_pusher, room, someone
from tests.servers.synapse import Synapse
from tests.waiting import until

pytestmark = pytest.mark.synapse


def test_the_check_finds_nothing_to_say_about_a_server_well_set_up(chat: Matrix) -> None:
    check = chat.check()

    assert check.version == "1.163.2"
    assert [problem for problem in check.problems if "push" not in problem] == []


def test_the_check_lifts_the_limit_on_creating_rooms(synapse: Synapse) -> None:
    second = connect(synapse, synapse.register_admin(f"second{next(numbers)}"))
    with pytest.raises(RateLimited) as caught:
        for _ in range(20):
            second.create_channel(ChannelWanted(key=f"limited-{next(numbers)}", name="L"))

    second.check()

    assert caught.value.wait > 0
    for _ in range(3):
        second.create_channel(ChannelWanted(key=f"unlimited-{next(numbers)}", name="U"))


def test_the_check_names_push_registrations_that_carry_message_text(chat: Matrix, synapse: Synapse) -> None:
    ada = joiner(chat)
    client = synapse.sign_in(ada)
    register_pusher(client, synapse, event_id_only=False)
    def named() -> bool:
        return any("message text" in problem and f"such as {ada}" in problem for problem in chat.check().problems)

    # The sample is of those seen last, which Synapse writes down every few seconds.
    assert until(named, within=15), chat.check().problems


def test_the_check_refuses_a_token_that_is_no_administrators(chat: Matrix, synapse: Synapse) -> None:
    ordinary = synapse.user_token(joiner(chat))

    with pytest.raises(Unauthorised):
        connect(synapse, ordinary).check()


def test_the_check_refuses_a_token_that_is_no_longer_good(synapse: Synapse) -> None:
    with pytest.raises(Unauthorised):
        connect(synapse, "syt_gone").check()


def test_while_indexes_are_built_the_check_says_so_and_a_return_is_only_put_off(tmp_path: Path) -> None:
    young = Synapse(overrides={"background_updates": {"sleep_enabled": True}})
    young.start(tmp_path, wait_for_indexes=False)
    try:
        chat = connect(young)
        profile = someone()
        ada = joiner(chat, profile)
        chat.deactivate_account(ada)

        with pytest.raises(Unreachable):
            chat.reactivate_account(ada, profile, permit=allowed)

        assert any("background update" in problem for problem in chat.check().problems)
    finally:
        young.stop()


def test_without_statistics_of_rooms_the_check_says_so(tmp_path: Path) -> None:
    silent = Synapse(overrides={"stats": {"enabled": False}})
    silent.start(tmp_path)
    try:
        chat = connect(silent)
        assert not any("statistics" in problem for problem in chat.check().problems), "nobody has made a room yet"
        room(chat)

        assert any("statistics of rooms" in problem for problem in chat.check().problems)
    finally:
        silent.stop()


def test_with_rooms_that_have_names_the_check_misses_no_statistics(chat: Matrix) -> None:
    made = room(chat)

    assert until(lambda: (seen := chat.get_channel(made.ref)) is not None and seen.name == "Room", within=15)
    assert not any("statistics" in problem for problem in chat.check().problems)


def test_a_server_that_is_away_is_unreachable_and_back_again_whole(tmp_path: Path) -> None:
    server = Synapse()
    server.start(tmp_path)
    try:
        chat = connect(server)
        ada = someone()
        id = joiner(chat, ada)
        server.kill()

        with pytest.raises(Unreachable) as caught:
            chat.deactivate_account(id)
        server.start(tmp_path)

        assert not caught.value.sent
        assert chat.get_account(id) == chat.find_account(ada.person_id)
    finally:
        server.stop()
