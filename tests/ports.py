"""Ports of this machine that nobody has."""

import fcntl
import os
import secrets
import socket
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

RANGE = range(20_000, 32_000)
"""Below those that a system gives by itself, to whoever listens anywhere or calls somebody: so nobody comes upon one by chance, neither
before its server listens nor while that is down."""

_GIVEN: set[int] = set()


@cache
def _table() -> int:
    """A file with a byte for each port, which whoever was given that port has locked until their process ends."""
    return os.open(Path(tempfile.gettempdir()) / f"doorlist-ports-{os.getuid()}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def free_port() -> int:
    """One on 127.0.0.1; no other call gives it again, in whichever process of tests. Another program may still choose it."""
    while True:
        port = secrets.choice(RANGE)
        if port in _GIVEN:
            continue
        with suppress(OSError), socket.socket() as probe:
            # Between this and its server's first word others look for ports, too: tests run side by side.
            fcntl.lockf(_table(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            probe.bind(("127.0.0.1", port))
            _GIVEN.add(port)
            return port
