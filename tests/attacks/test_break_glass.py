"""Attacks on the door that opens without the identity provider."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.clock import now
from app.database import in_transaction, reading
from app.scim.cursors import Place, write_cursor
from app.sso import break_glass
from tests.break_glass import OURS, Holder, application, field_of, holder_of, options_of
from tests.company import ADMIN, Company, new_company
from tests.security_key import SecurityKey
from tests.vouching import access_ends, caught_up, entries_of


@pytest.fixture
def installed(database_url: str, tmp_path: Path) -> Iterator[Flask]:
    with application(database_url, tmp_path) as app:
        yield app


@pytest.fixture
def company(installed: Flask) -> Company:
    made = new_company()
    caught_up(now())
    return made


@pytest.fixture
def browser(installed: Flask) -> Iterator[FlaskClient]:
    with installed.test_client() as client:
        yield client


@pytest.fixture
def ada(company: Company, browser: FlaskClient) -> Holder:
    return holder_of(company, browser)


def test_a_code_of_the_app_counts_once(ada: Holder) -> None:
    ada.sets_up_app()
    shown = ada.digits()
    assert ada.comes_in(totp=shown).status_code == 303
    ada.browser.post("/sign-out", headers=OURS)

    again = ada.comes_in(totp=shown)

    assert again.status_code == 403
    assert ada.session.status_code == 401


def test_the_code_that_set_the_app_up_does_not_count_again(ada: Holder) -> None:
    ada.sets_up_app()

    assert ada.comes_in(totp=ada.shown).status_code == 403


def test_a_code_on_paper_counts_once_and_a_wrong_try_does_not_use_it_up(ada: Holder) -> None:
    ada.sets_up_app()
    paper = ada.envelope[0]

    assert ada.comes_in(code=paper, totp="000000").status_code == 403
    assert ada.comes_in(code=paper.lower().replace("-", " ")).status_code == 303
    assert ada.comes_in(code=paper, totp=ada.digits(1)).status_code == 403


def test_neither_half_is_enough(ada: Holder) -> None:
    ada.sets_up_app()

    assert ada.comes_in(code="", totp=ada.digits()).status_code == 403
    assert ada.comes_in(totp=" ").status_code == 403
    assert ada.session.status_code == 401


def test_wrong_tries_block_the_account_for_longer_each_time_and_are_an_alarm(ada: Holder) -> None:
    ada.sets_up_app()
    paper = ada.envelope[0]
    for _ in range(break_glass.FREE_TRIES):
        assert ada.comes_in(code=paper, totp="000000").status_code == 403

    assert ada.comes_in(code=paper).status_code == 403
    with reading() as session:
        (listed,) = break_glass.accounts(session, ada.company.organization_id)
    assert listed.account.failures == break_glass.FREE_TRIES
    assert listed.account.blocked_until is not None and listed.account.blocked_until > now()
    assert any("wrong tries" in said for said in ada.alarms())


def test_what_was_wrong_is_not_told_apart(ada: Holder) -> None:
    ada.sets_up_app()

    def masked(page: TestResponse) -> str:
        return re.sub(r'(name="kept" value=")[^"]*|(challenge)[^}]*|<code>[0-9A-Z]{8}</code>', "…", page.text)

    unknown, wrong = ada.comes_in(code="AAAAA-AAAAA-AAAAA-AAAAA", totp="000000"), ada.comes_in(totp="000000")

    assert (unknown.status_code, masked(unknown)) == (wrong.status_code, masked(wrong))


def test_d11_a_departure_closes_the_account_and_a_return_does_not_open_it(ada: Holder) -> None:
    ada.sets_up_app()
    ada.comes_in()
    ada.company.says(ada.record, active=False, at=now())
    assert ada.session.status_code == 401
    assert ada.comes_in(totp=ada.digits(1)).status_code == 403
    ada.company.says(ada.record, active=True, at=now())

    assert ada.comes_in(totp=ada.digits(1)).status_code == 403
    with reading() as session:
        (listed,) = break_glass.accounts(session, ada.company.organization_id)
    assert listed.closed_at is not None


def test_d11_an_account_that_a_departure_closed_is_added_anew_with_nothing_old(ada: Holder) -> None:
    key = SecurityKey()
    ada.sets_up(key)
    ada.company.says(ada.record, active=False, at=now())
    ada.company.says(ada.record, active=True, at=now())
    in_transaction(
        lambda session: break_glass.add(session, ada.company.organization_id, ada.record.person_id, actor=ADMIN, at=now())
    )
    caught_up(now())

    assert ada.comes_in_with(key).status_code == 403


def test_a_code_to_set_up_with_counts_once(ada: Holder) -> None:
    ada.sets_up_app()

    again = ada.browser.post("/break-glass/set-up", data={"code": ada.code}, headers=OURS)

    assert again.status_code == 403


def test_a_code_to_set_up_with_is_no_code_to_come_in_with(ada: Holder) -> None:
    ada.sets_up_app()

    def another(session: Session) -> str:
        account = break_glass.find(session, ada.company.organization_id, ada.record.person_id)
        return break_glass.set_up_code(session, account, actor=ADMIN, at=now())

    assert ada.comes_in(code=in_transaction(another)).status_code == 403


def test_a_security_key_that_asks_its_holder_for_nothing_is_not_taken(ada: Holder) -> None:
    assert ada.sets_up(SecurityKey(asks=False)).status_code == 403

    key = SecurityKey()
    ada.sets_up(key)
    key.asks = False
    assert ada.comes_in_with(key).status_code == 403


@pytest.mark.parametrize("wrong", [{"origin": "http://localhost:9999"}, {"origin": "https://evil.example"}, {"host": "evil.example"}])
def test_a_security_key_signs_for_our_own_page_only(ada: Holder, wrong: dict[str, str]) -> None:
    key = SecurityKey()
    ada.sets_up(key)
    for name, value in wrong.items():
        setattr(key, name, value)

    assert ada.comes_in_with(key).status_code == 403


@pytest.mark.parametrize("counts", [True, False])
def test_what_a_security_key_signed_counts_once_and_only_for_its_browser(ada: Holder, installed: Flask, counts: bool) -> None:
    key = SecurityKey(counts=counts)
    ada.sets_up(key)
    page = ada.browser.get("/break-glass")
    sent = {"kept": field_of(page, "kept"), "credential": key.signs(options_of(page))}

    with installed.test_client() as stranger:
        stranger.get("/break-glass")
        assert stranger.post("/break-glass", data=sent, headers=OURS).status_code == 403
    assert ada.browser.post("/break-glass", data=sent, headers=OURS).status_code == 303
    assert ada.browser.post("/break-glass", data=sent, headers=OURS).status_code == 403


def test_a_security_key_that_was_copied_is_noticed(ada: Holder) -> None:
    key = SecurityKey()
    ada.sets_up(key)
    copy = replace(key, counter=key.counter)
    ada.comes_in_with(key)
    ada.comes_in_with(key)

    assert ada.comes_in_with(copy).status_code == 403


@pytest.mark.parametrize("sent", ["{}", "[]", "null", "not json", '{"id": 7}', '{"id": "x"}', "[" * 5000, "x" * 20000])
def test_what_no_browser_sends_is_refused(ada: Holder, sent: str) -> None:
    ada.sets_up(SecurityKey())
    page = ada.browser.get("/break-glass")

    assert ada.browser.post("/break-glass", data={"kept": field_of(page, "kept"), "credential": sent}, headers=OURS).status_code == 403


@pytest.mark.parametrize("sent", ["{}", "[]", "null", "not json", '{"id": 7}', '{"id": "x"}', "[" * 5000, "x" * 20000])
def test_nor_is_it_taken_for_a_new_key(ada: Holder, sent: str) -> None:
    page = ada.browser.post("/break-glass/set-up", data={"code": ada.code}, headers=OURS)
    new = {"code": ada.code, "kept": field_of(page, "kept"), "credential": sent}

    assert ada.browser.post("/break-glass/set-up", data=new, headers=OURS).status_code == 403
    assert ada.sets_up(SecurityKey()).status_code == 200


@pytest.mark.parametrize("kept", ["", "gAAAAA", "x" * 50, "é"])
def test_a_page_that_is_not_ours_is_not_believed(ada: Holder, kept: str) -> None:
    key = SecurityKey()
    ada.sets_up(key)
    page = ada.browser.get("/break-glass")

    assert ada.browser.post("/break-glass", data={"kept": kept, "credential": key.signs(options_of(page))}, headers=OURS).status_code == 403


def test_what_another_door_has_sealed_is_no_page_of_ours(ada: Holder, installed: Flask) -> None:
    key = SecurityKey()
    ada.sets_up(key)
    page = ada.browser.get("/break-glass")
    cursor = write_cursor(installed.config["DOORLIST"], Place(kind=0, last=("ada", "1"), total=2), question=["users"], at=now())

    sent = {"kept": cursor + "=" * (-len(cursor) % 4), "credential": key.signs(options_of(page))}

    assert ada.browser.post("/break-glass", data=sent, headers=OURS).status_code == 403


def test_a_form_of_another_site_opens_nothing(ada: Holder) -> None:
    ada.sets_up_app()

    answer = ada.browser.post(
        "/break-glass", data={"code": ada.envelope[0], "totp": ada.digits()}, headers={"Origin": "https://evil.example"}
    )

    assert answer.status_code == 403
    assert ada.session.status_code == 401


def test_o22_a_code_to_set_up_with_is_dead_once_its_holder_has_left(ada: Holder) -> None:
    ada.company.says(ada.record, active=False, at=now())

    assert ada.browser.post("/break-glass/set-up", data={"code": ada.code}, headers=OURS).status_code == 403


def test_d11_an_end_of_access_closes_the_door_by_itself(ada: Holder) -> None:
    """Nothing has ticked since, and no departure is written down yet."""
    ada.sets_up_app()
    access_ends(ada.company, ada.record, at=now() + timedelta(seconds=0.3), said_at=now())
    time.sleep(0.4)

    assert ada.comes_in().status_code == 403
    (entry,) = entries_of(ada.company.organization_id, "break-glass refused")
    assert entry.after is not None and entry.after["said"].startswith("access ended at")
