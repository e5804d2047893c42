"""Matrix (Synapse): rooms that others made. Before somebody leaves for good, their rooms can be given to somebody else.

Synapse lets an administrator do that only in the name of a local user who is joined there and has the power to: once the last
of them is deactivated, nobody ever can again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from connectors.contract import AccountId, Arrival, ChannelRef, ConnectorError, History, Led, Missing, Permit, Refused
from connectors.http import Document, path
from connectors.targets.matrix_homeserver import ADMIN
from connectors.targets.matrix_rooms import MatrixRooms

_beside = ThreadPoolExecutor(max_workers=16, thread_name_prefix="matrix-rooms")
LEVELS = "m.room.power_levels"
NAMING = 50
"""What it takes to change the power levels where a room does not say (https://spec.matrix.org/v1.15/client-server-api/#mroompower_levels)."""
CREATORS_RULE = 12
"""From this room version on whoever made a room stands in no list and has more power than any number (MSC4289)."""


@dataclass(frozen=True, kw_only=True)
class _Powers:
    """Who may name owners in one room."""

    users: Mapping[str, int]
    everybody: int
    needed: int
    creators: frozenset[str]

    def names_owners(self, id: str) -> bool:
        return id in self.creators or self.users.get(id, self.everybody) >= self.needed


class MatrixHandingOver(MatrixRooms):
    HISTORY = History(
        left="all that was written there until then, none of what comes after",
        joined="all that was written there before",
    )
    """Our rooms show their history to members (`shared`); a server shows one who left what they could read when they did."""

    def bar_account(self, id: AccountId) -> None:
        self._server.spare_ourselves(id)
        self._lock(id)

    def _lock(self, id: AccountId) -> Document | None:
        """As it was before; None where there is no such account."""
        # Looked at first, because Synapse's PUT would create a missing account; and it locks none that is deactivated.
        seen = self._caller.find(path(f"{ADMIN}/v2/users/{{}}", id))
        if seen is not None and not seen.flag("locked") and not seen.flag("deactivated"):
            self._caller.put(path(f"{ADMIN}/v2/users/{{}}", id), {"locked": True})
        return seen

    def lock_account(self, id: AccountId) -> frozenset[ChannelRef] | None:
        self._server.spare_ourselves(id)
        # Asked beside it, since whoever is in no room of others waits for nothing else.
        asked = _beside.submit(self.channels_of, id)
        try:
            seen = self._lock(id)
        finally:
            wait([asked])
        if seen is None or seen.flag("deactivated"):
            return frozenset()
        try:
            return asked.result()
        except ConnectorError:
            return None

    def deactivate_locked(self, id: AccountId) -> None:
        self._server.spare_ourselves(id)
        try:
            # Not erased: what was said stays readable to the organisation.
            self._caller.post(path(f"{ADMIN}/v1/deactivate/{{}}", id), {"erase": False})
        except Missing:
            return

    def led_by(self, ref: ChannelRef, id: AccountId) -> Led | None:
        details = self._caller.find(path(f"{ADMIN}/v1/rooms/{{}}", ref))
        if details is None or self._made_by_us(details):
            return None
        powers = self._powers(ref, details)
        if not powers.names_owners(id):
            return None
        joined = self._caller.get(path(f"{ADMIN}/v1/rooms/{{}}/members", ref)).document.texts("members")
        others = frozenset(
            AccountId(one)
            for one in joined
            if one not in (id, self._server.own_id) and self._server.is_local(AccountId(one)) and powers.names_owners(one)
        )
        return Led(
            ref=ref, name=details.text("name") or details.text("canonical_alias"), others=others,
            company=sum(one not in (id, self._server.own_id) for one in joined), direct=self._is_direct(details, id, len(joined)),
        )  # fmt: skip

    def hand_over(self, ref: ChannelRef, to: AccountId, *, permit: Permit) -> Arrival:
        permit()
        # It also invites them where the room is not open to everybody.
        self._caller.post(path(f"{ADMIN}/v1/rooms/{{}}/make_room_admin", ref), {"user_id": to})
        details = self._caller.get(path(f"{ADMIN}/v1/rooms/{{}}", ref)).document
        if not self._powers(ref, details).names_owners(to):
            raise Refused(f"{self._server.name}: {to} is not seen to have a say in {ref}")
        arrival = {"join": Arrival.JOINED, "invite": Arrival.INVITED}.get(self._memberships(to).get(ref, ""))
        if arrival is None and details.text("join_rules") != "public":
            raise Refused(f"{self._server.name}: {to} has a say in {ref}, and is not asked in")
        return arrival or Arrival.OPEN

    def _powers(self, ref: ChannelRef, details: Document) -> _Powers:
        made_by = details.text("creator")
        content = self._states(ref, LEVELS).get("")
        if content is None:
            # Then whoever made the room may do everything, and nobody else anything.
            return _Powers(users={}, everybody=0, needed=NAMING, creators=frozenset({made_by}))
        levels = content.plain()
        events = content.part("events").plain()
        return _Powers(
            users={one: _number(level, 0) for one, level in content.part("users").plain().items()},
            everybody=_number(levels.get("users_default"), 0),
            needed=_number(events.get(LEVELS), _number(levels.get("state_default"), NAMING)),
            creators=self._creators(ref, made_by) if _has_creators(details.text("version")) else frozenset(),
        )

    def _creators(self, ref: ChannelRef, made_by: str) -> frozenset[str]:
        made = self._states(ref, "m.room.create").get("")
        return frozenset({made_by, *(made.texts("additional_creators") if made else ())})

    def _is_direct(self, details: Document, id: AccountId, joined: int) -> bool:
        """A room does not say so itself: each client keeps a list of its own. Without one, two in a room without a name are talking."""
        nameless = not details.text("name") and not details.text("canonical_alias") and details.text("room_type") != "m.space"
        if nameless and joined <= 2:
            return True
        kept = self._caller.find(path(f"{ADMIN}/v1/users/{{}}/accountdata", id))
        said = kept.part("account_data").part("global").part("m.direct").plain() if kept is not None else {}
        return any(isinstance(rooms, list) and details.text("room_id") in rooms for rooms in said.values())


def _has_creators(version: str) -> bool:
    number = re.fullmatch(r"[0-9]{1,4}", version, re.ASCII)
    return int(version) >= CREATORS_RULE if number else version.startswith("org.matrix.hydra")


def _number(level: object, otherwise: int) -> int:
    """Rooms before version 10 may say a level as text."""
    if isinstance(level, str) and re.fullmatch(r"\s*-?[0-9]{1,15}\s*", level, re.ASCII):
        return int(level)
    return level if isinstance(level, int) and not isinstance(level, bool) else otherwise
