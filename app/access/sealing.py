"""Credentials at rest: encrypted with the installation's key; without the key nothing opens."""

import base64
import errno
import os
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.settings import Settings, make_home


class KeyMissing(Exception):
    """The encryption key is not there or is not the one that sealed this; nothing is done without it."""


class KeyUnread(KeyMissing):
    """The machine did not give the key out just now, for want of a file descriptor or of its disk; it may at the next try."""


_FOR_NOW: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT})
"""What passes without anybody's doing; all else, such as another user's file, does not."""


def _key_file(settings: Settings) -> Path:
    return settings.home / "encryption.key"


def make_key(settings: Settings) -> bool:
    """Make the key file unless there is a key already; returns whether it was made. Where it cannot be written whole nothing of it is left."""
    file = _key_file(settings)
    if settings.encryption_key is not None or file.exists():
        return False
    make_home(settings)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        # Somebody else has made it since we looked.
        return False
    try:
        with os.fdopen(descriptor, "wb") as key:
            key.write(Fernet.generate_key())
            key.flush()
            # Credentials that it seals are on the disk as soon as they are committed.
            os.fsync(key.fileno())
    except BaseException as error:
        # The next try would take what there is of it for the key, and nothing could be sealed by that.
        file.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(file)) from error
        raise
    return True


def _cipher(settings: Settings) -> Fernet:
    try:
        return Fernet(_key(settings))
    except ValueError as error:
        raise KeyMissing("the encryption key is not URL-safe base64 of 32 bytes") from error


def _key(settings: Settings) -> str:
    if settings.encryption_key is not None:
        return settings.encryption_key
    try:
        return _key_file(settings).read_text().strip()
    except FileNotFoundError as error:
        raise KeyMissing(f"no encryption key: set DOORLIST_ENCRYPTION_KEY or restore {_key_file(settings)}") from error
    except OSError as error:
        # It is there, and nobody is to put another in its place.
        kind = KeyUnread if error.errno in _FOR_NOW else KeyMissing
        raise kind(f"the encryption key cannot be read: {_key_file(settings)}: {error.strerror}") from error


def derived_key(settings: Settings, purpose: str) -> bytes:
    """A key of 32 bytes for one purpose, from which nobody learns the installation's own (RFC 5869). Raises KeyMissing."""
    key = _key(settings)
    _cipher(settings)  # a key that seals nothing is no key for this either
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"doorlist {purpose}".encode()).derive(base64.urlsafe_b64decode(key))


def seal(settings: Settings, secret: str) -> bytes:
    """Encrypt. Raises KeyMissing."""
    return _cipher(settings).encrypt(secret.encode())


def unseal(settings: Settings, sealed: bytes) -> str:
    """Decrypt. Raises KeyMissing, also when another key sealed it."""
    try:
        return _cipher(settings).decrypt(sealed).decode()
    except InvalidToken as error:
        raise KeyMissing("a stored credential was sealed with another encryption key") from error
