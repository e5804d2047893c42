"""S31: certificates of a provider that change, end, or come with metadata that nobody vouches for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from app.sso.refusals import Reason, Refused
from app.sso.saml_certificates import read_certificate
from app.sso.saml_setup import BadMetadata, read_metadata
from tests.company import NOW, new_company
from tests.saml_arrangement import Arrangement, acme
from tests.saml_certificates import IDP, NEXT, refreshed, rolling, signed_by_next
from tests.saml_provider import keys, provider


@pytest.fixture
def here(installed: Flask) -> Iterator[Arrangement]:
    yield acme(installed, new_company())


def test_s31_two_certificates_are_good_at_once(here: Arrangement) -> None:
    """S31: the next one is taken beside the present one; both sign people in."""
    changes = refreshed(here, rolling(IDP.key, NEXT).metadata())

    assert changes == [f"new certificate {read_certificate(NEXT.certificate).fingerprint}"]
    assert signed_by_next(here) == here.signs_in(assertion_id="_old").subject


def test_s31_an_old_certificate_counts_until_its_own_end(here: Arrangement) -> None:
    """S31: it is gone from the metadata, and the provider may still sign with it."""
    refreshed(here, rolling(NEXT).metadata())

    assert here.signs_in().subject == "im-ada-1001"
    ends = read_certificate(IDP.key.certificate).not_after
    with pytest.raises(Refused, match=r"which has ended; known are: .* until 20") as refused:
        here.signs_in(at=ends + timedelta(hours=1))
    assert refused.value.reason is Reason.KEY_CHANGED


def test_s31_a_certificate_that_changed_overnight_is_named(here: Arrangement) -> None:
    """S31: the administrator reads which one signed, and which are known."""
    with pytest.raises(Refused) as refused:
        signed_by_next(here)

    assert refused.value.reason is Reason.KEY_CHANGED
    assert read_certificate(NEXT.certificate).fingerprint in str(refused.value)
    assert read_certificate(IDP.key.certificate).short in str(refused.value)


def test_s31_metadata_of_another_provider_is_refused(here: Arrangement) -> None:
    """S31: swapped at its address."""
    with pytest.raises(BadMetadata, match="another provider"):
        refreshed(here, provider("other", entity_id="https://evil.example").metadata())


def test_s31_metadata_that_was_signed_stays_signed(installed: Flask) -> None:
    """S31: by the same key, or by one of the provider's that are known; else an administrator has to look."""
    here = acme(installed, new_company())
    signer = keys("federation")
    refreshed(here, IDP.metadata(signed_by=signer))

    for swapped in (rolling(IDP.key, NEXT).metadata(), rolling(IDP.key, NEXT).metadata(signed_by=keys("stranger"))):
        with pytest.raises(BadMetadata, match="have the provider's administrator confirm"):
            refreshed(here, swapped)
    assert refreshed(here, rolling(IDP.key, NEXT).metadata(signed_by=signer)) != []


def test_s31_metadata_that_was_altered_is_refused() -> None:
    """S31: its signature no longer fits."""
    signed = IDP.metadata(signed_by=keys("federation"))

    with pytest.raises(BadMetadata, match="is signed, but"):
        read_metadata(signed.replace("/sso", "/evil"), at=NOW)


def test_s13_s29_metadata_in_another_spelling_has_no_entities_either() -> None:
    """S13, S29: in UTF-7 a DOCTYPE is written without the letters that are looked for, and every other reader sees it."""
    plain = '<!DOCTYPE x [<!ENTITY who "https://evil.example">]>' + IDP.metadata().replace(IDP.entity_id, "&who;")
    spelled = plain.encode("utf-7").decode("ascii").replace("<", "+ADw-")

    with pytest.raises(BadMetadata, match="is not XML"):
        read_metadata(f'<?xml version="1.0" encoding="UTF-7"?>{spelled}', at=NOW)
    assert read_metadata(f'<?xml version="1.0" encoding="ISO-8859-1"?>{IDP.metadata()}', at=NOW)["entity_id"] == IDP.entity_id
