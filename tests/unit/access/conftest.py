"""A directory on both databases, made an OAuth client where a test needs one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from app.access.clients import Opened, open_client
from app.actors import Actor, ActorKind
from app.clock import now
from app.database import transaction
from app.journal.tables import Organization
from tests.clients.directory import Directory, directory_on

OPERATOR = Actor(kind=ActorKind.HOST, name="test")
TOKEN_URL = "http://127.0.0.1:8484/oauth2/token"


@dataclass(frozen=True, kw_only=True)
class Applicant:
    """A directory that gets in by OAuth, and the endpoint as it asks it."""

    directory: Directory
    opened: Opened

    def asks(self, **form: str) -> TestResponse:
        """POST to the token endpoint."""
        return self.directory.http.post("/oauth2/token", data={"grant_type": "client_credentials", **form})

    def asks_in_the_header(self, name: str, secret: str, **form: str) -> TestResponse:
        return self.directory.http.post("/oauth2/token", data={"grant_type": "client_credentials", **form}, auth=(name, secret))

    def asks_with_secret(self, **form: str) -> TestResponse:
        return self.asks(client_id=self.opened.client_id, client_secret=str(self.opened.secret), **form)

    def asks_with(self, assertion: str, **form: str) -> TestResponse:
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        return self.asks(client_assertion_type=kind, client_assertion=assertion, **form)

    def opens(self, token: str) -> bool:
        """Whether a token is let in at the SCIM door."""
        status = self.directory.send("GET", "/ServiceProviderConfig", Authorization=f"Bearer {token}").status
        assert status in (200, 401)
        return status == 200


def organization_of(directory: Directory) -> str:
    with directory.app.app_context(), transaction() as session:
        return session.scalars(select(Organization.id)).one()


def applicant_at(directory: Directory, *, jwks: Mapping[str, Any] | None = None) -> Applicant:
    """Make the directory an OAuth client."""
    organization_id = organization_of(directory)
    with directory.app.app_context(), transaction() as session:
        opened = open_client(session, organization_id, directory.source_id, jwks=jwks, actor=OPERATOR, at=now())
    return Applicant(directory=directory, opened=opened)


@pytest.fixture
def directory(database_url: str, tmp_path: Path) -> Iterator[Directory]:
    with directory_on(database_url, tmp_path) as found, found.app.app_context():
        yield found


@pytest.fixture
def applicant(directory: Directory) -> Applicant:
    return applicant_at(directory)
