"""Why a sign-in was refused: a calm sentence for the person, the reason for the administrator, one reference number for both."""

import logging
import secrets
from enum import StrEnum
from typing import Final

log = logging.getLogger(__name__)
_ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Without what is misread over the telephone."""


class Reason(StrEnum):
    """What went wrong, as the log and the administrator see it."""

    UNKNOWN_CONNECTION = "unknown-connection"
    NOT_ASKED_FOR = "not-asked-for"
    OTHER_BROWSER = "other-browser"
    TOO_LATE = "too-late"
    USED_BEFORE = "used-before"
    BAD_SIGNATURE = "bad-signature"
    BAD_MESSAGE = "bad-message"
    WEAK_ALGORITHM = "weak-algorithm"
    OTHER_ISSUER = "other-issuer"
    OTHER_AUDIENCE = "other-audience"
    CLOCK_SKEW = "clock-skew"
    PROVIDER_SAID_NO = "provider-said-no"
    PROVIDER_DOWN = "provider-down"
    KEY_CHANGED = "key-changed"
    NOT_KNOWN = "not-known"
    NO_ACCESS = "no-access"
    ISSUED_BEFORE = "issued-before-access-was-taken"
    SECOND_FACTOR = "second-factor-missing"
    CLOSED = "closed"
    BAD_REQUEST = "bad-request-of-an-application"


class Refused(Exception):
    """A sign-in that is not let through. The message is for the log and the administrator: it names what was wrong, and no secret.

    `return_to` is where the person wanted to go, once that is known.
    """

    def __init__(self, reason: Reason, message: str, *, connection_id: str | None = None, person_id: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.connection_id = connection_id
        self.person_id = person_id
        self.return_to = "/"
        self.reference = "".join(secrets.choice(_ALPHABET) for _ in range(8))
