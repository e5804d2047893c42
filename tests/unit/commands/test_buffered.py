"""Requests are received whole before a thread is taken, whatever their senders do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.commands.buffered import IN_MEMORY, Buffered


class Headers:
    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def items(self) -> list[tuple[str, str]]:
        return self._pairs


@dataclass(kw_only=True)
class Scope:
    headers: Headers
    method: str = "POST"
    path: str = "/a b/é"
    query_string: str = "x=%20y"
    server: str = "127.0.0.1:8484"
    client: str = "127.0.0.1:5000"
    scheme: str = "http"
    http_version: str = "1.1"


@dataclass(kw_only=True)
class Protocol:
    """Gives its pieces, and then nothing more for ever where it `hangs`."""

    pieces: list[bytes] = field(default_factory=list)
    hangs: bool = False
    taken: int = 0
    answer: tuple[int, list[tuple[str, str]], bytes] | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.taken += 1
            yield piece
        if self.hangs:
            await asyncio.Event().wait()

    async def __call__(self) -> bytes:
        return b"".join([piece async for piece in self])

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answer = (status, headers, body)

    def response_str(self, status: int, headers: list[tuple[str, str]], body: str) -> None:
        self.answer = (status, headers, body.encode())


@dataclass(kw_only=True)
class Application:
    """Remembers what it was asked, and says the length of the body."""

    seen: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    closed: int = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.seen.append(environ)
        self.bodies.append(environ["wsgi.input"].read())
        start_response("201 CREATED", [("X", "y")])
        return Pieces(self)


class Pieces:
    def __init__(self, application: Application) -> None:
        self._application = application

    def __iter__(self) -> Any:
        return iter([b"do", b"ne"])

    def close(self) -> None:
        self._application.closed += 1


def served(application: Any, protocol: Protocol, *headers: tuple[str, str], limit: int = 10_000_000, within: float = 10.0) -> Protocol:
    asyncio.run(Buffered(application, threads=1, limit=limit, within=within)(Scope(headers=Headers(list(headers))), protocol))
    return protocol


def test_a_request_is_told_as_wsgi_has_it() -> None:
    application = Application()

    protocol = served(
        application, Protocol(pieces=[b'{"a":', b"1}"]), ("content-length", "7"), ("content-type", "application/json"), ("x-a", "1"), ("x-a", "2"),
        ("authorization_", "spoofed"),
    )  # fmt: skip

    asked = application.seen[0]
    assert application.bodies == [b'{"a":1}']
    assert (asked["CONTENT_LENGTH"], asked["CONTENT_TYPE"], asked["HTTP_X_A"]) == ("7", "application/json", "1,2")
    assert asked["PATH_INFO"].encode("latin-1").decode() == "/a b/é"
    assert (asked["QUERY_STRING"], asked["REMOTE_ADDR"], asked["SERVER_NAME"], asked["SERVER_PORT"]) == ("x=%20y", "127.0.0.1", "127.0.0.1", "8484")
    assert not [name for name in asked if "SPOOFED" in name or name == "HTTP_AUTHORIZATION_"]
    assert protocol.answer == (201, [("X", "y")], b"done")
    assert application.closed == 1


def test_a_long_body_comes_whole() -> None:
    application = Application()
    body = bytes(range(256)) * 1024
    assert len(body) > IN_MEMORY

    served(application, Protocol(pieces=[body[:1000], body[1000:]]), ("transfer-encoding", "chunked"))

    assert application.bodies == [body]
    assert application.seen[0]["CONTENT_LENGTH"] == str(len(body))
    assert "HTTP_TRANSFER_ENCODING" not in application.seen[0]


def test_a_body_that_never_ends_takes_no_thread() -> None:
    application = Application()

    protocol = served(application, Protocol(pieces=[b"{"], hangs=True), ("content-length", "1000"), within=0.05)

    assert application.seen == []
    assert protocol.answer is not None and protocol.answer[0] == 408


@pytest.mark.parametrize("headers", [[("content-length", "101")], [("transfer-encoding", "chunked")]])
def test_of_a_body_that_is_too_long_no_more_is_read_than_shows_it(headers: list[tuple[str, str]]) -> None:
    application = Application()
    protocol = Protocol(pieces=[b"x" * 60] * 1000)

    served(application, protocol, *headers, limit=100)

    assert protocol.taken <= 2
    assert int(application.seen[0]["CONTENT_LENGTH"]) > 100


def test_an_application_that_fails_is_answered_for() -> None:
    def fails(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise RuntimeError("its insides")

    protocol = served(fails, Protocol(), ("host", "x"))

    assert protocol.answer is not None
    assert protocol.answer[0] == 500
    assert b"insides" not in protocol.answer[2]


def test_what_the_loop_answers_needs_no_thread() -> None:
    application, protocol = Application(), Protocol(pieces=[b"abc"])

    async def soon(environ: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes] | None:
        return 200, [("X", "y")], environ["wsgi.input"].read()

    buffered = Buffered(application, threads=1, limit=10, soon=soon)
    asyncio.run(buffered(Scope(headers=Headers([("content-length", "3")])), protocol))

    assert protocol.answer == (200, [("X", "y")], b"abc")
    assert application.seen == []


def test_what_the_loop_leaves_is_for_a_thread() -> None:
    application, protocol = Application(), Protocol(pieces=[b"abc"])

    async def soon(environ: dict[str, Any]) -> None:
        return None

    buffered = Buffered(application, threads=1, limit=10, soon=soon)
    asyncio.run(buffered(Scope(headers=Headers([("content-length", "3")])), protocol))

    assert protocol.answer == (201, [("X", "y")], b"done")
    assert application.bodies == [b"abc"]


def test_a_fault_on_the_loop_is_answered_and_written_down(caplog: pytest.LogCaptureFixture) -> None:
    application, protocol = Application(), Protocol()

    async def soon(environ: dict[str, Any]) -> None:
        raise KeyError("a fault of ours")

    asyncio.run(Buffered(application, threads=1, limit=10, soon=soon)(Scope(headers=Headers([])), protocol))

    assert protocol.answer is not None
    assert protocol.answer[0] == 500
    assert "did not answer" in caplog.text
    # It may have been done already: nobody does it again.
    assert application.seen == []
