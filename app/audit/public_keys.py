"""The public keys that evidence is checked with, as `doorlist keys export` writes them: a file, and nothing of ours around it."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from app.clock import parse_instant


class UnusableKeys(Exception):
    """The file holds no keys that evidence could be checked with. The message says why not."""


@dataclass(frozen=True, kw_only=True)
class EvidenceKey:
    """One Ed25519 key, and when it signed. From `withdrawn` on somebody else may have it, who can date back what they sign."""

    kid: str
    public: bytes
    active_from: datetime | None
    retired: datetime | None
    withdrawn: datetime | None = None

    def signed(self, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def in_use(self, at: datetime) -> bool:
        """Whether it was the installation's key at that instant: a retired one proves nothing about what came after it."""
        return (self.active_from is None or self.active_from <= at) and (self.retired is None or at <= self.retired)


def read_keys(text: str) -> dict[str, EvidenceKey]:
    """The keys for evidence in a JWKS, by their kid; all others are passed over. Raises UnusableKeys."""
    try:
        found = json.loads(text)
        keys = found["keys"]
        evidence = [_key(one) for one in keys if one.get("purpose", "evidence") == "evidence" and one.get("crv") == "Ed25519"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnusableKeys("the file of keys cannot be read: it should be what 'doorlist keys export --json' prints") from error
    if not evidence:
        raise UnusableKeys("the file of keys holds none for evidence: it should be what 'doorlist keys export --json' prints")
    return {one.kid: one for one in evidence}


def _key(said: Mapping[str, Any]) -> EvidenceKey:
    public = base64.urlsafe_b64decode(str(said["x"]) + "==")
    if len(public) != 32:
        raise ValueError("an Ed25519 key has 32 bytes")
    active_from, retired, withdrawn = (parse_instant(at) if (at := said.get(name)) else None for name in ("active_from", "retired", "withdrawn"))
    return EvidenceKey(kid=str(said["kid"]), public=public, active_from=active_from, retired=retired, withdrawn=withdrawn)


def from_base64(text: object) -> bytes:
    """Bytes from base64 that is spelled in the one way. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("no text")
    try:
        found = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
    if base64.b64encode(found).decode() != text:
        raise ValueError("not spelled as base64 is")
    return found
