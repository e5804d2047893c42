"""Where a directory's OAuth client gets its access tokens (RFC 6749 §4.4), and where it learns of that (RFC 8414)."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

from flask import Blueprint, Response, current_app, request

from app.access import grants
from app.access.callers import address_of_caller
from app.access.grants import GrantError, InvalidClient, InvalidRequest, ShownAssertion, ShownSecret, UnsupportedGrantType
from app.clock import now
from app.scim.door import limits, seconds_of

PATH: Final = "/oauth2/token"
_FORM: Final = "application/x-www-form-urlencoded"
_JWT_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_NOT_KEPT: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def token_blueprint() -> Blueprint:
    """The endpoint, to be registered once with an application that has its settings in `config["DOORLIST"]`."""
    routes = Blueprint("token", __name__)
    routes.add_url_rule(PATH, view_func=give_token, methods=["POST"])
    routes.add_url_rule("/.well-known/oauth-authorization-server", view_func=show_metadata, methods=["GET"])
    routes.register_error_handler(GrantError, _refused)
    return routes


def _public_url() -> str:
    return str(current_app.config["DOORLIST"].public_url)


def give_token() -> Response:
    """An access token for an hour, for whoever proves to be a client."""
    form = _form()
    if "grant_type" not in form:
        raise InvalidRequest(f"grant_type is missing; it should be {grants.GRANT_TYPE}")
    if form["grant_type"] != grants.GRANT_TYPE:
        raise UnsupportedGrantType(f"the only grant type is {grants.GRANT_TYPE}")
    shown = _shown(form)
    try:
        proved = grants.prove(shown, audiences=(_public_url() + PATH, _public_url()), at=now())
    except InvalidClient as error:
        return _failed(error, shown)
    grants.check_scope(form.get("scope"))
    if wait := limits().grants.take(proved.client_id):
        return _too_fast(InvalidRequest("tokens are asked for too often; each is good for an hour, so keep it"), wait)
    granted = grants.grant(proved, at=now())
    body = {"access_token": granted.token, "token_type": "Bearer", "expires_in": granted.expires_in, "scope": grants.SCOPE}
    return _answer(body, headers=_NOT_KEPT)


def show_metadata() -> Response:
    """What this authorization server can do."""
    from app.access.assertions import ALGORITHMS

    return _answer(
        {
            "issuer": _public_url(),
            "token_endpoint": _public_url() + PATH,
            "response_types_supported": [],
            "grant_types_supported": [grants.GRANT_TYPE],
            "scopes_supported": [grants.SCOPE],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        }
    )


def _form() -> dict[str, str]:
    """The parameters; one without a value counts as left out (RFC 6749 §3.2). Raises InvalidRequest."""
    if request.mimetype != _FORM:
        raise InvalidRequest(f"send the parameters in the body, as {_FORM}")
    if any(len(values) > 1 for _, values in request.form.lists()):
        raise InvalidRequest("a parameter is there more than once")
    return {name: value for name, value in request.form.items() if value}


def _shown(form: Mapping[str, str]) -> ShownSecret | ShownAssertion:
    """How the client proves itself. Raises InvalidRequest, InvalidClient."""
    header = request.headers.get("Authorization")
    if (header is not None) + ("client_secret" in form) + ("client_assertion" in form) > 1:
        raise InvalidRequest("the client proves itself in several ways at once; one is enough")
    if header is not None:
        shown = _basic(header)
        if form.get("client_id", shown.client_id) != shown.client_id:
            raise InvalidRequest("client_id and the Authorization header name two clients")
        return shown
    if "client_assertion" in form:
        if form.get("client_assertion_type") != _JWT_BEARER:
            raise InvalidRequest(f"client_assertion_type must be {_JWT_BEARER}")
        return ShownAssertion(client_id=form.get("client_id"), assertion=form["client_assertion"])
    if "client_id" not in form or "client_secret" not in form:
        raise InvalidClient("the client does not prove itself: send client id and secret, or an assertion")
    return ShownSecret(client_id=form["client_id"], secret=form["client_secret"])


def _basic(header: str) -> ShownSecret:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient("the Authorization header must be of the kind Basic here")
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise InvalidClient("the Authorization header cannot be read") from None
    if not colon:
        raise InvalidClient("the Authorization header cannot be read")
    # RFC 6749 §2.3.1: both are form-encoded before they are joined. Ours hold nothing that encoding would change.
    return ShownSecret(client_id=unquote_plus(client_id), secret=unquote_plus(secret))


def _failed(error: InvalidClient, shown: ShownSecret | ShownAssertion) -> Response:
    """A wrong proof. After too many of one client or from one address they are answered more slowly; a good one never is."""
    try:
        client_id = grants.claimed_client(shown)
    except InvalidClient:
        client_id = ""
    failures = limits().failures
    wait = max(failures.take(f"client {client_id[:40]}"), failures.take(f"address {address_of_caller()}"))
    return _too_fast(error, wait) if wait else _refused(error)


def _refused(error: GrantError) -> Response:
    # A 401 has to name a scheme (RFC 9110 §15.5.2); Basic is the one that RFC 6749 §5.2 wants named to those who used it.
    unproved = isinstance(error, InvalidClient)
    challenge = {"WWW-Authenticate": 'Basic realm="doorlist"'} if unproved else {}
    return _answer(_words(error), 401 if unproved else 400, headers={**_NOT_KEPT, **challenge})


def _too_fast(error: GrantError, wait: float) -> Response:
    return _answer(_words(error), 429, headers={**_NOT_KEPT, "Retry-After": seconds_of(wait)})


def _words(error: GrantError) -> dict[str, str]:
    return {"error": error.code, "error_description": str(error)}


def _answer(body: Mapping[str, Any], status: int = 200, *, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(body), status=status, headers=dict(headers or {}), content_type="application/json")
