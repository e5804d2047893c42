"""RSA keys that Doorlist makes for itself: in tests a few, made once and given one after the other, since to make one takes longer than most of them.

Nobody gets the same one again until all have been given. Whom a test plays has keys of their own, which are never among these.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import rsa

from app.access import keys

Key = TypeVar("Key")

AT_HAND = 12


class _Ring:
    """Gives what `make` makes, and after so many the first again."""

    def __init__(self) -> None:
        self._made: list[object] = []
        self._given = 0

    def next(self, make: Callable[[], Key]) -> Key:
        place = self._given % AT_HAND
        self._given += 1
        if place == len(self._made):
            self._made.append(make())
        key: Key = self._made[place]  # type: ignore[assignment]  # what this one made
        return key


def keep_signing_keys_at_hand() -> None:
    """From now on, in this process, for what tokens and checkpoints are signed with."""
    generated, ring = keys._generated, _Ring()
    keys._generated = lambda algorithm: ring.next(lambda: generated(algorithm)) if algorithm == "PS256" else generated(algorithm)


def keep_saml_keys_at_hand() -> None:
    """The same for SAML connections."""
    from app.sso import saml_setup

    setup: Any = saml_setup
    if isinstance(setup.rsa, SimpleNamespace):
        return
    ring = _Ring()

    def generate_private_key(*, public_exponent: int, key_size: int) -> rsa.RSAPrivateKey:
        return ring.next(lambda: rsa.generate_private_key(public_exponent=public_exponent, key_size=key_size))

    # All that it asks for.
    setup.rsa = SimpleNamespace(generate_private_key=generate_private_key)
