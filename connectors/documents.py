"""JSON from the other side, read field by field; and how long it asks us to wait."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from connectors.contract import Unreachable

T = TypeVar("T")

LONGEST_WAIT = 3600.0
DEFAULT_WAIT = 1.0


class Document:
    """A JSON object from the other side, read field by field.

    An absent or null field reads as empty; one of another type means that something else answered, which is
    `Unreachable` and not an empty value: nobody may seem to be gone because of a garbled answer.
    """

    def __init__(self, fields: Mapping[str, object], *, source: str) -> None:
        self._fields = fields
        self._source = source

    def has(self, key: str) -> bool:
        return self._fields.get(key) is not None

    def keys(self) -> frozenset[str]:
        return frozenset(self._fields)

    def plain(self) -> dict[str, object]:
        return dict(self._fields)

    def text(self, key: str) -> str:
        return self._read(key, str, "")

    def flag(self, key: str) -> bool:
        # SQLite lets some servers show booleans as 0 and 1.
        value = self._fields.get(key)
        return bool(value) if value in (0, 1) else self._read(key, bool, False)

    def number(self, key: str, otherwise: int = 0) -> int:
        return self._read(key, int, otherwise)

    def part(self, key: str) -> Document:
        return Document(self._read(key, dict, {}), source=self._source)

    def parts(self, key: str) -> Iterator[Document]:
        for item in self._read(key, list, []):
            if not isinstance(item, dict):
                raise self._garbled(key)
            yield Document(item, source=self._source)

    def texts(self, key: str) -> tuple[str, ...]:
        items = self._read(key, list, [])
        if not all(isinstance(item, str) for item in items):
            raise self._garbled(key)
        return tuple(items)

    def _read(self, key: str, kind: type[T], otherwise: T) -> T:
        value = self._fields.get(key)
        if value is None:
            return otherwise
        if not isinstance(value, kind):
            raise self._garbled(key)
        return value

    def _garbled(self, key: str) -> Unreachable:
        return Unreachable(f"{self._source}: the answer's field {key!r} is not what it should be", sent=True)


def parsed(content: bytes, *, source: str) -> Document | None:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return Document(fields, source=source) if isinstance(fields, dict) else None


def wait_of(header: str | None, document: Document | None) -> float:
    """Seconds from Retry-After (a number or a date) or from Matrix' `retry_after_ms`."""
    seconds: float | None = None
    if header is not None:
        try:
            seconds = float(header)
        except ValueError:
            try:
                seconds = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
            except (ValueError, TypeError, OverflowError):
                seconds = None
    if seconds is None and document is not None:
        said = document.plain().get("retry_after_ms")
        # Cut before it is divided: JSON has numbers that no float holds.
        seconds = min(max(said, 0), LONGEST_WAIT * 1000) / 1000 if isinstance(said, int | float) else None
    if seconds is None or seconds != seconds:  # the second is true for NaN alone
        return DEFAULT_WAIT
    return min(max(seconds, 0.0), LONGEST_WAIT)
