"""The installation's signing keys: made once, rotated with an overlap, and never shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlalchemy import select, update

from app.access import keys
from app.access.key_tables import SigningKey
from app.access.keys import OVERLAP, TOKENS_LIVE, NoSigningKey, Purpose, Signer
from app.access.sealing import KeyMissing
from app.actors import Actor, ActorKind
from app.clock import iso
from app.database import transaction
from app.journal.tables import Entry, Organization
from app.settings import Settings, from_environment

pytestmark = pytest.mark.slow

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
GRACE = Actor(kind=ActorKind.OPERATOR, name="grace")


def _settings(app: Flask) -> Settings:
    settings = app.config["DOORLIST"]
    assert isinstance(settings, Settings)
    return settings


def _signer(app: Flask, purpose: Purpose = Purpose.TOKENS, *, at: datetime = AT, algorithm: str | None = None) -> Signer:
    with transaction() as session:
        return keys.signer(session, _settings(app), purpose, at=at, algorithm=algorithm)


def _jwks(at: datetime = AT) -> dict[str, Any]:
    with transaction() as session:
        return keys.jwks(session, at=at)


def _reads(token: str, published: dict[str, Any], algorithm: str) -> dict[str, Any]:
    return jwt.decode(token, KeySet.import_key_set(published), algorithms=[algorithm], registry=keys.REGISTRY).claims  # type: ignore[arg-type]  # joserfc's own name for such an object


def _rotate(app: Flask, *, at: datetime, overlap: timedelta = OVERLAP) -> list[str]:
    with transaction() as session:
        return keys.rotate(session, _settings(app), Purpose.TOKENS, at=at, actor=GRACE, overlap=overlap)


def test_keys_are_made_once(installed: Flask) -> None:
    with transaction() as session:
        first = keys.ensure_keys(session, _settings(installed), at=AT)
        again = keys.ensure_keys(session, _settings(installed), at=AT)

    assert len(first) == 4
    assert again == []


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA"])
def test_a_token_is_checked_with_the_published_keys_alone(installed: Flask, algorithm: str) -> None:
    signer = _signer(installed, algorithm=algorithm)

    token = signer.sign_jwt({"sub": "ada"}, typ="at+jwt")

    assert _reads(token, _jwks(), algorithm) == {"sub": "ada"}
    header = jwt.decode(token, KeySet.import_key_set(_jwks()), algorithms=[algorithm], registry=keys.REGISTRY).header  # type: ignore[arg-type]  # as above
    assert header == {"alg": algorithm, "kid": signer.kid, "typ": "at+jwt"}


def test_tokens_are_signed_with_es256_unless_another_is_asked_for(installed: Flask) -> None:
    assert _signer(installed).algorithm == "ES256"


def test_evidence_has_keys_of_its_own_which_are_not_among_those_for_tokens(installed: Flask) -> None:
    evidence = _signer(installed, Purpose.EVIDENCE)

    assert len(evidence.sign_bytes(b"receipt")) == 64
    assert evidence.kid not in {key["kid"] for key in _jwks()["keys"]}
    with pytest.raises(JoseError):
        _reads(evidence.sign_jwt({"sub": "ada"}), _jwks(), "EdDSA")


def test_what_is_published_holds_nothing_private(installed: Flask) -> None:
    _signer(installed)

    with transaction() as session:
        shown = [*keys.jwks(session)["keys"], *keys.all_public(session)]

    assert len(shown) == 3 + 4
    assert not any({"d", "p", "q", "dp", "dq", "qi"} & set(key) for key in shown)


def test_a_key_shows_nothing_of_itself_when_it_is_printed(installed: Flask) -> None:
    signer = _signer(installed)

    private = signer.key.as_dict(private=True)["d"]

    assert str(private) not in repr(signer)


def test_private_keys_are_sealed_at_rest_and_do_not_open_with_another_key(installed: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    private = str(_signer(installed).key.as_dict(private=True)["d"])
    monkeypatch.setattr(keys, "_unsealed", {})
    other = from_environment({"DOORLIST_HOME": str(_settings(installed).home), "DOORLIST_ENCRYPTION_KEY": "b" * 43 + "="})

    with transaction() as session:
        stored = b"".join(session.scalars(select(SigningKey.sealed_private)))
        with pytest.raises(KeyMissing):
            keys.signer(session, other, Purpose.TOKENS, at=AT)

    assert private.encode() not in stored


def test_a_new_key_is_published_before_it_signs(installed: Flask) -> None:
    old = _signer(installed)

    new = _rotate(installed, at=AT)[0]

    assert {old.kid, new} <= {key["kid"] for key in _jwks()["keys"]}
    assert _signer(installed).kid == old.kid
    assert _signer(installed, at=AT + OVERLAP).kid == new


def test_a_retired_key_stays_published_as_long_as_its_tokens_may_be_shown(installed: Flask) -> None:
    old = _signer(installed)
    token = old.sign_jwt({"sub": "ada"})
    _rotate(installed, at=AT)
    retired_at = AT + OVERLAP

    assert _reads(token, _jwks(retired_at + TOKENS_LIVE - timedelta(seconds=1)), "ES256") == {"sub": "ada"}
    with pytest.raises((JoseError, ValueError)):
        _reads(token, _jwks(retired_at + TOKENS_LIVE), "ES256")
    with transaction() as session:
        assert old.kid in {key["kid"] for key in keys.all_public(session)}


def test_a_key_that_somebody_else_may_have_signs_no_more_at_once(installed: Flask) -> None:
    old = _signer(installed)

    _rotate(installed, at=AT, overlap=timedelta())

    assert _signer(installed).kid != old.kid


def test_nothing_that_a_withdrawn_key_signed_is_believed_any_more(installed: Flask) -> None:
    retired, token = _signer(installed).kid, _signer(installed).sign_jwt({"sub": "ada"})
    _rotate(installed, at=AT)
    leaked_at = AT + OVERLAP + timedelta(hours=1)
    leaked = _signer(installed, at=leaked_at)
    waiting = _rotate(installed, at=leaked_at)

    new = _rotate(installed, at=leaked_at, overlap=timedelta())

    assert {key["kid"] for key in _jwks(leaked_at)["keys"]} == set(new)
    for one in (token, leaked.sign_jwt({"sub": "ada"})):
        with pytest.raises((JoseError, ValueError)):
            _reads(one, _jwks(leaked_at), "ES256")
    with transaction() as session:
        withdrawn = {key["kid"]: key["withdrawn"] for key in keys.all_public(session)}
    assert withdrawn[retired] == withdrawn[leaked.kid] == withdrawn[waiting[0]] == iso(leaked_at)
    assert not any(withdrawn[kid] for kid in new)


def test_keys_for_evidence_are_not_withdrawn_with_those_for_tokens(installed: Flask) -> None:
    evidence = _signer(installed, Purpose.EVIDENCE)

    _rotate(installed, at=AT, overlap=timedelta())

    assert _signer(installed, Purpose.EVIDENCE).kid == evidence.kid
    with transaction() as session:
        assert [key["withdrawn"] for key in keys.all_public(session) if key["kid"] == evidence.kid] == [None]


def test_an_ordinary_rotation_withdraws_nothing(installed: Flask) -> None:
    _signer(installed)

    _rotate(installed, at=AT)

    with transaction() as session:
        assert {key["withdrawn"] for key in keys.all_public(session)} == {None}


def test_rotating_twice_leaves_one_key_that_signs(installed: Flask) -> None:
    _signer(installed)
    _rotate(installed, at=AT)

    third = _rotate(installed, at=AT + timedelta(hours=1))[0]

    assert _signer(installed, at=AT + timedelta(days=3)).kid == third
    with transaction() as session:
        standing = session.scalars(
            select(SigningKey.kid).where(SigningKey.algorithm == "ES256", SigningKey.retired_at.is_(None))
        ).all()
    assert standing == [third]


def test_rotation_is_in_the_journal_of_every_organisation(installed: Flask) -> None:
    with transaction() as session:
        for name in ("acme", "globex"):
            session.add(Organization(id=name, name=name, settings={}, created_at=AT))

    new = _rotate(installed, at=AT)

    with transaction() as session:
        found = {entry.organization_id: entry for entry in session.scalars(select(Entry).where(Entry.verb == "signing keys rotated"))}
    assert set(found) == {"acme", "globex"}
    assert found["acme"].actor == "operator:grace"
    assert (found["acme"].after or {})["kids"] == new


def test_without_a_key_that_may_sign_nothing_is_signed(installed: Flask) -> None:
    _signer(installed)
    with transaction() as session:
        session.execute(update(SigningKey).values(retired_at=AT))

    with pytest.raises(NoSigningKey, match="keys rotate"):
        _signer(installed)


def test_only_an_ed25519_key_signs_bare_bytes(installed: Flask) -> None:
    with pytest.raises(TypeError):
        _signer(installed, algorithm="PS256").sign_bytes(b"receipt")
