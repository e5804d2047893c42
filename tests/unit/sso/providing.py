"""An organisation whose people enter an application through Doorlist, without a network in between."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from flask import Flask
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import Update
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.access import keys
from app.access.parties import OpenedParty, PartyDraft, open_party
from app.access.session_tables import PartyKind, RelyingParty
from app.access.sessions import Authenticated, Limits, start
from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Person, Record, StatementKind, Voice
from app.lifecycle import leaving
from tests.company import ADMIN, Company, new_company

CALLBACK = "https://chat.example/callback"
GOODBYE = "https://chat.example/goodbye"
ISSUER = "http://127.0.0.1:8484"
COOKIE = "doorlist_session"
VERIFIER = "a-verifier-of-the-usual-length-which-is-43-letters-or-more"


def challenge_of(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@dataclass(frozen=True, kw_only=True)
class Application:
    """A relying party, and what it sends."""

    app: Flask
    company: Company
    client_id: str
    secret: str | None

    def asks(self, path: str, **form: str) -> TestResponse:
        """POST with the client's own proof."""
        return self.sends(path, form)

    def sends(self, path: str, form: Mapping[str, str], *, in_header: bool = True) -> TestResponse:
        http = self.app.test_client()
        if self.secret is None:
            return http.post(path, data={"client_id": self.client_id, **form})
        if in_header:
            return http.post(path, data=dict(form), auth=(self.client_id, self.secret))
        return http.post(path, data={"client_id": self.client_id, "client_secret": self.secret, **form})

    def exchanges(self, code: str, **form: str) -> TestResponse:
        given = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
        return self.sends("/token", {**given, **form})

    def refreshes(self, token: str, **form: str) -> TestResponse:
        return self.sends("/token", {"grant_type": "refresh_token", "refresh_token": token, **form})

    def introspects(self, token: str) -> dict[str, Any]:
        answer = self.asks("/introspect", token=token)
        assert answer.status_code == 200, answer.text
        return dict(answer.json or {})

    def is_good(self, token: str) -> bool:
        return self.introspects(token)["active"] is True

    def reads(self, id_token: str) -> dict[str, Any]:
        """The claims of an ID token, checked with the published keys alone."""
        published = self.app.test_client().get("/jwks").json
        read = jwt.decode(id_token, KeySet.import_key_set(published), algorithms=["ES256", "PS256", "EdDSA"], registry=keys.REGISTRY)  # type: ignore[arg-type]  # joserfc's own name for such an object
        return dict(read.claims)

    @property
    def party(self) -> RelyingParty:
        with reading() as session:
            return session.get_one(RelyingParty, (self.company.organization_id, self.client_id))


@dataclass(frozen=True, kw_only=True)
class Employee:
    """Somebody who is signed in at a browser. `cookie` is its session."""

    app: Flask
    company: Company
    record: Record
    cookie: str
    session_id: str

    @property
    def id(self) -> str:
        return self.record.person_id

    @property
    def person(self) -> Person:
        return self.company.person(self.record)

    def browses(self, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, **form: str) -> TestResponse:
        http = self.app.test_client()
        http.set_cookie(COOKIE, self.cookie)
        said = {"Sec-Fetch-Site": "same-origin", **(headers or {})}
        return http.open(path, method=method, data=form or None, headers=said)

    def enters(self, application: Application, **asked: str) -> TestResponse:
        """The browser at /authorize."""
        return self.browses("/authorize?" + "&".join(f"{name}={_quoted(value)}" for name, value in wished(application, **asked).items()))

    def code_for(self, application: Application, **asked: str) -> str:
        answer = self.enters(application, **asked)
        assert answer.status_code == 303, answer.text
        return said_back(answer)["code"]

    def tokens_for(self, application: Application, **asked: str) -> dict[str, Any]:
        answer = application.exchanges(self.code_for(application, **asked))
        assert answer.status_code == 200, answer.text
        return dict(answer.json or {})

    def departs(self, *, at: datetime | None = None) -> None:
        self._is_said(StatementKind.LEAVES, at or now())

    def returns(self) -> None:
        self._is_said(StatementKind.RETURNS, now())

    def departs_in(self, session: Session) -> None:
        """In a transaction that is not committed yet."""
        self._say(session, StatementKind.LEAVES, now())

    def _is_said(self, kind: StatementKind, at: datetime) -> None:
        in_transaction(lambda session: self._say(session, kind, at))

    def _say(self, session: Session, kind: StatementKind, at: datetime) -> None:
        leaving.say(
            session, self.company.organization_id, self.id, voice=Voice.OPERATOR, kind=kind, said_by="ana", effective_at=at, actor=ADMIN, at=at,
            because="test",
        )  # fmt: skip

    def signs_in_again(self, how: Authenticated | None = None, *, limits: Limits | None = None, at: datetime | None = None) -> Employee:
        instant = at or now()

        def act(session: Session) -> tuple[str, str]:
            person = session.get_one(Person, (self.company.organization_id, self.id))
            row, cookie = start(
                session, person, how or Authenticated(connection_id=None, at=instant), limits=limits or Limits(), agent="test", at=instant
            )
            return row.id, cookie

        session_id, cookie = in_transaction(act)
        return replace(self, cookie=cookie, session_id=session_id)


def wished(application: Application, **asked: str) -> dict[str, str]:
    """The parameters of an ordinary authorization request. An empty one is left out."""
    usual = {
        "response_type": "code", "client_id": application.client_id, "redirect_uri": CALLBACK, "scope": "openid profile email",
        "state": "a state", "nonce": "a nonce", "code_challenge": challenge_of(VERIFIER), "code_challenge_method": "S256",
    }  # fmt: skip
    return {name: value for name, value in {**usual, **asked}.items() if value}


def said_back(answer: TestResponse) -> dict[str, str]:
    """What an answer of /authorize tells the application."""
    location = urlsplit(answer.headers["Location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == CALLBACK, answer.headers["Location"]
    return {name: value for name, (value,) in parse_qs(location.query).items()}


def change(statement: Update) -> None:
    """Put rows into a state that would take its time to come about."""

    def act(session: Session) -> None:
        session.execute(statement)

    in_transaction(act)


def error_of(answer: TestResponse) -> str:
    assert answer.status_code in (400, 401), answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return str((answer.json or {})["error"])


def application_in(app: Flask, company: Company, **draft: Any) -> Application:
    wanted = PartyDraft(
        **{
            "name": f"chat {secrets.token_hex(4)}", "redirect_uris": (CALLBACK,), "post_logout_redirect_uris": (GOODBYE,),
            "backchannel_logout_uri": "https://chat.example/logged-out", **draft,
        }
    )  # fmt: skip
    opened: OpenedParty = in_transaction(lambda session: open_party(session, company.organization_id, wanted, actor=ADMIN, at=now()))
    return Application(app=app, company=company, client_id=opened.client_id, secret=opened.secret)


def gateway_in(app: Flask, company: Company) -> Application:
    return application_in(
        app, company, kind=PartyKind.GATEWAY, redirect_uris=(), post_logout_redirect_uris=(), backchannel_logout_uri=None
    )


def employee_of(app: Flask, company: Company, user_name: str = "ada@northwind.example", how: Authenticated | None = None) -> Employee:
    record = company.joins(user_name, user_name.partition("@")[0], at=now() - timedelta(minutes=1))
    return Employee(app=app, company=company, record=record, cookie="", session_id="").signs_in_again(how)


@dataclass(frozen=True, kw_only=True)
class House:
    """One organisation, one application of it, and Ada, who is signed in."""

    app: Flask
    company: Company
    application: Application
    ada: Employee

    def another(self) -> House:
        """Another organisation of the same installation."""
        return house_of(self.app)


def house_of(app: Flask) -> House:
    company = new_company()
    return House(app=app, company=company, application=application_in(app, company), ada=employee_of(app, company))


def to_sign_in(location: str) -> dict[str, str]:
    """What the browser is to say there, of an address to which it was sent."""
    parts = urlsplit(location)
    assert parts.path == "/sign-in" and not parts.netloc
    return {name: value for name, (value,) in parse_qs(parts.query).items()}


def header_of(token: str) -> dict[str, Any]:
    part = token.partition(".")[0]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def _quoted(value: str) -> str:
    return quote(value, safe="")
