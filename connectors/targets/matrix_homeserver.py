"""One Matrix homeserver (Synapse) as its provisioner sees it: calls, who we are, what its errors mean."""

from __future__ import annotations

import re
from functools import cached_property

from connectors.contract import (
    AccountId,
    Conflict,
    ConnectorError,
    Misconfigured,
    RateLimited,
    Refused,
    TargetSettings,
    Unauthorised,
    Unreachable,
)
from connectors.http import DEFAULT_WAIT, Caller, Document

ADMIN = "/_synapse/admin"
CLIENT = "/_matrix/client/v3"

# https://spec.matrix.org/v1.15/client-server-api/#common-error-codes
_MEANINGS: dict[str, type[ConnectorError]] = {
    "M_UNKNOWN_TOKEN": Unauthorised,
    "M_MISSING_TOKEN": Unauthorised,
    "M_USER_LOCKED": Unauthorised,
    "M_UNRECOGNIZED": Misconfigured,
    "M_ROOM_IN_USE": Conflict,
    "M_USER_IN_USE": Conflict,
    "M_EXCLUSIVE": Conflict,
}


OPTIONS = frozenset({"server_name", "ca_file"})


class Homeserver:
    """Options: `server_name` (else asked for, once), `ca_file`."""

    def __init__(self, settings: TargetSettings) -> None:
        self.name = settings.name
        self._wanted_name = settings.options.get("server_name")
        self.caller = Caller(
            name=settings.name,
            url=settings.url,
            token=settings.token,
            translate=_translate,
            ca_file=settings.options.get("ca_file"),
        )

    @cached_property
    def own_id(self) -> AccountId:
        """The account whose token we carry. It creates every room of ours and is never a person's."""
        return AccountId(self.caller.get(f"{CLIENT}/account/whoami").document.text("user_id"))

    @cached_property
    def server_name(self) -> str:
        return self._wanted_name or self.own_id.partition(":")[2]

    def is_local(self, id: AccountId) -> bool:
        return re.fullmatch(r"@[^:]+:.+", id) is not None and id.partition(":")[2] == self.server_name

    def alias(self, key: str) -> str:
        return f"#{key}:{self.server_name}"

    def key_of(self, alias: str) -> str | None:
        localpart, _, server = alias.removeprefix("#").partition(":")
        return localpart if server == self.server_name and alias.startswith("#") else None

    def spare_ourselves(self, id: AccountId) -> None:
        """Without its own account the connector could do nothing more, so it never acts against it."""
        if id == self.own_id:
            raise Refused(f"{self.name}: {id} is the provisioner's own account and is left alone")


def _translate(status: int, document: Document, message: str) -> ConnectorError | None:
    code = str(document.plain().get("errcode", ""))
    if not code:
        # Synapse gives every error a code. Without one a proxy spoke, and a proxy knows nothing of accounts.
        return Unreachable(f"{message}: not a Matrix error", sent=True)
    if code == "M_FORBIDDEN" and "not a server admin" in str(document.plain().get("error", "")):
        return Unauthorised(message)
    if code == "M_LIMIT_EXCEEDED":
        return RateLimited(message, wait=document.number("retry_after_ms", int(DEFAULT_WAIT * 1000)) / 1000)
    meaning = _MEANINGS.get(code)
    return meaning(message) if meaning else None
