"""The verbs on signals, as they are typed."""

import responses

from tests.unit.commands.conftest import Desk

ISSUER = "https://idp.example/clinic"


def test_a_transmitter_is_added_with_what_it_has_to_send_and_ended_again(desk: Desk) -> None:
    added = desk.asks("signals", "transmitter", "add", "okta", "--issuer", ISSUER, "--jwks-uri", f"{ISSUER}/jwks", "--tolerate", "milliseconds")
    listed = desk.asks("signals", "transmitter", "list")["transmitters"]
    again = desk.types("signals", "transmitter", "add", "okta", "--issuer", ISSUER, "--jwks-uri", f"{ISSUER}/jwks")
    ended = desk.asks("signals", "transmitter", "end", "okta")

    assert added["push_url"] == added["audience"] and added["push_url"].endswith(f"/signals/push/{added['id']}")
    assert added["authorization_header"].startswith("Bearer ")
    assert [(one["id"], one["policy"]["tolerated"], one["policy"]["wildcards"]) for one in listed] == [(added["id"], ["milliseconds"], False)]
    assert "authorization_header" not in listed[0]
    assert again.exit == 1
    assert ended["ended"] and desk.asks("signals", "transmitter", "list")["transmitters"] == []


@responses.activate
def test_a_transmitters_own_words_say_where_its_keys_are(desk: Desk) -> None:
    place = "https://idp.example/.well-known/ssf-configuration/clinic"
    responses.get(place, json={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks", "verification_endpoint": f"{ISSUER}/verify"})

    desk.asks("signals", "transmitter", "add", "polled", "--issuer", ISSUER, "--poll-url", f"{ISSUER}/poll", "--authorization-file", desk.file("t", "s3cret\n"))
    responses.upsert("GET", place, json={"issuer": "https://other.example", "jwks_uri": f"{ISSUER}/jwks"})
    other = desk.types("signals", "transmitter", "add", "other", "--issuer", ISSUER)

    [one] = desk.asks("signals", "transmitter", "list")["transmitters"]
    assert (one["delivery"], one["push_url"], one["poll_url"]) == ("poll", None, f"{ISSUER}/poll")
    assert (other.exit, "another issuer" in other.err) == (1, True)


def test_an_address_of_ones_own_network_is_taken_only_where_that_was_said(desk: Desk) -> None:
    typed = ("signals", "transmitter", "add", "mdm", "--issuer", "http://mdm.internal", "--jwks-uri", "http://mdm.internal/jwks")

    assert desk.types(*typed).exit == 1
    assert desk.types(*typed, "--allow-private").exit == 0


def test_a_receiver_gets_a_token_or_a_client_secret(desk: Desk) -> None:
    by_token = desk.asks("signals", "receiver", "add", "chat")
    by_secret = desk.asks("signals", "receiver", "add", "caep", "--client-credentials", "--read-only", "--algorithm", "PS256")
    untested = desk.types("signals", "receiver", "test", "chat")
    listed = desk.asks("signals", "receiver", "list")["receivers"]
    desk.asks("signals", "receiver", "end", "chat")

    assert by_token["token"].startswith("dl_") and "client_secret" not in by_token
    assert by_secret["client_id"] == by_secret["id"] and by_secret["client_secret"] and by_secret["scopes"] == ["ssf.read"]
    assert (untested.exit, "no" in untested.err or "not set up" in untested.err) == (1, True)
    assert [(one["name"], one["status"], one["waiting"]) for one in listed] == [("caep", None, 0), ("chat", None, 0)]
    assert [one["name"] for one in desk.asks("signals", "receiver", "list")["receivers"]] == ["caep"]


def test_a_stream_is_tested_unless_its_receiver_has_disabled_it(desk: Desk) -> None:
    shown = {"Authorization": f"Bearer {desk.asks('signals', 'receiver', 'add', 'chat')['token']}"}
    http = desk.app.test_client()
    stream_id = http.post("/signals/streams", json={}, headers=shown).get_json()["stream_id"]

    waits = desk.asks("signals", "receiver", "test", "chat")
    http.post("/signals/streams/status", json={"stream_id": stream_id, "status": "disabled"}, headers=shown)
    refused = desk.types("signals", "receiver", "test", "chat")

    assert waits["stream_id"] == stream_id
    assert (refused.exit, "disabled" in refused.err) == (1, True)
    assert [one["waiting"] for one in desk.asks("signals", "receiver", "list")["receivers"]] == [0]


def test_nothing_was_received_yet(desk: Desk) -> None:
    assert desk.asks("signals", "received", "--parked")["received"] == []
