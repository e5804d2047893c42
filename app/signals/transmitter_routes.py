"""Where receivers learn what we transmit, and get their access tokens (SSF 1.0 §7, RFC 6749 §4.4)."""

import base64
import binascii
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_plus, urlsplit

from flask import Blueprint, Response, current_app, request
from sqlalchemy.orm import Session

from app.access.callers import address_of_caller
from app.access.rates import Buckets
from app.clock import now
from app.database import in_transaction, reading
from app.signals.receivers import LIFE, Scope, find_by_secret, grant, may
from app.signals.stream_requests import METHODS, answer
from app.signals.stream_routes import ADD_PATH, PATH, REMOVE_PATH, STATUS_PATH, VERIFY_PATH

transmitter_routes = Blueprint("signals_transmitter", __name__)

WELL_KNOWN: Final = "/.well-known/ssf-configuration"
TOKEN_PATH: Final = "/signals/token"
FAILURES: Final = Buckets(rate=0.5, burst=10.0)


@transmitter_routes.get(WELL_KNOWN)
@transmitter_routes.get(f"{WELL_KNOWN}/<path:issuer_path>")
def configuration(issuer_path: str = "") -> Response:
    """The transmitter's metadata (SSF 1.0 §7.1). An issuer with a path has it after the well-known part."""
    url = str(current_app.config["DOORLIST"].public_url)
    if urlsplit(url).path.strip("/") != issuer_path.strip("/"):
        return answer({"err": "not_found", "description": "no transmitter of this name is here"}, HTTPStatus.NOT_FOUND)
    shown = answer(
        {
            "spec_version": "1_0", "issuer": url, "jwks_uri": f"{url}/jwks", "delivery_methods_supported": list(METHODS),
            "configuration_endpoint": url + PATH, "status_endpoint": url + STATUS_PATH, "add_subject_endpoint": url + ADD_PATH,
            "remove_subject_endpoint": url + REMOVE_PATH, "verification_endpoint": url + VERIFY_PATH,
            "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}, {"spec_urn": "urn:ietf:rfc:6750"}], "default_subjects": "ALL",
        }
    )  # fmt: skip
    shown.headers["Cache-Control"] = "public, max-age=300"
    return shown


@transmitter_routes.post(TOKEN_PATH)
def give_token() -> Response:
    """An access token for an hour, for a receiver that has a client secret."""
    at = now()
    if request.mimetype != "application/x-www-form-urlencoded" or any(len(values) > 1 for _, values in request.form.lists()):
        return _failed("invalid_request", "send each parameter once, in the body, as application/x-www-form-urlencoded")
    if request.form.get("grant_type") != "client_credentials":
        return _failed("unsupported_grant_type", "the only grant type is client_credentials")
    client_id, secret = _shown()
    asked = set(request.form.get("scope", "").split())
    with reading() as session:
        # Whoever guesses makes nobody wait who has something to write.
        known = find_by_secret(session, client_id, secret, at=at) is not None

    def act(session: Session) -> tuple[str | None, list[str]] | None:
        receiver = find_by_secret(session, client_id, secret, at=at)
        if receiver is None:
            return None
        allowed = all(one in (Scope.READ, Scope.MANAGE) and may(receiver, Scope(one)) for one in asked)
        return grant(session, receiver, at=at) if allowed else None, receiver.scopes

    granted = in_transaction(act) if known else None
    if granted is None:
        wait = FAILURES.take(address_of_caller())
        failed = _failed("invalid_client", "client id or secret is wrong or revoked", status=HTTPStatus.TOO_MANY_REQUESTS if wait else HTTPStatus.UNAUTHORIZED)
        failed.headers["Retry-After" if wait else "WWW-Authenticate"] = str(int(wait) + 1) if wait else 'Basic realm="doorlist"'
        return failed
    token, held = granted
    if token is None:
        return _failed("invalid_scope", f"this receiver may have {' '.join(held)}")
    # Whoever asks for less has all the same what was chosen for it, and is told so (RFC 6749 §5.1).
    return answer({"access_token": token, "token_type": "Bearer", "expires_in": int(LIFE.total_seconds()), "scope": " ".join(held)})


def _shown() -> tuple[str, str]:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return "", ""
        # RFC 6749 §2.3.1: both are form-encoded before they are joined.
        return unquote_plus(client_id), unquote_plus(secret)
    return request.form.get("client_id", ""), request.form.get("client_secret", "")


def _failed(code: str, description: str, *, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> Response:
    return answer({"error": code, "error_description": description}, status)
