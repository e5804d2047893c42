"""Who asks at the provider's doors: relying parties as Authlib knows them, and how each proves itself (RFC 6749 §2.3, RFC 7523)."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749 import ClientMixin, InvalidClientError, OAuth2Payload, OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidRequestError
from authlib.oauth2.rfc6749.util import extract_basic_authorization
from flask import Request
from sqlalchemy.orm import Session
from werkzeug.datastructures import Headers, MultiDict

from app.access.assertions import Claims
from app.access.issued import OFFLINE
from app.access.parties import auth_method, find_party, fits
from app.access.session_tables import PartyKind, RelyingParty
from app.access.spent import spend
from app.clock import microseconds

# At its debug level Authlib writes down the tokens that it issues.
logging.getLogger("authlib").setLevel(logging.INFO)

SCOPES: Final = ("openid", "profile", "email", OFFLINE)
DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
SECRET_METHODS: Final = ("client_secret_basic", "client_secret_post")
METHODS: Final = (*SECRET_METHODS, "private_key_jwt", "none")
JWT_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True)
class Client(ClientMixin):  # type: ignore[misc]  # Authlib ships no types
    """A relying party, asked by Authlib what it may do."""

    party: RelyingParty
    at: datetime

    def get_client_id(self) -> str:
        return self.party.id

    def get_default_redirect_uri(self) -> str | None:
        # Left out, it would be for the client to know which one it meant (OpenID Connect Core §3.1.2.1).
        return None

    def get_allowed_scope(self, scope: str | None) -> str | None:
        wanted = [one for one in dict.fromkeys((scope or "").split()) if one in SCOPES]
        return " ".join(wanted) if "openid" in wanted else None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        # Letter by letter (RFC 9700 §2.1).
        return redirect_uri in self.party.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        return fits(client_secret, self.party.secret_digest, self.party.settings, at=microseconds(self.at))

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        uses = auth_method(self.party)
        if endpoint != "token" and method == "none":
            return uses == "none" and endpoint in ("revocation", "device_authorization")
        return method in SECRET_METHODS if uses == "client_secret" else method == uses

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code" and bool(self.party.redirect_uris)

    def check_grant_type(self, grant_type: str) -> bool:
        if self.party.kind == PartyKind.GATEWAY:
            return False
        if grant_type == DEVICE_CODE:
            return self.party.device_flow
        return grant_type in ("authorization_code", "refresh_token")


class _Payload(OAuth2Payload):  # type: ignore[misc]  # Authlib ships no types
    def __init__(self, sent: "MultiDict[str, str]") -> None:
        # A parameter without a value counts as left out (RFC 6749 §3.1).
        self._sent: dict[str, str] = {name: value for name, value in sent.items() if value}

    @property
    def data(self) -> dict[str, str]:
        return self._sent

    @property
    def datalist(self) -> dict[str, list[str]]:
        return {name: [value] for name, value in self._sent.items()}


class Asked(OAuth2Request):  # type: ignore[misc]  # Authlib ships no types
    """One request: its parameters from the one place where they belong, each of them once. Raises InvalidRequestError."""

    def __init__(self, request: Request, *, public_url: str, in_form: bool) -> None:
        # By the address that others know us by: behind a proxy, ours looks unencrypted, which Authlib refuses.
        scheme = urlsplit(public_url).scheme
        super().__init__(request.method, "https://doorlist.invalid" if scheme == "http" else public_url, headers=request.headers)
        if in_form and request.mimetype != _FORM:
            raise InvalidRequestError(f"send the parameters in the body, as {_FORM}")
        sent = request.form if in_form else request.values
        if any(len(values) > 1 for _, values in sent.lists()):
            raise InvalidRequestError("a parameter is there more than once")
        if any("\0" in value for value in sent.values()):
            raise InvalidRequestError("a parameter holds what no text holds")
        self.payload = _Payload(sent)

    @property
    def args(self) -> dict[str, str]:
        found: dict[str, str] = self.payload.data
        return found

    @property
    def form(self) -> dict[str, str]:
        return self.args


def query_client(session: Session, client_id: str, *, at: datetime) -> Client | None:
    """The client of this id, if it stands and signs people in."""
    party = find_party(session, client_id)
    return None if party is None or party.kind == PartyKind.GATEWAY else Client(party=party, at=at)


@dataclass(frozen=True, kw_only=True)
class Proven:
    """A client that proved itself, and what has to be used up of its assertion, where it showed one."""

    client: Client
    method: str
    assertion: Claims | None = None

    def use_up(self, session: Session, *, at: datetime) -> None:
        """Raises InvalidClientError where the assertion was used before, in whatever process."""
        if self.assertion is None:
            return
        party, said = self.client.party, self.assertion
        if not spend(session, party.organization_id, sender=party.id, message_id=said.digest, expires_at=said.expires_at):
            raise InvalidClientError(description="the assertion was used before; each needs a jti of its own", status_code=401)


def prove_client(session: Session, asked: Asked, *, audiences: tuple[str, ...], endpoint: str, at: datetime) -> Proven:
    """Who asks, proved in exactly one way. Writes nothing. Raises InvalidClientError, which never says what of it was wrong, InvalidRequestError."""
    form = asked.form
    if ("Authorization" in asked.headers) + ("client_secret" in form) + ("client_assertion" in form) > 1:
        raise InvalidRequestError("the client proves itself in several ways at once; one is enough")
    proven = _shown(session, asked, audiences=audiences, at=at)
    if proven is None or not proven.client.check_endpoint_auth_method(proven.method, endpoint):
        raise InvalidClientError(description="the client is unknown or did not prove itself: its id or proof is wrong, expired or revoked", status_code=401)
    return proven


def _shown(session: Session, asked: Asked, *, audiences: tuple[str, ...], at: datetime) -> Proven | None:
    form = asked.form
    if "client_assertion" in form:
        return _by_assertion(session, form, audiences=audiences, at=at)
    if "Authorization" in asked.headers:
        client_id, secret = basic_of(asked.headers)
        if form.get("client_id", client_id) != client_id:
            raise InvalidRequestError("client_id and the Authorization header name two clients")
        return _by_secret(session, client_id, secret, method="client_secret_basic", at=at)
    if "client_secret" in form:
        return _by_secret(session, form.get("client_id"), form["client_secret"], method="client_secret_post", at=at)
    party = find_party(session, form.get("client_id", ""))
    return None if party is None else Proven(client=Client(party=party, at=at), method="none")


def basic_of(headers: Mapping[str, str] | Headers) -> tuple[str | None, str | None]:
    """Id and secret of an Authorization header (RFC 6749 §2.3.1); nothing where it cannot be read."""
    try:
        client_id, secret = extract_basic_authorization(headers)
    except ValueError:
        return None, None
    return client_id, secret


def _by_secret(session: Session, client_id: str | None, secret: str | None, *, method: str, at: datetime) -> Proven | None:
    party = find_party(session, client_id or "")
    if party is None or not secret:
        return None
    client = Client(party=party, at=at)
    return Proven(client=client, method=method) if client.check_client_secret(secret) else None


def _by_assertion(session: Session, form: Mapping[str, str], *, audiences: tuple[str, ...], at: datetime) -> Proven | None:
    # JOSE is loaded by whoever meets an assertion; most clients have a secret.
    from app.access import assertions

    if form.get("client_assertion_type") != JWT_BEARER:
        raise InvalidRequestError(f"client_assertion_type must be {JWT_BEARER}")
    try:
        party = find_party(session, assertions.client_named_in(form["client_assertion"]))
        jwks: dict[str, Any] | None = None if party is None else party.settings.get("jwks")
        if party is None or jwks is None or form.get("client_id", party.id) != party.id:
            return None
        claims = assertions.prove(form["client_assertion"], jwks, client_id=party.id, audiences=audiences, at=at)
    except (assertions.BadAssertion, UnicodeEncodeError):
        return None
    return Proven(client=Client(party=party, at=at), method="private_key_jwt", assertion=claims)
