"""Certificates of a company's own authority, as it makes them: one that lacks what RFC 5280 wants beyond chain, dates and name; and what is none's fault."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from connectors.certificates import verifying
from connectors.contract import Misconfigured, Secret, Unreachable
from connectors.http import Caller
from connectors.registry import open_source
from connectors.source_contract import SourceSettings
from tests.servers.authority import certified

pytestmark = pytest.mark.slow


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = b'{"here": true}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """The port of a server with such a certificate for 127.0.0.1, and the file to trust it by."""
    made = certified(tmp_path, "127.0.0.1", in_full=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], str(made.authority)
        server.shutdown()
        thread.join()


def caller(url: str, ca_file: str | None) -> Caller:
    return Caller(name="chat", url=url, token=Secret("token"), ca_file=ca_file, total_seconds=5.0)


def test_it_is_accepted_from_the_authority_that_was_named(served: tuple[int, str]) -> None:
    port, trusted = served

    assert caller(f"https://127.0.0.1:{port}", trusted).get("/").document.flag("here")


def test_so_it_is_beneath_http(served: tuple[int, str]) -> None:
    port, trusted = served

    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain, verifying(trusted).wrap_socket(plain, server_hostname="127.0.0.1"):
        pass


def test_it_speaks_for_no_other_name_and_nobody_vouches_for_it_unasked(served: tuple[int, str]) -> None:
    port, trusted = served

    for url, ca_file in ((f"https://localhost:{port}", trusted), (f"https://127.0.0.1:{port}", None)):
        with pytest.raises(Misconfigured, match="certificate"):
            caller(url, ca_file).get("/")


INTERNAL_ERROR = bytes.fromhex("15030300020250")
HANDSHAKE_FAILURE = bytes.fromhex("15030300020228")


@contextmanager
def breaking_off(said: bytes) -> Iterator[str]:
    """A server that answers the first words of TLS like this, and ends the connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        # Until it is shut down.
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.recv(4096)
                    connection.sendall(said)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@pytest.mark.parametrize("said", [b"", INTERNAL_ERROR])
def test_a_connection_that_breaks_off_says_nothing_of_a_certificate(said: bytes) -> None:
    with breaking_off(said) as url:
        with pytest.raises(Unreachable, match="TLS broke off"):
            caller(url, None).get("/")
        with pytest.raises(Unreachable) as caught:
            caller(url, None).put("/", {})

    assert caught.value.sent, "it may have been in the midst of a request"


def test_a_server_that_will_not_speak_with_us_is_no_matter_of_the_moment() -> None:
    with breaking_off(HANDSHAKE_FAILURE) as url, pytest.raises(Misconfigured):
        caller(url, None).put("/", {})


@pytest.mark.parametrize("source", ["okta", "ldap"])
@pytest.mark.parametrize(
    ("content", "why"), [(None, "cannot be read: No such file or directory"), (b"\x30\x82\x01", "holds no certificate in PEM"), (b"", "holds no certificate in PEM")]
)
def test_a_file_of_authorities_that_names_none_is_said_to_be_wrong(
    served: tuple[int, str], tmp_path: Path, source: str, content: bytes | None, why: str
) -> None:  # fmt: skip
    file = tmp_path / "our-ca.pem"
    if content is not None:
        file.write_bytes(content)
    options = {"okta": {"allow_private": "true"}, "ldap": {"base": "dc=x", "bind_dn": "cn=x"}}[source] | {"ca_file": str(file)}
    scheme = {"okta": "https", "ldap": "ldaps"}[source]
    settings = SourceSettings(name="corp", url=f"{scheme}://127.0.0.1:{served[0]}", secret=Secret("secret"), options=options)

    [step, *_] = open_source(source, settings).check().steps

    assert (step.name, step.good) == ("connect", False)
    assert step.detail.endswith(f"ca_file {file} {why}")
    with pytest.raises(Misconfigured, match=why):
        list(open_source(source, settings).list_people())


def test_nothing_else_is_given_up(tmp_path: Path) -> None:
    made = certified(tmp_path, "127.0.0.1")

    for context in (verifying(None), verifying(str(made.authority))):
        assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
