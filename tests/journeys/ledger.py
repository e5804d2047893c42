"""Doorlist's own database on SQLite, read from outside: how much work is left, and what it says of departures.

Only for those who must ask many times a second; everybody else asks `doorlist status` and `doorlist receipt`.
"""

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.journeys.doorlist import STALLED_AFTER, StepFailed

LOOK_EVERY: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Departed:
    """One departure as Doorlist wrote it down, in nanoseconds since 1970; None is *not yet*."""

    user_name: str
    received_ns: int
    sent_ns: int | None
    acknowledged_ns: int | None
    shut_ns: int | None
    gone_ns: int | None


class Ledger:
    def __init__(self, home: Path) -> None:
        self._path = home / "doorlist.db"

    def waiting(self) -> int:
        """Work that is not done, but for markers of days to come. Raises StepFailed where some of it was parked."""
        rows = dict(self._all("SELECT state, count(*) FROM work WHERE subject <> 'due' GROUP BY state"))
        if rows.get("parked"):
            reasons = self._all("SELECT last_error FROM work WHERE state = 'parked' LIMIT 3")
            raise StepFailed(f"{rows['parked']} deliveries are parked: {reasons}")
        return int(rows.get("waiting", 0))

    def settle(self) -> None:
        """Ends as soon as nothing waits; `doorlist status` would take a processor's second each time it is asked."""
        best, since = self.waiting(), time.monotonic()
        while (waiting := self.waiting()) > 0:
            if waiting < best:
                best, since = waiting, time.monotonic()
            elif time.monotonic() - since > STALLED_AFTER:
                raise StepFailed(f"{waiting} deliveries wait, and for {STALLED_AFTER:.0f} s none was done")
            time.sleep(LOOK_EVERY)

    def departed(self) -> dict[str, Departed]:
        """By user name, everybody who has left and not come back."""
        query = """
            SELECT person.user_name, departure.received_at, proof.sent_at, proof.acknowledged_at, proof.shut_at, proof.gone_at
            FROM departure
            JOIN person ON person.organization_id = departure.organization_id AND person.id = departure.person_id
            JOIN proof ON proof.organization_id = departure.organization_id AND proof.departure_id = departure.id
            WHERE departure.ended_at IS NULL
        """
        return {
            row[0]: Departed(
                user_name=row[0], received_ns=row[1] * 1000, sent_ns=_ns(row[2]), acknowledged_ns=_ns(row[3]), shut_ns=_ns(row[4]), gone_ns=_ns(row[5])
            )
            for row in self._all(query)
        }  # fmt: skip

    def _all(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=15)) as database:
            return database.execute(query).fetchall()


def _ns(microseconds: int | None) -> int | None:
    return None if microseconds is None else microseconds * 1000
