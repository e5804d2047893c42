"""Signing in by SAML: what is asked, what is taken, and what is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from sqlalchemy import select

from app.access.session_tables import WebSession
from app.clock import now
from app.database import reading
from app.sso.refusals import Reason, Refused
from app.sso.saml_certificates import read_certificate
from app.sso.saml_signatures import check_query
from tests.company import NOW, later, new_company
from tests.saml_arrangement import Arrangement, acme, browser_of, connect
from tests.saml_provider import REDIRECT, SAML, SAMLP, SAMLProvider, elliptic_keys, encrypt, sign, unpacked
from tests.saml_provider import keys as keys_of

pytestmark = pytest.mark.slow


@pytest.fixture
def here(installed: Flask) -> Iterator[Arrangement]:
    yield acme(installed, new_company(), directory_id={"attribute": "employeeNumber", "matches": "employeeNumber"})


def test_a_request_says_who_asks_and_where_the_answer_goes(here: Arrangement) -> None:
    request = unpacked(here.begins())

    assert request.tag == f"{{{SAMLP}}}AuthnRequest"
    assert request.findtext(f"{{{SAML}}}Issuer") == here.to.entity_id
    assert request.get("AssertionConsumerServiceURL") == here.to.acs
    assert request.get("Destination") == "https://idp.acme.example/sso"
    assert request.get("ForceAuthn") is None


def test_a_request_is_signed_with_the_key_of_our_metadata(here: Arrangement) -> None:
    query = urlsplit(here.begins()).query

    ours = read_certificate(here.to.certificate)
    assert check_query(query, "SAMLRequest", [ours], at=NOW) == ours
    assert "RelayState" not in parse_qs(query)


def test_a_person_is_asked_anew_when_that_is_wanted(here: Arrangement) -> None:
    assert unpacked(here.begins(force=True)).get("ForceAuthn") == "true"


def test_an_address_with_several_parameters_stays_one_address(here: Arrangement) -> None:
    saml = {**here.connection().settings["saml"], "sso_url": "https://idp.acme.example/sso?a=1&b=2"}
    here.set(saml=saml)

    url = here.begins()

    assert url.startswith("https://idp.acme.example/sso?a=1&b=2&SAMLRequest=")
    assert unpacked(url).get("Destination") == "https://idp.acme.example/sso?a=1&b=2"


def test_an_answer_is_taken_as_it_was_said(here: Arrangement) -> None:
    ends = later(3600)
    verified = here.comes_back(
        here.responds(
            in_response_to=here.asks(return_to="/devices"), session_ends=ends, authenticated_at=later(-60), acr="urn:mfa",
            attributes={"mail": ["ada@acme.example"], "displayName": ["Ada"], "employeeNumber": ["1001"]},
        )
    )  # fmt: skip

    assert (verified.issuer, verified.subject, verified.tenant) == ("https://idp.acme.example/saml", "im-ada-1001", "")
    assert verified.organization_id == here.company.organization_id
    assert (verified.email, verified.display_name) == ("ada@acme.example", "Ada")
    assert verified.directory_ids.employee_number == "1001"
    assert (verified.until, verified.authenticated_at, verified.issued_at) == (ends, later(-60), NOW)
    assert (verified.acr, verified.upstream_session, verified.solicited) == ("urn:mfa", "session-1", True)
    assert verified.return_to == "/devices"


def test_the_methods_that_entra_names_are_taken(here: Arrangement) -> None:
    claims = "http://schemas.microsoft.com/claims/authnmethodsreferences"

    verified = here.signs_in(attributes={claims: ["http://schemas.microsoft.com/claims/multipleauthn"]})

    assert verified.amr == ("http://schemas.microsoft.com/claims/multipleauthn",)


def test_a_qualifier_other_than_the_provider_is_part_of_who_is_meant(here: Arrangement) -> None:
    assert here.signs_in(name_qualifier="https://idp.acme.example/saml").tenant == ""
    assert here.signs_in(name_qualifier="branch", assertion_id="_b").tenant == "branch"


def test_an_encrypted_assertion_is_opened(here: Arrangement) -> None:
    response = here.responds(in_response_to=here.asks())
    encrypt(response, here.to.certificate)

    assert here.comes_back(response).subject == "im-ada-1001"


def test_an_encrypted_assertion_in_a_signed_response_is_opened(here: Arrangement) -> None:
    response = here.responds(in_response_to=here.asks())
    encrypt(response, here.to.certificate, data="AES128", bits=128)
    sign(response, here.provider.key)

    assert here.comes_back(response).subject == "im-ada-1001"


@pytest.mark.parametrize("algorithm", ["RSA_SHA256", "RSA_SHA384", "RSA_SHA512"])
def test_a_signature_by_a_good_algorithm_is_taken(here: Arrangement, algorithm: str) -> None:
    response = here.provider.says(here.to, at=NOW, in_response_to=here.asks()).written()
    sign(response[-1], here.provider.key, algorithm=algorithm, digest="SHA512")

    assert here.comes_back(response).subject == "im-ada-1001"


def test_a_signature_by_an_elliptic_key_is_taken(installed: Flask) -> None:
    key = elliptic_keys("curve")
    here = connect(installed, new_company(), SAMLProvider(key=key, certificates=(key,)))
    response = here.provider.says(here.to, at=NOW, in_response_to=here.asks()).written()
    sign(response[-1], key, algorithm="ECDSA_SHA256")

    assert here.comes_back(response).subject == "im-ada-1001"


def test_a_clock_that_is_three_minutes_off_does_no_harm(here: Arrangement) -> None:
    ahead = here.responds(at=later(170), in_response_to=here.asks(), assertion_id="_ahead")
    behind = here.responds(at=later(-170), in_response_to=here.asks(), assertion_id="_behind")

    assert here.comes_back(ahead).subject == here.comes_back(behind).subject


def test_an_answer_to_a_sign_out_is_no_sign_in(here: Arrangement) -> None:
    with pytest.raises(Refused) as refused:
        here.comes_back(here.responds(in_response_to="_never"))

    assert refused.value.reason is Reason.NOT_ASKED_FOR
    assert refused.value.connection_id == here.connection_id


def test_somebody_comes_in_by_the_browser_that_asked(here: Arrangement) -> None:
    at = now()
    here.company.joins("ada@acme.example", "1001", at=at)
    response = here.responds(at=at, in_response_to=here.asks(return_to="/devices", at=at), attributes={"employeeNumber": ["1001"]})

    with browser_of(here) as http:
        answer = here.posts(http, response)
        session = http.get("/session")

    assert (answer.status_code, answer.headers["Location"]) == (303, "/devices")
    assert session.json is not None and session.json["person"]["userName"] == "ada@acme.example"


def test_a_session_ends_when_the_provider_vouches_no_longer(here: Arrangement) -> None:
    at = now()
    here.company.joins("ada@acme.example", "1001", at=at)
    response = here.responds(
        at=at, in_response_to=here.asks(at=at), attributes={"employeeNumber": ["1001"]}, session_ends=at + timedelta(minutes=10)
    )

    with browser_of(here) as http:
        here.posts(http, response)

    with reading() as session:
        row = session.scalars(select(WebSession)).one()
    assert row.expires_at == (at + timedelta(minutes=10)).replace(microsecond=0)
    assert row.name_id is not None and row.name_id["value"] == "im-ada-1001"


def test_a_refusal_is_a_calm_page_with_a_number(here: Arrangement) -> None:
    with browser_of(here) as http:
        answer = here.posts(http, here.responds(at=now(), in_response_to="_never"))

    assert answer.status_code == 403
    assert "never made" not in answer.text
    assert answer.headers["Cache-Control"] == "no-store"


def test_who_begins_at_the_provider_where_that_is_not_allowed_is_told_where_to_begin(here: Arrangement) -> None:
    with browser_of(here) as http:
        answer = here.posts(http, here.responds(at=now()))

    assert answer.status_code == 403 and "with the button below, not from your company’s list of apps" in answer.text


def test_an_unknown_connection_is_a_calm_page(here: Arrangement) -> None:
    with browser_of(here) as http:
        assert http.post("/saml/nobody/acs", data={"SAMLResponse": "x"}).status_code == 403
        assert http.get("/saml/nobody/metadata").status_code == 403


def test_whoever_loads_the_address_of_answers_begins_anew(here: Arrangement) -> None:
    with browser_of(here) as http:
        answer = http.get(urlsplit(here.to.acs).path)

    assert answer.headers["Location"] == f"/sign-in?connection={here.connection_id}"


def test_our_metadata_is_good_until_our_certificate_ends(here: Arrangement) -> None:
    with here.app.test_client() as http:
        shown = http.get(urlsplit(here.to.entity_id).path)

    ends = read_certificate(here.to.certificate).not_after
    assert f'validUntil="{ends:%Y-%m-%dT%H:%M:%SZ}"' in shown.text
    assert REDIRECT in shown.text
    assert keys_of("idp").bare_certificate not in shown.text
