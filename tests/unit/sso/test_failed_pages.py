"""What somebody at a browser sees where an address leads nowhere or the database is away, and that programs are told in JSON as ever."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app.database import in_transaction

AS_A_BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", "Accept-Language": "de-AT,de;q=0.9"}
AS_A_PROGRAM: tuple[dict[str, str], ...] = ({}, {"Accept": "*/*"}, {"Accept": "application/json"}, {"Accept": "application/json, text/plain, */*"})


@pytest.fixture
def browser(installed: Flask) -> Iterator[FlaskClient]:
    with installed.test_client() as client:
        client.set_cookie("doorlist_session", "dl_s_anything")
        yield client


@pytest.fixture
def away(installed: Flask) -> None:
    in_transaction(lambda session: session.execute(text("ALTER TABLE session RENAME TO is_away")))


@pytest.mark.parametrize("path", ["/an/old/bookmark", "/devices-of-mine/", "/break-glass"])
def test_an_old_bookmark_leads_to_a_page_in_the_readers_language(browser: FlaskClient, path: str) -> None:
    answer = browser.get(path, headers=AS_A_BROWSER)

    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert '<html lang="de">' in answer.text and "<h1>Diese Seite gibt es nicht</h1>" in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_an_address_that_takes_forms_alone_leads_to_the_page_too_and_says_what_it_takes(browser: FlaskClient) -> None:
    answer = browser.get("/token", headers=AS_A_BROWSER)

    assert (answer.status_code, answer.mimetype, answer.headers["Allow"]) == (405, "text/html", "OPTIONS, POST")


@pytest.mark.parametrize("path", ["/", "/devices-of-mine", "/sign-out", "/device", "/authorize?client_id=c"])
def test_while_the_database_is_away_people_see_a_page_and_are_told_when_to_try_again(browser: FlaskClient, away: None, path: str) -> None:
    answer = browser.get(path, headers=AS_A_BROWSER)

    assert (answer.status_code, answer.mimetype, answer.headers["Retry-After"]) == (503, "text/html", "5")
    assert "<h1>Doorlist antwortet im Augenblick nicht</h1>" in answer.text


@pytest.mark.parametrize("headers", AS_A_PROGRAM)
def test_programs_are_told_in_json(browser: FlaskClient, away: None, headers: dict[str, str]) -> None:
    nowhere, failed = browser.get("/nowhere", headers=headers), browser.get("/", headers=headers)

    assert [(one.status_code, one.mimetype) for one in (nowhere, failed)] == [(404, "application/problem+json"), (503, "application/problem+json")]


def test_what_is_json_for_everybody_stays_so(browser: FlaskClient, away: None) -> None:
    assert browser.get("/session", headers=AS_A_BROWSER).mimetype == "application/problem+json"


def test_a_program_that_names_html_is_told_in_json_at_its_own_door(browser: FlaskClient) -> None:
    answer = browser.post("/push/check", data="x" * 20_000_000, headers={"Accept": "text/html, image/gif, image/jpeg, */*;q=.2"})

    assert (answer.status_code, answer.mimetype) == (413, "application/problem+json")
