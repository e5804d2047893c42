"""Attacks on HR calls (W01 onward): whoever cannot sign takes nobody's access, and whoever can does it once."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import inspect
import itertools
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select
from standardwebhooks import webhooks
from werkzeug.test import TestResponse

from app.database import reading
from app.directory.tables import Person, Standing
from app.intake.tables import HREvent
from app.revocation.tables import Departure
from tests.company import Company, new_company
from tests.hr_system import HR, leaving

NOW_PLEASE = leaving("E-1", revoke_access="immediately")


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.fixture
def ada(company: Company) -> str:
    return company.joins("ada@x.example", "E-1").person_id


@pytest.fixture
def hr(installed: Flask, company: Company) -> HR:
    return HR(installed, company)


def standing(company: Company, person_id: str) -> str:
    with reading() as session:
        return session.get_one(Person, (company.organization_id, person_id)).standing


def departures(company: Company) -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Departure).where(Departure.organization_id == company.organization_id)) or 0


def calls(company: Company) -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(HREvent).where(HREvent.organization_id == company.organization_id)) or 0


def posts(hr: HR, body: bytes, **changed: str) -> TestResponse:
    """A rightly signed call, some of its headers changed."""
    stamp = str(int(time.time()))
    headers = {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": hr.sign(body, "msg_1", stamp)}
    return hr.app.test_client().post(hr.url, data=body, headers=headers | {name.replace("_", "-"): value for name, value in changed.items()})


def test_w01_a_call_that_is_shown_again_does_nothing_more(hr: HR, company: Company, ada: str) -> None:
    assert [hr.call(NOW_PLEASE).status_code for _ in range(3)] == [200, 200, 200]
    assert (departures(company), calls(company)) == (1, 1)


def test_w01_a_call_kept_for_later_is_refused_for_its_age(hr: HR, company: Company, ada: str) -> None:
    assert hr.call(NOW_PLEASE, age=3600).status_code == 401
    assert standing(company, ada) == Standing.ACTIVE


def test_w01_another_id_needs_another_signature(hr: HR, company: Company, ada: str) -> None:
    body = json.dumps(NOW_PLEASE).encode()

    assert posts(hr, body, webhook_id="msg_2").status_code == 401
    assert standing(company, ada) == Standing.ACTIVE


def _reserialised(hr: HR, body: bytes, stamp: str) -> str:
    return hr.sign(json.dumps(json.loads(body), separators=(",", ":")).encode(), "msg_1", stamp)


def _empty_secret(hr: HR, body: bytes, stamp: str) -> str:
    return "v1," + base64.b64encode(hmac.new(b"", f"msg_1.{stamp}.".encode() + body, hashlib.sha256).digest()).decode()


def _downgraded(hr: HR, body: bytes, stamp: str) -> str:
    return hr.sign(body, "msg_1", stamp).replace("v1,", "v1a,")


@pytest.mark.parametrize(
    "signature",
    [
        _reserialised, _empty_secret, _downgraded,
        lambda *_: "", lambda *_: "v1,", lambda *_: ",", lambda *_: "v1", lambda *_: "ä,ß", lambda *_: "v1,ä", lambda *_: "v1,%%%",
        lambda *_: " ".join(["v1,AAAA"] * 5000),
    ],
    ids=["over other bytes", "empty secret", "v1a", "none", "no value", "comma", "no comma", "not ascii", "half ascii", "no base64", "thousands"],
)  # fmt: skip
def test_w02_a_signature_that_does_not_fit_takes_nobody_out(hr: HR, company: Company, ada: str, signature: Callable[[HR, bytes, str], str]) -> None:
    body = json.dumps(NOW_PLEASE).encode()
    stamp = str(int(time.time()))

    answer = posts(hr, body, webhook_timestamp=stamp, webhook_signature=signature(hr, body, stamp))

    assert (answer.status_code, answer.content_type) == (401, "application/problem+json")
    assert standing(company, ada) == Standing.ACTIVE
    assert calls(company) == 0


def test_w02_of_two_signatures_one_has_to_fit(hr: HR, company: Company, ada: str) -> None:
    body = json.dumps(NOW_PLEASE).encode()
    stamp = str(int(time.time()))

    answer = posts(hr, body, webhook_timestamp=stamp, webhook_signature="v1,AAAA " + hr.sign(body, "msg_1", stamp))

    assert answer.status_code == 200
    assert standing(company, ada) == Standing.DEPARTED


def test_w03_signatures_are_compared_in_constant_time() -> None:
    """What compares is the library; a version of it that compares otherwise is not to be taken."""
    assert "hmac.compare_digest" in inspect.getsource(webhooks.Webhook.verify)


@pytest.mark.parametrize("stamp", ["", "nan", "NaN", "inf", "-1", "1e9", "0", "１７００００００００", "9" * 400, "now", "2026-11-25T09:00:00Z"])
def test_w04_an_odd_timestamp_is_refused(hr: HR, company: Company, ada: str, stamp: str) -> None:
    body = json.dumps(NOW_PLEASE).encode()

    answer = posts(hr, body, webhook_timestamp=stamp, webhook_signature=hr.sign(body, "msg_1", stamp))

    assert answer.status_code == 401
    assert standing(company, ada) == Standing.ACTIVE


def test_w04_a_timestamp_in_milliseconds_is_far_ahead(hr: HR, company: Company, ada: str) -> None:
    body = json.dumps(NOW_PLEASE).encode()
    stamp = str(int(time.time() * 1000))

    assert posts(hr, body, webhook_timestamp=stamp, webhook_signature=hr.sign(body, "msg_1", stamp)).status_code == 401
    assert standing(company, ada) == Standing.ACTIVE


DEEP = b'{"type":"employee.terminated","data":{"employee_id":"E-1","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}}"


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(NOW_PLEASE).encode("utf-16"), "+AHs-".encode("utf-7"), gzip.compress(b"0" * 1_000_000), b"", b"null", b"[]", b"\xff\xfe", DEEP,
        b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--", b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        json.dumps(NOW_PLEASE).encode()[:-2] + b', "x": NaN}}', json.dumps(leaving("E-1\x00", revoke_access="immediately")).encode(),
        json.dumps(leaving("E-1", note="\x00", revoke_access="immediately")).encode(),
        json.dumps(leaving("E-1", note="\ud800", revoke_access="immediately")).encode(),
        b'{"type":"employee.terminated","data":{"employee_id":"E-2","employee_id":"E-1","revoke_access":"immediately"}}',
    ],
    ids=["utf-16", "utf-7", "gzip", "empty", "null", "list", "bytes", "deep", "multipart", "xml", "NaN", "NUL in the key", "NUL", "half a character", "twice"],
)  # fmt: skip
def test_w05_w15_a_signed_body_that_is_no_call_is_refused_in_words(hr: HR, company: Company, ada: str, body: bytes) -> None:
    answer = posts(hr, body)

    assert (answer.status_code, answer.content_type) in ((422, "application/problem+json"), (401, "application/problem+json"))
    assert "nothing was taken" in answer.get_json()["detail"]
    assert standing(company, ada) == Standing.ACTIVE


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/json; charset=utf-16", "application/x-www-form-urlencoded"])
def test_w05_the_signed_bytes_count_whatever_they_are_called(hr: HR, company: Company, ada: str, kind: str) -> None:
    assert posts(hr, json.dumps(NOW_PLEASE).encode(), content_type=kind).status_code == 200
    assert standing(company, ada) == Standing.DEPARTED


def test_w06_one_companys_secret_opens_no_other_door(installed: Flask, hr: HR, company: Company, ada: str) -> None:
    other = HR(installed, new_company())
    other.url = hr.url

    assert other.call(NOW_PLEASE).status_code == 401
    assert standing(company, ada) == Standing.ACTIVE


def test_w06_an_employee_number_means_somebody_of_the_callers_own_company(installed: Flask, company: Company, ada: str) -> None:
    other = HR(installed, new_company())

    assert other.call(NOW_PLEASE).status_code == 202
    assert standing(company, ada) == Standing.ACTIVE


def test_w07_who_cannot_sign_ends_nobody(hr: HR, company: Company, ada: str) -> None:
    answer = hr.app.test_client().post(hr.url, json=NOW_PLEASE)

    assert answer.status_code == 401
    assert standing(company, ada) == Standing.ACTIVE


def test_w08_a_hundred_at_once_are_one_departure(installed: Flask, hr: HR, company: Company, ada: str) -> None:
    def call(_: int) -> int:
        return hr.call(NOW_PLEASE).status_code

    with ThreadPoolExecutor(8) as threads:
        answers = set(threads.map(call, range(100)))

    assert answers == {200}
    assert (departures(company), calls(company)) == (1, 1)


KINDS = {"terminated": NOW_PLEASE, "cancelled": {**leaving("E-1"), "type": "employee.termination_cancelled"}, "rehired": {**leaving("E-1"), "type": "employee.rehired"}}


@pytest.mark.parametrize("order", list(itertools.permutations(KINDS)), ids=" ".join)
def test_w09_what_hr_said_last_counts_in_every_order(hr: HR, company: Company, ada: str, order: tuple[str, ...]) -> None:
    for number, kind in enumerate(order):
        assert hr.call(KINDS[kind], event_id=f"msg_{number}").status_code == 200

    assert standing(company, ada) == (Standing.DEPARTED if order[-1] == "terminated" else Standing.ACTIVE)


def test_w11_a_name_with_a_line_end_makes_no_line_in_the_log(hr: HR, caplog: pytest.LogCaptureFixture) -> None:
    forged = "E-1\r\n2026-11-25 ERROR everybody was let in \x1b[31m{0.__class__}"

    with caplog.at_level(logging.DEBUG):
        answer = hr.call(leaving(forged, revoke_access="immediately"))

    assert answer.status_code == 202
    assert not any("everybody was let in" in line for record in caplog.records for line in record.getMessage().splitlines()[1:])


def test_w12_no_answer_and_no_row_holds_the_secret(hr: HR, company: Company, ada: str) -> None:
    answers = [hr.call(NOW_PLEASE), hr.call({**NOW_PLEASE, "data": {}}, event_id="msg_2"), hr.call(NOW_PLEASE, age=9999)]

    with reading() as session:
        kept: list[Any] = [event.body for event in session.scalars(select(HREvent))]
    secret = hr.secret.removeprefix("whsec_")
    assert not any(secret in answer.get_data(as_text=True) for answer in answers)
    assert secret not in json.dumps(kept)


def test_w14_a_call_about_somebody_unknown_is_taken_and_waits(hr: HR, company: Company) -> None:
    answer = hr.call(NOW_PLEASE)

    assert (answer.status_code, answer.get_json()) == (202, {"state": "parked"})
    ada = company.joins("ada@x.example", "E-1")
    assert standing(company, ada.person_id) == Standing.DEPARTED
