"""Doorlist as its operators use it: the command line, and `doorlist serve` as a child process."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import requests

COMMAND_WITHIN: Final = 120.0
READY_WITHIN: Final = 30.0
# So long may the work left stay as it is before we say that nothing moves any more.
STALLED_AFTER: Final = 90.0


class StepFailed(Exception):
    """Something did not go as it should; the message is a sentence for whoever watches."""


class Doorlist:
    """One installation, driven by `.venv/bin/doorlist` alone; on its own SQLite unless another database is named."""

    LOOKS_EVERY: float = 0.5
    """Seconds between two questions whether all is done."""

    def __init__(self, *, home: Path, port: int, database_url: str | None = None) -> None:
        self.home = home.absolute()
        self.url = f"http://127.0.0.1:{port}"
        self._port = port
        self._program = str(Path(sys.executable).with_name("doorlist"))
        # What the shell says of another database or another operator is none of this installation's business.
        ours = {name: value for name, value in os.environ.items() if not _is_a_setting(name)}
        database = {} if database_url is None else {"DATABASE_URL": database_url}
        self._environment = {**ours, "DOORLIST_HOME": str(self.home), "DOORLIST_PUBLIC_URL": self.url, **database}

    def run(self, *arguments: str, good: tuple[int, ...] = (0,)) -> str:
        """What the command printed on stdout."""
        name = "doorlist " + " ".join(arguments)
        try:
            ended = subprocess.run(
                [self._program, *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_WITHIN,
                check=False,
            )
        except FileNotFoundError as error:
            raise StepFailed(f"{self._program} is not there; `make setup` makes it") from error
        except subprocess.TimeoutExpired as error:
            raise StepFailed(f"`{name}` did not end within {COMMAND_WITHIN:.0f} s") from error
        if ended.returncode not in good:
            said = (ended.stderr or ended.stdout).strip().splitlines()[-3:]
            raise StepFailed(f"`{name}` ended with {ended.returncode}: {' / '.join(said)}")
        return ended.stdout

    def json(self, *arguments: str, good: tuple[int, ...] = (0,)) -> dict[str, Any]:
        printed = self.run(*arguments, "--json", good=good)
        try:
            answer = json.loads(printed)
        except ValueError as error:
            raise StepFailed(f"`doorlist {' '.join(arguments)} --json` printed no JSON: {printed[:200]}") from error
        if not isinstance(answer, dict):
            raise StepFailed(f"`doorlist {' '.join(arguments)} --json` printed no object: {printed[:200]}")
        return answer

    def fields(self, *arguments: str, names: tuple[str, ...]) -> tuple[str, ...]:
        """The named fields of what the command printed, each of them text."""
        answer = self.json(*arguments)
        missing = [name for name in names if not isinstance(answer.get(name), str)]
        if missing:
            raise StepFailed(f"`doorlist {' '.join(arguments)} --json` printed no {', '.join(missing)}")
        return tuple(answer[name] for name in names)

    def serve(self, log: Path) -> subprocess.Popen[bytes]:
        """The server as a child of ours, ready for requests; its own words go to `log`."""
        server = self._start("serve", "--host", "127.0.0.1", "--port", str(self._port), log=log)
        try:
            self._wait_until_ready(server, log)
        except BaseException:
            end(server)
            raise
        return server

    def worker(self, log: Path) -> subprocess.Popen[bytes]:
        """A worker alone, beside the server's own; it may still be starting."""
        return self._start("worker", log=log)

    def _start(self, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as file:
            # A session of its own: Ctrl-C in the terminal is ours, and we end it in our order.
            return subprocess.Popen(
                [self._program, *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_until_ready(self, server: subprocess.Popen[bytes], log: Path) -> None:
        until = time.monotonic() + READY_WITHIN
        while time.monotonic() < until:
            if server.poll() is not None:
                raise StepFailed(f"`doorlist serve` ended with {server.returncode}: {_last_line(log)}")
            try:
                if requests.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.1)
        raise StepFailed(f"`doorlist serve` was not ready within {READY_WITHIN:.0f} s: {_last_line(log)}")

    def status(self) -> dict[str, int]:
        """How many are waiting, parked, halted, held and overdue."""
        answer = self.json("status")
        return {name: _count(answer, name) for name in ("waiting", "parked", "halted", "held", "overdue")}

    def settle(self, *, saying: "Progress | None" = None) -> dict[str, int]:
        """Waits until no work is left, and insists that none of it was parked or halted on the way."""
        best: int | None = None
        since = time.monotonic()
        while True:
            status = self.status()
            if status["parked"] or status["halted"]:
                raise StepFailed(
                    f"{status['parked']} deliveries are parked and {status['halted']} workspaces halted; "
                    "`doorlist parked list` and `doorlist workspace list` say why"
                )
            waiting = status["waiting"]
            if saying is not None:
                saying.left(waiting)
            if waiting == 0:
                return status
            if best is None or waiting < best:
                best, since = waiting, time.monotonic()
            elif time.monotonic() - since > STALLED_AFTER:
                raise StepFailed(f"{waiting} deliveries wait, and for {STALLED_AFTER:.0f} s none was done")
            time.sleep(self.LOOKS_EVERY)


class Progress:
    """How far something is, on stderr: a line that renews itself, or one per ten percent where it cannot."""

    def __init__(self, what: str, *, total: int) -> None:
        self._what = what
        self._total = max(total, 1)
        self._tenth = -1
        self._renews = sys.stderr.isatty()

    def __call__(self, done: int) -> None:
        done = min(done, self._total)
        tenth = done * 10 // self._total
        if self._renews:
            filled = done * 30 // self._total
            bar = "▇" * filled + "▁" * (30 - filled)
            end_of_line = "\n" if done == self._total else ""
            print(f"\r{self._what} {done}/{self._total}  {bar}", end=end_of_line, file=sys.stderr, flush=True)
        elif tenth != self._tenth:
            print(f"{self._what} {done}/{self._total}", file=sys.stderr, flush=True)
        self._tenth = tenth

    def left(self, waiting: int) -> None:
        """The same from the other end; where more is left than there was, that is the new total."""
        self._total = max(self._total, waiting)
        self(self._total - waiting)


def end(child: subprocess.Popen[bytes], *, within: float = 15) -> None:
    """Asks the child to end, and after a while makes it."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(within)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _is_a_setting(name: str) -> bool:
    return name.startswith("DOORLIST_") or name == "DATABASE_URL"


def _count(answer: dict[str, Any], name: str) -> int:
    value = answer.get(name)
    if isinstance(value, list):
        return len(value)
    if isinstance(value, int):
        return value
    raise StepFailed(f"`doorlist status --json` says {value!r} for {name}, which is no number")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
