"""Samples at the door with a byte changed, or that nobody signed: nothing is done, to the last row of every table."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.directory.tables import Standing
from app.intake import described
from app.intake.schemes import Request
from tests.hr_door import MARA, PATHS, Stage, everything, says_here, says_leaves, staged, vendor_name
from tests.hr_vendor import CLOCK, SAMPLES, Answers, sample
from tests.served import Served

pytestmark = pytest.mark.slow

UNSIGNED = ("rippling", "workday", "gusto_verification")
SIGNED = sorted(path.stem for path in SAMPLES.glob("*.json") if not path.stem.startswith(UNSIGNED))
ALARMS = frozenset({"alarm", "alarm_post"})
"""That calls are refused is told: it is all that a refused call writes."""
RIPPLING = ["rippling_employee_deleted", "rippling_employee_terminated"]


def refuses(stage: Stage, request: Request) -> bool:
    """Whether the door refuses it. Thousands are tried: handed to the door without a socket between."""
    answer = stage.served.app.test_client().post(f"/hr/{stage.vendor.source_id}", data=request.body, headers=dict(request.headers))
    return answer.status_code == 401


def header_of(name: str) -> str:
    """In which header the signature of a sample stands."""
    (found,) = (header for header in sample(name).request.headers if header.endswith("-signature"))
    return found


def fitting(name: str) -> range:
    """Which letters of the header are the signature that fits; in one sample another key's stands beside it."""
    one, said = sample(name), sample(name).request.headers[header_of(name)]
    if not name.startswith("standard"):
        return range(len(said))
    headers = one.request.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + one.request.body
    key = base64.b64decode(one.secret.removeprefix("whsec_"))
    mine = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return range(said.index(mine), said.index(mine) + len(mine))


def changed_text(text: str, at: int, bit: int) -> str:
    return text[:at] + chr(ord(text[at]) ^ bit) + text[at + 1 :]


def changed_calls(name: str) -> Iterator[tuple[str, Request]]:
    """A sample with one byte changed: each byte of its body, each letter of its signature also in the other case, each of what is signed besides."""
    request = sample(name).request
    for at in range(len(request.body)):
        yield f"body {at}", sample(name).altered(at).request
    header = header_of(name)
    said = request.headers[header]
    for at in fitting(name):
        for bit in (1, 0x20) if said[at].isalpha() else (1,):
            yield f"{header} {at} {bit}", replace(request, headers={**request.headers, header: changed_text(said, at, bit)})
    for beside in ("webhook-id", "webhook-timestamp", "x-bamboohr-timestamp"):
        for at in range(len(request.headers.get(beside, ""))):
            yield f"{beside} {at}", replace(request, headers={**request.headers, beside: changed_text(request.headers[beside], at, 1)})


@pytest.mark.parametrize("name", SIGNED)
def test_whichever_byte_of_a_signed_sample_is_changed_no_row_is(there: Served, api: Answers, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    stage = staged(there, name, api, monkeypatch)
    vendor = vendor_name(name)
    if vendor in MARA:
        # Everything but the signature is there that would be needed.
        stage.links(MARA[vendor])
        api.records[PATHS[vendor]] = says_leaves(vendor, "2026-11-24")
    before = everything(but=ALARMS)

    taken = [which for which, request in changed_calls(name) if not refuses(stage, request)]
    stage.works()

    assert taken == []
    assert everything(but=ALARMS) == before
    assert (api.asked, stage.standing) == ([], Standing.ACTIVE)
    assert not refuses(stage, sample(name).request), "unchanged it is good: so it was the byte that counted"


def test_the_signature_of_the_other_key_may_be_anything_while_one_fits(there: Served, api: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "standard_webhooks_rotation_two_signatures"
    stage = staged(there, name, api, monkeypatch)
    request, header = sample(name).request, header_of(name)
    said = request.headers[header]
    elsewhere = next(at for at in range(len(said) - 2, 0, -1) if at not in fitting(name))

    assert not refuses(stage, replace(request, headers={**request.headers, header: changed_text(said, elsewhere, 1)}))


@pytest.mark.parametrize("name", SIGNED)
@pytest.mark.parametrize("spoil", ["no signature", "an empty one", "another secret", "another vendor's body"])
def test_a_sample_that_its_vendor_did_not_sign_changes_no_row(
    there: Served, api: Answers, monkeypatch: pytest.MonkeyPatch, name: str, spoil: str
) -> None:
    stage = staged(there, name, api, monkeypatch, secret="whsec_" + base64.b64encode(b"x" * 32).decode() if spoil == "another secret" else None)
    request, header = sample(name).request, header_of(name)
    if spoil == "no signature":
        request = replace(request, headers={key: value for key, value in request.headers.items() if key != header})
    elif spoil == "an empty one":
        request = replace(request, headers={**request.headers, header: ""})
    elif spoil == "another vendor's body":
        other = next(one for one in SIGNED if vendor_name(one) != vendor_name(name))
        request = replace(request, body=sample(other).request.body)
    before = everything(but=ALARMS)

    assert stage.posts(request)[0] == 401
    stage.works()

    assert everything(but=ALARMS) == before


# What nobody signed


def asked_about(stage: Stage) -> list[str]:
    return [one for one in stage.api.asked if PATHS["rippling"] in one]


@pytest.mark.parametrize("name", RIPPLING)
def test_an_unsigned_sample_does_nothing_before_the_vendors_api_was_asked(
    there: Served, api: Answers, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stage = staged(there, name, api, monkeypatch)
    stage.links(MARA["rippling"])
    api.records[PATHS["rippling"]] = says_leaves("rippling", "2026-11-24")

    answer = stage.sends(name)
    before, asked = stage.standing, list(api.asked)
    stage.works()

    assert (answer, before, asked) == ((202, "received"), Standing.ACTIVE, [])
    assert (stage.standing, asked_about(stage)) == (Standing.DEPARTED, [f"GET {PATHS['rippling']}"])


OTHERWISE: dict[str, dict[str, Any] | None] = {
    "they are here": says_here("rippling"),
    "somebody else": {**says_leaves("rippling", "2026-11-24"), "id": "656992816f26d6caea0007ff"},
    "another number": {**says_leaves("rippling", "2026-11-24"), "employeeNumber": "E-1"},
    "another address": {**says_leaves("rippling", "2026-11-24"), "workEmail": "bob@clinic.example"},
    "no such person": None,
    "nothing that is a record": {"results": []},
}


@pytest.mark.parametrize("name", RIPPLING)
@pytest.mark.parametrize("what", OTHERWISE)
def test_an_unsigned_sample_does_nothing_where_the_vendors_api_says_otherwise(
    there: Served, api: Answers, monkeypatch: pytest.MonkeyPatch, name: str, what: str
) -> None:
    stage = staged(there, name, api, monkeypatch)
    record = OTHERWISE[what]
    if record is not None:
        api.records[PATHS["rippling"]] = record

    stage.sends(name)
    for minute in range(3):
        stage.at = CLOCK + timedelta(minutes=minute)
        stage.works()

    assert asked_about(stage) != []
    statements, departures, _ = stage.effects
    assert (stage.standing, statements, departures) == (Standing.ACTIVE, 0, 0)


@pytest.mark.parametrize("name", RIPPLING)
def test_while_the_vendors_api_is_down_an_unsigned_sample_waits_and_is_done_when_it_answers(
    there: Served, api: Answers, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stage = staged(there, name, api, monkeypatch)
    api.records[PATHS["rippling"]] = says_leaves("rippling", "2026-11-24")
    api.down = True
    stage.sends(name)
    for _ in range(4):
        stage.works()
        stage.at += timedelta(minutes=2)
    waiting, tried = stage.standing, len(asked_about(stage))

    api.down = False
    stage.at += timedelta(minutes=30)
    stage.works()

    assert (waiting, tried >= 4) == (Standing.ACTIVE, True)
    assert (stage.standing, stage.effects[1]) == (Standing.DEPARTED, 1)


@pytest.mark.parametrize("name", RIPPLING)
def test_an_unsigned_sample_without_its_token_is_not_even_a_reason_to_ask(
    there: Served, api: Answers, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stage = staged(there, name, api, monkeypatch)
    stage.links(MARA["rippling"])
    request = sample(name).request
    token = request.headers["authorization"]
    before = everything(but=ALARMS)

    for at in range(len(token)):
        spoilt = replace(request, headers={**request.headers, "authorization": changed_text(token, at, 1)})
        assert refuses(stage, spoilt), f"letter {at}"
    stage.works()

    assert (everything(but=ALARMS), api.asked) == (before, [])


@pytest.mark.parametrize("name", RIPPLING)
def test_an_unsigned_sample_about_somebody_else_ends_only_whom_the_api_confirms(
    there: Served, api: Answers, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whoever has the token may name anybody: each is asked about by that very id."""
    monkeypatch.setattr(described, "_unproven", replace(described._unproven, burst=1000))
    stage = staged(there, name, api, monkeypatch)
    stage.links(MARA["rippling"])
    api.records[PATHS["rippling"]] = says_here("rippling")
    request = sample(name).request

    for at in range(len(request.body)):
        stage.posts(sample(name).altered(at).request)
    stage.works()

    assert (stage.standing, stage.effects[1]) == (Standing.ACTIVE, 0)
