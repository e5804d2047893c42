"""Calls to addresses that somebody outside chose: only the open internet, in every spelling, and no detours (W10)."""

from __future__ import annotations

import gzip
import socket
import threading
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from connectors.addresses import is_allowed
from connectors.contract import ConnectorError, Misconfigured, RateLimited, Unreachable
from connectors.visits import Visitor


@contextmanager
def place(*, host: str = "127.0.0.1", status: int = 200, body: bytes = b'{"ok": true}', headers: Mapping[str, str] | None = None) -> Iterator[tuple[int, list[str]]]:
    """A server on this machine, and who knocked there."""
    knocked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            knocked.append(f"{self.command} {self.headers['Host']}{self.path}")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is written to the test's output."""

    server = ThreadingHTTPServer((host, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1], knocked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


INSIDE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "169.254.0.1", "100.64.0.1",
    "100.127.255.254", "100.100.100.200", "0.0.0.0", "255.255.255.255", "224.0.0.1", "192.0.0.192", "198.18.0.1", "168.63.129.16", "240.0.0.1",
    "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_w10_an_address_inside_is_not_called(address: str) -> None:
    assert not is_allowed(address, allow_private=False)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_an_address_of_the_open_internet_is_called(address: str) -> None:
    assert is_allowed(address, allow_private=False)


def test_w10_networks_of_ones_own_may_be_allowed_but_never_a_clouds_metadata() -> None:
    for address in ("127.0.0.1", "10.1.2.3", "192.168.0.1", "100.64.0.1", "::1", "fd00::1", "fd00:ec3::23", "::ffff:127.0.0.1", "8.8.8.8"):
        assert is_allowed(address, allow_private=True), address
    for address in (
        "169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "::ffff:169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0",
        "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "fd00:a9fe:a9fe::1", "fd00:100::100:200",
    ):  # fmt: skip
        assert not is_allowed(address, allow_private=True), address


def test_w10_every_spelling_of_this_machine_is_this_machine() -> None:
    with place() as (port, knocked):
        for host in (
            "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "localhost", "LOCALHOST",
            "localhost.", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "0", "0.0.0.0", "[::]", "１２７.0.0.1", "127。0。0。1",
            "①②⑦.0.0.1", "%31%32%37.0.0.1",
        ):  # fmt: skip
            for scheme in ("https", "http"):
                with pytest.raises(ConnectorError):
                    Visitor(name="test").get(f"{scheme}://{host}:{port}/")

        assert knocked == []


def test_one_that_is_allowed_is_called_by_its_name() -> None:
    with place() as (port, knocked):
        reply = Visitor(name="test", allow_private=True).get(f"http://localhost:{port}/keys?x=1")

    assert (reply.status, reply.document().flag("ok")) == (200, True)
    assert knocked == [f"GET localhost:{port}/keys?x=1"]


def test_w10_what_was_looked_at_is_what_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: a name that is public when it is looked at, and this machine a moment later."""
    real, asked = socket.getaddrinfo, []

    def rebinding(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "rebind.example":
            return real(host, port, *args, **kwargs)
        asked.append(host)
        address = "192.0.2.1" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr("connectors.addresses.is_allowed", lambda address, allow_private: address != "127.0.0.1")
    with place() as (port, knocked):
        with pytest.raises(ConnectorError):
            Visitor(name="test", allow_private=True, total_seconds=1).get(f"http://rebind.example:{port}/")
        assert knocked == []

    assert asked, "the name was never looked up"


def test_w10_a_name_with_a_good_address_beside_a_bad_one_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("93.184.216.34", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", both)

    with pytest.raises(Misconfigured, match="open internet") as caught:
        Visitor(name="test").get("https://mixed.example/")
    assert "10.0.0.1" not in str(caught.value)


def test_the_next_address_is_tried_where_the_first_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def two(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "two.example":
            return real(host, port, *args, **kwargs)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with place() as (port, knocked):
        assert Visitor(name="test", allow_private=True).get(f"http://two.example:{port}/").status == 200

    assert len(knocked) == 1


def test_w10_no_more_than_three_addresses_of_a_name_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that does not answer costs two seconds, and whoever made the name may have given it hundreds."""
    real = socket.getaddrinfo

    def four(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "four.example":
            return real(host, port, *args, **kwargs)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", port)) for last in (4, 3, 2, 1)]

    monkeypatch.setattr(socket, "getaddrinfo", four)
    with place() as (port, knocked):
        with pytest.raises(Unreachable):
            Visitor(name="test", allow_private=True).get(f"http://four.example:{port}/")
        assert knocked == []


def test_many_addresses_of_a_kind_that_leads_nowhere_do_not_hide_the_other_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def many(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "many.example":
            return real(host, port, *args, **kwargs)
        wide = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (f"2001:db8::{last}", port, 0, 0)) for last in (4, 3, 2, 1)]
        return [*wide, (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", many)
    with place() as (port, knocked):
        assert Visitor(name="test", allow_private=True).get(f"http://many.example:{port}/").status == 200

    assert len(knocked) == 1


def test_w10_a_redirect_is_not_followed() -> None:
    with place() as (port, knocked), place(status=302, headers={"Location": f"http://127.0.0.1:{port}/"}) as (first, _):
        with pytest.raises(Misconfigured, match="redirect"):
            Visitor(name="test", allow_private=True).get(f"http://127.0.0.1:{first}/")
        assert knocked == []


@pytest.mark.parametrize("to", ["http://[", "http://[::1", "http://open.example:x/", "\xff\xe4", "javascript:alert(1)", "http://", "//"])
def test_w10_a_redirect_to_what_is_no_address_is_one_as_well(to: str) -> None:
    with place(status=302, headers={"Location": to}) as (port, _), pytest.raises(Misconfigured, match="redirect"):
        Visitor(name="test", allow_private=True).get(f"http://127.0.0.1:{port}/")


def test_no_more_is_read_of_a_redirect_than_of_any_answer() -> None:
    """A bomb: some kB that unpack to 64 MB. What is held in memory meanwhile is what it would cost."""
    packed = gzip.compress(bytes(64 * 1024 * 1024))
    with place(status=302, headers={"Location": "/", "Content-Encoding": "gzip"}, body=packed) as (port, _):
        tracemalloc.start()
        try:
            with pytest.raises(Unreachable, match="does not end"):
                Visitor(name="test", allow_private=True, largest=64 * 1024).get(f"http://127.0.0.1:{port}/")
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert most < 16 * 1024 * 1024


@pytest.mark.parametrize(
    "url",
    [
        "http://open.example/", "ftp://open.example/", "file:///etc/passwd", "gopher://open.example/", "https://", "https://user@open.example/",
        "https://user:pw@open.example/", "https://@open.example/", "https://open.example/#x", "https://open.example:99999/", "https://open.example:0/",
        "https://open.example/ x", "https://open.example\\@127.0.0.1/", "https://open.example/\r\nX: y", "//open.example/", "", "https://[::1", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_w10_what_is_no_plain_https_address_is_not_called(url: str) -> None:
    with pytest.raises(Misconfigured):
        Visitor(name="test").get(url)


def test_what_is_answered_says_what_to_do_next() -> None:
    for status, expected in ((500, Unreachable), (503, Unreachable), (408, Unreachable)):
        with place(status=status) as (port, _), pytest.raises(expected):
            Visitor(name="test", allow_private=True).post(f"http://127.0.0.1:{port}/", "x", headers={})
    with place(status=429, headers={"Retry-After": "7"}) as (port, _), pytest.raises(RateLimited) as limited:
        Visitor(name="test", allow_private=True).get(f"http://127.0.0.1:{port}/")
    assert limited.value.wait == 7
    with place(status=400, body=b"no") as (port, _):
        reply = Visitor(name="test", allow_private=True).post(f"http://127.0.0.1:{port}/", "x", headers={})
    assert (reply.status, reply.content) == (400, b"no")
    with pytest.raises(Unreachable, match="not a JSON object"):
        reply.document()


def test_an_answer_that_does_not_end_is_given_up() -> None:
    with place(body=b"x" * 2_000_000) as (port, _), pytest.raises(Unreachable, match="does not end"):
        Visitor(name="test", allow_private=True).get(f"http://127.0.0.1:{port}/")


def test_messages_name_the_place_and_nothing_of_what_was_sent() -> None:
    with place(status=302, headers={"Location": "/"}) as (port, _), pytest.raises(Misconfigured) as caught:
        Visitor(name="test", allow_private=True).post(f"http://127.0.0.1:{port}/p4th?q=s3cret", "b0dy", headers={"Authorization": "Bearer t0ken"})

    assert str(caught.value).startswith("test: POST http://127.0.0.1")
    for hidden in ("p4th", "s3cret", "b0dy", "t0ken"):
        assert hidden not in str(caught.value)
