"""Attacks with what a browser brings back from an OpenID provider, and with what its metadata say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from app.clock import now
from app.sso.connections import UnusableConnection
from app.sso.oidc_setup import discover
from app.sso.refusals import Reason, Refused
from connectors.contract import ConnectorError
from tests.company import new_company
from tests.oidc_arrangement import Arrangement, arranged, connect, forget_keys
from tests.oidc_attempts import claims_for, reason_of_answer
from tests.oidc_stand_in import CLIENT_SECRET, signed, stand_in
from tests.vouching import caught_up


@pytest.fixture
def arrangement(installed: Flask) -> Iterator[Arrangement]:
    forget_keys()
    with arranged(installed, new_company()) as made:
        yield made
    forget_keys()


def test_o09_an_answer_counts_in_the_browser_that_asked_and_once(arrangement: Arrangement) -> None:
    provider = arrangement.provider
    for state in (None, "", "made-up", "x" * 5000):
        assert reason_of_answer(arrangement, provider.answers(arrangement.begins(), state=state)) is Reason.NOT_ASKED_FOR, state
    answer = provider.answers(arrangement.begins())
    assert reason_of_answer(arrangement, answer, browser="the attacker's own") is Reason.OTHER_BROWSER
    assert reason_of_answer(arrangement, answer, browser=None) is Reason.OTHER_BROWSER
    assert reason_of_answer(arrangement, answer) is None
    assert reason_of_answer(arrangement, answer) is Reason.USED_BEFORE
    late = provider.answers(arrangement.begins(at=now() - timedelta(minutes=16)))
    assert reason_of_answer(arrangement, late) is Reason.TOO_LATE


def test_o09_a_link_with_somebody_elses_answer_signs_nobody_in(arrangement: Arrangement) -> None:
    """Login CSRF: the attacker begins, and has the victim's browser bring the answer back."""
    caught_up(now())
    attacker, victim = (arrangement.app.test_client() for _ in range(2))
    begun = attacker.get("/sign-in", query_string={"connection": arrangement.connection_id})
    answer = arrangement.provider.answers(begun.headers["Location"])

    came = victim.get(f"/oidc/{arrangement.connection_id}/callback", query_string=answer)

    assert came.status_code == 403 and "doorlist_session" not in str(came.headers)


def test_o10_the_answer_of_one_provider_is_not_taken_for_anothers(arrangement: Arrangement) -> None:
    with stand_in() as other:
        beside = connect(arrangement.app, arrangement.company, other, name="beside")
        begun_there = other.answers(beside.begins())
        assert reason_of_answer(arrangement, begun_there) is Reason.NOT_ASKED_FOR

        # The provider that was asked hands its answer on to the other one's address, and the other way round.
        mixed_up = arrangement.provider.answers(arrangement.begins(), iss=other.issuer)
        before = len(other.asked)
        assert reason_of_answer(arrangement, mixed_up) is Reason.OTHER_ISSUER
        assert other.asked[before:] == []

    token_requests = [line for line in arrangement.provider.asked if line == "POST /token"]
    assert token_requests == [], "a code was shown to somebody before it was known whose it is"


def test_o10_an_answer_without_its_issuer_is_refused_where_the_provider_promised_it(arrangement: Arrangement) -> None:
    assert reason_of_answer(arrangement, arrangement.provider.answers(arrangement.begins(), iss=None)) is Reason.OTHER_ISSUER

    arrangement.set(names_issuer=False)
    assert reason_of_answer(arrangement, arrangement.provider.answers(arrangement.begins(), iss=None)) is None
    assert reason_of_answer(arrangement, arrangement.provider.answers(arrangement.begins(), iss="https://x.example")) is Reason.OTHER_ISSUER


def test_o11_a_code_is_of_no_use_without_what_only_we_know(arrangement: Arrangement) -> None:
    # A code that was stolen from another sign-in and injected into ours (RFC 9700 §4.5): its challenge is another one's.
    stolen = arrangement.provider.answers(arrangement.begins())
    mine = arrangement.provider.answers(arrangement.begins())

    assert reason_of_answer(arrangement, {**mine, "code": stolen["code"]}) is Reason.PROVIDER_SAID_NO


def test_o11_a_provider_without_s256_is_not_connected(arrangement: Arrangement) -> None:
    arrangement.provider.metadata = {"code_challenge_methods_supported": ["plain"]}

    with pytest.raises(UnusableConnection, match="PKCE"):
        discover(arrangement.provider.issuer, allow_private=True)


def test_o13_we_come_back_to_our_own_address_whatever_the_host_header_says(arrangement: Arrangement) -> None:
    http = arrangement.app.test_client()
    begun = http.get("/sign-in", query_string={"connection": arrangement.connection_id}, headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})

    asked = parse_qs(urlsplit(begun.headers["Location"]).query)

    assert asked["redirect_uri"] == [f"http://127.0.0.1:8484/oidc/{arrangement.connection_id}/callback"]


def test_o13_nobody_is_sent_elsewhere_after_a_sign_in(arrangement: Arrangement) -> None:
    arrangement.company.joins("ada", at=now() - timedelta(minutes=5))
    arrangement.provider.subject = "00u-ada"
    caught_up(now())
    for target in (
        "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\tevil", "javascript:alert(1)", "http://127.0.0.1:8484.evil.example/",
        "http://127.0.0.1:8484@evil.example/", "https://127.0.0.1:8484/", "http:///evil.example", "http://127.0.0.1:8484//evil.example/",
    ):  # fmt: skip
        http = arrangement.app.test_client()
        asked = {"iss": arrangement.provider.issuer, "target_link_uri": target}
        begun = http.get(f"/oidc/{arrangement.connection_id}/login", query_string=asked)
        if begun.status_code == 403:
            continue
        came = http.get(f"/oidc/{arrangement.connection_id}/callback", query_string=arrangement.provider.answers(begun.headers["Location"]))
        assert (came.status_code, came.headers["Location"]) == (303, "/"), target


def test_a_sign_in_that_is_started_for_another_issuer_is_not_begun(arrangement: Arrangement) -> None:
    for issuer in (None, "", "https://evil.example", arrangement.provider.issuer + "/"):
        begun = arrangement.app.test_client().get(f"/oidc/{arrangement.connection_id}/login", query_string={"iss": issuer})
        assert begun.status_code == 403, issuer


def test_token_answers_that_are_none_are_refused_calmly(arrangement: Arrangement) -> None:
    for status, body in (
        (200, b"{}"), (200, b'{"id_token": 7}'), (200, b"[]"), (200, b"<html>"), (400, b"{}"), (404, b'{"id_token": "a.b.c"}'), (204, b""),
        (200, b'{"error": "\\u0000\\u001b[31m"}'), (200, b'{"error": {"a": 1}}'), (200, b'{"id_token": "a.b.c", "expires_in": "soon"}'),
        (200, b'{"id_token": "a.b.c", "expires_at": [1]}'), (429, b"{}"), (200, b'{"id_token": "' + b"x" * 2_000_000 + b'"}'),
    ):  # fmt: skip
        arrangement.provider.token_answer = (status, body)
        reason = reason_of_answer(arrangement, arrangement.provider.answers(arrangement.begins()))
        assert reason in (Reason.BAD_MESSAGE, Reason.PROVIDER_SAID_NO, Reason.PROVIDER_DOWN, Reason.WEAK_ALGORITHM), (status, body[:40])


def test_o19_metadata_of_another_issuer_are_not_taken(arrangement: Arrangement) -> None:
    issuer = arrangement.provider.issuer
    for said in ("https://evil.example", issuer + "/", issuer.upper(), None, [issuer], 7):
        arrangement.provider.metadata = {"issuer": said}
        with pytest.raises(UnusableConnection, match="another issuer"):
            discover(issuer, allow_private=True)


def test_o19_addresses_in_metadata_are_looked_at(arrangement: Arrangement) -> None:
    for name in ("token_endpoint", "authorization_endpoint", "jwks_uri", "end_session_endpoint", "userinfo_endpoint"):
        for address in ("javascript:alert(1)", "file:///etc/passwd", "https://a@b.example/", "https://", 7, "https://a.example/#x", "https://a.example/\nx"):
            arrangement.provider.metadata = {name: address}
            with pytest.raises(UnusableConnection, match=name):
                discover(arrangement.provider.issuer, allow_private=True)


def test_o19_no_redirect_leads_inside(arrangement: Arrangement) -> None:
    with stand_in() as inside:
        for target in (f"{inside.issuer}/.well-known/openid-configuration", "http://169.254.169.254/latest/meta-data/"):
            arrangement.provider.redirects_to = target
            with pytest.raises(ConnectorError, match="redirect"):
                discover(arrangement.provider.issuer, allow_private=True)
        assert inside.asked == []


@pytest.mark.parametrize("target", ["http://[", "https://[evil.example]/", "//[", "\xff\xfe", "javascript:alert(1)", "http://"])
def test_w18_a_redirect_to_what_is_no_address_is_a_provider_out_of_order(arrangement: Arrangement, target: str) -> None:
    """W18: whoever is called answers what readers stumble over."""
    answer = arrangement.provider.answers(arrangement.begins())
    arrangement.provider.redirects_to = target

    assert reason_of_answer(arrangement, answer) is Reason.PROVIDER_DOWN


def test_w10_a_provider_inside_is_not_called_unless_the_connection_says_so(arrangement: Arrangement) -> None:
    before = len(arrangement.provider.asked)
    port = urlsplit(arrangement.provider.issuer).port
    for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "169.254.169.254"):
        for scheme in ("http", "https"):
            with pytest.raises((ConnectorError, UnusableConnection)):
                discover(f"{scheme}://{host}:{port}", allow_private=False)
    assert arrangement.provider.asked[before:] == []


def test_addresses_that_are_none_are_answered_calmly(arrangement: Arrangement) -> None:
    http = arrangement.app.test_client()
    for connection_id in ("x", "x" * 3000, "%00", "..", "' OR 1=1", "01999999-0000-7000-8000-000000000000"):
        assert http.get(f"/oidc/{connection_id}/callback?code=a&state=b").status_code in (403, 404), connection_id
        assert http.post(f"/oidc/{connection_id}/logout", data={"logout_token": "a.b.c"}).status_code in (400, 404), connection_id
    for query in ("", "code=a", "state=a&state=b&code=c", "state=%00&code=a", "state=a&code=" + "x" * 100_000, "error=x&state=%ff"):
        assert http.get(f"/oidc/{arrangement.connection_id}/callback?{query}").status_code in (403, 404, 414), query[:30]


def test_no_secret_is_in_what_is_written_and_shown(arrangement: Arrangement, caplog: pytest.LogCaptureFixture) -> None:
    arrangement.provider.token_answer = (401, json.dumps({"error": "invalid_client"}).encode())
    answer = arrangement.provider.answers(arrangement.begins())
    refused = None
    try:
        arrangement.comes_back(answer)
    except Refused as error:
        refused = error
    written = f"{caplog.text}{refused}{refused!r}"

    assert refused is not None
    for hidden in (answer["code"], answer["state"], CLIENT_SECRET):
        assert hidden not in written


def test_o12_one_answer_shown_several_times_at_once_signs_in_once(arrangement: Arrangement) -> None:
    answer = arrangement.provider.answers(arrangement.begins())

    def comes(_: int) -> Reason | None:
        with arrangement.app.app_context():
            return reason_of_answer(arrangement, answer)

    with ThreadPoolExecutor(8) as threads:
        reasons = list(threads.map(comes, range(8)))

    assert reasons.count(None) == 1 and reasons.count(Reason.USED_BEFORE) == 7
    assert arrangement.provider.asked.count("POST /token") == 1


def test_a_good_token_in_an_answer_that_says_no_is_not_taken(arrangement: Arrangement) -> None:
    for status in (400, 404, 418):
        url = arrangement.begins()
        token = signed(claims_for(arrangement, url), arrangement.provider.signing)
        arrangement.provider.token_answer = (status, json.dumps({"id_token": token, "access_token": "at-1", "token_type": "Bearer"}).encode())
        assert reason_of_answer(arrangement, arrangement.provider.answers(url)) is Reason.PROVIDER_SAID_NO, status
