"""Heads and bodies that do not come (W13), or have no end, sent to the server itself: nothing is waited for for ever, and nobody else waits meanwhile."""

import re
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
from uvicorn import Config, Server

from app.commands import listening
from app.commands.buffered import Buffered
from app.commands.direct import Direct
from tests.journeys.doorlist import end
from tests.ports import free_port

HOUSE = Path(__file__).parents[2]
WITHIN = 2.0
LIMIT = 1_000_000
HEAD = b"POST /x HTTP/1.1\r\nHost: here\r\n"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["loop", "thread"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """Requests that are here as a whole are answered on the event loop, or left by it to a thread."""
    port = free_port()
    command = [sys.executable, "-m", "tests.attacks.test_slow_senders", str(port), request.param]
    process = subprocess.Popen(command, cwd=HOUSE, stdin=subprocess.DEVNULL)
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
        return one_answer(connected)


def one_answer(connected: socket.socket) -> bytes:
    """An answer to its end, of which the connection may be kept; less where the server ends it."""
    said = b""
    while piece := connected.recv(4096):
        said += piece
        head, blank, body = said.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if blank and length is not None and len(body) >= int(length[1]):
            break
    return said


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


@pytest.mark.parametrize("times", [1, 2])
def test_who_has_said_all_and_only_listens_is_answered(server: tuple[str, int], times: int) -> None:
    connected = sent(server, times * (HEAD + b"Content-Length: 3\r\n\r\nabc"))
    connected.shutdown(socket.SHUT_WR)

    answer = all_of(connected)

    assert answer.count(b"HTTP/1.1 200 OK") == times and answer.endswith(b"3")


@pytest.mark.parametrize("raw", [HEAD, HEAD + b"Content-Length: 10\r\n\r\nabc"])
def test_who_stops_in_the_middle_is_not_waited_for(server: tuple[str, int], raw: bytes) -> None:
    connected = sent(server, raw)
    connected.shutdown(socket.SHUT_WR)

    assert all_of(connected) == b""


LOOK = b"GET /x HTTP/1.1\r\nHost: here\r\n"


def all_of(connected: socket.socket) -> bytes:
    """What is answered until the server closes."""
    with connected:
        pieces = []
        while piece := connected.recv(65_536):
            pieces.append(piece)
        return b"".join(pieces)


@pytest.mark.parametrize("raw", [b"", b"GET /x HT", LOOK, LOOK + b"X-Slow: 1"], ids=["nothing", "half a line", "a line", "half a header"])
def test_a_head_that_does_not_come_is_given_up(server: tuple[str, int], raw: bytes) -> None:
    answer = all_of(sent(server, raw))

    assert answer.startswith(b"HTTP/1.1 408") if raw else answer == b""


def test_a_head_that_trickles_is_given_up_all_the_same(server: tuple[str, int]) -> None:
    began, heard = time.monotonic(), select.poll()
    with sent(server, LOOK) as connected:
        heard.register(connected, select.POLLIN)
        while not heard.poll(100):
            assert time.monotonic() < began + 20
            connected.sendall(b"X-Slow: 1\r\n")
        assert one_answer(connected).startswith(b"HTTP/1.1 408")


def test_a_second_head_that_does_not_come_is_given_up(server: tuple[str, int]) -> None:
    answer = all_of(sent(server, LOOK + b"\r\n" + b"GET /y"))

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in answer


def test_a_head_without_an_end_is_refused_before_it_fills_memory(server: tuple[str, int]) -> None:
    with sent(server, LOOK) as connected:
        header = b"X-Long: " + b"x" * 8000 + b"\r\n"
        for _ in range(listening.LARGEST_HEAD // len(header) + 2):
            connected.sendall(header)
        assert one_answer(connected).startswith(b"HTTP/1.1 431")


def test_heads_of_usual_size_may_follow_each_other_for_ever(server: tuple[str, int]) -> None:
    """Of each request by itself it is counted how long its head is."""
    long = LOOK + b"X-Long: " + b"x" * 20_000 + b"\r\n\r\n"
    with sent(server, b"") as connected:
        for _ in range(6):
            # In two pieces, so that the head is not there at once.
            connected.sendall(long[:15_000])
            connected.sendall(long[15_000:])
            assert one_answer(connected).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("raw", [HEAD + b"Content-Length: 2000000\r\n\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"])
def test_the_rest_of_a_body_that_nobody_reads_is_not_waited_for(server: tuple[str, int], raw: bytes) -> None:
    """The application says that it is too long once it is; whoever sends on slowly does not keep the connection."""
    piece = b"x" * 1_100_000
    with sent(server, raw + (piece if b"Length" in raw else b"%x\r\n%s\r\n" % (len(piece), piece))) as connected:
        assert one_answer(connected).startswith(b"HTTP/1.1 200")
        # Nothing more, and then the end: nothing says so but the connection itself.
        assert connected.recv(4096) == b""


def test_after_a_body_that_was_not_read_the_next_request_is_answered(server: tuple[str, int]) -> None:
    with sent(server, HEAD + b"Content-Length: 2000000\r\n\r\n" + b"x" * 2_000_000) as connected:
        assert one_answer(connected).startswith(b"HTTP/1.1 200")
        connected.sendall(HEAD + b"Content-Length: 3\r\n\r\nabc")
        assert one_answer(connected).endswith(b"\r\n\r\n3")


@pytest.mark.parametrize(
    ("raw", "length"),
    [
        (b"Content-Length: 3\r\n\r\nabc", b"3"),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"3"),
        (b"\r\n", b"0"),
    ],
    ids=["a length", "chunks", "no body"],
)
def test_whoever_asks_for_another_protocol_is_answered_in_this_one(server: tuple[str, int], raw: bytes, length: bytes) -> None:
    """As Java's client does with every request."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    with sent(server, b"") as connected:
        for _ in range(2):
            connected.sendall(HEAD + upgrade + raw)
            assert one_answer(connected).endswith(b"\r\n\r\n" + length)
        # In pieces, too.
        connected.sendall(HEAD + upgrade + raw[:-2])
        connected.sendall(raw[-2:])
        assert one_answer(connected).endswith(b"\r\n\r\n" + length)


def test_whoever_does_not_read_their_answer_is_given_up(server: tuple[str, int]) -> None:
    with socket.socket() as connected:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connected.settimeout(20)
        connected.connect(server)
        connected.sendall(b"GET /long HTTP/1.1\r\nHost: here\r\n\r\n")
        # Our end is not told: what it has not read comes before the end. So the server says how many are with it, besides who asks.
        until = time.monotonic() + 20
        while not answered(sent(server, b"GET /others HTTP/1.1\r\nHost: here\r\n\r\n")).endswith(b"\r\n\r\n0"):
            assert time.monotonic() < until


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /y HTTP/1.1\r\nHost: here\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
        HEAD + b"Transfer-Encoding: identity, chunked, x\r\n\r\nabc",
        b"GET /\xff HTTP/1.1\r\nHost: here\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        LOOK + b"X-Bad\x00: 1\r\n\r\n",
        LOOK + b"X : 1\r\n\r\n",
    ],
    ids=["two lengths", "two lengths of one kind", "an unknown coding", "no ASCII", "TLS", "NUL in a name", "a blank before the colon"],
)
def test_a_request_that_two_readers_could_read_in_two_ways_is_refused_once(server: tuple[str, int], raw: bytes) -> None:
    """So that nothing is smuggled past a proxy: one answer, and the connection ends."""
    answer = all_of(sent(server, raw))

    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1 ") == 1


server_here: list[Server] = []


def lengths(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Says how long the body was, or how many others are connected, or much at all."""
    if environ["PATH_INFO"] == "/long":
        start_response("200 OK", [])
        return [b"x" * 20_000_000]
    if environ["PATH_INFO"] == "/others":
        start_response("200 OK", [])
        return [str(len(server_here[0].server_state.connections) - 1).encode()]
    length = len(environ["wsgi.input"].read()) if int(environ.get("CONTENT_LENGTH") or 0) <= LIMIT else 0
    start_response("200 OK", [])
    return [str(length).encode()]


async def lengths_soon(environ: dict[str, Any]) -> tuple[int, list[tuple[str, str]], Iterable[bytes]]:
    said: list[tuple[str, str]] = []
    body = lengths(environ, lambda _status, headers: said.extend(headers))
    return 200, said, body


async def nothing_soon(_environ: dict[str, Any]) -> None:
    return None


if __name__ == "__main__":
    # As `serve` has it, with less patience.
    for name in ("HEAD_WITHIN", "REST_WITHIN", "READ_WITHIN"):
        setattr(listening, name, WITHIN)
    soon: Any = {"loop": lengths_soon, "thread": nothing_soon}[sys.argv[2]]
    served = Config(
        Buffered(lengths, threads=1, limit=LIMIT, within=WITHIN, soon=soon), interface="asgi3", http=Direct, ws="none", loop="asyncio",
        host="127.0.0.1", port=int(sys.argv[1]), log_config=None, log_level="error", access_log=False, proxy_headers=False, timeout_keep_alive=30,
    )  # fmt: skip
    server_here.append(Server(served))
    server_here[0].run()
