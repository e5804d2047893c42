"""From a day or a time on somebody's wall to an instant: zones, daylight saving, days that do not exist. Pure.

Whatever ends, ends at the first instant that it can mean; whatever begins, begins at the last.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 9000
"""No working life reaches beyond; calendars of Python end in 9999, and zones would step over that."""
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


class NoSuchDay(ValueError):
    """The message says what was given and what it should be."""


def read_day(text: str) -> date:
    """A date such as 2028-02-29. Raises NoSuchDay, also for one that no calendar has."""
    try:
        # Python reads weeks and dates without dashes as well, which nobody means here.
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None or not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise NoSuchDay(f"{text!r} is no day; write it like 2028-02-29")
    return day


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name. Raises NoSuchDay."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise NoSuchDay(f"a time zone is a name such as Europe/Berlin, not {name!r}") from error


def start_of(day: date, zone: ZoneInfo) -> datetime:
    """When a day begins there. Where its midnight is skipped, or the whole day, that is when the clock goes on behind it."""
    # Of a local time that does not exist, the offset before the gap gives the very instant of the change (PEP 495).
    return datetime.combine(day, time(), zone).astimezone(UTC)


def end_of(day: date, zone: ZoneInfo) -> datetime:
    """When a day is over there: where the next begins, whatever daylight saving does in between."""
    return start_of(day + timedelta(days=1), zone)


def read_end(text: str, zone: ZoneInfo) -> datetime:
    """When something ends: the end of a day, a local time there, or an instant with its zone. Raises NoSuchDay."""
    local = _read(text)
    return end_of(local, zone) if not isinstance(local, datetime) else min(_meanings(local, zone))


def read_beginning(text: str, zone: ZoneInfo) -> datetime:
    """When something begins: the start of a day, a local time there, or an instant with its zone. Raises NoSuchDay."""
    local = _read(text)
    return start_of(local, zone) if not isinstance(local, datetime) else max(_meanings(local, zone))


def _read(text: str) -> date | datetime:
    if "T" not in text:
        return read_day(text)
    try:
        time_of_day = datetime.fromisoformat(text)
    except ValueError:
        time_of_day = None
    if time_of_day is None or not FIRST_YEAR <= time_of_day.year <= LAST_YEAR:
        raise NoSuchDay(f"{text!r} is neither a day such as 2028-02-29 nor a time such as 2028-02-29T17:00")
    return time_of_day


def _meanings(local: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Two instants around a change of the clock, else one. A time that is skipped means the moments before and behind it."""
    if local.tzinfo is not None:
        return (at := local.astimezone(UTC)), at
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first, second
