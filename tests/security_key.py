"""A security key in software: it makes a key pair and signs what a browser would give it (WebAuthn Level 3)."""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def words(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


@dataclass(kw_only=True)
class SecurityKey:
    """`asks` is whether it asks its holder for a PIN; `counter` is how often it was used, and 0 for ever where it does not count."""

    origin: str = "http://localhost:8484"
    host: str = "localhost"
    asks: bool = True
    counts: bool = True
    counter: int = 0
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False)

    def makes(self, options: str) -> str:
        """What a browser sends after `navigator.credentials.create`."""
        numbers = self._private.public_key().public_numbers()
        public = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        attested = bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + cbor2.dumps(public)
        about = self._about(ATTESTED) + attested
        return self._credential(
            attestationObject=cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": about}), clientDataJSON=self._client("webauthn.create", options)
        )

    def signs(self, options: str) -> str:
        """What a browser sends after `navigator.credentials.get`."""
        self.counter += 1 if self.counts else 0
        about, client = self._about(0), self._client("webauthn.get", options)
        signature = self._private.sign(about + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return self._credential(authenticatorData=about, clientDataJSON=client, signature=signature)

    def _about(self, more: int) -> bytes:
        flags = PRESENT | more | (VERIFIED if self.asks else 0)
        return hashlib.sha256(self.host.encode()).digest() + bytes([flags]) + self.counter.to_bytes(4, "big")

    def _client(self, kind: str, options: str) -> bytes:
        said: dict[str, Any] = {"type": kind, "challenge": json.loads(options)["challenge"], "origin": self.origin, "crossOrigin": False}
        return json.dumps(said).encode()

    def _credential(self, **response: bytes) -> str:
        name = words(self.credential_id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": {key: words(value) for key, value in response.items()}})
