"""The addresses at which OpenID providers, and people on their way back from them, reach us: one set for each connection."""

import json
import logging
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from flask import Blueprint, Response, redirect, request
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from app.access.callers import address_of_caller
from app.access.connection_tables import Connection, ConnectionKind
from app.access.keys import NoSigningKey
from app.access.published_keys import KEYS
from app.access.rates import Buckets
from app.access.sealing import KeyMissing
from app.clock import now
from app.database import in_transaction, reading
from app.sso import oidc, oidc_logout
from app.sso.browser import browser_secret, respond_entered, respond_refused, settings_here
from app.sso.connections import find, no_such
from app.sso.entering import enter
from app.sso.logins import local_path
from app.sso.pace import too_fast
from app.sso.refusals import Reason, Refused
from connectors.contract import ConnectorError

log = logging.getLogger(__name__)
oidc_blueprint: Final = Blueprint("oidc", __name__, url_prefix="/oidc")

LONGEST: Final = 8192
_NOT_KEPT: Final = {"Cache-Control": "no-store"}
# A provider that ends a thousand sessions at once sends a thousand messages; somebody who makes them up sends more.
_logouts: Final = Buckets(rate=50, burst=1000)


@oidc_blueprint.get("/<connection_id>/callback")
def come_back(connection_id: str) -> Response:
    """Take somebody who comes back from their provider: in, or to a calm page that says why not."""
    if (wait := too_fast()) is not None:
        return wait
    at = now()
    try:
        connection = _connection(connection_id)
        answer = _once_each(request.args, connection)
        settings = settings_here()
        browser = browser_secret()
        taken = in_transaction(lambda session: oidc.take_answer(session, settings, connection, answer, browser=browser, at=at))
        if isinstance(taken, Refused):
            raise taken
        verified = oidc.exchange(taken, clock=now)
        return respond_entered(enter(settings, verified, agent=request.user_agent.string, at=now()))
    except Refused as error:
        return respond_refused(error)
    except (KeyMissing, NoSigningKey) as error:
        return respond_refused(Refused(Reason.CLOSED, str(error), connection_id=connection_id))


@oidc_blueprint.route("/<connection_id>/login", methods=["GET", "POST"])
def begin_elsewhere(connection_id: str) -> Response:
    """Begin a sign-in that somebody started at their provider (OpenID Connect Core §4): it still comes back only to this browser."""
    if (wait := too_fast()) is not None:
        return wait
    at = now()
    try:
        connection = _connection(connection_id)
        asked = _once_each(request.values if request.method == "POST" else request.args, connection)
        if asked.get("iss") != connection.issuer:
            raise Refused(Reason.OTHER_ISSUER, "the sign-in was started for another issuer than this connection's", connection_id=connection.id)
        url = in_transaction(
            lambda session: oidc.begin(
                session, settings_here(), connection, browser=browser_secret(), return_to=_own_path(asked.get("target_link_uri")),
                force=False, login_hint=asked.get("login_hint"), at=at,
            )
        )  # fmt: skip
    except Refused as error:
        return respond_refused(error)
    except KeyMissing as error:
        return respond_refused(Refused(Reason.CLOSED, str(error), connection_id=connection_id))
    answer: Response = redirect(url, code=303)  # type: ignore[assignment]  # Flask's own; the stub names the wider class
    answer.headers.update({**_NOT_KEPT, "Referrer-Policy": "no-referrer"})
    return answer


@oidc_blueprint.post("/<connection_id>/logout")
def hear_logout(connection_id: str) -> Response:
    """End the sessions that a provider names over the back channel (Back-Channel Logout 1.0 §2.8): 200 once that is committed, else 400."""
    at = now()
    if _logouts.take(f"{connection_id[:40]} {address_of_caller()}"):
        return _said(429, "slow_down", "too many logout tokens at once", headers={"Retry-After": "1"})
    try:
        connection = _connection(connection_id)
        provider = oidc.settings_for_sign_in(connection)
        token = _once_each(request.form, connection).get("logout_token", "")
        proved = oidc.prove(connection.id, provider, token, came=KEYS.clock())
        notice = oidc_logout.notice_of(proved, connection, provider, at=at)

        def act(session: Session) -> int:
            return oidc_logout.end_sessions(session, connection, provider, notice, at=at)

        ended = in_transaction(act)
    except Refused as error:
        log.warning("logout token refused %s: %s: %s", error.reference, error.reason, error)
        return _said(400, "invalid_request", f"{error} ({error.reference})")
    except ConnectorError as error:
        # Not the sender's fault: its keys cannot be read just now, or this one may be newer than they are. It may try again.
        log.warning("logout token not checked: %s", error)
        return _said(503, "temporarily_unavailable", "the provider's keys cannot be read anew just now; try again", headers={"Retry-After": "5"})
    log.info("signed out by provider: connection %s, %d sessions", connection_id, ended)
    return Response("", status=200, headers=_NOT_KEPT)


@oidc_blueprint.get("/<connection_id>/signed-out")
def signed_out(connection_id: str) -> Response:
    """Where a provider sends people whom it has signed out."""
    answer: Response = redirect("/sign-in", code=303)  # type: ignore[assignment]  # Flask's own; the stub names the wider class
    answer.headers.update(_NOT_KEPT)
    return answer


def _connection(connection_id: str) -> Connection:
    with reading() as session:
        known = find(session, connection_id, kind=ConnectionKind.OIDC)
        if known is None:
            raise no_such(session, connection_id, "there is no such connection to an OpenID provider, or it has ended")
    return known


def _once_each(values: "MultiDict[str, str]", connection: Connection) -> Mapping[str, str]:
    """The parameters of a request. One that is there twice could be read one way here and another way elsewhere (RFC 6749 §3.1)."""
    found = {name: value for name, value in values.items() if value}
    if any(len(said) > 1 for _, said in values.lists()) or sum(map(len, found.values())) > LONGEST * 8:
        raise Refused(Reason.BAD_MESSAGE, "a parameter of the answer is there twice, or it is far too long", connection_id=connection.id)
    if any(not _is_sent(name, value) for name, value in found.items()):
        raise Refused(Reason.BAD_MESSAGE, "a parameter of the answer holds what no provider sends", connection_id=connection.id)
    return found


def _is_sent(name: str, value: str) -> bool:
    # Words for people have lines where they come from Entra ("AADSTS65004: …\r\nTrace ID: …"), and blanks of their own language.
    return name in ("error_description", "error_uri") or (value.isprintable() and (name not in ("state", "iss") or len(value) <= LONGEST))


def _own_path(target: str | None) -> str:
    """The path of a URL of our own, else `/`: nobody is sent elsewhere because a link said so."""
    if not target:
        return "/"
    public = urlsplit(settings_here().public_url)
    try:
        wanted = urlsplit(target)
    except ValueError:
        return "/"
    if (wanted.scheme, wanted.netloc) not in ((public.scheme, public.netloc), ("", "")):
        return "/"
    return local_path(wanted.path + (f"?{wanted.query}" if wanted.query else ""))


def _said(status: int, error: str, description: str, *, headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps({"error": error, "error_description": description})
    return Response(body, status=status, headers={**_NOT_KEPT, **(headers or {})}, content_type="application/json")
