"""Second factors: codes of an authenticator app, security keys, and codes that count once. Each is checked and used up here."""

import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

import pyotp
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import AuthenticatorSelectionCriteria, ResidentKeyRequirement, UserVerificationRequirement

from app.access.factor_tables import CodePurpose, Factor, FactorKind, OneTimeCode
from app.access.sealing import seal, unseal
from app.access.tokens import digest_of
from app.database import new_id
from app.settings import Settings

STEP: Final = 30
"""Seconds for which a code of an authenticator app is shown (RFC 6238 §5.2)."""
OUTSIDE: Final = (0, -1, 1)
"""Which steps beside the present one count: a phone's clock may be a little off."""
ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Without what is misread from paper."""
CODE_LENGTH: Final = 20
"""Letters of a one-time code: 100 random bits, which nobody guesses however long they try."""
LONGEST_CREDENTIAL: Final = 16384


class BadFactor(Exception):
    """What was shown does not prove anything. The message is for the log and repeats nothing of it."""


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """A security key that has proved itself once."""

    credential_digest: str
    public_key: bytes
    sign_count: int


def new_totp_secret() -> str:
    """A secret for an authenticator app: 160 random bits (RFC 4226 §4)."""
    return pyotp.random_base32()


def totp_uri(secret: str, *, name: str) -> str:
    """What an authenticator app reads from a picture."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name="Doorlist")


def step_of(secret: str, typed: str, *, at: datetime) -> int | None:
    """The time step whose code this is; None where it is none of those that count now."""
    digits = "".join(typed.split())
    if len(digits) != 6 or not digits.isascii() or not digits.isdigit():
        return None
    present, known = int(at.timestamp()) // STEP, pyotp.TOTP(secret)
    # Each is compared, so that the time taken does not tell which it was.
    fits = [step for step in (present + one for one in OUTSIDE) if hmac.compare_digest(known.at(step * STEP), digits)]
    return fits[0] if fits else None


def add_totp(session: Session, settings: Settings, organization_id: str, person_id: str, *, secret: str, step: int, at: datetime) -> Factor:
    """Keep an authenticator app that has shown one right code, which is used up by that. Raises KeyMissing."""
    return _add(session, organization_id, person_id, FactorKind.TOTP, at=at, sealed_secret=seal(settings, secret), last_step=step)


def use_totp(session: Session, settings: Settings, factor: Factor, typed: str, *, at: datetime) -> bool:
    """Use up a code of this app. False where it is wrong, or was used: two who show one at once get one True. Raises KeyMissing."""
    step = None if factor.sealed_secret is None else step_of(unseal(settings, factor.sealed_secret), typed, at=at)
    if step is None:
        return False
    done = session.execute(
        update(Factor)
        .where(Factor.organization_id == factor.organization_id, Factor.id == factor.id, Factor.ended_at.is_(None), Factor.last_step < step)
        .values(last_step=step, last_used_at=at)
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]  # every UPDATE has one; the stub names the wider class


def key_creation(settings: Settings, *, user_id: str, name: str, challenge: bytes) -> str:
    """What a browser makes a new security key from, as JSON (WebAuthn §5.4).

    The key keeps who it is of, so that nobody has to type a name, and asks its holder for a PIN or a finger each time: with
    that it is two factors by itself.
    """
    options = generate_registration_options(
        rp_id=_host(settings), rp_name="Doorlist", user_id=user_id.encode(), user_name=name, challenge=challenge,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, require_resident_key=True, user_verification=UserVerificationRequirement.REQUIRED
        ),
    )  # fmt: skip
    return options_to_json(options)


def new_key(settings: Settings, credential: str, *, challenge: bytes) -> NewKey:
    """Check what a browser sends of a new security key. Raises BadFactor."""
    try:
        made = verify_registration_response(
            credential=_bounded(credential), expected_challenge=challenge, expected_rp_id=_host(settings), expected_origin=_origin(settings),
            require_user_verification=True,
        )  # fmt: skip
    except (WebAuthnException, ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadFactor(f"the security key was not taken: {type(error).__name__}") from error
    return NewKey(
        credential_digest=digest_of(bytes_to_base64url(made.credential_id)), public_key=made.credential_public_key, sign_count=made.sign_count
    )


def add_key(session: Session, organization_id: str, person_id: str, key: NewKey, *, at: datetime) -> Factor:
    """Keep a security key."""
    return _add(
        session, organization_id, person_id, FactorKind.SECURITY_KEY, at=at, credential_digest=key.credential_digest, public_key=key.public_key,
        sign_count=key.sign_count,
    )  # fmt: skip


def key_request(settings: Settings, *, challenge: bytes) -> str:
    """What a browser asks a security key to sign, as JSON (WebAuthn §5.5); the key itself says whose it is."""
    options = generate_authentication_options(
        rp_id=_host(settings), challenge=challenge, user_verification=UserVerificationRequirement.REQUIRED
    )
    return options_to_json(options)


def find_key(session: Session, credential: str) -> Factor | None:
    """The security key that a browser speaks for. Nothing is proved by it."""
    try:
        named = json.loads(_bounded(credential)).get("id")
    except (ValueError, AttributeError, RecursionError, BadFactor):
        return None
    if not isinstance(named, str):
        return None
    return session.scalar(select(Factor).where(Factor.credential_digest == digest_of(named), Factor.ended_at.is_(None)))


def use_key(session: Session, settings: Settings, factor: Factor, credential: str, *, challenge: bytes, at: datetime) -> None:
    """Check what a security key signed. Raises BadFactor, also for a counter that stands still: then there are two of it."""
    try:
        proved = verify_authentication_response(
            credential=_bounded(credential), expected_challenge=challenge, expected_rp_id=_host(settings), expected_origin=_origin(settings),
            credential_public_key=factor.public_key or b"", credential_current_sign_count=factor.sign_count, require_user_verification=True,
        )  # fmt: skip
    except (WebAuthnException, ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadFactor(f"the security key proved nothing: {type(error).__name__}") from error
    factor.sign_count, factor.last_used_at = proved.new_sign_count, at
    session.flush()


def _bounded(credential: str) -> str:
    if len(credential) > LONGEST_CREDENTIAL:
        raise BadFactor("what the security key sent is too long")
    return credential


def _host(settings: Settings) -> str:
    return urlsplit(settings.public_url).hostname or "localhost"


def _origin(settings: Settings) -> str:
    """As browsers write it: the name in small letters, and no port that goes without saying (RFC 6454 §6.2)."""
    public = urlsplit(settings.public_url)
    port = "" if public.port in (None, {"http": 80, "https": 443}.get(public.scheme)) else f":{public.port}"
    return f"{public.scheme}://{_host(settings)}{port}"


def _add(session: Session, organization_id: str, person_id: str, kind: FactorKind, *, at: datetime, **columns: object) -> Factor:
    factor = Factor(organization_id=organization_id, id=new_id(), person_id=person_id, kind=kind, added_at=at, **columns)
    session.add(factor)
    session.flush()
    return factor


def factors_of(session: Session, organization_id: str, person_id: str) -> Sequence[Factor]:
    """The factors of a person that have not ended, oldest first."""
    return session.scalars(
        select(Factor)
        .where(Factor.organization_id == organization_id, Factor.person_id == person_id, Factor.ended_at.is_(None))
        .order_by(Factor.added_at)
    ).all()


def give_codes(
    session: Session, organization_id: str, person_id: str, *, purpose: CodePurpose, count: int, at: datetime, good_for: timedelta | None = None
) -> list[str]:
    """New one-time codes, shown this once. Those of the same purpose before them count no more."""
    _end_codes(session, organization_id, person_id, purpose, at=at)
    codes = ["-".join("".join(secrets.choice(ALPHABET) for _ in range(5)) for _ in range(CODE_LENGTH // 5)) for _ in range(count)]
    session.add_all(
        OneTimeCode(
            organization_id=organization_id, digest=digest_of(_plain(code)), person_id=person_id, purpose=purpose, created_at=at,
            expires_at=None if good_for is None else at + good_for,
        )
        for code in codes
    )  # fmt: skip
    session.flush()
    return codes


def _plain(code: str) -> str:
    return "".join(mark for mark in code.upper() if mark.isalnum())


def find_code(session: Session, typed: str, *, purpose: CodePurpose, at: datetime) -> OneTimeCode | None:
    """The row of a code that still counts; it is not used up by that."""
    if len(typed) > 200:
        return None
    return session.scalar(
        select(OneTimeCode).where(
            OneTimeCode.digest == digest_of(_plain(typed)), OneTimeCode.purpose == purpose, OneTimeCode.used_at.is_(None),
            OneTimeCode.ended_at.is_(None), or_(OneTimeCode.expires_at.is_(None), OneTimeCode.expires_at > at),
        )
    )  # fmt: skip


def use_code(session: Session, code: OneTimeCode, *, at: datetime) -> bool:
    """Use a code up: two who type it at once get one True."""
    done = session.execute(
        update(OneTimeCode)
        .where(
            OneTimeCode.organization_id == code.organization_id, OneTimeCode.digest == code.digest, OneTimeCode.used_at.is_(None),
            OneTimeCode.ended_at.is_(None),
        )
        .values(used_at=at)
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    return bool(done.rowcount)  # type: ignore[attr-defined]  # every UPDATE has one; the stub names the wider class


def codes_left(session: Session, organization_id: str, person_id: str) -> int:
    """How many codes to sign in with are left."""
    rows = session.scalars(
        select(OneTimeCode.digest).where(
            OneTimeCode.organization_id == organization_id, OneTimeCode.person_id == person_id, OneTimeCode.purpose == CodePurpose.SIGN_IN,
            OneTimeCode.used_at.is_(None), OneTimeCode.ended_at.is_(None),
        )
    )  # fmt: skip
    return len(rows.all())


def end_factors(session: Session, organization_id: str, person_id: str, *, at: datetime) -> None:
    """None of a person's factors and codes proves anything any more."""
    session.execute(
        update(Factor)
        .where(Factor.organization_id == organization_id, Factor.person_id == person_id, Factor.ended_at.is_(None))
        .values(ended_at=at, sealed_secret=None)
        .execution_options(synchronize_session=False)
    )
    for purpose in CodePurpose:
        _end_codes(session, organization_id, person_id, purpose, at=at)


def _end_codes(session: Session, organization_id: str, person_id: str, purpose: CodePurpose, *, at: datetime) -> None:
    session.execute(
        update(OneTimeCode)
        .where(
            OneTimeCode.organization_id == organization_id, OneTimeCode.person_id == person_id, OneTimeCode.purpose == purpose,
            OneTimeCode.ended_at.is_(None),
        )
        .values(ended_at=at)
        .execution_options(synchronize_session=False)
    )  # fmt: skip
