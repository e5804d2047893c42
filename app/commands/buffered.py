"""WSGI behind uvicorn (ASGI): a thread is taken only once the whole request is here.

A client that stops in the middle of its body holds a few bytes of memory, and no thread that others wait for.
"""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final
from urllib.parse import unquote_to_bytes

log = logging.getLogger(__name__)

BODY_WITHIN: Final = 30.0
"""Seconds for a whole body to come."""
IN_MEMORY: Final = 65_536
"""Bytes of a body that are held in memory; what is longer goes to a file, so that many who send at once fill no memory."""
_BARE: Final = frozenset({204, 304})
"""Statuses of answers that have no length (RFC 9110 §8.6)."""
TAKEN: Final = "doorlist.taken"
"""The extension of a scope whose request was asked about `soon` already: its environment, body included."""
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Early = tuple[int, list[tuple[str, str]], Sequence[bytes]]
Soon = Callable[[dict[str, Any]], Awaitable[Early | None]]


@dataclass(kw_only=True)
class _Answer:
    """What the application said, its body in pieces; `close` is called once it has been sent."""

    status: int = 500
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: Sequence[bytes] = ()
    close: Callable[[], None] | None = None

    def begin(self, status: str, headers: list[tuple[str, str]], _error: object = None) -> None:
        self.status, self.headers = int(status[:3]), headers


class _Gone(Exception):
    """Whoever sent the request is there no more."""


class Buffered:
    """An ASGI application (version 3, with lifespan). Of a body longer than `limit` no more is read than shows it; the application says so.

    `soon` is asked first, on the event loop; what it does not answer is for `application`, in a thread. `at_end` is called
    when the server ends.
    """

    def __init__(
        self, application: WSGI, *, threads: int, limit: int, soon: Soon | None = None, within: float = BODY_WITHIN,
        at_end: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self._application, self._soon = application, soon
        self._limit, self._within = limit, within
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="web")
        self._at_end = at_end
        self.at_once = -1 if soon is None else min(limit, IN_MEMORY)
        """Bytes of the longest body with which `soon` may be asked before anything else; -1 where it never is."""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        taken = scope.get("extensions", {}).get(TAKEN)
        if taken is not None:
            await self._respond_later(taken, send)
            return
        environ = _environ(scope)
        declared, chunked = environ.get("CONTENT_LENGTH", ""), environ.pop("HTTP_TRANSFER_ENCODING", None) is not None
        length = 0 if not declared else int(declared) if declared.isdigit() else None
        short = not chunked and length is not None and length <= IN_MEMORY
        with BytesIO() if short else SpooledTemporaryFile(max_size=IN_MEMORY) as body:
            environ["wsgi.input"] = body
            if chunked or (length != 0 and (length is None or length <= self._limit)):
                try:
                    async with asyncio.timeout(self._within):
                        await self._receive(body, receive)
                except TimeoutError:
                    await _answer(send, *_told(environ, 408, "Request Timeout", f"the body did not come within {self._within:g} seconds"))
                    return
                except _Gone:
                    return
                except OSError as error:
                    # It was to go to a file, and there is no room for one.
                    log.error("a long body could not be kept: %s", error.strerror)
                    await _answer(send, *_not_ready(environ, "there is no room here for a body of this length just now; nothing was written"))
                    return
                environ["CONTENT_LENGTH"] = str(body.tell())
                body.seek(0)
            await self._respond(environ, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._at_end is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._at_end)
        await send({"type": "lifespan.shutdown.complete"})

    async def _receive(self, body: IO[bytes], receive: Receive) -> None:
        length, more = 0, True
        while more and length <= self._limit:
            message = await receive()
            if message["type"] != "http.request":
                raise _Gone
            length += body.write(message["body"])
            more = message["more_body"]

    async def soon(self, environ: dict[str, Any]) -> Early | None:
        """What is answered on the event loop; None where it takes a thread."""
        try:
            return None if self._soon is None else await self._soon(environ)
        except Exception:
            log.exception("the application did not answer")
            return _fault(environ)

    async def _respond(self, environ: dict[str, Any], send: Send) -> None:
        early = await self.soon(environ)
        if early is not None:
            await _answer(send, *early)
        else:
            await self._respond_later(environ, send)

    async def _respond_later(self, environ: dict[str, Any], send: Send) -> None:
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(self._threads, self._answer, environ)
        except asyncio.CancelledError:
            # The server ends, and has waited for long enough. A thread that is at it goes on, and may have written already.
            await _answer(send, *_not_ready(environ, "this server is being stopped, and had no time for this; send it again"))
            return
        await _answer(send, answer.status, answer.headers, answer.body)
        if answer.close is not None:
            await loop.run_in_executor(self._threads, answer.close)

    def _answer(self, environ: dict[str, Any]) -> _Answer:
        answer = _Answer()
        try:
            pieces = self._application(environ, answer.begin)
            answer.body = list(pieces)
            answer.close = getattr(pieces, "close", None)
        except Exception:
            log.exception("the application did not answer")
            status, headers, body = _fault(environ)
            return _Answer(status=status, headers=headers, body=body)
        return answer


def _told(environ: dict[str, Any], status: int, title: str, detail: str) -> Early:
    """An error of this server's own, as the doors behind this address give theirs."""
    from app.intake.routes import problem
    from app.scim.answers import error_answer

    answer = error_answer(status, detail) if environ["PATH_INFO"].startswith("/scim/") else problem(status, title, detail)
    return answer.status_code, answer.headers.to_wsgi_list(), [answer.get_data()]


def _not_ready(environ: dict[str, Any], detail: str) -> Early:
    status, headers, body = _told(environ, 503, "Not ready", detail)
    return status, [*headers, ("Retry-After", "5")], body


def _fault(environ: dict[str, Any]) -> Early:
    return _told(environ, 500, "Internal Server Error", "something went wrong here; the log has the cause")


async def _answer(send: Send, status: int, headers: list[tuple[str, str]], body: Sequence[bytes]) -> None:
    sent = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in with_length(status, headers, body)]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    blocks = list(in_blocks(body))
    for number, block in enumerate(blocks, 1):
        await send({"type": "http.response.body", "body": block, "more_body": number < len(blocks)})


def with_length(status: int, headers: list[tuple[str, str]], body: Sequence[bytes]) -> list[tuple[str, str]]:
    """The headers of an answer, with its length in bytes where it may have one and they do not say it."""
    if status in _BARE or any(name.lower() == "content-length" for name, _ in headers):
        return headers
    return [*headers, ("content-length", str(sum(map(len, body))))]


def in_blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """At least one: small pieces together, since each is a packet of its own, and large ones as they are, without a copy."""
    block: list[bytes] = []
    length = 0
    for piece in filter(None, pieces):
        if block and length + len(piece) > IN_MEMORY:
            yield b"".join(block)
            block, length = [], 0
        block.append(piece)
        length += len(piece)
    yield b"".join(block)


def environ_of(scope: dict[str, Any], body: bytes) -> dict[str, Any]:
    """The request as PEP 3333 has it."""
    environ = _environ(scope)
    environ["wsgi.input"] = BytesIO(body)
    return environ


def _environ(scope: dict[str, Any]) -> dict[str, Any]:
    """The request as PEP 3333 has it, all but its body."""
    path: bytes = scope["raw_path"]
    (host, port), client = scope["server"] or ("", ""), scope["client"]
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"], "SCRIPT_NAME": "", "PATH_INFO": (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"), "SERVER_NAME": host, "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}", "REMOTE_ADDR": client[0] if client else "", "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"], "wsgi.errors": sys.stderr, "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False,
    }  # fmt: skip
    for raw_name, raw_value in scope["headers"]:
        key = _key(raw_name)
        if key is not None:
            value = raw_value.decode("latin-1")
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


@lru_cache(maxsize=1024)
def _key(name: bytes) -> str | None:
    """A header's name in the environment. None for one with an underscore, which could be taken for another one's."""
    if b"_" in name:
        return None
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
