"""A company that signs in through the SAML provider of `saml_provider`, and a browser that does so."""

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
from app.audit import sequencer
from app.clock import now
from app.database import in_transaction, new_id, reading
from app.settings import Settings
from app.sso import connections, logins, saml
from app.sso.saml_setup import new_connection
from app.sso.verified import Verified
from tests.company import ADMIN, NOW, Company
from tests.keys_at_hand import keep_saml_keys_at_hand
from tests.saml_provider import Element, SAMLProvider, ServiceProvider, posted, provider, service_provider, unpacked

keep_saml_keys_at_hand()

BROWSER = "the secret that only this browser has"


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """A connection of a company to a provider, and what both know of each other."""

    app: Flask
    company: Company
    provider: SAMLProvider
    connection_id: str
    to: ServiceProvider

    @property
    def settings(self) -> Settings:
        found: Settings = self.app.config["DOORLIST"]
        return found

    def connection(self) -> Connection:
        with reading() as session:
            found = connections.find(session, self.connection_id)
        assert found is not None
        return found

    def set(self, **settings: Any) -> None:
        """Change settings of the connection as a whole."""

        def act(session: Session) -> None:
            found = connections.find(session, self.connection_id)
            assert found is not None
            connections.change(session, found, settings=settings, actor=ADMIN, at=NOW)

        in_transaction(act)

    def begins(self, *, browser: str = BROWSER, return_to: str = "/", force: bool = False, at: datetime = NOW) -> str:
        """Where the browser is sent to sign in."""
        return in_transaction(
            lambda session: saml.begin(session, self.settings, self.connection(), browser=browser, return_to=return_to, force=force, at=at)
        )

    def asks(self, **how: Any) -> str:
        """The ID of a new request."""
        return str(unpacked(self.begins(**how)).get("ID"))

    def comes_back(
        self, response: Element | bytes, *, browser: str | None = BROWSER, relay_state: str | None = None, at: datetime = NOW
    ) -> Verified:
        """Raises Refused."""
        return saml.verify(self.settings, self.connection(), posted(response), browser=browser, relay_state=relay_state, at=at)

    def responds(self, *, at: datetime = NOW, **changes: Any) -> Element:
        return self.provider.responds(self.to, at=at, **changes)

    def signs_in(self, *, at: datetime = NOW, **changes: Any) -> Verified:
        """From the beginning to what the provider vouches for. Raises Refused."""
        return self.comes_back(self.responds(at=at, in_response_to=self.asks(at=at), **changes), at=at)

    def posts(self, http: FlaskClient, response: Element | bytes, *, relay_state: str | None = None) -> TestResponse:
        """The browser brings a response to our door, from the provider's page."""
        form = {"SAMLResponse": posted(response), **({"RelayState": relay_state} if relay_state is not None else {})}
        return http.post(urlsplit(self.to.acs).path, data=form)


def connect(app: Flask, company: Company, provider: SAMLProvider, *, name: str = "acme", **settings: Any) -> Arrangement:
    """A connection, made as an operator makes it."""
    kept: Settings = app.config["DOORLIST"]
    connection_id = new_id()
    new = new_connection(kept, provider.metadata(), connection_id=connection_id, at=NOW)

    def act(session: Session) -> None:
        connections.add(
            session, company.organization_id, kind=ConnectionKind.SAML, name=name, issuer=new.issuer, settings={"saml": new.saml, **settings},
            sealed_secret=new.sealed_secret, connection_id=connection_id, actor=ADMIN, at=NOW,
        )  # fmt: skip

    in_transaction(act)
    with reading() as session:
        found = connections.find(session, connection_id)
        assert found is not None
        to = service_provider(saml.metadata(kept, found))
    return Arrangement(app=app, company=company, provider=provider, connection_id=connection_id, to=to)


@contextmanager
def browser_of(arrangement: Arrangement, *, secret: str = BROWSER) -> Iterator[FlaskClient]:
    """A browser with the cookie that ties a sign-in to it. The evidence of what was done before has caught up."""
    in_transaction(lambda session: sequencer.run_pass(session, at=now(), origin_of=lambda organization_id: f"tests/{organization_id}"))
    with arrangement.app.test_client() as http:
        http.set_cookie(logins.COOKIE, secret)
        yield http


def acme(app: Flask, company: Company, **settings: Any) -> Arrangement:
    return connect(app, company, provider(), **settings)
