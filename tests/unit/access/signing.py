"""Keys of a client's own and assertions signed with them, for tests."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.registry import HeaderParameter

from app.clock import now
from app.database import new_id
from tests.unit.access.conftest import TOKEN_URL


@cache
def key_for(algorithm: str, *, kid: str | None = None) -> Key:
    """A private key that fits; the same one each time."""
    named: Any = {} if kid is None else {"kid": kid}
    match algorithm:
        case "RS256" | "PS256" | "RS384":
            return RSAKey.generate_key(2048, named)
        case "ES256":
            return ECKey.generate_key("P-256", named)
        case "EdDSA":
            return OKPKey.generate_key("Ed25519", named)
        case "HS256":
            return OctKey.generate_key(256, named)
        case _:
            raise AssertionError(algorithm)


def jwks_of(*keys: Key) -> dict[str, Any]:
    """The public parts, as the client would give them."""
    return {"keys": [key.as_dict(private=False) for key in keys]}


def assertion_of(client_id: str, key: Key, algorithm: str, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
    """A good assertion but for what is said otherwise. None leaves a claim out; a timedelta is counted from now."""
    second = int(now().timestamp())
    usual = {"iss": client_id, "sub": client_id, "aud": TOKEN_URL, "iat": second, "exp": second + 60, "jti": new_id()}
    said = {
        name: second + value.total_seconds() if isinstance(value, timedelta) else value
        for name, value in {**usual, **claims}.items()
        if value is not None
    }
    # What only this client knows of may be in its header, too.
    own = {name: HeaderParameter("of its own", lambda value: None) for name in header or {} if name not in jws.JWSRegistry.default_header_registry}
    with warnings.catch_warnings():
        # The name EdDSA is deprecated, and what clients send.
        warnings.simplefilter("ignore")
        return jws.serialize_compact({"alg": algorithm, **(header or {})}, json.dumps(said), key, registry=jws.JWSRegistry(own, algorithms=[algorithm]))
