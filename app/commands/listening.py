"""What uvicorn leaves to a proxy: who is slow with a head, sends one without an end, or does not read, is not waited for."""

import asyncio
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_WITHIN: Final = 30.0
"""Seconds for the head of a request, from its first byte, or from the connection that it is the first of."""
LARGEST_HEAD: Final = 65_536
REST_WITHIN: Final = 10.0
"""Seconds for the rest of a body that nobody reads, after the answer."""
READ_WITHIN: Final = 60.0
"""Seconds in which who is answered takes some of it."""
_PLAIN: Final = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n"


class Guarded(HttpToolsProtocol):
    """uvicorn's protocol with an end to all waiting.

    A request to upgrade (RFC 9110 §7.8), which Java's client sends with all that it asks for, is answered as if it were none.
    """

    _waits: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _in_head = False
    _head = 0
    _whole = True
    _again = False
    _said_all = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for(HEAD_WITHIN)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            self._go_on(data[stopped.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self._in_head and not self.transport.is_closing():
            self._head += len(data)
            if self._head > LARGEST_HEAD:
                self._refuse(b"431 Request Header Fields Too Large")
            elif self._waits is None:
                self._wait_for(HEAD_WITHIN)

    def _go_on(self, rest: bytes) -> None:
        """Read the body of a request whose head asked for an upgrade: the parser has stopped before it, so another one takes over."""
        length = next((value for name, value in self.headers if name == b"content-length"), None)
        chunked = any(name == b"transfer-encoding" for name, _ in self.headers)
        named = b"transfer-encoding: chunked" if chunked else b"content-length: " + (length or b"0")
        self.parser = httptools.HttpRequestParser(self)
        # As uvicorn's own: what comes behind the last request is not read, and takes its answer from nobody.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._again = True
        self.data_received(b"POST / HTTP/1.1\r\n" + named + b"\r\n\r\n" + rest)

    def on_message_begin(self) -> None:
        if not self._again:
            self._in_head, self._head = True, 0
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._again:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._again:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._again:
            self._again = False
            return
        self.head_is_here()
        super().on_headers_complete()

    def head_is_here(self) -> None:
        self._in_head, self._whole = False, False
        self._wait_no_more()

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            # So it is called for every request of this kind, before its body.
            return
        self.message_is_here()
        super().on_message_complete()

    def message_is_here(self) -> None:
        self._whole = True
        self._wait_no_more()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio asks for it; uvicorn has nothing to say
        """Whoever has said all that they had to say is answered; who stops in the middle is not waited for."""
        self._said_all = True
        return self._whole and self._answering()

    def _answering(self) -> bool:
        # There is no cycle before the first request.
        return not getattr(self.cycle, "response_complete", True)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._said_all and not self._answering():
            self.transport.close()
        if not self._whole and not self.transport.is_closing():
            # It is read to its end, or whoever still sends might not see the answer; but not for ever.
            self._wait_for(REST_WITHIN)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(READ_WITHIN, self.transport.abort)

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def _wait_for(self, seconds: float) -> None:
        self._wait_no_more()
        self._waits = self.loop.call_later(seconds, self._give_up)

    def _wait_no_more(self) -> None:
        if self._waits is not None:
            self._waits.cancel()
            self._waits = None

    def _give_up(self) -> None:
        self._waits = None
        if self._in_head:
            self._refuse(b"408 Request Timeout")
        else:
            self.transport.abort()

    def _refuse(self, status: bytes) -> None:
        self.transport.write(b"HTTP/1.1 " + status + b"\r\n" + _PLAIN + b"content-length: 0\r\n\r\n")
        self.transport.close()
