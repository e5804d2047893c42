"""Two kinds of Matrix client, as people carry them: on classic long polls, and on simplified sliding sync.

Each signs in by password and holds its poll in a thread of its own. It notes, with the wall clock in
nanoseconds, every message that reaches it and every change between being let in and being refused, as JSON
lines in a file that others may read. Refused clients go on knocking: someone let in again by mistake is seen.
"""

import contextlib
import json
import os
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final

import requests

LONG_POLL_MS: Final = 30_000
KNOCK_AGAIN_AFTER: Final = 0.2
MESSAGE_TYPES: Final = frozenset({"m.room.message", "m.room.encrypted"})
# The server restarted its sliding sync connection; the client begins anew without a position (MSC4186).
UNKNOWN_POSITION: Final = "M_UNKNOWN_POS"


class SignInRefused(Exception):
    """The chat server did not let this client in when it should have."""


class ChatClient(ABC):
    """What both kinds share. `start` returns once the first sync is done: the next poll is then held."""

    kind = "?"

    def __init__(self, name: str, *, homeserver: str, user: str, password: str, log: Path) -> None:
        self.name = name
        self.user = user
        self.log = log
        self.device_id = ""
        self.refused_ns: int | None = None
        self._homeserver = homeserver.rstrip("/")
        self._password = password
        self._session = requests.Session()
        self._stopped = threading.Event()
        self._synced = threading.Event()
        self._let_in = True
        self._seen: set[str] = set()
        self._thread = threading.Thread(target=self._hold, name=f"client {name}", daemon=True)

    def start(self, *, push_to: str | None = None) -> None:
        """Signs in, sets a pusher to the gateway `push_to` if there is one, and begins to poll."""
        token = self._sign_in()
        self._session.headers["Authorization"] = f"Bearer {token}"
        if push_to is not None:
            self._set_pusher(push_to)
        self._note("signed_in", device_id=self.device_id, pusher=push_to is not None)
        self._thread.start()
        if not self._synced.wait(30):
            raise SignInRefused(f"{self.name}: no first sync within 30 s of signing in as {self.user}")

    def stop(self) -> None:
        """Signs out, which ends the poll held; a client already shut out just stops knocking."""
        self._stopped.set()
        if self._let_in and self.device_id:
            # Where the server is gone, so is the poll.
            with contextlib.suppress(requests.RequestException):
                headers = dict(self._session.headers)
                requests.post(f"{self._homeserver}/_matrix/client/v3/logout", headers=headers, timeout=5)
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _sign_in(self) -> str:
        answer = self._session.post(
            f"{self._homeserver}/_matrix/client/v3/login",
            json={
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": self.user},
                "password": self._password,
                "initial_device_display_name": self.name,
            },
            timeout=30,
        )
        if answer.status_code != 200:
            raise SignInRefused(f"{self.name}: sign-in as {self.user} answered {answer.status_code} {answer.text[:200]}")
        signed_in = answer.json()
        self.device_id = signed_in["device_id"]
        token: str = signed_in["access_token"]
        return token

    def _set_pusher(self, gateway: str) -> None:
        answer = self._session.post(
            f"{self._homeserver}/_matrix/client/v3/pushers/set",
            json={
                "kind": "http",
                "app_id": "example.phone",
                "pushkey": f"{self.name}-{self.device_id}",
                "app_display_name": "Phone",
                "device_display_name": self.name,
                "lang": "en",
                "data": {"url": gateway},
                "append": False,
            },
            timeout=30,
        )
        if answer.status_code != 200:
            raise SignInRefused(f"{self.name}: setting the pusher answered {answer.status_code} {answer.text[:200]}")

    def _hold(self) -> None:
        while not self._stopped.is_set():
            try:
                answer = self._poll()
            except requests.RequestException as error:
                self._note("unreachable", error=type(error).__name__)
                self._stopped.wait(KNOCK_AGAIN_AFTER)
                continue
            came_ns = time.time_ns()
            if answer.status_code == 200:
                self._received(answer.json(), came_ns)
            elif answer.status_code in (401, 403):
                self._refused(answer, came_ns)
                self._stopped.wait(KNOCK_AGAIN_AFTER)
            elif not self._recovered(answer):
                self._note("unreachable", error=f"HTTP {answer.status_code}")
                self._stopped.wait(KNOCK_AGAIN_AFTER)

    def _received(self, body: dict[str, Any], came_ns: int) -> None:
        if not self._let_in:
            self._let_in = True
            self._note("let_in_again", ns=came_ns)
        for room_id, event in self._events(body):
            event_id = event.get("event_id", "")
            if event.get("type") in MESSAGE_TYPES and event_id not in self._seen:
                self._seen.add(event_id)
                text = event.get("content", {}).get("body")
                self._note("message", ns=came_ns, room_id=room_id, event_id=event_id, body=text)
        self._synced.set()

    def _refused(self, answer: requests.Response, came_ns: int) -> None:
        if not self._let_in or self._stopped.is_set():
            return
        self._let_in = False
        if self.refused_ns is None:
            self.refused_ns = came_ns
        self._note("refused", ns=came_ns, status=answer.status_code, errcode=_errcode(answer))

    def _note(self, event: str, *, ns: int | None = None, **more: object) -> None:
        line = {"client": self.name, "kind": self.kind, "event": event, "ns": ns or time.time_ns(), **more}
        # One write to a file opened for appending: lines of several clients never mix.
        log = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(log, (json.dumps(line) + "\n").encode())
        finally:
            os.close(log)

    @abstractmethod
    def _poll(self) -> requests.Response: ...

    @abstractmethod
    def _events(self, body: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]: ...

    def _recovered(self, answer: requests.Response) -> bool:
        """Whether this answer is one that the protocol says to carry on from."""
        return False


class LongPollClient(ChatClient):
    """Classic `/sync`, held for thirty seconds at a time."""

    kind = "sync"
    _since: str | None = None

    def _poll(self) -> requests.Response:
        query = {"timeout": "0" if self._since is None else str(LONG_POLL_MS)}
        if self._since is not None:
            query["since"] = self._since
        return self._session.get(f"{self._homeserver}/_matrix/client/v3/sync", params=query, timeout=LONG_POLL_MS / 1000 + 15)

    def _events(self, body: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        self._since = body["next_batch"]
        rooms = body.get("rooms", {})
        return [
            (room_id, event)
            for part in ("join", "leave")
            for room_id, room in rooms.get(part, {}).items()
            for event in room.get("timeline", {}).get("events", [])
        ]


class SlidingClient(ChatClient):
    """Simplified sliding sync (MSC4186), the protocol of current mobile clients."""

    kind = "sliding"
    _position: str | None = None

    def _poll(self) -> requests.Response:
        query = {"timeout": "0" if self._position is None else str(LONG_POLL_MS)}
        if self._position is not None:
            query["pos"] = self._position
        return self._session.post(
            f"{self._homeserver}/_matrix/client/unstable/org.matrix.simplified_msc3575/sync",
            params=query,
            json={
                "conn_id": "main",
                "lists": {"all": {"ranges": [[0, 99]], "required_state": [], "timeline_limit": 20}},
            },
            timeout=LONG_POLL_MS / 1000 + 15,
        )

    def _events(self, body: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        self._position = body["pos"]
        return [(room_id, event) for room_id, room in body.get("rooms", {}).items() for event in room.get("timeline", [])]

    def _recovered(self, answer: requests.Response) -> bool:
        if answer.status_code == 400 and _errcode(answer) == UNKNOWN_POSITION:
            self._position = None
            return True
        return False


def _errcode(answer: requests.Response) -> str:
    try:
        return str(answer.json().get("errcode", ""))
    except (requests.JSONDecodeError, AttributeError):
        return ""
