"""Checkpoints as the world writes them: C2SP tlog-checkpoint, which is a C2SP signed note with three lines of text.

https://c2sp.org/tlog-checkpoint and https://c2sp.org/signed-note: origin, size and root, an empty line, and lines of
signatures, each an em dash, the key's name, and base64 of the key's id and the signature. Monitors and witnesses read these.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ED25519: Final = b"\x01"
MOST_SIGNATURES = 64
LONGEST_NOTE = 64 * 1024
LARGEST_SIZE = 1 << 62


class SignsNotes(Protocol):
    """A key for evidence, as whoever holds it hands it in."""

    @property
    def public_bytes(self) -> bytes: ...

    def sign_bytes(self, message: bytes) -> bytes: ...


class BadNote(Exception):
    """It is no checkpoint, or none that is signed with a key that we trust. The message says which."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a tree was when it had `size` leaves."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def origin_of(public_url: str, organization_id: str) -> str:
    """The name of an organisation's tree: a URL without a scheme, as C2SP recommends."""
    address = urlsplit(public_url)
    return quote(f"{address.netloc}{address.path.rstrip('/')}/audit/{organization_id}", safe="/:.-_~[]@")


def key_id(name: str, public: bytes) -> bytes:
    """The four bytes by which a signature says which key made it (signed-note, "Signatures")."""
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


def verifier_key(name: str, public: bytes) -> str:
    """A key as Go's sumdb and C2SP's tools take it: name, id and key in one word."""
    return f"{name}+{key_id(name, public).hex()}+{base64.b64encode(ED25519 + public).decode()}"


def signed(checkpoint: Checkpoint, signer: SignsNotes) -> str:
    """The note. The key is named after the origin, as tlog-checkpoint says it should."""
    text = checkpoint.text()
    line = key_id(checkpoint.origin, signer.public_bytes) + signer.sign_bytes(text.encode())
    return f"{text}\n— {checkpoint.origin} {base64_of(line)}\n"


def base64_of(content: bytes) -> str:
    """The one spelling of bytes that all evidence uses (RFC 4648 §4)."""
    return base64.b64encode(content).decode()


def opened(note: str, keys: Iterable[bytes]) -> Checkpoint:
    """The checkpoint, once a key that we trust is seen to have signed it. Raises BadNote.

    Signatures of other keys are passed over, as the note's format demands: witnesses add theirs.
    """
    if len(note) > LONGEST_NOTE:
        raise BadNote("it is longer than a checkpoint may be")
    text, signatures = _parted(note)
    checkpoint = read(text)
    trusted = {key_id(checkpoint.origin, public): public for public in keys}
    known = 0
    for name, line in signatures:
        public = trusted.get(line[:4]) if name == checkpoint.origin else None
        if public is None:
            continue
        known += 1
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(line[4:], text.encode())
        except InvalidSignature:
            raise BadNote(f"its signature does not fit what it says of {checkpoint.origin} at {checkpoint.size} leaves") from None
    if not known:
        raise BadNote(f"no key that is trusted has signed it as {checkpoint.origin}")
    return checkpoint


def _parted(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    text, empty, lines = note.rpartition("\n\n")
    if not empty or not lines.endswith("\n") or any(letter < " " and letter != "\n" for letter in note):
        raise BadNote("it is no signed note")
    found = []
    for line in lines[:-1].split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "—" or not parts[1]:
            raise BadNote("a line of signatures cannot be read")
        found.append((parts[1], _bytes(parts[2], "a signature")))
    if len(found) > MOST_SIGNATURES:
        raise BadNote("it has more signatures than anybody checks")
    return text + "\n", found


def read(text: str) -> Checkpoint:
    """What the text of a note says, before anybody has looked at its signatures. Raises BadNote."""
    lines = text.split("\n")[:-1]
    if len(lines) < 3 or not all(lines):
        raise BadNote("it has no origin, size and root")
    origin, size, root = lines[:3]
    if len(size) > 20 or not size.isascii() or not size.isdecimal() or str(int(size)) != size or int(size) > LARGEST_SIZE:
        raise BadNote("its size is no plain number")
    hashed = _bytes(root, "its root")
    if len(hashed) != hashlib.sha256().digest_size:
        raise BadNote("its root is no SHA-256")
    return Checkpoint(origin=origin, size=int(size), root=hashed)


def _bytes(text: str, what: str) -> bytes:
    """Base64 with one spelling for each value: else a letter could be changed and nobody would see."""
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadNote(f"{what} is no base64") from None
    if base64.b64encode(found).decode() != text:
        raise BadNote(f"{what} is not spelled as base64 is")
    return found
