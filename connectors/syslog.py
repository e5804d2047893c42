"""The only place that speaks to a syslog server: RFC 5424 messages over TCP or TLS, each with its length before it (RFC 6587, RFC 5425).

The standard library's SysLogHandler writes neither that framing nor RFC 5424, and swallows what goes wrong.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from connectors.certificates import verifying
from connectors.contract import Misconfigured, Unreachable

CONNECT_SECONDS: Final = 3.0
TOTAL_SECONDS: Final = 9.0
PORTS: Final = {"tcp": 601, "tls": 6514}
LOG_AUDIT: Final = 13
INFORMATIONAL: Final = 6


@dataclass(frozen=True, kw_only=True)
class Message:
    """One event. `kind` is its MSGID, `text` what it says."""

    at: datetime
    kind: str
    text: str

    def encoded(self, *, host: str) -> bytes:
        """RFC 5424 §6, with the byte-order mark that says the text is UTF-8. A line's end in the text is inside JSON already."""
        header = f"<{LOG_AUDIT * 8 + INFORMATIONAL}>1 {_stamp(self.at)} {_word(host, 255)} doorlist {os.getpid()} {_word(self.kind, 32)} -"
        body = header.encode("ascii") + b" \xef\xbb\xbf" + self.text.encode("utf-8", "replace")
        return b"%d %s" % (len(body), body)


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _word(text: str, longest: int) -> str:
    # RFC 5424: printable US-ASCII without a space; nothing of a name may end the header early.
    return "".join(letter if "!" <= letter <= "~" else "_" for letter in text)[:longest] or "-"


class SyslogServer:
    """Hands messages to one server, `tcp://host:601` or `tls://host:6514`. Speaks to nobody before `send`. Raises Misconfigured."""

    def __init__(self, url: str, *, host: str, ca_file: str | None = None) -> None:
        address = urlsplit(url)
        try:
            port = address.port
        except ValueError:
            port = -1
        behind = address.path.strip("/") or address.query or address.fragment
        if address.scheme not in PORTS or not address.hostname or port == -1 or behind or address.username:
            raise Misconfigured("syslog: the address is tcp://host:601 or tls://host:6514, and nothing behind it")
        self._place = (address.hostname, port or PORTS[address.scheme])
        self._tls = address.scheme == "tls"
        self._ca_file = ca_file
        self._own = host
        self.name = f"{address.scheme}://{self._place[0]}:{self._place[1]}"

    def send(self, messages: Iterable[Message]) -> None:
        """Returns once the other side has taken all of it in. Raises Unreachable, Misconfigured.

        Syslog has no answer. So the connection is ended from here after the last message, and only a server that ends it
        as well, without breaking it off, counts as one that has them. After Unreachable some may have arrived all the same.
        """
        content = b"".join(one.encoded(host=self._own) for one in messages)
        ends = time.monotonic() + TOTAL_SECONDS
        try:
            with socket.create_connection(self._place, timeout=CONNECT_SECONDS) as plain, self._secured(plain) as connection:
                connection.settimeout(TOTAL_SECONDS)
                connection.sendall(content)
                self._end(connection, ends=ends)
        except ssl.SSLError as error:
            raise Unreachable(f"{self.name}: did not end the connection as TLS is ended ({error.reason or 'broken off'}), so it may not have all", sent=True) from error
        except OSError as error:
            raise Unreachable(f"{self.name}: no answer ({type(error).__name__})", sent=True) from error

    def _secured(self, plain: socket.socket) -> socket.socket:
        if not self._tls:
            return plain
        context = verifying(self._ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            return context.wrap_socket(plain, server_hostname=self._place[0])
        except ssl.SSLError as error:
            raise Misconfigured(f"{self.name}: the server's certificate is not accepted, or it speaks no TLS there") from error

    def _end(self, connection: socket.socket, *, ends: float) -> None:
        if isinstance(connection, ssl.SSLSocket):
            # Ours is sent, and theirs is waited for: it comes after everything before it was read.
            connection.unwrap()
            return
        connection.shutdown(socket.SHUT_WR)
        # What it says meanwhile means nothing, and as long as it goes on it has not ended.
        while connection.recv(4096):
            if time.monotonic() > ends:
                raise TimeoutError
