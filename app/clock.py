"""Instants: aware, in UTC, to the microsecond, and handed in wherever a decision depends on them."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def now() -> datetime:
    """The present instant, aware and in UTC."""
    return datetime.now(UTC)


def iso(instant: datetime | None) -> str | None:
    """ISO 8601 with zone, to the millisecond, as every page, receipt and SCIM `meta` shows it."""
    if instant is None:
        return None
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_instant(text: str) -> datetime:
    """An ISO 8601 instant with zone. Raises ValueError when the text has no zone: a guess would be an hour wrong."""
    instant = datetime.fromisoformat(text.strip())
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write it like 2026-11-30T17:00:00+01:00")
    return instant.astimezone(UTC)
