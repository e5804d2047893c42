"""A small relying party made with Authlib, to try the OpenID providers of tests with: no part of Doorlist is in it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import OAuth
from flask import Flask, Response, jsonify, redirect, request, session
from joserfc import jwt
from joserfc.jwk import KeySet
from joserfc.jws import extract_compact
from werkzeug.serving import make_server
from werkzeug.wrappers import Response as AnyResponse

from tests.servers.identities import Client

ALGORITHMS = ("RS256", "PS256", "ES256", "Ed25519")


@dataclass(kw_only=True)
class SmallRP:
    """`told` are the claims of the logout tokens that came over the back channel, each checked."""

    issuer: str = ""
    told: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    tokens: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        site = Flask(__name__)
        site.secret_key = "of a test"
        site.config["SESSION_COOKIE_NAME"] = "small_rp"
        self._oauth = OAuth(site)
        self._pages(site)
        self._server = make_server("127.0.0.1", 0, site, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def client(self, *, id_token_alg: str = "RS256") -> Client:
        return Client(
            client_id="small-rp",
            client_secret="small-rp-secret",
            redirect_uris=(f"{self.url}/callback",),
            post_logout_redirect_uris=(f"{self.url}/bye",),
            logout_uri=f"{self.url}/backchannel",
            id_token_alg=id_token_alg,
        )

    def believe(self, issuer: str) -> None:
        self.issuer = issuer
        told = self.client()
        self._oauth.register(
            "op",
            overwrite=True,
            client_id=told.client_id,
            client_secret=told.client_secret,
            server_metadata_url=f"{issuer}/.well-known/openid-configuration",
            client_kwargs={"scope": "openid profile email groups offline_access", "code_challenge_method": "S256", "leeway": 0},
        )

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{self.issuer}/.well-known/openid-configuration", timeout=10).json()
        return found

    def refreshed(self) -> requests.Response:
        """What the provider answers to the refresh token that it gave last."""
        told = self.client()
        return requests.post(
            self.metadata()["token_endpoint"],
            data={"grant_type": "refresh_token", "refresh_token": self.tokens["refresh_token"]},
            auth=(told.client_id, told.client_secret),
            timeout=10,
        )

    def _pages(self, site: Flask) -> None:
        @site.get("/login")
        def login() -> AnyResponse:
            # What offline access needs, and what brings `auth_time`.
            more = {name: request.args[name] for name in ("prompt", "max_age", "acr_values") if name in request.args}
            to: AnyResponse = self._oauth.op.authorize_redirect(f"{self.url}/callback", **more)
            return to

        @site.get("/callback")
        def callback() -> AnyResponse | tuple[str, int]:
            try:
                self.tokens = self._oauth.op.authorize_access_token()
            except OAuthError as error:
                self.refused.append(str(error))
                return "refused", 403
            session.update(who=self.tokens["userinfo"], iss=request.args.get("iss"), header=_header(self.tokens["id_token"]))
            return redirect("/who")

        @site.get("/who")
        def who() -> AnyResponse | tuple[Response, int]:
            known = session.get("who")
            if known is None or any(token.get("sid") == known.get("sid") for token in self.told):
                return jsonify(None), 401
            return jsonify({**known, "response_iss": session["iss"], "header": session["header"]})

        @site.get("/logout")
        def logout() -> AnyResponse:
            asked = {"id_token_hint": self.tokens["id_token"], "post_logout_redirect_uri": f"{self.url}/bye", "state": "leaving"}
            prepared = requests.Request("GET", self.metadata()["end_session_endpoint"], params=asked).prepare()
            return redirect(str(prepared.url))

        @site.get("/bye")
        def bye() -> str:
            return f"bye {request.args.get('state')}"

        @site.post("/backchannel")
        def backchannel() -> tuple[str, int]:
            keys = KeySet.import_key_set(requests.get(self.metadata()["jwks_uri"], timeout=10).json())
            token = jwt.decode(request.form["logout_token"], keys, algorithms=list(ALGORITHMS))
            self.told.append(token.claims)
            return "", 200


def _header(id_token: str) -> dict[str, Any]:
    return dict(extract_compact(id_token.encode()).headers())
