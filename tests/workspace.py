"""A working stand-in for a chat workspace: it keeps the promises of the contract, in memory, and can be interrupted at any call."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from connectors.contract import (
    Access,
    Account,
    AccountId,
    AccountState,
    ChannelRef,
    ChannelSeen,
    ChannelWanted,
    Check,
    Conflict,
    Member,
    Missing,
    Permit,
    Profile,
)


@dataclass
class Workspace:
    """`before_call` runs before each call takes effect, `after_call` after it, with the call's name and running number."""

    name: str = "stand-in"
    accounts: dict[AccountId, Account] = field(default_factory=dict)
    sessions: dict[AccountId, int] = field(default_factory=dict)
    rooms: dict[ChannelRef, ChannelSeen] = field(default_factory=dict)
    addresses: dict[str, ChannelRef] = field(default_factory=dict)
    members: dict[ChannelRef, set[AccountId]] = field(default_factory=dict)
    invited: dict[ChannelRef, set[AccountId]] = field(default_factory=dict)
    made: int = 0
    before_call: Callable[[str, int], None] | None = None
    calls: int = 0

    def _called(self, what: str) -> None:
        self.calls += 1
        if self.before_call is not None:
            self.before_call(what, self.calls)

    def check(self) -> Check:
        return Check(version="1", problems=())

    def fit(self, profile: Profile) -> Profile:
        return profile

    def proposed_id(self, profile: Profile, *, attempt: int) -> AccountId:
        local = profile.user_name.split("@")[0].lower()
        return AccountId(local if attempt == 1 else f"{local}-{attempt}")

    def list_accounts(self) -> Iterator[Account]:
        yield from list(self.accounts.values())

    def find_account(self, person_id: str) -> Account | None:
        self._called("find_account")
        return next((account for account in self.accounts.values() if account.person_id == person_id), None)

    def get_account(self, id: AccountId) -> Account | None:
        return self.accounts.get(id)

    def create_account(self, id: AccountId, profile: Profile, *, permit: Permit) -> Account:
        known = next((account.id for account in self.accounts.values() if account.person_id == profile.person_id), None)
        if known is not None:
            return self.reactivate_account(known, profile, permit=permit)
        if id in self.accounts and self.accounts[id].person_id != profile.person_id:
            raise Conflict(f"{id} belongs to someone else")
        permit()
        self._called("create_account")
        self.accounts[id] = Account(
            id=id, person_id=profile.person_id, display_name=profile.display_name, emails=profile.emails, state=AccountState.ACTIVE
        )
        self.sessions[id] = 1
        return self.accounts[id]

    def prepare_account(self, id: AccountId, profile: Profile, *, permit: Permit) -> Account:
        known = self.find_account(profile.person_id)
        if known is None:
            if id in self.accounts:
                raise Conflict(f"{id} belongs to someone else")
            permit()
            self._called("prepare_account")
            known = Account(id=id, person_id=profile.person_id, display_name=profile.display_name, emails=(), state=AccountState.PAUSED)
            self.accounts[id] = known
        if known.state is AccountState.ACTIVE:
            self.pause_account(known.id)
        return self.accounts[known.id]

    def update_account(self, id: AccountId, profile: Profile, *, permit: Permit) -> Account:
        permit()
        self._called("update_account")
        self.accounts[id] = replace(self.accounts[id], display_name=profile.display_name, emails=profile.emails)
        return self.accounts[id]

    def reactivate_account(self, id: AccountId, profile: Profile, *, permit: Permit) -> Account:
        permit()
        self._called("reactivate_account")
        self.accounts[id] = replace(self.accounts[id], state=AccountState.ACTIVE, emails=profile.emails)
        return self.accounts[id]

    def deactivate_account(self, id: AccountId) -> None:
        self._called("deactivate_account")
        if id in self.accounts:
            self.accounts[id] = replace(self.accounts[id], state=AccountState.DEACTIVATED, emails=())
            self._leave_all(id)

    def pause_account(self, id: AccountId) -> None:
        self._called("pause_account")
        if id in self.accounts:
            self.accounts[id] = replace(self.accounts[id], state=AccountState.PAUSED)
            self._leave_all(id)

    def _leave_all(self, id: AccountId) -> None:
        self.sessions[id] = 0
        for some in (*self.members.values(), *self.invited.values()):
            some.discard(id)

    def end_sessions(self, id: AccountId) -> int:
        return self.sessions.pop(id, 0)

    def show_access(self, id: AccountId) -> Access:
        self._called("show_access")
        account = self.accounts.get(id)
        if account is None:
            return Access(sessions=0, pushers=0, memberships=0, can_sign_in=False)
        memberships = sum(id in joined for joined in self.members.values())
        return Access(
            sessions=self.sessions.get(id, 0), pushers=0, memberships=memberships, can_sign_in=account.state is AccountState.ACTIVE
        )

    def find_channel(self, key: str) -> ChannelSeen | None:
        ref = self.addresses.get(key)
        return None if ref is None else self.rooms.get(ref)

    def get_channel(self, ref: ChannelRef) -> ChannelSeen | None:
        return self.rooms.get(ref)

    def list_channels(self) -> Iterator[ChannelSeen]:
        yield from list(self.rooms.values())

    def create_channel(self, wanted: ChannelWanted) -> ChannelSeen:
        self._called("create_channel")
        there = self.find_channel(wanted.key)
        if there is not None and there.ours and there.key == wanted.key:
            return self.update_channel(there.ref, wanted)
        if there is not None:
            raise Conflict(f"{wanted.key} leads to another channel")
        ref = ChannelRef(f"!{self.made}")
        self.made += 1
        self.rooms[ref] = ChannelSeen(
            ref=ref, key=wanted.key, name=wanted.name, topic=wanted.topic, parent=wanted.parent, space=wanted.space,
            read_only=wanted.read_only, private=wanted.private, owners=frozenset(), ours=True,
        )  # fmt: skip
        self.members[ref] = set()
        self.addresses[wanted.key] = ref
        if wanted.parent is not None:
            self._require_room(wanted.parent)
        return self.rooms[ref]

    def update_channel(self, ref: ChannelRef, wanted: ChannelWanted) -> ChannelSeen:
        self._called("update_channel")
        self._require_room(ref)
        if wanted.parent is not None:
            self._require_room(wanted.parent)
        if self.addresses.setdefault(wanted.key, ref) != ref:
            raise Conflict(f"{wanted.key} leads to another channel")
        self.rooms[ref] = replace(
            self.rooms[ref], key=wanted.key, name=wanted.name, topic=wanted.topic, parent=wanted.parent, read_only=wanted.read_only,
            private=wanted.private,
        )  # fmt: skip
        return self.rooms[ref]

    def set_owners(self, ref: ChannelRef, owners: frozenset[AccountId]) -> None:
        self._called("set_owners")
        self._require_room(ref)
        self.rooms[ref] = replace(self.rooms[ref], owners=owners)

    def list_members(self, ref: ChannelRef) -> Iterator[Member]:
        self._require_room(ref)
        yield from [Member(account=account, joined=True) for account in sorted(self.members[ref])]
        yield from [Member(account=account, joined=False) for account in sorted(self.invited.get(ref, set()))]

    def channels_of(self, id: AccountId) -> frozenset[ChannelRef]:
        self._called("channels_of")
        return frozenset(ref for ref, joined in self.members.items() if id in joined)

    def add_members(self, ref: ChannelRef, accounts: Iterable[AccountId], *, permit: Permit) -> None:
        for account in accounts:
            permit()
            self._called("add_members")
            self._require_room(ref)
            self.members[ref].add(account)

    def invite_members(self, ref: ChannelRef, accounts: Iterable[AccountId], *, permit: Permit) -> None:
        for account in accounts:
            permit()
            self._called("invite_members")
            self._require_room(ref)
            self.invited.setdefault(ref, set()).add(account)

    def remove_members(self, ref: ChannelRef, accounts: Iterable[AccountId]) -> None:
        self._called("remove_members")
        for account in accounts:
            self.members.get(ref, set()).discard(account)
            self.invited.get(ref, set()).discard(account)

    def _require_room(self, ref: ChannelRef) -> None:
        if ref not in self.members:
            raise Missing(f"there is no channel {ref}")

    def deletes(self, name: str) -> None:
        """An administrator over there deletes a channel; its address stays, and leads nowhere."""
        ref = next(room.ref for room in self.rooms.values() if room.name == name)
        for kept in (self.rooms, self.members, self.invited):
            kept.pop(ref, None)

    def names_of(self, id: AccountId) -> set[str]:
        """Names of the channels that an account has joined."""
        return {self.rooms[ref].name for ref, joined in self.members.items() if id in joined}
