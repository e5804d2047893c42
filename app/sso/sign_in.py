"""The pages of signing in and out, and who is signed in at this browser."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Blueprint, Response, make_response, redirect, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import sessions
from app.access.connection_tables import Connection, ConnectionKind, Login
from app.access.sealing import KeyMissing
from app.access.session_tables import WebSession
from app.access.sessions import Present
from app.access.tokens import digest_of
from app.actors import Actor, ActorKind
from app.clock import iso, now
from app.database import in_transaction, reading
from app.directory.tables import Person
from app.journal import entries
from app.journal.tables import Lane, Organization
from app.lifecycle.roles import roles_of
from app.revocation.telling import tell_parties
from app.sso import oidc, oidc_logout, pages, saml, saml_logout
from app.sso.browser import (
    browser_secret,
    comes_from_here,
    drop_session,
    forget_provider,
    glance,
    held,
    present,
    remembered_provider,
    respond_refused,
    settings_here,
)
from app.sso.connections import Way, domain_of, find, no_such, settings_of, way_of, ways_of_domain
from app.sso.entering import remembered
from app.sso.logins import local_path
from app.sso.pace import too_fast
from app.sso.refusals import Reason, Refused, log

sign_in: Final = Blueprint("sign_in", __name__)
LONGEST_EMAIL: Final = 254
LONGEST_ACR: Final = 1000
JSON: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Where somebody wants to go, and how they are to prove who they are. It goes along from page to page."""

    to: str
    email: str
    fresh: bool
    acr_values: str

    def kept(self) -> dict[str, str]:
        """As it stands in links and forms; the e-mail is typed."""
        said = {"fresh": "1" if self.fresh else "", "acr_values": self.acr_values}
        return {"to": self.to, **{name: value for name, value in said.items() if value}}


def _wish(sent: Mapping[str, str]) -> Wish:
    acr_values = sent.get("acr_values", "")
    return Wish(
        to=local_path(sent.get("to")), email=sent.get("email", "")[:LONGEST_EMAIL].strip(), fresh="1" in (sent.get("fresh"), sent.get("again")),
        acr_values=acr_values if len(acr_values) <= LONGEST_ACR and acr_values.isprintable() else "",
    )  # fmt: skip


@sign_in.get("/sign-in")
def ask() -> Response:
    """E-mail first; `connection` goes straight to that provider, `fresh=1` asks again for who is signed in, `to` is where to go then.

    `acr_values` says how an application wants them to prove who they are.
    """
    if (wait := too_fast()) is not None:
        return wait
    wish = _wish(request.args)
    here = present()
    chosen = request.args.get("connection")
    if chosen is not None:
        return _begin(chosen, wish)
    if "other" in request.args:
        response = _page(wish)
        forget_provider(response)
        return response
    if here is not None and not wish.fresh:
        return _onto(wish.to)
    if here is not None and here.connection_id is not None:
        # Only the provider that vouched for them can vouch anew.
        return _begin(here.connection_id, wish)
    known = remembered_provider()
    way = None
    if known is not None:
        with reading() as session:
            way = way_of(session, known)
    return _page(wish, remembered=way)


@sign_in.post("/sign-in")
def find_provider() -> Response:
    """From an e-mail address to the provider of its domain. Nobody is looked up, so the answer is the same whoever exists."""
    if not comes_from_here():
        return pages.render("wrong", status=403)
    wish = _wish(request.form)
    if (wait := too_fast(email=wish.email)) is not None:
        return wait
    domain = domain_of(wish.email.rpartition("@")[2]) if "@" in wish.email else None
    if domain is None:
        return _page(wish, wrong="form", status=400)
    with reading() as session:
        ways = ways_of_domain(session, domain)
    if not ways:
        return _page(wish, wrong="domain")
    if len(ways) > 1:
        return pages.render("choose", ways=ways, kept=wish.kept(), email=wish.email)
    return _begin(ways[0].connection_id, wish, named=ways[0])


def _page(wish: Wish, *, remembered: Way | None = None, wrong: str | None = None, status: int = 200) -> Response:
    return pages.render("sign_in", status=status, kept=wish.kept(), email=wish.email, remembered=remembered, wrong=wrong)


def _onto(url: str) -> Response:
    response = make_response(redirect(url, code=303))
    response.headers.update(pages.HEADERS)
    return response


def _begin(connection_id: str, wish: Wish, *, named: Way | None = None) -> Response:
    """Send the browser to a provider: at once, or after a form by a page, since a form's redirect may not lead elsewhere."""
    browser, at = browser_secret(), now()
    settings = settings_here()

    def act(session: Session) -> str:
        connection = find(session, connection_id)
        if connection is None:
            raise no_such(session, connection_id, "there is no such connection, or it has ended")
        acr_values = settings_of(connection).stronger(wish.acr_values.split())
        how: dict[str, Any] = {"browser": browser, "return_to": wish.to, "force": wish.fresh, "acr_values": acr_values, "at": at}
        if connection.kind == ConnectionKind.SAML:
            url = saml.begin(session, settings, connection, **how)
        else:
            url = oidc.begin(session, settings, connection, login_hint=wish.email or None, **how)
        replaces = held(session, at)
        if replaces is not None:
            _remember_replaced(session, connection, browser, replaces, at=at)
        return url

    try:
        url = in_transaction(act)
    except Refused as error:
        return respond_refused(error)
    except KeyMissing as error:
        return respond_refused(Refused(Reason.CLOSED, str(error), connection_id=connection_id))
    return _onto(url) if named is None else pages.onward(url, to=named.connection)


def _remember_replaced(session: Session, connection: Connection, browser: str, replaces: WebSession, *, at: datetime) -> None:
    # The answer may come by a POST from elsewhere, along with which the session's cookie does not come.
    rows = session.scalars(
        select(Login).where(
            Login.organization_id == connection.organization_id, Login.connection_id == connection.id,
            Login.browser_digest == digest_of(browser), Login.created_at == at, Login.used_at.is_(None),
        )
    )  # fmt: skip
    for row in rows:
        row.asked = {**row.asked, "replaces": remembered(organization_id=replaces.organization_id, session_id=replaces.id)}


@sign_in.get("/session")
def show_session() -> Response:
    """Who is signed in at this browser, and until when, as JSON; 401 as problem JSON where nobody is. Asking does not prolong it."""
    here = glance()
    if here is None:
        body = {"type": "about:blank", "status": 401, "title": "Not signed in", "detail": "nobody is signed in at this browser, or no longer"}
        return Response(json.dumps(body), status=401, headers=JSON, content_type="application/problem+json")
    with reading() as session:
        shown = _shown(session, here)
    return Response(json.dumps(shown), headers=JSON, content_type="application/json")


def _shown(session: Session, here: Present) -> dict[str, Any]:
    person = session.get_one(Person, (here.organization_id, here.person_id))
    organization = session.get_one(Organization, here.organization_id)
    return {
        "person": {"id": person.id, "userName": person.user_name, "displayName": person.display_name, "email": person.email},
        "organization": {"id": organization.id, "name": organization.name},
        "session": here.session_id, "connection": here.connection_id, "authenticated_at": iso(here.authenticated_at),
        "acr": here.acr, "amr": list(here.amr), "second_factor": here.strong, "break_glass": here.break_glass,
        "roles": [str(role) for role in roles_of(session, here.organization_id, here.person_id)],
        "since": iso(here.created_at), "until": iso(here.until), "idle_until": iso(here.idle_until), "expires_at": iso(here.expires_at),
    }  # fmt: skip


@sign_in.get("/sign-out")
def confirm_sign_out() -> Response:
    """Asks, since a link must not sign anybody out."""
    here = present()
    with reading() as session:
        gone = here is None and held(session, now()) is None
    return pages.render("signed_out") if gone else pages.render("sign_out", name=here.display_name if here is not None else None)


@sign_in.post("/sign-out")
def sign_out() -> Response:
    """End this browser's session, tell the applications that rest on it, and go on to the provider's own sign-out where it has one."""
    if not comes_from_here():
        return pages.render("wrong", status=403)
    at, browser = now(), browser_secret()

    def act(session: Session) -> str | None:
        here = held(session, at)
        if here is None:
            return None
        entry = entries.write(
            session, here.organization_id, at=at, actor=Actor(kind=ActorKind.PERSON, name=here.person_id), verb="signed out",
            because="their own wish", subject_kind="person", subject_id=here.person_id, after={"session": here.id},
        )  # fmt: skip
        sessions.end(session, here.organization_id, here.id, why="signed out", at=at)
        tell_parties(session, here.organization_id, here.person_id, because=entry, at=at, lane=Lane.SYNC)
        return _upstream(session, here, browser=browser, at=at)

    upstream = in_transaction(act)
    response = pages.render("signed_out") if upstream is None else pages.onward(upstream, to=urlsplit(upstream).netloc)
    drop_session(response)
    return response


def _upstream(session: Session, held: WebSession, *, browser: str, at: datetime) -> str | None:
    """Where the provider ends its own session, if it can. Whatever stands in the way of that, the session here is over."""
    settings = settings_here()
    connection = find(session, held.connection_id) if held.connection_id is not None else None
    if connection is None:
        return None
    try:
        if connection.kind == ConnectionKind.OIDC:
            return oidc_logout.end_session_url(settings, connection, held)
        return saml_logout.begin(session, settings, connection, held, browser=browser, return_to="/sign-out", at=at)
    except (Refused, KeyMissing) as error:
        log.warning("signing out at %s was not begun: %s", connection.name, error)
        return None
