"""Security event tokens (RFC 8417) as one transmitter sends them: checked, and read into one event. Pure but for the proof, which is handed in.

Strict by the final specifications; what a transmitter does otherwise is tolerated for that transmitter alone.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from app.access.signed_tokens import (
    ALGORITHMS,
    LATEST,
    BadSignature,
    BadToken,
    NoSuchKey,
    SignedToken,
    Unproved,
    instant,
    texts,
)
from app.clock import Clock
from app.signals.subjects import BadSubject, Subject, read_subject

CAEP: Final = "https://schemas.openid.net/secevent/caep/event-type/"
RISC: Final = "https://schemas.openid.net/secevent/risc/event-type/"
SSF: Final = "https://schemas.openid.net/secevent/ssf/event-type/"
SKEW: Final = timedelta(seconds=60)
"""How far a transmitter's clock may be ahead of ours."""
LONGEST_JTI: Final = 255
THE_STREAM: Final = {"format": "opaque", "id": "the stream"}
"""Stands where an event about the stream itself says no subject."""


class Tolerance(StrEnum):
    """What one transmitter may do that the final specifications do not allow."""

    MILLISECONDS = "milliseconds"
    SUBJECT_IN_EVENT = "subject-in-event"
    SUBJECT_TYPE = "subject-type"
    PLAIN_TYPE = "plain-type"


class Fault(StrEnum):
    """What is wrong with a token, as the transmitter is told (RFC 8935 §2.4, SSF 1.0 §8.1.4)."""

    INVALID_REQUEST = "invalid_request"
    INVALID_KEY = "invalid_key"
    INVALID_ISSUER = "invalid_issuer"
    INVALID_AUDIENCE = "invalid_audience"
    AUTHENTICATION_FAILED = "authentication_failed"
    INVALID_STATE = "invalid_state"


class BadEvent(Exception):
    """The token is not taken. The message is for whoever runs the transmitter, and repeats nothing of the token."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is agreed with one transmitter. `audiences` are ours on its stream."""

    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...] = ALGORITHMS
    tolerated: frozenset[Tolerance] = frozenset()


@dataclass(frozen=True, kw_only=True)
class SecurityEvent:
    """One event that its transmitter has proved. `happened_at` is never later than it was received."""

    jti: str
    txn: str | None
    event: str
    said: Mapping[str, Any]
    subject: Subject
    issued_at: datetime
    happened_at: datetime


Prove = Callable[[Unproved], SignedToken]
"""Has a token proved by the keys of whoever should have signed it. Raises BadToken and its kinds."""


def verified(shown: Unproved, terms: Terms, prove: Prove, *, clock: Clock) -> SecurityEvent:
    """The event of a token, after every check. Raises BadEvent, and what `prove` raises beside."""
    plain = Tolerance.PLAIN_TYPE in terms.tolerated
    if shown.typ not in (("secevent+jwt", "jwt", None) if plain else ("secevent+jwt",)):
        raise BadEvent(Fault.INVALID_REQUEST, "typ of the header must be secevent+jwt")
    # Looked at before the key, so that a token of somebody else is called what it is, and has no keys fetched; nothing of it is believed yet.
    if shown.claims.get("iss") != terms.issuer:
        raise BadEvent(Fault.INVALID_ISSUER, "iss is not the issuer of this stream")
    if not _for_us(texts(shown.claims, "aud"), terms.audiences):
        raise BadEvent(Fault.INVALID_AUDIENCE, "aud is not the audience of this stream")
    try:
        token = prove(shown)
        # By then its keys may have had to be fetched, which takes its time.
        return _read(token.claims, terms, at=clock())
    except (NoSuchKey, BadSignature) as error:
        raise BadEvent(Fault.INVALID_KEY, str(error)) from error
    except BadToken as error:
        raise BadEvent(Fault.INVALID_REQUEST, str(error)) from error


def _for_us(named: Sequence[str], audiences: Collection[str]) -> bool:
    return any(one in audiences for one in named)


def _read(claims: Mapping[str, Any], terms: Terms, *, at: datetime) -> SecurityEvent:
    """Raises BadEvent, BadToken."""
    for name in ("exp", "sub"):
        # SSF 1.0 §4.1: with either of them, an ID token and an event might be taken for one another.
        if name in claims:
            raise BadEvent(Fault.INVALID_REQUEST, f"{name} must not be in a security event token")
    jti, txn = claims.get("jti"), claims.get("txn")
    if not isinstance(jti, str) or not 0 < len(jti) <= LONGEST_JTI or not jti.isprintable():
        raise BadEvent(Fault.INVALID_REQUEST, f"jti must be a text of 1 to {LONGEST_JTI} characters")
    issued_at = instant(claims, "iat")
    if issued_at is None:
        raise BadEvent(Fault.INVALID_REQUEST, "iat must be there, in seconds since 1970")
    if issued_at > at + SKEW:
        raise BadEvent(Fault.INVALID_REQUEST, "iat is later than it is here; are the clocks right?")
    events = claims.get("events")
    if not isinstance(events, dict) or len(events) != 1:
        raise BadEvent(Fault.INVALID_REQUEST, "events must hold exactly one event")
    [(event, said)] = events.items()
    if not isinstance(said, dict) or not event.isprintable():
        raise BadEvent(Fault.INVALID_REQUEST, "the event must be an object under the URI of its type")
    try:
        subject = read_subject(_subject_of(claims, event, said, terms), subject_type=Tolerance.SUBJECT_TYPE in terms.tolerated)
    except BadSubject as error:
        raise BadEvent(Fault.INVALID_REQUEST, str(error)) from error
    return SecurityEvent(
        jti=jti, txn=txn[:LONGEST_JTI] if isinstance(txn, str) and txn.isprintable() else None, event=event[:LONGEST_JTI], said=said,
        subject=subject, issued_at=issued_at,
        # Whatever says that it happens tomorrow would outrank all that is said until then.
        happened_at=min(_happened_at(said, terms) or issued_at, at),
    )  # fmt: skip


def _subject_of(claims: Mapping[str, Any], event: str, said: Mapping[str, Any], terms: Terms) -> object:
    if "sub_id" not in claims and Tolerance.SUBJECT_IN_EVENT in terms.tolerated:
        # Of the stream itself, transmitters of before the final specification name no subject at all.
        return THE_STREAM if event.startswith(SSF) and "subject" not in said else said.get("subject")
    if not isinstance(claims.get("sub_id"), dict):
        raise BadEvent(Fault.INVALID_REQUEST, "sub_id must be there, and an object")
    return claims["sub_id"]


def _happened_at(said: Mapping[str, Any], terms: Terms) -> datetime | None:
    value = said.get("event_timestamp")
    if isinstance(value, int | float) and not isinstance(value, bool) and LATEST <= value < LATEST * 1000 and Tolerance.MILLISECONDS in terms.tolerated:
        value = value / 1000
    return instant({"event_timestamp": value}, "event_timestamp")
