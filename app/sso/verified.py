"""What an identity provider proved about somebody. Only the check of its signed message makes one of these."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class DirectoryIds:
    """What the message says that a directory may know this person by. None of them is an e-mail address: nobody is bound by one."""

    external_id: str | None = None
    user_name: str | None = None
    employee_number: str | None = None


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A person as a connection vouches for them, after every check that does not need to know who they are here.

    `issued_at` is when the provider said it, `authenticated_at` when they proved themselves there, `until` as far as it vouches
    (SAML SessionNotOnOrAfter, OpenID Connect `session_expiry`). `acr` (in SAML AuthnContextClassRef) and `amr` are the
    authentication context as said. `solicited` is false for a sign-in that we did not ask for.
    """

    organization_id: str
    connection_id: str
    issuer: str
    subject: str
    tenant: str = ""
    directory_ids: DirectoryIds = field(default_factory=DirectoryIds)
    email: str | None = None
    display_name: str | None = None
    issued_at: datetime
    authenticated_at: datetime
    until: datetime | None = None
    acr: str | None = None
    amr: tuple[str, ...] = ()
    upstream_session: str | None = None
    name_id: dict[str, Any] | None = None
    id_token: str | None = None
    solicited: bool = True
    return_to: str = "/"
    asked: dict[str, Any] = field(default_factory=dict)
