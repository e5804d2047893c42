"""A small service provider made with python3-saml, to try the identity providers of tests with: no part of Doorlist is in it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, redirect, request, session
from onelogin.saml2.auth import OneLogin_Saml2_Auth
from onelogin.saml2.idp_metadata_parser import OneLogin_Saml2_IdPMetadataParser
from onelogin.saml2.metadata import OneLogin_Saml2_Metadata
from onelogin.saml2.settings import OneLogin_Saml2_Settings
from werkzeug.serving import make_server
from werkzeug.wrappers import Response as AnyResponse

from tests.servers.idp_keys import Certified, certify

REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"


@dataclass(kw_only=True)
class SmallSP:
    """`believe` says whose answers it takes. What it refused, and why, is in `refused`."""

    key: Certified
    refused: list[str] = field(default_factory=list)
    _idp: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._server = make_server("127.0.0.1", 0, self._site(), threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.entity_id = f"{self.url}/metadata"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @classmethod
    def at(cls, folder: Path) -> SmallSP:
        return cls(key=certify(folder, "sp"))

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def believe(self, idp_metadata: str) -> None:
        self._idp = OneLogin_Saml2_IdPMetadataParser.parse(idp_metadata)["idp"]

    def metadata(self) -> str:
        # Its own get_sp_metadata() names a key to encrypt to only where everything must be encrypted.
        settings = OneLogin_Saml2_Settings({**self._settings(), "idp": {}}, sp_validation_only=True)
        made = OneLogin_Saml2_Metadata.builder(
            settings.get_sp_data(), authnsign=True, wsign=True, valid_until=int(time.time()) + 365 * 86400
        )
        named = OneLogin_Saml2_Metadata.add_x509_key_descriptors(made, settings.get_sp_cert(), add_encryption=True)
        return named if isinstance(named, str) else named.decode()

    def _settings(self, *, for_logout: bool = False) -> dict[str, Any]:
        return {
            "strict": True,
            "sp": {
                "entityId": self.entity_id,
                "assertionConsumerService": {"url": f"{self.url}/acs", "binding": POST},
                "singleLogoutService": {"url": f"{self.url}/sls", "binding": REDIRECT},
                "x509cert": self.key.certificate,
                "privateKey": self.key.key,
            },
            "idp": self._idp,
            "security": {
                "authnRequestsSigned": True,
                "logoutRequestSigned": True,
                "logoutResponseSigned": True,
                "wantAssertionsSigned": not for_logout,
                # Without it an unsigned LogoutRequest would do.
                "wantMessagesSigned": for_logout,
                "rejectDeprecatedAlgorithm": True,
                "signatureAlgorithm": RSA_SHA256,
                "digestAlgorithm": SHA256,
                "requestedAuthnContext": False,
                "allowRepeatAttributeName": True,
            },
        }

    def _auth(self, *, for_logout: bool = False) -> Any:
        heard = {
            "https": "off",
            "http_host": request.host,
            "script_name": request.path,
            "get_data": request.args.copy(),
            "post_data": request.form.copy(),
            "query_string": request.query_string.decode(),
        }
        return OneLogin_Saml2_Auth(heard, self._settings(for_logout=for_logout))

    def _site(self) -> Flask:
        site = Flask(__name__)
        site.secret_key = "of a test"
        site.config["SESSION_COOKIE_NAME"] = "small_sp"

        @site.get("/login")
        def login() -> AnyResponse:
            auth = self._auth()
            to = auth.login(return_to="/who", force_authn="force" in request.args)
            session["asked"] = auth.get_last_request_id()
            return redirect(to)

        @site.post("/acs")
        def acs() -> AnyResponse | tuple[str, int]:
            auth = self._auth()
            auth.process_response(request_id=session.pop("asked", None))
            if auth.get_errors():
                self.refused.append(str(auth.get_last_error_reason()))
                return "refused", 403
            session["who"] = {
                "name_id": auth.get_nameid(),
                "format": auth.get_nameid_format(),
                "session_index": auth.get_session_index(),
                "session_ends": auth.get_session_expiration(),
                "context": auth.get_last_authn_contexts(),
                "in_response_to": auth.get_last_response_in_response_to(),
                "attributes": auth.get_attributes(),
                "name_qualifiers": [auth.get_nameid_nq(), auth.get_nameid_spnq()],
                "relay_state": request.form.get("RelayState"),
            }
            return redirect("/who")

        @site.get("/who")
        def who() -> AnyResponse | tuple[Response, int]:
            return jsonify(session["who"]) if "who" in session else (jsonify(None), 401)

        @site.get("/logout")
        def logout() -> AnyResponse:
            known = session["who"]
            name_qualifier, sp_name_qualifier = known["name_qualifiers"]
            return redirect(
                self._auth(for_logout=True).logout(
                    name_id=known["name_id"],
                    session_index=known["session_index"],
                    name_id_format=known["format"],
                    nq=name_qualifier,
                    spnq=sp_name_qualifier,
                )
            )

        @site.get("/sls")
        def sls() -> AnyResponse | tuple[str, int]:
            auth = self._auth(for_logout=True)
            back = auth.process_slo(delete_session_cb=session.clear)
            if auth.get_errors():
                self.refused.append(str(auth.get_last_error_reason()))
                return "refused", 403
            return redirect(back or "/who")

        return site
