"""Authlib's authorization server over our own rows: one for each request, inside that request's transaction."""

import hmac
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Error
from authlib.oauth2.rfc6749.errors import AccessDeniedError, InvalidGrantError, InvalidRequestError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import DeviceCodeGrant
from authlib.oauth2.rfc9207.parameter import IssuerParameter
from flask import Response
from sqlalchemy.orm import Session

from app.access.issued import ACCESS_LIVES, find_issued, hold_grant, is_good, issue, use_up
from app.access.session_tables import DeviceRequest, Grant, IssuedToken, TokenKind
from app.access.sessions import Present, end_grant
from app.directory.tables import Person
from app.journal.tables import Lane
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import raise_alarm
from app.revocation.telling import tell_parties
from app.settings import Settings
from app.sso.provider import device_requests
from app.sso.provider.clients import Asked, Client, Proven, query_client
from app.sso.provider.entering_there import let_into
from app.sso.provider.id_tokens import acr_values_of, sign_id_token
from app.sso.refusals import Refused

log = logging.getLogger(__name__)

NOT_KEPT: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
# Claims that a client hands over when it wants tokens: as they stand, without what was wrong with them.
_WORTHLESS: Final = "it is unknown, used up or over, or its person or client may not enter any more"


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a code, refresh token or device code led to: the grant and person that are held until the answer is committed."""

    grant: Grant
    person: Person
    scope: str
    token: IssuedToken | None = None
    bound: Mapping[str, Any] = field(default_factory=dict)

    # What Authlib asks of its models.

    def get_redirect_uri(self) -> str | None:
        return self.bound.get("redirect_uri")

    def get_scope(self) -> str:
        return self.scope

    def check_client(self, client: Client) -> bool:
        return hmac.compare_digest(self.grant.client_id, client.party.id)

    @property
    def code_challenge(self) -> str | None:
        return self.bound.get("code_challenge")

    @property
    def code_challenge_method(self) -> str:
        return "S256"


class Server(AuthorizationServer):  # type: ignore[misc]  # Authlib ships no types
    """`proven` is the client that asks at /token; at /authorize nobody has proved anything, and `present` is who looks at the page."""

    def __init__(self, session: Session, settings: Settings, *, at: datetime, proven: Proven | None = None, present: Present | None = None) -> None:
        super().__init__()
        self.session, self.settings, self.at = session, settings, at
        self.proven, self.present = proven, present
        for grant in (CodeGrant, RefreshGrant, DeviceGrant):
            self.register_grant(grant, [PKCE()] if grant is CodeGrant else None)
        self.register_extension(_Issuer)

    def refuse(self, asked: Asked, error: OAuth2Error) -> Response:
        """An error as its protocol says it: to a redirect URI that was found to be the client's, else in the answer itself."""
        answer: Response = self.handle_error_response(asked, error)
        if answer.location:
            answer.location = add_params_to_uri(answer.location, {"iss": self.settings.public_url})
        return answer

    def query_client(self, client_id: str) -> Client | None:
        return query_client(self.session, client_id, at=self.at)

    def authenticate_client(self, request: Asked, methods: Iterable[str], endpoint: str = "token") -> Client:
        # Proved before the transaction began, so that a wrong proof costs no write.
        if self.proven is None:
            raise RuntimeError("no client has proved itself")
        request.client, request.auth_method = self.proven.client, self.proven.method
        return self.proven.client

    def create_oauth2_request(self, request: Asked) -> Asked:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> Response:
        # RFC 9700 §4.12: a browser that came with a POST must not repeat it elsewhere.
        status = 303 if status == 302 else status
        text = json.dumps(body) if isinstance(body, dict) else body or ""
        kind = "application/json" if isinstance(body, dict) else "text/plain; charset=utf-8"
        answer = Response(text, status=status, content_type=kind)
        answer.headers.update({name: value for name, value in headers if name != "Content-Type"})
        answer.headers.update({**NOT_KEPT, "Referrer-Policy": "no-referrer"})
        return answer

    def send_signal(self, name: str, *args: Any, **named: Any) -> None:
        """Nobody listens."""

    def save_token(self, token: dict[str, Any], request: Asked) -> None:
        """It was saved when it was made."""

    def give(self, held: Held, *, scope: str | None = None) -> dict[str, Any]:
        """Access token, ID token, and where the grant may be refreshed a refresh token (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3)."""
        if self.proven is None:
            raise RuntimeError("no client has proved itself")
        said = scope or held.scope
        access = issue(self.session, held.grant, TokenKind.ACCESS, at=self.at, scope=said)
        lives = min(self.at + ACCESS_LIVES, held.grant.expires_at) - self.at
        id_token = sign_id_token(
            self.session, self.settings, self.proven.client.party, held.grant, held.person, scope=said, nonce=held.bound.get("nonce"),
            access_token=access, at=self.at,
        )  # fmt: skip
        # A refresh may ask for less this time; what may be refreshed stays as it was granted (RFC 6749 §6).
        refresh = issue(self.session, held.grant, TokenKind.REFRESH, at=self.at, scope=held.scope)
        return {
            "access_token": access, "token_type": "Bearer", "expires_in": int(lives.total_seconds()), "refresh_token": refresh,
            "id_token": id_token, "scope": said,
        }  # fmt: skip

    def held_by(self, secret: str, kind: TokenKind, client: Client) -> Held | None:
        """What a code or refresh token of this client leads to, held. Shown a second time, it ends all that came of its grant."""
        token = find_issued(self.session, secret, kind)
        if token is None or not hmac.compare_digest(token.client_id, client.party.id):
            return None
        held = hold_grant(self.session, token.organization_id, token.grant_id, at=self.at)
        # Anew: whoever held the grant until now may have used it.
        token = find_issued(self.session, secret, kind)
        if token is not None and token.used_at is not None:
            self._reused(token, kind, client)
        if token is None or held is None or not is_good(token, at=self.at):
            return None
        grant, person = held
        return Held(grant=grant, person=person, token=token, scope=token.scope, bound=token.bound or {})

    def _reused(self, token: IssuedToken, kind: TokenKind, client: Client) -> None:
        # RFC 9700 §4.14.2: one of the two who showed it is not who we think, and nobody can tell which.
        grant = self.session.get(Grant, (token.organization_id, token.grant_id))
        if grant is None or grant.ended_at is not None:
            return
        what, alarm = ("an authorization code", AlarmKind.CODE_REUSED) if kind is TokenKind.CODE else ("a refresh token", AlarmKind.REFRESH_TOKEN_REUSED)
        end_grant(self.session, token.organization_id, token.grant_id, why=f"{what} was shown twice", at=self.at)
        raise_alarm(
            self.session, token.organization_id, kind=alarm, about=token.grant_id, at=self.at,
            sentence=f"{client.party.name}: {what} of person {token.person_id} was shown twice; its grant {token.grant_id} was ended.",
        )  # fmt: skip
        tell_parties(self.session, token.organization_id, token.person_id, because=None, at=self.at, lane=Lane.DEPARTURES)


class NotJustNow(OAuth2Error):  # type: ignore[misc]  # Authlib ships no types
    """RFC 6749 §4.1.2.1."""

    error = "temporarily_unavailable"
    description = "nobody is let in just now; try again in a minute"


class PKCE(CodeChallenge):  # type: ignore[misc]  # Authlib ships no types
    """RFC 7636 with S256 alone, of every client: a secret does not keep a code from being put into another's browser (RFC 9700 §2.1.1)."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]  # noqa: RUF012  # as Authlib has it

    def validate_code_challenge(self, grant: "CodeGrant", redirect_uri: str) -> None:
        sent = grant.request.payload.data
        if "code_challenge" not in sent or sent.get("code_challenge_method") != "S256":
            raise InvalidRequestError("PKCE is needed: send code_challenge with code_challenge_method=S256")
        super().validate_code_challenge(grant, redirect_uri)

    def validate_code_verifier(self, grant: "CodeGrant", result: object) -> None:
        if "code_verifier" not in grant.request.form:
            raise InvalidGrantError("code_verifier is missing")
        super().validate_code_verifier(grant, result)


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]  # Authlib ships no types
    server: Server

    def validate_requested_scope(self) -> None:
        # What is not known is left out of what is granted (OpenID Connect Core §3.1.2.1).
        """Judged by `Client.get_allowed_scope`."""

    def generate_authorization_code(self) -> str:
        """A code of a new grant (RFC 6749 §4.1.2). Raises AccessDeniedError where the session has ended just now, NotJustNow."""
        server, sent = self.server, self.request.payload.data
        present: Present = self.request.user
        try:
            grant = let_into(
                server.session, present, self.request.client.party, scope=self.request.scope, own=False, wanted=acr_values_of(sent), at=server.at
            )
        except Refused as error:
            log.warning("client %s: %s", self.request.client.party.id, error)
            raise NotJustNow(redirect_uri=sent["redirect_uri"]) from error
        if grant is None:
            raise AccessDeniedError(redirect_uri=sent["redirect_uri"])
        bound = {name: sent[name] for name in ("redirect_uri", "code_challenge", "nonce") if name in sent}
        return issue(server.session, grant, TokenKind.CODE, at=server.at, bound=bound)

    def save_authorization_code(self, code: str, request: Asked) -> None:
        """It was saved when it was made."""

    def query_authorization_code(self, code: str, client: Client) -> Held | None:
        return self.server.held_by(code, TokenKind.CODE, client)

    def authenticate_user(self, authorization_code: Held) -> Person:
        return authorization_code.person

    def generate_token(self, **_asked: Any) -> dict[str, Any]:
        return self.server.give(self.request.authorization_code)

    def delete_authorization_code(self, authorization_code: Held) -> None:
        if authorization_code.token is not None:
            use_up(self.server.session, authorization_code.token, at=self.server.at)


class RefreshGrant(RefreshTokenGrant):  # type: ignore[misc]  # Authlib ships no types
    """Each refresh token is good for one refresh (RFC 9700 §4.14.2), with no grace: a client that loses an answer signs in again."""

    server: Server

    def authenticate_refresh_token(self, refresh_token: str) -> Held | None:
        return self.server.held_by(refresh_token, TokenKind.REFRESH, self.request.client)

    def authenticate_user(self, refresh_token: Held) -> Person:
        return refresh_token.person

    def generate_token(self, scope: str | None = None, **_asked: Any) -> dict[str, Any]:
        return self.server.give(self.request.refresh_token, scope=scope)

    def revoke_old_credential(self, refresh_token: Held) -> None:
        if refresh_token.token is not None:
            use_up(self.server.session, refresh_token.token, at=self.server.at)


class DeviceGrant(DeviceCodeGrant):  # type: ignore[misc]  # Authlib ships no types
    """RFC 8628 §3.4: a device asks again and again until somebody has said yes or no."""

    server: Server

    def query_device_credential(self, device_code: str) -> "_Waiting | None":
        row = device_requests.held_by(self.server.session, device_code)
        if row is None:
            raise InvalidGrantError(f"the device code is worth nothing: {_WORTHLESS}")
        return _Waiting(row=row, at=self.server.at)

    def validate_device_credential(self, credential: "_Waiting") -> Person:
        grant_id = device_requests.poll(self.server.session, credential.row, at=self.server.at)
        held = hold_grant(self.server.session, credential.row.organization_id, grant_id, at=self.server.at)
        if held is None:
            raise InvalidGrantError(f"the device code is worth nothing: {_WORTHLESS}")
        grant, person = held
        self._held = Held(grant=grant, person=person, scope=grant.scope)
        return person

    def generate_token(self, **_asked: Any) -> dict[str, Any]:
        return self.server.give(self._held)


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    row: DeviceRequest
    at: datetime

    def get_client_id(self) -> str:
        return self.row.client_id

    def get_scope(self) -> str:
        return self.row.scope


class _Issuer(IssuerParameter):  # type: ignore[misc]  # Authlib ships no types
    """RFC 9207: each answer to the browser says whose it is."""

    def __init__(self, server: Server) -> None:
        self._server = server
        super().__call__(server)

    def get_issuer(self) -> str:
        return self._server.settings.public_url
