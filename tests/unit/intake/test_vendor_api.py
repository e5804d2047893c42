"""How a vendor's API is asked: with which credential, by which person, and how a long list is turned over."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from app.access.sealing import seal
from app.intake import descriptions
from app.intake.description_types import TokenAddress
from app.intake.hr_tables import HRSystem
from app.intake.vendor_api import NotConnected, VendorAPI, client_of
from connectors.client_credentials import RENEWED_BEFORE, ClientCredentials
from connectors.contract import Misconfigured, Unauthorised, Unreachable
from tests.hr_vendor import CLOCK, CREDENTIAL, TOKENS, Answers, vendor_api

RECORD = "record: {key: id, means: [{event: here}]}\n"


@pytest.fixture
def there() -> Iterator[Answers]:
    with vendor_api() as answers:
        yield answers


def asking(app: Flask, text: str, *, credential: str = CREDENTIAL) -> VendorAPI:
    description = descriptions.read(f"vendor: A\n{text}{RECORD}")
    system = HRSystem(
        organization_id="o", source_id="s", description=text, variables={}, sealed_credential=seal(app.config["DOORLIST"], credential),
        allow_private=True, look_again_at=CLOCK, created_at=CLOCK,
    )  # fmt: skip
    return VendorAPI(app.config["DOORLIST"], system, description, name="hr")


@pytest.mark.parametrize(
    "api",
    ["credential: bearer", "credential: basic", "credential: basic key", "credential: header, header: X-Api-Key", "credential: oauth, token: {url: 'TOKENS'}",
     "credential: oauth, token: {url: 'TOKENS', client: body, scope: people.read}"],
)  # fmt: skip
def test_a_credential_is_shown_as_the_vendor_wants_it(installed: Flask, there: Answers, api: str) -> None:
    described = api.replace("TOKENS", there.url + TOKENS)
    there.records["/all"] = [{"id": "1"}]

    vendor = asking(installed, f"api: {{url: '{there.url}', {described}}}\npoll: {{path: /all}}\n", credential=f"us:{CREDENTIAL}")

    assert list(vendor.everybody()) == [{"id": "1"}]


def test_a_wrong_credential_gets_no_token_and_asks_nothing(installed: Flask, there: Answers) -> None:
    text = f"api: {{url: '{there.url}', credential: oauth, token: {{url: '{there.url}{TOKENS}', client: body}}}}\npoll: {{path: /all}}\n"

    with pytest.raises(Unauthorised, match="hr: token: 401"):
        list(asking(installed, text, credential="us:wrong").everybody())
    assert there.asked == [f"POST {TOKENS}"]


@pytest.mark.parametrize("in_body", [True, False])
def test_a_wrong_secret_that_the_vendor_repeats_is_told_to_nobody(there: Answers, in_body: bool) -> None:
    there.repeats = True
    secret = "hunter2 & more"
    client = client_of(TokenAddress(url=there.url + TOKENS, in_body=in_body), f"us:{secret}", name="hr", allow_private=True)

    with pytest.raises(Unauthorised) as refused:
        client.header()

    said = str(refused.value)
    assert "what is" in said and "…" in said
    assert "hunter2" not in said and base64.b64encode(b"us:hunter2").decode()[:12] not in said


def test_a_token_is_kept_while_it_is_good_and_fetched_anew_when_it_is_not(there: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    where, times = TokenAddress(url=there.url + TOKENS), [0.0]

    def client() -> ClientCredentials:
        return client_of(where, f"us:{CREDENTIAL}", name="hr", allow_private=True)

    monkeypatch.setattr(client(), "_monotonic", lambda: times[0])
    assert client().header() == client().header() == f"Bearer token-for-{CREDENTIAL}"
    assert len(there.asked) == 1
    times[0] = 3600.0 - RENEWED_BEFORE
    client().header()
    assert len(there.asked) == 2
    client().renew()
    client().header()
    assert len(there.asked) == 3
    assert all("grant_type=client_credentials" in sent for sent in there.sent)


def test_a_token_that_is_taken_no_more_is_fetched_anew_the_next_time(installed: Flask, there: Answers) -> None:
    text = f"api: {{url: '{there.url}', credential: oauth, token: {{url: '{there.url}{TOKENS}'}}}}\npoll: {{path: /all}}\n"
    there.records["/all"] = []
    vendor = asking(installed, text, credential=f"us:{CREDENTIAL}")

    assert list(vendor.everybody()) == list(vendor.everybody()) == []
    there.forgets = True
    with pytest.raises(Unauthorised):
        list(vendor.everybody())
    there.forgets = False
    assert list(vendor.everybody()) == []
    assert there.asked.count(f"POST {TOKENS}") == 2


def test_a_client_names_itself_in_the_body_or_in_the_header_and_never_in_both(there: Answers) -> None:
    where = TokenAddress(url=there.url + TOKENS, scope="people.read")

    for in_body, credential in ((True, f"in body:{CREDENTIAL}"), (False, f"in header:{CREDENTIAL}")):
        client_of(replace(where, in_body=in_body), credential, name="hr", allow_private=True).header()

    assert there.sent == [
        f"grant_type=client_credentials&scope=people.read&client_id=in+body&client_secret={CREDENTIAL}", "grant_type=client_credentials&scope=people.read",
    ]  # fmt: skip


@pytest.mark.parametrize(("lasts", "fetched"), [(3600, 1), ("3600", 1), (3600.0, 1), (0, 2)])
def test_for_how_long_a_token_is_good_may_stand_there_as_a_text(there: Answers, lasts: Any, fetched: int) -> None:
    there.lasts = lasts
    client = client_of(TokenAddress(url=there.url + TOKENS), f"us:{CREDENTIAL}", name="hr", allow_private=True)

    assert client.header() == client.header()
    assert len(there.asked) == fetched


@pytest.mark.parametrize("lasts", ["soon", float("nan"), float("inf"), [1], True])
def test_of_a_token_that_may_never_end_nothing_is_kept(there: Answers, lasts: Any) -> None:
    there.lasts = lasts
    client = client_of(TokenAddress(url=there.url + TOKENS), f"us:{CREDENTIAL}", name="hr", allow_private=True)

    with pytest.raises(Unreachable, match="for how long"):
        client.header()


@pytest.mark.parametrize("said", [{}, {"access_token": 7}, {"access_token": "a\nb"}, {"access_token": ""}, [], "x"])
def test_an_answer_that_is_no_token_is_none(installed: Flask, there: Answers, said: Any) -> None:
    there.records["/elsewhere"] = said
    text = f"api: {{url: '{there.url}', credential: oauth, token: {{url: '{there.url}/elsewhere'}}}}\npoll: {{path: /all}}\n"

    with pytest.raises(Unreachable, match="token"):
        list(asking(installed, text, credential=f"us:{CREDENTIAL}").everybody())


@pytest.mark.parametrize("credential", ["no-colon", ":secret", "id:"])
def test_a_client_without_id_or_secret_asks_nothing(installed: Flask, there: Answers, credential: str) -> None:
    text = f"api: {{url: '{there.url}', credential: oauth, token: {{url: '{there.url}{TOKENS}'}}}}\npoll: {{path: /all}}\n"

    with pytest.raises(NotConnected, match="id:secret"):
        asking(installed, text, credential=credential)
    assert there.asked == []


def test_the_person_may_be_named_in_what_is_sent(installed: Flask, there: Answers) -> None:
    text = (
        f"api: {{url: '{there.url}', credential: bearer}}\n"
        "details: {path: /search, send: {filters: [{field: id, value: '{key}'}], limit: 1}, place: hits}\n"
    )
    there.records["/search"] = {"hits": [{"id": "6"}, {"id": "7", "n": 1}]}
    vendor = asking(installed, text.replace("details:", "poll: {path: /all}\ndetails:"))

    assert vendor.one("7") == {"id": "7", "n": 1}
    assert json.loads(there.sent[-1]) == {"filters": [{"field": "id", "value": "7"}], "limit": 1}
    assert vendor.one("8") is None


@pytest.mark.parametrize(
    ("turning", "asked"),
    [
        ("page: p", ["/all?p=1", "/all?p=2", "/all?p=3"]),
        ("page: p, first: 0", ["/all?p=0", "/all?p=1", "/all?p=2"]),
        ("offset: skip", ["/all?skip=0", "/all?skip=2", "/all?skip=3"]),
        ("next: more, cursor: after", ["/all", "/all?after=c%2F1", "/all?after=c2"]),
        ("next: link", ["/all", "/all?at=1", "/all?at=2"]),
    ],
)
def test_a_list_is_turned_over_as_the_vendor_does_it(
    installed: Flask, there: Answers, monkeypatch: pytest.MonkeyPatch, turning: str, asked: list[str]
) -> None:
    pages: list[dict[str, Any]] = [
        {"rows": [{"id": 1}, {"id": 2}], "more": "c/1", "link": "/all?at=1"}, {"rows": [{"id": 3}], "more": "c2", "link": "?at=2"}, {"rows": [], "more": None},
    ]  # fmt: skip

    class Turning(dict[str, Any]):
        """The same address, another page each time."""

        def __getitem__(self, path: str) -> Any:
            return pages[len(there.asked) - 1]

    there.records = Turning({"/all": None})

    rows = list(asking(installed, f"api: {{url: '{there.url}', credential: bearer}}\npoll: {{path: /all, place: rows, {turning}}}\n").everybody())

    assert [row["id"] for row in rows] == [1, 2, 3]
    assert there.asked == [f"GET {path}" for path in asked]


@pytest.mark.parametrize(
    ("link", "what"), [("http://[", "no address"), ("//[::1/all", "no address"), ("https://evil.example/all", "elsewhere"), ("//evil.example/all", "elsewhere")]
)
def test_a_link_is_followed_to_the_apis_own_address_alone(installed: Flask, there: Answers, link: str, what: str) -> None:
    there.records["/all"] = {"rows": [{"id": 1}], "link": link}
    vendor = asking(installed, f"api: {{url: '{there.url}', credential: bearer}}\npoll: {{path: /all, place: rows, next: link}}\n")

    with pytest.raises(Misconfigured, match=what):
        list(vendor.everybody())
    assert there.asked == ["GET /all"]
