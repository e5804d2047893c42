"""Cores of this machine whose clock can be gone by.

A virtual machine that was moved may come up with a core whose counter is behind the others'. Linux shows the time of its last tick there,
milliseconds ago, so whoever is moved to that core and back sees time run backwards. Synapse answers 500, Chromium's pages
crash, and OpenLDAP numbers its changes in the wrong order.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import pairwise

READINGS = 2_000


@contextmanager
def steady() -> Iterator[None]:
    """Processes that this thread starts within the block keep to one core, unless all cores are steady: then they may run anywhere."""
    core = the_steady_one()
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@cache
def the_steady_one() -> int | None:
    """The steadiest core; None where any will do, and where a system does not let one choose."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    allowed = os.sched_getaffinity(0)
    try:
        standing = {core: _standing_still(core) for core in sorted(allowed)}
    finally:
        os.sched_setaffinity(0, allowed)
    return the_best(standing)


def the_best(standing: dict[int, int]) -> int | None:
    """Of readings that showed the same time as the one before, on each core. A reading takes longer than the clock's unit."""
    best = min(standing, key=lambda core: standing[core])
    wavering = [core for core, same in standing.items() if same > READINGS // 2 and core != best]
    return best if wavering else None


def _standing_still(core: int) -> int:
    os.sched_setaffinity(0, {core})
    read = [time.monotonic_ns() for _ in range(READINGS)]
    return sum(before == after for before, after in pairwise(read))
