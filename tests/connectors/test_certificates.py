"""Certificates of a company's own authority, as it makes them: one that lacks what RFC 5280 wants beyond chain, dates and name."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509

from connectors.certificates import verifying
from connectors.contract import Misconfigured, Secret
from connectors.http import Caller
from tests.servers.mailbox import certificate


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
    context, trusted = certificate(tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], trusted
        server.shutdown()
        thread.join()


def caller(url: str, ca_file: str | None) -> Caller:
    return Caller(name="chat", url=url, token=Secret("token"), ca_file=ca_file, total_seconds=5.0)


def test_this_is_such_a_certificate(served: tuple[int, str]) -> None:
    made = x509.load_pem_x509_certificate(Path(served[1]).read_bytes())

    with pytest.raises(x509.ExtensionNotFound):
        made.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)


def test_it_is_accepted_from_the_authority_that_was_named(served: tuple[int, str]) -> None:
    port, trusted = served

    assert caller(f"https://127.0.0.1:{port}", trusted).get("/").document.flag("here")


def test_it_speaks_for_no_other_name_and_nobody_vouches_for_it_unasked(served: tuple[int, str]) -> None:
    port, trusted = served

    for url, ca_file in ((f"https://localhost:{port}", trusted), (f"https://127.0.0.1:{port}", None)):
        with pytest.raises(Misconfigured, match="certificate"):
            caller(url, ca_file).get("/")


def test_nothing_else_is_given_up(tmp_path: Path) -> None:
    _, trusted = certificate(tmp_path)

    for context in (verifying(None), verifying(trusted)):
        assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
