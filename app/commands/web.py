"""The web server: uvicorn, in processes of its own while this one delivers.

Requests and deliveries do not share Python's lock that way, and a burst of pushes does not slow a departure down.
"""

import ctypes
import gc
import logging
import multiprocessing
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from typing import Final

from uvicorn import Config, Server

from app import logs
from app.commands.buffered import Buffered
from app.commands.direct import Direct
from app.commands.ending import Asked
from app.commands.exits import NotReady
from app.database import db, wait_at_most
from app.scim.hot import HotDoor
from app.scim.seen import flush_requests

log = logging.getLogger(__name__)

_APPLICATION: Final = "app.assembly:create_app"
_GRACE: Final = 10
"""Seconds in which requests in hand may end."""
_LAST_WORDS: Final = 6
"""Seconds for what is written down afterwards."""
_PATIENCE: Final = 3.0
"""Seconds for the port to come free: processes of a server that was killed need a moment to notice."""
_NEXT_AFTER: Final = 0.5
"""Seconds before another process takes the place of one that ended."""
_WAITING: Final = 1024
"""Connections that may wait for a process to take them."""
_AT_A_TURN: Final = 1
"""Connections that a process takes at one turn of its loop. Where no file can be opened any more, asyncio logs each try, and makes as many as these."""
KEEPS_ALIVE: Final = 75
"""Seconds for which an idle connection is kept: longer than proxies keep theirs, so that none sends into one that is being closed."""
_HELD_FOR: Final = 10.0
"""Seconds for which a thread waits for a row that somebody else holds. It is answered for with 503 then: others need the thread."""
_LARGE: Final = 320 * 1024
"""Bytes of a block of memory that is handed back as soon as it is free. Not those of asyncio, which takes 256 KiB for each reading of a socket."""
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of mallopt(3)."""
_YOUNG: Final = 10_000
"""Objects that are made before Python looks which of them are in circles: with its usual 700 that was every other request, and hot paths make none."""
# A fork would take along connections and locks of the threads that deliver.
_spawn: Final = multiprocessing.get_context("spawn")


def serve_web(host: str, port: int, *, processes: int, threads: int, asked: Asked, ready: Callable[[], None]) -> None:
    """Answer requests until somebody asks for the end; what is in hand then ends first. Raises NotReady.

    `ready` is called, on another thread, once somebody answers.
    """
    _raise_limit_of_files()
    listening = _listening(host, port, processes)
    answers = _event()
    threading.Thread(target=_tell, args=[answers, ready], name="ready", daemon=True).start()
    running: list[SpawnProcess] = []
    try:
        for one in listening:
            running.append(_started(one, threads, answers))
        while not asked.wait(or_until=[process.sentinel for process in running]):
            for number, process in enumerate(running):
                if not process.is_alive():
                    log.warning("a web process ended with %s; another one takes its place", process.exitcode)
                    if asked.wait(_NEXT_AFTER):
                        break
                    running[number] = _started(listening[number], threads, answers)
    finally:
        # First: who connects from here on is refused, and may ask another server, instead of waiting for the last answer to be cut off.
        for one in listening:
            one.close()
        _end(running)


def _event() -> Event:
    # With the first one Python starts a process of its own that outlives SIGINT and SIGTERM at a terminal, and not its closing.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        return _spawn.Event()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _raise_limit_of_files() -> None:
    """As many files as the system allows: the usual 1,024 are for programs of old, and each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listening(host: str, port: int, number: int) -> list[socket.socket]:
    """One socket for each process, among which the kernel shares out who connects; kept here while one takes another's place."""
    address, family = (host, port), socket.AF_INET6 if ":" in host else socket.AF_INET
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            # Alone at first: those that share a port would not notice another server there.
            alone = _bound(family, address, shared=False)
        except OSError as error:
            if time.monotonic() > until:
                raise NotReady(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
            time.sleep(0.05)
            continue
        if number == 1:
            return [alone]
        alone.close()
        return [_bound(family, address, shared=True) for _ in range(number)]


def _bound(family: socket.AddressFamily, address: tuple[str, int], *, shared: bool) -> socket.socket:
    # Said to be TCP, so that asyncio knows it: it lets no answer wait for one that is longer (TCP_NODELAY).
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(_WAITING)
    except BaseException:
        bound.close()
        raise
    return bound


def _tell(answers: Event, ready: Callable[[], None]) -> None:
    if answers.wait():
        ready()


def _started(listening: socket.socket, threads: int, answers: Event) -> SpawnProcess:
    process = _spawn.Process(target=_web_process, args=[listening, threads, answers], name="web")
    process.start()
    return process


def _end(running: Sequence[SpawnProcess]) -> None:
    for process in running:
        process.terminate()
    until = time.monotonic() + _GRACE + _LAST_WORDS
    for process in running:
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def _web_process(listening: socket.socket, threads: int, answers: Event) -> None:
    # A terminal that is closed tells all of its processes, and the first of them tells this one.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Ctrl-C at a terminal is told to all of its processes, also to one that is only starting.
    with suppress(KeyboardInterrupt):
        _serve(listening, threads, answers)


def _serve(listening: socket.socket, threads: int, answers: Event) -> None:
    application = _load(threads=threads)
    config = Config(
        application, interface="asgi3", http=Direct, ws="none", loop="asyncio", lifespan="on", log_config=None, log_level="error",
        access_log=False, server_header=False, proxy_headers=False, backlog=_AT_A_TURN, timeout_keep_alive=KEEPS_ALIVE,
        timeout_graceful_shutdown=_GRACE,
    )  # fmt: skip
    answers.set()
    _Server(config).run(sockets=[listening])


class _Server(Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        for one in sockets or ():
            # asyncio has one number for what it takes at a turn and what may wait.
            one.listen(_WAITING)


def _load(*, threads: int) -> Buffered:
    """The application of one web process; in that process."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    _hand_back_what_is_large()
    logs.configure()
    module, _, make = _APPLICATION.partition(":")
    app = getattr(import_module(module), make)()
    with app.app_context():
        wait_at_most(db.engine, _HELD_FOR)
    hot: HotDoor = app.wsgi_app
    # What is here now stays for good; looking through it again and again would hold up whoever waits for an answer by 50 ms.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    return Buffered(app, threads=threads, limit=app.config["MAX_CONTENT_LENGTH"], soon=hot.soon, at_end=partial(flush_requests, app))


def _hand_back_what_is_large() -> None:
    """Keep glibc from raising its threshold: each thread that once answered a large group would keep as much memory for ever."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE)
        # Else that one is raised no more either, from the 128 KiB at which a process goes to the system and back in each request.
        mallopt(_TRIM_THRESHOLD, 4 * _LARGE)


def _end_with_parent() -> None:
    # Killed without notice, the parent cannot stop its children, and they would keep answering.
    parent = multiprocessing.parent_process()
    if parent is not None:
        with suppress(OSError):
            wait([parent.sentinel])
        os._exit(1)
