"""CSV and JSON: people and groups from a file, or from an address that answers with one.

For the directory that has no interface of its own but can write a list. A file says who is in it now and nothing of what changed, so
the cursor is its digest: the same file again has no news, any other one has to be read whole.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from connectors.contract import Misconfigured, Unauthorised, Unreachable
from connectors.source_contract import (
    Change,
    Cursor,
    CursorLost,
    Incomplete,
    SourceCheck,
    SourceGroup,
    SourceKey,
    SourcePerson,
    SourceSettings,
)
from connectors.sources.file_people import FROM, Dates, People
from connectors.sources.file_tables import Listing, read_csv, read_json
from connectors.sources.source_steps import take
from connectors.sources.vendor_options import Options
from connectors.visits import Visitor

LARGEST: Final = 256 * 1024 * 1024

_OPTIONS: Final = ("format", "encoding", "delimiter", "between", "zone", "manager_by", "timeout", "allow_private", *FROM)


class Files:
    """A Source. Opened without reading anything. Raises Misconfigured for settings that cannot be right.

    The URL is `file:///folder/people.csv`, a path, or `https://…`; there the secret, where there is one, is sent as a bearer token.
    """

    def __init__(self, settings: SourceSettings) -> None:
        self._name = settings.name
        options = Options(settings, _OPTIONS)
        private = options.flag("allow_private")
        self._url = settings.url.strip()
        scheme = urlsplit(self._url).scheme
        if scheme in ("http", "https"):
            # Exports are often addressed by a query, so the address is taken as it is.
            Visitor(name=settings.name, allow_private=private).check(self._url)
            self._path = None
        elif scheme in ("file", "") and self._url:
            self._path = Path(unquote(urlsplit(self._url).path) if scheme else self._url)
        else:
            raise Misconfigured(f"{settings.name}: the address is file:///folder/people.csv, a path or https://…")
        self._secret = settings.secret
        seconds = float(options.number("timeout", otherwise=60, most=600))
        self._visitor = Visitor(name=settings.name, allow_private=private, largest=LARGEST, total_seconds=seconds)
        suffix = Path(urlsplit(self._url).path).suffix.lower().lstrip(".")
        self._format = options.one_of("format", ("csv", "json"), otherwise=suffix if suffix in ("csv", "json") else "csv")
        self._encoding = options.one_of("encoding", ("utf-8", "utf-16", "cp1252", "iso-8859-1"), otherwise="utf-8")
        self._delimiter = options.text("delimiter").replace("tab", "\t").replace("\\t", "\t")
        if len(self._delimiter) > 1:
            raise Misconfigured(f"{settings.name}: delimiter is one character, or the word tab")
        try:
            zone = ZoneInfo(options.text("zone", "UTC"))
        except (KeyError, ValueError, OSError) as error:
            raise Misconfigured(f"{settings.name}: zone is a name such as Europe/Berlin") from error
        self._people = People(
            name=settings.name,
            columns={field: options.text(field, column) for field, column in FROM.items()},
            between=options.text("between", ";"),
            manager_by=options.one_of("manager_by", ("key", "user_name", "employee_number"), otherwise="key"),
            dates=Dates(zone=zone),
        )
        self._fingerprint = options.fingerprint(without=("timeout",))
        self._reached: Cursor | None = None

    @property
    def name(self) -> str:
        return self._name

    def check(self) -> SourceCheck:
        found: dict[str, int] = {}
        content = b""

        def connect() -> str:
            nonlocal content
            content = self._content()
            return f"{len(content)} bytes"

        def bind() -> str:
            return "nobody to sign in to" if self._path or not self._secret.reveal() else "the token is accepted"

        def search() -> str:
            first = next(iter(self._listing(content).people), None)
            if first is None:
                return f"{self._format}; nobody is in it"
            person = self._people.person(first)
            return f"{self._format}; for example {person.user_name}, {'on' if person.active else 'off'}, with id {person.key}"

        def count() -> str:
            listing = self._listing(content)
            found["people"] = sum(1 for _ in self._people.everybody(listing))
            found["groups"] = sum(1 for _ in self._people.groups(listing))
            return f"{found['people']} people, {found['groups']} groups; each row can be read"

        steps = take(connect, bind, search, count)
        cost = (
            "every pull reads the whole file, and nothing more where it is the same as before; it lags as far behind as whoever writes it"
        )
        return SourceCheck(
            steps=steps, people=found.get("people"), groups=found.get("groups"), cost=cost if found.get("groups") is not None else ""
        )

    def list_people(self) -> Iterator[SourcePerson]:
        yield from self._people.everybody(self._listing(self._content()))

    def list_groups(self) -> Iterator[SourceGroup]:
        yield from self._people.groups(self._listing(self._content()))

    def find_person(self, key: SourceKey) -> SourcePerson | None:
        listing = self._listing(self._content())
        if not listing.people:
            # A file that lost its rows knows nobody: that is no word about this one.
            raise Incomplete(f"{self.name}: the file holds nobody at all")
        return next((person for person in self._people.everybody(listing) if person.key == key), None)

    def cursor_now(self) -> Cursor:
        return self._cursor(self._content())

    def changes_since(self, cursor: Cursor) -> Iterator[Change]:
        self._reached = None
        now = self._cursor(self._content())
        if now != cursor:
            raise CursorLost(f"{self.name}: the file is another one than before, and has to be read whole")
        self._reached = now
        yield from ()

    def cursor_reached(self) -> Cursor:
        if self._reached is None:
            raise CursorLost(f"{self.name}: no list of changes was read to its end")
        return self._reached

    def _cursor(self, content: bytes) -> Cursor:
        return Cursor(f"{self._fingerprint}:{hashlib.sha256(content).hexdigest()}")

    def _content(self) -> bytes:
        return self._fetched() if self._path is None else self._read(self._path)

    def _read(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                before = os.fstat(file.fileno())
                content = file.read(LARGEST + 1)
                after = os.fstat(file.fileno())
        except FileNotFoundError as error:
            # Perhaps it is being replaced at this moment; whoever is in it has not left.
            raise Unreachable(f"{self.name}: {path} is not there", sent=False) from error
        except OSError as error:
            raise Misconfigured(f"{self.name}: {path} cannot be read: {error.strerror}") from error
        if len(content) > LARGEST:
            raise Misconfigured(f"{self.name}: {path} is larger than {LARGEST} bytes")
        if not unchanged(before, after, length=len(content)):
            raise Incomplete(f"{self.name}: {path} was written while it was read")
        return content

    def _fetched(self) -> bytes:
        token = self._secret.reveal()
        if token and (not token.isascii() or not token.isprintable()):
            raise Misconfigured(f"{self.name}: the token holds characters that no token has")
        headers: Mapping[str, str] = {"Authorization": f"Bearer {token}"} if token else {}
        reply = self._visitor.get(self._url, headers={"Accept": "text/csv, application/json", **headers})
        if reply.status in (401, 403):
            raise Unauthorised(f"{reply.source}: answered {reply.status}")
        if reply.status != 200:
            raise Misconfigured(f"{reply.source}: answered {reply.status}")
        if reply.content_type.startswith("text/html"):
            raise Misconfigured(f"{reply.source}: answered with a web page; is it a sign-in page?")
        return reply.content

    def _listing(self, content: bytes) -> Listing:
        try:
            text = content.decode("utf-8-sig" if self._encoding == "utf-8" else self._encoding)
        except UnicodeDecodeError as error:
            raise Incomplete(f"{self.name}: the file is not {self._encoding}: byte {error.start}") from None
        if self._format == "json":
            return read_json(text, name=self.name)
        return read_csv(text, name=self.name, delimiter=self._delimiter)


def unchanged(before: os.stat_result, after: os.stat_result, *, length: int) -> bool:
    """Whether nobody wrote into a file while so much of it was read. One that was replaced by another meanwhile was read whole."""
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and length == after.st_size
