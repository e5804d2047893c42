"""What others ask with every request of theirs, answered before Flask begins: /gate, /session and /introspect.

Only what goes well is answered here. Whatever is to be refused, and whatever is unusual, takes the ordinary way, which asks
again and says it in words.
"""

import asyncio
import io
import logging
import math
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

import psycopg
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from app.access.closed import LOOK_EVERY, is_closed
from app.bare.connection import Bare, Busy, waited
from app.bare.lent import bare_of, forget, lent_on_loop
from app.clock import now
from app.database import reading_engine
from app.settings import Settings
from app.sso.browser import SESSION
from app.sso.provider.clients import basic_of
from app.sso.provider.gate import quick_gate, who
from app.sso.provider.introspection import quick_introspect, told
from app.sso.provider.quick_session import HEADERS, quick_session
from app.sso.provider.userinfo import bearer_of

log = logging.getLogger(__name__)
_FORM: Final = "application/x-www-form-urlencoded"
_LARGEST: Final = 16_384
_FAILED: Final = (sqlite3.Error, psycopg.Error, SQLAlchemyError)
_JSON: Final = [("Content-Type", "application/json"), ("Cache-Control", "no-store"), ("Pragma", "no-cache")]
_DECLINED: Final = "doorlist.quick.declined"
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
WSGI = Callable[[dict[str, Any], Any], Iterable[bytes]]
Early = tuple[int, list[tuple[str, str]], Sequence[bytes]]
Soon = Callable[[dict[str, Any]], Awaitable[Early | None]]


@dataclass(frozen=True, kw_only=True)
class _Gate:
    query: str
    token: str | None
    secret: str | None

    async def on(self, bare: Bare) -> Early | None:
        passing = await quick_gate(bare, self.query, self.token, self.secret, at=now())
        return None if passing is None else (200, [*who(passing).items(), ("Content-Length", "0")], ())


@dataclass(frozen=True, kw_only=True)
class _Session:
    secret: str

    async def on(self, bare: Bare) -> Early | None:
        body = await quick_session(bare, self.secret, at=now())
        return None if body is None else (200, [*HEADERS, ("Content-Length", str(len(body)))], [body])


@dataclass(frozen=True, kw_only=True)
class _Introspection:
    client_id: str | None
    secret: str | None
    token: str | None
    url: str

    async def on(self, bare: Bare) -> Early | None:
        claims = await quick_introspect(bare, self.client_id, self.secret, self.token, at=now())
        if claims is None:
            return None
        body = told(claims, self.url)
        return 200, [*_JSON, ("Content-Length", str(len(body)))], [body]


class QuickDoor:
    """A WSGI application before another one; and, for a server with an event loop, one before that (`then`)."""

    def __init__(self, app: Flask, *, then: Soon | None = None) -> None:
        self._app = app
        self._ordinary: WSGI = app.wsgi_app
        self._then = then
        self._looked_at = -math.inf
        settings: Settings = app.config["DOORLIST"]
        self._url = settings.public_url
        self._cookie = f"__Host-{SESSION}=" if settings.public_url.startswith("https:") else f"{SESSION}="

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        planned = None if _DECLINED in environ else self._plan(environ)
        if planned is not None and self._must_look() and self._looks_closed():
            planned = None
        answered = None if planned is None else self._now(planned)
        if answered is None:
            return self._ordinary(environ, start_response)
        start_response("200 OK", answered[1])
        return answered[2]

    async def soon(self, environ: dict[str, Any]) -> Early | None:
        """The answer, on the running event loop; None where the request has to go to a thread."""
        planned = self._plan(environ)
        if planned is None:
            return None if self._then is None else await self._then(environ)
        environ[_DECLINED] = True
        if self._must_look() and await asyncio.get_running_loop().run_in_executor(None, self._looks_closed):
            return None
        try:
            async with lent_on_loop(self._app) as bare:
                return await planned.on(bare)
        except Busy:
            return None
        except _FAILED as error:
            _say(error)
            return None

    def _must_look(self) -> bool:
        return not 0 <= time.monotonic() - self._looked_at < LOOK_EVERY

    def _looks_closed(self) -> bool:
        """Whether nobody is let in at all just now, or it cannot be known: then the ordinary way says so."""
        began = time.monotonic()
        try:
            with self._app.app_context(), reading_engine().connect() as connection:
                closed = is_closed(connection)
        except _FAILED as error:
            _say(error)
            return True
        # Only that it is open is believed for a moment, as everywhere (`app.access.closed`).
        self._looked_at = began if not closed else -math.inf
        return closed

    def _now(self, planned: _Gate | _Session | _Introspection) -> Early | None:
        try:
            return waited(planned.on(bare_of(self._app)))
        except _FAILED as error:
            # Whatever it was, the ordinary way tries again and says it in words.
            _say(error)
            forget(self._app)
            return None

    def _plan(self, environ: dict[str, Any]) -> _Gate | _Session | _Introspection | None:
        path = environ["PATH_INFO"]
        if path == "/gate":
            token = bearer_of(environ.get("HTTP_AUTHORIZATION", ""))
            return _Gate(query=environ.get("QUERY_STRING", ""), token=token, secret=self._session(environ.get("HTTP_COOKIE", "")))
        if path == "/session" and environ["REQUEST_METHOD"] == "GET":
            secret = self._session(environ.get("HTTP_COOKIE", ""))
            return None if secret is None else _Session(secret=secret)
        if path == "/introspect" and environ["REQUEST_METHOD"] == "POST":
            return self._introspection(environ)
        return None

    def _session(self, cookies: str) -> str | None:
        """The value of the session's cookie; None where there is not exactly one."""
        found = [pair.strip()[len(self._cookie) :] for pair in cookies.split(";") if pair.strip().startswith(self._cookie)]
        return found[0] if len(found) == 1 else None

    def _introspection(self, environ: dict[str, Any]) -> _Introspection | None:
        length = environ.get("CONTENT_LENGTH") or "0"
        if environ.get("QUERY_STRING") or environ.get("CONTENT_TYPE", "") != _FORM or not length.isdigit() or not 0 < int(length) <= _LARGEST:
            return None
        body: bytes = environ["wsgi.input"].read(int(length))
        environ["wsgi.input"] = io.BytesIO(body)
        try:
            pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
        except ValueError:
            return None
        form = dict(pairs)
        if len(form) != len(pairs) or not form.keys() <= {"token", "token_type_hint", "client_id", "client_secret"}:
            return None
        header = environ.get("HTTP_AUTHORIZATION")
        if header is not None and ("client_id" in form or "client_secret" in form):
            return None
        client_id, secret = (form.get("client_id"), form.get("client_secret")) if header is None else basic_of({"Authorization": header})
        return _Introspection(client_id=client_id, secret=secret, token=form.get("token"), url=self._url)


def _say(error: Exception) -> None:
    log.warning("a quick path failed: %s", error.__class__.__name__)
