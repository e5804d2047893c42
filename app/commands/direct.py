"""Requests that the event loop answers: from the parser to who answers, and the answer to the socket, with no ASGI in between.

ASGI's way there and back costs as much as what it carries. What turns out to be for a thread goes on by that way.
"""

import asyncio
import logging
from collections.abc import Coroutine, Generator
from functools import lru_cache
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.commands.buffered import TAKEN, Buffered, Early, environ_of, in_blocks, with_length
from app.commands.listening import Guarded

log = logging.getLogger(__name__)
# A body in chunks is for `Buffered` to measure, and whoever expects a word before they send is to hear it.
_NOT_DIRECT: Final = (b"transfer-encoding", b"expect")
_LAST: Final = b"connection: close\r\n"
REST_SOON: Final = 0.2
"""Seconds in which the rest of a body that was begun is expected: many clients send head and body by themselves, one right behind the other."""


class Direct(Guarded):
    """The server's protocol in front of `Buffered`.

    Only what is here as a whole as soon as its head is, or right behind it, goes directly, only while nothing else of this connection
    waits for an answer, and of those that come in one piece only the first: whatever takes time, or has to wait for its turn, is uvicorn's.
    """

    _held = False
    _rest_by: asyncio.TimerHandle | None = None
    _had_turn = False
    _body = b""

    def on_headers_complete(self) -> None:
        if self.transport.is_closing() and not self._again:
            # Whoever was told that an answer is the last one is not heard any more (RFC 9112 §9.6).
            return
        if self._again or not self._may_be_direct():
            super().on_headers_complete()
        else:
            self.head_is_here()
            # As uvicorn reads it; what is no address is refused by what this raises.
            url = httptools.parse_url(self.url)
            scope = cast(dict[str, Any], self.scope)
            scope |= {
                "method": self.parser.get_method().decode("ascii"), "http_version": self.parser.get_http_version(), "path": unquote(url.path.decode("ascii")),
                "raw_path": url.path, "query_string": url.query or b"",
            }  # fmt: skip
            self._held, self._body = True, b""

    def _may_be_direct(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        if self._had_turn or (cycle is not None and not cycle.response_complete) or self.parser.should_upgrade():
            return False
        length = 0
        for name, value in self.headers:
            if name in _NOT_DIRECT:
                return False
            if name == b"content-length":
                length = int(value)
        # What is longer goes to a file, so that many who send at once fill no memory.
        return length <= self._front.at_once

    @property
    def _front(self) -> Buffered:
        return cast(Buffered, self.app)

    def on_body(self, body: bytes) -> None:
        if self._held:
            self._body += body
        elif not self.transport.is_closing():
            super().on_body(body)

    def data_received(self, data: bytes) -> None:
        # Others may be waiting, too.
        self._had_turn = False
        super().data_received(data)
        if self._held and self._rest_by is None and not self.transport.is_closing():
            self._rest_by = self.loop.call_later(REST_SOON, self._wait_by_uvicorn)

    def _wait_by_uvicorn(self) -> None:
        """Who is not here as a whole by now, or at the server's end, is uvicorn's to wait for."""
        self._hold_no_more()
        HttpToolsProtocol.on_headers_complete(self)
        if body := self._taken():
            HttpToolsProtocol.on_body(self, body)

    def _hold_no_more(self) -> None:
        self._held = False
        if self._rest_by is not None:
            self._rest_by.cancel()
            self._rest_by = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._hold_no_more()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Whose head is here is in hand, and is answered; uvicorn tells by the cycle."""
        if self._held:
            self._wait_by_uvicorn()
        super().shutdown()

    def on_message_complete(self) -> None:
        if not self._held:
            super().on_message_complete()
            return
        self._hold_no_more()
        self._had_turn = True
        self.message_is_here()
        scope = cast(dict[str, Any], self.scope)
        whole = _Whole(keep_alive=scope["http_version"] != "1.0" and self.parser.should_keep_alive())
        self.cycle = cast(RequestResponseCycle, whole)
        rest = _begun(self._answer(scope, self._taken(), whole))
        if rest is not None:
            task = self.loop.create_task(rest)
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def _taken(self) -> bytes:
        """What came of the body; a connection that waits for its next request keeps none of it."""
        body, self._body = self._body, b""
        return body

    async def _answer(self, scope: dict[str, Any], body: bytes, whole: "_Whole") -> None:
        environ = environ_of(scope, body)
        try:
            early = await self._front.soon(environ)
            if early is not None:
                await self._say(early, whole, bodiless=scope["method"] == "HEAD")
        except Exception:
            log.exception("an answer could not be sent")
            self.transport.close()
        except BaseException:
            # The server ends, and has waited for long enough.
            self.transport.close()
            raise
        else:
            if early is None:
                await self._hand_over(scope, environ, whole)

    async def _hand_over(self, scope: dict[str, Any], environ: dict[str, Any], whole: "_Whole") -> None:
        """To uvicorn, as if the request had been its own all along."""
        cycle = RequestResponseCycle(
            scope=cast(Any, {**scope, "extensions": {TAKEN: environ}}), transport=self.transport, flow=self.flow, logger=self.logger,
            access_logger=self.access_logger, access_log=self.access_log, default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(), expect_100_continue=False, keep_alive=whole.keep_alive, on_response=self.on_response_complete,
        )  # fmt: skip
        cycle.disconnected, cycle.more_body = whole.disconnected, False
        if self.cycle is cast(RequestResponseCycle, whole):
            # Nothing has come behind it.
            self.cycle = cycle
        await cycle.run_asgi(self.app)

    async def _say(self, early: Early, whole: "_Whole", *, bodiless: bool) -> None:
        status, headers, body = early
        lines, length = [_opening(status, *self.server_state.default_headers)], 0
        for name, value in with_length(status, headers, body):
            line = _name(name) + _value(value)
            lines.append(line)
            if line.startswith(b"content-length: "):
                length = int(value)
            elif line == _LAST:
                whole.keep_alive = False
        if not whole.keep_alive and _LAST not in lines:
            lines.append(_LAST)
        if not bodiless and length != sum(map(len, body)):
            # What is left over would be taken for the next answer.
            raise ValueError("an answer is not as long as it says")
        said = b"".join([*lines, b"\r\n"])
        for block in (b"",) if bodiless else in_blocks(body):
            if self.flow.write_paused:
                await self.flow.drain()
            if whole.disconnected:
                return
            # Its beginning goes with the head: each is a packet, and a journey through the system.
            self.transport.write(said + block)
            said = b""
        whole.response_complete = True
        if not whole.keep_alive:
            self.transport.close()
        self.on_response_complete()


class _Whole:
    """A request that is being answered, with what uvicorn asks of its own and tells them."""

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.disconnected = self.response_complete = False
        self.message_event = self

    def set(self) -> None:
        """Nobody waits for more of it."""


@lru_cache(maxsize=64)
def _opening(status: int, *headers: tuple[bytes, bytes]) -> bytes:
    """An answer's first line, and what every answer of this second has."""
    return b"".join([STATUS_LINE[status], *(name + b": " + value + b"\r\n" for name, value in headers)])


@lru_cache(maxsize=256)
def _name(name: str) -> bytes:
    """A header up to its value. Raises ValueError for one that would be read as more than a name, as uvicorn does."""
    sent = name.lower().encode("latin-1")
    if HEADER_RE.search(sent):
        raise ValueError("the name of a header holds what none may")
    return sent + b": "


def _value(value: str) -> bytes:
    """The rest of its line. Raises ValueError for what would be read as more than a value."""
    sent = value.encode("latin-1")
    # The look at signs is spared those that are plain, as nearly all are.
    if not (value.isascii() and value.isprintable()) and HEADER_VALUE_RE.search(sent):
        raise ValueError("the value of a header holds what none may")
    return sent + b"\r\n"


def _begun(work: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None] | None:
    """Do it up to where it first waits; what is left, for a task. Most waits for nothing, and a turn of the loop costs as much as a task."""
    try:
        waits_for = work.send(None)
    except StopIteration:
        return None
    return _rest(work, waits_for)


async def _rest(work: Coroutine[Any, Any, None], waits_for: Any) -> None:
    await _Rest(work, waits_for)


class _Rest:
    """Work that was begun outside of a task: the task is told what it waits for, and it is told what comes of that."""

    def __init__(self, work: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._work, self._waits_for = work, waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        while True:
            try:
                try:
                    came = yield self._waits_for
                except BaseException as error:
                    self._waits_for = self._work.throw(error)
                else:
                    self._waits_for = self._work.send(came)
            except StopIteration:
                return
