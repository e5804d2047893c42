"""The API of an HR system, asked as its description says: for one person, for everybody, and to give back what a handshake brought."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit

from app.access.sealing import unseal
from app.intake.description_types import Credential, Description, Question, TokenAddress
from app.intake.hr import BadCall
from app.intake.hr_tables import HRSystem
from app.intake.places import text_at, value_at
from app.json_text import UnreadableJSON, read_json
from app.settings import Settings
from connectors.addresses import server_of
from connectors.client_credentials import BySecret, BySecretInHeader, ClientCredentials
from connectors.contract import Misconfigured, Refused, Secret, Unauthorised, Unreachable
from connectors.http import TOTAL_SECONDS, Wire
from connectors.visits import Reply, Visitor

MOST_PAGES: Final = 2000
LARGEST: Final = 32 * 1024 * 1024
_VARIABLE = re.compile(r"\{([A-Za-z0-9_.]+)\}")


@lru_cache(maxsize=1000)
def client_of(where: TokenAddress, credential: str, *, name: str, allow_private: bool) -> ClientCredentials:
    """The OAuth client that a credential `id:secret` stands for, with its token of now; the same one for the same. Raises Misconfigured."""
    identity, _, secret = credential.partition(":")
    proof = (BySecret if where.in_body else BySecretInHeader)(secret=Secret(secret), name=name)
    return ClientCredentials(
        name=name, endpoint=where.url, client_id=identity, scope=where.scope or "", proof=proof, seconds=TOTAL_SECONDS,
        wire=Wire(outside=True, allow_private=allow_private),
    )  # fmt: skip


class NotConnected(Exception):
    """The vendor's API cannot be asked as things are set up; the message says what is missing."""


class VendorAPI:
    """Speaks with one vendor's API for one source."""

    def __init__(self, settings: Settings, system: HRSystem, description: Description, *, name: str) -> None:
        if description.api is None or system.sealed_credential is None:
            missing = "a credential" if description.api is not None else "'api' in the description"
            raise NotConnected(f"the API of {description.vendor} cannot be asked: {missing} is missing (doorlist hr set)")
        self.description, self._api = description, description.api
        self._variables: Mapping[str, str] = {str(key): str(value) for key, value in system.variables.items()}
        self._credential = unseal(settings, system.sealed_credential)
        if not self._credential.isprintable() or not self._credential.isascii():
            raise NotConnected(f"the credential for {description.vendor} holds characters that none has")
        if description.api.token is not None and not all(self._credential.partition(":")):
            raise NotConnected(f"the credential for {description.vendor} is the id and the secret of a client, as id:secret")
        self._allow_private = system.allow_private
        self._visitor = Visitor(name=name, allow_private=system.allow_private, largest=LARGEST)
        # A variable may be part of the host: `check_variables` lets no character pass that would lead elsewhere.
        self._url = _VARIABLE.sub(lambda found: self._variable(found[1]), self._api.url)

    def one(self, key: str) -> dict[str, Any] | None:
        """The record of one person; None where the API says that there is none. Raises ConnectorError."""
        question = self.description.details
        assert question is not None and self.description.record is not None
        reply = self._ask(self._url + self._filled(question.path, {"key": key}), _with_key(question.send, key))
        if reply.status in (404, 410):
            return None
        found = self._place(question, self._read(reply))
        if isinstance(found, list):
            found = next((row for row in found if text_at(row, self.description.record.key) == key), None)
        if found is None:
            return None
        if not isinstance(found, dict) or text_at(found, self.description.record.key) != key:
            # An answer about somebody else must confirm nothing.
            raise Unreachable(f"{reply.source}: the answer is not about the person who was asked for", sent=True)
        return found

    def everybody(self) -> Iterator[dict[str, Any]]:
        """Every record of the poll, page by page. Raises ConnectorError where it cannot finish."""
        question = self.description.poll
        assert question is not None
        start = address = self._url + self._filled(question.path, {})
        seen = 0
        for number in range(question.first, question.first + MOST_PAGES):
            reply = self._ask(_turned(address, question, number, seen), question.send)
            document = self._read(reply)
            rows = self._place(question, document)
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise Unreachable(f"{reply.source}: the answer has no list of records at {question.place or 'its top'!r}", sent=True)
            yield from rows
            seen += len(rows)
            following = text_at(document, question.next) if question.next else None
            if following and question.cursor is not None:
                address = _and(start, question.cursor, following)
            elif following:
                address = self._at_home(address, following)
            elif (question.page is None and question.offset is None) or not rows:
                return
        raise Unreachable(f"{self.description.vendor}: the list does not end", sent=True)

    def give_back(self, document: Mapping[str, Any]) -> None:
        """Show the vendor what its handshake brought: only what it takes back is its own. Raises ConnectorError."""
        handshake = self.description.handshake
        assert handshake is not None
        fields = {name: text_at(document, name) or "" for name in _VARIABLE.findall(handshake.put)}
        send = {name: text_at(document, place) for name, place in handshake.send.items()}
        reply = self._visitor.put(self._url + self._filled(handshake.put, fields), json.dumps(send), headers=self._headers(body=True))
        if reply.status >= 400:
            raise Refused(f"{reply.source}: answered {reply.status}: this handshake is not of {self.description.vendor}")

    def _ask(self, url: str, send: Mapping[str, object] | None) -> Reply:
        if send is None:
            reply = self._visitor.get(url, headers=self._headers(body=False))
        else:
            reply = self._visitor.post(url, json.dumps(send), headers=self._headers(body=True))
        if reply.status == 401 and self._api.token is not None:
            # It may have been taken back before its time: the next time another is fetched.
            self._client().renew()
        if reply.status in (401, 403):
            raise Unauthorised(f"{reply.source}: answered {reply.status}: our credential is not taken there")
        if reply.status >= 400 and reply.status not in (404, 410):
            raise Refused(f"{reply.source}: answered {reply.status}")
        return reply

    def _read(self, reply: Reply) -> Any:
        if reply.status in (404, 410):
            raise Refused(f"{reply.source}: answered {reply.status}: is the address in the description right?")
        try:
            return read_json(reply.content)
        except UnreadableJSON as error:
            raise Unreachable(f"{reply.source}: answered {reply.status} with something that is not JSON", sent=True) from error

    def _place(self, question: Question, document: Any) -> Any:
        return value_at(document, question.place)

    def _headers(self, *, body: bool) -> dict[str, str]:
        return {
            **self._shown(), "Accept": "application/json", **self._api.headers, **({"Content-Type": "application/json"} if body else {}),
        }  # fmt: skip

    def _shown(self) -> dict[str, str]:
        """Our credential, in its header."""
        shown = self._credential
        match self._api.credential:
            case Credential.HEADER:
                assert self._api.header is not None
                return {self._api.header: shown}
            case Credential.OAUTH:
                return {"Authorization": self._client().header()}
            case Credential.BEARER:
                return {"Authorization": f"Bearer {shown}"}
        whole = shown if self._api.credential is Credential.BASIC else f"{shown}:x"
        return {"Authorization": f"Basic {base64.b64encode(whole.encode()).decode()}"}

    def _client(self) -> ClientCredentials:
        where = self._api.token
        assert where is not None
        url = self._visitor.check(_VARIABLE.sub(lambda found: self._variable(found[1]), where.url))
        return client_of(replace(where, url=url), self._credential, name=self._visitor.name, allow_private=self._allow_private)

    def _filled(self, template: str, fields: Mapping[str, str]) -> str:
        return _VARIABLE.sub(lambda found: quote(fields[found[1]] if found[1] in fields else self._variable(found[1]), safe=""), template)

    def _variable(self, name: str) -> str:
        if name not in self._variables:
            raise NotConnected(
                f"the API of {self.description.vendor} cannot be asked: {name} is missing (doorlist hr set NAME --set {name}=…)"
            )
        return self._variables[name]

    def _at_home(self, address: str, following: str) -> str:
        """Where a link on a page leads. Our credential goes to the API's own address alone, whatever an answer says."""
        here = urlsplit(self._url)
        try:
            found = urljoin(address, following)
            there = urlsplit(found)
        except ValueError as error:
            raise Misconfigured(f"{self.description.vendor}: what is said to be the next page of the list is no address") from error
        if (here.scheme, here.netloc) != (there.scheme, there.netloc):
            raise Misconfigured(f"{self.description.vendor}: a page of the list is said to be elsewhere, which is not followed")
        return found


def _turned(address: str, question: Question, number: int, seen: int) -> str:
    """The address of a page: by its number, or by how many records came before it."""
    if question.page is not None:
        return _and(address, question.page, str(number))
    return _and(address, question.offset, str(seen)) if question.offset is not None else address


def _and(address: str, name: str, value: str) -> str:
    return f"{address}{'&' if '?' in address else '?'}{quote(name, safe='')}={quote(value, safe='')}"


def _with_key(send: Any, key: str) -> Any:
    """What is sent, with the person who is asked for in the place of {key}."""
    if isinstance(send, str):
        return send.replace("{key}", key)
    if isinstance(send, Mapping):
        return {name: _with_key(value, key) for name, value in send.items()}
    return [_with_key(value, key) for value in send] if isinstance(send, list) else send


def _names_in(description: Description) -> frozenset[str]:
    """What has to be filled in before the API can be asked."""
    addresses = [question.path for question in (description.details, description.poll) if question is not None]
    return frozenset(name for address in [*addresses, *_at_servers(description)] for name in _VARIABLE.findall(address)) - {"key"}


def servers_of(description: Description, variables: Mapping[str, str]) -> frozenset[object]:
    """The servers to which our credential for a system is shown."""
    filled = (_VARIABLE.sub(lambda found: str(variables.get(found[1], found[0])), address) for address in _at_servers(description))
    return frozenset(server_of(address) for address in filled)


def _at_servers(description: Description) -> list[str]:
    api = description.api
    return [] if api is None else [api.url] if api.token is None else [api.url, api.token.url]


def check_variables(variables: Mapping[str, str], description: Description) -> None:
    """Refuse what could lead to another host, and a name that no address of the description has. Raises BadCall."""
    known = _names_in(description)
    for name, value in variables.items():
        if name not in known:
            there = f"there {'is' if len(known) == 1 else 'are'} {', '.join(sorted(known))}" if known else "there is nothing to be filled in"
            raise BadCall(f"no address of {description.vendor} has {{{name}}} in it; {there}")
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}", value, re.ASCII) is None:
            raise BadCall(f"{name} must be made of letters, digits, '.', '_' and '-'")
