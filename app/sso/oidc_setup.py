"""What is known of an OpenID provider: read from its metadata once, when the connection is made, and kept.

Where to send people, codes and our secret is not asked again at every sign-in: whoever could change the metadata for a
minute would get all three. Only the keys are fetched anew (`app.access.published_keys`), from the address that is kept.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from authlib.oidc.discovery import get_well_known_url

from app.access.connection_tables import Connection
from app.access.signed_tokens import ALGORITHMS
from app.sso.connections import UnusableConnection, settings_of
from connectors.contract import Misconfigured
from connectors.visits import Visitor

STRICT: Final = ("ES256", "PS256", "EdDSA")
"""What IPSIE allows. A connection that may do without RS256 names these."""
SCOPES: Final = "openid profile email"
AUTH_METHODS: Final = ("client_secret_basic", "client_secret_post", "private_key_jwt")
MICROSOFT: Final = frozenset({"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn", "sts.windows.net"})
GOOGLE: Final = "https://accounts.google.com"
_TENANT: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_EVERYBODYS: Final = frozenset({"common", "organizations", "consumers"})
_ADDRESSES: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_MORE_ADDRESSES: Final = ("end_session_endpoint", "userinfo_endpoint")


@dataclass(frozen=True, kw_only=True)
class OIDCSettings:
    """A provider as this connection uses it.

    `tenant_claim` is the claim that must say `tenant`; where the issuer is everybody's (Google), an account without any is
    refused. `subject_claim` names the person: `sub`, or Microsoft's `oid`, which is the directory's own.
    """

    issuer: str
    client_id: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str | None
    userinfo_endpoint: str | None
    names_issuer: bool
    auth_method: str
    algorithms: frozenset[str]
    scopes: str
    acr_values: str | None
    allow_private: bool
    tenant: str | None
    tenant_claim: str | None
    subject_claim: str

    def visitor(self) -> Visitor:
        """How this provider is called."""
        return Visitor(name=f"OpenID provider {urlsplit(self.issuer).hostname}", allow_private=self.allow_private)


def discover(issuer: str, *, allow_private: bool) -> dict[str, Any]:
    """What a provider's metadata say (OpenID Connect Discovery 1.0 §4), as it is kept in `settings["oidc"]` beside `client_id`.

    Raises UnusableConnection where they are those of another issuer, or leave out what a sign-in needs, and ConnectorError.
    """
    visitor = Visitor(name="OpenID provider", allow_private=allow_private)
    try:
        has_query = bool(urlsplit(issuer).query)
    except ValueError as error:
        raise UnusableConnection(f"{issuer[:200]!r} is no URL") from error
    if has_query or "#" in issuer:
        raise UnusableConnection("an issuer is a URL without a query and a fragment")
    _refuse_everybodys(issuer)
    url = get_well_known_url(visitor.check(issuer), external=True)
    reply = visitor.get(url)
    if reply.status != 200:
        raise UnusableConnection(f"{url} answers {reply.status}: is {issuer} really the provider's issuer?")
    said = reply.document().plain()
    # §4.3: exactly equal. Another one's metadata would have us take that one's people for this one's.
    if said.get("issuer") != issuer:
        raise UnusableConnection(f"the metadata at {url} are those of another issuer, {_shown(said.get('issuer'))}: use that, letter by letter")
    return _kept(said, visitor, allow_private=allow_private)


def _kept(said: Mapping[str, Any], visitor: Visitor, *, allow_private: bool) -> dict[str, Any]:
    kept: dict[str, Any] = {"allow_private": allow_private}
    for name in (*_ADDRESSES, *_MORE_ADDRESSES):
        address = said.get(name)
        if address is None and name in _MORE_ADDRESSES:
            continue
        if not isinstance(address, str):
            raise UnusableConnection(f"the provider's metadata do not say {name}")
        try:
            kept[name] = visitor.check(address)
        except Misconfigured as error:
            raise UnusableConnection(f"{name} in the provider's metadata cannot be used: {error}") from error
    if "code" not in _texts(said, "response_types_supported", otherwise=["code"]):
        raise UnusableConnection("the provider does not offer the authorization code flow")
    methods = _texts(said, "code_challenge_methods_supported", otherwise=["S256"])
    if "S256" not in methods:
        raise UnusableConnection("the provider does not offer PKCE with S256")
    # OpenID Connect Discovery §3: where nothing is said it is Basic.
    offered = _texts(said, "token_endpoint_auth_methods_supported", otherwise=["client_secret_basic"])
    kept["auth_method"] = next((one for one in AUTH_METHODS if one in offered), "client_secret_basic")
    kept["names_issuer"] = said.get("authorization_response_iss_parameter_supported") is True
    return kept


def _refuse_everybodys(issuer: str) -> None:
    """Microsoft's shared addresses answer for every tenant there is, so anybody's account anywhere would be vouched for (O06)."""
    address = urlsplit(issuer)
    first = address.path.strip("/").split("/")[0].lower()
    if "{" in issuer or (address.hostname in MICROSOFT and (first in _EVERYBODYS or not _TENANT.fullmatch(first))):
        raise UnusableConnection(
            f"{issuer} is the address of every tenant; use the issuer of your own: https://login.microsoftonline.com/<tenant id>/v2.0"
        )


def read(connection: Connection) -> OIDCSettings:
    """The settings of a connection. Raises UnusableConnection where something is missing without which nobody signs in."""
    kept = settings_of(connection).oidc
    missing = [name for name in ("client_id", *_ADDRESSES) if not isinstance(kept.get(name), str)]
    if missing:
        raise UnusableConnection(f"connection {connection.name} lacks {', '.join(missing)}: read the provider's metadata again")
    _refuse_everybodys(connection.issuer)
    tenant_claim, tenant = _tenant(connection.issuer, kept)
    algorithms = frozenset(kept["algorithms"]) if isinstance(kept.get("algorithms"), list) else frozenset(ALGORITHMS)
    return OIDCSettings(
        issuer=connection.issuer, client_id=kept["client_id"], authorization_endpoint=kept["authorization_endpoint"],
        token_endpoint=kept["token_endpoint"], jwks_uri=kept["jwks_uri"], end_session_endpoint=kept.get("end_session_endpoint"),
        userinfo_endpoint=kept.get("userinfo_endpoint"), names_issuer=kept.get("names_issuer") is True,
        auth_method=str(kept.get("auth_method", "client_secret_basic")), algorithms=algorithms & frozenset(ALGORITHMS),
        scopes=str(kept.get("scopes", SCOPES)), acr_values=kept.get("acr_values"), allow_private=kept.get("allow_private") is True,
        tenant=tenant, tenant_claim=tenant_claim, subject_claim="oid" if tenant_claim == "tid" else "sub",
    )  # fmt: skip


def _tenant(issuer: str, kept: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Which claim must say which tenant. Of Microsoft it is in the issuer; of Google it may be set, and some there must be."""
    tenant = kept.get("tenant") or None
    if urlsplit(issuer).hostname in MICROSOFT:
        own = urlsplit(issuer).path.strip("/").split("/")[0].lower()
        if tenant is not None and str(tenant).lower() != own:
            raise UnusableConnection("the tenant is another one than the issuer's")
        return "tid", own
    if issuer == GOOGLE:
        return "hd", tenant
    return (str(kept.get("tenant_claim", "tid")), tenant) if tenant else (None, None)


def rediscovered(connection: Connection) -> dict[str, Any]:
    """The connection's `settings["oidc"]` with what the provider's metadata say today. Raises as `discover`."""
    kept = settings_of(connection).oidc
    found = discover(connection.issuer, allow_private=kept.get("allow_private") is True)
    if kept.get("auth_method") == "private_key_jwt":
        # It was chosen because there is no secret; a provider that also takes secrets changes nothing about that.
        found.pop("auth_method")
    return {**kept, **found}


def _texts(said: Mapping[str, Any], name: str, *, otherwise: list[str]) -> list[str]:
    found = said.get(name, otherwise)
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def _shown(value: object) -> str:
    return json.dumps(value)[:200]

