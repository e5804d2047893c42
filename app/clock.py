"""Instants: aware, in UTC, to the microsecond, and handed in wherever a decision depends on them."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

Clock = Callable[[], datetime]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

SET_BACK_FROM = timedelta(seconds=1)
"""A clock that goes back by less only wavers, as that of a virtual machine does whose cores disagree by milliseconds."""


class _Forward:
    """Reads the system's clock; what a process does later has a later instant."""

    def __init__(self) -> None:
        self._latest = _EPOCH
        self._one_at_a_time = threading.Lock()

    def read(self) -> datetime:
        with self._one_at_a_time:
            read = datetime.now(UTC)
            if timedelta(0) <= self._latest - read < SET_BACK_FROM:
                read = self._latest + _MICROSECOND
            self._latest = read
            return read


_forward = _Forward()


def now() -> datetime:
    """The present instant, aware and in UTC.

    Within a process always later than the last one, so that who returns and signs in at once did so after leaving, unless the clock
    was set back (`SET_BACK_FROM`): then as it shows, since deadlines may not wait until it has caught up.
    """
    return _forward.read()


def iso(instant: datetime | None) -> str | None:
    """ISO 8601 with zone, to the millisecond, as every page, receipt and SCIM `meta` shows it."""
    if instant is None:
        return None
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def microseconds(instant: datetime) -> int:
    """An instant as it is stored."""
    return (instant - _EPOCH) // _MICROSECOND


def stored_instant(microseconds: int) -> datetime:
    """The instant that is stored so. Raises OverflowError beyond the years 1 to 9999."""
    return _EPOCH + timedelta(microseconds=microseconds)


def iso_of(microseconds: int) -> str:
    """`iso` of an instant as it is stored."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_second(seconds)}.{rest // 1000:03}Z"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def parse_instant(text: str) -> datetime:
    """An ISO 8601 instant with zone. Raises ValueError when the text has no zone: a guess would be an hour wrong.

    So it does where the instant is in no year from 1 to 9999 in UTC.
    """
    instant = datetime.fromisoformat(text.strip())
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write it like 2026-11-30T17:00:00+01:00")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is beyond the years that a calendar has") from None
