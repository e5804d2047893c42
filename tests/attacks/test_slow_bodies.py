"""Bodies that do not come (W13), sent to the server itself: it does not wait for them for ever, and nobody else waits meanwhile."""

import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from granian import Granian
from granian.constants import Interfaces

from app.commands.buffered import Buffered
from tests.journeys.doorlist import end
from tests.ports import free_port

HOUSE = Path(__file__).parents[2]
WITHIN = 2.0
HEAD = b"POST /x HTTP/1.1\r\nHost: here\r\n"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, int]]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.attacks.test_slow_bodies", str(port)], cwd=HOUSE, stdin=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
        yield "127.0.0.1", port
    finally:
        end(process)


def sent(server: tuple[str, int], raw: bytes) -> socket.socket:
    connected = socket.create_connection(server, timeout=20)
    connected.sendall(raw)
    return connected


def answered(connected: socket.socket) -> bytes:
    with connected:
        return connected.recv(4096)


@pytest.mark.parametrize(
    "raw", [HEAD + b"Content-Length: 10\r\n\r\nabc", HEAD + b"Content-Length: 500000\r\n\r\nabc", HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"]
)
def test_a_body_that_does_not_come_is_given_up(server: tuple[str, int], raw: bytes) -> None:
    assert answered(sent(server, raw)).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("raw", [HEAD + b"Content-Length: 3\r\n\r\nabc", HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"])
def test_a_body_that_comes_is_read(server: tuple[str, int], raw: bytes) -> None:
    assert answered(sent(server, raw)).endswith(b"\r\n\r\n3")


def test_nobody_waits_for_those_who_are_slow(server: tuple[str, int]) -> None:
    with ExitStack() as leaving:
        slow = [leaving.enter_context(sent(server, HEAD + b"Content-Length: 10\r\n\r\nabc")) for _ in range(20)]
        answer = answered(sent(server, HEAD + b"Content-Length: 3\r\n\r\nabc"))
        # Not `select`, which knows no file beyond the first thousand that a process has open.
        heard = select.poll()
        for one in slow:
            heard.register(one, select.POLLIN)
        given_up = heard.poll(0)

    assert answer.startswith(b"HTTP/1.1 200")
    assert len(given_up) < len(slow)


def load(_: str) -> Buffered:
    """The application of the server, in its process: it says how long the body was, and has one thread."""

    def lengths(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [str(len(body)).encode()]

    return Buffered(lengths, threads=1, limit=1_000_000, within=WITHIN)


if __name__ == "__main__":
    Granian(
        "lengths", address="127.0.0.1", port=int(sys.argv[1]), workers=1, interface=Interfaces.RSGI, log_enabled=False, websockets=False
    ).serve(target_loader=load)
