"""The pages of the pysaml2 identity provider: `python -m tests.servers.pysaml2_site SETTINGS`.

The settings are read anew for every request, so that a test may change them meanwhile.
"""

from __future__ import annotations

import html
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, redirect, request, session
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
from saml2.attribute_converter import AttributeConverter
from saml2.config import IdPConfig
from saml2.metadata import entity_descriptor
from saml2.saml import NAME_FORMAT_BASIC, NAMEID_FORMAT_EMAILADDRESS, NAMEID_FORMAT_PERSISTENT, NameID
from saml2.server import Server
from saml2.xmldsig import DIGEST_SHA1, DIGEST_SHA256, SIG_RSA_SHA1, SIG_RSA_SHA256
from werkzeug.wrappers import Response as AnyResponse

LOGIN = """<!doctype html><html lang="en"><title>Sign in</title><main><h1>pysaml2</h1><form method="post" action="/login">
<label>User <input name="user" autocomplete="username"></label> <label>Password <input name="password" type="password"></label>
<button type="submit">Sign in</button></form>{note}</main></html>"""
NAMES = ("uid", "mail", "employeeNumber", "immutableId", "displayName", "groups")

site = Flask(__name__)
site.secret_key = "of a test"
# Cookies are shared by every port of a host, so each server of tests has a name of its own for them.
site.config["SESSION_COOKIE_NAME"] = "pysaml2"


def settings() -> dict[str, Any]:
    return _read(_path().stat().st_mtime_ns)


def provider() -> Any:
    return _provider(_path().stat().st_mtime_ns)


def _path() -> Path:
    return Path(site.config["SETTINGS"])


@lru_cache(maxsize=1)
def _read(changed: int) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_path().read_text())
    return document


@lru_cache(maxsize=1)
def _provider(changed: int) -> Any:
    told = settings()
    key = {"key_file": told["key_file"], "cert_file": told["certificate_file"]}
    url = told["url"]
    config = IdPConfig().load(
        {
            "entityid": told["entity_id"],
            "xmlsec_binary": told["xmlsec"],
            **key,
            "additional_cert_files": told["other_certificate_files"] or None,
            "encryption_keypairs": [key],
            "metadata": {"inline": told["service_providers"]},
            "service": {
                "idp": {
                    "endpoints": {
                        "single_sign_on_service": [(f"{url}/sso", BINDING_HTTP_REDIRECT), (f"{url}/sso", BINDING_HTTP_POST)],
                        "single_logout_service": [(f"{url}/slo", BINDING_HTTP_REDIRECT)],
                    },
                    "want_authn_requests_signed": True,
                    "name_id_format": [NAMEID_FORMAT_PERSISTENT, NAMEID_FORMAT_EMAILADDRESS],
                    "policy": {"default": {"lifetime": {"minutes": 5}, "attribute_restrictions": None, "name_form": NAME_FORMAT_BASIC}},
                }
            },
        }
    )
    # Attributes keep the names that they have in the settings; pysaml2 would rename the ones that it knows.
    plain = AttributeConverter()
    plain.from_dict({"identifier": NAME_FORMAT_BASIC, "to": {n: n for n in NAMES}, "fro": {n: n for n in NAMES}})
    config.attribute_converters = [plain]
    return Server(config=config)


@site.route("/login", methods=["GET", "POST"])
def login() -> AnyResponse | str | tuple[str, int]:
    if request.method == "GET":
        return LOGIN.format(note="")
    known = settings()["people"].get(request.form["user"])
    if known is None or request.form["password"] != settings()["password"]:
        return LOGIN.format(note="<p>That is not right.</p>"), 401
    session.update(user=request.form["user"], since=int(time.time()), fresh_for=session.pop("asked_by", None))
    return redirect(session.pop("next", "/"))


@site.get("/")
def front() -> str:
    return f"<!doctype html><title>pysaml2</title><p>Signed in as {html.escape(str(session.get('user')))}</p>"


def _sign_in_first(asked_by: str | None = None) -> AnyResponse:
    session.update(next=request.full_path, asked_by=asked_by)
    return redirect("/login")


@site.route("/sso", methods=["GET", "POST"])
def sso() -> AnyResponse:
    sent, binding = (request.args, BINDING_HTTP_REDIRECT) if request.method == "GET" else (request.form, BINDING_HTTP_POST)
    asked = provider().parse_authn_request(
        sent["SAMLRequest"], binding, relay_state=sent.get("RelayState"), sigalg=sent.get("SigAlg"), signature=sent.get("Signature")
    )
    forced = asked.message.force_authn == "true" and session.get("fresh_for") != asked.message.id
    # The person may have been let go here while signed in.
    if session.get("user") not in settings()["people"] or forced:
        return _sign_in_first(asked.message.id)
    to = provider().response_args(asked.message, [BINDING_HTTP_POST])
    return _answer(to["sp_entity_id"], to["destination"], in_response_to=to["in_response_to"], relay_state=sent.get("RelayState", ""))


@site.get("/start")
def start() -> AnyResponse:
    if session.get("user") not in settings()["people"]:
        return _sign_in_first()
    sp = request.args["sp"]
    _, consumer = provider().pick_binding("assertion_consumer_service", [BINDING_HTTP_POST], entity_id=sp)
    # None, since an empty InResponseTo would be written and is none either.
    return _answer(sp, consumer, in_response_to=None, relay_state=request.args.get("relay_state", ""))


def _answer(sp: str, consumer: str, *, in_response_to: str | None, relay_state: str) -> AnyResponse:
    told, idp = settings(), provider()
    name_id = _name_id(sp)
    lasts = told["session_lasts"]
    ends = datetime.now(UTC) + timedelta(seconds=lasts) if lasts is not None else None
    answer = idp.create_authn_response(
        told["people"][session["user"]]["attributes"],
        in_response_to,
        consumer,
        sp,
        userid=session["user"],
        name_id=name_id,
        authn={"class_ref": told["authn_context"], "authn_auth": told["entity_id"], "authn_instant": session["since"]},
        sign_response=told["signed"] in ("both", "response"),
        sign_assertion=told["signed"] in ("both", "assertion"),
        sign_alg=SIG_RSA_SHA1 if told["outdated"] else SIG_RSA_SHA256,
        digest_alg=DIGEST_SHA1 if told["outdated"] else DIGEST_SHA256,
        encrypt_assertion=told["encrypted"],
        encrypt_assertion_self_contained=True,
        session_not_on_or_after=ends.strftime("%Y-%m-%dT%H:%M:%SZ") if ends else None,
    )
    indexes = [statement.session_index for statements in idp.session_db.get_authn_statements(name_id) for statement in statements]
    session["signed_into"] = {**session.get("signed_into", {}), sp: indexes[-1:]}
    posted = idp.apply_binding(BINDING_HTTP_POST, str(answer), consumer, relay_state, response=True)
    return Response(posted["data"], mimetype="text/html")


def _name_id(sp: str) -> Any:
    employee = settings()["people"][session["user"]]
    if settings()["name_id"] == "email":
        return NameID(format=NAMEID_FORMAT_EMAILADDRESS, text=employee["mail"])
    return NameID(
        format=NAMEID_FORMAT_PERSISTENT,
        text=employee["immutable_id"],
        name_qualifier=settings()["entity_id"],
        sp_name_qualifier=sp,
    )


@site.get("/logout")
def logout() -> AnyResponse:
    idp, sp = provider(), request.args["sp"]
    binding, to = idp.pick_binding("single_logout_service", [BINDING_HTTP_REDIRECT], "spsso", entity_id=sp)
    indexes = session.get("signed_into", {}).get(sp)
    _, asking = idp.create_logout_request(to, sp, name_id=_name_id(sp), session_indexes=indexes)
    session.clear()
    return _redirected(idp.apply_binding(binding, str(asking), to, "leaving", sign=True, sigalg=SIG_RSA_SHA256))


@site.get("/slo")
def slo() -> AnyResponse | str:
    idp, sent = provider(), request.args
    if "SAMLResponse" in sent:
        answer = idp.parse_logout_request_response(sent["SAMLResponse"], BINDING_HTTP_REDIRECT)
        status = answer.response.status.status_code.value.rpartition(":")[2]
        return f"<!doctype html><title>pysaml2</title><h1>Signed out</h1><p>{html.escape(status)}</p>"
    asked = idp.parse_logout_request(
        sent["SAMLRequest"],
        BINDING_HTTP_REDIRECT,
        relay_state=sent.get("RelayState"),
        sigalg=sent.get("SigAlg"),
        signature=sent.get("Signature"),
    )
    session.clear()
    answer = idp.create_logout_response(asked.message, [BINDING_HTTP_REDIRECT])
    to = idp.response_args(asked.message, [BINDING_HTTP_REDIRECT])["destination"]
    relay_state = sent.get("RelayState", "")
    return _redirected(
        idp.apply_binding(BINDING_HTTP_REDIRECT, str(answer), to, relay_state, response=True, sign=True, sigalg=SIG_RSA_SHA256)
    )


def _redirected(bound: dict[str, Any]) -> AnyResponse:
    return redirect(dict(bound["headers"])["Location"])


@site.get("/metadata")
def metadata() -> AnyResponse:
    return Response(str(entity_descriptor(provider().config)), mimetype="application/samlmetadata+xml")


if __name__ == "__main__":
    site.config["SETTINGS"] = sys.argv[1]
    site.run("127.0.0.1", settings()["port"], threaded=True)
