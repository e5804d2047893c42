"""Attacks on the pages of signing in: planted cookies, links and forms of others, and what can be learned from answers."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.access.rates import Buckets
from app.clock import now
from app.database import reading
from app.revocation.alarms import open_alarms
from app.sso.browser import respond_entered, respond_refused
from app.sso.logins import local_path
from app.sso.refusals import Reason, Refused
from app.sso.refused_sign_ins import KEPT
from tests.company import Company, new_company
from tests.unit.sso.test_sign_in import comes_in, connected, types
from tests.vouching import Provider, entries_of, is_in, joins_as, new_provider, shown

pytestmark = pytest.mark.usefixtures("installed")
ELSEWHERE = ("//evil.example", "https://evil.example", "https:evil.example", "\\evil.example", "/\\evil.example", "/\t/evil.example", "javascript:alert(1)",
             "///evil.example", "/ /evil.example", "\x00//evil.example", "/%0d%0aSet-Cookie:a=b\r\nx", "evil.example", "", "?to=//evil", "data:text/html,x")  # fmt: skip


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.fixture
def okta(company: Company) -> Provider:
    return new_provider(company)


@pytest.fixture
def browser(installed: Flask) -> Iterator[FlaskClient]:
    with installed.test_client() as client:
        yield client


# Browsers


def test_a_planted_session_cookie_does_not_become_the_victims(installed: Flask, company: Company, okta: Provider) -> None:
    """Fixation: whoever put a cookie of theirs into the browser learns nothing of the session that follows, and theirs is over."""
    joins_as(company, "00u1", "ada", at=now())
    joins_as(company, "00u2", "eve", at=now())
    at = now()
    planted = shown(okta.vouches_for("00u2", at=at), at=at)
    entered = shown(okta.vouches_for("00u1", at=at), at=at)

    with installed.test_request_context(headers={"Cookie": f"doorlist_session={planted.cookie}"}):
        answer = respond_entered(entered)

    assert any(cookie.startswith(f"doorlist_session={entered.cookie};") for cookie in answer.headers.getlist("Set-Cookie"))
    assert entered.cookie != planted.cookie
    assert not is_in(planted.cookie, at=now())


@pytest.mark.parametrize("wanted", ELSEWHERE)
def test_s28_no_link_sends_anybody_elsewhere(browser: FlaskClient, company: Company, wanted: str) -> None:
    assert local_path(wanted) == "/"
    comes_in_as(browser, company)

    answer = browser.get("/sign-in", query_string={"to": wanted})

    assert answer.headers["Location"] == "/"


def comes_in_as(browser: FlaskClient, company: Company) -> Provider:
    provider = connected(company, domains=("northwind.example",))
    joins_as(company, "00u1", "ada@northwind.example", at=now())
    comes_in(browser, provider)
    return provider


@pytest.mark.parametrize("wanted", ELSEWHERE[:6])
def test_s28_nobody_is_sent_elsewhere_after_coming_in(installed: Flask, company: Company, okta: Provider, wanted: str) -> None:
    joins_as(company, "00u1", "ada")
    entered = okta.lets_in("00u1", return_to=wanted)

    with installed.test_request_context():
        assert respond_entered(entered).headers["Location"] == "/"


FROM_ELSEWHERE = [
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {}, {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8484"},
    {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://127.0.0.1:8484.evil.example"}, {"Origin": "http://["},
    {"Origin": "https://[evil]"},
]  # fmt: skip


@pytest.mark.parametrize("headers", FROM_ELSEWHERE)
def test_csrf_a_form_of_another_site_signs_nobody_out_or_in(browser: FlaskClient, company: Company, headers: dict[str, str]) -> None:
    comes_in_as(browser, company)

    assert browser.post("/sign-out", headers=headers).status_code == 403
    assert browser.post("/sign-in", data={"email": "ada@northwind.example"}, headers=headers).status_code == 403
    assert browser.get("/session").status_code == 200


# What is learned from answers


def told(answer: TestResponse) -> tuple[int, str, list[str]]:
    """An answer without what is another in each."""
    text = re.sub(r"(state|nonce|code_challenge|login_hint)=[^&\"]+", r"\1=…", answer.text)
    return answer.status_code, text, sorted(cookie.split("=")[0] for cookie in answer.headers.getlist("Set-Cookie"))


def test_enumeration_the_answer_to_an_address_is_the_same_whoever_exists(browser: FlaskClient, company: Company) -> None:
    connected(company, domains=("northwind.example",))
    joins_as(company, "00u1", "ada@northwind.example", at=now())
    company.says(joins_as(company, "00u2", "left@northwind.example", at=now()), active=False, at=now())

    browser.get("/sign-in?connection=none")
    types(browser, "first@northwind.example")
    here, gone, never = (told(types(browser, f"{one}@northwind.example")) for one in ("ada", "left", "nobody"))

    assert here == gone == never
    unknown = [told(types(browser, f"{one}@elsewhere.example", to="/")) for one in ("ada", "nobody")]
    assert unknown[0][1].replace("ada@", "nobody@") == unknown[1][1]


def test_enumeration_whoever_is_refused_reads_the_same_whether_or_not_they_exist(installed: Flask) -> None:
    pages = set()
    for reason in (Reason.NOT_KNOWN, Reason.NO_ACCESS, Reason.ISSUED_BEFORE):
        error = Refused(reason, "a secret reason", person_id="somebody")
        with installed.test_request_context():
            answer = respond_refused(error)
        pages.add((answer.status_code, answer.get_data(as_text=True).replace(error.reference, "…")))

    ((status, page),) = pages
    assert status == 403 and "secret reason" not in page


def test_a_refusal_is_kept_with_its_number_and_never_with_what_was_sent(
    installed: Flask, company: Company, okta: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    error = Refused(Reason.NOT_KNOWN, "no directory knows this\nsubject", connection_id=okta.connection_id)

    with installed.test_request_context(), caplog.at_level(logging.WARNING):
        page = respond_refused(error).get_data(as_text=True)

    (entry,) = entries_of(company.organization_id, "sign-in refused")
    assert entry.after == {"reference": error.reference, "reason": "not-known", "said": "no directory knows this subject"}
    assert entry.subject_id == okta.connection_id
    assert error.reference in page
    # One line in the log, whatever the message held.
    assert [error.reference in record.getMessage() and "\n" not in record.getMessage() for record in caplog.records] == [True]


def test_a_flood_of_refusals_does_not_fill_the_journal(installed: Flask, company: Company, okta: Provider) -> None:
    installed.extensions[KEPT] = Buckets(rate=0.001, burst=5)

    with installed.test_request_context():
        for _ in range(20):
            respond_refused(Refused(Reason.BAD_SIGNATURE, "made up", connection_id=okta.connection_id))

    assert len(entries_of(company.organization_id, "sign-in refused")) == 5


def test_an_administrator_without_a_second_factor_is_an_alarm(installed: Flask, company: Company, okta: Provider) -> None:
    error = Refused(Reason.SECOND_FACTOR, "admin needs a second factor", connection_id=okta.connection_id, person_id="somebody")
    with installed.test_request_context():
        respond_refused(error)

    with reading() as session:
        (alarm,) = open_alarms(session, company.organization_id)
    assert (alarm.kind, alarm.about) == ("admin_without_second_factor", "somebody")


def test_one_address_cannot_knock_without_end(installed: Flask, browser: FlaskClient) -> None:
    """Whatever address it writes into a header itself."""
    installed.config["DOORLIST"] = replace(installed.config["DOORLIST"], sign_in_rate=0.1)

    answers = [browser.get("/sign-in", headers={"X-Forwarded-For": f"10.0.0.{number}"}) for number in range(8)]

    last = answers[-1]
    assert (answers[0].status_code, last.status_code) == (200, 429)
    assert int(last.headers["Retry-After"]) >= 1


def test_one_e_mail_cannot_be_tried_without_end_from_many_addresses(browser: FlaskClient, company: Company, okta: Provider) -> None:
    statuses = [types(browser, "Ada@northwind.example" if number % 2 else "ada@northwind.example").status_code for number in range(30)]

    assert statuses[-1] == 429


def test_no_cookie_or_token_stands_in_the_journal(company: Company, okta: Provider) -> None:
    joins_as(company, "00u1", "ada")
    entered = okta.lets_in("00u1", id_token="eyJ.secret.token")

    every = [json.dumps(entry.after) for verb in ("signed in", "identity bound") for entry in entries_of(company.organization_id, verb)]
    assert len(every) == 2
    assert not any("eyJ" in one or entered.cookie in one for one in every)
