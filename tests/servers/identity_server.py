"""What the identity providers of tests have in common: a process that is told things, goes down, and may have a wrong clock."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Generic, TypeVar

from tests.ports import free_port
from tests.servers.identities import ADA, GRACE, Employee, IdentityProviderMissing
from tests.servers.processes import ServerProcess

M = TypeVar("M")

RIGHT = timedelta()


class IdentityServer(ABC, Generic[M]):
    """See the protocols in `tests.servers.identities` for what a provider promises. `start(folder)` may be called again after
    `stop()`, with the same folder and on the same port."""

    name: str

    def __init__(self, manners: M, *, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.manners = manners
        self.employees: tuple[Employee, ...] = (ADA, GRACE)
        self._clock = RIGHT
        self._folder: Path | None = None
        self._process: ServerProcess | None = None

    @property
    def folder(self) -> Path:
        if self._folder is None:
            raise RuntimeError(f"{self.name} was not started yet")
        return self._folder

    def start(self, folder: Path) -> None:
        """Returns when it answers. Raises IdentityProviderMissing."""
        folder.mkdir(parents=True, exist_ok=True)
        self._prepare(folder)
        self._folder = folder
        self._process = self._launched(folder)

    def stop(self) -> None:
        """May be called twice."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def said(self) -> str:
        """The end of its log."""
        return self._process.last_words() if self._process is not None else ""

    @contextmanager
    def down(self) -> Iterator[None]:
        """Nobody answers on its port meanwhile."""
        self.stop()
        try:
            yield
        finally:
            self.start(self.folder)

    @contextmanager
    def clock_off(self, by: timedelta) -> Iterator[None]:
        """Its clock is ahead by that much meanwhile, or behind. Raises IdentityProviderMissing."""
        faketime()
        self.stop()
        self._clock = by
        try:
            self.start(self.folder)
            yield
        finally:
            self.stop()
            self._clock = RIGHT
            self.start(self.folder)

    def employ(self, *employees: Employee) -> None:
        self.employees = employees
        self._tell()

    def answer(self, manners: M) -> None:
        self.manners = manners
        self._tell()

    @contextmanager
    def answering(self, manners: M) -> Iterator[None]:
        """As before again afterwards."""
        before = self.manners
        self.answer(manners)
        try:
            yield
        finally:
            self.answer(before)

    @abstractmethod
    def _prepare(self, folder: Path) -> None:
        """What it needs before it can be launched: keys, settings. Raises IdentityProviderMissing."""

    @abstractmethod
    def _launched(self, folder: Path) -> ServerProcess:
        """Its process, answering."""

    @abstractmethod
    def _tell(self) -> None:
        """Makes what was said known to the server, where it runs."""

    def _by_the_clock(self) -> dict[str, str]:
        """The environment in which a process sees the time that it is to see."""
        if self._clock == RIGHT:
            return {}
        return {"LD_PRELOAD": faketime(), "FAKETIME": f"{self._clock.total_seconds():+.0f}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def faketime() -> str:
    """The library of `DOORLIST_TEST_FAKETIME` (default Debian's) that shows a process another time. Raises IdentityProviderMissing."""
    named = os.environ.get("DOORLIST_TEST_FAKETIME")
    for found in [Path(named)] if named else Path("/usr/lib").glob("*/faketime/libfaketime.so.1"):
        if found.exists():
            return str(found)
    raise IdentityProviderMissing("libfaketime is not installed here; `make servers` installs it")
