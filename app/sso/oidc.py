"""Signing in through an OpenID provider: sent there with a question, back with a code, and the code exchanged for an ID token.

Authorization code flow with PKCE (RFC 7636), state, nonce and the issuer's name in the answer (RFC 9207). Authlib builds the
requests; every call goes out through `connectors.visits`; what comes back is checked by `oidc_checks`.
"""

import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

from authlib.oauth2.client import OAuth2Client
from authlib.oauth2.rfc6749 import OAuth2Error
from sqlalchemy.orm import Session

from app.access.connection_tables import Connection
from app.access.keys import Purpose, Signer, signer
from app.access.published_keys import KEYS
from app.access.sealing import unseal
from app.access.signed_tokens import BadSignature, BadToken, NoSuchKey, SignedToken, WeakAlgorithm, unproved
from app.clock import microseconds
from app.database import new_id
from app.settings import Settings
from app.sso import logins
from app.sso.connections import UnusableConnection, settings_of
from app.sso.logins import Begun
from app.sso.oidc_checks import Answer, shown, verified_of
from app.sso.oidc_setup import OIDCSettings, read
from app.sso.refusals import Reason, Refused
from app.sso.verified import Verified
from connectors.client_credentials import without_secret
from connectors.contract import ConnectorError
from connectors.visits import Reply, Visitor

ASSERTION_LIVES: Final = timedelta(minutes=1)
LONGEST_HINT: Final = 254
_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def redirect_uri(settings: Settings, connection_id: str) -> str:
    """Where the provider sends people back to. One for each connection, so that no provider can answer for another (RFC 9700 §4.4)."""
    return f"{settings.public_url}/oidc/{connection_id}/callback"


def begin(
    session: Session, settings: Settings, connection: Connection, *, browser: str, return_to: str, force: bool, at: datetime,
    acr_values: Sequence[str] = (), login_hint: str | None = None,
) -> str:  # fmt: skip
    """Begin a sign-in; the URL to send the browser to. `force` asks for a fresh proof of who they are. Raises Refused, KeyMissing.

    `acr_values` are asked for before those that the connection always asks for. They are a wish (OpenID Connect Core §3.1.2.1):
    what was done is asked of the answer.
    """
    provider = settings_for_sign_in(connection)
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    logins.begin(
        session, settings, connection, request_id=state, browser=browser, return_to=return_to,
        secrets={"nonce": nonce, "verifier": verifier}, asked={"force": force}, at=at,
    )  # fmt: skip
    client = _client(provider, redirect=redirect_uri(settings, connection.id))
    wanted = " ".join(dict.fromkeys((*acr_values, *(provider.acr_values or "").split())))
    more = {"acr_values": wanted or None, "login_hint": login_hint[:LONGEST_HINT] if login_hint else None}
    if force:
        # `max_age` makes the provider say `auth_time` (OpenID Connect Core §3.1.2.1), which `prompt` alone does not.
        more |= {"prompt": "login", "max_age": "0"}
    url, _ = client.create_authorization_url(provider.authorization_endpoint, state=state, code_verifier=verifier, nonce=nonce, **more)
    return str(url)


def settings_for_sign_in(connection: Connection) -> OIDCSettings:
    """The settings of a connection. Raises Refused where it is not set up to the end."""
    try:
        return read(connection)
    except UnusableConnection as error:
        raise Refused(Reason.UNKNOWN_CONNECTION, str(error), connection_id=connection.id) from error


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A code that came back to the browser that asked, and all that is needed to exchange it: no database any more."""

    connection: Connection
    provider: OIDCSettings
    begun: Begun
    code: str = field(repr=False)
    secret: str | None = field(repr=False)
    signer: Signer | None
    redirect: str


def take_answer(
    session: Session, settings: Settings, connection: Connection, answer: Mapping[str, str], *, browser: str | None, at: datetime
) -> Exchange | Refused:
    """Take the parameters that the browser brings back (RFC 6749 §4.1.2), and use up the sign-in that they belong to.

    Raises Refused where they belong to none. What is wrong beyond that is returned, not raised: the sign-in is used up, and
    stays so. Raises KeyMissing, NoSigningKey.
    """
    provider = settings_for_sign_in(connection)
    begun = logins.take(session, settings, connection, request_id=answer.get("state", ""), browser=browser, at=at)

    def refused(reason: Reason, message: str) -> Refused:
        return Refused(reason, message, connection_id=connection.id)

    issuer = answer.get("iss")
    if issuer is None and provider.names_issuer:
        return refused(Reason.OTHER_ISSUER, "the answer does not say iss, though the provider's metadata promise it (RFC 9207)")
    if issuer is not None and issuer != provider.issuer:
        return refused(Reason.OTHER_ISSUER, f"the answer is of issuer {shown(issuer)}, and {provider.issuer} was asked")
    if "error" in answer:
        return refused(Reason.PROVIDER_SAID_NO, f"the provider said {shown(answer['error'])}: {shown(answer.get('error_description'))}")
    if not answer.get("code"):
        return refused(Reason.BAD_MESSAGE, "the answer has neither a code nor an error")
    by_key = provider.auth_method == "private_key_jwt"
    return Exchange(
        connection=connection, provider=provider, begun=begun, code=answer["code"], redirect=redirect_uri(settings, connection.id),
        secret=None if by_key or connection.sealed_secret is None else unseal(settings, connection.sealed_secret),
        signer=signer(session, settings, Purpose.TOKENS, at=at) if by_key else None,
    )  # fmt: skip


def exchange(asked: Exchange, *, clock: Callable[[], datetime]) -> Verified:
    """Exchange the code and check what comes for it; to be called outside of a transaction. Raises Refused."""
    visitor = asked.provider.visitor()
    try:
        given = _token_request(asked, visitor, at=clock())
        raw, access_token = _tokens_in(given, asked)
        token = _proved(raw, asked)
        more = _userinfo(asked, visitor, access_token, token)
    except ConnectorError as error:
        raise Refused(Reason.PROVIDER_DOWN, str(error), connection_id=asked.connection.id) from error
    answer = Answer(token=token, raw=raw, access_token=access_token)
    return verified_of(answer, connection=asked.connection, provider=asked.provider, begun=asked.begun, more=more, at=clock())


def prove(connection_id: str, provider: OIDCSettings, message: str, *, came: float | None = None) -> SignedToken:
    """Check a signature against the keys that the provider publishes today. Raises Refused, ConnectorError.

    `came` is as `PublishedKeys.prove` has it.
    """
    try:
        return KEYS.prove(
            unproved(message), provider.jwks_uri, algorithms=provider.algorithms, allow_private=provider.allow_private, came=came
        )
    except BadToken as error:
        reasons = {WeakAlgorithm: Reason.WEAK_ALGORITHM, NoSuchKey: Reason.KEY_CHANGED, BadSignature: Reason.BAD_SIGNATURE}
        raise Refused(reasons.get(type(error), Reason.BAD_MESSAGE), str(error), connection_id=connection_id) from error


def _proved(raw: str, asked: Exchange) -> SignedToken:
    return prove(asked.connection.id, asked.provider, raw)


def _tokens_in(given: Mapping[str, Any], asked: Exchange) -> tuple[str, str | None]:
    id_token, access_token = given.get("id_token"), given.get("access_token")
    if not isinstance(id_token, str):
        raise Refused(Reason.BAD_MESSAGE, "the provider gave no ID token: was it asked for openid?", connection_id=asked.connection.id)
    return id_token, access_token if isinstance(access_token, str) else None


def _userinfo(asked: Exchange, visitor: Visitor, access_token: str | None, token: SignedToken) -> Mapping[str, Any]:
    """Claims of the userinfo endpoint (§5.3), where what somebody is known by, or joins by, is not in the ID token. Raises Refused."""
    endpoint = asked.provider.userinfo_endpoint
    if endpoint is None or access_token is None or not _needed(asked.connection) - token.claims.keys():
        return {}
    if not access_token.isascii() or not access_token.isprintable():
        return {}
    reply = visitor.get(endpoint, headers={"Authorization": f"Bearer {access_token}"})
    if reply.status != 200:
        return {}
    said = reply.document().plain()
    if said.get("sub") != token.claims.get("sub"):
        # §5.3.2: otherwise somebody else's claims could be put in their place.
        raise Refused(Reason.BAD_MESSAGE, "the userinfo answer is of another subject than the ID token", connection_id=asked.connection.id)
    return said


def _needed(connection: Connection) -> set[str]:
    """The claims without which nobody comes in. With a code, providers may give those of `email` at the userinfo endpoint alone (§5.4)."""
    chosen = settings_of(connection)
    named = None if chosen.directory_key is None else chosen.directory_key.attribute
    return {*([] if named is None else [named]), *(["email"] if chosen.jit else [])}


def _client(provider: OIDCSettings, *, redirect: str, secret: str | None = None, session: Any = None) -> OAuth2Client:
    return OAuth2Client(
        session, client_id=provider.client_id, client_secret=secret, scope=provider.scopes, redirect_uri=redirect,
        code_challenge_method="S256", token_endpoint_auth_method=provider.auth_method,
    )  # fmt: skip


def _token_request(asked: Exchange, visitor: Visitor, *, at: datetime) -> Mapping[str, Any]:
    def refused(message: str) -> Refused:
        return Refused(Reason.PROVIDER_SAID_NO, message, connection_id=asked.connection.id)

    client = _client(asked.provider, redirect=asked.redirect, secret=asked.secret, session=_Wire(visitor))
    client.register_client_auth_method(("client_secret_basic", _basic))
    if asked.signer is not None:
        client.register_client_auth_method(("private_key_jwt", _assertion(asked.signer, asked.provider, at=at)))
    try:
        given = client.fetch_token(
            asked.provider.token_endpoint, grant_type="authorization_code", code=asked.code, redirect_uri=asked.redirect,
            code_verifier=asked.begun.secrets["verifier"],
        )  # fmt: skip
    except OAuth2Error as error:
        hint = ": is the client secret still the one that the provider has?" if error.error == "invalid_client" else ""
        said = " ".join(shown(_without_secrets(words, asked)) for words in (error.error, error.description))
        raise refused(f"the provider would not exchange the code, {said}{hint}") from None
    except _Unreadable as error:
        raise refused(f"{error}, when the code was exchanged") from None
    except (ValueError, TypeError, OverflowError):
        # Authlib reads `expires_in` and the words of an error, whatever they are.
        raise refused("the provider's answer to the code cannot be read") from None
    return dict(given)


def _without_secrets(words: object, asked: Exchange) -> object:
    """What the provider said, where that repeats what we sent: an administrator reads it, and the journal keeps it."""
    if not isinstance(words, str):
        return words
    for secret in (asked.code, asked.begun.secrets["verifier"]):
        words = words.replace(secret, "…")
    return words if asked.secret is None else without_secret(words, client_id=asked.provider.client_id, secret=asked.secret)


class _Unreadable(Exception):
    """A token endpoint answered with something that is no token response."""


class _Wire:
    """The session that Authlib sends with: one request, through our own door."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor

    def post(self, url: str, *, data: Mapping[str, str], headers: Mapping[str, str], auth: Any) -> "_TokenAnswer":
        _, sent, body = auth.prepare("POST", url, dict(headers), urlencode(data))
        return _TokenAnswer(self._visitor.post(url, body, headers=sent))


class _TokenAnswer:
    """What Authlib reads of an answer."""

    def __init__(self, reply: Reply) -> None:
        self.status_code = reply.status
        self._reply = reply

    def json(self) -> dict[str, Any]:
        said = self._reply.document().plain()
        if self.status_code != 200 and "error" not in said:
            # Authlib would take tokens out of an answer of any status.
            self.raise_for_status()
        return said

    def raise_for_status(self) -> None:
        raise _Unreadable(f"{self._reply.source}: answered {self.status_code}")


def _basic(client: Any, _method: str, uri: str, headers: dict[str, str], body: str) -> tuple[str, dict[str, str], str]:
    # RFC 6749 §2.3.1: both are form-encoded before they are joined, which Authlib leaves out.
    proof = b64encode(f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret or '')}".encode()).decode()
    return uri, {**headers, "Authorization": f"Basic {proof}"}, body


def _assertion(by: Signer, provider: OIDCSettings, *, at: datetime) -> Any:
    """RFC 7523 §2.2: signed with a key of ours that anybody can read at our `jwks_uri`, so that no secret is shared."""

    def prove_ourselves(_client: Any, _method: str, uri: str, headers: dict[str, str], body: str) -> tuple[str, dict[str, str], str]:
        second = microseconds(at) // 1_000_000
        claims = {
            "iss": provider.client_id, "sub": provider.client_id, "aud": provider.token_endpoint, "jti": new_id(), "iat": second,
            "exp": second + int(ASSERTION_LIVES.total_seconds()),
        }  # fmt: skip
        proof = {"client_id": provider.client_id, "client_assertion_type": _ASSERTION_TYPE, "client_assertion": by.sign_jwt(claims)}
        return uri, headers, f"{body}&{urlencode(proof)}"

    return prove_ourselves

