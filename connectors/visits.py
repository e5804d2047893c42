"""Calls to addresses that somebody outside chose: the metadata, keys and endpoints of an identity provider, a place to be told.

Beside what every call of `connectors.http` keeps: only addresses of the open internet are called, and only by TLS, unless
`allow_private` says that they are in a network of one's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from connectors.contract import Misconfigured, RateLimited, Unreachable
from connectors.documents import Document, parsed, wait_of
from connectors.http import TOTAL_SECONDS, Wire, persist

LARGEST_REPLY: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What was answered, below 500: whether a 4xx is an error is for whoever asked to say. `source` names the call in messages."""

    status: int
    content: bytes = field(repr=False)
    content_type: str
    source: str

    def document(self) -> Document:
        """The content as a JSON object. Raises Unreachable where it is none."""
        found = parsed(self.content, source=self.source)
        if found is None:
            raise Unreachable(f"{self.source}: answered {self.status} with something that is not a JSON object", sent=True)
        return found


def bearer(token: str | None, *, name: str) -> dict[str, str]:
    """The header that shows a token (RFC 6750 §2.1); none where there is no token. Raises Misconfigured."""
    if token is None:
        return {}
    if not (token and token.isascii() and token.isprintable()):
        raise Misconfigured(f"{name}: the token holds characters that no token has")
    return {"Authorization": f"Bearer {token}"}


class Visitor:
    """Calls any address. `name` is whose call it is, for messages. Threads may share it."""

    def __init__(
        self, *, name: str, allow_private: bool = False, largest: int = LARGEST_REPLY, total_seconds: float = TOTAL_SECONDS
    ) -> None:
        self.name = name
        self._wire = Wire(outside=True, allow_private=allow_private)
        self._allow_private = allow_private
        self._largest = largest
        self._total = total_seconds

    def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Reply:
        """Raises Unreachable, RateLimited, Misconfigured."""
        return self._call("GET", url, content=None, headers={"Accept": "application/json", **(headers or {})})

    def post(self, url: str, content: str | bytes, *, headers: Mapping[str, str]) -> Reply:
        """Sent once, unless it surely never left us. Raises Unreachable, RateLimited, Misconfigured."""
        return self._call("POST", url, content=content, headers=headers)

    def put(self, url: str, content: str | bytes, *, headers: Mapping[str, str]) -> Reply:
        """As `post`."""
        return self._call("PUT", url, content=content, headers=headers)

    def check(self, url: str) -> str:
        """The URL, where it may be called as far as can be told without looking its name up. Raises Misconfigured."""
        try:
            address = urlsplit(url)
            port = address.port
        except ValueError as error:
            raise Misconfigured(f"{self.name}: an address cannot be read") from error
        schemes = ("https", "http") if self._allow_private else ("https",)
        if address.scheme not in schemes or not address.hostname or "@" in address.netloc or address.fragment or port == 0:
            raise Misconfigured(f"{self.name}: an address must be {' or '.join(schemes)}://host, without a user name and a fragment")
        if any(mark <= " " or mark in "\\\x7f" for mark in url):
            raise Misconfigured(f"{self.name}: an address holds a space, a backslash or a control character")
        return url

    def _call(self, method: str, url: str, *, content: str | bytes | None, headers: Mapping[str, str]) -> Reply:
        address = urlsplit(self.check(url))
        # Neither the query nor the path is ours, and either may hold something that is nobody else's business.
        source = f"{self.name}: {method} {address.scheme}://{address.hostname}"

        def attempt(deadline: float) -> Reply:
            response, body = self._wire.send(
                method, url, content=content, headers=headers, deadline=deadline, source=source, largest=self._largest
            )
            status = response.status_code
            if 300 <= status < 400:
                raise Misconfigured(f"{source}: answered {status}, a redirect, which is not followed")
            if status >= 500 or status == 408:
                raise Unreachable(f"{source}: answered {status}", sent=True)
            if status == 429:
                wait = wait_of(response.headers.get("Retry-After"), None)
                raise RateLimited(f"{source}: too fast, wait {wait:g} s", wait=wait)
            return Reply(status=status, content=body, content_type=response.headers.get("Content-Type", ""), source=source)

        return persist(attempt, method, total_seconds=self._total)
