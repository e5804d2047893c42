"""What identity providers of tests are told: who works there, which service providers they trust, how they answer."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol

PASSWORD = "correct horse"

PASSWORD_CONTEXT = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
# What Microsoft's and Okta's products send, and the REFEDS profile that universities ask for.
MICROSOFT_MULTI_FACTOR = "http://schemas.microsoft.com/claims/multipleauthn"
REFEDS_MULTI_FACTOR = "https://refeds.org/profile/mfa"


class IdentityProviderMissing(Exception):
    """It is not installed here; `make servers` installs it."""


class CannotAnswerSo(ValueError):
    """This server has no setting for what was asked of it; another one has."""


@dataclass(frozen=True, kw_only=True)
class Employee:
    """`uid` is typed into the login form; `immutable_id` is the subject and outlives a change of name."""

    uid: str
    mail: str
    number: str
    immutable_id: str
    name: str
    groups: tuple[str, ...] = ()

    def attributes(self) -> dict[str, list[str]]:
        return {
            "uid": [self.uid],
            "mail": [self.mail],
            "employeeNumber": [self.number],
            "immutableId": [self.immutable_id],
            "displayName": [self.name],
            "groups": list(self.groups),
        }


ADA = Employee(
    uid="ada", mail="ada@corp.example", number="1001", immutable_id="im-ada-1001", name="Ada Lovelace", groups=("staff", "chat-admins")
)
GRACE = Employee(
    uid="grace", mail="grace@corp.example", number="1002", immutable_id="im-grace-1002", name="Grace Hopper", groups=("staff",)
)


class Signed(StrEnum):
    RESPONSE = "response"
    ASSERTION = "assertion"
    BOTH = "both"


class NameIDKind(StrEnum):
    """PERSISTENT is the immutable id, EMAIL the mail address."""

    PERSISTENT = "persistent"
    EMAIL = "email"


@dataclass(frozen=True, kw_only=True)
class SAMLManners:
    """How a SAML identity provider answers from now on."""

    signed: Signed = Signed.BOTH
    # SHA-1 in signatures and digests, as a server of another age would.
    outdated: bool = False
    # To the certificate in the service provider's metadata.
    encrypted: bool = False
    # SessionNotOnOrAfter, from the moment of the answer.
    session_lasts: timedelta | None = None
    authn_context: str = PASSWORD_CONTEXT
    name_id: NameIDKind = NameIDKind.PERSISTENT


@dataclass(frozen=True, kw_only=True)
class Client:
    """A relying party of an OpenID provider. `logout_uri` is where back-channel logout tokens go."""

    client_id: str = "doorlist"
    client_secret: str = "doorlist-secret-of-tests"
    redirect_uris: tuple[str, ...]
    post_logout_redirect_uris: tuple[str, ...] = ()
    logout_uri: str | None = None
    id_token_alg: str = "RS256"


@dataclass(frozen=True, kw_only=True)
class OIDCManners:
    """How an OpenID provider answers from now on; `session_lasts` becomes IPSIE's claim `session_expiry`."""

    acr: str | None = None
    amr: tuple[str, ...] = ("pwd",)
    session_lasts: timedelta | None = None


class SAMLIdentityProvider(Protocol):
    """What the three SAML servers have in common; `trust`, `employ` and `answer` work before and after `start`."""

    url: str

    @property
    def entity_id(self) -> str: ...

    @property
    def metadata_url(self) -> str: ...

    def start(self, folder: Path) -> None: ...

    def stop(self) -> None: ...

    def metadata(self) -> str: ...

    def trust(self, metadata: str) -> None:
        """A service provider by its metadata; said again, it replaces what was said."""

    def employ(self, *employees: Employee) -> None:
        """Nobody else works there from now on."""

    def answer(self, manners: SAMLManners) -> None: ...

    def answering(self, manners: SAMLManners) -> AbstractContextManager[None]:
        """As before again afterwards."""

    def start_url(self, sp_entity_id: str, relay_state: str = "") -> str:
        """Where a sign-in begins at the identity provider."""

    def down(self) -> AbstractContextManager[None]:
        """Nobody answers on its port meanwhile."""

    def clock_off(self, by: timedelta) -> AbstractContextManager[None]:
        """Its clock is ahead by that much meanwhile, or behind."""

    def logout_url(self, sp_entity_id: str) -> str:
        """Where a sign-out begins at the identity provider; it tells the service provider."""

    def roll_keys(self, *, keep_old: bool) -> None:
        """Signs with a new key; with `keep_old` its metadata has both certificates."""


class OpenIDProvider(Protocol):
    """What both OpenID providers have in common."""

    @property
    def issuer(self) -> str: ...

    def start(self, folder: Path) -> None: ...

    def stop(self) -> None: ...

    def register(self, client: Client) -> None:
        """Said again for the same `client_id`, it replaces what was said."""

    def employ(self, *employees: Employee) -> None: ...

    def down(self) -> AbstractContextManager[None]:
        """Nobody answers on its port meanwhile."""

    def clock_off(self, by: timedelta) -> AbstractContextManager[None]:
        """Its clock is ahead by that much meanwhile, or behind."""

    def end_session_url(self) -> str:
        """Where a sign-out begins at the provider; it tells relying parties over the back channel."""


def described(employees: tuple[Employee, ...]) -> dict[str, object]:
    """For a server's settings, by what is typed into its login form."""
    return {employee.uid: {**asdict(employee), "attributes": employee.attributes()} for employee in employees}


def write_settings(path: Path, settings: object) -> None:
    """In one step, since a running server may be reading it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(settings, indent=1))
    os.replace(fresh, path)
