"""Clients as typed: added, shown without their secret, given another one, ended."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.access.parties import find_gateway, find_party, fits
from app.access.session_tables import RelyingParty
from app.clock import microseconds, now
from app.database import reading
from app.journal.tables import Entry
from tests.unit.commands.conftest import Desk

CALLBACK = "https://chat.example/callback"


def opens(desk: Desk, client_id: str, secret: str) -> bool:
    with desk.app.app_context(), reading() as session:
        party = find_party(session, client_id)
        return party is not None and fits(secret, party.secret_digest, party.settings, at=microseconds(now()))


def test_a_client_is_added_and_its_secret_is_told_once(desk: Desk) -> None:
    added = desk.asks("client", "add", "chat", "--redirect-uri", CALLBACK, "--device")

    assert opens(desk, added["client_id"], added["client_secret"])
    [listed] = desk.asks("client", "list")["clients"]
    assert (listed["name"], listed["redirect_uris"], listed["device"], listed["auth"]) == ("chat", [CALLBACK], True, "client_secret")
    said = str(desk.asks("client", "show", "chat")) + str(listed)
    with desk.app.app_context(), reading() as session:
        said += str([(one.before, one.after) for one in session.scalars(select(Entry))])
        said += str(session.scalars(select(RelyingParty.secret_digest)).one())
    assert added["client_secret"] not in said


def test_a_public_client_has_no_secret(desk: Desk) -> None:
    assert desk.asks("client", "add", "app", "--redirect-uri", "com.example.app:/callback", "--public")["client_secret"] is None


def test_a_gateway_is_known_by_its_secret_alone(desk: Desk) -> None:
    added = desk.asks("client", "add", "push", "--gateway")

    with desk.app.app_context(), reading() as session:
        found = find_gateway(session, added["client_secret"], at=now())
        assert found is not None and found.id == added["client_id"]
        assert find_gateway(session, added["client_secret"][:-1] + "!", at=now()) is None
        assert find_gateway(session, "dl_pg_" + "\0" * 40, at=now()) is None


def test_a_rotated_secret_leaves_the_one_before_for_a_while(desk: Desk) -> None:
    first = desk.asks("client", "add", "chat", "--redirect-uri", CALLBACK)

    second = desk.asks("client", "rotate", "chat", "--overlap", "1h")
    assert opens(desk, first["client_id"], first["client_secret"]) and opens(desk, first["client_id"], second["client_secret"])

    third = desk.asks("client", "rotate", "chat", "--overlap", "0m")
    assert [opens(desk, first["client_id"], one["client_secret"]) for one in (first, second, third)] == [False, False, True]


def test_an_ended_client_is_one_no_more_and_frees_its_name(desk: Desk) -> None:
    added = desk.asks("client", "add", "chat", "--redirect-uri", CALLBACK)

    assert desk.asks("client", "end", "chat")["ended"] == desk.asks("client", "end", "chat")["ended"] is not None

    assert not opens(desk, added["client_id"], added["client_secret"])
    assert desk.types("client", "rotate", "chat", "--json").exit == 2
    desk.asks("client", "add", "chat", "--redirect-uri", CALLBACK)


@pytest.mark.parametrize(
    "uri",
    [
        "http://chat.example/callback", "https://", "/callback", "https://chat.example/#part", "https://user@chat.example/", "javascript:alert(1)",
        "data:text/html,x", "https://chat.example/a b", "https://chat.example\\@evil.example/", "app:/callback", "https://chat.example/ü",
    ],
)  # fmt: skip
def test_nobody_may_be_sent_to_such_an_address(desk: Desk, uri: str) -> None:
    said = desk.types("client", "add", "chat", "--redirect-uri", uri, "--json")

    assert said.exit == 2 and desk.asks("client", "list")["clients"] == []


@pytest.mark.parametrize("uri", [CALLBACK, "http://127.0.0.1:9000/cb", "http://localhost/cb", "http://[::1]:9000/cb", "com.example.app:/cb"])
def test_people_may_be_sent_there(desk: Desk, uri: str) -> None:
    assert desk.asks("client", "add", "chat", "--redirect-uri", uri)["client_id"]


@pytest.mark.parametrize(
    "arguments",
    [[], ["--gateway", "--device"], ["--gateway", "--redirect-uri", CALLBACK], ["--device", "--backchannel-logout-uri", "http://chat.example/out"]],
)
def test_such_a_client_makes_no_sense(desk: Desk, arguments: list[str]) -> None:
    assert desk.types("client", "add", "chat", *arguments, "--json").exit == 2


def test_an_auditor_sees_clients_and_changes_none(desk: Desk) -> None:
    token = desk.asks("operator", "add", "olga", "--role", "auditor")["token"]

    assert desk.types("client", "list", "--json", token=token).exit == 0
    assert desk.types("client", "add", "chat", "--redirect-uri", CALLBACK, "--json", token=token).exit == 4
