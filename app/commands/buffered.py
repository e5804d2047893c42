"""WSGI behind granian's own protocol (RSGI): a thread is taken only once the whole request is here.

A client that stops in the middle of its body holds a few bytes of memory, and no thread that others wait for.
"""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final

log = logging.getLogger(__name__)

BODY_WITHIN: Final = 30.0
"""Seconds for a whole body to come."""
IN_MEMORY: Final = 65_536
"""Bytes of a body that are held in memory; what is longer goes to a file, so that many who send at once fill no memory."""
_PLAIN: Final = [("content-type", "text/plain; charset=utf-8")]
_FAULT: Final = (500, _PLAIN, b"something went wrong here\n")
WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Soon = Callable[[dict[str, Any]], Awaitable[tuple[int, list[tuple[str, str]], bytes] | None]]


@dataclass(kw_only=True)
class _Answer:
    """What the application said; `close` is called once it has been sent."""

    status: int = 500
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    close: Callable[[], None] | None = None

    def begin(self, status: str, headers: list[tuple[str, str]], _error: object = None) -> None:
        self.status, self.headers = int(status[:3]), headers


class Buffered:
    """An RSGI application. Of a body longer than `limit` no more is read than shows it; the application says so in its words.

    `soon` is asked first, on the event loop; what it does not answer is for `application`, in a thread.
    """

    def __init__(self, application: WSGI, *, threads: int, limit: int, soon: Soon | None = None, within: float = BODY_WITHIN) -> None:
        self._application, self._soon = application, soon
        self._limit, self._within = limit, within
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="web")

    async def __call__(self, scope: Any, protocol: Any) -> None:
        environ = _environ(scope)
        declared, chunked = environ.get("CONTENT_LENGTH", ""), environ.pop("HTTP_TRANSFER_ENCODING", None) is not None
        length = 0 if not declared else int(declared) if declared.isdigit() else None
        short = not chunked and length is not None and length <= IN_MEMORY
        with BytesIO() if short else SpooledTemporaryFile(max_size=IN_MEMORY) as body:
            environ["wsgi.input"] = body
            if chunked or (length != 0 and (length is None or length <= self._limit)):
                try:
                    async with asyncio.timeout(self._within):
                        await self._receive(body, protocol, at_once=short)
                except TimeoutError:
                    protocol.response_str(408, _PLAIN, f"the body did not come within {self._within:g} seconds\n")
                    return
                environ["CONTENT_LENGTH"] = str(body.tell())
                body.seek(0)
            await self._respond(environ, protocol)

    async def _receive(self, body: IO[bytes], protocol: Any, *, at_once: bool) -> None:
        if at_once:
            body.write(await protocol())
            return
        length = 0
        async for piece in protocol:
            length += body.write(piece)
            if length > self._limit:
                break

    async def _respond(self, environ: dict[str, Any], protocol: Any) -> None:
        try:
            early = None if self._soon is None else await self._soon(environ)
        except Exception:
            log.exception("the application did not answer")
            early = _FAULT
        if early is not None:
            protocol.response_bytes(*early)
            return
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._threads, self._answer, environ)
        protocol.response_bytes(answer.status, answer.headers, answer.body)
        if answer.close is not None:
            await loop.run_in_executor(self._threads, answer.close)

    def _answer(self, environ: dict[str, Any]) -> _Answer:
        answer = _Answer()
        try:
            pieces = self._application(environ, answer.begin)
            answer.body = b"".join(pieces)
            answer.close = getattr(pieces, "close", None)
        except Exception:
            log.exception("the application did not answer")
            status, headers, body = _FAULT
            return _Answer(status=status, headers=headers, body=body)
        return answer


def _environ(scope: Any) -> dict[str, Any]:
    """The request as PEP 3333 has it, all but its body."""
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method, "SCRIPT_NAME": "", "PATH_INFO": scope.path.encode().decode("latin-1"), "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host.strip("[]"), "SERVER_PORT": port, "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"), "wsgi.version": (1, 0), "wsgi.url_scheme": scope.scheme,
        "wsgi.errors": sys.stderr, "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False,
    }  # fmt: skip
    for name, value in scope.headers.items():
        # With an underscore a name could be taken for another one's.
        if "_" in name:
            continue
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ
