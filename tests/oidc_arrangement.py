"""A company that signs in through the OpenID provider of `oidc_stand_in`, and a browser that does so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.access.connection_tables import Connection, ConnectionKind
from app.access.published_keys import KEYS, PublishedKeys
from app.access.sealing import seal
from app.clock import now
from app.database import in_transaction, reading
from app.settings import Settings
from app.sso import connections, oidc
from app.sso.oidc_setup import discover
from app.sso.refusals import Refused
from app.sso.verified import Verified
from tests.company import ADMIN, Company
from tests.oidc_stand_in import CLIENT_ID, CLIENT_SECRET, StandIn, stand_in
from tests.vouching import caught_up

BROWSER = "the secret that only this browser has"


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """A connection of a company to a provider. A sign-in here is taken as far as `Verified`; over HTTP it goes to the end."""

    app: Flask
    company: Company
    provider: StandIn
    connection_id: str

    @property
    def settings(self) -> Settings:
        found: Settings = self.app.config["DOORLIST"]
        return found

    def connection(self) -> Connection:
        with reading() as session:
            found = connections.find(session, self.connection_id)
        assert found is not None
        return found

    def set(self, **oidc_settings: Any) -> None:
        """Change settings of the OpenID part of the connection."""

        def act(session: Session) -> None:
            found = connections.find(session, self.connection_id)
            assert found is not None
            kept = {**found.settings["oidc"], **oidc_settings}
            connections.change(
                session, found, settings={"oidc": {name: value for name, value in kept.items() if value is not None}}, actor=ADMIN, at=now()
            )

        in_transaction(act)

    def set_directory_key(self, attribute: str, matches: str) -> None:
        def act(session: Session) -> None:
            found = connections.find(session, self.connection_id)
            assert found is not None
            connections.change(session, found, settings={"directory_id": {"attribute": attribute, "matches": matches}}, actor=ADMIN, at=now())

        in_transaction(act)

    def begins(
        self, *, browser: str = BROWSER, return_to: str = "/", force: bool = False, at: datetime | None = None, login_hint: str | None = None
    ) -> str:
        return in_transaction(
            lambda session: oidc.begin(
                session, self.settings, self.connection(), browser=browser, return_to=return_to, force=force, at=at or now(),
                login_hint=login_hint,
            )
        )  # fmt: skip

    def comes_back(self, answer: dict[str, str], *, browser: str | None = BROWSER, at: datetime | None = None) -> Verified:
        """Raises Refused."""
        taken = in_transaction(
            lambda session: oidc.take_answer(session, self.settings, self.connection(), answer, browser=browser, at=at or now())
        )
        if isinstance(taken, Refused):
            raise taken
        return oidc.exchange(taken, clock=now)

    def signs_in(self, **begun: Any) -> Verified:
        """From the beginning to what the provider vouches for. Raises Refused."""
        return self.comes_back(self.provider.answers(self.begins(**begun)))


def connect(app: Flask, company: Company, provider: StandIn, *, name: str = "stand-in", client_id: str = CLIENT_ID, **settings: Any) -> Arrangement:
    """Another connection, as an operator makes it."""
    found = discover(provider.issuer, allow_private=True)

    def act(session: Session) -> str:
        made = connections.add(
            session, company.organization_id, kind=ConnectionKind.OIDC, name=name, issuer=provider.issuer,
            settings={"oidc": {**found, "client_id": client_id}, **settings}, sealed_secret=seal(app.config["DOORLIST"], CLIENT_SECRET),
            actor=ADMIN, at=now(),
        )  # fmt: skip
        return made.id

    return Arrangement(app=app, company=company, provider=provider, connection_id=in_transaction(act))


@contextmanager
def arranged(app: Flask, company: Company, **settings: Any) -> Iterator[Arrangement]:
    """A provider that runs until the end of the block, and a connection to it. What other tests' providers published is forgotten."""
    with stand_in() as provider:
        yield connect(app, company, provider, **settings)


def forget_keys() -> None:
    """Ask for every key set anew, as a fresh process would."""
    fresh = PublishedKeys()
    KEYS.clock = fresh.clock
    KEYS._kept.clear()


def goes(http: FlaskClient, url: str) -> TestResponse:
    """The browser follows a URL of ours."""
    parts = urlsplit(url)
    return http.get(f"{parts.path}?{parts.query}" if parts.query else parts.path)


def signed_in(arrangement: Arrangement) -> FlaskClient:
    """A browser in which somebody has just signed in, from the sign-in page on."""
    http = arrangement.app.test_client()
    came = tries(arrangement, http, to="/access")
    assert (came.status_code, came.headers.get("Location")) == (303, "/access"), came.text
    return http


def tries(arrangement: Arrangement, http: FlaskClient, *, to: str = "/") -> TestResponse:
    """What a browser gets that comes back from the provider."""
    caught_up(now())
    begun = http.get("/sign-in", query_string={"connection": arrangement.connection_id, "to": to})
    assert begun.status_code == 303, begun.text
    answer = arrangement.provider.answers(begun.headers["Location"])
    return http.get(f"/oidc/{arrangement.connection_id}/callback", query_string=answer)


def is_in(http: FlaskClient) -> bool:
    """Whether this browser is signed in."""
    status = http.get("/session").status_code
    assert status in (200, 401)
    return status == 200
