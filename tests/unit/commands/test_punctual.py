"""A clock that is put back keeps no job waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

import pytest
from apscheduler.executors import base as executing
from apscheduler.schedulers import base
from apscheduler.schedulers.background import BackgroundScheduler

from app.commands import punctual as module
from app.commands.punctual import punctual

pytestmark = pytest.mark.slow


class Clock(datetime):
    """The system's clock, which somebody may put forward or back."""

    ahead = timedelta(0)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # an ordinary instant, as whoever asks goes on with it
        return datetime.now(tz) + cls.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Clock]]:
    for reads in (base, executing, module):
        monkeypatch.setattr(reads, "datetime", Clock)
    yield Clock
    Clock.ahead = timedelta(0)


@pytest.mark.parametrize("step", [timedelta(hours=-1), timedelta(seconds=-30), timedelta(hours=1)])
def test_jobs_go_on_where_the_clock_is_put_elsewhere(clock: type[Clock], monkeypatch: pytest.MonkeyPatch, step: timedelta) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.1)
    ran = threading.Event()
    scheduler = BackgroundScheduler(timezone=UTC)
    scheduler.add_job(ran.set, "interval", seconds=0.2, coalesce=True)
    scheduler.add_job(lambda: None, "interval", hours=6, jitter=1800)
    scheduler.start()
    try:
        with punctual(scheduler):
            assert ran.wait(10)
            clock.ahead = step
            ran.clear()
            assert ran.wait(10)
            ran.clear()
            assert ran.wait(10), "and so on"
            [long] = [job for job in scheduler.get_jobs() if job.trigger.interval == timedelta(hours=6)]
            assert long.next_run_time <= clock.now(UTC) + timedelta(hours=6, minutes=31)
    finally:
        scheduler.shutdown()
