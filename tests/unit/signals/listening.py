"""Somebody who follows our signals: pushed to, or fetching; a stand-in that checks what it gets with our published keys."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.access.keys import REGISTRY, jwks
from app.clock import Clock, now
from app.database import in_transaction, reading
from app.delivery.worker import Worker
from app.journal.tables import Lane, Work
from app.revocation.stream_tables import Stream
from app.revocation.tables import Proof
from app.signals import receivers
from tests.company import ADMIN
from tests.unit.signals.stage import Stage

ENDPOINT = "https://chat.example/signals"
PUSH = {"method": "urn:ietf:rfc:8935", "endpoint_url": ENDPOINT, "authorization_header": "Bearer theirs"}


@dataclass(kw_only=True)
class Listener:
    """A receiver with its token; `taken` are the claims of what it was pushed, each checked."""

    stage: Stage
    token: str
    receiver_id: str
    algorithm: str = "ES256"
    taken: list[dict[str, Any]] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    shown: list[str | None] = field(default_factory=list)
    calls: int = 0
    answers: tuple[int, str] = (202, "")

    def __call__(self, request: Any) -> tuple[int, dict[str, str], str]:
        self.calls += 1
        if self.answers[0] == 202:
            assert request.headers["Content-Type"] == "application/secevent+jwt"
            self.shown.append(request.headers.get("Authorization"))
            self.raw.append(request.body.decode() if isinstance(request.body, bytes) else request.body)
            self.taken.append(self.read(self.raw[-1]))
        return self.answers[0], {}, self.answers[1]

    def read(self, text: str) -> dict[str, Any]:
        """The claims of a token, checked with the keys that we publish."""
        header = json.loads(base64.urlsafe_b64decode(text.split(".", maxsplit=1)[0] + "=="))
        assert (header["typ"], header["alg"]) == ("secevent+jwt", self.algorithm)
        with reading() as session:
            keys = KeySet.import_key_set(jwks(session, at=now()))  # type: ignore[arg-type]  # a plain JWKS
        return dict(jwt.decode(text, keys, algorithms=[self.algorithm], registry=REGISTRY).claims)

    def asks(self, method: str, path: str = "", body: Any = None, **query: str) -> TestResponse:
        return self.stage.http.open(
            f"/signals/streams{path}", method=method, query_string=query, json=body, headers={"Authorization": f"Bearer {self.token}"}
        )

    def sets_up(self, **said: Any) -> str:
        answer = self.asks("POST", "", said)
        assert answer.status_code == 201, answer.text
        return str(answer.get_json()["stream_id"])

    def events(self) -> list[str]:
        return [event.rpartition("/")[2] for one in self.taken for event in one["events"]]

    def fetches(self, stream_id: str, **said: Any) -> dict[str, dict[str, Any]]:
        answer = self.asks("POST", f"/{stream_id}/events", said)
        assert answer.status_code == 200, answer.text
        return {jti: self.read(token) for jti, token in answer.get_json()["sets"].items()}


def listens(stage: Stage, name: str = "chat", **draft: Any) -> Listener:
    wanted = receivers.Draft(name=name, **draft)
    row, token = in_transaction(lambda session: receivers.add(session, stage.organization_id, wanted, actor=ADMIN, at=now()))
    listener = Listener(stage=stage, token=token, receiver_id=row.id, algorithm=wanted.algorithm)
    stage.outside.add_callback("POST", ENDPOINT, callback=listener)
    return listener


def deliver(stage: Stage, *, clock: Clock = now) -> None:
    """Let the workers do what is due."""
    Worker(stage.app, threads={Lane.DEPARTURES: 1, Lane.SYNC: 1}, clock=clock).run_until_idle()


def let_time_pass(stage: Stage) -> None:
    """End every pause, of work and of streams, without waiting for it."""
    def act(session: Session) -> None:
        for row in session.scalars(select(Work)):
            row.due_at = min(row.due_at, now())
        for stream in session.scalars(select(Stream).where(Stream.retry_at.is_not(None))):
            stream.retry_at = now()

    in_transaction(act)


def proof_of(stage: Stage, stream_id: str) -> Proof | None:
    with reading() as session:
        return session.scalar(select(Proof).where(Proof.organization_id == stage.organization_id, Proof.workspace_id == stream_id))
