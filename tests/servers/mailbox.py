"""A small real mail server: it speaks enough SMTP to be sent to, with STARTTLS and a user where a test asks for them."""

from __future__ import annotations

import base64
import datetime
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Mailbox:
    """`answers` maps the beginning of a command to what is said instead of yes; `hang` holds every answer back until it is set."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    logged_in: list[str] = field(default_factory=list)
    over_tls: list[bool] = field(default_factory=list)
    context: ssl.SSLContext | None = None
    hang: threading.Event | None = None

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}?starttls=no"


class _Talk(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        box: Mailbox = self.server.box  # type: ignore[attr-defined]  # set where the server is made
        self.tls = False
        self.stream = self.request.makefile("rwb")
        try:
            self._say("220 mailbox")
            while line := self.stream.readline():
                if box.hang is not None:
                    box.hang.wait(60)
                if not self._answer(box, line.decode().strip()):
                    return
        except OSError:
            return
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        for one in (self.stream, self.request):
            with suppress(OSError):
                one.close()

    def _say(self, *lines: str) -> None:
        for line in lines:
            self.stream.write(f"{line}\r\n".encode())
        self.stream.flush()

    def _answer(self, box: Mailbox, line: str) -> bool:
        word = line.split(" ", maxsplit=1)[0].upper()
        said = next((answer for begins, answer in box.answers.items() if line.upper().startswith(begins)), None)
        if said is not None:
            self._say(said)
        elif word == "EHLO":
            offers = ["STARTTLS"] if box.context is not None and not self.tls else []
            offers += ["AUTH PLAIN"] if box.users and (self.tls or box.context is None) else []
            names = ["mailbox", *offers]
            self._say(*(f"250{'-' if number < len(names) - 1 else ' '}{name}" for number, name in enumerate(names)))
        elif word == "STARTTLS" and box.context is not None:
            self._say("220 go")
            self.stream.close()
            self.request = box.context.wrap_socket(self.request, server_side=True)
            self.stream, self.tls = self.request.makefile("rwb"), True
        elif word == "AUTH":
            _, user, password = base64.b64decode(line.split(" ")[2]).decode().split("\0")
            good = box.users.get(user) == password
            box.logged_in += [user] if good else []
            self._say("235 welcome" if good else "535 no")
        elif word == "RCPT":
            box.recipients.append(line.partition("<")[2].partition(">")[0])
            self._say("250 ok")
        elif word == "DATA":
            self._say("354 go on")
            self._take(box)
        else:
            self._say("221 bye" if word == "QUIT" else "250 ok")
        return word != "QUIT"

    def _take(self, box: Mailbox) -> None:
        content = b""
        while (line := self.stream.readline()) not in (b".\r\n", b""):
            content += line.removeprefix(b".")
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        box.mails.append(mail)
        box.over_tls.append(self.tls)
        self._say("250 taken")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, box: Mailbox) -> None:
        self.box = box
        super().__init__(("127.0.0.1", 0), _Talk)


@contextmanager
def open_mailbox(*, context: ssl.SSLContext | None = None) -> Iterator[Mailbox]:
    """A mail server on a port of its own until the end of the block."""
    box = Mailbox(context=context)
    server = _Server(box)
    box.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield box
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def certificate(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A certificate for 127.0.0.1 that nobody knows: the server's side of it, and the file of whoever is to trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mailbox")])
    at = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(at - datetime.timedelta(days=1)).not_valid_after(at + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    public, private = folder / "mailbox.pem", folder / "mailbox.key"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, str(public)
