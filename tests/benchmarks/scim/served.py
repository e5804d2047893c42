"""A SCIM server that runs and is filled, as the load sees it: an address, a token, and the ids that it gave."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.scim.wire import Check, Sent, drive
from tests.journeys.doorlist import end

# Servers on one core, their databases and the load on the other.
SERVERS_CORE: Final = "0"
LOAD_CORE: Final = "1"
READY_WITHIN: Final = 120.0


class NotServed(Exception):
    """A server could not be installed, started or filled; the message says why, for the table."""


class Store(StrEnum):
    SQLITE = "SQLite"
    POSTGRESQL = "PostgreSQL"
    MEMORY = "memory"


class RemoveForm(StrEnum):
    """How one member is taken out: a path with a filter (RFC 7644 §3.5.2.2), or a list of values as Entra sends it."""

    FILTER = "filter"
    VALUES = "values"


@dataclass(frozen=True, kw_only=True)
class Served:
    """`ids[number]` is the id that this server knows the person by. `members` are the numbers of who is in `group`."""

    port: int
    prefix: str
    token: str
    ids: list[str]
    group: str
    members: frozenset[int]
    process: subprocess.Popen[bytes]
    removes_by: RemoveForm = RemoveForm.FILTER
    # What the server cannot be asked at all, by the operation's name, with the reason.
    cannot: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def request(self, method: str, path: str, body: object = None) -> bytes:
        """The bytes of one request to `path` below the base URL."""
        head = (
            f"{method} {self.prefix}{path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.token}\r\n"
            "Accept: application/scim+json\r\nUser-Agent: bench\r\n"
        )
        if body is None:
            return f"{head}\r\n".encode()
        text = json.dumps(body, ensure_ascii=False).encode()
        return f"{head}Content-Type: application/scim+json\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One request outside of any measurement: status and document."""
        sent = Sent("", self.request(method, path, body), _unjudged)
        driven = drive(self.address, [iter([sent])], seconds=0, warm=0, least=1)
        if driven.broke or not driven.answers:
            raise NotServed(f"{method} {path}: {driven.broke}")
        answer = driven.answers[0]
        return answer.status, _document(answer.body)

    def wait_until_filled(self, size: int, *, within: float) -> None:
        """Raises NotServed where the server does not count so many people in time."""
        until = time.monotonic() + within
        said: object = None
        while time.monotonic() < until and self.process.poll() is None:
            try:
                status, document = self.ask("GET", "/Users?count=1")
            except NotServed as error:
                said = error
            else:
                if status == 200 and document.get("totalResults") == size:
                    return
                said = f"{status} {str(document)[:200]}"
            time.sleep(0.5)
        raise NotServed(f"it was not filled with {size} people: {said}")

    def memory(self) -> list[float]:
        """Megabytes of the server's process and each of its children, the largest first: the most that each ever held."""
        return sorted((_megabytes(number) for number in _family(self.process.pid)), reverse=True)


def megabytes(served: Served) -> str:
    each = served.memory()
    return " + ".join(f"{one:,.0f}" for one in each) + " MB at most"


def _unjudged(status: int, body: bytes) -> str | None:
    return None


def _document(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode(errors="replace")


def load(served: Served, paths: Sequence[tuple[str, str, object]], check: Check, *, at_once: int = 4) -> list[Any]:
    """Fill over SCIM: every request once, `at_once` at a time, in any order; the documents in the order of the requests."""
    streams = [
        iter([Sent(str(number), served.request(*one), check) for number, one in enumerate(paths) if number % at_once == mine])
        for mine in range(at_once)
    ]
    driven = drive(served.address, streams, seconds=36_000, warm=0, least=0)
    documents: dict[int, Any] = {}
    for answer in driven.answers:
        complaint = check(answer.status, answer.body)
        if complaint:
            raise NotServed(f"filling: {complaint}")
        documents[int(answer.sent.label)] = _document(answer.body)
    if driven.broke or len(documents) != len(paths):
        raise NotServed(f"filling: {len(documents)} of {len(paths)} requests were answered: {driven.broke}")
    return [documents[number] for number in range(len(paths))]


@contextmanager
def started(
    command: Sequence[str | Path], *, port: int, log: Path, environment: Mapping[str, str] | None = None, folder: Path | None = None,
    core: str | None = SERVERS_CORE, ready_within: float = READY_WITHIN,
) -> Iterator[subprocess.Popen[bytes]]:  # fmt: skip
    """A server as a child of ours on a core of its own, listening; ended with the block, and nothing of it is left."""
    pinned = ["taskset", "-c", core] if core is not None else []
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*pinned, *map(str, command)], stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            cwd=folder, env={**os.environ, **(environment or {})},
        )  # fmt: skip
    try:
        _wait_until_it_listens(process, port, log, ready_within)
        yield process
    finally:
        end(process)
        # Web servers have processes of their own; one that had to be killed leaves them behind. The group is the child's own.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path, within: float) -> None:
    until = time.monotonic() + within
    while time.monotonic() < until:
        if process.poll() is not None:
            raise NotServed(f"it ended with {process.returncode} at its start: {last_words(log)}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise NotServed(f"it did not listen within {within:.0f} s: {last_words(log)}")


def last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-3:])[-300:] or "it said nothing"


def _family(pid: int) -> Iterator[int]:
    """The process and its children, whichever of its threads started them."""
    yield pid
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in listed.read_text().split():
                yield from _family(int(child))


def _megabytes(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    # The high-water mark where the kernel tells it.
    found = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmHWM", "VmRSS"))}
    return int(found.get("VmHWM", found.get("VmRSS", "0"))) / 1024
