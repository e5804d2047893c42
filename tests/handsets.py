"""Telephones with a chat application, and the gateway that pushes to them, as they meet the API of devices."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.access import issued, sessions
from app.access.parties import PartyDraft, find_party, open_party
from app.access.session_tables import PartyKind, TokenKind
from app.access.sessions import Authenticated, Limits
from app.clock import now
from app.database import in_transaction
from app.directory.tables import Person, StatementKind, Voice
from app.lifecycle.leaving import say
from tests.company import ADMIN, Company

PUSH = {"kind": "apns", "token": "0f744707bebcf74f9b7c25d48e3358945f6aa01da5ddb387462c7eaf61bbad78"}


@dataclass(frozen=True, kw_only=True)
class Handset:
    """An application on a device, signed in as somebody. `cookie` is of the browser in which they allowed it."""

    http: FlaskClient
    organization_id: str
    person_id: str
    client_id: str
    token: str = field(repr=False)
    cookie: str = field(repr=False)

    def calls(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        return self.http.open(path, method=method, json=body, headers={"Authorization": f"Bearer {self.token}", **headers})

    def enrols(self, *, name: str = "Ada's phone", platform: str = "ios", push: dict[str, Any] | None = PUSH) -> str:
        answer = self.calls("POST", "/devices", {"name": name, "platform": platform, "push": push})
        assert answer.status_code in (200, 201) and answer.json is not None, answer.text
        return str(answer.json["id"])

    def sees(self) -> list[dict[str, Any]]:
        answer = self.calls("GET", "/devices")
        assert answer.status_code == 200 and answer.json is not None, answer.text
        found: list[dict[str, Any]] = answer.json["devices"]
        return found


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """A push gateway of one organisation."""

    http: FlaskClient
    token: str = field(repr=False)

    def calls(self, method: str, path: str, body: Any = None) -> TestResponse:
        return self.http.open(path, method=method, json=body, headers={"Authorization": f"Bearer {self.token}"})

    def may_push(self, token: str = PUSH["token"], **more: str) -> bool:
        answer = self.calls("POST", "/push/check", {"push_token": token, **more})
        assert answer.status_code == 200 and answer.json is not None, answer.text
        return bool(answer.json["allowed"])

    def targets(self, person: str) -> list[dict[str, Any]]:
        answer = self.calls("GET", f"/push/people/{person}")
        assert answer.status_code == 200 and answer.json is not None, answer.text
        found: list[dict[str, Any]] = answer.json["push"]
        return found


def new_client(company: Company, name: str = "chat") -> str:
    """A public application that people's devices run."""
    draft = PartyDraft(name=name, redirect_uris=("com.example.chat:/back",), public=True, device_flow=True)
    return in_transaction(lambda session: open_party(session, company.organization_id, draft, actor=ADMIN, at=now())).client_id


def new_gateway(app: Flask, company: Company, name: str = "sygnal") -> Gateway:
    draft = PartyDraft(name=name, kind=PartyKind.GATEWAY)
    opened = in_transaction(lambda session: open_party(session, company.organization_id, draft, actor=ADMIN, at=now()))
    assert opened.secret is not None
    return Gateway(http=app.test_client(), token=opened.secret)


def handset_of(app: Flask, company: Company, person_id: str | None, client_id: str, *, own: bool = True) -> Handset:
    """Somebody signs in at an application on a device."""
    at = now()

    def act(session: Session) -> Handset:
        person = session.get_one(Person, (company.organization_id, person_id))
        _, cookie = sessions.start(session, person, Authenticated(connection_id=None, at=at), limits=Limits(), agent="Safari", at=at)
        here, party = sessions.check(session, cookie, at=at), find_party(session, client_id)
        assert here is not None and party is not None
        grant = issued.open_grant(session, here, party, scope="openid offline_access" if own else "openid", own=own, at=at)
        token = issued.issue(session, grant, TokenKind.ACCESS, at=at)
        return Handset(
            http=app.test_client(), organization_id=company.organization_id, person_id=person.id, client_id=client_id, token=token, cookie=cookie
        )

    return in_transaction(act)


def renewed(handset: Handset) -> Handset:
    """The same grant with a fresh access token."""

    def act(session: Session) -> str:
        row = issued.find_issued(session, handset.token, TokenKind.ACCESS)
        assert row is not None
        held = issued.hold_grant(session, handset.organization_id, row.grant_id, at=now())
        assert held is not None
        return issued.issue(session, held[0], TokenKind.ACCESS, at=now())

    return replace(handset, token=in_transaction(act))


def leaves(company: Company, person_id: str | None, *, kind: StatementKind = StatementKind.LEAVES) -> None:
    """An operator says that somebody has left, or is back."""
    assert person_id is not None
    in_transaction(
        lambda session: say(
            session, company.organization_id, person_id, voice=Voice.OPERATOR, kind=kind, said_by="ana", effective_at=now(), actor=ADMIN, at=now(),
            because="test",
        )
    )  # fmt: skip


def user_name_of(company: Company, person_id: str | None) -> str:
    return in_transaction(lambda session: session.scalars(select(Person.user_name).where(Person.id == person_id)).one())
