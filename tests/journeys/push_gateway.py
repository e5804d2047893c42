"""A push gateway on the loopback, as a phone vendor's would be: it notes each push with the instant it came.

https://spec.matrix.org/v1.11/push-gateway-api/: `POST /_matrix/push/v1/notify`. A push without an event id is
a change of the unread badge; it is noted as well, since a phone that still hears of its badge still has
access."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Final

NOTIFY: Final = "/_matrix/push/v1/notify"


class PushGateway:
    """Listens from `start` to `stop` and appends one JSON line per push to `log`."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.log.touch()
        self._writing = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="push gateway", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{NOTIFY}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def __enter__(self) -> "PushGateway":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _note(self, came_ns: int, notification: dict[str, object]) -> None:
        devices = notification.get("devices")
        pushkeys = [device.get("pushkey") for device in devices] if isinstance(devices, list) else []
        content = notification.get("content")
        line = {
            "ns": came_ns,
            "event_id": notification.get("event_id"),
            "room_id": notification.get("room_id"),
            "pushkeys": pushkeys,
            "body": content.get("body") if isinstance(content, dict) else None,
        }
        with self._writing, self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                came_ns = time.time_ns()
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                if self.path != NOTIFY:
                    self.send_error(404)
                    return
                gateway._note(came_ns, json.loads(body)["notification"])
                answer = b'{"rejected": []}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing: the log of pushes is the record."""

        return Handler
