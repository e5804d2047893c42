"""From a day on the wall to an instant, where clocks are put forward and back, and where days are missing."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lifecycle.days import NoSuchDay, end_of, read_beginning, read_day, read_end, start_of, zone_of

BERLIN = ZoneInfo("Europe/Berlin")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "zone", "start", "end"),
    [
        ("2026-11-30", "Europe/Berlin", "2026-11-29T23:00", "2026-11-30T23:00"),
        # 23 hours long, and 25.
        ("2026-03-29", "Europe/Berlin", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("2026-10-25", "Europe/Berlin", "2026-10-24T22:00", "2026-10-25T23:00"),
        # Its midnight is skipped: the day begins at one o'clock.
        ("2026-09-06", "America/Santiago", "2026-09-06T04:00", "2026-09-07T03:00"),
        # Its midnight comes twice: the day before ends at the first.
        ("2026-11-01", "America/Havana", "2026-11-01T04:00", "2026-11-02T05:00"),
        # The whole of the 30th was left out: the day before ends where the 31st begins.
        ("2011-12-29", "Pacific/Apia", "2011-12-29T10:00", "2011-12-30T10:00"),
        ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00", "2011-12-31T10:00"),
        ("2028-02-29", "Asia/Kathmandu", "2028-02-28T18:15", "2028-02-29T18:15"),
        ("2028-02-28", "UTC", "2028-02-28T00:00", "2028-02-29T00:00"),
        ("2027-02-28", "UTC", "2027-02-28T00:00", "2027-03-01T00:00"),
    ],
)
def test_a_day_begins_and_ends_as_it_does_there(day: str, zone: str, start: str, end: str) -> None:
    there = zone_of(zone)

    assert (start_of(read_day(day), there), end_of(read_day(day), there)) == (utc(start), utc(end))


def test_a_time_that_comes_twice_ends_at_the_first_and_begins_at_the_second() -> None:
    assert read_end("2026-10-25T02:30", BERLIN) == utc("2026-10-25T00:30")
    assert read_beginning("2026-10-25T02:30", BERLIN) == utc("2026-10-25T01:30")


def test_a_time_that_is_skipped_ends_before_the_gap_and_begins_behind_it() -> None:
    assert read_end("2026-03-29T02:30", BERLIN) == utc("2026-03-29T00:30")
    assert read_beginning("2026-03-29T02:30", BERLIN) == utc("2026-03-29T01:30")


def test_an_instant_with_its_zone_is_that_instant_wherever_it_is_read() -> None:
    for read in (read_beginning, read_end):
        assert read("2026-11-30T17:00:00+01:00", ZoneInfo("Asia/Tokyo")) == utc("2026-11-30T16:00")


def test_a_day_alone_ends_at_its_end_and_begins_at_its_start() -> None:
    assert read_end("2026-11-30", BERLIN) - read_beginning("2026-11-30", BERLIN) == timedelta(days=1)


@pytest.mark.parametrize("text", ["2027-02-29", "2026-13-01", "30.11.2026", "2026-W48-1", "20261130", "", "tomorrow", "0001-01-01", "9999-12-31", "2026-11-30Tnoon"])
def test_what_is_no_day_is_refused_with_what_it_should_be(text: str) -> None:
    with pytest.raises(NoSuchDay, match="2028-02-29"):
        read_end(text, BERLIN)


@pytest.mark.parametrize("name", ["Berlin", "", "../etc/passwd", "Europe/Berlin\0"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(NoSuchDay, match="Europe/Berlin"):
        zone_of(name)


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/Santiago", "America/Havana", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Cairo", "Asia/Beirut"])


@given(day=st.dates(date(1975, 1, 1), date(2060, 1, 1)), zone=ZONES)
def test_one_day_ends_where_the_next_begins(day: date, zone: str) -> None:
    there = ZoneInfo(zone)

    assert end_of(day, there) == start_of(day + timedelta(days=1), there)
    assert start_of(day, there) <= end_of(day, there)


@given(local=st.datetimes(datetime(1975, 1, 1), datetime(2060, 1, 1)), zone=ZONES)
def test_whatever_ends_never_ends_after_it_would_begin(local: datetime, zone: str) -> None:
    text, there = local.isoformat(timespec="minutes"), ZoneInfo(zone)

    assert read_end(text, there) <= read_beginning(text, there)
