"""Someone without a browser gets the same answers from the identity providers of tests, also on bad days."""

from __future__ import annotations

import re
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.servers.identities import ADA, GRACE, Client, OpenIDProvider, SAMLIdentityProvider
from tests.servers.saml_sp import SmallSP
from tests.servers.visitor import Visitor

pytestmark = pytest.mark.idp


@pytest.mark.parametrize("name", ["pysaml2_idp", "samlp_idp", "lemonldap"])
def test_the_saml_answer_is_held_back(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    idp: SAMLIdentityProvider = request.getfixturevalue(name)
    sp = SmallSP.at(tmp_path)
    sp.believe(idp.metadata())
    idp.trust(sp.metadata())
    visitor = Visitor()

    asked = visitor.saml_answer(f"{sp.url}/login", ADA)
    unasked = Visitor().saml_answer(idp.start_url(sp.entity_id, "/devices"), GRACE)
    delivered = visitor.session.post(asked.action, data=asked.fields, timeout=10)
    sp.stop()

    assert asked.action == unasked.action == f"{sp.url}/acs"
    assert ADA.immutable_id in b64decode(asked.fields["SAMLResponse"]).decode()
    assert GRACE.immutable_id in b64decode(unasked.fields["SAMLResponse"]).decode()
    assert (unasked.fields["RelayState"], asked.fields["RelayState"]) == ("/devices", "/who")
    assert delivered.json()["name_id"] == ADA.immutable_id


@pytest.mark.parametrize("name", ["pysaml2_idp", "samlp_idp", "lemonldap"])
@pytest.mark.parametrize("minutes", [30, -30])
@pytest.mark.usefixtures("wrong_clocks")
def test_a_wrong_clock_shows_in_the_answer(name: str, minutes: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    idp: SAMLIdentityProvider = request.getfixturevalue(name)
    sp = SmallSP.at(tmp_path)
    sp.believe(idp.metadata())
    idp.trust(sp.metadata())
    visitor = Visitor()

    with idp.clock_off(timedelta(minutes=minutes)):
        answer = visitor.saml_answer(f"{sp.url}/login", ADA)
    visitor.session.post(answer.action, data=answer.fields, timeout=10)
    sp.stop()

    said = re.search(r'IssueInstant="([^"]+)"', b64decode(answer.fields["SAMLResponse"]).decode())
    assert said is not None
    off = datetime.fromisoformat(said[1]) - datetime.now(UTC)
    assert off == pytest.approx(timedelta(minutes=minutes), abs=timedelta(seconds=30))
    assert "Check system clock" in str(sp.refused)


@pytest.mark.parametrize("name", ["pysaml2_idp", "samlp_idp", "lemonldap", "oidc_provider"])
def test_nobody_answers_while_it_is_down(name: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(name)

    with server.down(), pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=5)

    assert requests.get(server.url, timeout=5).status_code < 500


@pytest.mark.parametrize("name", ["oidc_provider", "lemonldap"])
def test_the_code_is_held_back(name: str, request: pytest.FixtureRequest) -> None:
    op: OpenIDProvider = request.getfixturevalue(name)
    visitor = Visitor()
    callback = "http://127.0.0.1:9/callback"
    op.register(Client(client_id="held-back", redirect_uris=(callback,)))
    authorize = visitor.session.get(f"{op.issuer}/.well-known/openid-configuration", timeout=10).json()["authorization_endpoint"]
    asked = (
        f"?client_id=held-back&redirect_uri={callback}&response_type=code&scope=openid&state=s&nonce=n"
        "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
    )

    arrived = visitor.arrives_at(authorize + asked, ADA, stop_before=callback)
    again = visitor.arrives_at(authorize + asked, ADA, stop_before=callback)

    first, second = (parse_qs(urlsplit(address).query) for address in (arrived, again))
    assert first["state"] == second["state"] == ["s"]
    assert first["code"] != second["code"]
