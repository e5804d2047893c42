"""The SAML identity providers of tests keep what `identities` promises of them, seen from a service provider that is not ours."""

from __future__ import annotations

import json
import re
import time
from base64 import b64decode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.servers.chromium import Chromium, Window
from tests.servers.identities import (
    ADA,
    GRACE,
    REFEDS_MULTI_FACTOR,
    CannotAnswerSo,
    Employee,
    NameIDKind,
    SAMLIdentityProvider,
    SAMLManners,
    Signed,
)
from tests.servers.saml_sp import SmallSP

pytestmark = [pytest.mark.idp, pytest.mark.browser]


@pytest.fixture(params=["pysaml2_idp", "samlp_idp", "lemonldap"])
def idp(request: pytest.FixtureRequest) -> SAMLIdentityProvider:
    server: SAMLIdentityProvider = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def sp(idp: SAMLIdentityProvider, tmp_path: Path) -> Iterator[SmallSP]:
    party = SmallSP.at(tmp_path)
    party.believe(idp.metadata())
    idp.trust(party.metadata())
    yield party
    party.stop()


@pytest.fixture
def window(chromium: Chromium) -> Iterator[Window]:
    with chromium.window() as opened:
        yield opened


def who(window: Window, sp: SmallSP) -> dict[str, Any] | None:
    shown: dict[str, Any] | None = json.loads(window.context.request.get(f"{sp.url}/who").text())
    return shown


def sign_in(window: Window, sp: SmallSP, employee: Employee = ADA, *, at: str = "/login") -> dict[str, Any]:
    window.page.goto(sp.url + at)
    window.sign_in(employee)
    window.page.wait_for_url(f"{sp.url}/**")
    known = who(window, sp)
    assert known is not None, sp.refused
    return known


def test_sign_in_begins_at_the_service_provider_and_sign_out_too(idp: SAMLIdentityProvider, sp: SmallSP, window: Window) -> None:
    known = sign_in(window, sp)
    window.page.goto(f"{sp.url}/logout")
    window.page.wait_for_url(f"{sp.url}/who")
    window.page.goto(f"{sp.url}/login")

    assert known["name_id"] == ADA.immutable_id
    assert known["in_response_to"]
    assert {name: sorted(values) for name, values in known["attributes"].items()} == {
        name: sorted(values) for name, values in ADA.attributes().items()
    }
    assert who(window, sp) is None
    assert window.page.locator("input[name=password]").is_visible()
    assert sp.refused == []


def test_sign_in_begins_at_the_identity_provider_and_sign_out_too(idp: SAMLIdentityProvider, sp: SmallSP, window: Window) -> None:
    window.page.goto(idp.start_url(sp.entity_id, "/devices"))
    window.sign_in(GRACE)
    window.page.wait_for_url(f"{sp.url}/**")
    known = who(window, sp)
    window.page.goto(idp.logout_url(sp.entity_id))
    window.page.wait_for_load_state("networkidle")

    assert known is not None, sp.refused
    assert (known["name_id"], known["in_response_to"], known["relay_state"]) == (GRACE.immutable_id, None, "/devices")
    assert who(window, sp) is None
    assert sp.refused == []


def test_a_wrong_password_goes_no_further(idp: SAMLIdentityProvider, sp: SmallSP, window: Window) -> None:
    window.page.goto(f"{sp.url}/login")
    window.sign_in(ADA, password="guessed")
    window.page.wait_for_load_state()

    assert window.page.url.startswith(idp.url)
    assert window.page.locator("input[name=password]").is_visible()


def test_someone_let_go_there_is_not_known_there(idp: SAMLIdentityProvider, sp: SmallSP, window: Window) -> None:
    try:
        idp.employ(ADA)
        window.page.goto(f"{sp.url}/login")
        window.sign_in(GRACE)
        window.page.wait_for_load_state()
        refused_at = window.page.url
    finally:
        idp.employ(ADA, GRACE)

    assert refused_at.startswith(idp.url)


def test_the_assertion_is_encrypted_for_the_service_provider(
    idp: SAMLIdentityProvider, sp: SmallSP, window: Window, request: pytest.FixtureRequest
) -> None:
    taken: list[str] = []
    window.page.on("request", lambda sent: taken.append(sent.post_data or "") if sent.url.endswith("/acs") else None)

    with idp.answering(SAMLManners(encrypted=True)):
        window.page.goto(f"{sp.url}/login")
        window.sign_in(ADA)
        window.page.wait_for_url(f"{sp.url}/**")

    if "pysaml2" in request.node.name:
        assert sp.refused == ["Signature validation failed. SAML Response rejected"]
    else:
        assert (who(window, sp) or {})["name_id"] == ADA.immutable_id
    assert len(taken) == 1
    assert "EncryptedAssertion" in _decoded(taken[0])
    assert ADA.mail not in _decoded(taken[0])


def test_the_subject_and_how_it_was_authenticated_are_chosen(idp: SAMLIdentityProvider, sp: SmallSP, window: Window) -> None:
    with idp.answering(SAMLManners(name_id=NameIDKind.EMAIL, authn_context=REFEDS_MULTI_FACTOR)):
        known = sign_in(window, sp)

    assert (known["name_id"], known["context"]) == (ADA.mail, [REFEDS_MULTI_FACTOR])
    assert known["format"].endswith(":emailAddress")


def test_the_session_ends_when_asked(idp: SAMLIdentityProvider, sp: SmallSP, window: Window) -> None:
    manners = SAMLManners(session_lasts=timedelta(minutes=30))
    try:
        with idp.answering(manners):
            known = sign_in(window, sp)
    except CannotAnswerSo as reason:
        assert "samlp" in str(reason)
    else:
        assert known["session_ends"] == pytest.approx(time.time() + 1800, abs=30)


def test_outdated_signatures_are_made_and_refused(idp: SAMLIdentityProvider, sp: SmallSP, window: Window) -> None:
    with idp.answering(SAMLManners(outdated=True)):
        window.page.goto(f"{sp.url}/login")
        window.sign_in(ADA)
        window.page.wait_for_url(f"{sp.url}/**")

    assert "rsa-sha1" in str(sp.refused)
    assert who(window, sp) is None


def test_a_new_key_is_refused_until_it_is_made_known(idp: SAMLIdentityProvider, sp: SmallSP, window: Window) -> None:
    idp.roll_keys(keep_old=False)
    window.page.goto(f"{sp.url}/login")
    window.sign_in(ADA)
    window.page.wait_for_url(f"{sp.url}/**")
    refused = list(sp.refused)
    sp.believe(idp.metadata())
    window.page.goto(f"{sp.url}/login")
    window.page.wait_for_url(f"{sp.url}/**")

    assert refused
    assert (who(window, sp) or {})["name_id"] == ADA.immutable_id


def test_two_certificates_are_published_while_keys_change(idp: SAMLIdentityProvider) -> None:
    try:
        idp.roll_keys(keep_old=True)
    except CannotAnswerSo as reason:
        assert "one certificate" in str(reason)
    else:
        assert idp.metadata().count('use="signing"') == 2
        idp.roll_keys(keep_old=False)


@pytest.mark.parametrize("signed", [Signed.RESPONSE, Signed.ASSERTION])
def test_what_is_signed_is_chosen(
    idp: SAMLIdentityProvider, sp: SmallSP, window: Window, signed: Signed, request: pytest.FixtureRequest
) -> None:
    if "lemonldap" in request.node.name:
        with pytest.raises(CannotAnswerSo):
            idp.answer(SAMLManners(signed=signed))
        return
    with idp.answering(SAMLManners(signed=signed)):
        window.page.goto(f"{sp.url}/login")
        window.sign_in(ADA)
        window.page.wait_for_url(f"{sp.url}/**")

    assert (who(window, sp) is not None) == (signed is Signed.ASSERTION)


def test_who_is_signed_in_there_signs_in_anew_when_forced(idp: SAMLIdentityProvider, sp: SmallSP, window: Window) -> None:
    sign_in(window, sp)
    window.page.goto(f"{sp.url}/login")
    window.page.wait_for_url(f"{sp.url}/who")

    # LemonLDAP::NG takes a sign-in of the last two seconds for a new one.
    until = time.monotonic() + 10
    while time.monotonic() < until and window.page.url.startswith(sp.url):
        window.page.goto(f"{sp.url}/login?force")
        window.page.wait_for_url(re.compile(f"({re.escape(sp.url)}/who|{re.escape(idp.url)}/)"))
        window.page.wait_for_load_state("networkidle")

    assert window.page.locator("input[name=password]").is_visible()


def _decoded(form: str) -> str:
    return b64decode(parse_qs(form)["SAMLResponse"][0]).decode()
