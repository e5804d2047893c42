"""How often somebody may knock: a bucket of tokens for each key, kept in this process alone."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Buckets:
    """Each key's bucket holds `burst` at most and gains `rate` a second. A rate of 0 lets everything through.

    Of more than `most` keys those that were silent longest are forgotten, so that made-up keys fill no memory.
    """

    rate: float
    burst: float
    most: int = 10_000
    clock: Callable[[], float] = time.monotonic
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, key: str) -> float:
        """Take one from the key's bucket: 0 where there was one, else the seconds until there is."""
        if not self.rate:
            return 0.0
        with self._lock:
            at = self.clock()
            left = self._left_at(key, at)
            wait = self._wait(left)
            # Put back last: a dict keeps its order, so the first is always the one that was silent longest.
            self._left.pop(key, None)
            self._left[key] = (left if wait else left - 1, at)
            if len(self._left) > self.most:
                del self._left[next(iter(self._left))]
            return wait

    def wait(self, key: str) -> float:
        """What `take` would answer now; nothing is taken."""
        if not self.rate:
            return 0.0
        with self._lock:
            return self._wait(self._left_at(key, self.clock()))

    def _left_at(self, key: str, at: float) -> float:
        left, since = self._left.get(key, (self.burst, at))
        return min(self.burst, left + (at - since) * self.rate)

    def _wait(self, left: float) -> float:
        return 0.0 if left >= 1 else (1 - left) / self.rate
