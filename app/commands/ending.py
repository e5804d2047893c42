"""Being asked to end (SIGTERM, SIGINT), by processes that run until then."""

import faulthandler
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from types import FrameType
from typing import Final

from app.commands.exits import Exit

ENDS_WITHIN: Final = 80
"""Seconds from being asked to the end, come what may. Deliveries in hand have 60, and systemd kills after 90 without a word."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Asked:
    """Whether this process has been asked to end, and by which signal."""

    def __init__(self) -> None:
        self.by: int | None = None
        self._ear, self._mouth = socket.socketpair()
        for end in (self._ear, self._mouth):
            end.setblocking(False)

    @property
    def exit(self) -> Exit:
        return Exit.INTERRUPTED if self.by == signal.SIGINT else Exit.DONE

    def wait(self, timeout: float | None = None, *, or_until: Sequence[int] = ()) -> bool:
        """Wait until somebody asks, or one of these files can be read, or for `timeout` seconds; returns whether somebody has asked."""
        if self.by is None:
            wait([self._ear, *or_until], timeout)
            with suppress(BlockingIOError):
                self._ear.recv(1024)
        return self.by is not None

    def _hear(self, number: int, frame: FrameType | None) -> None:
        # Asking twice is asking once: what is in hand is still finished.
        if self.by is None:
            self.by = number
            faulthandler.dump_traceback_later(ENDS_WITHIN, exit=True)


@contextmanager
def until_asked() -> Iterator[Asked]:
    """Hears both signals meanwhile. On the main thread only.

    The system gives a signal to any thread, and Python calls its handler on the main one, which may sleep: so a byte is
    written, at once and by whichever thread, to what the main one waits for. A handler that raised, wherever the main
    thread is, could take it away from a process that it has just started and not yet noted.

    What has not ended in time after that never will. Then each thread's place is written to stderr, and the process ends
    with 1; all that it does may break off anywhere.
    """
    asked = Asked()
    before = {number: signal.signal(number, asked._hear) for number in _SIGNALS}
    woken = signal.set_wakeup_fd(asked._mouth.fileno(), warn_on_full_buffer=False)
    try:
        yield asked
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        asked._ear.close()
        asked._mouth.close()
