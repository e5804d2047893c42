"""Server processes of tests: each on a free port of this machine, in a group of its own, ended by its own id."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import requests

from tests.servers.cores import steady

REPOSITORY = Path(__file__).resolve().parents[2]
STARTED_WITHIN = 60.0
STOPPED_WITHIN = 10.0


class ServerBroken(Exception):
    """It is installed, but it did not start; the message has its last words."""


def answers(url: str) -> bool:
    """True once the page is there; no answer and an error are both "not yet"."""
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


class ServerProcess:
    """One server and whatever it starts itself; ended together."""

    def __init__(self, name: str, command: Sequence[str], *, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as output, steady():
            self._process = subprocess.Popen(
                list(command),
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Returns when `ready` is; a server that ended or is not ready in time is stopped. Raises ServerBroken."""
        until = time.monotonic() + STARTED_WITHIN
        try:
            while not ready():
                if self._process.poll() is not None or time.monotonic() > until:
                    raise ServerBroken(f"{self.name} did not start:\n{self.last_words()}")
                time.sleep(0.05)
        except BaseException:
            self.stop()
            raise

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        """The whole group, and for good after ten seconds. May be called twice."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOPPED_WITHIN)
        # Workers may outlive the one that started them.
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
