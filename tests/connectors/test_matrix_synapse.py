"""Every trap that a real Synapse sets for a provisioner, and that the connector does not fall into one."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from connectors.contract import (
    AccountId,
    AccountState,
    ChannelRef,
    ChannelSeen,
    ChannelWanted,
    Conflict,
    EndsSessions,
    HoldsChannels,
    Member,
    Missing,
    PausesAccounts,
    Profile,
    RateLimited,
    Refused,
    Secret,
    ShowsAccess,
    Target,
    TargetSettings,
    Unauthorised,
    Unreachable,
    Withdrawn,
)
from connectors.http import path
from connectors.targets.matrix import Matrix
from tests.servers.synapse import SERVER_NAME, SignIn, Synapse

pytestmark = pytest.mark.synapse

_numbers = itertools.count(1)


def allowed() -> None:
    """A permit that always permits."""


def withdrawn() -> None:
    raise Withdrawn("the person has left meanwhile")


def connect(synapse: Synapse, token: str | None = None) -> Matrix:
    return Matrix(
        TargetSettings(name="chat", url=synapse.url, token=Secret(token or synapse.admin_token), options={})
    )


@pytest.fixture(scope="module")
def chat(synapse: Synapse) -> Matrix:
    matrix = connect(synapse)
    matrix.check()
    return matrix


def someone(*, user_name: str | None = None, email: str | None = None) -> Profile:
    number = next(_numbers)
    return Profile(
        person_id=f"person-{number}",
        user_name=user_name or f"ada{number}@corp.test",
        display_name=f"Ada {number}",
        emails=(email or f"ada{number}@corp.test",),
    )


def joiner(chat: Matrix, profile: Profile | None = None) -> AccountId:
    profile = profile or someone()
    return chat.create_account(chat.proposed_id(profile, attempt=1), profile, permit=allowed).id


def room(chat: Matrix, *members: AccountId) -> ChannelSeen:
    made = chat.create_channel(ChannelWanted(key=f"room-{next(_numbers)}", name="Room"))
    chat.add_members(made.ref, members, permit=allowed)
    return made


def as_user(client: SignIn, synapse: Synapse, method: str, path: str, **body: object) -> requests.Response:
    return requests.request(
        method,
        f"{synapse.url}{path}",
        json=body if method != "GET" else None,
        headers={"Authorization": f"Bearer {client.token}"},
        timeout=30,
    )


def say(synapse: Synapse, ref: ChannelRef, text: str, *, client: SignIn | None = None) -> requests.Response:
    client = client or SignIn(user_id=synapse.admin_id, device_id="", token=synapse.admin_token)
    send = path("/_matrix/client/v3/rooms/{}/send/m.room.message/{}", ref, str(time.time_ns()))
    return as_user(client, synapse, "PUT", send, msgtype="m.text", body=text)


def register_pusher(client: SignIn, synapse: Synapse, *, event_id_only: bool) -> None:
    data = {"url": "http://127.0.0.1:9/_matrix/push/v1/notify"}
    as_user(
        client,
        synapse,
        "POST",
        "/_matrix/client/v3/pushers/set",
        kind="http",
        app_id="test.phone",
        app_display_name="Phone",
        device_display_name="Phone",
        pushkey=f"key-{client.user_id}-{client.device_id}",
        lang="en",
        data={**data, "format": "event_id_only"} if event_id_only else data,
    ).raise_for_status()


def refused(client: SignIn, synapse: Synapse) -> bool:
    return as_user(client, synapse, "GET", "/_matrix/client/v3/account/whoami").status_code == 401


def until(holds: Callable[[], bool], *, within: float = 5.0) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return holds()


# Accounts


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
    id = chat.proposed_id(ada, attempt=next(_numbers))

    assert chat.create_account(id, ada, permit=allowed).id == id


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

    with pytest.raises(Conflict):
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

    with pytest.raises(Conflict):
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
    phone = {"medium": "msisdn", "address": f"4930{next(_numbers)}"}
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
    ada = someone(email=f"  Ada{next(_numbers)}@CORP.Test ")
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


# Access


def classic_sync(client: SignIn, synapse: Synapse) -> Callable[[], str]:
    sync = "/_matrix/client/v3/sync?timeout={}&since={}"
    since = as_user(client, synapse, "GET", sync.format(0, "")[: -len("&since=")]).json()["next_batch"]
    return lambda: as_user(client, synapse, "GET", sync.format(6000, since)).text


def sliding_sync(client: SignIn, synapse: Synapse) -> Callable[[], str]:
    sync = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout={}"
    lists = {"all": {"ranges": [[0, 20]], "timeline_limit": 5, "required_state": []}}
    first = as_user(client, synapse, "POST", sync.format(0), lists=lists).json()["pos"]
    # The second one says that the first arrived; only then is there nothing to say and the request is held open.
    pos = as_user(client, synapse, "POST", sync.format(0) + f"&pos={first}", lists=lists).json()["pos"]
    return lambda: as_user(client, synapse, "POST", sync.format(6000) + f"&pos={pos}", lists=lists).text


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

    with ThreadPoolExecutor(1) as phone:
        news: Future[str] = phone.submit(wait_for_news)
        time.sleep(0.3)
        assert not news.done()
        getattr(chat, take_away)(ada)
        time.sleep(0.25)
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


# Channels


def state(synapse: Synapse, ref: ChannelRef) -> dict[str, dict[str, object]]:
    """Content by type, of the state with an empty key, as the server itself shows it."""
    events = synapse.admin("GET", path("/_synapse/admin/v1/rooms/{}/state", ref))["state"]
    assert isinstance(events, list)
    return {event["type"]: event["content"] for event in events if event["state_key"] == ""}


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
    key = f"open-{next(_numbers)}"
    made = chat.create_channel(ChannelWanted(key=key, name="Open", encrypted=True, federated=True))

    seen = state(synapse, made.ref)
    assert "m.room.encryption" in seen
    assert seen["m.room.create"].get("m.federate", True) is True


def test_an_open_channel_lets_colleagues_in_by_themselves_until_it_is_closed(
    chat: Matrix, synapse: Synapse
) -> None:
    ada, ben = joiner(chat), joiner(chat)
    key = f"open-{next(_numbers)}"
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
    company = chat.create_channel(ChannelWanted(key=f"co-{next(_numbers)}", name="Company", space=True))
    made = chat.create_channel(
        ChannelWanted(key=f"d-{next(_numbers)}", name="Dept", topic="All", parent=company.ref, read_only=True)
    )

    assert chat.get_channel(company.ref) == company
    assert chat.get_channel(made.ref) == made


def test_a_channel_made_twice_is_one_channel_brought_up_to_date(chat: Matrix) -> None:
    key = f"twice-{next(_numbers)}"
    first = chat.create_channel(ChannelWanted(key=key, name="Before"))

    second = chat.create_channel(ChannelWanted(key=key, name="After"))

    assert second.ref == first.ref
    assert second.name == "After"


def test_a_channel_of_someone_else_is_not_adopted(chat: Matrix, synapse: Synapse) -> None:
    key = f"theirs-{next(_numbers)}"
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


def test_an_alias_that_outlived_its_deleted_room_is_used_again(chat: Matrix, synapse: Synapse) -> None:
    made = room(chat)
    key = str(made.key)
    delete = path("/_synapse/admin/v2/rooms/{}", made.ref)
    job = synapse.admin("DELETE", delete, {"block": True, "purge": True})
    status = path("/_synapse/admin/v2/rooms/delete_status/{}", str(job["delete_id"]))
    assert until(lambda: synapse.admin("GET", status)["status"] == "complete")

    anew = chat.create_channel(ChannelWanted(key=key, name="Anew"))

    assert anew.ref != made.ref
    assert chat.find_channel(key) == anew


def test_a_channel_whose_making_was_cut_short_is_made_anew(chat: Matrix, synapse: Synapse) -> None:
    key = f"ruin-{next(_numbers)}"
    synapse.admin("POST", "/_matrix/client/v3/createRoom", {"room_alias_name": key})

    made = chat.create_channel(ChannelWanted(key=key, name="Whole"))

    assert chat.find_channel(key) == made


def test_a_renamed_channel_keeps_its_room_and_its_old_alias(chat: Matrix, synapse: Synapse) -> None:
    ada = joiner(chat)
    made = room(chat, ada)
    new = f"renamed-{next(_numbers)}"

    after = chat.update_channel(made.ref, ChannelWanted(key=new, name="New name", topic="New topic"))

    assert (after.ref, after.key, after.name, after.topic) == (made.ref, new, "New name", "New topic")
    assert chat.find_channel(str(made.key)) == after == chat.find_channel(new)
    assert Member(account=ada, joined=True) in set(chat.list_members(made.ref))


def test_an_old_alias_does_not_lead_a_new_channel_into_the_renamed_one(chat: Matrix) -> None:
    made = room(chat)
    chat.update_channel(made.ref, ChannelWanted(key=f"moved-on-{next(_numbers)}", name="Room"))

    with pytest.raises(Conflict):
        chat.create_channel(ChannelWanted(key=str(made.key), name="Another"))


def test_a_channel_moves_between_spaces(chat: Matrix, synapse: Synapse) -> None:
    old, new = (
        chat.create_channel(ChannelWanted(key=f"space-{next(_numbers)}", name="S", space=True))
        for _ in range(2)
    )
    wanted = ChannelWanted(key=f"nomad-{next(_numbers)}", name="Nomad", parent=old.ref)
    made = chat.create_channel(wanted)

    after = chat.update_channel(made.ref, ChannelWanted(key=wanted.key, name="Nomad", parent=new.ref))

    assert after.parent == new.ref
    tree = path("/_matrix/client/v1/rooms/{}/hierarchy", old.ref)
    assert made.ref not in str(synapse.admin("GET", tree))


def test_a_place_in_a_space_that_was_taken_out_by_hand_is_seen_and_put_back(
    chat: Matrix, synapse: Synapse
) -> None:
    space = chat.create_channel(ChannelWanted(key=f"space-{next(_numbers)}", name="S", space=True))
    wanted = ChannelWanted(key=f"child-{next(_numbers)}", name="Child", parent=space.ref)
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


# Checking


def test_the_check_finds_nothing_to_say_about_a_server_well_set_up(chat: Matrix) -> None:
    check = chat.check()

    assert check.version == "1.163.2"
    assert [problem for problem in check.problems if "push" not in problem] == []


def test_the_check_lifts_the_limit_on_creating_rooms(synapse: Synapse) -> None:
    second = connect(synapse, synapse.register_admin(f"second{next(_numbers)}"))
    with pytest.raises(RateLimited) as caught:
        for _ in range(20):
            second.create_channel(ChannelWanted(key=f"limited-{next(_numbers)}", name="L"))

    second.check()

    assert caught.value.wait > 0
    for _ in range(3):
        second.create_channel(ChannelWanted(key=f"unlimited-{next(_numbers)}", name="U"))


def test_the_check_names_push_registrations_that_carry_message_text(chat: Matrix, synapse: Synapse) -> None:
    ada = joiner(chat)
    client = synapse.sign_in(ada)
    register_pusher(client, synapse, event_id_only=False)
    # The sample is of those seen last, which Synapse writes down every few seconds.
    problem = f"such as {ada}"

    def named() -> bool:
        return any("message text" in problem for problem in chat.check().problems)

    assert until(named, within=15), problem


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
