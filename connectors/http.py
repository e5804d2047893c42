"""The only place that opens a connection to a workspace, a source, or an address that somebody outside chose.

What every call keeps: it ends within ten seconds, follows no redirect, takes no credential or proxy from the
environment, and fails with an error of the contract whose text carries no secret. Secrets travel in headers,
never in a path or a query. Only reads are tried a second time, and whatever surely never left us.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any, ClassVar, TypeVar, cast
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, LocationParseError, NameResolutionError, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

from connectors.addresses import addresses_of
from connectors.certificates import as_everywhere, unreadable
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
from connectors.documents import DEFAULT_WAIT, Document, parsed, wait_of

__all__ = ["DEFAULT_WAIT", "Answer", "Caller", "Document", "Translate", "Wire", "path", "persist"]

T = TypeVar("T")

TOTAL_SECONDS = 9.0
CONNECT_SECONDS = 2.0
MOST_ADDRESSES = 3
"""Of a name that somebody else chose: each that does not answer costs `CONNECT_SECONDS`, and a name may have any number."""
LARGEST_ANSWER = 64 * 1024 * 1024


def path(template: str, *parts: str) -> str:
    """`path("/users/{}", "@ada:chat")`, each part quoted so that it stays one segment."""
    return template.format(*(quote(part, safe="") for part in parts))


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
        try:
            address = urlsplit(url)
        except ValueError as error:
            # Brackets that hold no IPv6 address.
            raise Misconfigured(f"{name}: an address cannot be read") from error
        if address.scheme not in ("http", "https") or not address.hostname or address.username:
            raise Misconfigured(f"{name}: the URL must be http(s)://host without a user name")
        if "?" in url or "#" in url:
            raise Misconfigured(f"{name}: the URL must end with its path: what stands behind ? or # would swallow the path of each call")
        if not token.reveal() or not token.reveal().isascii() or not token.reveal().isprintable():
            # Checked here, since the header check of `requests` would print the token.
            raise Misconfigured(f"{name}: the token is empty or holds characters that no token has")
        self.name = name
        self._url = url.rstrip("/")
        self._token = token
        self._translate = translate
        self._wire = Wire(verify=ca_file or True)
        self._total = total_seconds

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
        source = f"{self.name}: {method} {path}"
        return persist(
            lambda deadline: self._understand(
                *self._wire.send(
                    method,
                    self._url + path,
                    query=query,
                    content=None if body is None else json.dumps(body),
                    headers={
                        "Authorization": f"Bearer {self._token.reveal()}",
                        "Content-Type": "application/json",
                    },
                    deadline=deadline,
                    source=source,
                ),
                source=source,
            ),
            method,
            total_seconds=self._total,
        )

    def _understand(self, response: requests.Response, content: bytes, *, source: str) -> Answer:
        status = response.status_code
        if 300 <= status < 400:
            raise Misconfigured(f"{source}: answered {status}, a redirect, which is not followed")
        if status >= 500 or status == 408:
            raise Unreachable(f"{source}: answered {status}", sent=True)
        document = parsed(content, source=source)
        if status == 429:
            wait = wait_of(response.headers.get("Retry-After"), document)
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


def persist(attempt: Callable[[float], T], method: str, *, total_seconds: float) -> T:
    """Attempt a call, each time with the instant until which it has to end, and again where that does no harm."""
    deadline = time.monotonic() + total_seconds
    # A read that got no answer leaves time for a second try; anything else gets all the time there is.
    first = time.monotonic() + total_seconds / 2 if method == "GET" else deadline
    try:
        return attempt(first)
    except Unreachable as error:
        if (error.sent and method != "GET") or deadline - time.monotonic() < CONNECT_SECONDS:
            raise
    return attempt(deadline)


class Wire:
    """Sends requests as they are. Threads may share it; each has its own connections.

    `outside` is for addresses that somebody else chose: only those of the open internet are called then, or with
    `allow_private` also those of one's own network (`connectors.addresses`).
    """

    def __init__(self, *, verify: str | bool = True, outside: bool = False, allow_private: bool = False) -> None:
        self._verify = verify
        self._adapter = (_Adapter if not outside else _AtHome if allow_private else _Outside, 4 if outside else 1)
        self._threads = threading.local()

    def send(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        content: str | bytes | None,
        headers: Mapping[str, str],
        deadline: float,
        source: str,
        largest: int = LARGEST_ANSWER,
    ) -> tuple[requests.Response, bytes]:
        """The answer and its whole content. Raises Unreachable, Misconfigured; an answer of any status is an answer."""
        left = deadline - time.monotonic()
        try:
            with self._session().request(
                method,
                url,
                params=query,
                data=content,
                headers=dict(headers),
                timeout=(min(CONNECT_SECONDS, left), left),
                allow_redirects=False,
                stream=True,
                verify=self._verify,
            ) as response:
                return response, _read(response, source=source, largest=largest)
        except requests.exceptions.SSLError as error:
            if _broke_off(error):
                raise Unreachable(f"{source}: no answer (TLS broke off)", sent=True) from error
            raise Misconfigured(f"{source}: {self._not_verified()}") from error
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, LocationParseError) as error:
            # The last is urllib3's own word of a host that no name can be, such as one with two dots in a row.
            raise Misconfigured(f"{source}: the address cannot be called") from error
        except requests.exceptions.RequestException as error:
            sent = not _never_connected(error)
            what = type(error).__name__ if sent else "no connection"
            raise Unreachable(f"{source}: no answer ({what})", sent=sent) from error
        except OSError as error:
            # What `requests` says of a file of authorities that is not there is none of its own exceptions.
            raise Misconfigured(f"{source}: {self._not_verified()}") from error

    def _not_verified(self) -> str:
        ours = unreadable(self._verify) if isinstance(self._verify, str) else None
        return ours or "the server's certificate is not accepted"

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = _Session()
            # Else a ~/.netrc entry for the host would replace our credential, and a proxy variable our route.
            session.trust_env = False
            adapter, hosts = self._adapter
            for scheme in ("http://", "https://"):
                session.mount(scheme, adapter(pool_connections=hosts, pool_maxsize=1, max_retries=0))
            self._threads.session = session
        return session


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere: to say where one would lead, `requests` reads its whole body, however long, and fails over an address that is none."""


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

    def _safe_read(self, amt: int) -> bytes:
        # urllib3 asks for each chunk by this, of whatever length it says it is; -1 would be all that ever comes.
        if amt < 0:
            raise HTTPException("a chunk of negative length")
        found: bytes = super()._safe_read(amt)  # type: ignore[misc]  # typeshed leaves it out
        return found


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    pools: ClassVar[dict[str, Any]] = {"http": _Pool, "https": _SecurePool}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        context = create_urllib3_context()
        as_everywhere(context)
        super().init_poolmanager(*args, ssl_context=context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self.pools


def _guarded(secure: bool, *, allow_private: bool) -> type[HTTPConnectionPool]:
    """A pool whose connections go to the address that was looked at, and only to one that is open to us."""
    kind: Any = _SecureConnection if secure else _Connection

    class Guarded(kind):  # type: ignore[misc]  # one of the two classes above
        _dns_host: str

        def _new_conn(self) -> socket.socket:
            # The name stays what TLS asks the certificate for, and what the Host header says.
            named = self._dns_host
            try:
                *others, last = addresses_of(named, self.port, allow_private=allow_private)[:MOST_ADDRESSES]
            except (socket.gaierror, UnicodeError) as error:
                raise NameResolutionError(named, self, socket.gaierror(str(error))) from error
            try:
                for other in others:
                    self._dns_host = other
                    with contextlib.suppress(NewConnectionError, ConnectTimeoutError):
                        return cast(socket.socket, super()._new_conn())
                self._dns_host = last
                return cast(socket.socket, super()._new_conn())
            finally:
                self._dns_host = named

    class Pool(_SecurePool if secure else _Pool):  # type: ignore[misc]  # one of the two classes above
        ConnectionCls = Guarded

    return Pool


class _Outside(_Adapter):
    pools: ClassVar[dict[str, Any]] = {"http": _guarded(False, allow_private=False), "https": _guarded(True, allow_private=False)}


class _AtHome(_Adapter):
    pools: ClassVar[dict[str, Any]] = {"http": _guarded(False, allow_private=True), "https": _guarded(True, allow_private=True)}


def _read(response: requests.Response, *, source: str, largest: int) -> bytes:
    content = bytearray()
    for piece in response.iter_content(64 * 1024):
        content += piece
        if len(content) > largest:
            raise Unreachable(f"{source}: the answer does not end ({len(content)} bytes so far)", sent=True)
    return bytes(content)


def _broke_off(error: BaseException) -> bool:
    """Whether the other side ended the connection in the midst of TLS, as a proxy does while it starts or has nobody behind it: that says nothing of a certificate."""
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    inner = reason.args[0] if isinstance(reason, HTTPError) and reason.args else reason
    if isinstance(inner, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
        return True
    # RFC 8446 §6.2: an error unrelated to the peer or the correctness of the protocol.
    return isinstance(inner, ssl.SSLError) and inner.reason == "TLSV1_ALERT_INTERNAL_ERROR"


def _never_connected(error: BaseException) -> bool:
    """True only where no connection was made, so that nothing can have been done there."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    if not isinstance(error, requests.exceptions.ConnectionError) or not error.args:
        return False
    cause = error.args[0]
    reason = getattr(cause, "reason", cause)
    return isinstance(reason, HTTPError) and isinstance(reason, NewConnectionError | ConnectTimeoutError)
