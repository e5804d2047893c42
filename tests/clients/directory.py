"""A directory that pushes over SCIM into an application of its own, without a network in between."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from app.access import tokens
from app.actors import Actor, ActorKind
from app.assembly import create_app
from app.clock import now
from app.database import db, new_id, transaction
from app.directory.tables import Source
from app.journal import entries
from app.journal.tables import Entry, Organization
from app.settings import from_environment
from tests.clients.transcript import Answer
from tests.databases import let_go, migrated

OKTA = Actor(kind=ActorKind.HOST, name="test")


@dataclass(frozen=True, kw_only=True)
class Directory:
    """`token` opens `base`; requests go to it unless they name another path."""

    app: Flask
    http: FlaskClient
    source_id: str
    token: str

    @property
    def base(self) -> str:
        return f"/scim/v2/{self.source_id}"

    def __call__(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        # Flask's client takes a path as it would stand in a browser's address bar.
        address, _, query = path.partition("?")
        response = self.http.open(
            self.base + address, method=method, query_string=query, headers=dict(headers), data=body
        )
        return Answer(status=response.status_code, headers=dict(response.headers), text=response.text)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request as a well-behaved client sends it; a text or bytes as body is sent raw."""
        raw = (
            body
            if isinstance(body, bytes)
            else body.encode()
            if isinstance(body, str)
            else json.dumps(body).encode()
        )
        said = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/scim+json"}
        sent = {**said, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self(method, path, sent, None if body is None else raw)

    def patch(self, path: str, *operations: dict[str, Any]) -> Answer:
        return self.send("PATCH", path, {"schemas": [PATCH_URN], "Operations": list(operations)})

    def add_user(self, user_name: str, **attributes: Any) -> str:
        """Push somebody who is not there yet; gives the id."""
        answer = self.send("POST", "/Users", {"userName": user_name, **attributes})
        assert answer.status == 201, answer.text
        return str(answer.document["id"])

    def written(self) -> int:
        """How many journal entries there are: what was refused leaves none."""
        with self.app.app_context(), transaction() as session:
            return session.scalar(select(func.count()).select_from(Entry)) or 0

    def beside(self, name: str) -> Directory:
        """Another directory of the same organisation."""
        with self.app.app_context(), transaction() as session:
            organization_id = session.scalars(select(Organization.id)).one()
            source_id, token = _add_source(session, organization_id, name)
        return replace(self, source_id=source_id, token=token)

    def elsewhere(self) -> Directory:
        """A directory of another organisation on the same installation."""
        with self.app.app_context(), transaction() as session:
            organization = Organization(id=new_id(), name="Elsewhere", settings={}, created_at=now())
            session.add(organization)
            session.flush()
            source_id, token = _add_source(session, organization.id, "okta")
        return replace(self, source_id=source_id, token=token)


PATCH_URN = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


def _add_source(session: Any, organization_id: str, name: str) -> tuple[str, str]:
    at, source_id = now(), new_id()
    entry = entries.write(
        session, organization_id, at=at, actor=OKTA, verb="source added", because="test", subject_kind="source",
        subject_id=source_id,
    )  # fmt: skip
    session.add(
        Source(
            organization_id=organization_id,
            id=source_id,
            kind="scim",
            name=name,
            created_at=at,
            journal_id=entry,
        )
    )
    session.flush()
    token = tokens.issue(session, organization_id, holder_kind="source", holder_id=source_id, at=at)
    return source_id, token


@contextmanager
def directory_on(database_url: str, home: Path) -> Iterator[Directory]:
    """A directory of an organisation of its own, on a fresh database."""
    environment = {"DATABASE_URL": database_url, "DOORLIST_HOME": str(home)}
    app = create_app(from_environment(environment))
    with app.app_context():
        migrated()
        organization_id = new_id()
        with transaction() as session:
            session.add(Organization(id=organization_id, name="Northwind", created_at=now()))
            session.flush()
            source_id, token = _add_source(session, organization_id, "okta")
    try:
        yield Directory(app=app, http=app.test_client(), source_id=source_id, token=token)
    finally:
        let_go(database_url)
        with app.app_context():
            db.engine.dispose()
