"""A connection without sockets: what a protocol of the web server says to whoever sends it something."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.server import ServerState

from app.commands.buffered import IN_MEMORY, Buffered, Early
from app.commands.listening import Guarded

Soon = Callable[[dict[str, Any]], Awaitable[Early | None]]
LARGE = 3 * (IN_MEMORY + 10)
"""Bytes of the answer to /large."""


@dataclass
class Wire(asyncio.Transport):
    """A connection whose other side reads what it is sent once the loop has turned; `said` are the packets."""

    said: list[bytes] = field(default_factory=list)
    closing: bool = False
    paused: bool = False
    server: Guarded = field(init=False)
    reads: bool = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"sockname": ("127.0.0.1", 8484), "peername": ("127.0.0.1", 5000)}.get(name, default)

    def write(self, data: Any) -> None:
        if not self.closing:
            self.said.append(bytes(data))
            if len(data) > HIGH_WATER_LIMIT // 2 and self.reads:
                self.server.pause_writing()
                asyncio.get_running_loop().call_soon(self.server.resume_writing)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def told(environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], list[bytes]]:
    if environ["PATH_INFO"] == "/none":
        return "204 NO CONTENT", [("X-One", "1")], []
    if environ["PATH_INFO"] == "/large":
        return "200 OK", [("Content-Length", str(LARGE))], [b"x" * (LARGE // 3)] * 3
    asked = {name: value for name, value in environ.items() if isinstance(value, str)}
    body = json.dumps([asked, environ["wsgi.input"].read().decode()], sort_keys=True).encode()
    return "201 CREATED", [("X-One", "1"), ("Content-Type", "application/json")], [body[:5], body[5:]]


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    status, headers, body = told(environ)
    start_response(status, headers)
    return body


async def at_once(environ: dict[str, Any]) -> Early:
    status, headers, body = told(environ)
    return int(status[:3]), headers, body


async def later(environ: dict[str, Any]) -> Early:
    # A turn of the loop, and something that is waited for.
    await asyncio.sleep(0)
    done = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(done.set_result, None)
    await done
    return await at_once(environ)


async def left(environ: dict[str, Any]) -> None:
    return None


async def left_later(environ: dict[str, Any]) -> None:
    await asyncio.sleep(0)


async def fails(environ: dict[str, Any]) -> None:
    raise KeyError("its insides")


async def fails_later(environ: dict[str, Any]) -> None:
    await asyncio.sleep(0)
    raise KeyError("its insides")


SOON = (at_once, later, left, left_later, fails, fails_later)


def connected(protocol: type[Guarded], soon: Soon, wire: Wire, *, limit: int = 1000) -> ServerState:
    front = Buffered(application, threads=1, limit=limit, soon=soon)
    config = Config(front, interface="asgi3", ws="none", proxy_headers=False, log_config=None, log_level="critical", access_log=False)
    state = ServerState()
    state.default_headers = [(b"date", b"today")]
    wire.server = protocol(config=config, server_state=state, app_state={})
    wire.server.connection_made(wire)
    return state


async def settled(state: ServerState) -> None:
    while state.tasks:
        await asyncio.wait(set(state.tasks))


def heard(protocol: type[Guarded], soon: Soon, pieces: Sequence[bytes], *, settles: bool) -> tuple[bytes, bool]:
    """All that is said to whoever sends these, and whether the connection was ended; `settles` where each is looked at before the next one comes."""

    async def talk() -> Wire:
        wire = Wire()
        state = connected(protocol, soon, wire)
        for piece in pieces:
            while wire.paused and not wire.closing:
                await asyncio.sleep(0)
            if not wire.closing:
                wire.server.data_received(piece)
            if settles:
                await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await settled(state)
        return wire

    wire = asyncio.run(talk())
    return b"".join(wire.said), wire.closing
