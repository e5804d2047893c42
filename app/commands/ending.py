"""Being asked to end (SIGTERM, SIGINT, SIGHUP): by processes that run until then, and by those that are in the middle of something."""

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
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def broken_off_in_order() -> Iterator[None]:
    """Let SIGTERM (of `timeout`, say) and SIGHUP (of a terminal that was closed) break a verb off as Ctrl-C does. On the main thread only.

    They would end the process where it stands, with what it stopped or took for itself for a while. Once all is given back it ends by that
    signal after all, as whoever sent it expects.
    """
    by: list[int] = []

    def break_off(number: int, frame: FrameType | None) -> None:
        by.append(number)
        # The second of them would break off what gives back.
        if len(by) == 1:
            raise KeyboardInterrupt

    # Whoever is to outlive its terminal (nohup) goes on doing so.
    before = {number: signal.signal(number, break_off) for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if by:
        signal.raise_signal(by[0])


def hear() -> None:
    """From here on whoever breaks off is heard, also who did while the program was read. Raises KeyboardInterrupt."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


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
    """Hears them meanwhile. On the main thread only.

    The system gives a signal to any thread, and Python calls its handler on the main one, which may sleep: so a byte is
    written, at once and by whichever thread, to what the main one waits for. A handler that raised, wherever the main
    thread is, could take it away from a process that it has just started and not yet noted.

    What has not ended in time after that never will. Then each thread's place is written to stderr, and the process ends
    with 1; all that it does may break off anywhere.
    """
    asked = Asked()
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    before = {number: signal.signal(number, asked._hear) for number in _SIGNALS if not (number == signal.SIGHUP and ignored)}
    woken = signal.set_wakeup_fd(asked._mouth.fileno(), warn_on_full_buffer=False)
    try:
        yield asked
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        asked._ear.close()
        asked._mouth.close()
