"""The endpoints that clients call without a browser: /token (RFC 6749), /revoke (RFC 7009), /device_authorization (RFC 8628)."""

import json
import logging
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from authlib.oauth2.rfc6749 import InvalidClientError, OAuth2Error
from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError, InvalidScopeError, UnauthorizedClientError
from flask import Response, current_app, request
from sqlalchemy.orm import Session

from app.access.callers import address_of_caller
from app.access.issued import end_token, find_issued
from app.access.keys import NoSigningKey
from app.access.sealing import KeyMissing
from app.access.session_tables import TokenKind
from app.access.sessions import end_grant
from app.clock import now
from app.database import in_transaction, reading
from app.sso.browser import settings_here
from app.sso.provider import device_requests
from app.sso.provider.clients import DEVICE_CODE, Asked, Proven, basic_of, prove_client
from app.sso.provider.limits import provider_limits
from app.sso.provider.server import NOT_KEPT, Server

log = logging.getLogger(__name__)

Act = Callable[[Session, Asked, Proven, datetime], Response]


def token() -> Response:
    """POST /token."""
    return _proved("token", "/token", _token)


def revoke() -> Response:
    """POST /revoke."""
    return _proved("revocation", "/revoke", _revoke)


def device_authorization() -> Response:
    """POST /device_authorization."""
    return _proved("device_authorization", "/device_authorization", _device_authorization)


def _proved(endpoint: str, path: str, act: Act) -> Response:
    """Have a client prove itself, then do what it asks in one transaction. A wrong proof costs no write."""
    at, url = now(), settings_here().public_url
    try:
        asked = Asked(request, public_url=url, in_form=True)
        with reading() as session:
            proven = prove_client(session, asked, audiences=(url, url + path, f"{url}/token"), endpoint=endpoint, at=at)
        return in_transaction(lambda session: _act(session, asked, proven, act, at=at))
    except InvalidClientError as error:
        return unproved(error)
    except OAuth2Error as error:
        return refused(error)
    except (KeyMissing, NoSigningKey) as error:
        log.error("%s: nothing can be signed: %s", path, error)
        # What was shown is not used up: the same request is good once the key is back (RFC 6749 has no word for it but that of §4.1.2.1).
        answer = _answer({"error": "temporarily_unavailable", "error_description": "nothing can be signed just now; send it again"}, 503)
        answer.headers["Retry-After"] = "30"
        return answer


def _act(session: Session, asked: Asked, proven: Proven, act: Act, *, at: datetime) -> Response:
    proven.use_up(session, at=at)
    try:
        return act(session, asked, proven, at)
    except OAuth2Error as error:
        # Said rather than raised: what was used up or ended on the way stays so.
        return refused(error)


def _token(session: Session, asked: Asked, proven: Proven, at: datetime) -> Response:
    if "grant_type" not in asked.form:
        raise InvalidRequestError("grant_type is missing")
    if asked.form["grant_type"] not in ("authorization_code", "refresh_token", DEVICE_CODE):
        return _answer({"error": "unsupported_grant_type", "error_description": "the grant types are authorization_code, refresh_token and device_code"}, 400)
    answer: Response = Server(session, settings_here(), at=at, proven=proven).create_token_response(asked)
    worthless = answer.status_code == 400 and (answer.get_json() or {}).get("error") == InvalidGrantError.error
    # Who tries one after the other is answered more slowly; whoever has a good one never is.
    wait = provider_limits(current_app).grants.take(f"{proven.client.party.id} {address_of_caller()}") if worthless else 0.0
    return too_fast(InvalidGrantError("too many that are worth nothing"), wait) if wait else answer


def _revoke(session: Session, asked: Asked, proven: Proven, at: datetime) -> Response:
    """RFC 7009 §2.2: done, or nothing to do; a token of another client's is left alone, and looks like an unknown one."""
    if "token" not in asked.form:
        raise InvalidRequestError("token is missing")
    found = find_issued(session, asked.form["token"], TokenKind.ACCESS, TokenKind.REFRESH)
    if found is not None and found.client_id == proven.client.party.id:
        if found.kind == TokenKind.REFRESH:
            # And with it all access tokens that came of it (RFC 7009 §2.1).
            end_grant(session, found.organization_id, found.grant_id, why="revoked by its client", at=at)
        else:
            end_token(session, found, at=at)
    return Response(status=200, headers=NOT_KEPT)


def _device_authorization(session: Session, asked: Asked, proven: Proven, at: datetime) -> Response:
    client = proven.client
    if not client.check_grant_type(DEVICE_CODE):
        raise UnauthorizedClientError("this client has no device flow")
    scope = client.get_allowed_scope(asked.form.get("scope"))
    if scope is None:
        raise InvalidScopeError("the scope must hold openid")
    if wait := provider_limits(current_app).requests.take(client.party.id):
        return too_fast(InvalidRequestError("devices begin too often"), wait)
    device_code, user_code = device_requests.begin(session, client.party, scope=scope, at=at)
    page = f"{settings_here().public_url}/device"
    return _answer(
        {
            "device_code": device_code, "user_code": user_code, "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={user_code}", "expires_in": int(device_requests.LIVES.total_seconds()),
            "interval": device_requests.INTERVAL,
        }
    )  # fmt: skip


def unproved(error: InvalidClientError) -> Response:
    """A wrong proof. After too many of one client or from one address they are answered more slowly; a good one never is."""
    claimed = basic_of(request.headers)[0] or request.form.get("client_id", "")
    proofs = provider_limits(current_app).proofs
    wait = max(proofs.take(f"client {claimed[:40]}"), proofs.take(f"address {address_of_caller()}"))
    return too_fast(error, wait) if wait else refused(error)


def refused(error: OAuth2Error) -> Response:
    """RFC 6749 §5.2."""
    unproved = isinstance(error, InvalidClientError)
    answer = _answer(_words(error), 401 if unproved else 400)
    if unproved:
        answer.headers["WWW-Authenticate"] = 'Basic realm="doorlist"'
    return answer


def too_fast(error: OAuth2Error, wait: float) -> Response:
    answer = _answer(_words(error), 429)
    answer.headers["Retry-After"] = str(max(1, math.ceil(wait)))
    return answer


def _words(error: OAuth2Error) -> dict[str, str]:
    return {"error": str(error.error), "error_description": str(error.get_error_description() or error.error)}


def _answer(body: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(body), status=status, headers=NOT_KEPT, content_type="application/json")
