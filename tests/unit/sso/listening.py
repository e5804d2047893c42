"""A relying party that listens on this machine for logout tokens, and checks them as OpenID Connect Back-Channel Logout §2.6 says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import KeySet

from app.access import keys
from app.clock import now

EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(kw_only=True)
class Listener:
    """`answers` are the statuses of the next calls; after them it is 200. `heard` are the tokens that came."""

    url: str
    answers: list[int] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)

    def claims(self, published: Any, client_id: str) -> list[dict[str, Any]]:
        """Each token's claims, after every check that the standard asks of a party."""
        return [self._checked(token, published, client_id) for token in self.heard]

    def _checked(self, token: str, published: Any, client_id: str) -> dict[str, Any]:
        read = jwt.decode(token, KeySet.import_key_set(published), algorithms=["ES256", "PS256", "EdDSA"], registry=keys.REGISTRY)
        claims = dict(read.claims)
        assert read.header["typ"] == "logout+jwt"
        assert claims["aud"] == client_id and claims["iss"] == "http://127.0.0.1:8484"
        assert claims["iat"] <= now().timestamp() < claims["exp"] <= claims["iat"] + 120
        assert claims["events"] == {EVENT: {}} and claims["jti"] and claims["sub"] and claims["sid"] and "nonce" not in claims
        return claims


@contextmanager
def listening() -> Iterator[Listener]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
            listener.heard.append(parse_qs(body)["logout_token"][0])
            self.send_response(listener.answers.pop(0) if listener.answers else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener = Listener(url=f"http://127.0.0.1:{server.server_address[1]}/logged-out")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
