"""Matrix (Synapse): accounts, and what lets them in. Channels are in `matrix_rooms`.

An account is ours when it carries the person's id under our OpenID provider. Passwords are never set, and no
token is ever made in somebody's name: an administrator's "login as" token would outlive the account.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress

from connectors.contract import (
    Access,
    Account,
    AccountId,
    AccountState,
    AddressTaken,
    Check,
    Conflict,
    Missing,
    Permit,
    Profile,
    Refused,
    TargetSettings,
    Unreachable,
)
from connectors.http import Document, path
from connectors.targets.matrix_check import inspect
from connectors.targets.matrix_erasing import MatrixErasing
from connectors.targets.matrix_handing_over import MatrixHandingOver
from connectors.targets.matrix_homeserver import ADMIN, Homeserver
from connectors.targets.matrix_members import HOLDING

_beside = ThreadPoolExecutor(max_workers=24, thread_name_prefix="matrix-beside")
PROVIDER = "oidc-doorlist"
LONGEST_NAME = 256
LONGEST_ADDRESS = 500
LONGEST_LOCALPART = 200
ACCOUNTS_PER_PAGE = 500


class Matrix(MatrixErasing, MatrixHandingOver):
    def __init__(self, settings: TargetSettings) -> None:
        super().__init__(Homeserver(settings))

    @property
    def name(self) -> str:
        return self._server.name

    def check(self) -> Check:
        return inspect(self._server, provider=PROVIDER)

    def fit(self, profile: Profile) -> Profile:
        emails = {fitted for email in profile.emails if (fitted := _fit_email(email))}
        name = profile.display_name.replace("\0", "").strip() or profile.user_name
        return Profile(
            person_id=profile.person_id,
            user_name=profile.user_name,
            display_name=name[:LONGEST_NAME].strip(),
            emails=tuple(sorted(emails)),  # Synapse keeps addresses without an order.
        )

    def proposed_id(self, profile: Profile, *, attempt: int) -> AccountId:
        """Matrix ids are lower-case ASCII; Synapse keeps "_" in front for application services, and nothing but digits for guests."""
        localpart = re.sub(r"[^a-z0-9=_\-./]+", "-", profile.user_name.partition("@")[0].lower())
        localpart = localpart.strip("-").lstrip("_")[:LONGEST_LOCALPART] or "person"
        if localpart.isdigit():
            localpart = f"person-{localpart}"
        suffix = "" if attempt == 1 else f"-{attempt}"
        return AccountId(f"@{localpart}{suffix}:{self._server.server_name}")

    def list_accounts(self) -> Iterator[Account]:
        # Without `locked` the list hides paused accounts, and v2 hides deactivated ones.
        # By creation, so that an account made meanwhile comes last instead of shifting the pages.
        query = {
            "locked": "true",
            "guests": "false",
            "order_by": "creation_ts",
            "limit": str(ACCOUNTS_PER_PAGE),
        }
        listed: set[str] = set()
        start: str | None = "0"
        while start is not None:
            page = self._caller.get(f"{ADMIN}/v3/users", query={**query, "from": start}).document
            for row in page.parts("users"):
                id = AccountId(row.text("name"))
                # The list shows neither external ids nor addresses.
                if id != self._server.own_id and id not in listed and (account := self.get_account(id)):
                    yield account
                listed.add(id)
            start = page.text("next_token") or None
            if start is None and len(listed) < page.number("total"):
                raise Unreachable(f"{self.name}: the list of accounts changed under reading", sent=True)

    def find_account(self, person_id: str) -> Account | None:
        id = self._owner_of_person(person_id)
        return None if id is None else self.get_account(id)

    def get_account(self, id: AccountId) -> Account | None:
        document = self._look(id)
        return None if document is None else _account(document)

    def create_account(self, id: AccountId, profile: Profile, *, permit: Permit) -> Account:
        if (known := self._owner_of_person(profile.person_id)) is not None:
            return self.reactivate_account(known, profile, permit=permit)
        self._require_possible(id)
        self._require_free_emails(id, profile.emails)
        if self._look(id) is not None:
            raise Conflict(f"{self.name}: {id} exists and is not the account of person {profile.person_id}")
        permit()
        try:
            made = self._caller.put(_user(id), _wanted(profile, keep=None)).document
        except Conflict:
            return self.reactivate_account(self._close_half_made(id, profile), profile, permit=permit)
        return _account(made)

    def prepare_account(self, id: AccountId, profile: Profile, *, permit: Permit) -> Account:
        known = self._owner_of_person(profile.person_id)
        if known is None:
            self._require_possible(id)
            if self._look(id) is not None:
                raise Conflict(f"{self.name}: {id} exists and is not the account of person {profile.person_id}")
            permit()
            known = self._make_bare(id, profile)
        if _state(self._require(known)) is AccountState.ACTIVE:
            self.pause_account(known)
        return _account(self._require(known))

    def _make_bare(self, id: AccountId, profile: Profile) -> AccountId:
        """Synapse makes no account that is locked. This one has no password and no address by which to ask for one, so until it
        is locked only our provider could let somebody in, which does not; addresses are given on the day."""
        bare = {"displayname": profile.display_name, "external_ids": [{"auth_provider": PROVIDER, "external_id": profile.person_id}]}
        try:
            self._caller.put(_user(id), bare)
        except Conflict:
            return self._close_half_made(id, profile)
        return id

    def update_account(self, id: AccountId, profile: Profile, *, permit: Permit) -> Account:
        return self._apply(id, self._require(id), profile, permit=permit, closed=None)

    def reactivate_account(self, id: AccountId, profile: Profile, *, permit: Permit) -> Account:
        return self._apply(id, self._require(id), profile, permit=permit, closed=False)

    def deactivate_account(self, id: AccountId) -> None:
        self._server.spare_ourselves(id)
        # The lock takes a few milliseconds and stops every new request; deactivation alone lets them in
        # until it gets to the tokens. The lock alone would leave open syncs and push registrations alive.
        if self._lock(id) is not None:
            self.deactivate_locked(id)

    def pause_account(self, id: AccountId) -> None:
        self._server.spare_ourselves(id)
        if (seen := self._lock(id)) is None or seen.flag("deactivated"):
            return
        # Before the rooms, which may be many: a locked account's phone still gets every push with its text.
        self.end_sessions(id)
        # The kick ends an open sliding sync, which lock and deleted devices leave open for one more message.
        # Invitations go as well: whoever comes back to something else would still have them.
        for ref in sorted(ref for ref, how in self._memberships(id).items() if how in HOLDING):
            # Refused in a room where the provisioner has no say, such as a direct chat; `show_access` counts it. Nobody could take
            # them out of it but its members, and it is theirs again once they are back. Nor is it asked of each whether they are
            # in it still: the answer to that names all rooms, and some are in hundreds of chats.
            with suppress(Refused):
                self._kick(ref, id)

    def end_sessions(self, id: AccountId) -> int:
        self._server.spare_ourselves(id)
        devices = self._devices(id)
        if devices:
            # A device takes its tokens and its push registration along.
            self._caller.post(path(f"{ADMIN}/v2/users/{{}}/delete_devices", id), {"devices": list(devices)})
        return len(devices)

    def show_access(self, id: AccountId) -> Access:
        # Standing is read first: once that says closed, nothing new can appear behind what is read after it.
        seen = self._look(id)
        if seen is None:
            return Access(sessions=0, pushers=0, memberships=0, can_sign_in=False)
        # The rest at once: each question waits in Synapse behind all that it is busy with.
        questions: tuple[Callable[[AccountId], Collection[str]], ...] = (self._devices, self._pushers, self.channels_of)
        asked = [_beside.submit(ask, id) for ask in questions]
        wait(asked)
        sessions, pushers, memberships = (len(one.result()) for one in asked)
        return Access(
            can_sign_in=_state(seen) is AccountState.ACTIVE, sessions=sessions, pushers=pushers, memberships=memberships
        )

    def _apply(
        self, id: AccountId, seen: Document, profile: Profile, *, permit: Permit, closed: bool | None
    ) -> Account:
        account = _account(seen)
        if account.person_id not in (None, profile.person_id):
            raise Conflict(
                f"{self.name}: {id} belongs to person {account.person_id}, not {profile.person_id}"
            )
        opening: dict[str, object] = {}
        if closed is False and account.state is not AccountState.ACTIVE:
            opening = {"deactivated": False, "locked": False}
        known = (account.person_id, account.display_name, account.emails)
        if not opening and known == (profile.person_id, profile.display_name, tuple(sorted(profile.emails))):
            return account
        if account.person_id is None and self._owner_of_person(profile.person_id) not in (None, id):
            # Synapse would answer 409 only after it has changed the name and the addresses.
            raise Conflict(f"{self.name}: person {profile.person_id} already has another account than {id}")
        self._require_free_emails(id, tuple(set(profile.emails) - set(account.emails)))
        permit()
        return _account(self._caller.put(_user(id), {**_wanted(profile, keep=seen), **opening}).document)

    def _close_half_made(self, id: AccountId, profile: Profile) -> AccountId:
        """Synapse creates the account before it finds the external id taken, and leaves it with the 409.

        It happens when the same person is created twice at the same time: the other stands, and is returned; ours is closed.
        """
        owner = self._owner_of_person(profile.person_id)
        if owner is None:
            raise Conflict(f"{self.name}: {id} could not be given the id of person {profile.person_id}")
        made = self.get_account(id)
        if owner != id and made is not None and made.person_id is None:
            self.deactivate_account(id)
        return owner

    def _require(self, id: AccountId) -> Document:
        # Synapse's PUT creates what is not there, so nothing is changed unseen.
        if (seen := self._look(id)) is None:
            raise Missing(f"{self.name}: there is no account {id}")
        return seen

    def _require_possible(self, id: AccountId) -> None:
        if not self._server.is_local(id):
            raise Refused(f"{self.name}: {id} is not an id on {self._server.server_name}")
        if id.removeprefix("@").partition(":")[0].isdigit():
            # Whoever has kept such an id for somebody chooses another one.
            raise Conflict(f"{self.name}: {id} is an id that Synapse keeps for guests")

    def _require_free_emails(self, id: AccountId, emails: tuple[str, ...]) -> None:
        """Synapse silently moves an address to whoever is given it last."""
        for email in emails:
            found = self._caller.find(path(f"{ADMIN}/v1/threepid/email/users/{{}}", email))
            if found is not None and found.text("user_id") != id:
                raise AddressTaken(f"{self.name}: {email} is the address of {found.text('user_id')}, not of {id}")

    def _owner_of_person(self, person_id: str) -> AccountId | None:
        found = self._caller.find(path(f"{ADMIN}/v1/auth_providers/{{}}/users/{{}}", PROVIDER, person_id))
        return None if found is None else AccountId(found.text("user_id"))

    def _look(self, id: AccountId) -> Document | None:
        return self._caller.find(_user(id))

    def _pushers(self, id: AccountId) -> tuple[str, ...]:
        found = self._caller.find(path(f"{ADMIN}/v1/users/{{}}/pushers", id))
        return () if found is None else tuple(pusher.text("pushkey") for pusher in found.parts("pushers"))

    def _devices(self, id: AccountId) -> tuple[str, ...]:
        found = self._caller.find(path(f"{ADMIN}/v2/users/{{}}/devices", id))
        return () if found is None else tuple(device.text("device_id") for device in found.parts("devices"))


def _user(id: AccountId) -> str:
    return path(f"{ADMIN}/v2/users/{{}}", id)


def _fit_email(email: str) -> str | None:
    """As Synapse spells addresses, so that what we wanted equals what we read; None where it cannot."""
    local, _, domain = email.strip().partition("@")
    if not local or not domain or "@" in domain or len(email) > LONGEST_ADDRESS or "\0" in email:
        return None
    return f"{local.casefold()}@{domain.lower()}"


def _wanted(profile: Profile, *, keep: Document | None) -> Mapping[str, object]:
    """Synapse replaces both lists as a whole: what is not ours to say is sent back as it was."""
    addresses = [{"medium": "email", "address": email} for email in profile.emails]
    external = [{"auth_provider": PROVIDER, "external_id": profile.person_id}]
    if keep is not None:
        addresses += [
            {"medium": one.text("medium"), "address": one.text("address")}
            for one in keep.parts("threepids")
            if one.text("medium") != "email"
        ]
        external += [
            {"auth_provider": one.text("auth_provider"), "external_id": one.text("external_id")}
            for one in keep.parts("external_ids")
            if one.text("auth_provider") != PROVIDER
        ]
    return {"displayname": profile.display_name, "threepids": addresses, "external_ids": external}


def _account(document: Document) -> Account:
    ours = [
        one.text("external_id")
        for one in document.parts("external_ids")
        if one.text("auth_provider") == PROVIDER
    ]
    emails = [one.text("address") for one in document.parts("threepids") if one.text("medium") == "email"]
    return Account(
        id=AccountId(document.text("name")),
        person_id=ours[0] if ours else None,
        display_name=document.text("displayname"),
        emails=tuple(sorted(emails)),
        state=_state(document),
    )


def _state(document: Document) -> AccountState:
    if document.flag("deactivated"):
        return AccountState.DEACTIVATED
    return AccountState.PAUSED if document.flag("locked") else AccountState.ACTIVE
