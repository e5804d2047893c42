"""An application wants a fresh proof, or a certain one: from its request to the provider, which is asked so once, and back."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from lxml import etree
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from app.access.session_tables import Grant, WebSession
from app.clock import now
from app.database import reading
from tests.company import new_company
from tests.oidc_arrangement import Arrangement, arranged, forget_keys, tries
from tests.saml_arrangement import acme
from tests.saml_provider import SAML, SAMLP, unpacked
from tests.unit.sso.providing import CALLBACK, Application, application_in, change, said_back, wished
from tests.vouching import caught_up, decide, in_group, joins_as

pytestmark = pytest.mark.slow

OURS = {"Origin": "http://127.0.0.1:8484"}
REFEDS = "https://refeds.org/profile/mfa"


def asked_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@dataclass(kw_only=True)
class Window:
    """A browser that goes wherever it is sent, and signs in where it is asked to. `asked` is what the provider was asked each time."""

    arrangement: Arrangement
    http: FlaskClient
    asked: list[dict[str, str]]

    def enters(self, application: Application, **wishes: str) -> dict[str, str]:
        """What the application is told in the end."""
        answer = self.http.get("/authorize", query_string=wished(application, **wishes))
        while answer.status_code == 303 and not answer.headers["Location"].startswith(CALLBACK):
            answer = self._goes_on(answer.headers["Location"])
        return said_back(answer)

    def _goes_on(self, url: str) -> TestResponse:
        if url.startswith(self.arrangement.provider.issuer):
            return self._signs_in(url)
        answer = self.http.get(url)
        known = re.findall(r'class="button" href="([^"]*)"', answer.text) if answer.status_code == 200 else []
        if known:
            return self._signs_in(self.http.get(html.unescape(known[0])).headers["Location"])
        if answer.status_code == 200:
            form = dict(re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', answer.text))
            given = {name: html.unescape(value) for name, value in form.items()}
            page = self.http.post("/sign-in", data={**given, "email": "ada@northwind.example"}, headers=OURS)
            (url,) = re.findall(r'class="button" href="([^"]*)"', page.text)
            return self._signs_in(html.unescape(url))
        return answer

    def _signs_in(self, url: str) -> TestResponse:
        assert len(self.asked) < 5, "the browser goes round in circles"
        self.asked.append(asked_of(url))
        caught_up(now())
        return self.http.get(f"/oidc/{self.arrangement.connection_id}/callback", query_string=self.arrangement.provider.answers(url))


@pytest.fixture
def window(installed: Flask) -> Iterator[Window]:
    forget_keys()
    company = new_company()
    joins_as(company, "im-ada", "ada@northwind.example", at=now() - timedelta(minutes=30))
    with arranged(installed, company) as made, installed.test_client() as http:
        yield Window(arrangement=made, http=http, asked=[])
    forget_keys()


@pytest.fixture
def chat(window: Window) -> Application:
    return application_in(window.arrangement.app, window.arrangement.company)


@pytest.mark.parametrize(
    ("wish", "prompt"),
    [({"prompt": "login"}, "login"), ({"prompt": "select_account"}, "login"), ({"max_age": "0"}, "login"), ({"max_age": "60"}, None), ({"acr_values": "phr"}, None)],
)
def test_who_is_not_signed_in_yet_signs_in_once(window: Window, chat: Application, wish: dict[str, str], prompt: str | None) -> None:
    window.arrangement.provider.claims = {"acr": "phr"}

    said = window.enters(chat, **wish)

    assert "code" in said
    assert [(asked.get("prompt"), asked.get("acr_values")) for asked in window.asked] == [(prompt, wish.get("acr_values"))]


def test_who_is_signed_in_signs_in_anew_once(window: Window, chat: Application) -> None:
    window.enters(chat)

    said = window.enters(chat, prompt="login", acr_values="mfa phr")

    assert said["error"] == "unmet_authentication_requirements"
    assert [(asked.get("prompt"), asked.get("acr_values")) for asked in window.asked] == [(None, None), ("login", "mfa phr")]


def test_a_provider_whose_clock_is_late_is_asked_once(window: Window, chat: Application) -> None:
    window.arrangement.provider.claims = {"iat": timedelta(minutes=-2), "auth_time": timedelta(minutes=-2)}

    assert "code" in window.enters(chat, prompt="login")
    assert len(window.asked) == 1


def test_a_provider_is_asked_for_more_and_never_for_less(window: Window, chat: Application) -> None:
    window.arrangement.set(acr_values="mfa")
    window.arrangement.provider.claims = {"acr": "phr"}

    window.enters(chat, acr_values="urn:password phr urn:doorlist:acr:2 mfa")

    assert [asked.get("acr_values") for asked in window.asked] == ["phr mfa"]


@pytest.mark.parametrize(("amr", "expected"), [(["pwd", "mfa"], "urn:doorlist:acr:2"), (["pwd"], None)])
def test_who_asks_for_two_factors_by_our_own_name_is_answered_by_it(window: Window, chat: Application, amr: list[str], expected: str | None) -> None:
    window.arrangement.provider.claims = {"acr": "0", "amr": amr}

    said = window.enters(chat, acr_values="urn:doorlist:acr:2")

    if expected is None:
        assert said["error"] == "unmet_authentication_requirements"
    else:
        claims = chat.reads((chat.exchanges(said["code"]).json or {})["id_token"])
        assert (claims["acr"], claims["amr"]) == (expected, amr)


def test_a_saml_provider_is_asked_for_contexts_that_have_an_address(installed: Flask) -> None:
    here = acme(installed, new_company())
    with installed.test_client() as http:
        plain, asked = (
            unpacked(http.get("/sign-in", query_string={"connection": here.connection_id, **more}).headers["Location"])
            for more in ({}, {"acr_values": f"phr {REFEDS} urn:password"})
        )

    assert plain.find(f"{{{SAMLP}}}RequestedAuthnContext") is None
    context = asked.find(f"{{{SAMLP}}}RequestedAuthnContext")
    assert context is not None and context.get("Comparison") == "exact"
    assert [one.text for one in context.iter(f"{{{SAML}}}AuthnContextClassRef")] == [REFEDS]
    # The schema has an order (Core §3.4.1).
    assert [etree.QName(one).localname for one in asked][-2:] == ["NameIDPolicy", "RequestedAuthnContext"]


def test_who_came_without_a_second_factor_is_asked_for_it_by_the_link_of_the_page(window: Window) -> None:
    company, provider = window.arrangement.company, window.arrangement.provider
    in_group(company, "Admins", joins_as(company, "im-eve", "eve@northwind.example", at=now() - timedelta(minutes=30)))
    decide(company, "role_groups", '{"admin": ["Admins"]}')
    provider.claims = {"sub": "im-eve"}
    refused = tries(window.arrangement, window.http, to="/access")
    provider.claims = {"sub": "im-eve", "amr": ["pwd", "mfa"]}

    (link, _back) = (html.unescape(one) for one in re.findall(r'class="button[^"]*" href="([^"]*)"', refused.text))
    came = window._goes_on(window.http.get(link).headers["Location"])

    assert refused.status_code == 403
    assert [asked.get("prompt") for asked in window.asked] == ["login"]
    assert (came.status_code, came.headers["Location"]) == (303, "/access")


def test_the_wish_goes_along_where_the_provider_is_remembered(window: Window) -> None:
    wish = {"to": "/access", "fresh": "1", "acr_values": "phr"}
    window.http.set_cookie("doorlist_provider", window.arrangement.connection_id)

    page = window.http.get("/sign-in", query_string=wish)

    link, other = (asked_of(html.unescape(one)) for one in re.findall(r'href="(/sign-in\?[^"]*)"', page.text))
    assert link == {**wish, "connection": window.arrangement.connection_id}
    assert other == {**wish, "other": "1"}


def test_who_signs_in_again_after_lunch_signs_out_of_what_they_had_entered_before(window: Window, chat: Application) -> None:
    given = chat.exchanges(window.enters(chat, scope="openid offline_access")["code"]).json or {}
    change(update(WebSession).values(idle_until=now() - timedelta(minutes=5)))
    wiki = application_in(window.arrangement.app, window.arrangement.company)
    window.enters(wiki)
    assert chat.refreshes(given["refresh_token"]).status_code == 200

    window.http.post("/sign-out", headers=OURS)

    with reading() as session:
        assert set(session.scalars(select(Grant.ended_why))) == {"signed out"}


def test_somebody_else_at_the_same_browser_ends_what_was_entered_before_lunch(window: Window, chat: Application) -> None:
    joins_as(window.arrangement.company, "im-bob", "bob@northwind.example", at=now() - timedelta(minutes=30))
    given = chat.exchanges(window.enters(chat, scope="openid offline_access")["code"]).json or {}
    change(update(WebSession).values(idle_until=now() - timedelta(minutes=5)))

    window.arrangement.provider.claims = {"sub": "im-bob", "email": "bob@northwind.example"}
    window.enters(application_in(window.arrangement.app, window.arrangement.company))

    assert chat.refreshes(given["refresh_token"]).status_code == 400
