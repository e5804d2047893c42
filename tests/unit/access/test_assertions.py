"""Assertions: which prove a client, which do not, and which keys are taken to check them."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from app.access.assertions import ALGORITHMS, BadAssertion, UnusableKeys, client_named_in, prove, read_keys
from app.clock import now
from tests.unit.access.conftest import TOKEN_URL
from tests.unit.access.signing import assertion_of, jwks_of, key_for

CLIENT = "0197a000-0000-7000-8000-000000000001"
ISSUER = "http://127.0.0.1:8484"


def proves(assertion: str, jwks: dict[str, Any]) -> None:
    prove(assertion, jwks, client_id=CLIENT, audiences=(TOKEN_URL, ISSUER), at=now())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_that_is_named_is_taken(algorithm: str) -> None:
    key = key_for(algorithm)

    proves(assertion_of(CLIENT, key, algorithm), jwks_of(key))


@pytest.mark.parametrize("claims", [{"aud": ISSUER}, {"aud": [TOKEN_URL]}, {"aud": [TOKEN_URL, ISSUER]}, {"nbf": timedelta()}, {"exp": timedelta(seconds=299.5)}])
def test_claims_as_clients_write_them_are_taken(claims: dict[str, Any]) -> None:
    key = key_for("ES256")

    proves(assertion_of(CLIENT, key, "ES256", **claims), jwks_of(key))


@pytest.mark.parametrize("certificates", [1, 3])
def test_a_header_that_names_certificates_is_taken(certificates: int) -> None:
    key, issuer = key_for("RS256"), rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Acme Identity and Access"), x509.NameAttribute(NameOID.COMMON_NAME, "SCIM client")])
    certificate = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=issuer.public_key(), serial_number=x509.random_serial_number())
        .not_valid_before(now()).not_valid_after(now() + timedelta(days=365)).sign(issuer, hashes.SHA256())
    )  # fmt: skip
    named = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()

    assertion = assertion_of(CLIENT, key, "RS256", header={"x5c": [named] * certificates, "x5t#S256": "x" * 43, "kid": "k"})

    assert len(named) > 1000 and client_named_in(assertion) == CLIENT
    proves(assertion, jwks_of(key))


@pytest.mark.parametrize("header", [{"ver": "1.0"}, {"iss": CLIENT, "aud": TOKEN_URL}, {"tenant": {"id": 7}}])
def test_what_is_not_understood_in_a_header_is_passed_over(header: dict[str, Any]) -> None:
    key = key_for("ES256")

    proves(assertion_of(CLIENT, key, "ES256", header=header), jwks_of(key))


@pytest.mark.parametrize("header", [{"crit": ["ver"], "ver": "1.0"}, {"crit": ["cty"], "cty": "JWT"}, {"crit": ["b64"], "b64": True}])
def test_what_has_to_be_understood_in_a_header_is_not_passed_over(header: dict[str, Any]) -> None:
    key = key_for("ES256")

    with pytest.raises(BadAssertion, match="understood"):
        proves(assertion_of(CLIENT, key, "ES256", header=header), jwks_of(key))


@pytest.mark.parametrize(
    ("claims", "named"),
    [
        ({"iss": "somebody"}, "iss"),
        ({"sub": "somebody"}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": None}, "aud"),
        ({"aud": "https://elsewhere.example/token"}, "aud"),
        ({"aud": [TOKEN_URL, "https://elsewhere.example"]}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": {"a": 1}}, "aud"),
        ({"exp": None}, "exp"),
        ({"exp": "9999999999"}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": float("nan")}, "exp"),
        ({"exp": float("inf")}, "exp"),
        ({"exp": timedelta(seconds=-1)}, "expired"),
        ({"exp": timedelta(seconds=301)}, "5 minutes"),
        ({"exp": timedelta(seconds=3600), "iat": timedelta(seconds=3590)}, "5 minutes"),
        ({"iat": None}, "iat"),
        ({"iat": timedelta(seconds=45), "exp": timedelta(seconds=100)}, "later"),
        ({"nbf": timedelta(seconds=45)}, "later"),
        ({"nbf": "tomorrow"}, "nbf"),
        ({"nbf": float("nan")}, "nbf"),
        ({"nbf": float("inf")}, "nbf"),
        ({"nbf": 1e300}, "nbf"),
        ({"nbf": 1_800_000_000_000}, "nbf"),
        ({"nbf": True}, "nbf"),
        ({"nbf": [1]}, "nbf"),
        ({"nbf": -1}, "nbf"),
        ({"jti": None}, "jti"),
        ({"jti": ""}, "jti"),
        ({"jti": 7}, "jti"),
    ],
)
def test_what_a_claim_lacks_is_named(claims: dict[str, Any], named: str) -> None:
    key = key_for("ES256")

    with pytest.raises(BadAssertion, match=named):
        proves(assertion_of(CLIENT, key, "ES256", **claims), jwks_of(key))


def test_another_key_proves_nothing() -> None:
    with pytest.raises(BadAssertion, match="signature"):
        proves(assertion_of(CLIENT, ECKey.generate_key("P-256"), "ES256"), jwks_of(key_for("ES256")))


def test_changed_claims_prove_nothing() -> None:
    key = key_for("ES256")
    header, _, signature = assertion_of(CLIENT, key, "ES256").split(".")
    _, claims, _ = assertion_of(CLIENT, key, "ES256", exp=timedelta(seconds=200)).split(".")

    with pytest.raises(BadAssertion, match="signature"):
        proves(f"{header}.{claims}.{signature}", jwks_of(key))


@pytest.mark.parametrize("algorithm", ["HS256", "RS384", "none"])
def test_no_other_algorithm_is_taken(algorithm: str) -> None:
    if algorithm == "none":
        _, claims, _ = assertion_of(CLIENT, key_for("ES256"), "ES256").split(".")
        assertion = f"{base64.urlsafe_b64encode(json.dumps({'alg': 'none'}).encode()).decode().rstrip('=')}.{claims}."
    else:
        assertion = assertion_of(CLIENT, key_for(algorithm), algorithm)

    with pytest.raises(BadAssertion, match="signed with"):
        proves(assertion, jwks_of(key_for("RS256")))


def test_the_public_key_is_no_shared_secret() -> None:
    public = key_for("RS256").as_pem(private=False)  # type: ignore[union-attr]  # an RSA key
    header, claims, _ = assertion_of(CLIENT, key_for("HS256"), "HS256").split(".")
    signature = hmac.digest(public, f"{header}.{claims}".encode(), "sha256")
    forged = f"{header}.{claims}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"

    with pytest.raises(BadAssertion, match="signed with"):
        proves(forged, jwks_of(key_for("RS256")))


def test_of_several_keys_the_one_that_is_named_is_used() -> None:
    old, new = key_for("ES256", kid="old"), key_for("ES256", kid="new")

    proves(assertion_of(CLIENT, new, "ES256", header={"kid": "new"}), jwks_of(old, new))
    proves(assertion_of(CLIENT, new, "ES256"), jwks_of(old, new))
    with pytest.raises(BadAssertion, match="kid"):
        proves(assertion_of(CLIENT, new, "ES256", header={"kid": "old"}), jwks_of(old, new))


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c", "....", "é.é.é", "\0", "x" * 9000, "e30.W10." + "A" * 10, "e30." + "W1tb" * 1000 + ".AA"])
def test_what_is_no_assertion_is_refused_in_words(text: str) -> None:
    with pytest.raises(BadAssertion, match="assertion"):
        client_named_in(text)


def test_a_refusal_repeats_nothing_of_the_assertion() -> None:
    assertion = assertion_of(CLIENT, ECKey.generate_key("P-256"), "ES256", jti="sesame")

    with pytest.raises(BadAssertion) as refused:
        proves(assertion, jwks_of(key_for("ES256")))

    assert "sesame" not in str(refused.value) and assertion.rpartition(".")[2] not in str(refused.value)


def test_public_keys_are_read_as_they_are_given() -> None:
    given = jwks_of(key_for("RS256", kid="r"), key_for("ES256", kid="e"), key_for("EdDSA", kid="d"))

    assert read_keys(json.dumps(given)) == given
    # As some editors on Windows begin a file.
    assert read_keys(f"\ufeff{json.dumps(given)}") == given


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ("no JSON", "JSON"),
        ([], "1 to 10"),
        ([7], "no object"),
        ([{**key_for("ES256").as_dict(private=False), "ext": float("nan")}], "JSON"),
        ([{**key_for("ES256").as_dict(private=False), "kid": "a\0"}], r"keys\.kid holds a character that no text can hold"),
        ([{**key_for("ES256").as_dict(private=False), "ext": "\ud800"}], r"keys\.ext holds a character that no text can hold"),
        ([{"kty": "EC"}], "cannot be read"),
        ([{"kty": 7}], "cannot be read"),
        ([key_for("ES256").as_dict(private=True)], "private"),
        ([OctKey.generate_key(256).as_dict()], "RSA with at least"),
        ([ECKey.generate_key("P-384").as_dict(private=False)], "P-256"),
        ([OKPKey.generate_key("X25519").as_dict(private=False)], "Ed25519"),
        ([{**key_for("ES256").as_dict(private=False), "use": "enc"}], "signatures"),
        ([{**key_for("ES256").as_dict(private=False), "alg": "ES384"}], "ES384"),
        ([key_for("ES256").as_dict(private=False)] * 2, "kid"),
        ([{**key_for("ES256").as_dict(private=False), "kid": "same"}] * 2, "kid"),
    ],
)
def test_keys_that_cannot_be_used_are_refused_by_what_is_wrong(keys: Any, named: str) -> None:
    text = keys if isinstance(keys, str) else json.dumps({"keys": keys})

    with pytest.raises(UnusableKeys, match=named):
        read_keys(text)


def test_a_short_rsa_key_is_refused() -> None:
    with pytest.warns(match="2048"):
        short = RSAKey.generate_key(1024)

    with pytest.warns(match="2048"), pytest.raises(UnusableKeys, match="2048"):
        read_keys(json.dumps(jwks_of(short)))
