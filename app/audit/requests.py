"""Keeping the requests that were seen: a bounded queue in memory, and one thread for each process that writes it down.

A request pays for one append. What it meant is found out, masked and written by the thread, with a connection of its
own. Nothing here may fail a request: what cannot be kept is counted and said in the log.
"""

import atexit
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

import psycopg
from sqlalchemy import Connection, Engine, create_engine, delete, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from app.audit.request_rows import Told, write
from app.audit.request_tables import RequestBody, RequestSeen
from app.database import SQLITE_WAITS, is_away, to_postgresql

log = logging.getLogger(__name__)

AT_A_TIME = 500
WAITS = 0.5
"""Seconds after the first request of a batch at which it is written, full or not: what a crash may lose."""
MOST = 10_000
MOST_BYTES = 32 * 1024 * 1024
MOST_ALIKE = 200
LINGERS = 5.0
"""Seconds without a request after which the thread ends; the next request starts another."""
TRIES_AGAIN = 2.0


@dataclass(slots=True, kw_only=True)
class Captured:
    """A request as it was when it was answered; nothing is worked out yet. Not frozen: making one is on every request's way.

    `alike` are refusals that anybody can cause by the thousand: those of one status at one source are counted, not queued.
    """

    id: str
    at: float
    took: float
    source_id: str
    known: bool
    alike: bool
    method: str
    path: str
    query: str
    status: int
    body: bytes | None
    answer: bytes | None
    times: int = 1

    @property
    def size(self) -> int:
        return len(self.body or b"") + len(self.answer or b"")


Tell = Callable[[Connection, Sequence[Captured]], Sequence[Told]]
"""Finds out what requests meant. Runs in the writer's thread; whom it cannot place it leaves out."""


class RequestLog:
    """The queue of one process, and its writer. A process that was forked begins with an empty one."""

    def __init__(self, url: str, tell: Tell, *, most: int = MOST, waits: float = WAITS) -> None:
        self.most, self.waits = most, waits
        self._url, self._tell = url, tell
        self._begin()
        _OPEN.add(self)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._some = threading.Condition(self._lock)
        self._queue: deque[Captured] = deque()
        self._alike: dict[tuple[str, int], Captured] = {}
        self._bytes = 0
        self._since: float | None = None
        self._thread: threading.Thread | None = None
        self._hurry = False
        self._writing = False
        self._said_dropped = 0
        self.dropped = 0

    def put(self, one: Captured) -> None:
        """Keep a request; the oldest gives way where there is no room."""
        if self._pid != os.getpid():
            # The lock may have been held when the process was forked, and what waits is the parent's to write.
            self._begin()
        with self._lock:
            if one.alike:
                self._count(one)
            else:
                self._queue.append(one)
                self._bytes += one.size
                while len(self._queue) > self.most or self._bytes > MOST_BYTES:
                    self._bytes -= self._queue.popleft().size
                    self.dropped += 1
            if self._since is None and (self._queue or self._alike):
                self._since = monotonic()
                self._some.notify_all()
            elif len(self._queue) == AT_A_TIME:
                self._some.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="requests-seen", daemon=True)
                self._thread.start()

    def _count(self, one: Captured) -> None:
        first = self._alike.get((one.source_id, one.status))
        if first is not None:
            first.times += one.times
        elif len(self._alike) < MOST_ALIKE:
            self._alike[one.source_id, one.status] = one
        else:
            self.dropped += 1

    def flush(self, *, within: float = 5.0) -> bool:
        """Write what waits now. Returns whether all of it was written in time."""
        if self._pid != os.getpid():
            return True
        with self._some:
            self._hurry = True
            self._some.notify_all()
            done = self._some.wait_for(lambda: self._since is None and not self._writing, timeout=within)
            self._hurry = False
            return done

    def _run(self) -> None:
        engine = _engine(self._url)
        connection: Connection | None = None
        while (batch := self._next()) is not None:
            more = False
            try:
                connection = connection or _opened(engine)
                write(connection, self._tell(connection, batch))
                more = self._end_batch()
            except Exception as error:
                if isinstance(error, _AWAY) or is_away(error):
                    if connection is not None:
                        connection.invalidate()
                    self._give_back(batch, error)
                else:
                    # This is a worker's loop: one request that nobody foresaw must not end it.
                    log.exception("%d requests seen could not be written down", len(batch))
                    self._end_batch(lost=len(batch))
            if connection is not None and not more:
                connection.close()
                connection = None

    def _next(self) -> list[Captured] | None:
        """The next batch, once it is due; None where nothing came for long, and the thread is to end."""
        with self._some:
            if not self._some.wait_for(lambda: self._since is not None, timeout=LINGERS):
                self._thread = None
                return None
            left = (self._since or 0.0) + self.waits - monotonic()
            self._some.wait_for(lambda: self._hurry or len(self._queue) >= AT_A_TIME, timeout=max(0.0, left))
            batch = [*self._alike.values()]
            self._alike.clear()
            while self._queue and len(batch) < AT_A_TIME:
                batch.append(self._queue.popleft())
                self._bytes -= batch[-1].size
            self._bytes = self._bytes if self._queue else 0
            self._since = monotonic() if self._queue else None
            self._writing = True
            return batch

    def _end_batch(self, *, lost: int = 0) -> bool:
        """Say what could not be kept. Returns whether more waits."""
        with self._some:
            self.dropped += lost
            new, self._said_dropped = self.dropped - self._said_dropped, self.dropped
            self._writing = False
            self._some.notify_all()
            waits = self._since is not None
        if new > lost:
            log.warning("%d requests seen were not kept: more came than could be written down", new - lost)
        return waits

    def _give_back(self, batch: Sequence[Captured], error: Exception) -> None:
        """The database is away: what was taken waits again, as far as there is room, and is tried a little later."""
        log.warning("requests seen cannot be written down just now: %s", error.__class__.__name__)
        with self._some:
            for one in reversed(batch):
                if one.alike:
                    self._count(one)
                elif len(self._queue) < self.most and self._bytes + one.size <= MOST_BYTES:
                    self._queue.appendleft(one)
                    self._bytes += one.size
                else:
                    self.dropped += 1
            self._since = monotonic() if self._queue or self._alike else None
            self._writing = False
            self._some.notify_all()
            self._some.wait(TRIES_AGAIN)


_AWAY: Final = (psycopg.OperationalError, psycopg.InterfaceError)
_OPEN: weakref.WeakSet[RequestLog] = weakref.WeakSet()


@atexit.register
def _flush_all() -> None:
    for one in list(_OPEN):
        one.flush(within=2.0)


def _engine(url: str) -> Engine:
    # A connection of its own: a pooled one would be taken from under the requests.
    ways = {"timeout": SQLITE_WAITS} if url.startswith("sqlite") else to_postgresql(url)
    return create_engine(url, poolclass=NullPool, connect_args=ways, hide_parameters=True)


def _opened(engine: Engine) -> Connection:
    connection = engine.connect()
    # What is written here may lag behind the disk: the journal is what must not be lost, and its commits do not wait for this.
    if engine.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
    else:
        connection.exec_driver_sql("SET synchronous_commit TO off")
    connection.commit()
    return connection


def first_id_at(at: datetime) -> str:
    """No id made at this instant or later is smaller: ids are UUIDs of version 7, which begin with their millisecond."""
    stamp = f"{max(0, int(at.timestamp() * 1000)):012x}"
    return f"{stamp[:8]}-{stamp[8:]}-"


def prune(
    session: Session, organization_id: str, *, at: datetime, requests_kept: timedelta, bodies_kept: timedelta, most: int = AT_A_TIME
) -> int:
    """Delete a few of what has been kept for long enough. Returns how many; 0 means that nothing is left to delete."""
    bodies = _prune(session, RequestBody, organization_id, before=at - min(bodies_kept, requests_kept), most=most)
    return bodies + _prune(session, RequestSeen, organization_id, before=at - requests_kept, most=most)


def _prune(
    session: Session, table: type[RequestSeen] | type[RequestBody], organization_id: str, *, before: datetime, most: int
) -> int:
    old = select(table.id).where(table.organization_id == organization_id, table.id < first_id_at(before)).order_by(table.id).limit(most)
    ids = session.scalars(old).all()
    if ids:
        session.execute(delete(table).where(table.organization_id == organization_id, table.id.in_(ids)))
    return len(ids)
