"""The doors at which a receiver sets up its stream."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from sqlalchemy import Connection, event

from app.clock import now
from app.database import db, in_transaction
from app.revocation import streams
from app.signals import receivers, transmitter_routes
from app.signals.stream_routes import VERIFY_EVERY
from tests.company import ADMIN
from tests.unit.signals.listening import ENDPOINT, PUSH, deliver, listens
from tests.unit.signals.stage import PUBLIC_URL, Stage


def test_the_metadata_name_every_endpoint(stage: Stage) -> None:
    said = stage.http.get("/.well-known/ssf-configuration").get_json()

    assert (said["spec_version"], said["issuer"], said["default_subjects"]) == ("1_0", PUBLIC_URL, "ALL")
    assert said["delivery_methods_supported"] == ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"]
    assert {"spec_urn": "urn:ietf:rfc:6749"} in said["authorization_schemes"]
    paths = {said[name].removeprefix(PUBLIC_URL) for name in said if name.endswith("_endpoint")} | {said["jwks_uri"].removeprefix(PUBLIC_URL)}
    assert all(any(str(rule) == path for rule in stage.app.url_map.iter_rules()) for path in paths), paths


def test_another_issuers_metadata_are_not_here(stage: Stage) -> None:
    assert stage.http.get("/.well-known/ssf-configuration/other").status_code == 404


def test_a_receiver_has_one_stream_at_a_time(stage: Stage) -> None:
    listener = listens(stage)
    first = listener.sets_up()

    second = listener.asks("POST", "", {})
    ended = listener.asks("DELETE", "", stream_id=first)
    third = listener.sets_up()

    assert (second.status_code, ended.status_code) == (409, 204)
    assert third != first
    assert [one["stream_id"] for one in listener.asks("GET").get_json()] == [third]


def test_a_stream_is_read_as_it_was_set_up(stage: Stage) -> None:
    listener = listens(stage, audience="https://chat.example")
    stream_id = listener.sets_up(delivery=PUSH, description="chat")

    said = listener.asks("GET", "", stream_id=stream_id).get_json()

    assert (said["iss"], said["aud"], said["description"]) == (PUBLIC_URL, "https://chat.example", "chat")
    assert said["delivery"] == {"method": "urn:ietf:rfc:8935", "endpoint_url": ENDPOINT}
    assert len(said["events_delivered"]) == 3


def test_changing_keeps_what_is_not_named_and_replacing_does_not(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up(delivery=PUSH, description="chat")

    changed = listener.asks("PATCH", "", {"stream_id": stream_id, "description": "talk"}).get_json()
    replaced = listener.asks("PUT", "", {"stream_id": stream_id}).get_json()

    assert (changed["description"], changed["delivery"]["method"]) == ("talk", "urn:ietf:rfc:8935")
    assert ("description" in replaced, replaced["delivery"]["method"]) == (False, "urn:ietf:rfc:8936")
    assert replaced["delivery"]["endpoint_url"].startswith(PUBLIC_URL)


@pytest.mark.parametrize(("method", "elsewhere", "expected"), [("PATCH", "", ["Bearer theirs"]), ("PATCH", "/new", [None]), ("PUT", "", [None])])
def test_the_header_that_cannot_be_read_is_kept_by_a_change_at_the_same_address_alone(stage: Stage, method: str, elsewhere: str, expected: list[str | None]) -> None:
    listener = listens(stage)
    stage.outside.add_callback("POST", f"{ENDPOINT}/new", callback=listener)
    stream_id = listener.sets_up(delivery=PUSH)
    read = listener.asks("GET", "", stream_id=stream_id).get_json()
    read["delivery"]["endpoint_url"] += elsewhere

    assert listener.asks(method, "", {**read, "description": "chat"}).status_code == 200

    listener.asks("POST", "/verify", {"stream_id": stream_id})
    deliver(stage)
    assert listener.shown == expected


def test_what_only_the_transmitter_decides_is_not_changed(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up()

    answers = [
        listener.asks("PATCH", "", {"stream_id": stream_id, **said}).status_code
        for said in ({"iss": "https://else.example"}, {"aud": "else"}, {"events_requested": "all"}, {"description": ""}, {"delivery": {"method": "smoke"}}, {"delivery": {"method": ["smoke"]}})
    ]  # fmt: skip

    assert answers == [400] * 6


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_stream_that_was_read_may_be_sent_back_and_what_is_ours_in_it_not_changed(stage: Stage, method: str) -> None:
    listener = listens(stage)
    read = listener.asks("GET", "", stream_id=listener.sets_up(description="chat")).get_json()
    backwards = {**read, "events_delivered": read["events_delivered"][::-1], "events_requested": [streams.SESSION_REVOKED]}
    others = {"events_supported": [], "events_delivered": [*read["events_delivered"], "https://elsewhere.example/event"], "min_verification_interval": 1}

    refused = [listener.asks(method, "", {**read, "description": "talk", name: value}) for name, value in others.items()]
    stands = listener.asks("GET", "", stream_id=read["stream_id"]).get_json()
    taken = listener.asks(method, "", backwards)

    assert [(one.status_code, one.get_json()["err"]) for one in refused] == [(400, "invalid_request")] * 3
    assert stands == read
    assert (taken.status_code, taken.get_json()["events_delivered"]) == (200, [streams.SESSION_REVOKED])


def test_who_does_not_say_which_stream_is_told_that_and_not_that_there_is_none(stage: Stage) -> None:
    listener = listens(stage)
    listener.sets_up()

    answers = [
        listener.asks("PATCH", "", {"description": "talk"}), listener.asks("PUT", "", {"stream_id": 7}), listener.asks("DELETE", ""),
        listener.asks("GET", "/status"), listener.asks("POST", "/status", {"status": "paused"}), listener.asks("POST", "/verify", {}),
    ]  # fmt: skip

    assert [(one.status_code, "stream_id" in one.get_json()["description"]) for one in answers] == [(400, True)] * 6


def test_a_verification_comes_with_the_state_that_was_said(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up(delivery=PUSH)

    asked = listener.asks("POST", "/verify", {"stream_id": stream_id, "state": "c3RhdGU"})
    deliver(stage)
    again = listener.asks("POST", "/verify", {"stream_id": stream_id})

    assert asked.status_code == 204
    [said] = listener.taken
    assert said["sub_id"] == {"format": "opaque", "id": stream_id}
    assert next(iter(said["events"].values())) == {"state": "c3RhdGU"}
    assert (again.status_code, again.headers["Retry-After"]) == (429, str(VERIFY_EVERY.seconds))


def test_a_status_for_one_person_does_not_stop_the_stream_for_everybody(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up()
    subject = {"format": "email", "email": "mara@clinic.example"}

    asked = listener.asks("POST", "/status", {"stream_id": stream_id, "status": "disabled", "subject": subject})

    assert asked.status_code == 400
    assert listener.asks("GET", "/status", stream_id=stream_id).get_json() == {"stream_id": stream_id, "status": "enabled"}


def test_what_is_no_json_object_is_not_understood(stage: Stage) -> None:
    listener = listens(stage)
    headers = {"Authorization": f"Bearer {listener.token}"}

    def post(data: str, kind: str = "application/json") -> int:
        return stage.http.post("/signals/streams", data=data, content_type=kind, headers=headers).status_code

    assert [post("{"), post("[]"), post("[" * 100_000), post("{}", "text/plain")] == [400, 400, 400, 415]


def token_for(stage: Stage, client_id: str, secret: str, *, basic: bool = False, **said: str) -> Any:
    form = {"grant_type": "client_credentials", **said}
    if basic:
        shown = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        return stage.http.post("/signals/token", data=form, headers={"Authorization": f"Basic {shown}"})
    return stage.http.post("/signals/token", data={**form, "client_id": client_id, "client_secret": secret})


def test_a_receiver_with_a_client_secret_gets_a_token_for_an_hour(stage: Stage) -> None:
    draft = receivers.Draft(name="caep", secret=True)
    row, secret = in_transaction(lambda session: receivers.add(session, stage.organization_id, draft, actor=ADMIN, at=now()))

    given = [token_for(stage, row.id, secret, basic=basic, scope="ssf.manage ssf.read").get_json() for basic in (True, False)]
    opened = [stage.http.get("/signals/streams", headers={"Authorization": f"Bearer {one['access_token']}"}).status_code for one in given]
    by_secret = stage.http.get("/signals/streams", headers={"Authorization": f"Bearer {secret}"})

    assert [(one["token_type"], one["expires_in"]) for one in given] == [("Bearer", 3600)] * 2
    assert opened == [200, 200]
    assert by_secret.status_code == 401


def test_nobody_else_gets_a_token(stage: Stage) -> None:
    draft = receivers.Draft(name="caep", secret=True, scopes=(receivers.Scope.READ,))
    row, secret = in_transaction(lambda session: receivers.add(session, stage.organization_id, draft, actor=ADMIN, at=now()))
    other = listens(stage, "other")

    answers = {
        "wrong secret": token_for(stage, row.id, "dl_wrong"),
        "another's id": token_for(stage, other.receiver_id, secret),
        "a token for a secret": token_for(stage, other.receiver_id, other.token),
        "more than it may": token_for(stage, row.id, secret, scope="ssf.manage"),
        "another grant": token_for(stage, row.id, secret, grant_type="password"),
    }

    said = {name: answer.get_json()["error"] for name, answer in answers.items()}
    assert said == {
        "wrong secret": "invalid_client", "another's id": "invalid_client", "a token for a secret": "invalid_client", "more than it may": "invalid_scope",
        "another grant": "unsupported_grant_type",
    }  # fmt: skip


def test_whoever_guesses_a_secret_waits_for_nobody_who_writes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transmitter_routes.FAILURES, "rate", 0.0)
    draft = receivers.Draft(name="caep", secret=True)
    row, _ = in_transaction(lambda session: receivers.add(session, stage.organization_id, draft, actor=ADMIN, at=now()))
    begun: list[bool] = []

    def note(connection: Connection) -> None:
        begun.append(bool(connection.get_execution_options().get("doorlist_reads")))

    event.listen(db.engine, "begin", note)
    answer = token_for(stage, row.id, "dl_wrong")
    event.remove(db.engine, "begin", note)

    assert answer.status_code == 401
    # Of SQLite there is one writer at a time, so who only looks must not be one.
    assert begun and all(begun)
