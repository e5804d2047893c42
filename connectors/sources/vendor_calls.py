"""Calls to a vendor's directory over HTTP: pages followed to their end, throttling waited out, errors in the contract's words.

Beside what every call of `connectors.http` keeps: a link to the next page is followed only to the server that was called, and a
wait that the vendor asks for is kept for as long as `patience` lasts, so that a long listing need not begin again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import urlsplit

from connectors.contract import ConnectorError, Misconfigured, Missing, RateLimited, Unauthorised, Unreachable
from connectors.documents import Document, wait_of
from connectors.http import Wire, persist
from connectors.source_contract import Incomplete
from connectors.visits import Visitor

SHORTEST_WAIT: Final = 1.0

Pause = Callable[[float], None]


class Credential(Protocol):
    """What a call is let in by. Never in a message: `hide` takes it out of one."""

    def header(self) -> str:
        """The value of Authorization. Raises ConnectorError where it has to be fetched and cannot be."""

    def renew(self) -> bool:
        """Forgets what was fetched; False where asking again cannot help."""

    def hide(self, text: str) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Got:
    """One answer, good or not. `source` names the call in messages, without its query."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    source: str

    def document(self) -> Document:
        read = self._read()
        if not isinstance(read, dict):
            raise self._garbled()
        return Document(read, source=self.source)

    def items(self) -> tuple[Document, ...]:
        """A JSON array of objects. Anything else is no answer: an error page must never read as "nobody"."""
        read = self._read()
        if not isinstance(read, list) or not all(isinstance(item, dict) for item in read):
            raise self._garbled()
        return tuple(Document(item, source=self.source) for item in read)

    def _read(self) -> object:
        try:
            read: object = json.loads(self.content)
        except (ValueError, RecursionError):
            raise self._garbled() from None
        return read

    def _garbled(self) -> Unreachable:
        return Unreachable(f"{self.source}: answered {self.status} with something else than was asked for", sent=True)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How one vendor speaks of trouble. `said` is its code and sentence, `missing` the codes of its own *not there*."""

    said: Callable[[Document], tuple[str, str]]
    missing: frozenset[str]
    wait: Callable[[Mapping[str, str]], float | None] = lambda headers: None


class Calls:
    """One vendor's API under one URL. Speaks to nobody before the first call."""

    def __init__(
        self,
        *,
        name: str,
        url: str,
        credential: Credential,
        dialect: Dialect,
        wire: Wire,
        seconds: float,
        patience: float,
        pause: Pause = time.sleep,
    ) -> None:
        self.name = name
        self._url = url.rstrip("/")
        self._origin = urlsplit(url)[:2]
        self._credential = credential
        self._dialect = dialect
        self._wire = wire
        self._seconds = seconds
        self._patience = patience
        self._pause = pause

    def get(self, place: str, *, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None) -> Got:
        """`place` is a path below the URL, or a whole link that the vendor gave. Raises ConnectorError for every answer from 300 up."""
        return self._call("GET", place, query=query, content=None, headers=headers or {})

    def visit(self, place: str) -> Got:
        """Without our credential: whether anybody is there at all."""
        source = f"{self.name}: GET {urlsplit(self.url(place)).path}"
        got = self._once("GET", self.url(place), query=None, content=None, headers={}, source=source, bare=True)
        if got.status >= 400:
            raise self._error(got)
        return got

    def send(self, method: str, place: str, body: Mapping[str, object]) -> Got:
        content = json.dumps(body)
        return self._call(method, place, query=None, content=content, headers={"Content-Type": "application/json"})

    def find(self, place: str, *, query: Mapping[str, str] | None = None) -> Document | None:
        """None only where the vendor says in its own words that there is no such thing."""
        try:
            return self.get(place, query=query).document()
        except Missing:
            return None

    def pages(
        self,
        place: str,
        next_of: Callable[[Got], str | None],
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Got]:
        """Every page; ending normally means that the vendor named no further one. Raises Incomplete where a page cannot be had."""
        got = self.get(place, query=query, headers=headers)
        seen: set[str] = set()
        while True:
            yield got
            link = next_of(got)
            if link is None:
                return
            if link in seen:
                raise Incomplete(f"{got.source}: the list leads back to a page that was read already")
            seen.add(link)
            try:
                got = self.get(link, headers=headers)
            except (Missing, Misconfigured) as error:
                # What pages hang on was forgotten there: the rest of the list is unknown, and not empty.
                raise Incomplete(f"{got.source}: the list broke off behind page {len(seen)}: {error}") from error

    def url(self, place: str) -> str:
        if not place.startswith(("http://", "https://")):
            return self._url + place
        try:
            origin = urlsplit(place)[:2]
        except ValueError as error:
            raise Misconfigured(f"{self.name}: a link is no address") from error
        if origin != self._origin:
            raise Misconfigured(f"{self.name}: a link leads to another server, where our credential must not go")
        return place

    def _call(self, method: str, place: str, *, query: Mapping[str, str] | None, content: str | None, headers: Mapping[str, str]) -> Got:
        url = self.url(place)
        source = f"{self.name}: {method} {urlsplit(url).path}"
        left, renewed = self._patience, False
        while True:
            try:
                got = self._once(method, url, query=query, content=content, headers=headers, source=source)
            except RateLimited as error:
                wait = max(error.wait, SHORTEST_WAIT)
                if wait > left:
                    raise
                self._pause(wait)
                left -= wait
                continue
            if got.status == 401 and not renewed and self._credential.renew():
                # A token that ran out in the middle of a listing; asked for once more, and no oftener.
                renewed = True
                continue
            if got.status >= 400:
                raise self._error(got)
            return got

    def _once(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] | None,
        content: str | None,
        headers: Mapping[str, str],
        source: str,
        bare: bool = False,
    ) -> Got:
        known = {"Accept": "application/json", **headers}
        if not bare:
            known["Authorization"] = self._credential.header()

        def attempt(deadline: float) -> Got:
            response, body = self._wire.send(method, url, query=query, content=content, headers=known, deadline=deadline, source=source)
            status = response.status_code
            if 300 <= status < 400:
                raise Misconfigured(f"{source}: answered {status}, a redirect, which is not followed")
            if status == 429 or (status == 503 and "Retry-After" in response.headers):
                wait = self._dialect.wait(response.headers)
                wait = wait_of(response.headers.get("Retry-After"), None) if wait is None else wait
                raise RateLimited(f"{source}: too fast, wait {wait:g} s", wait=wait)
            if status >= 500 or status == 408:
                raise Unreachable(f"{source}: answered {status}", sent=True)
            return Got(status=status, headers=response.headers, content=body, source=source)

        return persist(attempt, method, total_seconds=self._seconds)

    def _error(self, got: Got) -> ConnectorError:
        try:
            code, sentence = self._dialect.said(got.document())
        except Unreachable:
            code, sentence = "", "with something that is not its usual error"
        message = self._credential.hide(f"{got.source}: {got.status} {code} {sentence}".strip())[:400]
        if got.status in (401, 403):
            return Unauthorised(message)
        if got.status == 404 and code in self._dialect.missing:
            return Missing(message)
        # A 404 in other words is a wrong address or a proxy's page, and no word about anybody.
        return Misconfigured(message)


def checked_url(name: str, url: str, *, allow_private: bool) -> str:
    """The address, where it may be called. Raises Misconfigured."""
    address = Visitor(name=name, allow_private=allow_private).check(url.rstrip("/"))
    if urlsplit(address).query:
        raise Misconfigured(f"{name}: the address holds a query; only https://host and perhaps a path belong there")
    return address
