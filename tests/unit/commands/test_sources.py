"""Verbs on sources: expiry, rotation with overlap, OAuth clients, and what is said of them before they end."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.access import tokens
from app.access.tables import BearerToken
from app.clock import now
from app.database import reading
from app.directory.tables import Source
from app.journal.tables import Entry
from app.lifecycle import contractors
from tests.unit.access.signing import assertion_of, jwks_of, key_for
from tests.unit.commands.conftest import Desk

DAY = timedelta(days=1)


def good(desk: Desk, token: str) -> bool:
    with desk.app.app_context(), reading() as session:
        return tokens.find_source(session, token) is not None


def listed(desk: Desk, name: str = "okta") -> dict[str, Any]:
    (found,) = [one for one in desk.asks("source", "list")["sources"] if one["name"] == name]
    assert isinstance(found, dict)
    return found


def close_to(text: object, wanted: datetime) -> bool:
    return abs(datetime.fromisoformat(str(text)).astimezone(UTC) - wanted) < timedelta(minutes=1)


def granted(desk: Desk, **form: str) -> tuple[int, dict[str, Any]]:
    answer = desk.app.test_client().post("/oauth2/token", data={"grant_type": "client_credentials", **form})
    assert answer.json is not None
    return answer.status_code, answer.json


def test_a_token_is_good_for_as_long_as_was_said(desk: Desk) -> None:
    said = desk.asks("source", "add", "scim", "okta", "--expires-in", "365d")

    assert close_to(said["expires"], now() + 365 * DAY)
    assert listed(desk)["expires"] == said["expires"]
    assert good(desk, said["token"])


def test_a_token_without_a_term_has_none(desk: Desk) -> None:
    assert desk.asks("source", "add", "scim", "okta")["expires"] is None
    assert listed(desk)["expires"] is None


def test_an_overlap_ends_the_token_before(desk: Desk) -> None:
    first = desk.asks("source", "add", "scim", "okta")["token"]

    second = desk.asks("source", "rotate", "okta", "--overlap", "24h", "--expires-in", "90d")["token"]

    newest, older = listed(desk)["tokens"]
    assert close_to(newest["expires"], now() + 90 * DAY) and close_to(older["expires"], now() + DAY)
    assert good(desk, first) and good(desk, second)


def test_an_overlap_of_nothing_ends_the_token_before_at_once(desk: Desk) -> None:
    first = desk.asks("source", "add", "scim", "okta")["token"]

    second = desk.asks("source", "rotate", "okta", "--overlap", "0h")["token"]

    assert not good(desk, first) and good(desk, second)


def test_terms_are_in_the_journal_and_tokens_are_not(desk: Desk) -> None:
    first = desk.asks("source", "add", "scim", "okta", "--expires-in", "365d")["token"]
    second = desk.asks("source", "rotate", "okta", "--overlap", "24h")["token"]

    with desk.app.app_context(), reading() as session:
        entries = session.scalars(select(Entry).where(Entry.subject_kind == "source").order_by(Entry.id)).all()
    assert [entry.verb for entry in entries] == ["source added", "token limited", "source rotated", "token limited"]
    assert entries[1].after is not None and entries[1].after["expires_at"]
    assert not any(token in f"{entry.before}{entry.after}" for token in (first, second) for entry in entries)


@pytest.mark.parametrize("term", ["", "soon", "3", "1y", "-1d", "1.5h", "9999999d", "0d"])
def test_a_term_that_is_none_is_refused(desk: Desk, term: str) -> None:
    said = desk.types("source", "add", "scim", "okta", "--expires-in", term, "--json")

    assert said.exit == 2
    assert desk.asks("source", "list")["sources"] == []


def test_an_hr_system_has_no_terms(desk: Desk) -> None:
    desk.asks("source", "add", "hr", "workday")

    said = desk.types("source", "rotate", "workday", "--overlap", "24h", "--json")

    assert said.exit == 2 and "no directory" in said.json["error"]
    assert desk.asks("source", "rotate", "workday")["secret"].startswith("whsec_")


def _end_in(desk: Desk, term: timedelta) -> None:
    desk.acts(lambda session: session.execute(update(BearerToken).values(expires_at=now() + term)))


def _said_of(desk: Desk, about: str) -> list[tuple[str, str]]:
    answer = desk.types("doctor", "--json").json
    return [(one["level"], one["sentence"]) for one in answer["findings"] if one["about"] == about]


def test_an_expiry_is_announced_a_month_before(desk: Desk) -> None:
    desk.asks("source", "add", "scim", "okta", "--expires-in", "365d")
    assert desk.asks("status")["alarms"] == [] and _said_of(desk, "okta") == []

    _end_in(desk, 29.5 * DAY)

    (alarm,) = desk.asks("status")["alarms"]
    assert "okta expires in 29 days" in alarm and "doorlist source rotate okta" in alarm
    assert _said_of(desk, "okta") == [("note", alarm)]


def test_a_token_that_has_expired_is_a_fault(desk: Desk) -> None:
    desk.asks("source", "add", "scim", "okta", "--expires-in", "365d")

    _end_in(desk, -DAY)

    (alarm,) = desk.asks("status")["alarms"]
    assert "okta expired" in alarm
    assert _said_of(desk, "okta") == [("fault", alarm)]


def test_a_revoked_directory_is_noted_and_raises_no_alarm(desk: Desk) -> None:
    desk.asks("source", "add", "scim", "okta", "--expires-in", "1d")
    desk.asks("source", "revoke", "okta")

    assert desk.asks("status")["alarms"] == []
    assert [level for level, _ in _said_of(desk, "okta")] == ["note"]
    assert listed(desk)["revoked"] is True


def test_what_was_revoked_does_not_look_alive_in_the_list(desk: Desk) -> None:
    desk.asks("source", "add", "scim", "okta")
    desk.asks("source", "add", "scim", "entra", "--auth", "oauth")
    desk.asks("source", "add", "hr", "acme")
    for name in ("okta", "entra", "acme"):
        assert "revoked" not in _row_of(desk, name)
        desk.asks("source", "revoke", name)

    assert all("revoked" in _row_of(desk, name) for name in ("okta", "entra", "acme"))
    assert {one["name"]: one["revoked"] for one in desk.asks("source", "list")["sources"]} == {"okta": True, "entra": True, "acme": True}


def test_who_was_entered_by_hand_came_by_no_signature(desk: Desk) -> None:
    desk.hires(desk.directory(), "kim")
    desk.asks("contractor", "add", "Zoë Ng", "--email", "zoe@agency.example", "--sponsor", "kim@acme.example", "--until", (now() + timedelta(days=30)).date().isoformat())

    assert [one.get("auth") for one in desk.asks("source", "list")["sources"] if one["kind"] == "contractors"] == [None]


def _row_of(desk: Desk, name: str) -> str:
    (row,) = [line for line in desk.types("source", "list").out.splitlines() if line.startswith(f"{name}\t")]
    return row


def test_the_last_use_is_listed(desk: Desk) -> None:
    token = desk.asks("source", "add", "scim", "okta")["token"]
    assert listed(desk)["last_used"] is None

    at = now()
    desk.acts(lambda session: tokens.note_use(session, tokens.digest_of(token), at=at))

    assert close_to(listed(desk)["last_used"], at)
    assert close_to(listed(desk)["tokens"][0]["last_used"], at)


def test_an_oauth_client_is_given_what_it_needs_and_no_token(desk: Desk) -> None:
    said = desk.asks("source", "add", "scim", "okta", "--auth", "oauth")

    assert said["token_url"] == "http://127.0.0.1:8484/oauth2/token"
    assert "token" not in said
    status, answer = granted(desk, client_id=said["client_id"], client_secret=said["client_secret"])
    assert status == 200
    assert desk.app.test_client().get(
        f"/scim/v2/{said['id']}/Users", headers={"Authorization": f"Bearer {answer['access_token']}"}
    ).status_code == 200  # fmt: skip


def test_an_oauth_client_is_listed_with_its_secrets_and_without_what_they_are(desk: Desk) -> None:
    said = desk.asks("source", "add", "scim", "okta", "--auth", "oauth", "--expires-in", "30d")

    found = listed(desk)

    assert (found["auth"], found["client_id"], len(found["client_secrets"])) == ("client_secret", said["client_id"], 1)
    assert found["expires"] == said["expires"]
    assert said["client_secret"] not in json.dumps(found)


def test_a_revoked_client_gets_in_no_more_and_rotating_makes_another(desk: Desk) -> None:
    first = desk.asks("source", "add", "scim", "okta", "--auth", "oauth")
    _, answer = granted(desk, client_id=first["client_id"], client_secret=first["client_secret"])

    desk.asks("source", "revoke", "okta")

    assert not good(desk, answer["access_token"])
    assert granted(desk, client_id=first["client_id"], client_secret=first["client_secret"])[0] == 401
    second = desk.asks("source", "rotate", "okta")
    assert second["client_id"] != first["client_id"]
    assert granted(desk, client_id=second["client_id"], client_secret=second["client_secret"])[0] == 200


def test_a_client_secret_is_rotated_with_an_overlap(desk: Desk) -> None:
    first = desk.asks("source", "add", "scim", "okta", "--auth", "oauth")

    second = desk.asks("source", "rotate", "okta", "--overlap", "24h")

    assert second["client_id"] == first["client_id"] and second["client_secret"] != first["client_secret"]
    assert [key["expires"] is None for key in listed(desk)["client_secrets"]] == [True, False]


def test_a_client_with_keys_of_its_own_signs_and_changes_them(desk: Desk) -> None:
    old, new = key_for("ES256", kid="old"), key_for("ES256", kid="new")
    said = desk.asks("source", "add", "scim", "okta", "--auth", "oauth", "--jwks-file", desk.file("old.json", json.dumps(jwks_of(old))))
    assert "client_secret" not in said and listed(desk)["auth"] == "private_key_jwt"

    def signs_with(key: Any) -> int:
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        return granted(desk, client_assertion_type=kind, client_assertion=assertion_of(said["client_id"], key, "ES256"))[0]

    assert (signs_with(old), signs_with(new)) == (200, 401)
    desk.asks("source", "rotate", "okta", "--jwks-file", desk.file("new.json", json.dumps(jwks_of(new))))
    assert (signs_with(old), signs_with(new)) == (401, 200)


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        (("add", "scim", "entra", "--jwks-file", "KEYS"), "--auth oauth"),
        (("add", "scim", "entra", "--auth", "oauth", "--jwks-file", "KEYS", "--expires-in", "1d"), "--expires-in"),
        (("add", "scim", "entra", "--auth", "oauth", "--jwks-file", "PRIVATE"), "private"),
        (("rotate", "okta", "--jwks-file", "KEYS"), "does not sign"),
        (("rotate", "signer"), "--jwks-file"),
        (("rotate", "signer", "--jwks-file", "KEYS", "--overlap", "1d"), "JWKS with both"),
    ],
)
def test_what_does_not_go_together_is_refused_and_changes_nothing(desk: Desk, typed: tuple[str, ...], named: str) -> None:
    key = key_for("ES256")
    files = {"KEYS": desk.file("keys.json", json.dumps(jwks_of(key))), "PRIVATE": desk.file("private.json", json.dumps({"keys": [key.as_dict(private=True)]}))}
    desk.asks("source", "add", "scim", "okta", "--auth", "oauth")
    desk.asks("source", "add", "scim", "signer", "--auth", "oauth", "--jwks-file", files["KEYS"])
    before = desk.asks("source", "list")

    said = desk.types("source", *(files.get(word, word) for word in typed), "--json")

    assert said.exit == 2 and named in said.json["error"], said
    assert desk.asks("source", "list") == before


@pytest.mark.parametrize("verb", ["rotate", "revoke"])
def test_a_source_that_is_pulled_has_no_secret_of_ours_to_be_changed_or_ended(desk: Desk, verb: str) -> None:
    desk.asks("source", "add", "csv", "list", "--url", "https://hr.example/people.csv", "--token-file", desk.file("token", "theirs\n"))
    before = _kept(desk)

    said = desk.types("source", verb, "list", "--json")

    assert said.exit == 2 and said.json["error"] == (
        "list is pulled, with a password or token of its own; to have it take another: doorlist source set list --password-file FILE; "
        "to have it read by the clock no longer: doorlist source set list --every off"
    )
    assert _kept(desk) == before and "secret" not in said.json


@pytest.mark.parametrize("verb", ["rotate", "revoke"])
def test_where_people_are_entered_by_hand_nothing_is_let_in_that_could_be_ended(desk: Desk, verb: str) -> None:
    sponsor, until = desk.hires(desk.directory(), "ada"), (now() + 30 * DAY).date().isoformat()
    desk.asks("contractor", "add", "Zoë Ng", "--email", "zoe@agency.example", "--sponsor", sponsor, "--until", until)
    [name] = [one["name"] for one in desk.asks("source", "list")["sources"] if one["kind"] == contractors.KIND]
    before = _kept(desk)

    said = desk.types("source", verb, name, "--json")

    assert said.exit == 2 and "calls nobody here" in said.json["error"] and _kept(desk) == before


def _kept(desk: Desk) -> list[tuple[object, ...]]:
    query = select(Source.name, Source.sealed_secret, Source.sealed_previous_secret, Source.journal_id).order_by(Source.name)
    return desk.acts(lambda session: [tuple(row) for row in session.execute(query)])


def test_a_file_that_is_not_there_is_named_in_words(desk: Desk) -> None:
    said = desk.types("source", "add", "scim", "okta", "--auth", "oauth", "--jwks-file", str(desk.folder / "none.json"), "--json")

    assert (said.exit, said.json["error"]) == (1, f"{desk.folder / 'none.json'}: No such file or directory")
