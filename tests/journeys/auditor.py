"""The auditor: a program that does not trust Doorlist, and says whether someone who left is really shut out.

It shares nothing with what it audits: its own administrator token of the chat server, its own clock, its own
reading of the chat server's API. It first makes sure that its instruments work (the client stand-ins see a
message and the push gateway hears of it), then waits for the instant of the HR call and watches until the
person is gone, posting messages from a colleague's account all the while that must reach nobody.

Prints one JSON object. Exit status: 0 shut out and proved, 8 something leaked or someone still has access, 2
the audit could not be made.
"""

import argparse
import json
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import requests

POLL_EVERY: Final = 0.01
PROBE_EVERY: Final = 0.25
# A client held open by mistake hears of a probe well within this, and so does the push gateway.
ECHO_WITHIN: Final = 1.5
EXIT_LEAKED: Final = 8
EXIT_NO_AUDIT: Final = 2
_MS: Final = 1_000_000


class NoAudit(Exception):
    """The instruments do not work, or there is nothing to lose: no verdict can be given."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the chat server showed of the person, and the instant at which the last of it was known."""

    ns: int
    devices: int
    pushers: int
    rooms: frozenset[str]
    account: str

    @property
    def closed(self) -> bool:
        return self.account != "open"

    @property
    def nothing_held(self) -> bool:
        return self.closed and self.devices == 0 and self.pushers == 0


class ChatServer:
    """Synapse, read with the auditor's own administrator token."""

    def __init__(self, url: str, token: str, user: str) -> None:
        self._url = url.rstrip("/")
        self._user = user
        self._path = quote(user, safe="")
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def look(self) -> Look:
        devices = self._get(f"/_synapse/admin/v2/users/{self._path}/devices")["total"]
        pushers = self._get(f"/_synapse/admin/v1/users/{self._path}/pushers")["total"]
        rooms = self._get(f"/_synapse/admin/v1/users/{self._path}/joined_rooms")["joined_rooms"]
        row = self._get(f"/_synapse/admin/v2/users/{self._path}")
        account = "deactivated" if row["deactivated"] else "locked" if row.get("locked") else "open"
        return Look(ns=time.time_ns(), devices=devices, pushers=pushers, rooms=frozenset(rooms), account=account)

    def members(self, room_id: str) -> frozenset[str]:
        """The room's own view, which is not where `joined_rooms` is read from."""
        return frozenset(self._get(f"/_synapse/admin/v1/rooms/{quote(room_id, safe='')}/members")["members"])

    def sign_in(self, password: str) -> str:
        """`refused`, `accepted` (signed out again at once) or `unknown`."""
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self._user},
            "password": password,
            "initial_device_display_name": "auditor",
        }
        answer = requests.post(f"{self._url}/_matrix/client/v3/login", json=login, timeout=30)
        if answer.status_code == 200:
            token = answer.json()["access_token"]
            requests.post(
                f"{self._url}/_matrix/client/v3/logout",
                headers={"Authorization": f"Bearer {token}"},
                timeout=30,
            )
            return "accepted"
        return "refused" if answer.status_code in (401, 403) else "unknown"

    def _get(self, path: str) -> Any:
        answer = self._session.get(self._url + path, timeout=30)
        if answer.status_code != 200:
            raise NoAudit(f"GET {path} answered {answer.status_code} {answer.text[:200]}")
        return answer.json()


class Colleague:
    """Another account, in a room with the person, that posts messages."""

    def __init__(self, url: str, token: str, room_id: str) -> None:
        self._room = f"{url.rstrip('/')}/_matrix/client/v3/rooms/{quote(room_id, safe='')}/send/m.room.message"
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def post(self, text: str) -> str:
        """The event id of the message."""
        message = {"msgtype": "m.text", "body": text}
        url = f"{self._room}/audit-{time.time_ns()}"
        answer = self._session.put(url, json=message, timeout=30)
        while answer.status_code == 429:
            # Synapse lets an ordinary account post ten messages, then one in five seconds.
            time.sleep(answer.json().get("retry_after_ms", 1000) / 1000)
            answer = self._session.put(url, json=message, timeout=30)
        if answer.status_code != 200:
            raise NoAudit(f"the colleague could not post: {answer.status_code} {answer.text[:200]}")
        event_id: str = answer.json()["event_id"]
        return event_id


class Lines:
    """The complete JSON lines that another program has written to a file so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._reading = threading.Lock()
        self.all: list[dict[str, Any]] = []

    def refresh(self) -> list[dict[str, Any]]:
        with self._reading, self._path.open("rb") as file:
            file.seek(self._read)
            fresh = file.read()
            end = fresh.rfind(b"\n") + 1
            self._read += end
            self.all += [json.loads(line) for line in fresh[:end].splitlines()]
            return list(self.all)


class Audit:
    """One person's departure, watched. Times are milliseconds from the HR call."""

    def __init__(self, options: argparse.Namespace) -> None:
        token = options.admin_token_file.read_text().strip()
        self.server = ChatServer(options.synapse, token, options.user)
        self.colleague = Colleague(options.synapse, options.poster_token_file.read_text().strip(), options.room)
        self.password = options.password_file.read_text().strip()
        self.clients = Lines(options.clients)
        self.pushes = Lines(options.gateway_log)
        self.options = options
        self.first_look = self.server.look()
        self.looks = 0
        self.shut_ns: int | None = None
        self.gone_ns: int | None = None
        self.sign_in = "not tried"
        self.sign_in_again_at = 0.0
        self.came_back: list[str] = []
        self.probes: set[str] = set()
        self.broken: NoAudit | None = None

    def check_instruments(self) -> None:
        """Every client hears a message, and so does the gateway; else silence later would prove nothing."""
        self.clients.refresh()
        names = self._client_names()
        if not names:
            raise NoAudit("no client has signed in")
        if self.first_look.devices < len(names) or self.first_look.closed:
            raise NoAudit(f"{len(names)} clients signed in, the server shows {self.first_look}")
        event_id = self.colleague.post("auditor: can you hear me?")
        until = time.monotonic() + 15
        while time.monotonic() < until:
            heard = {line["client"] for line in self.clients.refresh() if line.get("event_id") == event_id}
            pushed = any(push["event_id"] == event_id for push in self.pushes.refresh())
            if heard == names and (pushed or not self.first_look.pushers):
                return
            time.sleep(0.05)
        raise NoAudit(f"the test message reached {sorted(heard)} of {sorted(names)}; pushed: {pushed}")

    def watch(self, since_ns: int) -> None:
        """Looks on until the person is gone and, if asked, until told to stop; or until time is up."""
        until = since_ns + int(self.options.until_gone * 1e9)
        stop = threading.Event()
        posting: threading.Thread | None = None
        said_gone = False
        try:
            while True:
                look = self.server.look()
                self.looks += 1
                self._judge(look)
                if self.broken is not None:
                    raise self.broken
                if posting is None and (look.closed or self._first_refusal() is not None):
                    posting = threading.Thread(target=self._post_probes, args=(stop,), daemon=True)
                    posting.start()
                if self.gone_ns is not None and not said_gone:
                    said_gone = True
                    say("gone")
                told = self.options.watch_until is None or self.options.watch_until.exists()
                if (self.gone_ns is not None and told) or (time.time_ns() > until and (told or not said_gone)):
                    return
                time.sleep(POLL_EVERY if self.gone_ns is None else PROBE_EVERY)
        finally:
            stop.set()
            if posting is not None:
                posting.join(timeout=30)

    def verdict(self, since_ns: int) -> dict[str, Any]:
        """One last probe and one last look at everything, some time after the person was shut out."""
        if self.broken is not None:
            raise self.broken
        self.probes.add(self.colleague.post("auditor: nobody who left may read this (last)"))
        time.sleep(ECHO_WITHIN)
        last = self.server.look()
        self._judge(last)
        if self.sign_in != "accepted":
            self.sign_in = self.server.sign_in(self.password)
        still_listed = sorted(room for room in self.first_look.rooms if self.options.user in self.server.members(room))
        self.clients.refresh()
        self.pushes.refresh()

        clients = {name: self._client_report(name, since_ns) for name in sorted(self._client_names())}
        leaked = sum(report["leaked_messages"] for report in clients.values())
        pushes_after = [push for push in self.pushes.all if self._came_after(push)]
        findings = [
            *(f"{name} was never refused" for name, report in clients.items() if report["ms_to_refused"] is None),
            *(f"{name} was let in again" for name, report in clients.items() if report["let_in_again"]),
            *([f"{leaked} messages reached a client afterwards"] if leaked else []),
            *([f"{len(pushes_after)} pushes came afterwards"] if pushes_after else []),
            *([f"a fresh sign-in was {self.sign_in}"] if self.sign_in != "refused" else []),
            *(["not shut"] if self.shut_ns is None else []),
            *([f"not gone: still in {len(last.rooms)} rooms"] if self.gone_ns is None else []),
            *(f"still a member by the room's own list: {room}" for room in still_listed),
            *sorted(set(self.came_back)),
        ]
        refusals = [report["ms_to_refused"] for report in clients.values()]
        return {
            "user": self.options.user,
            "clients": clients,
            "ms_to_refused": None if None in refusals else max(refusals),
            "ms_shut": _ms(self.shut_ns, since_ns),
            "ms_gone": _ms(self.gone_ns, since_ns),
            "had": {
                "devices": self.first_look.devices,
                "pushers": self.first_look.pushers,
                "rooms": len(self.first_look.rooms),
            },
            "account": last.account,
            "leaked_messages": leaked,
            "pushes_after": len(pushes_after),
            "fresh_sign_in": self.sign_in,
            "probes": len(self.probes),
            "looks": self.looks,
            "findings": findings,
            "good": not findings,
        }

    def _judge(self, look: Look) -> None:
        if self.shut_ns is None:
            # A sign-in is tried once the account looks closed and never before: it would leave a session
            # behind, and Synapse answers 429 after a few that failed.
            if look.nothing_held and time.monotonic() >= self.sign_in_again_at:
                self.sign_in_again_at = time.monotonic() + 2
                self.sign_in = self.server.sign_in(self.password)
                if self.sign_in == "refused":
                    self.shut_ns = time.time_ns()
        elif not look.nothing_held:
            self.came_back.append(f"open after shut: account {look.account}, {look.devices} devices, {look.pushers} pushers")
        if self.gone_ns is None:
            if self.shut_ns is not None and not look.rooms:
                self.gone_ns = max(look.ns, self.shut_ns)
        elif look.rooms:
            self.came_back.append(f"a member again after gone: {len(look.rooms)} rooms")

    def _post_probes(self, stop: threading.Event) -> None:
        # The clients that hold a poll are given the time to be refused that a departure takes: lock, then
        # deactivate. A message sent in between is one sent before the person was shut out.
        everyone = self._client_names()
        patience = time.monotonic() + PROBE_EVERY
        while time.monotonic() < patience and len(self._refusals()) < len(everyone):
            time.sleep(0.005)
        try:
            while not stop.is_set():
                number = len(self.probes) + 1
                self.probes.add(self.colleague.post(f"auditor: nobody who left may read this ({number})"))
                stop.wait(PROBE_EVERY if number < 20 else 2)
        except NoAudit as error:
            self.broken = error

    def _client_names(self) -> set[str]:
        return {line["client"] for line in self.clients.all if line["event"] == "signed_in"}

    def _refusals(self) -> dict[str, dict[str, Any]]:
        first: dict[str, dict[str, Any]] = {}
        for line in self.clients.refresh():
            if line["event"] == "refused":
                first.setdefault(line["client"], line)
        return first

    def _first_refusal(self) -> int | None:
        return min((line["ns"] for line in self._refusals().values()), default=None)

    def _client_report(self, name: str, since_ns: int) -> dict[str, Any]:
        refused = self._refusals().get(name)
        mine = [line for line in self.clients.all if line["client"] == name]
        leaked = [
            line
            for line in mine
            if line["event"] == "message" and (line["event_id"] in self.probes or (refused is not None and line["ns"] > refused["ns"]))
        ]
        return {
            "kind": mine[0]["kind"],
            "ms_to_refused": None if refused is None else _ms(refused["ns"], since_ns),
            "errcode": None if refused is None else refused["errcode"],
            "leaked_messages": len(leaked),
            "let_in_again": any(line["event"] == "let_in_again" for line in mine),
        }

    def _came_after(self, push: dict[str, Any]) -> bool:
        return push["event_id"] in self.probes or (self.shut_ns is not None and push["ns"] > self.shut_ns)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _ms(ns: int | None, since_ns: int) -> float | None:
    return None if ns is None else round((ns - since_ns) / _MS, 1)


def _since(options: argparse.Namespace) -> int:
    if options.since_ns is not None:
        return int(options.since_ns)
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if options.since_file.exists() and (text := options.since_file.read_text().strip()):
            return int(text)
        time.sleep(0.001)
    raise NoAudit("nobody said within two minutes when the HR call began")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="auditor", description="Is someone who left really shut out of Synapse?")
    parser.add_argument("--synapse", required=True, metavar="URL")
    parser.add_argument("--admin-token-file", required=True, type=Path)
    parser.add_argument("--user", required=True, metavar="@USER:SERVER")
    parser.add_argument("--password-file", required=True, type=Path, help="for the fresh sign-in")
    parser.add_argument("--poster-token-file", required=True, type=Path, help="a colleague's access token")
    parser.add_argument("--room", required=True, help="a room that the person and the colleague are in")
    parser.add_argument("--clients", required=True, type=Path, help="what the client stand-ins note")
    parser.add_argument("--gateway-log", required=True, type=Path, help="what the push gateway notes")
    parser.add_argument("--until-gone", type=float, default=60, metavar="SECONDS", help="how long to wait for gone")
    parser.add_argument("--watch-until", type=Path, metavar="FILE", help="go on watching until this file exists")
    began = parser.add_mutually_exclusive_group(required=True)
    began.add_argument("--since-ns", type=int, help="when the HR call began")
    began.add_argument("--since-file", type=Path, help="a file that will say it, once it has begun")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        audit = Audit(options)
        # Told afterwards of a call already made, there is nothing left to test the instruments on.
        if options.since_ns is None:
            audit.check_instruments()
            say("ready")
        since_ns = _since(options)
        audit.watch(since_ns)
        report = audit.verdict(since_ns)
    except (NoAudit, OSError) as error:
        say(f"auditor: no verdict: {error}")
        return EXIT_NO_AUDIT
    print(json.dumps(report))
    return 0 if report["good"] else EXIT_LEAKED


if __name__ == "__main__":
    sys.exit(main())
