"""A syslog server of our own: takes connections, by TLS where it has a certificate, and keeps the messages that it was sent."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Listening:
    """Runs while inside. With `hangs_up` it breaks every connection off before it has read what came.

    With `talks` it never ends one, and says something all the time; with `walks_off` it reads to the end and does not say so.
    """

    certificate: Path | None = None
    hangs_up: bool = False
    talks: bool = False
    walks_off: bool = False
    received: list[bytes] = field(default_factory=list)

    def __enter__(self) -> Listening:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join(10)
        self._socket.close()

    @property
    def url(self) -> str:
        return f"{'tls' if self.certificate else 'tcp'}://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def messages(self) -> list[str]:
        """What came, taken apart by the lengths before each message; fails where a length does not fit."""
        found, rest = [], b"".join(self.received)
        while rest:
            length, _, rest = rest.partition(b" ")
            assert len(rest) >= int(length)
            found.append(rest[: int(length)].decode())
            rest = rest[int(length) :]
        return found

    def _serve(self) -> None:
        while not self._ending.is_set():
            try:
                plain, _ = self._socket.accept()
            except TimeoutError:
                continue
            try:
                self._take(plain)
            except OSError:
                pass
            finally:
                plain.close()

    def _take(self, plain: socket.socket) -> None:
        if self.hangs_up:
            # A reset instead of an end, once all was sent: what has not been read is lost.
            plain.settimeout(5)
            plain.recv(1)
            time.sleep(0.2)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return
        plain.settimeout(5)
        while self.talks and not self._ending.wait(0.01):
            plain.sendall(b"?")
        if self.certificate is None:
            self._read(plain)
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        with context.wrap_socket(plain, server_side=True) as secured:
            self._read(secured)
            if not self.walks_off:
                secured.unwrap()

    def _read(self, connection: socket.socket) -> None:
        while piece := connection.recv(65536):
            self.received.append(piece)


def certificate_in(folder: Path) -> Path:
    """A certificate for this machine with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    since = datetime.now(UTC) - timedelta(hours=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(since + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path
