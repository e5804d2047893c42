"""The wire to an LDAP server (RFC 4511): the only module that knows ldap3, which has no types.

What is always so: certificates and host names are verified, referrals are not followed (ldap3 would bind there with our
password), aliases are not dereferenced, lists come in pages, an empty password is never sent (RFC 4513 §5.1.2: a server takes
it for an anonymous bind and says *success*). Errors are translated here, once.
"""

from __future__ import annotations

import ssl
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from connectors.certificates import unreadable, verifying
from connectors.contract import Misconfigured, Secret, Unauthorised, Unreachable
from connectors.sources.ldap_errors import (
    AD_REASONS,
    ADMINISTRATIVE_LIMIT,
    INSUFFICIENT_RIGHTS,
    INVALID_NAME,
    NO_SUCH_OBJECT,
    NOT_SO,
    REFERRAL,
    meaning_of,
)
from connectors.sources.ldap_library import BROKEN, LDAPInvalidFilterError, ldap3

PAGED_RESULTS = "1.2.840.113556.1.4.319"
SEARCH_RESULT_ENTRY = 4
CONNECT_TIMEOUT = 10
# What OpenSSL says of an answer that is no TLS, or of none; and ldap3 of a name that is not resolved.
_NO_TLS = ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING")
_NO_ADDRESS = "invalid server address"

Control = tuple[str, bool, bytes | None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as the server has it. Names of attributes are in lower case, values are bytes."""

    dn: str
    values: Mapping[str, list[bytes]]
    controls: Mapping[str, bytes] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """The first value, or nothing. A NUL, which no database will have, is shown as what it is: something unreadable."""
        found = self.values.get(name)
        return readable(found[0]) if found else ""

    def texts(self, name: str) -> list[str]:
        return [readable(value) for value in self.values.get(name, ())]

    def number(self, name: str) -> int | None:
        text = self.text(name)
        try:
            return int(text) if text else None
        except ValueError:
            return None


def readable(value: bytes) -> str:
    text = value.decode("utf-8", errors="replace").strip()
    # Not dropped: `ada` and `ada` with a NUL behind it must not become one name.
    return text.replace("\0", "�") if "\0" in text else text


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one search brought. `told` are intermediate responses in order (RFC 4511 §3.13), `controls` those of the end."""

    entries: list[Entry]
    told: list[bytes]
    controls: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the server is, and as whom."""

    name: str
    host: str
    port: int
    tls: bool
    start_tls: bool
    ca_file: str | None
    bind_dn: str
    password: Secret
    timeout: int = 30
    page_size: int = 500


class Wire:
    """One connection; `with Wire(place) as wire` opens and binds it, and closes it again. Not for several threads."""

    def __init__(self, place: Place) -> None:
        self.name = place.name
        self._place = place
        self._connection: Any = None

    def __enter__(self) -> Wire:
        self.open()
        try:
            self.bind()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Connects, and encrypts. Raises Misconfigured for a certificate that is not accepted."""
        place = self._place
        self._connection = None
        try:
            server = ldap3.Server(
                place.host, port=place.port, use_ssl=place.tls, get_info=ldap3.NONE,
                tls=_VerifiedTLS(place.ca_file), connect_timeout=CONNECT_TIMEOUT,
            )  # fmt: skip
            connection: Any = ldap3.Connection(
                server,
                user=place.bind_dn,
                password=place.password.reveal(),
                auto_bind=ldap3.AUTO_BIND_NONE,
                auto_referrals=False,
                auto_range=False,
                check_names=False,
                return_empty_attributes=False,
                read_only=True,
                receive_timeout=place.timeout,
            )
            connection.strategy.decode_response_fast = _Lean(connection.strategy.decode_response_fast)
            self._connection = connection
            connection.open(read_server_info=False)
            if place.start_tls:
                # A server that has no StartTLS is refused, whoever took it away: the password must not go out in the clear.
                connection.start_tls(read_server_info=False)
        except BROKEN as error:
            self.close()
            raise self._no_connection(error) from None

    def bind(self) -> None:
        place = self._place
        if not place.bind_dn or not place.password.reveal().strip():
            raise Unauthorised(f"{self.name}: a bind DN and a password that is not empty are needed; nothing was sent")
        try:
            accepted = self._connection.bind(read_server_info=False)
        except BROKEN as error:
            raise self._broken("bind", error) from None
        if not accepted:
            result = self._connection.result
            code, said = int(result["result"]), str(result["message"])
            reason = next((text for sign, text in AD_REASONS.items() if f"data {sign}" in said), str(result["description"]))
            raise meaning_of(code, f"{self.name}: bind as {place.bind_dn}: {reason}", binding=True)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # It may be gone already. ldap3 leaves open what it could not connect.
            left = connection.socket
            with suppress(*BROKEN):
                connection.unbind()
            if left is not None:
                left.close()

    def root(self, attributes: Iterable[str]) -> Entry:
        """The server's word about itself (RFC 4512 §5.1)."""
        return self.read("", attributes) or Entry("", {})

    def read(self, dn: str, attributes: Iterable[str], filter: str = "(objectClass=*)") -> Entry | None:
        """One entry by name; None is the server's *no such object*, or that the filter does not match it."""
        return self._read(dn, attributes, filter, nothing={NO_SUCH_OBJECT})

    def named(self, dn: str, attributes: Iterable[str], filter: str) -> Entry | None:
        """`read` by a name that another entry gives, as its member or manager. It may be one that this server refers elsewhere for, as a
        domain controller does for every other domain, or none at all: whoever that is, it is nobody here."""
        return self._read(dn, attributes, filter, nothing={NO_SUCH_OBJECT, REFERRAL, INVALID_NAME})

    def _read(self, dn: str, attributes: Iterable[str], filter: str, *, nothing: Container[int]) -> Entry | None:
        result, response = self._ask(dn, filter, attributes, scope=ldap3.BASE)
        if result["result"] in nothing:
            return None
        self._require_success(result, f"reading {dn or 'the root'}")
        return next((message["entry"] for message in response if "entry" in message), None)

    def may_compare(self, dn: str, attribute: str, value: str) -> bool:
        """Whether the bind account has the right to compare an attribute of an entry (RFC 4511 §4.10), whether it is there or not."""
        if self._connection is None:
            raise Unreachable(f"{self.name}: the connection was lost", sent=False)
        try:
            self._connection.compare(dn, attribute, value)
        except BROKEN as error:
            raise self._broken(f"comparing {attribute} of {dn}", error) from None
        result = self._connection.result
        if result["result"] != INSUFFICIENT_RIGHTS and result["result"] not in NOT_SO:
            self._require_success(result, f"comparing {attribute} of {dn}")
        return bool(result["result"] != INSUFFICIENT_RIGHTS)

    def search(self, base: str, filter: str, attributes: Iterable[str], *, controls: Iterable[Control] = (), limit: int = 0) -> Answer:
        """One search in one piece. Reaching `limit` is no error."""
        result, response = self._ask(base, filter, attributes, controls=controls, limit=limit)
        if not (limit and result["result"] == 4):
            self._require_success(result, f"searching {base} for {filter}")
        return Answer(
            entries=[message["entry"] for message in response if "entry" in message],
            told=[bytes(message["responseValue"]) for message in response if message["type"] == "intermediateResponse"],
            controls={oid: control["value"] for oid, control in (result.get("controls") or {}).items()},
        )

    def pages(
        self, base: str, filter: str, attributes: Iterable[str], *, controls: Iterable[Control] = (), children: bool = False
    ) -> Iterator[Entry]:
        """Everything that matches, or only what is right below the base. Ending normally says that it was everything (RFC 2696).
        References elsewhere are left out."""
        wanted, given, cookie, size = list(attributes), list(controls), None, self._place.page_size
        scope = ldap3.LEVEL if children else ldap3.SUBTREE
        while True:
            result, response = self._ask(base, filter, wanted, scope=scope, controls=given, page=(size, cookie))
            # OpenLDAP refuses pages that are larger than the account's limit; others make them smaller by themselves.
            pages = f" in pages of {size} (the option page_size)" if result["result"] == ADMINISTRATIVE_LIMIT else ""
            self._require_success(result, f"searching {base} for {filter}{pages}")
            for message in response:
                if "entry" in message:
                    yield message["entry"]
            paging = (result.get("controls") or {}).get(PAGED_RESULTS)
            cookie = paging["value"]["cookie"] if paging else None
            if not cookie:
                return

    def _ask(
        self,
        base: str,
        filter: str,
        attributes: Iterable[str],
        *,
        scope: str = ldap3.SUBTREE,
        controls: Iterable[Control] = (),
        limit: int = 0,
        page: tuple[int, bytes | None] | None = None,
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        if self._connection is None:
            raise Unreachable(f"{self.name}: the connection was lost", sent=False)
        try:
            self._connection.search(
                base,
                filter,
                search_scope=scope,
                dereference_aliases=ldap3.DEREF_NEVER,
                attributes=list(attributes),
                size_limit=limit,
                controls=list(controls) or None,
                paged_size=page[0] if page else None,
                paged_cookie=page[1] if page else None,
                auto_escape=False,
            )
        except LDAPInvalidFilterError:
            raise Misconfigured(f"{self.name}: {filter} is not a filter") from None
        except BROKEN as error:
            raise self._broken(f"searching {base}", error) from None
        return self._connection.result, self._connection.response or []

    def _require_success(self, result: Mapping[str, Any], doing: str) -> None:
        if result["result"] != 0:
            said = " ".join(str(result["message"]).split())[:160]
            detail = f"{result['description']}: {said}" if said else str(result["description"])
            raise meaning_of(int(result["result"]), f"{self.name}: {doing}: {detail}")

    def _no_connection(self, error: Exception) -> Misconfigured | Unreachable:
        where, text = f"{self.name}: {self._place.host}:{self._place.port}", str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
            why = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or "it cannot be verified"
            return Misconfigured(f"{where}: the certificate is not accepted: {why}")
        if "startTLS failed" in text:
            return Misconfigured(f"{where}: the server will not encrypt (StartTLS); nothing was sent")
        if any(sign in text for sign in _NO_TLS):
            return Unreachable(f"{where}: no connection: what answers there did not begin TLS; is it the port for ldaps://?", sent=False)
        if text == _NO_ADDRESS:
            return Unreachable(f"{where}: no connection: no address is known for that name", sent=False)
        if self._place.ca_file is not None and (ours := unreadable(self._place.ca_file)) is not None:
            return Misconfigured(f"{where}: {ours}")
        return Unreachable(f"{where}: no connection: {text[:200]}", sent=False)

    def _broken(self, doing: str, error: Exception) -> Unreachable:
        self.close()
        return Unreachable(f"{self.name}: {doing}: {type(error).__name__}: the connection broke", sent=True)


class _VerifiedTLS(ldap3.Tls):
    """Chain and host name are verified by OpenSSL itself. ldap3's own check leaves out addresses on newer Pythons, and without
    being asked it checks nothing."""

    def __init__(self, ca_file: str | None) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED, ca_certs_file=ca_file)

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        context = verifying(self.ca_certs_file)
        connection.socket = context.wrap_socket(connection.socket, server_hostname=connection.server.host)


class _Lean:
    """Entries as they came. ldap3 would make each value twice, once guessed into text; a long list takes half the time without."""

    def __init__(self, ordinary: Any) -> None:
        self._ordinary = ordinary
        self._names: dict[bytes, str] = {}

    def __call__(self, message: dict[str, Any]) -> dict[str, Any]:
        if message["protocolOp"] != SEARCH_RESULT_ENTRY:
            answer: dict[str, Any] = self._ordinary(message)
            return answer
        dn, attributes = message["payload"]
        controls = {}
        for control in message["controls"] or ():
            parts = control[3]
            controls[bytes(parts[0][3]).decode()] = bytes(next((part[3] for part in parts[1:] if part[2] == 4), b""))
        values = {self._name(attribute[3][0][3]): [value[3] for value in attribute[3][1][3]] for attribute in attributes[3]}
        return {"type": "searchResEntry", "entry": Entry(bytes(dn[3]).decode("utf-8", errors="replace"), values, controls)}

    def _name(self, name: bytes) -> str:
        known = self._names.get(name)
        if known is None:
            known = self._names[name] = name.decode("ascii", errors="replace").lower()
        return known
