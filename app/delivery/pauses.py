"""How long the worker rests: between two looks for work, before it looks again at something, and after a failure."""

import random
from datetime import timedelta
from typing import Final

from app.journal.tables import Lane

LOOK_EVERY: Final = {Lane.DEPARTURES: 0.015, Lane.SYNC: 0.05}
"""Seconds between two looks at the work table while it is idle: another process may have put something there."""
LOOK_AGAIN: Final = {Lane.DEPARTURES: timedelta(milliseconds=20), Lane.SYNC: timedelta(milliseconds=60)}
LONGEST_PAUSE: Final = {Lane.DEPARTURES: 5.0, Lane.SYNC: 60.0}
_SHARE: Final = 20
_LONGEST_REST: Final = 1.0


def rest_after(took: float, *, lane: Lane) -> float:
    """Seconds until the next look, after one that took `took` seconds.

    With much that waits for a halted workspace a look goes past all of it; resting twenty times as long keeps that to a
    twentieth of the time. Who leaves waits for nothing of the kind.
    """
    return LOOK_EVERY[lane] if lane is Lane.DEPARTURES else min(max(LOOK_EVERY[lane], _SHARE * took), _LONGEST_REST)


def pause_after(attempts: int, *, lane: Lane) -> timedelta:
    """How long to wait after so many failures: doubling, with jitter so that a thousand subjects do not come back at once."""
    longest = min(0.25 * 2 ** min(attempts, 12), LONGEST_PAUSE[lane])
    return timedelta(seconds=random.uniform(longest / 2, longest))
