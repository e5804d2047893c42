"""Those who leave one soon after the other: all of them are kept out before the rest is done for any."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from time import monotonic

from app.delivery.departing import ShutOut
from app.delivery.due import somebody_is_still_in
from app.journal.tables import Lane, Subject
from app.journal.work import Claim
from connectors.contract import Target

LASTS = 0.25
"""Seconds after somebody has left in which whoever leaves next does so in company, and for which that lasts if nobody does."""


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """Somebody whom no new request lets in, and since when; the claim is still ours. `done` is None until what was open is ended as well."""

    taken: Claim
    target: Target
    done: ShutOut | None
    since: float
    sent_at: datetime


class Company:
    """Shared by the threads of a worker. Until it is looked for there is none: who delivers in their own thread waits for nobody."""

    def __init__(self) -> None:
        self._looked_for = False
        self._last = self._until = -inf

    def look_for_it(self) -> None:
        """From now on; once there are threads that come back when it is over."""
        self._looked_for = True

    def note(self, claims: Sequence[Claim]) -> None:
        """What was claimed just now, all of one kind."""
        if not claims or claims[0].lane is not Lane.DEPARTURES or claims[0].subject is not Subject.ACCOUNT or claims[0].put_off:
            return
        at = monotonic()
        if at - self._last < LASTS:
            self._until = at + LASTS
        self._last = at

    def lasts(self) -> bool:
        """Whether people are leaving one after the other."""
        return self._looked_for and monotonic() < self._until

    def is_there(self, *, at: datetime) -> bool:
        """Whether that is so, or somebody who has left is still in."""
        return self.lasts() or somebody_is_still_in(at=at)
