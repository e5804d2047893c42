"""Matrix (Synapse): who is in a room, and how people come in and out. The rooms themselves are in `matrix_rooms`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from connectors.contract import AccountId, ChannelRef, Conflict, Member, Missing, Permit, Refused
from connectors.http import path
from connectors.targets.matrix_homeserver import ADMIN, CLIENT, Homeserver

HOLDING = ("join", "invite", "knock")
"""The memberships that a kick ends."""


class MatrixMembers:
    def __init__(self, server: Homeserver) -> None:
        self._server = server
        self._caller = server.caller

    def list_members(self, ref: ChannelRef) -> Iterator[Member]:
        joined = self._caller.get(path(f"{ADMIN}/v1/rooms/{{}}/members", ref)).document
        for id in joined.texts("members"):
            if id != self._server.own_id:
                yield Member(account=AccountId(id), joined=True)
        invited = self._caller.get(path(f"{CLIENT}/rooms/{{}}/members", ref), query={"membership": "invite"})
        for event in invited.document.parts("chunk"):
            yield Member(account=AccountId(event.text("state_key")), joined=False)

    def channels_of(self, id: AccountId) -> frozenset[ChannelRef]:
        found = self._caller.find(path(f"{ADMIN}/v1/users/{{}}/joined_rooms", id))
        return frozenset() if found is None else frozenset(map(ChannelRef, found.texts("joined_rooms")))

    def add_members(self, ref: ChannelRef, accounts: Iterable[AccountId], *, permit: Permit) -> None:
        def add(id: AccountId) -> None:
            permit()
            try:
                self._caller.post(path(f"{ADMIN}/v1/join/{{}}", ref), {"user_id": id})
            except Refused:
                # Synapse answers 403 for someone who is in the room already.
                if self._membership(ref, id) != "join":
                    raise

        _for_each(accounts, add)

    def invite_members(self, ref: ChannelRef, accounts: Iterable[AccountId], *, permit: Permit) -> None:
        def invite(id: AccountId) -> None:
            # Looked at first: a second invitation would ring the phone again.
            if self._membership(ref, id) in ("invite", "join"):
                return
            permit()
            self._caller.post(path(f"{CLIENT}/rooms/{{}}/invite", ref), {"user_id": id})

        _for_each(accounts, invite)

    def remove_members(self, ref: ChannelRef, accounts: Iterable[AccountId]) -> None:
        def remove(id: AccountId) -> None:
            self._server.spare_ourselves(id)
            try:
                self._kick(ref, id)
            except Refused:
                # Synapse answers 403 for someone who is not in the room.
                if self._memberships(id).get(ref) not in HOLDING:
                    return
                raise

        _for_each(accounts, remove)

    def _kick(self, ref: ChannelRef, id: AccountId) -> None:
        """Refused where we have no say, and for someone who is not in the room."""
        try:
            self._caller.post(path(f"{CLIENT}/rooms/{{}}/kick", ref), {"user_id": id})
        except Missing:
            # The room was deleted, and nobody is in it.
            return

    def _memberships(self, id: AccountId) -> dict[ChannelRef, str]:
        """By room, how somebody stands to it: there, asked in, asking to be let in, out or banned."""
        said = self._caller.get(path(f"{ADMIN}/v1/users/{{}}/memberships", id)).document.part("memberships").plain()
        return {ChannelRef(ref): str(how) for ref, how in said.items()}

    def _membership(self, ref: ChannelRef, id: AccountId) -> str:
        found = self._caller.find(path(f"{CLIENT}/rooms/{{}}/state/m.room.member/{{}}", ref, id))
        return "" if found is None else found.text("membership")


def _for_each(accounts: Iterable[AccountId], act: Callable[[AccountId], None]) -> None:
    """One who is refused does not stand in the others' way; the first refusal is raised at the end."""
    refusals: list[Refused | Conflict | Missing] = []
    for id in accounts:
        try:
            act(id)
        except (Refused, Conflict, Missing) as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]
