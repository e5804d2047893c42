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
from connectors.sources.file_people import FROM, NO_COLUMN, Dates, People, Register
from connectors.sources.file_tables import Listing, columns_of, read_csv, read_json
from connectors.sources.source_steps import take
from connectors.sources.vendor_options import Options
from connectors.visits import Visitor

LARGEST: Final = 256 * 1024 * 1024
PARTS: Final = 3
"""Of a cursor: a digest of the settings, one of the file, and what everybody in it has."""

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
        try:
            address = urlsplit(self._url)
        except ValueError as error:
            raise Misconfigured(f"{settings.name}: the address cannot be read") from error
        scheme, file = address.scheme, unquote(address.path)
        if scheme in ("http", "https"):
            # Exports are often addressed by a query, so the address is taken as it is.
            Visitor(name=settings.name, allow_private=private).check(self._url)
            self._path = None
        elif scheme in ("file", "") and self._url and "\0" not in file:
            self._path = Path(file if scheme else self._url)
        else:
            raise Misconfigured(f"{settings.name}: the address is file:///folder/people.csv, a path or https://…")
        self._secret = settings.secret
        seconds = float(options.number("timeout", otherwise=60, most=600))
        self._visitor = Visitor(name=settings.name, allow_private=private, largest=LARGEST, total_seconds=seconds)
        suffix = Path(address.path).suffix.lower().lstrip(".")
        self._format = options.one_of("format", ("csv", "json"), otherwise=suffix if suffix in ("csv", "json") else "csv")
        self._encoding = options.one_of("encoding", ("utf-8", "utf-16", "cp1252", "iso-8859-1"), otherwise="utf-8")
        self._delimiter = options.text("delimiter").replace("tab", "\t").replace("\\t", "\t")
        if len(self._delimiter) > 1:
            raise Misconfigured(f"{settings.name}: delimiter is one character, or the word tab")
        try:
            zone = ZoneInfo(options.text("zone", "UTC"))
        except (KeyError, ValueError, OSError) as error:
            raise Misconfigured(f"{settings.name}: zone is a name such as Europe/Berlin") from error
        if options.text("key") == NO_COLUMN:
            raise Misconfigured(f"{settings.name}: key is a column: nobody can be told from others without it")
        self._people = People(
            name=settings.name,
            columns={field: options.text(field, column) for field, column in FROM.items()},
            between=options.text("between", ";"),
            manager_by=options.one_of("manager_by", ("key", "user_name", "employee_number"), otherwise="key"),
            dates=Dates(zone=zone),
        )
        self._fingerprint = options.fingerprint(without=("timeout",))
        self._reached: Cursor | None = None
        self._expected: frozenset[str] = frozenset()
        self._looked_up: tuple[bytes, Register] | None = None

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
        return self._people.find(self._register(self._content()), key)

    def _register(self, content: bytes) -> Register:
        """Many are asked for one after the other; the file is taken apart again only where it is another one than for the last of them."""
        digest = hashlib.sha256(content).digest()
        if self._looked_up is None or self._looked_up[0] != digest:
            self._looked_up = None
            listing = self._listing(content)
            if not listing.people:
                # A file that lost its rows knows nobody: that is no word about this one.
                raise Incomplete(f"{self.name}: the file holds nobody at all")
            self._looked_up = digest, self._people.register(listing)
        return self._looked_up[1]

    def cursor_now(self) -> Cursor:
        return self._cursor(self._content())

    def changes_since(self, cursor: Cursor) -> Iterator[Change]:
        self._reached = None
        # Of an older cursor without columns the file is read once more, so that they are known.
        if len(parts := _parts_of(cursor)) != PARTS or parts[:2] != self._parts(self._content()):
            raise CursorLost(f"{self.name}: the file is another one than before, and has to be read whole")
        self._reached = cursor
        yield from ()

    def expect(self, cursor: Cursor) -> None:
        # Also of one that was made under other settings: what these say of a column is asked for by itself.
        parts = _parts_of(cursor)
        self._expected = frozenset(parts[2].split(",")) if len(parts) == PARTS else frozenset()
        self._looked_up = None

    def cursor_reached(self) -> Cursor:
        if self._reached is None:
            raise CursorLost(f"{self.name}: no list of changes was read to its end")
        return self._reached

    def _cursor(self, content: bytes) -> Cursor:
        return Cursor(":".join([*self._parts(content), ",".join(sorted(self._fields(content)))]))

    def _parts(self, content: bytes) -> list[str]:
        return [self._fingerprint, hashlib.sha256(content).hexdigest()]

    def _fields(self, content: bytes) -> frozenset[str]:
        """What everybody in it has, be it empty."""
        if self._format == "csv":
            columns = columns_of(self._text(content), self._people.headings, name=self.name, delimiter=self._delimiter)
        else:
            people = read_json(self._text(content), self._people.headings, name=self.name).people
            columns = frozenset.intersection(*(frozenset(entry.values) for entry in people)) if people else frozenset()
        return self._people.fields_in(columns)

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
        text, headings = self._text(content), self._people.headings
        if self._format == "json":
            listing = read_json(text, headings, name=self.name)
        else:
            listing = read_csv(text, headings, name=self.name, delimiter=self._delimiter)
        self._people.require(listing, self._expected)
        return listing

    def _text(self, content: bytes) -> str:
        try:
            return content.decode("utf-8-sig" if self._encoding == "utf-8" else self._encoding)
        except UnicodeDecodeError as error:
            raise Incomplete(f"{self.name}: the file is not {self._encoding}: byte {error.start}") from None


def _parts_of(cursor: Cursor) -> list[str]:
    return cursor.split(":")


def unchanged(before: os.stat_result, after: os.stat_result, *, length: int) -> bool:
    """Whether nobody wrote into a file while so much of it was read. One that was replaced by another meanwhile was read whole."""
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and length == after.st_size
