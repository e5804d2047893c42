"""What the provider can do, for clients that set themselves up (OpenID Connect Discovery §3, RFC 8414), and its public keys."""

import json

from flask import Response

from app.access.assertions import ALGORITHMS as ASSERTED
from app.access.keys import ALGORITHMS, Purpose, ensure_keys, jwks
from app.clock import now
from app.database import in_transaction, reading
from app.sso.browser import settings_here
from app.sso.provider.clients import DEVICE_CODE, METHODS, SCOPES
from app.sso.provider.id_tokens import ONE_FACTOR, TWO_FACTORS


def configuration() -> Response:
    """GET /.well-known/openid-configuration."""
    url = settings_here().public_url
    found = {
        "issuer": url,
        "authorization_endpoint": f"{url}/authorize",
        "token_endpoint": f"{url}/token",
        "userinfo_endpoint": f"{url}/userinfo",
        "jwks_uri": f"{url}/jwks",
        "introspection_endpoint": f"{url}/introspect",
        "revocation_endpoint": f"{url}/revoke",
        "device_authorization_endpoint": f"{url}/device_authorization",
        "end_session_endpoint": f"{url}/logout",
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", DEVICE_CODE],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(ALGORITHMS[Purpose.TOKENS]),
        "token_endpoint_auth_methods_supported": list(METHODS),
        "token_endpoint_auth_signing_alg_values_supported": list(ASSERTED),
        "introspection_endpoint_auth_methods_supported": [method for method in METHODS if method != "none"],
        "introspection_endpoint_auth_signing_alg_values_supported": list(ASSERTED),
        "revocation_endpoint_auth_methods_supported": list(METHODS),
        "revocation_endpoint_auth_signing_alg_values_supported": list(ASSERTED),
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": [
            "sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "session_expiry", "tenant", "at_hash", "name",
            "preferred_username", "email",
        ],
        "acr_values_supported": [ONE_FACTOR, TWO_FACTORS],
        "prompt_values_supported": ["none", "login", "select_account"],
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "authorization_response_iss_parameter_supported": True,
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "ui_locales_supported": ["en", "de"],
    }  # fmt: skip
    return _public(found, seconds=3600)


def keys() -> Response:
    """GET /jwks. Kept by others no longer than a new key is published before it signs (`app.access.keys.OVERLAP`)."""
    at = now()
    with reading() as session:
        found = jwks(session, at=at)
    if not found["keys"]:
        in_transaction(lambda session: ensure_keys(session, settings_here(), at=at))
        with reading() as session:
            found = jwks(session, at=at)
    return _public(found, seconds=300)


def _public(found: object, *, seconds: int) -> Response:
    # Anybody may read it from anywhere: browsers' own clients need it.
    headers = {"Cache-Control": f"public, max-age={seconds}", "Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff"}
    return Response(json.dumps(found), headers=headers, content_type="application/json")
