"""What a connector and Doorlist promise each other: records, promises and errors. Standard library only.

A connector translates between one foreign system and these types; it decides nothing and remembers nothing.
Every verb may be called twice: "already so" is success. After a lost answer, look before trying again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType, Protocol, runtime_checkable

AccountId = NewType("AccountId", str)
"""The workspace's own id of an account, such as `@ada:chat.example`."""

ChannelRef = NewType("ChannelRef", str)
"""The workspace's own id of a channel, such as `!abc:chat.example`; it survives renaming."""

Permit = Callable[[], None]
"""Raises `Withdrawn` when the gift is no longer allowed; called right before every request that gives."""


class Secret:
    """A string that does not show itself. `reveal()` stands on the line that sends it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")


# Errors: the class says what happens next.
#
# ConnectorError
#  ├─ Unreachable    no answer, or an answer that says "not now": tried again
#  ├─ RateLimited    tried again after `wait` seconds
#  ├─ Refused        this subject is parked: the other side will not have it
#  ├─ Conflict       this subject is parked: someone else holds the name, the address or the place
#  │   └─ AddressTaken   it is the address: under another name it would be no other
#  ├─ Missing        this subject is parked: what was addressed is not there
#  ├─ Unauthorised   the connector halts: our credential is not accepted
#  ├─ Misconfigured  the connector halts: the settings, or what answers there, cannot be right
#  └─ Withdrawn      nothing was sent: the gift is no longer allowed


class ConnectorError(Exception):
    """Names the connector, the thing and the numbers; never a secret."""


class Unreachable(ConnectorError):
    """No usable answer. `sent` is False only when the request surely never left us."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class RateLimited(ConnectorError):
    """The other side asks us to wait this many seconds; nothing was done."""

    def __init__(self, message: str, *, wait: float) -> None:
        super().__init__(message)
        self.wait = wait


class Refused(ConnectorError):
    """The other side understood and said no."""


class Conflict(ConnectorError):
    """Someone who is not this person, or something that is not ours, holds what was asked for."""


class AddressTaken(Conflict):
    """Someone else's account has an e-mail address that was to be given."""


class Missing(ConnectorError):
    """What was addressed does not exist there."""


class Unauthorised(ConnectorError):
    """Our credential is not accepted."""


class Misconfigured(ConnectorError):
    """The settings cannot be right, or something else answers at that address."""


class Withdrawn(ConnectorError):
    """Raised by a permit: what was to be given is no longer allowed, and the request was not sent."""


class AccountState(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"
    DEACTIVATED = "deactivated"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a workspace is to know of a person."""

    person_id: str
    user_name: str
    display_name: str
    emails: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account as the workspace shows it. `person_id` is the external id it carries under our provider."""

    id: AccountId
    person_id: str | None
    display_name: str
    emails: tuple[str, ...]
    state: AccountState


@dataclass(frozen=True, kw_only=True)
class ChannelWanted:
    """A channel as it should be. `key` is the idempotency key (on Matrix the alias' localpart).

    Into one that is not `private` everybody with an account may come by themselves.
    """

    key: str
    name: str
    topic: str = ""
    parent: ChannelRef | None = None
    space: bool = False
    encrypted: bool = False
    federated: bool = False
    read_only: bool = False
    private: bool = True


@dataclass(frozen=True, kw_only=True)
class ChannelSeen:
    """A channel as the workspace shows it. `ours` is True only where Doorlist made it."""

    ref: ChannelRef
    key: str | None
    name: str
    topic: str
    parent: ChannelRef | None
    space: bool
    read_only: bool
    private: bool
    owners: frozenset[AccountId]
    ours: bool


@dataclass(frozen=True, kw_only=True)
class Member:
    """Someone in a channel; `joined` is False while only invited."""

    account: AccountId
    joined: bool


@dataclass(frozen=True, kw_only=True)
class Access:
    """What lets an account in at the moment of reading."""

    sessions: int
    pushers: int
    memberships: int
    can_sign_in: bool

    @property
    def shut(self) -> bool:
        """No session, no push registration, and no way to make a new one."""
        return self.sessions == 0 and self.pushers == 0 and not self.can_sign_in

    @property
    def gone(self) -> bool:
        """Shut, and in no channel any more."""
        return self.shut and self.memberships == 0


@dataclass(frozen=True, kw_only=True)
class Led:
    """A channel that is not ours, in which an account may name owners. `others` here may too, and `company` are in it besides.

    A direct one is a conversation, and nobody's to hand on.
    """

    ref: ChannelRef
    name: str
    others: frozenset[AccountId]
    company: int
    direct: bool


class Arrival(StrEnum):
    """How a new owner stands in a channel: in it, asked in, or free to come by themselves."""

    JOINED = "joined"
    INVITED = "invited"
    OPEN = "open"


@dataclass(frozen=True, kw_only=True)
class History:
    """What of a channel can be read by whoever has left it, and by whoever has joined it; in words."""

    left: str
    joined: str


@dataclass(frozen=True, kw_only=True)
class Check:
    """What answers there, and what leaks or limits by its configuration, in sentences for an admin."""

    version: str
    problems: tuple[str, ...]


class Target(Protocol):
    """A workspace that holds accounts."""

    @property
    def name(self) -> str: ...

    def check(self) -> Check:
        """Raises `Unauthorised` or `Misconfigured` where nothing could work; lesser things are `problems`."""
        ...

    def fit(self, profile: Profile) -> Profile:
        """The nearest to this profile that the workspace can hold. Pure."""
        ...

    def proposed_id(self, profile: Profile, *, attempt: int) -> AccountId:
        """The id to try for a new account. Pure. Attempt 1 is the plain name, 2 and on carry `-2`, `-3`, …"""
        ...

    def list_accounts(self) -> Iterator[Account]:
        """Every account, in whatever state. Ending normally is the statement "that was everyone"."""
        ...

    def find_account(self, person_id: str) -> Account | None:
        """The account that carries this person's external id under our provider."""
        ...

    def get_account(self, id: AccountId) -> Account | None: ...

    def create_account(self, id: AccountId, profile: Profile, *, permit: Permit) -> Account:
        """Conflict when the id belongs to someone else, AddressTaken when an address does; nobody's address is taken over.

        An account already carrying this person's external id is brought up to date instead, and returned under its own id, which may differ.
        """
        ...

    def update_account(self, id: AccountId, profile: Profile, *, permit: Permit) -> Account: ...

    def reactivate_account(self, id: AccountId, profile: Profile, *, permit: Permit) -> Account:
        """From deactivated or paused to active, with name, addresses and external id applied anew."""
        ...

    def deactivate_account(self, id: AccountId) -> None:
        """Sign-in is closed first, then all of it ends, its channels perhaps later, even of one reactivated by then. A missing account is success."""
        ...


@runtime_checkable
class BarsAccounts(Protocol):
    def bar_account(self, id: AccountId) -> None:
        """No new request of it is answered; what is open goes on until it is deactivated or paused. A missing account is success."""


@runtime_checkable
class PausesAccounts(Protocol):
    def pause_account(self, id: AccountId) -> None:
        """Cannot sign in, no session, no push, in no channel where we have a say; can be undone by `reactivate_account`."""
        ...


@runtime_checkable
class PreparesAccounts(Protocol):
    def prepare_account(self, id: AccountId, profile: Profile, *, permit: Permit) -> Account:
        """An account that carries the person's external id and is paused: nobody can sign in until `reactivate_account`.

        Conflict when the id belongs to someone else. An account already carrying this external id is paused instead, if it is not shut, and returned.
        """
        ...


@runtime_checkable
class EndsSessions(Protocol):
    def end_sessions(self, id: AccountId) -> int:
        """Ends every session and says how many there were. Keeps nobody from signing in again."""
        ...


@runtime_checkable
class ShowsAccess(Protocol):
    def show_access(self, id: AccountId) -> Access:
        """Read from the workspace now. A missing account has nothing left and cannot sign in."""
        ...


@runtime_checkable
class HoldsChannels(Protocol):
    def find_channel(self, key: str) -> ChannelSeen | None: ...

    def get_channel(self, ref: ChannelRef) -> ChannelSeen | None:
        """None also of one of ours that was emptied for good, ourselves too."""

    def list_channels(self) -> Iterator[ChannelSeen]:
        """Every channel, ours or not. Ending normally is the statement "that was all"."""
        ...

    def create_channel(self, wanted: ChannelWanted) -> ChannelSeen:
        """A channel of ours with that key is adopted and brought up to date; a foreign one is a Conflict."""
        ...

    def update_channel(self, ref: ChannelRef, wanted: ChannelWanted) -> ChannelSeen:
        """Name, topic, parent, read-only and key; what led to the old key still leads here."""
        ...

    def set_owners(self, ref: ChannelRef, owners: frozenset[AccountId]) -> None:
        """Exactly these own it, beside ourselves. Does not make them members."""
        ...

    def list_members(self, ref: ChannelRef) -> Iterator[Member]:
        """Everyone joined or invited, without ourselves."""
        ...

    def channels_of(self, id: AccountId) -> frozenset[ChannelRef]:
        """The channels that this account has joined."""
        ...

    def add_members(self, ref: ChannelRef, accounts: Iterable[AccountId], *, permit: Permit) -> None:
        """Puts each in without asking them."""

    def invite_members(self, ref: ChannelRef, accounts: Iterable[AccountId], *, permit: Permit) -> None: ...

    def remove_members(self, ref: ChannelRef, accounts: Iterable[AccountId]) -> None:
        """Invitations are withdrawn as well. Who is not in it, and a channel that is not there, are success."""


@runtime_checkable
class HandsOver(Protocol):
    """Channels that are not ours lose their owner with an account; before that, somebody else can be given a say there."""

    def lock_account(self, id: AccountId) -> frozenset[ChannelRef] | None:
        """Nobody can sign in and no request of it is answered any more, and it stays where it is. Says in which channels; None where
        that could not be read. A missing account, or one that is deactivated, is in none.
        """
        ...

    def deactivate_locked(self, id: AccountId) -> None:
        """As `deactivate_account`, of one that was locked just now. A missing account is success."""
        ...

    def led_by(self, ref: ChannelRef, id: AccountId) -> Led | None:
        """None where it has no say, where the channel is ours, and where there is none."""
        ...

    def hand_over(self, ref: ChannelRef, to: AccountId, *, permit: Permit) -> Arrival:
        """Give somebody the say that the account with the most of it has there, by looking again. Refused where nobody here has any. Twice is once."""
        ...


@runtime_checkable
class ErasesAccounts(Protocol):
    def erase_account(self, id: AccountId) -> None:
        """What it wrote is kept from whoever comes later, its files and its profile are deleted; this cannot be undone.

        Conflict where it is not deactivated. Twice is once, and a missing account is success.
        """
        ...

    def is_erased(self, id: AccountId) -> bool:
        """Read from the workspace now. A missing account is."""
        ...


@dataclass(frozen=True, kw_only=True)
class TargetSettings:
    """What an administrator gave for one workspace."""

    name: str
    url: str
    token: Secret
    options: Mapping[str, str] = field(default_factory=dict)
