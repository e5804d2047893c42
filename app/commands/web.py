"""The web server: granian, which answers from processes of its own while this one delivers.

Requests and deliveries do not share Python's lock that way, and a burst of pushes does not slow a departure down.
"""

import gc
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from typing import Any, Final

from granian import Granian
from granian.constants import Interfaces

from app import logs
from app.commands.buffered import Buffered
from app.commands.exits import Exit, NotReady
from app.scim.hot import HotDoor
from app.scim.seen import flush_requests

_APPLICATION: Final = "app.assembly:create_app"
_GRACE: Final = 10
"""Seconds in which requests in hand may end."""
_STARTS_WITHIN: Final = 120.0
_PATIENCE: Final = 3.0
"""Seconds for the port to come free: processes of a server that was killed need a moment to notice."""


def serve_web(host: str, port: int, *, processes: int, threads: int, ready: Callable[[], None]) -> Exit:
    """Answer requests until somebody asks the process to end. Gives how it should end. Raises NotReady.

    `ready` is called, on another thread, once somebody answers.
    """
    _wait_for(host, port)
    # A fork would take along connections and locks of the threads that deliver.
    multiprocessing.set_start_method("spawn", force=True)
    server = _Server(
        _APPLICATION, address=host, port=port, interface=Interfaces.RSGI, workers=processes,
        log_enabled=False, respawn_failed_workers=True, respawn_interval=0.5, workers_kill_timeout=_GRACE, websockets=False,
    )  # fmt: skip
    threading.Thread(target=_tell_when_it_answers, args=[host, port, ready], name="ready", daemon=True).start()
    server.serve(target_loader=partial(_load, threads=threads), wrap_loader=False)
    return Exit.INTERRUPTED if server.asked == signal.SIGINT else Exit.DONE


class _Server(Granian):  # type: ignore[misc, valid-type]  # which of its classes this is depends on the Python
    asked: int | None = None

    def signal_handler_interrupt(self, *given: Any, **named: Any) -> None:
        if self.asked is None:
            self.asked = given[0] if given else None
        super().signal_handler_interrupt(*given, **named)


def _wait_for(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            # Granian lets several processes listen at once, so it would not notice another server here.
            socket.create_server((host, port), family=family).close()
        except OSError as error:
            if time.monotonic() > until:
                raise NotReady(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
            time.sleep(0.05)
        else:
            return


def _tell_when_it_answers(host: str, port: int, ready: Callable[[], None]) -> None:
    until = time.monotonic() + _STARTS_WITHIN
    # A wildcard address is reached by loopback.
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection((reached, port), timeout=1):
            ready()
            return
        time.sleep(0.05)


def _load(*, threads: int) -> Buffered:
    """The application of one web process; in that process."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    logs.configure()
    module, _, make = _APPLICATION.partition(":")
    app = getattr(import_module(module), make)()
    # A process of this kind ends without the usual last words of an interpreter.
    Finalize(None, flush_requests, args=[app], exitpriority=100)
    hot: HotDoor = app.wsgi_app
    # What is here now stays for good; looking through it again and again would hold up whoever waits for an answer by 50 ms.
    gc.collect()
    gc.freeze()
    return Buffered(app, threads=threads, limit=app.config["MAX_CONTENT_LENGTH"], soon=hot.soon)


def _end_with_parent() -> None:
    # Killed without notice, the parent cannot stop its children, and they would keep answering.
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
