"""What the chat server holds, read from its own administration API and from nowhere else."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import requests

from tests.journeys.doorlist import StepFailed

ADMIN: Final = "/_synapse/admin"
# A company has a team per manager: a few show the pattern.
SHOWN_PER_KIND: Final = 8


@dataclass(frozen=True, kw_only=True)
class Room:
    """A channel, or a space that holds channels. `members` leaves out the account that provisions."""

    room_id: str
    name: str
    space: bool
    members: frozenset[str]
    children: frozenset[str]


class ChatAdmin:
    """Synapse by an administrator's token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"
        self.me: str = self.call("GET", "/_matrix/client/v3/account/whoami")["user_id"]

    def rooms(self) -> dict[str, Room]:
        """Every room there is, with who is in it."""
        return {room.room_id: room for room in self._rooms()}

    def rooms_of(self, user: str) -> frozenset[str]:
        return frozenset(self.call("GET", f"{ADMIN}/v1/users/{_quoted(user)}/joined_rooms")["joined_rooms"])

    def user_of(self, email: str) -> str:
        """The account that holds this address."""
        path = f"{ADMIN}/v1/threepid/email/users/{_quoted(email)}"
        answer = self._session.get(self.url + path, timeout=30)
        if answer.status_code != 200:
            raise StepFailed(f"Synapse has no account for {email} ({answer.status_code})")
        user: str = answer.json()["user_id"]
        return user

    def closed_accounts(self) -> frozenset[str]:
        """Who is locked or deactivated. Synapse leaves both out of the listing unless asked."""
        closed = set()
        page = 0
        while True:
            query = f"?from={page}&limit=500&locked=true&deactivated=true&guests=false"
            users = self.call("GET", f"{ADMIN}/v2/users{query}")
            closed |= {user["name"] for user in users["users"] if user["deactivated"] or user.get("locked")}
            if "next_token" not in users:
                return frozenset(closed)
            page = int(users["next_token"])

    def give_password(self, user: str, password: str) -> None:
        """So that client stand-ins can sign in; whoever is signed in already stays so."""
        body = {"new_password": password, "logout_devices": False}
        self.call("POST", f"{ADMIN}/v1/reset_password/{_quoted(user)}", body)

    def lift_limits(self, user: str) -> None:
        body = {"messages_per_second": 0, "burst_count": 0}
        self.call("POST", f"{ADMIN}/v1/users/{_quoted(user)}/override_ratelimit", body)

    def sign_in(self, user: str, password: str) -> str:
        """An access token for this account."""
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": user},
            "password": password,
        }
        token: str = self.call("POST", "/_matrix/client/v3/login", login)["access_token"]
        return token

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._session.request(method, self.url + path, json=body, timeout=60)
        if answer.status_code not in (200, 201):
            raise StepFailed(f"Synapse answered {answer.status_code} to {method} {path}: {answer.text[:200]}")
        document: dict[str, Any] = answer.json()
        return document

    def _rooms(self) -> Iterator[Room]:
        page = 0
        while True:
            listing = self.call("GET", f"{ADMIN}/v1/rooms?from={page}&limit=100&order_by=name")
            for row in listing["rooms"]:
                room_id = row["room_id"]
                space = row.get("room_type") == "m.space"
                members = self.call("GET", f"{ADMIN}/v1/rooms/{_quoted(room_id)}/members")["members"]
                yield Room(
                    room_id=room_id,
                    name=row["name"] or row["canonical_alias"] or room_id,
                    space=space,
                    members=frozenset(members) - {self.me},
                    children=self._children(room_id) if space else frozenset(),
                )
            if "next_batch" not in listing:
                return
            page = int(listing["next_batch"])

    def _children(self, room_id: str) -> frozenset[str]:
        state = self.call("GET", f"{ADMIN}/v1/rooms/{_quoted(room_id)}/state")["state"]
        # A child that was taken out stays as an event without `via`.
        return frozenset(event["state_key"] for event in state if event["type"] == "m.space.child" and event["content"].get("via"))


def channels(rooms: Iterable[Room]) -> list[Room]:
    return [room for room in rooms if not room.space]


def draw(rooms: dict[str, Room]) -> str:
    """The tree, spaces first; of channels whose names begin alike the first few, and how many more."""
    nested = {child for room in rooms.values() for child in room.children if child in rooms}
    lines: list[str] = []
    _draw([room for room in rooms.values() if room.room_id not in nested], rooms, lines, indent="", above=())
    return "\n".join(lines)


def _draw(level: list[Room], rooms: dict[str, Room], lines: list[str], *, indent: str, above: tuple[str, ...]) -> None:
    more: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for room in sorted(level, key=lambda room: (not room.space, room.name)):
        # Spaces may be nested in a circle by hand; one that is already above is named and not followed.
        kind = room.name.split("-", 1)[0]
        kinds[kind] += 1
        if not room.space and kinds[kind] > SHOWN_PER_KIND:
            more[kind] += 1
            continue
        sign = "▾" if room.space else "#"
        lines.append(f"{indent}{sign} {room.name}  ({len(room.members)})")
        if room.space and room.room_id not in above:
            inside = [rooms[child] for child in room.children if child in rooms]
            _draw(inside, rooms, lines, indent=indent + "   ", above=(*above, room.room_id))
    lines.extend(f"{indent}  … and {count} more {kind}-…" for kind, count in sorted(more.items()))


def _quoted(part: str) -> str:
    return quote(part, safe="")
