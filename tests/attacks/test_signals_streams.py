"""G12: our own transmitter, asked by whom it does not serve, or for what it does not tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import responses
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from app.clock import now
from app.database import in_transaction, reading
from app.delivery.worker import Worker
from app.journal.tables import Lane
from app.revocation.stream_tables import StreamSubject
from app.revocation.tables import Proof
from app.signals import receivers
from app.signals.receivers import Scope
from tests.company import ADMIN, new_company
from tests.unit.signals.stage import (
    PUBLIC_URL,
    Stage,
    email,
    iss_sub,
)

IDP = "https://idp.example/clinic"
MARA = iss_sub(IDP, "u-mara")


@pytest.fixture
def stage(installed: Flask) -> Iterator[Stage]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as outside:
        yield Stage(app=installed, http=installed.test_client(), outside=outside, company=new_company())


@dataclass(kw_only=True)
class Listening:
    """A receiver at our transmitter's doors."""

    stage: Stage
    token: str

    def asks(self, method: str, path: str, body: Any = None, *, token: str | None = None, **query: str) -> TestResponse:
        return self.stage.http.open(
            f"/signals/streams{path}", method=method, query_string=query, json=body,
            headers={"Authorization": f"Bearer {self.token if token is None else token}"},
        )  # fmt: skip

    def sets_up(self, **said: Any) -> str:
        answer = self.asks("POST", "", said)
        assert answer.status_code == 201, answer.text
        return str(answer.get_json()["stream_id"])


def listens(stage: Stage, name: str = "chat", **draft: Any) -> Listening:
    wanted = receivers.Draft(name=name, **draft)
    _, token = in_transaction(lambda session: receivers.add(session, stage.organization_id, wanted, actor=ADMIN, at=now()))
    return Listening(stage=stage, token=token)


def test_g12_a_stream_is_its_receivers_alone(stage: Stage) -> None:
    mine, other = listens(stage), listens(stage.beside(), "other")
    stream_id = mine.sets_up(delivery={"method": "urn:ietf:rfc:8935", "endpoint_url": "https://chat.example/in", "authorization_header": "Bearer s3cret"})
    other.sets_up()
    subject = {"stream_id": stream_id, "subject": email("mara@clinic.example")}
    tries: list[Callable[[], TestResponse]] = [
        lambda: other.asks("GET", "", stream_id=stream_id),
        lambda: other.asks("PATCH", "", {"stream_id": stream_id, "description": "mine now"}),
        lambda: other.asks("PUT", "", {"stream_id": stream_id}),
        lambda: other.asks("DELETE", "", stream_id=stream_id),
        lambda: other.asks("GET", "/status", stream_id=stream_id),
        lambda: other.asks("POST", "/status", {"stream_id": stream_id, "status": "disabled"}),
        lambda: other.asks("POST", "/add-subject", subject),
        lambda: other.asks("POST", "/remove-subject", subject),
        lambda: other.asks("POST", "/verify", {"stream_id": stream_id}),
        lambda: other.asks("POST", f"/{stream_id}/events", {}),
    ]

    answers = [one().status_code for one in tries]
    still = mine.asks("GET", "", stream_id=stream_id)

    assert answers == [404] * len(tries)
    assert still.status_code == 200
    # What it is pushed with is a secret of its receiver's, and not shown again.
    assert "s3cret" not in still.text


def test_g12_asking_for_subjects_says_nothing_of_who_there_is(stage: Stage) -> None:
    mine = listens(stage)
    stream_id = mine.sets_up()
    mara = stage.joins("mara")
    foreign = stage.beside().joins("noor")
    asked = [
        email("mara@clinic.example"), email("nobody@clinic.example"), iss_sub(PUBLIC_URL, mara.person_id), iss_sub(PUBLIC_URL, foreign.person_id),
        {"format": "opaque", "id": "x"},
    ]  # fmt: skip

    added = {(one.status_code, one.data) for one in (mine.asks("POST", "/add-subject", {"stream_id": stream_id, "subject": subject}) for subject in asked)}
    removed = {(one.status_code, one.data) for one in (mine.asks("POST", "/remove-subject", {"stream_id": stream_id, "subject": subject}) for subject in asked)}

    assert (len(added), len(removed)) == (1, 1)
    with reading() as session:
        assert set(session.scalars(select(StreamSubject.person_id))) == {mara.person_id}


def test_g12_a_receiver_needs_its_token_in_the_header_and_the_right_scope(stage: Stage) -> None:
    mine, reader = listens(stage), listens(stage, "reader", scopes=(Scope.READ,))
    stream_id = mine.sets_up()

    nobody = [mine.asks("GET", "", token=token).status_code for token in ("", "wrong", "dl_wrong")]
    in_the_query = stage.http.get("/signals/streams", query_string={"access_token": mine.token})
    may_not = [
        reader.asks("POST", "", {}).status_code, reader.asks("DELETE", "", stream_id=stream_id).status_code,
        reader.asks("POST", "/status", {"stream_id": stream_id, "status": "paused"}).status_code,
    ]  # fmt: skip
    in_transaction(lambda session: receivers.end(session, stage.organization_id, "chat", actor=ADMIN, at=now()))

    assert nobody == [401] * 3
    assert in_the_query.status_code == 401
    assert may_not == [403] * 3
    assert reader.asks("GET", "").status_code == 200
    assert mine.asks("GET", "").status_code == 401


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "169.254.169.254", "localhost"])
def test_g12_events_are_pushed_to_no_address_inside(stage: Stage, host: str) -> None:
    stage.outside.add_passthru(f"https://{host}")
    mine = listens(stage)
    stream_id = mine.sets_up(delivery={"method": "urn:ietf:rfc:8935", "endpoint_url": f"https://{host}/in"})
    stage.company.says(stage.joins("mara"), active=False, at=now())

    Worker(stage.app, threads={Lane.DEPARTURES: 1}).run_until_idle()

    with reading() as session:
        [error] = session.scalars(select(Proof.last_error).where(Proof.workspace_id == stream_id))
    assert error is not None and "not called from here" in error


@pytest.mark.parametrize(
    "url",
    [
        "http://chat.example/in", "https://user@chat.example/in", "gopher://chat.example/in", "https:///in", "https://chat.example/in#x",
        "https://chat.example/ in", "chat.example",
    ],
)  # fmt: skip
def test_g12_events_are_pushed_to_no_address_that_is_none(stage: Stage, url: str) -> None:
    answer = listens(stage).asks("POST", "", {"delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": url}})

    assert answer.status_code == 400


def test_a_header_that_cannot_be_sealed_is_not_taken(stage: Stage) -> None:
    mine = listens(stage)
    place = {"method": "urn:ietf:rfc:8935", "endpoint_url": "https://chat.example/in", "authorization_header": "Bearer s3cret"}
    key = stage.app.config["DOORLIST"].home / "encryption.key"
    key.rename(key.with_suffix(".away"))

    refused = mine.asks("POST", "", {"delivery": place})

    assert (refused.status_code, (refused.json or {})["err"]) == (503, "not_ready")
    key.with_suffix(".away").rename(key)
    assert mine.asks("POST", "", {"delivery": place}).status_code == 201
