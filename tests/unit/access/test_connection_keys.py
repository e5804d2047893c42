"""What a connection's provider signs is proved by its own keys: the published ones, or those of its certificates."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from app.access.connection_keys import keys_of_certificates, prove_of
from app.access.connection_tables import Connection, ConnectionKind
from app.access.published_keys import KEYS
from app.access.signed_tokens import ALGORITHMS, BadSignature, NoSuchKey, unproved
from app.clock import now
from connectors.contract import ConnectorError
from tests.oidc_stand_in import SigningKey, StandIn, new_key, signed, stand_in


@pytest.fixture
def provider() -> Iterator[StandIn]:
    with stand_in() as found:
        KEYS._kept.clear()
        yield found


def connection(kind: ConnectionKind, **settings: Any) -> Connection:
    return Connection(organization_id="o", id="c", kind=kind, name="idp", issuer="https://idp.example", settings=settings, created_at=now())


def proves(by: SigningKey, row: Connection) -> bool:
    return bool(prove_of(row, unproved(signed({"a": 1}, by)), algorithms=ALGORITHMS).claims)


def certificate_of(private: rsa.RSAPrivateKey) -> str:
    """As SAML metadata hold it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key()).serial_number(1)
    dated = made.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC)).not_valid_after(datetime(2021, 1, 1, tzinfo=UTC))
    return base64.b64encode(dated.sign(private, SHA256()).public_bytes(Encoding.DER)).decode()


def certified(by: SigningKey) -> str:
    private = by.key.get_op_key("sign")
    assert isinstance(private, rsa.RSAPrivateKey)
    return certificate_of(private)


def test_an_openid_connection_is_proved_by_what_its_provider_publishes(provider: StandIn) -> None:
    row = connection(ConnectionKind.OIDC, oidc={"jwks_uri": f"{provider.issuer}/jwks", "allow_private": True})

    assert proves(provider.signing, row)
    with pytest.raises(NoSuchKey):
        proves(new_key(), row)


def test_keys_for_revocations_may_be_published_elsewhere(provider: StandIn) -> None:
    with stand_in() as elsewhere:
        own = {"jwks_uri": f"{provider.issuer}/jwks", "allow_private": True}
        row = connection(ConnectionKind.OIDC, oidc=own, universal_logout={"jwks_uri": f"{elsewhere.issuer}/jwks"})

        assert proves(elsewhere.signing, row)
        with pytest.raises(NoSuchKey):
            proves(provider.signing, row)


@pytest.mark.parametrize("kind", list(ConnectionKind))
def test_an_address_of_ones_own_network_is_asked_where_that_connection_allows_it(provider: StandIn, kind: ConnectionKind) -> None:
    at = {"jwks_uri": f"{provider.issuer}/jwks"}
    other = "saml" if kind is ConnectionKind.OIDC else "oidc"

    assert proves(provider.signing, connection(kind, universal_logout=at, **{kind.value: {"allow_private": True}}))
    for closed in ({}, {kind.value: {"allow_private": "true"}}, {other: {"allow_private": True}}, {"allow_private": True}):
        with pytest.raises(ConnectorError):
            proves(provider.signing, connection(kind, universal_logout={**at, "allow_private": True}, **closed))


def test_a_certificate_proves_while_nothing_can_be_fetched(provider: StandIn) -> None:
    key = new_key("RS256")
    row = connection(
        ConnectionKind.SAML, saml={"certificates": ["rubbish", certified(key)], "allow_private": True},
        universal_logout={"jwks_uri": f"{provider.issuer}/jwks"},
    )  # fmt: skip
    provider.fails = 503

    assert proves(key, row)
    assert provider.asked == []
    provider.fails = None
    assert proves(provider.signing, row)


def test_certificates_prove_nothing_of_another_or_of_an_openid_connection() -> None:
    key = new_key("RS256")
    with pytest.raises(BadSignature):
        proves(new_key("RS256"), connection(ConnectionKind.SAML, saml={"certificates": [certified(key)]}))
    with pytest.raises(NoSuchKey):
        proves(key, connection(ConnectionKind.OIDC, oidc={"certificates": [certified(key)]}, saml={"certificates": [certified(key)]}))


@pytest.mark.parametrize(("bits", "count"), [(1024, 0), (2048, 1)])
def test_a_certificate_with_a_short_key_proves_nothing(bits: int, count: int) -> None:
    text = certificate_of(rsa.generate_private_key(public_exponent=65537, key_size=bits))

    assert len(keys_of_certificates([text]).keys) == count


def test_a_connection_without_keys_proves_nothing() -> None:
    for kind in ConnectionKind:
        with pytest.raises(NoSuchKey):
            proves(new_key(), connection(kind))
