"""A stand-in workspace in which people make rooms of their own, lose them with their account, and leave files behind."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from connectors.contract import AccountId, AccountState, Arrival, ChannelRef, Conflict, Led, Permit, Refused
from tests.workspace import Workspace


@dataclass
class Hall:
    """A room that somebody made: who may name owners, and whom it is open to."""

    name: str
    owners: set[AccountId]
    direct: bool = False
    public: bool = False
    invited: set[AccountId] = field(default_factory=set)


@dataclass
class Halls(Workspace):
    """Keeps the promises of `HandsOver` and `ErasesAccounts`. `files` is how many each account has left."""

    halls: dict[ChannelRef, Hall] = field(default_factory=dict)
    files: dict[AccountId, int] = field(default_factory=dict)
    erased: set[AccountId] = field(default_factory=set)
    stuck: set[ChannelRef] = field(default_factory=set)
    """Channels of ours where we have lost our say, so that a pause leaves people in them."""

    def opens(self, name: str, owner: AccountId, *others: AccountId, direct: bool = False, public: bool = False, owners: Iterable[AccountId] = ()) -> ChannelRef:
        ref = ChannelRef(f"!hall-{len(self.halls):04}")
        self.halls[ref] = Hall(name=name, owners={owner, *owners}, direct=direct, public=public)
        self.members[ref] = {owner, *others, *owners}
        return ref

    def pause_account(self, id: AccountId) -> None:
        # Nobody but those who made a room can take anybody out of it, or deactivate their account.
        kept = {ref for ref in self.halls.keys() | self.stuck if id in self.members[ref]}
        super().pause_account(id)
        for ref in kept:
            self.members[ref].add(id)

    def names_of(self, id: AccountId) -> set[str]:
        return {self.rooms[ref].name for ref, joined in self.members.items() if id in joined and ref in self.rooms}

    def lock_account(self, id: AccountId) -> frozenset[ChannelRef] | None:
        self._called("lock_account")
        account = self.accounts.get(id)
        if account is None or account.state is AccountState.DEACTIVATED:
            return frozenset()
        self.accounts[id] = replace(account, state=AccountState.PAUSED)
        return frozenset(ref for ref, joined in self.members.items() if id in joined)

    def deactivate_locked(self, id: AccountId) -> None:
        self.deactivate_account(id)

    def end_sessions(self, id: AccountId) -> int:
        self._called("end_sessions")
        return super().end_sessions(id)

    def led_by(self, ref: ChannelRef, id: AccountId) -> Led | None:
        self._called("led_by")
        hall = self.halls.get(ref)
        if hall is None or id not in hall.owners:
            return None
        company = self.members[ref] - {id}
        return Led(ref=ref, name=hall.name, others=frozenset(hall.owners & company), company=len(company), direct=hall.direct)

    def hand_over(self, ref: ChannelRef, to: AccountId, *, permit: Permit) -> Arrival:
        permit()
        self._called("hand_over")
        hall = self.halls[ref]
        if not hall.owners & self.members[ref]:
            raise Refused(f"{ref}: no owner is there any more")
        hall.owners.add(to)
        if to in self.members[ref]:
            return Arrival.JOINED
        if hall.public:
            return Arrival.OPEN
        hall.invited.add(to)
        return Arrival.INVITED

    def orphans(self) -> set[str]:
        """Names of rooms with somebody in them that nobody with access could look after."""
        here = {account.id for account in self.accounts.values() if account.state is AccountState.ACTIVE}
        return {hall.name for ref, hall in self.halls.items() if self.members[ref] and not hall.owners & here}

    def erase_account(self, id: AccountId) -> None:
        self._called("erase_account")
        if id not in self.accounts:
            return
        if self.accounts[id].state is not AccountState.DEACTIVATED:
            raise Conflict(f"{id} is not deactivated")
        self.erased.add(id)
        self.files[id] = 0

    def is_erased(self, id: AccountId) -> bool:
        return id not in self.accounts or (id in self.erased and not self.files.get(id))
