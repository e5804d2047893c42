"""Matrix (Synapse): channels are private rooms, the organisation's tree is made of spaces.

The provisioner creates every room of ours and stays in it, since a room's creator cannot be outranked. The
alias is the idempotency key: Synapse refuses a second room with the same one.
A marker event says that a room is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from connectors.contract import (
    AccountId,
    ChannelRef,
    ChannelSeen,
    ChannelWanted,
    Conflict,
    Missing,
    Refused,
    Unreachable,
)
from connectors.http import Document, path
from connectors.targets.matrix_homeserver import ADMIN, CLIENT
from connectors.targets.matrix_members import MatrixMembers

MARKER = "org.doorlist.channel"
ROOMS_PER_PAGE = 500

# An owner may rename, set the topic, pin, invite and remove; all else stays with us, such as opening a room, naming owners, or
# replacing it by one of their own (m.room.tombstone): whoever followed there would be in a room that no rule reaches.
# Below 100, because in rooms before version 12 two at 100 cannot remove each other.
OWNER = 50
SEALED = 100
_EVENTS = {
    "m.room.name": OWNER,
    "m.room.topic": OWNER,
    "m.room.avatar": OWNER,
    "m.room.pinned_events": OWNER,
    "m.room.canonical_alias": SEALED,
    "m.room.encryption": SEALED,
    "m.room.guest_access": SEALED,
    "m.room.history_visibility": SEALED,
    "m.room.join_rules": SEALED,
    "m.room.power_levels": SEALED,
    "m.room.server_acl": SEALED,
    "m.space.child": SEALED,
    "m.space.parent": SEALED,
    MARKER: SEALED,
}


class MatrixRooms(MatrixMembers):
    def find_channel(self, key: str) -> ChannelSeen | None:
        ref = self._ref_of(key)
        return None if ref is None else self.get_channel(ref)

    def get_channel(self, ref: ChannelRef) -> ChannelSeen | None:
        details = self._caller.find(path(f"{ADMIN}/v1/rooms/{{}}", ref))
        return None if details is None or self._is_deserted(ref, details) else self._seen(ref, details)

    def list_channels(self) -> Iterator[ChannelSeen]:
        listed: set[ChannelRef] = set()
        start = 0
        while True:
            page = self._caller.get(
                f"{ADMIN}/v1/rooms",
                query={"from": str(start), "limit": str(ROOMS_PER_PAGE), "order_by": "name"},
            ).document
            for details in page.parts("rooms"):
                ref = ChannelRef(details.text("room_id"))
                if ref in listed:
                    continue
                listed.add(ref)
                if self._made_by_us(details):
                    if (seen := self.get_channel(ref)) is not None:
                        yield seen
                else:
                    # Other people's rooms are none of our business beyond their being there.
                    yield self._foreign(ref, details)
            if not page.has("next_batch"):
                break
            start = page.number("next_batch")
        if len(listed) < page.number("total_rooms"):
            raise Unreachable(f"{self._server.name}: the list of rooms changed under reading", sent=True)

    def create_channel(self, wanted: ChannelWanted) -> ChannelSeen:
        try:
            ref = self._create_room(wanted)
        except Conflict:
            if (known := self._adopt(wanted)) is not None:
                return known
            ref = self._create_room(wanted)
        if wanted.parent is not None:
            self._put_under(ref, wanted.parent)
        return ChannelSeen(
            ref=ref,
            key=wanted.key,
            name=wanted.name,
            topic=wanted.topic,
            parent=wanted.parent,
            space=wanted.space,
            read_only=wanted.read_only,
            private=wanted.private,
            owners=frozenset(),
            ours=True,
        )

    def update_channel(self, ref: ChannelRef, wanted: ChannelWanted) -> ChannelSeen:
        return self._update(self._require_ours(ref), wanted)

    def set_owners(self, ref: ChannelRef, owners: frozenset[AccountId]) -> None:
        self._require_ours(ref)
        levels = self._state_of(ref, "m.room.power_levels").plain()
        before = _users(levels)
        # Before room version 12 our own power stands in the list too, and must stay there.
        users = {id: level for id, level in before.items() if id == self._server.own_id}
        users.update((str(id), OWNER) for id in sorted(owners) if id != self._server.own_id)
        if users != before:
            self._put_state(ref, "m.room.power_levels", {**levels, "users": users})

    # Looking

    def _seen(self, ref: ChannelRef, details: Document) -> ChannelSeen:
        if not self._made_by_us(details):
            return self._foreign(ref, details)
        marker = self._states(ref, MARKER).get("")
        levels = self._states(ref, "m.room.power_levels").get("")
        powers = {} if levels is None else levels.plain()
        return ChannelSeen(
            ref=ref,
            key=marker.text("key") if marker else self._server.key_of(details.text("canonical_alias")),
            name=details.text("name"),
            topic=details.text("topic"),
            parent=self._parent(ref),
            space=details.text("room_type") == "m.space",
            read_only=_level(powers.get("events_default")) >= SEALED,
            private=details.text("join_rules") != "public",
            owners=frozenset(
                AccountId(id)
                for id, level in _users(powers).items()
                if level >= OWNER and id != self._server.own_id
            ),
            ours=marker is not None,
        )

    def _foreign(self, ref: ChannelRef, details: Document) -> ChannelSeen:
        return ChannelSeen(
            ref=ref,
            key=self._server.key_of(details.text("canonical_alias")),
            name=details.text("name"),
            topic="",
            parent=None,
            space=details.text("room_type") == "m.space",
            read_only=False,
            private=details.text("join_rules") != "public",
            owners=frozenset(),
            ours=False,
        )

    def _is_deserted(self, ref: ChannelRef, details: Document) -> bool:
        """Whether a room of ours has lost everybody, ourselves too: nobody can be brought into it any more.

        Synapse shows a room that is deleted without `purge`, and any while it is being deleted.
        """
        if not self._made_by_us(details) or details.number("joined_members") > 0:
            return False
        # Asked for once more, since that number is counted behind what happens.
        there = self._caller.find(path(f"{ADMIN}/v1/rooms/{{}}/members", ref))
        return there is None or not there.texts("members")

    def _made_by_us(self, details: Document) -> bool:
        # The marker alone proves nothing: anyone can put one into a room of their own.
        return details.text("creator") == self._server.own_id

    def _parent(self, ref: ChannelRef) -> ChannelRef | None:
        """Only where both sides say so; with one half missing, the wanted parent is put in place again."""
        for parent, content in sorted(self._states(ref, "m.space.parent").items()):
            if content.texts("via") and self._is_child(ref, ChannelRef(parent)):
                return ChannelRef(parent)
        return None

    def _is_child(self, ref: ChannelRef, parent: ChannelRef) -> bool:
        try:
            place = self._caller.find(path(f"{CLIENT}/rooms/{{}}/state/m.space.child/{{}}", parent, ref))
        except Refused:
            # A space that was deleted, or that we are not in: nothing is below it that we could see or take out.
            return False
        return place is not None and bool(place.texts("via"))

    def _ref_of(self, key: str) -> ChannelRef | None:
        found = self._caller.find(path(f"{CLIENT}/directory/room/{{}}", self._server.alias(key)))
        return None if found is None else ChannelRef(found.text("room_id"))

    def _states(self, ref: ChannelRef, kind: str) -> dict[str, Document]:
        """Current state of one type by state key; all of a large room's state would be mostly its members."""
        found = self._caller.get(path(f"{ADMIN}/v1/rooms/{{}}/state", ref), query={"type": kind}).document
        return {event.text("state_key"): event.part("content") for event in found.parts("state")}

    def _state_of(self, ref: ChannelRef, kind: str) -> Document:
        states = self._states(ref, kind)
        if "" not in states:
            raise Missing(f"{self._server.name}: room {ref} has no {kind}")
        return states[""]

    def _require_ours(self, ref: ChannelRef) -> ChannelSeen:
        if (seen := self.get_channel(ref)) is None:
            raise Missing(f"{self._server.name}: there is no room {ref}")
        if not seen.ours:
            raise Conflict(f"{self._server.name}: room {ref} was not made by Doorlist")
        return seen

    # Changing

    def _create_room(self, wanted: ChannelWanted) -> ChannelRef:
        creation: dict[str, object] = {"m.federate": wanted.federated}
        if wanted.space:
            creation["type"] = "m.space"
        state: list[dict[str, object]] = [
            {"type": MARKER, "state_key": "", "content": {"key": wanted.key}},
            {"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "forbidden"}},
            {"type": "m.room.join_rules", "state_key": "", "content": _joining(private=wanted.private)},
        ]
        if wanted.encrypted:
            state.append({"type": "m.room.encryption", "state_key": "", "content": _ENCRYPTION})
        made = self._caller.post(
            f"{CLIENT}/createRoom",
            {
                "preset": "private_chat",
                "visibility": "private",
                "name": wanted.name,
                "topic": wanted.topic,
                "room_alias_name": wanted.key,
                "creation_content": creation,
                "initial_state": state,
                # Synapse's private preset would let every member invite others.
                "power_level_content_override": _meant({}, read_only=wanted.read_only),
            },
        )
        return ChannelRef(made.document.text("room_id"))

    def _adopt(self, wanted: ChannelWanted) -> ChannelSeen | None:
        """What holds the alias: ours is brought up to date, a ruin is cleared (None), else a Conflict."""
        ref = self._ref_of(wanted.key)
        if ref is None:
            return None
        seen = self.get_channel(ref)
        if seen is not None and seen.ours and seen.key == wanted.key:
            return self._update(seen, wanted)
        if seen is None or self._is_half_made(seen):
            # Synapse registers the alias before the room is complete, and keeps it when a room is deleted.
            self._caller.delete(path(f"{CLIENT}/directory/room/{{}}", self._server.alias(wanted.key)))
            return None
        raise Conflict(f"{self._server.name}: {self._server.alias(wanted.key)} leads to another room, {ref}")

    def _is_half_made(self, seen: ChannelSeen) -> bool:
        details = self._caller.find(path(f"{ADMIN}/v1/rooms/{{}}", seen.ref))
        return (
            details is not None
            and self._made_by_us(details)
            and not seen.ours
            and (details.number("joined_members") <= 1)
        )

    def _update(self, seen: ChannelSeen, wanted: ChannelWanted) -> ChannelSeen:
        ref = seen.ref
        if seen.space != wanted.space:
            raise Conflict(f"{self._server.name}: {ref} cannot be turned into a space or back")
        if seen.key != wanted.key:
            self._rename_alias(ref, seen.key, wanted.key)
        if seen.name != wanted.name:
            self._put_state(ref, "m.room.name", {"name": wanted.name})
        if seen.topic != wanted.topic:
            self._put_state(ref, "m.room.topic", {"topic": wanted.topic})
        levels = self._state_of(ref, "m.room.power_levels").plain()
        if (meant := _meant(levels, read_only=wanted.read_only)) != levels:
            self._put_state(ref, "m.room.power_levels", meant)
        if seen.private != wanted.private:
            self._put_state(ref, "m.room.join_rules", _joining(private=wanted.private))
        if seen.parent != wanted.parent:
            self._move(ref, wanted.parent)
        if wanted.encrypted and "" not in self._states(ref, "m.room.encryption"):
            self._put_state(ref, "m.room.encryption", _ENCRYPTION)
        after = self.get_channel(ref)
        if after is None:
            raise Missing(f"{self._server.name}: room {ref} is gone while it was being changed")
        return after

    def _rename_alias(self, ref: ChannelRef, old: str | None, new: str) -> None:
        """The old alias stays beside the new one. The marker is last: until then the rename is done again."""
        holder = self._ref_of(new)
        if holder not in (None, ref):
            raise Conflict(f"{self._server.name}: {self._server.alias(new)} leads to another room, {holder}")
        if holder is None:
            self._caller.put(path(f"{CLIENT}/directory/room/{{}}", self._server.alias(new)), {"room_id": ref})
        canonical = self._states(ref, "m.room.canonical_alias").get("")
        others = list(canonical.texts("alt_aliases")) if canonical else []
        if old is not None and self._server.alias(old) not in others:
            others.append(self._server.alias(old))
        others = [alias for alias in others if alias != self._server.alias(new)]
        content = {"alias": self._server.alias(new), "alt_aliases": others}
        self._put_state(ref, "m.room.canonical_alias", content)
        self._put_state(ref, MARKER, {"key": new})

    def _move(self, ref: ChannelRef, parent: ChannelRef | None) -> None:
        for old, content in self._states(ref, "m.space.parent").items():
            if old != parent and content.texts("via"):
                if self._is_child(ref, ChannelRef(old)):
                    self._put_state(ChannelRef(old), "m.space.child", {}, state_key=ref)
                self._put_state(ref, "m.space.parent", {}, state_key=old)
        if parent is not None:
            self._put_under(ref, parent)

    def _put_under(self, ref: ChannelRef, parent: ChannelRef) -> None:
        via = [self._server.server_name]
        self._put_state(parent, "m.space.child", {"via": via}, state_key=ref)
        self._put_state(ref, "m.space.parent", {"via": via, "canonical": True}, state_key=parent)

    def _put_state(
        self, ref: ChannelRef, kind: str, content: Mapping[str, object], *, state_key: str = ""
    ) -> None:
        self._caller.put(path(f"{CLIENT}/rooms/{{}}/state/{{}}/{{}}", ref, kind, state_key), content)


_ENCRYPTION = {"algorithm": "m.megolm.v1.aes-sha2"}


def _meant(levels: Mapping[str, object], *, read_only: bool) -> dict[str, object]:
    """These power levels as they are meant to be; what else an administrator allowed stays, and who owns the room."""
    invite, say = (SEALED, SEALED) if read_only else (OWNER, 0)
    allowed = levels.get("events")
    events = {**(allowed if isinstance(allowed, dict) else {}), **_EVENTS}
    return {**levels, "events": events, "state_default": SEALED, "events_default": say, "invite": invite}


def _joining(*, private: bool) -> dict[str, object]:
    # Not in the server's directory: Synapse publishes no room unless its configuration says so. An open room is
    # entered by its alias, or found in the space that it is under.
    return {"join_rule": "invite" if private else "public"}


def _level(value: object) -> int:
    return value if isinstance(value, int) else 0


def _users(levels: Mapping[str, object]) -> dict[str, int]:
    users = levels.get("users")
    return {str(id): _level(level) for id, level in users.items()} if isinstance(users, dict) else {}
