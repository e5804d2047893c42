"""The floor: Synapse's own calls and nothing else, as few as would do the job, by as many at a time as Doorlist's worker."""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote

import requests

from tests.journeys.company import Person
from tests.servers.synapse import SERVER_NAME

ADMIN: Final = "/_synapse/admin"
CLIENT: Final = "/_matrix/client/v3"
PROVIDER: Final = "oidc-doorlist"
# `sync_workers` by default.
AT_ONCE: Final = 8

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Shut:
    """Seconds from the first request until a read said *closed*, and until a read said *in no room*."""

    shut: float
    gone: float


class BareSynapse:
    """One homeserver by its provisioner's token. Threads may share it; each has its own connection."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._threads = threading.local()

    def lift_limits(self, user: str) -> None:
        self.call("POST", f"{ADMIN}/v1/users/{_quoted(user)}/override_ratelimit", {"messages_per_second": 0, "burst_count": 0})

    def create_account(self, person: Person) -> str:
        user = f"@{person.user_name.partition('@')[0]}:{SERVER_NAME}"
        body = {
            "displayname": person.display_name,
            "threepids": [{"medium": "email", "address": person.user_name}],
            "external_ids": [{"auth_provider": PROVIDER, "external_id": person.external_id}],
        }
        self.call("PUT", f"{ADMIN}/v2/users/{_quoted(user)}", body)
        return user

    def create_room(self, alias: str, *, topic: str, space: bool = False) -> str:
        creation: dict[str, object] = {"m.federate": False, **({"type": "m.space"} if space else {})}
        body = {
            "preset": "private_chat", "visibility": "private", "name": alias, "topic": topic, "room_alias_name": alias,
            "creation_content": creation,
            "initial_state": [{"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "forbidden"}}],
        }  # fmt: skip
        room: str = self.call("POST", f"{CLIENT}/createRoom", body)["room_id"]
        return room

    def put_under(self, room: str, space: str) -> None:
        via = [SERVER_NAME]
        self._put_state(space, "m.space.child", room, {"via": via})
        self._put_state(room, "m.space.parent", space, {"via": via, "canonical": True})

    def own(self, room: str, owner: str) -> None:
        path = f"{CLIENT}/rooms/{_quoted(room)}/state/m.room.power_levels/"
        levels = self.call("GET", path)
        self.call("PUT", path, {**levels, "users": {**levels.get("users", {}), owner: 50}})

    def join(self, room: str, user: str) -> None:
        self.call("POST", f"{ADMIN}/v1/join/{_quoted(room)}", {"user_id": user})

    def kick(self, room: str, user: str) -> None:
        self.call("POST", f"{CLIENT}/rooms/{_quoted(room)}/kick", {"user_id": user})

    def shut_out(self, user: str, *, poll: float = 0.01, within: float = 60.0) -> Shut:
        """Lock, deactivate, read; then read until the account is in no room."""
        began = time.monotonic()
        path = f"{ADMIN}/v2/users/{_quoted(user)}"
        self.call("PUT", path, {"locked": True})
        self.call("POST", f"{ADMIN}/v1/deactivate/{_quoted(user)}", {"erase": False})
        closed = self.call("GET", path)["deactivated"]
        devices = self.call("GET", f"{path}/devices")["total"]
        pushers = self.call("GET", f"{ADMIN}/v1/users/{_quoted(user)}/pushers")["total"]
        rooms = self.call("GET", f"{ADMIN}/v1/users/{_quoted(user)}/joined_rooms")["total"]
        shut = time.monotonic() - began
        if not closed or devices or pushers:
            raise RuntimeError(f"{user} is still open after lock and deactivation: {devices} devices, {pushers} pushers")
        while rooms and time.monotonic() - began < within:
            time.sleep(poll)
            rooms = self.call("GET", f"{ADMIN}/v1/users/{_quoted(user)}/joined_rooms")["total"]
        return Shut(shut=shut, gone=time.monotonic() - began)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = self._threads.session = requests.Session()
            session.headers.update(self._headers)
        answer = session.request(method, self._url + path, json=body, timeout=60)
        if answer.status_code not in (200, 201):
            raise RuntimeError(f"Synapse answered {answer.status_code} to {method} {path}: {answer.text[:200]}")
        document: dict[str, Any] = answer.json()
        return document

    def _put_state(self, room: str, kind: str, key: str, content: dict[str, Any]) -> None:
        self.call("PUT", f"{CLIENT}/rooms/{_quoted(room)}/state/{kind}/{_quoted(key)}", content)


def at_once(act: Callable[[T], object], subjects: Iterable[T]) -> None:
    """`act` for each, `AT_ONCE` at a time; the first failure is raised."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(act, subjects):
            pass


def _quoted(part: str) -> str:
    return quote(part, safe="")
