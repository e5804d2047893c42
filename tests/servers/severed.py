"""A connection that breaks: everything passes through until a number of bytes has come back, or until it is told to."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import suppress


class Severed:
    """`with Severed(port, after=5000) as between:` and connect to `between.port`. `silent`: it is not closed, it only falls silent."""

    def __init__(self, port: int, *, after: int = sys.maxsize, silent: bool = False) -> None:
        self._target, self._after, self._silent, self._once = port, after, silent, False
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.passed = 0
        self.port: int = self._listener.getsockname()[1]
        self.url = f"ldap://localhost:{self.port}"

    def lose_one_answer(self) -> None:
        """Whatever comes back next is lost with its connection; the server has done what it was asked. Those after it pass."""
        with self._lock:
            self._once, self._after = True, self.passed

    @property
    def lost(self) -> bool:
        """Whether the one answer has been lost meanwhile."""
        return self._once and self._after == sys.maxsize

    def __enter__(self) -> Severed:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open += [caller, server]
                threading.Thread(target=self._pass_on, args=(caller, server), daemon=True).start()
                threading.Thread(target=self._bring_back, args=(server, caller), daemon=True).start()

    def _pass_on(self, caller: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while content := caller.recv(65536):
                server.sendall(content)

    def _bring_back(self, server: socket.socket, caller: socket.socket) -> None:
        with suppress(OSError):
            while content := server.recv(1024):
                let_through, is_end = self._count(content)
                if let_through:
                    caller.sendall(let_through)
                if is_end:
                    break
            if not self._silent:
                caller.shutdown(socket.SHUT_RDWR)

    def _count(self, content: bytes) -> tuple[bytes, bool]:
        """What of it may pass, and whether its connection ends there."""
        # Counted before it is sent: whoever has its answer and asks for the next one to be lost must not hit this one.
        with self._lock:
            let_through = content[: max(self._after - self.passed, 0)]
            self.passed += len(let_through)
            is_end = len(let_through) < len(content) if self._once else self.passed >= self._after
            if is_end and self._once:
                self._after = sys.maxsize
            return let_through, is_end
