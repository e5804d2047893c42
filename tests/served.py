"""Doorlist as people reach it: the whole application on a loopback port, known by that address, in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flask import Flask
from werkzeug.serving import make_server

from app.access.sealing import make_key
from app.assembly import create_app
from app.database import db
from app.settings import from_environment
from tests.databases import migrated
from tests.ports import free_port


@dataclass(frozen=True, kw_only=True)
class Served:
    app: Flask
    url: str


@contextmanager
def served(database_url: str, folder: Path, *, port: int | None = None) -> Iterator[Served]:
    """For as long as the block lasts; inside it is the application's context, so that a test can act beside the browser."""
    chosen = port or free_port()
    url = f"http://127.0.0.1:{chosen}"
    settings = from_environment({"DOORLIST_HOME": str(folder / "home"), "DATABASE_URL": database_url, "DOORLIST_PUBLIC_URL": url})
    make_key(settings)
    app = create_app(settings)
    server = make_server("127.0.0.1", chosen, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="served", daemon=True)
    with app.app_context():
        migrated()
        thread.start()
        try:
            yield Served(app=app, url=url)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            db.engine.dispose()
