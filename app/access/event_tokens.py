"""Security event tokens of our own (RFC 8417): signed when they are sent, so that a key that was retired meanwhile signs none."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.access.keys import Purpose, signer
from app.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Told:
    """One event as a receiver is told it."""

    jti: str
    audience: str
    issued_at: datetime
    txn: str
    subject: Mapping[str, Any]
    event: str
    said: Mapping[str, Any]


def signed_event(session: Session, settings: Settings, told: Told, *, algorithm: str, at: datetime) -> str:
    """The token. It has neither `sub` nor `exp` (SSF 1.0 §4.1). Raises KeyMissing, NoSigningKey."""
    claims = {
        "iss": settings.public_url, "jti": told.jti, "iat": int(told.issued_at.timestamp()), "aud": told.audience, "txn": told.txn,
        "sub_id": dict(told.subject), "events": {told.event: dict(told.said)},
    }  # fmt: skip
    return signer(session, settings, Purpose.TOKENS, at=at, algorithm=algorithm).sign_jwt(claims, typ="secevent+jwt")
