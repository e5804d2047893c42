"""The OpenID providers of tests keep what `identities` promises of them, seen from a relying party that is not ours."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.servers.chromium import Chromium, Window
from tests.servers.identities import ADA, Employee, OIDCManners, OpenIDProvider
from tests.servers.lemonldap import LemonLDAP
from tests.servers.oidc_provider import NodeOIDCProvider
from tests.servers.oidc_rp import SmallRP
from tests.waiting import until

pytestmark = [pytest.mark.idp, pytest.mark.browser]


@pytest.fixture(params=["oidc_provider", "lemonldap"])
def op(request: pytest.FixtureRequest) -> OpenIDProvider:
    server: OpenIDProvider = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def rp() -> Iterator[SmallRP]:
    party = SmallRP()
    yield party
    party.stop()


@pytest.fixture
def window(chromium: Chromium) -> Iterator[Window]:
    with chromium.window() as opened:
        yield opened


def who(window: Window, rp: SmallRP) -> dict[str, Any] | None:
    shown: dict[str, Any] | None = json.loads(window.context.request.get(f"{rp.url}/who").text())
    return shown


def sign_in(window: Window, rp: SmallRP, employee: Employee = ADA, *, asking: str = "") -> dict[str, Any]:
    window.page.goto(f"{rp.url}/login{asking}")
    window.sign_in(employee)
    window.page.wait_for_url(f"{rp.url}/**")
    known = who(window, rp)
    assert known is not None, rp.refused
    return known


def wait_for_word(rp: SmallRP) -> None:
    until(lambda: rp.told)


def test_the_claims_of_a_sign_in(op: OpenIDProvider, rp: SmallRP, window: Window) -> None:
    op.register(rp.client())
    rp.believe(op.issuer)

    known = sign_in(window, rp)

    assert (known["sub"], known["email"], known["name"]) == (ADA.immutable_id, ADA.mail, ADA.name)
    assert (known["preferred_username"], known["employee_number"]) == (ADA.uid, ADA.number)
    assert known["auth_time"] == pytest.approx(time.time(), abs=60)
    assert known["amr"] == ["pwd"]
    assert known["sid"]


def test_a_sign_out_at_the_relying_party_ends_the_session_there(op: OpenIDProvider, rp: SmallRP, window: Window) -> None:
    op.register(rp.client())
    rp.believe(op.issuer)
    sign_in(window, rp)

    window.page.goto(f"{rp.url}/logout")
    window.leave()
    window.page.wait_for_url(f"{rp.url}/bye*")
    arrived = window.page.inner_text("body")
    window.page.goto(f"{rp.url}/login")

    assert arrived == "bye leaving"
    assert window.page.locator("input[name=password]").is_visible()


def test_a_sign_out_at_the_provider_is_told_over_the_back_channel(op: OpenIDProvider, rp: SmallRP, window: Window) -> None:
    op.register(rp.client())
    rp.believe(op.issuer)
    known = sign_in(window, rp)

    window.page.goto(op.end_session_url())
    window.leave()
    wait_for_word(rp)

    assert [token["sid"] for token in rp.told] == [known["sid"]]
    assert who(window, rp) is None


def test_a_refresh_token_is_given_for_offline_access(op: OpenIDProvider, rp: SmallRP, window: Window) -> None:
    op.register(rp.client())
    rp.believe(op.issuer)
    sign_in(window, rp, asking="?prompt=consent")

    first = rp.refreshed()

    assert first.status_code == 200
    assert first.json()["access_token"]


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "Ed25519"])
def test_the_algorithm_of_id_tokens_is_chosen(oidc_provider: NodeOIDCProvider, rp: SmallRP, window: Window, algorithm: str) -> None:
    oidc_provider.register(rp.client(id_token_alg=algorithm))
    rp.believe(oidc_provider.issuer)

    known = sign_in(window, rp)

    assert known["header"]["alg"] == algorithm
    assert known["response_iss"] == oidc_provider.issuer


def test_how_one_was_authenticated_and_for_how_long_is_chosen(oidc_provider: NodeOIDCProvider, rp: SmallRP, window: Window) -> None:
    oidc_provider.register(rp.client())
    rp.believe(oidc_provider.issuer)

    with oidc_provider.answering(OIDCManners(acr="phr", amr=("pwd", "hwk"), session_lasts=timedelta(minutes=30))):
        known = sign_in(window, rp)

    assert (known["acr"], known["amr"]) == ("phr", ["pwd", "hwk"])
    assert known["session_expiry"] == pytest.approx(time.time() + 1800, abs=30)


def test_the_portal_says_how_one_was_authenticated(lemonldap: LemonLDAP, rp: SmallRP, window: Window) -> None:
    lemonldap.register(rp.client())
    rp.believe(lemonldap.issuer)
    lemonldap.authenticate_as(acr="phr", amr=("pwd", "hwk"))
    try:
        known = sign_in(window, rp)
    finally:
        lemonldap.authenticate_as(acr="loa-1")

    assert (known["acr"], sorted(known["amr"])) == ("phr", ["hwk", "pwd"])


def test_new_keys_sign_and_old_ones_are_published_when_kept(oidc_provider: NodeOIDCProvider, rp: SmallRP, window: Window) -> None:
    oidc_provider.register(rp.client())
    rp.believe(oidc_provider.issuer)
    before = sign_in(window, rp)["header"]["kid"]

    oidc_provider.roll_keys(keep_old=True)
    window.page.goto(f"{rp.url}/login")
    window.page.wait_for_url(f"{rp.url}/who")
    after = who(window, rp)

    assert after is not None, rp.refused
    assert after["header"]["kid"] != before


def test_a_code_without_its_challenge_is_refused(oidc_provider: NodeOIDCProvider, rp: SmallRP, window: Window) -> None:
    client = rp.client()
    oidc_provider.register(client)
    asked = f"client_id={client.client_id}&response_type=code&scope=openid&redirect_uri={client.redirect_uris[0]}&state=s&nonce=n"

    window.page.goto(f"{oidc_provider.issuer}/auth?{asked}")

    assert "error=invalid_request" in window.page.url
