"""Jobs at intervals, also where the system's clock is put back: APScheduler plans by that clock, and would wait until it has caught up.

Meanwhile nothing would become part of the audit tree, and for that nobody would be let in.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.schedulers.base import BaseScheduler

LOOK_EVERY: Final = 1.0
"""Seconds for which a job may wait longer than its interval."""


@contextmanager
def punctual(scheduler: BaseScheduler) -> Iterator[None]:
    """While it lasts, no job of this running scheduler waits for longer than its interval. All of them must have one."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_EVERY):
            bring_forward(scheduler)

    thread = threading.Thread(target=look, name="punctual", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def bring_forward(scheduler: BaseScheduler) -> None:
    """Plan anew what is planned for later than an interval from now."""
    for job in scheduler.get_jobs():
        latest = datetime.now(UTC) + job.trigger.interval
        slack = timedelta(seconds=LOOK_EVERY + (job.trigger.jitter or 0))
        if job.next_run_time is not None and job.next_run_time > latest + slack:
            job.modify(next_run_time=latest)
