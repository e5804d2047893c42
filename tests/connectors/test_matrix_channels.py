"""Channels on a real Synapse: who may come in, who is in them, and whose they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors.contract import AccountId, ChannelRef, ChannelWanted, Conflict, Member, Missing, Refused, Withdrawn
from connectors.http import path
from connectors.targets.matrix import Matrix
from tests.connectors.matrix_arrangement import allowed, as_user, joiner, numbers, room, say, withdrawn
from tests.servers.synapse import SERVER_NAME, SignIn, Synapse
from tests.waiting import until

pytestmark = pytest.mark.synapse


def state(synapse: Synapse, ref: ChannelRef) -> dict[str, dict[str, object]]:
    """Content by type, of the state with an empty key, as the server itself shows it."""
    events = synapse.admin("GET", path("/_synapse/admin/v1/rooms/{}/state", ref))["state"]
    assert isinstance(events, list)
    return {event["type"]: event["content"] for event in events if event["state_key"] == ""}


def delete_by_hand(synapse: Synapse, ref: ChannelRef, **how: object) -> None:
    job = synapse.admin("DELETE", path("/_synapse/admin/v2/rooms/{}", ref), how)
    status = path("/_synapse/admin/v2/rooms/delete_status/{}", str(job["delete_id"]))
    assert until(lambda: synapse.admin("GET", status)["status"] == "complete")


def test_a_channel_is_private_closed_to_other_servers_and_not_encrypted(
    chat: Matrix, synapse: Synapse
) -> None:
    made = room(chat)

    seen = state(synapse, made.ref)
    assert seen["m.room.join_rules"]["join_rule"] == "invite"
    assert seen["m.room.guest_access"]["guest_access"] == "forbidden"
    assert seen["m.room.create"]["m.federate"] is False
    assert "m.room.encryption" not in seen
    assert seen["m.room.canonical_alias"]["alias"] == f"#{made.key}:{SERVER_NAME}"


def test_a_channel_is_encrypted_and_federated_where_that_is_wanted(chat: Matrix, synapse: Synapse) -> None:
    key = f"open-{next(numbers)}"
    made = chat.create_channel(ChannelWanted(key=key, name="Open", encrypted=True, federated=True))

    seen = state(synapse, made.ref)
    assert "m.room.encryption" in seen
    assert seen["m.room.create"].get("m.federate", True) is True


def test_an_open_channel_lets_colleagues_in_by_themselves_until_it_is_closed(
    chat: Matrix, synapse: Synapse
) -> None:
    ada, ben = joiner(chat), joiner(chat)
    key = f"open-{next(numbers)}"
    made = chat.create_channel(ChannelWanted(key=key, name="Open", private=False))
    join = path("/_matrix/client/v3/join/{}", f"#{key}:{SERVER_NAME}")

    came = as_user(synapse.sign_in(ada), synapse, "POST", join)
    closed = chat.update_channel(made.ref, ChannelWanted(key=key, name="Open"))
    late = as_user(synapse.sign_in(ben), synapse, "POST", join)

    assert (made.private, closed.private) == (False, True)
    assert came.status_code == 200
    assert late.status_code == 403
    assert {member.account for member in chat.list_members(made.ref)} == {ada}


def test_what_creating_answers_is_what_is_there(chat: Matrix) -> None:
    company = chat.create_channel(ChannelWanted(key=f"co-{next(numbers)}", name="Company", space=True))
    made = chat.create_channel(
        ChannelWanted(key=f"d-{next(numbers)}", name="Dept", topic="All", parent=company.ref, read_only=True)
    )

    assert chat.get_channel(company.ref) == company
    assert chat.get_channel(made.ref) == made


def test_a_channel_made_twice_is_one_channel_brought_up_to_date(chat: Matrix) -> None:
    key = f"twice-{next(numbers)}"
    first = chat.create_channel(ChannelWanted(key=key, name="Before"))

    second = chat.create_channel(ChannelWanted(key=key, name="After"))

    assert second.ref == first.ref
    assert second.name == "After"


def test_a_channel_of_someone_else_is_not_adopted(chat: Matrix, synapse: Synapse) -> None:
    key = f"theirs-{next(numbers)}"
    ada = synapse.sign_in(joiner(chat))
    marker = {"type": "org.doorlist.channel", "state_key": "", "content": {"key": key}}
    as_user(
        ada, synapse, "POST", "/_matrix/client/v3/createRoom", room_alias_name=key, initial_state=[marker]
    ).raise_for_status()

    with pytest.raises(Conflict):
        chat.create_channel(ChannelWanted(key=key, name="Ours"))

    found = chat.find_channel(key)
    assert found is not None
    assert not found.ours


WAYS_TO_DELETE = [{"purge": True}, {"purge": True, "block": True}, {"purge": False}]


@pytest.mark.parametrize("how", WAYS_TO_DELETE)
def test_an_alias_that_outlived_its_deleted_room_is_used_again(
    chat: Matrix, synapse: Synapse, how: dict[str, object]
) -> None:
    made = room(chat, joiner(chat))
    key = str(made.key)
    delete_by_hand(synapse, made.ref, **how)

    anew = chat.create_channel(ChannelWanted(key=key, name="Anew"))

    assert anew.ref != made.ref
    assert chat.find_channel(key) == anew


@pytest.mark.parametrize("how", WAYS_TO_DELETE)
def test_a_deleted_room_is_not_there_and_nobody_has_to_be_taken_out_of_it(
    chat: Matrix, synapse: Synapse, how: dict[str, object]
) -> None:
    ada, ben = joiner(chat), joiner(chat)
    made = room(chat, ada)
    chat.invite_members(made.ref, [ben], permit=allowed)
    delete_by_hand(synapse, made.ref, **how)

    chat.remove_members(made.ref, [ada, ben, joiner(chat)])

    assert chat.get_channel(made.ref) is None
    with pytest.raises(Missing):
        chat.update_channel(made.ref, ChannelWanted(key=str(made.key), name="Room"))
    for give in (chat.add_members, chat.invite_members):
        with pytest.raises((Missing, Refused)):
            give(made.ref, [ada], permit=allowed)


@pytest.mark.parametrize("how", WAYS_TO_DELETE)
def test_a_channel_outlives_the_space_above_it_and_moves_under_another(
    chat: Matrix, synapse: Synapse, how: dict[str, object]
) -> None:
    old, new = (
        chat.create_channel(ChannelWanted(key=f"space-{next(numbers)}", name="S", space=True))
        for _ in range(2)
    )
    wanted = ChannelWanted(key=f"orphan-{next(numbers)}", name="Orphan", parent=old.ref)
    made = chat.create_channel(wanted)
    delete_by_hand(synapse, old.ref, **how)

    seen = chat.get_channel(made.ref)
    after = chat.update_channel(made.ref, replace(wanted, parent=new.ref))

    assert seen is not None
    assert seen.parent is None
    assert (after.ref, after.parent) == (made.ref, new.ref)


def test_a_room_that_was_left_to_its_members_is_still_there(chat: Matrix, synapse: Synapse) -> None:
    made = room(chat, joiner(chat))

    synapse.admin("POST", path("/_matrix/client/v3/rooms/{}/leave", made.ref))

    assert chat.get_channel(made.ref) is not None


def test_a_channel_whose_making_was_cut_short_is_made_anew(chat: Matrix, synapse: Synapse) -> None:
    key = f"ruin-{next(numbers)}"
    synapse.admin("POST", "/_matrix/client/v3/createRoom", {"room_alias_name": key})

    made = chat.create_channel(ChannelWanted(key=key, name="Whole"))

    assert chat.find_channel(key) == made


def test_a_renamed_channel_keeps_its_room_and_its_old_alias(chat: Matrix, synapse: Synapse) -> None:
    ada = joiner(chat)
    made = room(chat, ada)
    new = f"renamed-{next(numbers)}"

    after = chat.update_channel(made.ref, ChannelWanted(key=new, name="New name", topic="New topic"))

    assert (after.ref, after.key, after.name, after.topic) == (made.ref, new, "New name", "New topic")
    assert chat.find_channel(str(made.key)) == after == chat.find_channel(new)
    assert Member(account=ada, joined=True) in set(chat.list_members(made.ref))


def test_an_old_alias_does_not_lead_a_new_channel_into_the_renamed_one(chat: Matrix) -> None:
    made = room(chat)
    chat.update_channel(made.ref, ChannelWanted(key=f"moved-on-{next(numbers)}", name="Room"))

    with pytest.raises(Conflict):
        chat.create_channel(ChannelWanted(key=str(made.key), name="Another"))


def test_a_channel_moves_between_spaces(chat: Matrix, synapse: Synapse) -> None:
    old, new = (
        chat.create_channel(ChannelWanted(key=f"space-{next(numbers)}", name="S", space=True))
        for _ in range(2)
    )
    wanted = ChannelWanted(key=f"nomad-{next(numbers)}", name="Nomad", parent=old.ref)
    made = chat.create_channel(wanted)

    after = chat.update_channel(made.ref, ChannelWanted(key=wanted.key, name="Nomad", parent=new.ref))

    assert after.parent == new.ref
    tree = path("/_matrix/client/v1/rooms/{}/hierarchy", old.ref)
    assert made.ref not in str(synapse.admin("GET", tree))


def test_a_place_in_a_space_that_was_taken_out_by_hand_is_seen_and_put_back(
    chat: Matrix, synapse: Synapse
) -> None:
    space = chat.create_channel(ChannelWanted(key=f"space-{next(numbers)}", name="S", space=True))
    wanted = ChannelWanted(key=f"child-{next(numbers)}", name="Child", parent=space.ref)
    made = chat.create_channel(wanted)
    place = path("/_matrix/client/v3/rooms/{}/state/m.space.child/{}", space.ref, made.ref)
    synapse.admin("PUT", place, {})

    seen = chat.get_channel(made.ref)
    after = chat.update_channel(made.ref, wanted)

    assert seen is not None
    assert seen.parent is None
    assert after.parent == space.ref


def test_an_archived_channel_can_be_read_but_not_written(chat: Matrix, synapse: Synapse) -> None:
    ada = joiner(chat)
    made = room(chat, ada)
    client = synapse.sign_in(ada)
    say(synapse, made.ref, "kept", client=client).raise_for_status()

    after = chat.update_channel(made.ref, ChannelWanted(key=str(made.key), name="Room", read_only=True))

    assert after.read_only
    assert say(synapse, made.ref, "too late", client=client).status_code == 403
    messages = path("/_matrix/client/v3/rooms/{}/messages", made.ref) + "?dir=b&limit=20"
    assert "kept" in as_user(client, synapse, "GET", messages).text


def test_owners_are_exactly_those_named(chat: Matrix, synapse: Synapse) -> None:
    first, second = joiner(chat), joiner(chat)
    made = room(chat, first, second)
    chat.set_owners(made.ref, frozenset({first}))

    chat.set_owners(made.ref, frozenset({second, AccountId(synapse.admin_id)}))

    seen = chat.get_channel(made.ref)
    assert seen is not None
    assert seen.owners == {second}


def test_an_owner_can_be_removed(chat: Matrix) -> None:
    ada = joiner(chat)
    made = room(chat, ada)
    chat.set_owners(made.ref, frozenset({ada}))

    chat.remove_members(made.ref, [ada])

    assert list(chat.list_members(made.ref)) == []


def upgraded(client: SignIn, synapse: Synapse, ref: ChannelRef) -> int:
    """What Synapse answers to an owner who has it put another room in the place of this one, as clients offer it."""
    return as_user(client, synapse, "POST", path("/_matrix/client/v3/rooms/{}/upgrade", ref), new_version="11").status_code


def test_an_owner_names_and_pins_and_cannot_replace_the_room_by_one_of_their_own(chat: Matrix, synapse: Synapse) -> None:
    ada = joiner(chat)
    made = room(chat, ada)
    chat.set_owners(made.ref, frozenset({ada}))
    client = synapse.sign_in(ada)
    place = "/_matrix/client/v3/rooms/{}/state/{}"

    named = as_user(client, synapse, "PUT", path(place, made.ref, "m.room.name"), name="Ours")
    pinned = as_user(client, synapse, "PUT", path(place, made.ref, "m.room.pinned_events"), pinned=[])
    framed = as_user(client, synapse, "PUT", path(place, made.ref, "im.vector.modular.widgets"), url="https://elsewhere.example")

    assert (named.status_code, pinned.status_code, framed.status_code) == (200, 200, 403)
    assert upgraded(client, synapse, made.ref) == 403
    assert chat.channels_of(ada) == {made.ref}


def test_a_room_that_was_made_with_other_powers_gets_these_once_it_is_changed(chat: Matrix, synapse: Synapse) -> None:
    ada = joiner(chat)
    made = room(chat, ada)
    chat.set_owners(made.ref, frozenset({ada}))
    levels = path("/_matrix/client/v3/rooms/{}/state/m.room.power_levels", made.ref)
    before = synapse.admin("GET", levels)
    synapse.admin("PUT", levels, {**before, "events": {}, "state_default": 50})

    chat.update_channel(made.ref, ChannelWanted(key=made.key or "", name=made.name, topic="anything"))

    assert upgraded(synapse.sign_in(ada), synapse, made.ref) == 403
    assert synapse.admin("GET", levels) == before


def test_a_member_cannot_let_others_in_or_open_the_room(chat: Matrix, synapse: Synapse) -> None:
    ada, guest = joiner(chat), joiner(chat)
    made = room(chat, ada)
    client = synapse.sign_in(ada)
    invite = path("/_matrix/client/v3/rooms/{}/invite", made.ref)
    rules = path("/_matrix/client/v3/rooms/{}/state/m.room.join_rules", made.ref)

    invited = as_user(client, synapse, "POST", invite, user_id=guest)
    opened = as_user(client, synapse, "PUT", rules, join_rule="public")

    assert (invited.status_code, opened.status_code) == (403, 403)


def test_adding_and_removing_may_be_done_twice(chat: Matrix) -> None:
    ada = joiner(chat)
    made = room(chat, ada)

    chat.add_members(made.ref, [ada], permit=allowed)
    added = set(chat.list_members(made.ref))
    chat.remove_members(made.ref, [ada])
    chat.remove_members(made.ref, [ada])

    assert added == {Member(account=ada, joined=True)}
    assert list(chat.list_members(made.ref)) == []
    assert chat.channels_of(ada) == frozenset()


def test_someone_banned_by_hand_is_not_reported_as_added(chat: Matrix, synapse: Synapse) -> None:
    ada, bob = joiner(chat), joiner(chat)
    made = room(chat, ada)
    synapse.admin("POST", path("/_matrix/client/v3/rooms/{}/ban", made.ref), {"user_id": ada})

    with pytest.raises(Refused):
        chat.add_members(made.ref, [ada, bob], permit=allowed)

    assert set(chat.list_members(made.ref)) == {Member(account=bob, joined=True)}


def test_nobody_can_be_added_to_a_room_that_the_provisioner_is_not_in(chat: Matrix, synapse: Synapse) -> None:
    owner, ada = synapse.sign_in(joiner(chat)), joiner(chat)
    theirs = as_user(owner, synapse, "POST", "/_matrix/client/v3/createRoom", preset="private_chat").json()

    with pytest.raises(Refused):
        chat.add_members(ChannelRef(theirs["room_id"]), [ada], permit=allowed)


def test_no_one_is_added_once_the_permit_is_withdrawn(chat: Matrix) -> None:
    ada = joiner(chat)
    made = room(chat)

    with pytest.raises(Withdrawn):
        chat.add_members(made.ref, [ada], permit=withdrawn)
    with pytest.raises(Withdrawn):
        chat.invite_members(made.ref, [ada], permit=withdrawn)

    assert list(chat.list_members(made.ref)) == []


def test_an_invitation_waits_and_can_be_taken_back(chat: Matrix) -> None:
    ada = joiner(chat)
    made = room(chat)

    chat.invite_members(made.ref, [ada], permit=allowed)
    chat.invite_members(made.ref, [ada], permit=allowed)
    invited = list(chat.list_members(made.ref))
    chat.remove_members(made.ref, [ada])

    assert invited == [Member(account=ada, joined=False)]
    assert list(chat.list_members(made.ref)) == []


def test_the_list_shows_our_channels_whole_and_others_only_as_being_there(
    chat: Matrix, synapse: Synapse
) -> None:
    made = room(chat)
    owner = synapse.sign_in(joiner(chat))
    theirs = as_user(
        owner, synapse, "POST", "/_matrix/client/v3/createRoom", name="Private", topic="Private"
    ).json()

    listed = {channel.ref: channel for channel in chat.list_channels()}

    assert listed[made.ref] == made
    assert not listed[ChannelRef(theirs["room_id"])].ours
    assert listed[ChannelRef(theirs["room_id"])].topic == ""
