"""Places that answer late, or not at all: they have most of a lane's threads, and never the last ones, which are for all the other places."""

import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import monotonic
from typing import Final

from app.journal.tables import HERE, Lane
from app.journal.work import Claim

LONG: Final = 3.0
"""Seconds with one piece of work after which its place is late. One that says nothing takes four at least until it is given up."""
KEPT_FREE: Final = 4
"""Of so many threads of a lane one is kept from places that are late; one of however few there are."""


class Silence:
    """Shared by the threads of a worker. Known by the last that was asked of a place: one that answers soon has all the threads again."""

    def __init__(self, threads: Mapping[Lane, int]) -> None:
        self._most = {lane: max(1, count - max(1, count // KEPT_FREE)) for lane, count in threads.items()}
        self._late: frozenset[str] = frozenset()
        self._in_hand: Counter[tuple[Lane, str]] = Counter()
        self._counting = threading.Lock()
        self._choosing = threading.Lock()

    def choosing(self) -> AbstractContextManager[object]:
        """Held from the question of what is left out until the work is in hand: two threads would else both take the last place."""
        return self._choosing if self._late else nullcontext()

    def left_out(self, lanes: Collection[Lane]) -> frozenset[str]:
        """The places of which nothing more is to be taken into hand just now."""
        with self._counting:
            return self._late if any(self._with_late(lane) >= self._most.get(lane, 1) for lane in lanes) else frozenset()

    def _with_late(self, lane: Lane) -> int:
        return sum(self._in_hand[lane, place] for place in self._late)

    @contextmanager
    def in_hand(self, taken: Claim) -> Iterator[None]:
        """While one thread is at it, and whatever was claimed together with it. What is done here makes no place late."""
        place, key, began = taken.workspace_id, (taken.lane, taken.workspace_id), monotonic()
        with self._counting:
            self._in_hand[key] += 1
        try:
            yield
        finally:
            with self._counting:
                self._in_hand[key] -= 1
                if monotonic() - began <= LONG:
                    self._late -= {place}
                elif place not in ("", HERE):
                    self._late |= {place}
