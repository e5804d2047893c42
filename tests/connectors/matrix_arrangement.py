"""Accounts, rooms and clients on a real Synapse, under names that nobody else has there."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import requests

from connectors.contract import AccountId, ChannelRef, ChannelSeen, ChannelWanted, Profile, Secret, TargetSettings, Withdrawn
from connectors.http import path
from connectors.targets.matrix import Matrix
from tests.servers.synapse import SignIn, Synapse

numbers = itertools.count(1)


def allowed() -> None:
    """A permit that always permits."""


def withdrawn() -> None:
    raise Withdrawn("the person has left meanwhile")


def connect(synapse: Synapse, token: str | None = None) -> Matrix:
    return Matrix(
        TargetSettings(name="chat", url=synapse.url, token=Secret(token or synapse.admin_token), options={})
    )


def someone(*, user_name: str | None = None, email: str | None = None) -> Profile:
    number = next(numbers)
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
    made = chat.create_channel(ChannelWanted(key=f"room-{next(numbers)}", name="Room"))
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
