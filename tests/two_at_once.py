"""Two who act at once, in the one order that shows whether they see each other: the second begins before the first has committed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.database import db, reading, transaction
from tests.waiting import until

First = TypeVar("First")
Second = TypeVar("Second")
_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


def meanwhile(app: Flask, first: Callable[[Session], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """What both gave. On PostgreSQL `first` commits once `second`, on a thread of its own, waits for it; fails where it never does.

    On SQLite there is one writer at a time, so there the second comes after the first by itself.
    """
    found: list[Second] = []
    raised: list[BaseException] = []

    def act() -> None:
        with app.app_context():
            try:
                found.append(second())
            except BaseException as error:
                raised.append(error)

    thread = threading.Thread(target=act, daemon=True)
    with app.app_context():
        with transaction() as session:
            done = first(session)
            session.flush()
            thread.start()
            if db.engine.dialect.name == "postgresql":
                assert until(lambda: _somebody_waits() or not thread.is_alive()) and thread.is_alive(), ("nobody waited", found, raised)
        thread.join(timeout=30)
    assert not thread.is_alive()
    if raised:
        raise raised[0]
    return done, found[0]


def _somebody_waits() -> bool:
    with reading() as session:
        return bool(session.scalar(_WAITING))
