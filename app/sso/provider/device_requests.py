"""Devices that wait for somebody to let them in (RFC 8628): what they show, what is typed, and how often they may ask."""

import hmac
import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from authlib.oauth2.rfc6749.errors import AccessDeniedError, InvalidGrantError
from authlib.oauth2.rfc8628 import AuthorizationPendingError, ExpiredTokenError, SlowDownError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.access.parties import find_party
from app.access.session_tables import DeviceRequest, RelyingParty
from app.access.sessions import Present
from app.access.tokens import digest_of
from app.sso.provider.entering_there import let_into

LIVES: Final = timedelta(minutes=10)
INTERVAL: Final = 5
LONGEST_INTERVAL: Final = 300
_ALPHABET: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""RFC 8628 §6.1: no vowels, so that no code is a word; 20 to the power of 8 codes, of which few are open and few may be tried."""
_LENGTH: Final = 8
PREFIX: Final = "dl_pd_"


class DeviceState(StrEnum):
    WAITING = "waiting"
    ALLOWED = "allowed"
    REFUSED = "refused"
    USED = "used"


def begin(session: Session, party: RelyingParty, *, scope: str, at: datetime) -> tuple[str, str]:
    """A device's own code and the one that its owner types, each told this once."""
    session.execute(
        delete(DeviceRequest)
        .where(DeviceRequest.organization_id == party.organization_id, DeviceRequest.expires_at <= at - LIVES)
        .execution_options(synchronize_session=False)
    )
    device_code = PREFIX + secrets.token_urlsafe(32)
    user_code = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    session.add(
        DeviceRequest(
            organization_id=party.organization_id, digest=digest_of(device_code), user_code_digest=digest_of(user_code), client_id=party.id,
            scope=scope, state=DeviceState.WAITING, interval=INTERVAL, created_at=at, expires_at=at + LIVES,
        )
    )  # fmt: skip
    session.flush()
    return device_code, f"{user_code[:4]}-{user_code[4:]}"


def typed(text: str) -> str:
    """A code as somebody typed it, without what they put between: spaces, dashes, small letters."""
    return "".join(letter for letter in text.upper() if letter in _ALPHABET)


def waiting(session: Session, user_code: str, *, organization_id: str, at: datetime) -> tuple[DeviceRequest, RelyingParty] | None:
    """The device that shows this code, and its application; None unless it still waits, and is of this organisation."""
    digest = digest_of(typed(user_code))
    row = session.scalar(
        select(DeviceRequest)
        .where(
            DeviceRequest.user_code_digest == digest, DeviceRequest.organization_id == organization_id,
            DeviceRequest.state == DeviceState.WAITING, DeviceRequest.expires_at > at,
        )
        .with_for_update()
    )  # fmt: skip
    if row is None or not hmac.compare_digest(row.user_code_digest, digest):
        return None
    party = find_party(session, row.client_id)
    return None if party is None else (row, party)


def allow(session: Session, row: DeviceRequest, party: RelyingParty, present: Present, *, at: datetime) -> bool:
    """Let the device in on behalf of who is signed in; False where they may not enter any more. Raises Refused, and the device waits on."""
    grant = let_into(session, present, party, scope=row.scope, own=True, at=at)
    if grant is None:
        return False
    row.grant_id, row.state = grant.id, DeviceState.ALLOWED
    session.flush()
    return True


def refuse(session: Session, row: DeviceRequest) -> None:
    """Keep the device out: it is told so, and asks no more."""
    row.state = DeviceState.REFUSED
    session.flush()


def held_by(session: Session, device_code: str) -> DeviceRequest | None:
    """The device that has this code, held, so that two who show it at once come one after the other."""
    digest = digest_of(device_code)
    row = session.scalar(select(DeviceRequest).where(DeviceRequest.digest == digest).with_for_update().execution_options(populate_existing=True))
    return row if row is not None and hmac.compare_digest(row.digest, digest) else None


def poll(session: Session, row: DeviceRequest, *, at: datetime) -> str:
    """The grant that the device was given, this once. Raises what RFC 8628 §3.5 has for everything else."""
    before, row.polled_at = row.polled_at, at
    if row.state == DeviceState.USED:
        raise InvalidGrantError("the device code was used before")
    if row.expires_at <= at:
        raise ExpiredTokenError("nobody let the device in within ten minutes; begin again")
    # Whoever asks too fast waits longer from now on, also for a yes.
    if before is not None and at < before + timedelta(seconds=row.interval):
        row.interval = min(row.interval + INTERVAL, LONGEST_INTERVAL)
        raise SlowDownError(f"ask again after {row.interval} seconds")
    if row.state == DeviceState.WAITING:
        raise AuthorizationPendingError("nobody has let the device in yet")
    if row.state == DeviceState.REFUSED or row.grant_id is None:
        raise AccessDeniedError("whoever was asked said no")
    row.state = DeviceState.USED
    session.flush()
    return row.grant_id
