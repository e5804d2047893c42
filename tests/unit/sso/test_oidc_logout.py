"""Over HTTP from the sign-in page to the sign-out: sessions that a provider begins, and those that it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.access.parties import PartyDraft, open_party
from app.access.published_keys import ASKED_AGAIN_AFTER, KEYS
from app.access.session_tables import Grant, WebSession
from app.clock import now
from app.database import in_transaction, new_id, reading
from app.directory.tables import Person, Record, Standing
from app.journal.tables import Entry, Lane, Subject, Work
from tests.company import ADMIN, new_company
from tests.oidc_arrangement import Arrangement, arranged, connect, forget_keys, goes, is_in, signed_in, tries
from tests.vouching import caught_up

pytestmark = pytest.mark.slow


@pytest.fixture
def arrangement(installed: Flask) -> Iterator[Arrangement]:
    forget_keys()
    with arranged(installed, new_company()) as made:
        # The default of a first sign-in: the subject is what the directory calls externalId.
        made.provider.subject = "00u-ada@northwind.example"
        made.set_directory_key("directory", "externalId")
        made.provider.claims = {"directory": "00u-ada@northwind.example"}
        yield made
    forget_keys()


@pytest.fixture
def ada(arrangement: Arrangement) -> Record:
    return arrangement.company.joins("ada@northwind.example", "1001", at=now() - timedelta(minutes=5))


def told(arrangement: Arrangement, token: str) -> TestResponse:
    return arrangement.app.test_client().post(f"/oidc/{arrangement.connection_id}/logout", data={"logout_token": token})


def test_somebody_signs_in_through_a_browser(arrangement: Arrangement, ada: Record) -> None:
    http = signed_in(arrangement)

    session = http.get("/session").json

    assert session is not None and session["person"]["userName"] == "ada@northwind.example"
    assert session["connection"] == arrangement.connection_id


def test_a_refusal_is_a_calm_page_with_a_number(arrangement: Arrangement, ada: Record, caplog: pytest.LogCaptureFixture) -> None:
    answer = arrangement.app.test_client().get(f"/oidc/{arrangement.connection_id}/callback?code=x&state=never")

    assert answer.status_code == 403 and "never" not in answer.text
    assert any(word in answer.text for line in caplog.messages for word in line.replace(",", " ").split() if len(word) == 8)


def test_a_sign_in_that_a_provider_starts_begins_anew_here(arrangement: Arrangement, ada: Record) -> None:
    http = arrangement.app.test_client()
    caught_up(now())
    asked = {"iss": arrangement.provider.issuer, "login_hint": "ada", "target_link_uri": "http://127.0.0.1:8484/access?tab=1"}

    begun = http.get(f"/oidc/{arrangement.connection_id}/login", query_string=asked)
    came = http.get(f"/oidc/{arrangement.connection_id}/callback", query_string=arrangement.provider.answers(begun.headers["Location"]))

    assert "login_hint=ada" in begun.headers["Location"]
    assert came.headers["Location"] == "/access?tab=1"
    assert is_in(http)


def test_signing_out_here_goes_on_to_the_provider(arrangement: Arrangement, ada: Record) -> None:
    http = signed_in(arrangement)
    token = arrangement.provider.last_token

    answer = http.post("/sign-out", headers={"Sec-Fetch-Site": "same-origin"})

    assert not is_in(http)
    url = next(part for part in answer.text.replace("&amp;", "&").split('"') if part.startswith(arrangement.provider.issuer))
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert urlsplit(url).path == "/logout"
    assert asked["id_token_hint"] == token
    assert asked["post_logout_redirect_uri"] == f"http://127.0.0.1:8484/oidc/{arrangement.connection_id}/signed-out"
    assert goes(http, asked["post_logout_redirect_uri"]).headers["Location"] == "/sign-in"


def test_a_session_keeps_its_id_token_sealed(arrangement: Arrangement, ada: Record) -> None:
    signed_in(arrangement)

    with reading() as session:
        row = session.scalars(select(WebSession)).one()

    assert row.sealed_id_token is not None
    assert arrangement.provider.last_token.encode() not in row.sealed_id_token


def test_a_provider_ends_the_session_that_it_names(arrangement: Arrangement, ada: Record) -> None:
    arrangement.provider.claims["sid"] = "first"
    first = signed_in(arrangement)
    arrangement.provider.claims["sid"] = "second"
    second = signed_in(arrangement)

    answer = told(arrangement, arrangement.provider.logout_token(sid="first"))

    assert (answer.status_code, answer.data, answer.headers["Cache-Control"]) == (200, b"", "no-store")
    assert (is_in(first), is_in(second)) == (False, True)


def test_what_was_said_of_a_session_before_its_provider_ended_it_opens_nothing_after(arrangement: Arrangement, ada: Record) -> None:
    claims = arrangement.provider.claims
    claims["sid"] = "first"
    signed_in(arrangement)
    told(arrangement, arrangement.provider.logout_token(sid="first"))

    claims["iat"] = claims["auth_time"] = timedelta(seconds=-20)
    late = tries(arrangement, arrangement.app.test_client())
    claims["sid"] = "second"
    another = signed_in(arrangement)

    assert (late.status_code, "Please begin again" in late.text) == (403, True)
    assert is_in(another)


def test_a_provider_that_names_no_session_ends_all_of_that_subject_through_it(arrangement: Arrangement, ada: Record) -> None:
    browsers = [signed_in(arrangement) for _ in range(2)]
    beside = connect(
        arrangement.app, arrangement.company, arrangement.provider, name="beside", client_id="another",
        directory_id={"attribute": "directory", "matches": "externalId"},
    )  # fmt: skip
    untouched = signed_in(beside)

    assert told(arrangement, arrangement.provider.logout_token(sid=None)).status_code == 200

    assert [is_in(one) for one in browsers] == [False, False]
    assert is_in(untouched)


def test_a_session_of_which_the_provider_said_no_name_ends_with_any_that_it_names_of_that_subject(arrangement: Arrangement, ada: Record) -> None:
    """Back-Channel Logout 1.0 §2.4: a logout token may say both, whether or not the ID token said `sid`."""
    browsers = []
    for name in (None, "second"):
        arrangement.provider.claims["sid"] = name
        browsers.append(signed_in(arrangement))

    told(arrangement, arrangement.provider.logout_token(sid="another's", sub="somebody else"))
    before = [is_in(one) for one in browsers]
    told(arrangement, arrangement.provider.logout_token(sid="first"))

    assert (before, [is_in(one) for one in browsers]) == ([True, True], [False, True])


@pytest.mark.parametrize("changed", [{"exp": None}, {"header": {"typ": None}}, {"header": {"typ": "JWT"}, "exp": None}, {"sub": None}])
def test_providers_may_leave_out_type_and_end_and_one_of_the_names(arrangement: Arrangement, ada: Record, changed: dict[str, Any]) -> None:
    http = signed_in(arrangement)

    assert told(arrangement, arrangement.provider.logout_token(**changed)).status_code == 200
    assert not is_in(http)


def test_the_logout_of_somebody_who_is_not_here_is_no_error(arrangement: Arrangement, ada: Record) -> None:
    http = signed_in(arrangement)

    assert told(arrangement, arrangement.provider.logout_token(sub="somebody else", sid=None)).status_code == 200
    assert is_in(http)


def test_a_logout_is_no_departure_and_is_written_down(arrangement: Arrangement, ada: Record) -> None:
    signed_in(arrangement)
    before = arrangement.company.person(ada)

    told(arrangement, arrangement.provider.logout_token())

    after = arrangement.company.person(ada)
    assert (after.standing, after.access_epoch) == (Standing.ACTIVE, before.access_epoch)
    with reading() as session:
        entry = session.scalars(select(Entry).where(Entry.verb == "signed out by provider")).one()
        assert (entry.subject_id, entry.actor, entry.after) == (ada.person_id, "source:stand-in", {"sessions": 1})
    assert is_in(signed_in(arrangement))


def test_parties_that_rest_on_the_session_are_told(arrangement: Arrangement, ada: Record) -> None:
    signed_in(arrangement)
    organization_id, person_id = arrangement.company.organization_id, str(ada.person_id)

    def grant(session: Session) -> str:
        draft = PartyDraft(name="chat", redirect_uris=("https://chat.example/back",), backchannel_logout_uri="https://chat.example/logout")
        party = open_party(session, organization_id, draft, actor=ADMIN, at=now())
        person = session.get_one(Person, (organization_id, person_id))
        held = session.scalars(select(WebSession)).one()
        session.add(
            Grant(
                organization_id=organization_id, id=new_id(), person_id=person_id, client_id=party.client_id, session_id=held.id,
                epoch=person.access_epoch, scope="openid", sid="s", authenticated_at=now(), created_at=now(), expires_at=now() + timedelta(hours=1),
            )
        )  # fmt: skip
        return party.client_id

    client_id = in_transaction(grant)

    told(arrangement, arrangement.provider.logout_token())

    with reading() as session:
        assert session.scalars(select(Grant)).one().ended_at is not None
        work = session.scalars(select(Work).where(Work.subject == Subject.ACCESS)).one()
    assert (work.workspace_id, work.subject_id, work.lane) == (client_id, person_id, Lane.SYNC)


def test_a_logout_of_a_key_that_was_changed_a_moment_ago_is_asked_for_again_and_then_taken(
    arrangement: Arrangement, ada: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = signed_in(arrangement)
    stranger = arrangement.provider.roll()
    made_up = arrangement.provider.logout_token()
    arrangement.provider.roll()
    token = arrangement.provider.logout_token()
    assert stranger.kid not in {one.kid for one in arrangement.provider.keys}

    early = told(arrangement, token)
    was_in = is_in(http)
    monkeypatch.setattr(KEYS, "clock", lambda: time.monotonic() + ASKED_AGAIN_AFTER)

    assert (early.status_code, was_in) == (503, True)
    assert [told(arrangement, one).status_code for one in (made_up, token)] == [400, 200]
    assert not is_in(http)


def test_keys_that_cannot_be_read_just_now_are_not_the_senders_fault(arrangement: Arrangement, ada: Record) -> None:
    forget_keys()
    token = arrangement.provider.logout_token()
    arrangement.provider.fails = 503

    assert told(arrangement, token).status_code == 503
