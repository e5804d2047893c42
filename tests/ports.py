"""Ports of this machine that nobody has."""

import secrets
import socket
from contextlib import suppress

RANGE = range(20_000, 32_000)
"""Below those that a system gives by itself, to whoever listens anywhere or calls somebody: so nobody comes upon one by chance, neither
before its server listens nor while that is down."""

_GIVEN: set[int] = set()


def free_port() -> int:
    """One on 127.0.0.1; no other call gives it again. Another program may still choose it a moment later: who can, tries again."""
    while True:
        port = secrets.choice(RANGE)
        if port in _GIVEN:
            continue
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            _GIVEN.add(port)
            return port
