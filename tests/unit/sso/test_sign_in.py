"""The pages of signing in and out, as a browser sees them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.access import closed
from app.access.connection_tables import Connection, ConnectionKind, Login
from app.access.session_tables import WebSession
from app.clock import now
from app.database import in_transaction, reading
from app.sso import connections
from app.sso.entering import Entered
from tests.company import ADMIN, Company, new_company
from tests.vouching import Provider, access_ends, decide, entries_of, in_group, joins_as, shown

OURS = {"Origin": "http://127.0.0.1:8484"}
OIDC = {
    "client_id": "doorlist", "authorization_endpoint": "https://idp.example/authorize", "token_endpoint": "https://idp.example/token",
    "jwks_uri": "https://idp.example/jwks", "end_session_endpoint": "https://idp.example/logout",
}  # fmt: skip


def connected(company: Company, name: str = "Okta", *, issuer: str = "https://idp.example", domains: tuple[str, ...] = ()) -> Provider:
    """A connection that is set up far enough to send people off."""

    def act(session: Session) -> Connection:
        return connections.add(
            session, company.organization_id, kind=ConnectionKind.OIDC, name=name, issuer=issuer, settings={"oidc": OIDC}, domains=domains,
            actor=ADMIN, at=now(),
        )  # fmt: skip

    return Provider(company=company, connection_id=in_transaction(act).id, issuer=issuer)


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.fixture
def browser(installed: Flask) -> Iterator[FlaskClient]:
    with installed.test_client() as client:
        yield client


def types(browser: FlaskClient, email: str, **more: str) -> TestResponse:
    return browser.post("/sign-in", data={"email": email, **more}, headers=OURS)


def comes_in(browser: FlaskClient, provider: Provider, subject: str = "00u1", **said: object) -> Entered:
    """Somebody comes back from their provider; the browser keeps what it is given."""
    at = now()
    entered = shown(provider.vouches_for(subject, at=at, **said), at=at)
    browser.set_cookie("doorlist_session", entered.cookie)
    return entered


@pytest.fixture
def okta(company: Company) -> Provider:
    provider = connected(company, domains=("northwind.example",))
    joins_as(company, "00u1", "ada@northwind.example", at=now())
    return provider


def test_the_page_asks_for_an_e_mail_and_nothing_else(browser: FlaskClient) -> None:
    page = browser.get("/sign-in")

    assert page.status_code == 200
    assert 'type="email"' in page.text and "password" not in page.text.lower()


def test_an_address_leads_to_the_provider_of_its_domain(browser: FlaskClient, okta: Provider) -> None:
    page = types(browser, "Anybody@NorthWind.example", to="/access")

    assert page.status_code == 200
    assert "https://idp.example/authorize?" in page.text
    with reading() as session:
        (login,) = session.scalars(select(Login))
    assert (login.connection_id, login.return_to) == (okta.connection_id, "/access")


def test_a_connection_in_the_link_skips_the_e_mail(browser: FlaskClient, okta: Provider) -> None:
    answer = browser.get(f"/sign-in?connection={okta.connection_id}&to=/access")

    assert answer.status_code == 303
    asked = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert answer.headers["Location"].startswith("https://idp.example/authorize?")
    assert asked["redirect_uri"] == [f"http://127.0.0.1:8484/oidc/{okta.connection_id}/callback"]


@pytest.mark.parametrize("link", ["nothing", "0" * 36, "a%00b", "x" * 500])
def test_a_link_to_no_connection_is_a_calm_page(browser: FlaskClient, okta: Provider, link: str) -> None:
    answer = browser.get(f"/sign-in?connection={link}")

    assert answer.status_code == 403
    assert "That link leads nowhere" in answer.text


def test_an_ended_connection_is_none(browser: FlaskClient, okta: Provider) -> None:
    in_transaction(lambda session: connections.end(session, okta.row(session), actor=ADMIN, at=now()))

    assert browser.get(f"/sign-in?connection={okta.connection_id}").status_code == 403
    assert "idp.example" not in types(browser, "ada@northwind.example").text


def test_a_domain_of_two_organisations_is_a_choice(browser: FlaskClient, okta: Provider) -> None:
    elsewhere = connected(new_company(), "Entra", domains=("northwind.example",))

    page = types(browser, "ada@northwind.example", fresh="1")

    assert f"connection={okta.connection_id}" in page.text and f"connection={elsewhere.connection_id}" in page.text
    assert page.text.count("fresh=1") == 3, "what was wanted of the sign-in goes along"
    assert "idp.example" not in page.text


def test_an_unknown_domain_is_said_to_be_unknown(browser: FlaskClient, okta: Provider) -> None:
    page = types(browser, "ada@elsewhere.example")

    assert page.status_code == 200
    assert "We do not know where people of that address sign in" in page.text


@pytest.mark.parametrize("text", ["", "ada", "ada@", "@", "ada@exa mple.org", "ada@-..-", "ada@a\u2028b"])
def test_what_is_no_address_is_asked_for_again(browser: FlaskClient, okta: Provider, text: str) -> None:
    page = types(browser, text)

    assert page.status_code == 400
    assert 'aria-invalid="true"' in page.text


def test_the_only_connection_there_is_takes_every_address_where_it_names_no_domain(browser: FlaskClient, company: Company) -> None:
    connected(company)

    assert "https://idp.example/authorize?" in types(browser, "anybody@anywhere.example").text


def test_a_device_remembers_its_provider_until_somebody_says_not_you(browser: FlaskClient, okta: Provider) -> None:
    browser.set_cookie("doorlist_provider", okta.connection_id)

    assert "Continue with Okta" in browser.get("/sign-in").text

    asked = browser.get("/sign-in?other=1")
    assert 'type="email"' in asked.text
    assert 'type="email"' in browser.get("/sign-in").text


def test_whom_an_application_hints_at_is_told_to_the_remembered_provider(browser: FlaskClient, okta: Provider) -> None:
    browser.set_cookie("doorlist_provider", okta.connection_id)
    page = browser.get("/sign-in?to=/x&email=ada@northwind.example").text

    (link,) = re.findall(r'class="button" href="([^"]+)"', page)
    sent = parse_qs(urlsplit(browser.get(html.unescape(link)).headers["Location"]).query)

    assert sent["login_hint"] == ["ada@northwind.example"]
    assert "email=" not in browser.get("/sign-in?to=/x").text


def test_somebody_who_is_signed_in_is_not_asked(browser: FlaskClient, okta: Provider) -> None:
    comes_in(browser, okta)

    answer = browser.get("/sign-in?to=/access")

    assert (answer.status_code, answer.headers["Location"]) == (303, "/access")


def test_asking_anew_goes_to_the_same_provider_which_must_ask_too(browser: FlaskClient, okta: Provider) -> None:
    comes_in(browser, okta)

    answer = browser.get("/sign-in?fresh=1&to=/access")

    asked = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert (asked["prompt"], asked["max_age"]) == (["login"], ["0"])


def test_signing_in_again_remembers_which_session_it_replaces(browser: FlaskClient, okta: Provider) -> None:
    entered = comes_in(browser, okta)

    browser.get("/sign-in?fresh=1")

    with reading() as session:
        (login,) = session.scalars(select(Login))
    assert login.asked["replaces"] == {"organization": okta.company.organization_id, "session": entered.present.session_id}


def test_the_session_says_who_is_there_and_until_when(browser: FlaskClient, okta: Provider, company: Company) -> None:
    decide(company, "session_absolute", "1h")
    entered = comes_in(browser, okta, acr="phr", amr=("hwk",))

    answer = browser.get("/session")

    assert answer.status_code == 200 and answer.json is not None
    assert answer.json["person"]["userName"] == "ada@northwind.example"
    assert (answer.json["acr"], answer.json["amr"], answer.json["second_factor"]) == ("phr", ["hwk"], True)
    assert answer.json["until"] <= answer.json["expires_at"]
    assert entered.cookie not in answer.text
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_session_says_which_roles_somebody_has(browser: FlaskClient, company: Company) -> None:
    provider = connected(company)
    in_group(company, "IT", joins_as(company, "00u1", "ada"))
    decide(company, "role_groups", '{"auditor": ["IT"], "admin": ["it"]}')
    comes_in(browser, provider, amr=("mfa",))

    assert (browser.get("/session").json or {})["roles"] == ["admin", "auditor"]


def test_nobody_is_problem_json(browser: FlaskClient, okta: Provider) -> None:
    browser.set_cookie("doorlist_session", "dl_s_made_up")

    answer = browser.get("/session")

    assert (answer.status_code, answer.content_type) == (401, "application/problem+json")


def test_somebody_who_departs_is_nobody_at_once(browser: FlaskClient, company: Company) -> None:
    provider = connected(company)
    ada = joins_as(company, "00u1", at=now())
    comes_in(browser, provider)
    access_ends(company, ada, at=now(), said_at=now())

    assert browser.get("/session").status_code == 401


def test_asking_who_is_there_does_not_prolong_the_session(browser: FlaskClient, okta: Provider) -> None:
    entered = comes_in(browser, okta)

    def idle_until() -> object:
        with reading() as session:
            return session.get_one(WebSession, (okta.company.organization_id, entered.present.session_id)).idle_until

    before = idle_until()
    browser.get("/session")

    assert idle_until() == before


def test_a_link_does_not_sign_anybody_out(browser: FlaskClient, okta: Provider) -> None:
    comes_in(browser, okta)

    page = browser.get("/sign-out")

    assert '<form method="post" action="/sign-out"' in page.text
    assert browser.get("/session").status_code == 200


def test_signing_out_ends_the_session_and_goes_on_to_the_providers_own(browser: FlaskClient, okta: Provider) -> None:
    entered = comes_in(browser, okta, id_token="eyJ.a.b")

    page = browser.post("/sign-out", headers=OURS)

    assert "https://idp.example/logout?" in page.text and "id_token_hint=eyJ.a.b" in page.text
    assert browser.get_cookie("doorlist_session") is None
    browser.set_cookie("doorlist_session", entered.cookie)
    assert browser.get("/session").status_code == 401
    assert [one.actor for one in entries_of(okta.company.organization_id, "signed out")] == [f"person:{entered.present.person_id}"]


def test_signing_out_twice_is_once(browser: FlaskClient, okta: Provider) -> None:
    comes_in(browser, okta)

    first, second = browser.post("/sign-out", headers=OURS), browser.post("/sign-out", headers=OURS)

    assert (first.status_code, second.status_code) == (200, 200)
    assert "You are signed out" in second.text


def test_every_page_is_under_a_strict_policy(browser: FlaskClient, okta: Provider) -> None:
    for page in (browser.get("/sign-in"), types(browser, "ada@northwind.example"), browser.get("/sign-out"), browser.get("/sign-in?connection=no")):
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert page.headers["Referrer-Policy"] == "same-origin" and page.headers["Cache-Control"] == "no-store"
        assert "<script" not in page.text and "style=" not in page.text and " on" + "click=" not in page.text


def test_cookies_are_out_of_reach_of_scripts(browser: FlaskClient, okta: Provider) -> None:
    answer = browser.get(f"/sign-in?connection={okta.connection_id}")

    (cookie,) = answer.headers.getlist("Set-Cookie")
    assert cookie.startswith("doorlist_sign_in=") and "HttpOnly" in cookie and "Path=/" in cookie


def test_using_a_page_prolongs_an_idle_session_and_no_more_than_that(browser: FlaskClient, okta: Provider, company: Company) -> None:
    decide(company, "session_idle", "10m")
    began = now() - timedelta(minutes=8)
    entered = shown(okta.vouches_for("00u1", at=began), at=began)
    browser.set_cookie("doorlist_session", entered.cookie)

    browser.get("/sign-out")

    until = datetime.fromisoformat((browser.get("/session").json or {})["idle_until"])
    assert timedelta(minutes=9) < until - now() <= timedelta(minutes=10)


def test_while_doorlist_is_closed_no_session_of_before_is_anybodys(browser: FlaskClient, okta: Provider) -> None:
    comes_in(browser, okta)
    in_transaction(lambda session: closed.shut_doors(session, because="restored", at=now()))
    closed.look_again()

    assert browser.get("/session").status_code == 401
