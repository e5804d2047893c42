"""The only place that opens a connection to a workspace or a source.

What every call keeps: it ends within ten seconds, follows no redirect, takes no credential or proxy from the
environment, and fails with an error of the contract whose text carries no secret. Secrets travel in headers,
never in a path or a query. Only reads are tried a second time, and whatever surely never left us.
"""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPResponse
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from connectors.contract import (
    Conflict,
    ConnectorError,
    Misconfigured,
    Missing,
    RateLimited,
    Refused,
    Secret,
    Unauthorised,
    Unreachable,
)

T = TypeVar("T")

TOTAL_SECONDS = 9.0
CONNECT_SECONDS = 2.0
LARGEST_ANSWER = 64 * 1024 * 1024
LONGEST_WAIT = 3600.0
DEFAULT_WAIT = 1.0


def path(template: str, *parts: str) -> str:
    """`path("/users/{}", "@ada:chat")`, each part quoted so that it stays one segment."""
    return template.format(*(quote(part, safe="") for part in parts))


class Document:
    """A JSON object from the other side, read field by field.

    An absent or null field reads as empty; one of another type means that something else answered, which is
    `Unreachable` and not an empty value: nobody may seem to be gone because of a garbled answer.
    """

    def __init__(self, fields: Mapping[str, object], *, source: str) -> None:
        self._fields = fields
        self._source = source

    def has(self, key: str) -> bool:
        return self._fields.get(key) is not None

    def keys(self) -> frozenset[str]:
        return frozenset(self._fields)

    def plain(self) -> dict[str, object]:
        return dict(self._fields)

    def text(self, key: str) -> str:
        return self._read(key, str, "")

    def flag(self, key: str) -> bool:
        # SQLite lets some servers show booleans as 0 and 1.
        value = self._fields.get(key)
        return bool(value) if value in (0, 1) else self._read(key, bool, False)

    def number(self, key: str, otherwise: int = 0) -> int:
        return self._read(key, int, otherwise)

    def part(self, key: str) -> Document:
        return Document(self._read(key, dict, {}), source=self._source)

    def parts(self, key: str) -> Iterator[Document]:
        for item in self._read(key, list, []):
            if not isinstance(item, dict):
                raise self._garbled(key)
            yield Document(item, source=self._source)

    def texts(self, key: str) -> tuple[str, ...]:
        items = self._read(key, list, [])
        if not all(isinstance(item, str) for item in items):
            raise self._garbled(key)
        return tuple(items)

    def _read(self, key: str, kind: type[T], otherwise: T) -> T:
        value = self._fields.get(key)
        if value is None:
            return otherwise
        if not isinstance(value, kind):
            raise self._garbled(key)
        return value

    def _garbled(self, key: str) -> Unreachable:
        return Unreachable(f"{self._source}: the answer's field {key!r} is not what it should be", sent=True)


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    document: Document


Translate = Callable[[int, Document, str], ConnectorError | None]
"""What an error answer (status, body, prepared text) means with this vendor; None for the usual meaning."""


class Caller:
    """Speaks JSON with one server as one credential. Threads may share it; each has its own connection."""

    def __init__(
        self,
        *,
        name: str,
        url: str,
        token: Secret,
        translate: Translate | None = None,
        ca_file: str | None = None,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname or address.username:
            raise Misconfigured(f"{name}: the URL must be http(s)://host without a user name")
        if not token.reveal() or not token.reveal().isascii() or not token.reveal().isprintable():
            # Checked here, since the header check of `requests` would print the token.
            raise Misconfigured(f"{name}: the token is empty or holds characters that no token has")
        self.name = name
        self._url = url.rstrip("/")
        self._token = token
        self._translate = translate
        self._verify: str | bool = ca_file or True
        self._total = total_seconds
        self._threads = threading.local()

    def get(self, path: str, *, query: Mapping[str, str] | None = None) -> Answer:
        return self._call("GET", path, query=query, body=None)

    def find(self, path: str, *, query: Mapping[str, str] | None = None) -> Document | None:
        """None only where the other side says, in its own error format, that there is no such thing."""
        try:
            return self.get(path, query=query).document
        except Missing:
            return None

    def post(self, path: str, body: Mapping[str, object]) -> Answer:
        return self._call("POST", path, query=None, body=body)

    def put(self, path: str, body: Mapping[str, object]) -> Answer:
        return self._call("PUT", path, query=None, body=body)

    def delete(self, path: str) -> Answer:
        return self._call("DELETE", path, query=None, body=None)

    def _call(
        self, method: str, path: str, *, query: Mapping[str, str] | None, body: Mapping[str, object] | None
    ) -> Answer:
        deadline = time.monotonic() + self._total
        # A read that got no answer leaves time for a second try; anything else gets all the time there is.
        first = time.monotonic() + self._total / 2 if method == "GET" else deadline
        try:
            return self._attempt(method, path, query=query, body=body, deadline=first)
        except Unreachable as error:
            if (error.sent and method != "GET") or deadline - time.monotonic() < CONNECT_SECONDS:
                raise
        return self._attempt(method, path, query=query, body=body, deadline=deadline)

    def _attempt(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: Mapping[str, object] | None,
        deadline: float,
    ) -> Answer:
        source = f"{self.name}: {method} {path}"
        left = deadline - time.monotonic()
        try:
            with self._session().request(
                method,
                self._url + path,
                params=query,
                data=None if body is None else json.dumps(body),
                headers={
                    "Authorization": f"Bearer {self._token.reveal()}",
                    "Content-Type": "application/json",
                },
                timeout=(min(CONNECT_SECONDS, left), left),
                allow_redirects=False,
                stream=True,
                verify=self._verify,
            ) as response:
                content = _read(response, source=source)
        except requests.exceptions.SSLError as error:
            raise Misconfigured(f"{source}: the server's certificate is not accepted") from error
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise Misconfigured(f"{source}: the address cannot be called") from error
        except requests.exceptions.RequestException as error:
            sent = not _never_connected(error)
            what = type(error).__name__ if sent else "no connection"
            raise Unreachable(f"{source}: no answer ({what})", sent=sent) from error
        return self._understand(response, content, source=source)

    def _understand(self, response: requests.Response, content: bytes, *, source: str) -> Answer:
        status = response.status_code
        if 300 <= status < 400:
            raise Misconfigured(f"{source}: answered {status}, a redirect, which is not followed")
        if status >= 500 or status == 408:
            raise Unreachable(f"{source}: answered {status}", sent=True)
        document = _parse(content, source=source)
        if status == 429:
            wait = _wait(response.headers.get("Retry-After"), document)
            raise RateLimited(f"{source}: too fast, wait {wait:g} s", wait=wait)
        if document is None:
            # A proxy's page saying 404 is not the server's word, and must never read as "no such account".
            raise Unreachable(f"{source}: answered {status} with something that is not JSON", sent=True)
        if status >= 400:
            raise self._error(status, document, source=source)
        return Answer(status=status, document=document)

    def _error(self, status: int, document: Document, *, source: str) -> ConnectorError:
        fields = document.plain()
        said = " ".join(str(fields[key]) for key in ("errcode", "error", "message") if key in fields)
        message = f"{source}: {status} {said}".replace(self._token.reveal(), "…")[:500]
        if self._translate and (translated := self._translate(status, document, message)):
            return translated
        usual = {401: Unauthorised, 404: Missing, 409: Conflict, 410: Missing}
        return usual.get(status, Refused)(message)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = requests.Session()
            # Else a ~/.netrc entry for the host would replace our credential, and a proxy variable our route.
            session.trust_env = False
            for scheme in ("http://", "https://"):
                session.mount(scheme, _Adapter(pool_connections=1, pool_maxsize=1, max_retries=0))
            self._threads.session = session
        return session


class _Deadline(io.RawIOBase):
    """Reads from a socket, and gives up when the time-out that it had at first is over in all.

    The time-out of `requests` is per read: a server that sends a byte now and then would hold us for ever.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._stream = sock.makefile("rb", buffering=0)
        self._until = time.monotonic() + (sock.gettimeout() or TOTAL_SECONDS)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Deadline(sock), *args, **kwargs)  # type: ignore[arg-type]  # it only calls makefile()


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


def _read(response: requests.Response, *, source: str) -> bytes:
    content = bytearray()
    for piece in response.iter_content(64 * 1024):
        content += piece
        if len(content) > LARGEST_ANSWER:
            raise Unreachable(f"{source}: the answer does not end ({len(content)} bytes so far)", sent=True)
    return bytes(content)


def _parse(content: bytes, *, source: str) -> Document | None:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return Document(fields, source=source) if isinstance(fields, dict) else None


def _wait(header: str | None, document: Document | None) -> float:
    """Seconds from Retry-After (a number or a date) or from Matrix' `retry_after_ms`."""
    seconds: float | None = None
    if header is not None:
        try:
            seconds = float(header)
        except ValueError:
            try:
                seconds = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
            except (ValueError, TypeError):
                seconds = None
    if seconds is None and document is not None:
        said = document.plain().get("retry_after_ms")
        seconds = said / 1000 if isinstance(said, int | float) else None
    if seconds is None or seconds != seconds:  # the second is true for NaN alone
        return DEFAULT_WAIT
    return min(max(seconds, 0.0), LONGEST_WAIT)


def _never_connected(error: BaseException) -> bool:
    """True only where no connection was made, so that nothing can have been done there."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    if not isinstance(error, requests.exceptions.ConnectionError) or not error.args:
        return False
    cause = error.args[0]
    reason = getattr(cause, "reason", cause)
    return isinstance(reason, HTTPError) and isinstance(reason, NewConnectionError | ConnectTimeoutError)
