"""Waiting for what comes true in its own time, instead of sleeping for as long as it usually takes."""

import time
from collections.abc import Callable

LOOK_EVERY = 0.02


def until(claim: Callable[[], object], *, within: float = 10.0) -> bool:
    """Whether it came true in time; where it did, no later than it had to."""
    deadline = time.monotonic() + within
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_EVERY)
    return True
