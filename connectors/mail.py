"""The only place that speaks to a mail server: one plain message to one address.

The standard library's `smtplib` and `email.message`, with what they leave open closed: the server's certificate is checked,
TLS is demanded, a message ends within half a minute whatever the server does, and errors carry no password.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from ipaddress import ip_address
from typing import NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from connectors.certificates import verifying
from connectors.contract import Misconfigured, Refused, Secret, Unauthorised, Unreachable

TOTAL_SECONDS = 30.0
STEP_SECONDS = 10.0
SUBMISSION = 587
SUBMISSION_OVER_TLS = 465


@dataclass(frozen=True, kw_only=True)
class Mail:
    """`key` is the same however often this message is tried, so that a mailbox can tell a repetition."""

    to: str
    subject: str
    text: str
    key: str


class Mailer:
    """Hands mails to one server. Speaks to nobody before `send`. Raises Misconfigured."""

    def __init__(self, url: str, *, sender: str, ca_file: str | None = None, total_seconds: float = TOTAL_SECONDS) -> None:
        address = urlsplit(url)
        try:
            port = address.port
        except ValueError:
            port = -1
        options = dict(parse_qsl(address.query, keep_blank_values=True))
        # In a password / ? and # end what is read as the server: that would be whoever is named as the user, and its port the beginning of the password.
        behind = address.path.strip("/") or address.fragment or set(options) - {"starttls"}
        if address.scheme not in ("smtp", "smtps") or not address.hostname or port == -1 or behind:
            raise Misconfigured(
                "mail: the address is smtp://user:password@host:587 or smtps://…, and nothing behind it but ?starttls=no; "
                "what is odd in a password is written like %23"
            )
        self._host = address.hostname
        self._implicit = address.scheme == "smtps"
        self._port = port or (SUBMISSION_OVER_TLS if self._implicit else SUBMISSION)
        self._starttls = not self._implicit and options.get("starttls") != "no"
        self._user = unquote(address.username) if address.username else None
        self._password = Secret(unquote(address.password or ""))
        if self._user is not None and not self._implicit and not self._starttls and not _is_this_machine(self._host):
            raise Misconfigured("mail: a password would travel in the clear: leave out ?starttls=no")
        self._sender = _checked(sender)
        self._ca_file = ca_file
        self._total = total_seconds

    @property
    def name(self) -> str:
        """The server, without user and password."""
        return f"{self._host}:{self._port}"

    def send(self, mail: Mail) -> None:
        """Returns once the server has taken it. Raises ConnectorError; after Unreachable it may have been taken all the same."""
        message = self._message(mail)
        try:
            with self._connected() as server:
                server.send_message(message, from_addr=self._sender, to_addrs=[_checked(mail.to)])
        except ssl.SSLError as error:
            raise Misconfigured(f"{self.name}: the server's certificate is not accepted, or it speaks no TLS there") from error
        except smtplib.SMTPNotSupportedError as error:
            raise Misconfigured(f"{self.name}: the server offers no STARTTLS, or takes no user here") from error
        except smtplib.SMTPAuthenticationError as error:
            raise Unauthorised(f"{self.name}: the user or the password is not accepted ({error.smtp_code})") from error
        except smtplib.SMTPRecipientsRefused as error:
            code, words = next(iter(error.recipients.values()))
            self._refused(code, words, error)
        except smtplib.SMTPResponseException as error:
            self._refused(error.smtp_code, error.smtp_error, error)
        except (smtplib.SMTPException, OSError) as error:
            raise Unreachable(f"{self.name}: no answer ({type(error).__name__})", sent=True) from error

    def _refused(self, code: int, words: bytes | str, error: Exception) -> NoReturn:
        said = words.decode("ascii", "replace") if isinstance(words, bytes) else words
        plain = "".join(letter if letter.isprintable() else " " for letter in said)[:200]
        # RFC 5321 §4.2.1: 4yz is "not now", 5yz is "no".
        if code < 500:
            raise Unreachable(f"{self.name}: not now: {code} {plain}", sent=True) from error
        raise Refused(f"{self.name}: {code} {plain}") from error

    def _message(self, mail: Mail) -> EmailMessage:
        message = EmailMessage(policy=SMTP_POLICY)
        try:
            message["From"], message["To"], message["Subject"] = self._sender, _checked(mail.to), mail.subject
            message["Message-ID"] = f"<{mail.key}@{self._sender.rpartition('@')[2]}>"
            # RFC 3834: no out-of-office reply to a machine.
            message["Auto-Submitted"] = "auto-generated"
            message.set_content(mail.text)
        except (ValueError, MessageError) as error:
            raise Refused("mail: the subject or an address holds what no header may hold") from error
        return message

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        context = verifying(self._ca_file)
        # The name that we give ourselves; asking for our own could take the name server's time.
        own = self._sender.rpartition("@")[2]
        if self._implicit:
            server: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, local_hostname=own, timeout=STEP_SECONDS, context=context)
        else:
            server = smtplib.SMTP(self._host, self._port, local_hostname=own, timeout=STEP_SECONDS)
        # `timeout` is per read: a server that sends a line now and then would hold us for ever.
        ending = threading.Timer(self._total, _hang_up, args=[server])
        ending.daemon = True
        ending.start()
        try:
            if self._starttls:
                server.starttls(context=context)
            if self._user is not None:
                server.login(self._user, self._password.reveal())
            yield server
            with suppress(smtplib.SMTPException, OSError):
                server.quit()
        finally:
            ending.cancel()
            server.close()


def check_address(text: str) -> str:
    """One mail address, as it is stored. Raises Misconfigured."""
    return _checked(text)


def _checked(text: str) -> str:
    try:
        address = Address(addr_spec=text)
    except (ValueError, MessageError, IndexError) as error:
        raise Misconfigured(f"mail: {text!r} is no address") from error
    if not text.isascii() or not text.isprintable() or not address.username or not address.domain or address.addr_spec != text:
        raise Misconfigured(f"mail: {text!r} is no address that every server takes")
    return text


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _hang_up(server: smtplib.SMTP) -> None:
    if server.sock is not None:
        with suppress(OSError):
            server.sock.shutdown(socket.SHUT_RDWR)
