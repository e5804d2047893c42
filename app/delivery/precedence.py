"""Departures go first: while one is in hand, everything else of this process waits before its next request."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

LONGEST_WAIT = 1.0
"""Seconds for which others wait for one departure: a workspace that never answers, or hundreds of departures in a row,
must not stop everybody else."""


class Precedence:
    """Shared by all threads of a worker. A departure takes a fraction of a second, so nobody waits for long."""

    def __init__(self) -> None:
        self._began: list[float] = []
        self._changed = threading.Condition()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Held by a departure while its requests go out."""
        began = monotonic()
        with self._changed:
            self._began.append(began)
        try:
            yield
        finally:
            with self._changed:
                self._began.remove(began)
                self._changed.notify_all()

    def asked(self) -> bool:
        """Whether a departure is under way that began just now."""
        since = monotonic() - LONGEST_WAIT
        return any(began > since for began in tuple(self._began))

    def give_way(self) -> None:
        """Wait until no departure is under way, or for `LONGEST_WAIT`."""
        if self.asked():
            with self._changed:
                self._changed.wait_for(lambda: not self.asked(), timeout=LONGEST_WAIT)
