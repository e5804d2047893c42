"""Requests over kept-alive connections, one in flight on each, at as little cost as Python can do it.

Nothing is looked at while the clock runs but where an answer ends; the answers are kept, and judged afterwards.
"""

import gc
import re
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

# A complaint in words, or None where the answer is right.
Check = Callable[[int, bytes], str | None]

# So long may one answer take.
PATIENCE: Final = 120.0
# So long may one operation be driven, whatever it lacks.
LONGEST: Final = 60.0
_LENGTH: Final = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:\s*chunked", re.IGNORECASE)
_CLOSING: Final = re.compile(rb"\r\nconnection:\s*close", re.IGNORECASE)
_AT_A_TIME: Final = 256 * 1024


class ConnectionLost(Exception):
    """The server closed in the middle of an answer, or said nothing for too long."""


class Sent(NamedTuple):
    """One request: what it counts as, its bytes, and what the answer must be; `about` whom it is, and what it `says` of them."""

    label: str
    payload: bytes
    check: Check
    about: str = ""
    says: bool | str = False


class Answered(NamedTuple):
    """`began` and `ended` are of the monotonic clock."""

    sent: Sent
    status: int
    body: bytes
    began: float
    ended: float


@dataclass(frozen=True, kw_only=True)
class Driven:
    """Everything that was answered; what began before `since` was only warming."""

    answers: list[Answered]
    since: float
    until: float
    broke: str | None


class _Wire:
    """One connection and the request that is in flight on it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self.received = b""
        self.sent: Sent | None = None
        self.began = 0.0
        self.count = 0
        self.last_body = b""
        self.socket = self._connected()

    def _connected(self) -> socket.socket:
        connected = socket.create_connection(self._address, timeout=PATIENCE)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def send(self, sent: Sent) -> None:
        self.sent, self.received, self.began = sent, b"", time.perf_counter()
        self.socket.sendall(sent.payload)

    def send_again(self) -> None:
        """On a new connection: a server may close one that it kept alive, just when we write to it."""
        self.socket.close()
        self.socket = self._connected()
        self.received = b""
        assert self.sent is not None
        self.socket.sendall(self.sent.payload)

    def reconnect(self) -> None:
        self.socket.close()
        self.socket = self._connected()


def drive(
    address: tuple[str, int], streams: Sequence[Iterator[Sent]], *, seconds: float, warm: float, least: int, most: float = LONGEST
) -> Driven:
    """Send each stream's requests over a connection of its own, for `warm` and then `seconds`.

    Goes on past that until each stream has `least` answers, but never past `most` seconds. Ends early where a stream does
    or where a connection breaks, which `broke` then says.
    """
    if not seconds:
        # Nothing is measured, and after ten minutes there is much to look through, once for each person who is read again.
        return _drive(address, streams, seconds=seconds, warm=warm, least=least, most=most)
    gc.collect()
    gc.disable()
    try:
        return _drive(address, streams, seconds=seconds, warm=warm, least=least, most=most)
    finally:
        gc.enable()


def _drive(
    address: tuple[str, int], streams: Sequence[Iterator[Sent]], *, seconds: float, warm: float, least: int, most: float
) -> Driven:
    answers: list[Answered] = []
    wires: dict[int, tuple[_Wire, Iterator[Sent]]] = {}
    poll = select.epoll()
    broke: str | None = None
    since = time.perf_counter() + warm
    enough, latest = since + seconds, since + max(most, seconds)
    try:
        for stream in streams:
            first = next(stream, None)
            if first is not None:
                wire = _Wire(address)
                wires[wire.socket.fileno()] = (wire, stream)
                poll.register(wire.socket, select.EPOLLIN)
                wire.send(first)
        while wires:
            ready = poll.poll(PATIENCE)
            if not ready:
                raise ConnectionLost(f"no answer within {PATIENCE:.0f} s")
            for readable, _ in ready:
                wire, stream = wires[readable]
                answer = _received(wire, poll, wires)
                if answer is None:
                    continue
                answers.append(answer)
                if answer.began >= since:
                    wire.count += 1
                now = answer.ended
                following = None
                if now < enough or (wire.count < least and now < latest):
                    following = next(stream, None)
                number = wire.socket.fileno()
                if following is None:
                    poll.unregister(number)
                    del wires[number]
                    wire.socket.close()
                else:
                    wire.send(following)
    except (ConnectionLost, OSError) as error:
        broke = str(error) or error.__class__.__name__
    finally:
        for wire, _ in wires.values():
            wire.socket.close()
        poll.close()
    return Driven(answers=answers, since=since, until=max((one.ended for one in answers), default=since), broke=broke)


def _received(wire: _Wire, poll: select.epoll, wires: dict[int, tuple[_Wire, Iterator[Sent]]]) -> Answered | None:
    """The answer, once it is whole."""
    data = wire.socket.recv(_AT_A_TIME)
    if not data:
        if wire.received:
            raise ConnectionLost("the server closed the connection in the middle of an answer")
        _moved(wire, poll, wires, wire.send_again)
        return None
    wire.received = wire.received + data if wire.received else data
    whole = split_answer(wire.received)
    if whole is None:
        return None
    status, body, closing = whole
    ended = time.perf_counter()
    if body == wire.last_body:
        # The same page again and again is kept once.
        body = wire.last_body
    wire.last_body = body
    assert wire.sent is not None
    answer = Answered(wire.sent, status, body, wire.began, ended)
    if closing:
        _moved(wire, poll, wires, wire.reconnect)
    return answer


def _moved(wire: _Wire, poll: select.epoll, wires: dict[int, tuple[_Wire, Iterator[Sent]]], move: Callable[[], None]) -> None:
    number = wire.socket.fileno()
    mine = wires.pop(number)
    poll.unregister(number)
    move()
    wires[wire.socket.fileno()] = mine
    poll.register(wire.socket, select.EPOLLIN)


def split_answer(received: bytes) -> tuple[int, bytes, bool] | None:
    """Status, body and whether the server closes after it; None while some of it is still to come."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    status = int(received[9:12])
    closing = _CLOSING.search(received, 0, end) is not None
    start = end + 4
    length = _LENGTH.search(received, 0, end)
    if length is not None:
        size = int(length[1])
        return (status, received[start : start + size], closing) if len(received) - start >= size else None
    if _CHUNKED.search(received, 0, end):
        body = _joined(received, start)
        return None if body is None else (status, body, closing)
    if status in (204, 304):
        return status, b"", closing
    raise ConnectionLost("an answer says neither how long it is nor that it comes in pieces")


def _joined(received: bytes, start: int) -> bytes | None:
    """The pieces of a chunked body, joined (RFC 9112 §7.1); None while some are still to come."""
    pieces: list[bytes] = []
    while True:
        end = received.find(b"\r\n", start)
        if end < 0:
            return None
        size = int(received[start:end].partition(b";")[0], 16)
        start = end + 2
        if len(received) < start + size + 2:
            return None
        if size == 0:
            return b"".join(pieces)
        pieces.append(received[start : start + size])
        start += size + 2
