"""Okta's Universal Logout: by the keys of an OpenID connection, and by the certificate of a SAML one."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from werkzeug.test import TestResponse

from app.access.connection_tables import ConnectionKind
from app.database import new_id, reading
from app.directory.tables import Standing
from app.journal.tables import HERE, Lane, Subject, Work
from tests.unit.signals.stage import PUBLIC_URL, Provider, Stage, email, iss_sub

ORG = "https://clinic.okta.example"


def certificate_of(provider: Provider) -> str:
    """The base64 that SAML metadata hold, of a certificate that ended long ago: only its key counts."""
    private = provider.key.get_op_key("sign")
    assert isinstance(private, RSAPrivateKey)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "clinic")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2021, 1, 1, tzinfo=UTC))
        .sign(private, SHA256())
    )
    return base64.b64encode(made.public_bytes(Encoding.DER)).decode()


def asks(stage: Stage, provider: Provider, connection_id: str, body: Any, *, subject: str = "0oa1clientid", issuer: str = ORG) -> TestResponse:
    path = f"/signals/global-token-revocation/{connection_id}"
    claims = {
        "jti": new_id(), "iss": issuer, "sub": subject, "aud": PUBLIC_URL + path, "iat": timedelta(), "nbf": timedelta(minutes=-5), "exp": timedelta(minutes=5),
    }  # fmt: skip
    token = provider.signs(claims, typ="global-token-revocation+jwt")
    return stage.http.post(path, headers={"Authorization": f"Bearer {token}"}, data=json.dumps(body), content_type="application/json")


@pytest.fixture
def okta() -> Provider:
    return Provider(issuer=ORG, algorithm="RS256", key_name="okta-rsa")


def test_a_person_is_signed_out_everywhere_and_may_sign_in_again(stage: Stage, okta: Provider) -> None:
    connection_id = stage.connects(okta)
    mara = stage.joins("mara", issuer=ORG, subject="00u1")
    cookie = stage.signs_in(mara.person_id)

    answer = asks(stage, okta, connection_id, {"sub_id": iss_sub(ORG, "00u1")})

    assert (answer.status_code, answer.data) == (204, b"")
    assert not stage.is_in(cookie)
    assert stage.standing(mara) == Standing.ACTIVE
    assert stage.is_in(stage.signs_in(mara.person_id))
    with reading() as session:
        # Whoever relies on us hears of it with the departures.
        assert session.get(Work, (stage.organization_id, HERE, Subject.ACCESS, mara.person_id, Lane.DEPARTURES)) is not None


def test_a_saml_connection_is_checked_with_its_certificate(stage: Stage, okta: Provider) -> None:
    entity = Provider(issuer="http://www.okta.com/exk1", algorithm="RS256", key_name="okta-rsa")
    connection_id = stage.connects(
        entity, ConnectionKind.SAML, saml={"certificates": [certificate_of(okta)]}, universal_logout={"issuer": ORG, "subject": "app-instance-1"}
    )  # fmt: skip
    mara = stage.joins("mara")
    cookie = stage.signs_in(mara.person_id)
    foreign = Provider(issuer=ORG, algorithm="RS256", key_name="foreign-rsa")

    wrong = asks(stage, foreign, connection_id, {"subject": email("mara@clinic.example")}, subject="app-instance-1")
    before = stage.is_in(cookie)
    right = asks(stage, okta, connection_id, {"subject": email("mara@clinic.example")}, subject="app-instance-1")

    assert (wrong.status_code, before) == (401, True)
    assert (right.status_code, stage.is_in(cookie)) == (204, False)


def test_the_name_of_the_calls_and_that_of_the_sign_ins_are_one_provider(stage: Stage, okta: Provider) -> None:
    server = f"{ORG}/oauth2/default"
    connection_id = stage.connects(
        Provider(issuer=server, algorithm="RS256", key_name="okta-rsa", jwks_uri=okta.jwks_uri), universal_logout={"issuer": ORG}
    )  # fmt: skip
    mara = stage.joins("mara", issuer=server, subject="00u1")

    answer = asks(stage, okta, connection_id, {"sub_id": iss_sub(ORG, "00u1")})

    assert (answer.status_code, stage.epoch(mara)) == (204, 2)


def test_an_address_that_fits_two_is_not_acted_on(stage: Stage, okta: Provider) -> None:
    connection_id = stage.connects(okta)
    for subject, name in (("00u1", "mara"), ("00u1-second", "noor")):
        stage.joins(name, issuer=ORG, subject=subject)
    body = {"sub_id": email("mara@clinic.example")}
    first = asks(stage, okta, connection_id, body)

    second = stage.joins("third")
    stage.shares(second, "mara@clinic.example")

    assert (first.status_code, asks(stage, okta, connection_id, body).status_code) == (204, 422)


def test_whoever_has_left_is_out_already(stage: Stage, okta: Provider) -> None:
    connection_id = stage.connects(okta)
    mara = stage.joins("mara", issuer=ORG, subject="00u1")
    stage.company.says(mara, active=False)
    epoch = stage.epoch(mara)

    answer = asks(stage, okta, connection_id, {"sub_id": iss_sub(ORG, "00u1")})

    assert (answer.status_code, stage.epoch(mara)) == (204, epoch)


def test_a_connection_that_was_ended_is_nobodys(stage: Stage, okta: Provider) -> None:
    connection_id = stage.connects(okta)
    mara = stage.joins("mara", issuer=ORG, subject="00u1")
    stage.disconnects(connection_id)

    answer = asks(stage, okta, connection_id, {"sub_id": iss_sub(ORG, "00u1")})

    assert (answer.status_code, stage.epoch(mara)) == (401, 1)
