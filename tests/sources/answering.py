"""A WSGI application on a free loopback port, for as long as a block lasts."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response


class _Quiet(WSGIRequestHandler):
    def send_response(self, code: int, message: str | None = None) -> None:
        """Without a Date of its own: an application may keep another clock."""
        self.send_response_only(code, message)

    def log(self, type: str, message: str, *args: object) -> None:
        """Nothing is written to the test's output."""


class Application(ABC):
    """Answers by `respond`; knows its own address once it is served."""

    url = ""

    @abstractmethod
    def respond(self, request: Request) -> Response: ...

    def __call__(self, environ: object, start_response: object) -> object:
        request = Request(environ)  # type: ignore[arg-type]  # what WSGI hands over
        return self.respond(request)(environ, start_response)  # type: ignore[arg-type]  # as above


@contextmanager
def answering(application: Application) -> Iterator[None]:
    server: BaseWSGIServer = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet)  # type: ignore[arg-type]  # it is called by WSGI's rules
    application.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
