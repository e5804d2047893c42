"""A small OpenID provider in this process, on a free loopback port: well-behaved, until a test has it say something else.

It checks what a provider checks (client, PKCE, redirect URI, a code's single use), so that a sign-in which passes here was
asked for rightly; and it signs whatever it is told to, so that every bad token can be shown to us.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from app.clock import now

CLIENT_ID = "doorlist at the stand-in"
CLIENT_SECRET = "s3cret/with+signs&more"
EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    kid: str | None
    algorithm: str
    key: Key

    def public(self) -> dict[str, Any]:
        named = {} if self.kid is None else {"kid": self.kid}
        return {**self.key.as_dict(private=False), **named, "use": "sig", "alg": self.algorithm}


def new_key(algorithm: str = "ES256", *, kid: str | None = None) -> SigningKey:
    made: Key
    match algorithm:
        case "ES256":
            made = ECKey.generate_key("P-256", auto_kid=False)
        case "EdDSA":
            made = OKPKey.generate_key("Ed25519", auto_kid=False)
        case _:
            made = RSAKey.generate_key(2048, auto_kid=False)
    return SigningKey(kid=kid or f"key-{secrets.token_hex(4)}", algorithm=algorithm, key=made)


def signed(claims: Mapping[str, Any] | str, by: SigningKey, **header: Any) -> str:
    """A compact JWS. None leaves a header out; `alg` may be any word, and then says what it will."""
    payload = claims if isinstance(claims, str) else json.dumps(claims)
    said = {"alg": by.algorithm, "kid": by.kid, "typ": "JWT", **header}
    wanted = {name: value for name, value in said.items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Signed by hand in two steps, since the library would not put every header there.
        body = f"{_encoded(json.dumps(wanted).encode())}.{_encoded(payload.encode())}"
        model = jws.JWSRegistry.algorithms["Ed25519" if by.algorithm == "EdDSA" else by.algorithm]
        return f"{body}.{_encoded(model.sign(body.encode(), by.key))}"


def unsigned(claims: Mapping[str, Any], *, alg: str = "none") -> str:
    return f"{_encoded(json.dumps({'alg': alg, 'typ': 'JWT'}).encode())}.{_encoded(json.dumps(claims).encode())}."


def signed_by_public_key(claims: Mapping[str, Any], public: bytes, *, kid: str | None) -> str:
    """HS256 with the provider's public key for a secret: what a library falls for that goes by the header alone."""
    header = {"alg": "HS256", "typ": "JWT", **({} if kid is None else {"kid": kid})}
    body = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(claims).encode())}"
    return f"{body}.{_encoded(hmac.digest(public, body.encode(), 'sha256'))}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@dataclass(kw_only=True)
class StandIn:
    """`claims`, `header` and `more` change what it says from now on (None leaves a claim out, a timedelta counts from now).

    `raw` replaces the ID token altogether, `metadata` single fields of its metadata, `keys` are those it publishes.
    """

    issuer: str
    keys: list[SigningKey]
    signing: SigningKey
    subject: str = "im-ada"
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    raw: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    jwks: bytes | None = None
    token_answer: tuple[int, bytes] | None = None
    fails: int | None = None
    redirects_to: str | None = None
    client_keys: dict[str, Any] | None = None
    asked: list[str] = field(default_factory=list)
    last_token: str = ""
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        said = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "end_session_endpoint": f"{self.issuer}/logout",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["plain", "S256"],
            "id_token_signing_alg_values_supported": ["none", "HS256", "RS256", "ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }
        return {name: value for name, value in said.items() if value is not None}

    def answers(self, url: str, **changed: str | None) -> dict[str, str]:
        """What the browser brings back after somebody signed in at `url`; None leaves a parameter out."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert query["response_type"] == "code" and "openid" in query["scope"].split(), query
        assert query["code_challenge_method"] == "S256" and len(query["code_challenge"]) == 43, query
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        said = {"code": code, "state": query["state"], "iss": self.issuer, **changed}
        return {name: value for name, value in said.items() if value is not None}

    def id_token(self, query: Mapping[str, str], *, access_token: str | None = None, client_id: str = CLIENT_ID) -> str:
        if self.raw is not None:
            return self.raw
        usual = {
            "iss": self.issuer, "sub": self.subject, "aud": client_id, "iat": timedelta(0), "exp": timedelta(minutes=5),
            "nonce": query.get("nonce"), "auth_time": timedelta(0), "amr": ["pwd"], "sid": "upstream-1", "name": "Ada",
            "email": "ada@northwind.example", "email_verified": True,
        }  # fmt: skip
        if access_token is not None:
            half = hashlib.sha256(access_token.encode()).digest()[:16] if self.signing.algorithm != "EdDSA" else hashlib.sha512(access_token.encode()).digest()[:32]
            usual["at_hash"] = _encoded(half)
        return signed(spoken({**usual, **self.claims}), self.signing, **self.header)

    def logout_token(self, *, client_id: str = CLIENT_ID, header: Mapping[str, Any] | None = None, **changed: Any) -> str:
        """A good logout token but for what is said otherwise."""
        usual = {
            "iss": self.issuer, "aud": client_id, "iat": timedelta(0), "exp": timedelta(minutes=2), "jti": secrets.token_hex(8),
            "events": {EVENT: {}}, "sub": self.subject, "sid": "upstream-1",
        }  # fmt: skip
        return signed(spoken({**usual, **changed}), self.signing, **{"typ": "logout+jwt", **(header or {})})

    def roll(self, algorithm: str = "ES256", *, kid: str | None = None, keep_old: bool = False) -> SigningKey:
        """Sign with a new key from now on, as after a night's rotation."""
        self.signing = new_key(algorithm, kid=kid)
        self.keys = [self.signing, *(self.keys if keep_old else [])]
        return self.signing

    def get(self, path: str, authorization: str) -> tuple[int, bytes]:
        match path:
            case "/.well-known/openid-configuration":
                return 200, json.dumps(self.described()).encode()
            case "/jwks":
                return 200, self.jwks if self.jwks is not None else json.dumps({"keys": [one.public() for one in self.keys]}).encode()
            case "/userinfo" if authorization.startswith("Bearer at-"):
                return 200, json.dumps({"sub": self.subject, **self.userinfo}).encode()
        return 404, b"{}"

    def give(self, form: Mapping[str, str], authorization: str) -> tuple[int, bytes]:
        """The token endpoint."""
        if self.token_answer is not None:
            return self.token_answer
        query = self._codes.pop(form.get("code", ""), None)
        if not self._is_client(form, authorization, query):
            return 401, json.dumps({"error": "invalid_client", "error_description": "who are you?"}).encode()
        verifier = form.get("code_verifier", "")
        challenge = _encoded(hashlib.sha256(verifier.encode()).digest())
        if query is None or form["redirect_uri"] != query["redirect_uri"] or challenge != query["code_challenge"]:
            return 400, json.dumps({"error": "invalid_grant"}).encode()
        access_token = f"at-{secrets.token_urlsafe(8)}"
        self.last_token = self.id_token(query, access_token=access_token, client_id=query["client_id"])
        answer = {"access_token": access_token, "token_type": "Bearer", "expires_in": 300, "id_token": self.last_token, **self.more}
        return 200, json.dumps({name: value for name, value in answer.items() if value is not None}).encode()

    def _is_client(self, form: Mapping[str, str], authorization: str, query: Mapping[str, str] | None) -> bool:
        if self.client_keys is not None:
            key = next(one for one in self.client_keys["keys"] if one["alg"] == "ES256")
            proof = jws.deserialize_compact(form["client_assertion"], ECKey.import_key(key), algorithms=["ES256"])
            claims = json.loads(proof.payload or b"")
            return bool(claims["sub"] == claims["iss"] == CLIENT_ID and claims["aud"] == f"{self.issuer}/token")
        scheme, _, encoded = authorization.partition(" ")
        name, _, secret = base64.b64decode(encoded).decode().partition(":")
        return scheme == "Basic" and unquote_plus(secret) == CLIENT_SECRET and (query is None or unquote_plus(name) == query["client_id"])


def spoken(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Claims with instants in seconds, and without what is None."""
    second = int(now().timestamp())
    return {
        name: second + int(value.total_seconds()) if isinstance(value, timedelta) else value
        for name, value in claims.items()
        if value is not None
    }


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """One that serves until the end of the block."""
    key = new_key()
    made = StandIn(issuer="", keys=[key], signing=key)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(lambda: made.get(urlsplit(self.path).path, self.headers.get("Authorization", "")))

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            form = {name: values[0] for name, values in parse_qs(self.rfile.read(length).decode()).items()}
            self._answer(lambda: made.give(form, self.headers.get("Authorization", "")))

        def _answer(self, act: Any) -> None:
            made.asked.append(f"{self.command} {self.path}")
            if made.redirects_to is not None:
                self.send_response(302)
                self.send_header("Location", made.redirects_to)
                status, body = 302, b""
            elif made.fails is not None:
                status, body = made.fails, b"out of order"
                self.send_response(status)
            else:
                status, body = act()
                self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is written to the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
