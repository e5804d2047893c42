"""Whether Doorlist is closed: nobody is given anything, because the database may have been put back to an older state.

A restored backup does not know who has left since. So each running worker moves a generation on in the database, and
writes down beside it, in a file, how far it had come. A database that is behind its file, or behind what a process remembers, is
an older one: it is closed by that alone, before anybody has looked. Taking access goes on as ever.
"""

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from flask import current_app
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from app.access.closed_tables import Installation
from app.clock import iso, now
from app.database import clocks_apart, reading_engine
from app.directory.tables import Person
from app.settings import Settings

LOOK_EVERY: Final = 1.0
"""Seconds for which a process believes what it saw: asking costs nothing in between."""
STRANGER_AFTER: Final = timedelta(minutes=5)
"""A place that kept nothing of this database joins it only while others run on it; after such a pause it may be a restored one."""
ONLY: Final = 1
_GLANCE: Final = "doorlist_closed"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What was written down outside of the database."""

    marker: str
    generation: int


@dataclass(frozen=True, kw_only=True)
class _Glance:
    """What this process saw last; `newest` is the furthest that it ever saw the database while it was open."""

    at: float
    why: str | None
    newest: Kept | None


def is_closed(session: Session | Connection) -> bool:
    """Whether nothing may be given just now: no sign-in, no token, no account, and no session of before either.

    Cheap enough for every request: the database is asked once a second by each process.
    """
    return why_closed(session) is not None


def why_closed(session: Session | Connection) -> str | None:
    """A sentence for an admin; None while it is open."""
    seen: _Glance | None = current_app.extensions.get(_GLANCE)
    if seen is None or not 0 <= time.monotonic() - seen.at < LOOK_EVERY:
        # The time is taken first: what is seen may be older than this, never younger.
        began = time.monotonic()
        newest = None if seen is None else seen.newest
        why, newest = _saw(session, newest)
        if why is not None:
            # A transaction that began before the last step shows an older state on SQLite, and that is no older database.
            with reading_engine().connect() as anew:
                why, newest = _saw(anew, newest)
        seen = _Glance(at=began, why=why, newest=newest)
        current_app.extensions[_GLANCE] = seen
    return seen.why


def _saw(session: Session | Connection, newest: Kept | None) -> tuple[str | None, Kept | None]:
    settings: Settings = current_app.config["DOORLIST"]
    why = look(session, settings, at=now(), remembered=newest)
    return why, _note(session, settings) if why is None else newest


def _note(session: Session | Connection, settings: Settings) -> Kept | None:
    """Remember how far an open database has come; a place that kept nothing yet does so now, so that it knows it again."""
    row = session.execute(select(Installation.marker, Installation.generation).where(Installation.id == ONLY)).one()
    newest = Kept(marker=row.marker, generation=row.generation)
    if row.generation and not generation_file(settings).exists():
        with suppress(OSError):
            keep(settings, newest)
    return newest


def look_again() -> None:
    """Look anew at the next question: this process has just changed something."""
    seen: _Glance | None = current_app.extensions.get(_GLANCE)
    if seen is not None:
        current_app.extensions[_GLANCE] = replace(seen, at=float("-inf"))


def look(session: Session | Connection, settings: Settings, *, at: datetime, remembered: Kept | None = None) -> str | None:
    """Why the database has to be taken for an older state of itself, or was closed already; None where it is neither."""
    # The file first: a worker writes it after its commit, so a row that is read later is never behind it by a step just taken.
    try:
        kept, unreadable = _further(read_kept(settings), remembered), False
    except ValueError:
        kept, unreadable = None, True
    columns = (Installation.marker, Installation.generation, Installation.moved_at, Installation.closed_at, Installation.closed_because)
    row = session.execute(select(*columns).where(Installation.id == ONLY)).one_or_none()
    if row is None:
        return "the database does not say which it is: run 'doorlist init'"
    if row.closed_at is not None:
        return str(row.closed_because)
    if unreadable:
        return f"{generation_file(settings)} cannot be read, so it is not known whether the database is the newest"
    if kept is None:
        # By the clock that all machines share: one whose own is ahead would else close the doors of all.
        if row.generation and row.moved_at is not None and at + clocks_apart(session) - row.moved_at > STRANGER_AFTER:
            return f"nothing here tells whether the database, which was last in use at {iso(row.moved_at)}, is the newest there is"
        return None
    if kept.marker != row.marker:
        # A database without people was made anew; nobody can be let in by it who should not be.
        return "the database is another one than the one used here before" if session.execute(select(Person.id).limit(1)).first() else None
    if kept.generation > row.generation:
        return f"the database is older than it was here already (generation {row.generation}, and {kept.generation} was reached)"
    return None


def _further(kept: Kept | None, remembered: Kept | None) -> Kept | None:
    if kept is None or remembered is None or kept.marker != remembered.marker:
        return kept or remembered
    return max(kept, remembered, key=lambda one: one.generation)


def generation_file(settings: Settings) -> Path:
    """Where the generation is kept outside of the database."""
    return settings.generation_file or settings.home / "generation"


def read_kept(settings: Settings) -> Kept | None:
    """What was written down; None where nothing was yet. Raises ValueError where it makes no sense."""
    try:
        words = generation_file(settings).read_text().split()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error
    if len(words) != 2 or not words[1].isdigit():
        raise ValueError("not a marker and a number")
    return Kept(marker=words[0], generation=int(words[1]))


def keep(settings: Settings, kept: Kept) -> None:
    """Write down how far the database has come; only what it has committed. Raises OSError."""
    path = generation_file(settings)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Written whole or not at all: half a number would close the doors. Two threads may be at it.
    beside = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    with beside.open("w") as file:
        # Whatever the umask: what an administrator writes the service has to read, or it stays closed, and nobody else is to write it.
        os.fchmod(file.fileno(), 0o644)
        file.write(f"{kept.marker} {kept.generation}\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def move_on(session: Session, settings: Settings, *, at: datetime) -> Kept | str | None:
    """One step further, in the caller's transaction. What it returns is to be kept once that is committed.

    A sentence where it was found just now that the database is an older one: it is closed from here on, and the caller
    tells people. None while it is closed: what was kept then stays, as it is the proof.
    """
    row = session.get_one(Installation, ONLY, with_for_update=True, populate_existing=True)
    if row.closed_at is not None:
        return None
    why = look(session, settings, at=at)
    if why is not None:
        row.closed_at, row.closed_because = at, why
        return why
    row.generation, row.moved_at = row.generation + 1, at + clocks_apart(session)
    return Kept(marker=row.marker, generation=row.generation)


def shut_doors(session: Session, *, because: str, at: datetime) -> Installation:
    """Close, unless it is closed already; the row is locked until the caller's transaction ends."""
    row = session.get_one(Installation, ONLY, with_for_update=True, populate_existing=True)
    if row.closed_at is None:
        row.closed_at, row.closed_because = at, because
    return row


def open_doors(session: Session, settings: Settings, *, at: datetime) -> Kept:
    """Open again. The generation leaps past all that any machine may have kept; what is returned is to be kept after the commit."""
    row = session.get_one(Installation, ONLY, with_for_update=True, populate_existing=True)
    try:
        kept = read_kept(settings)
    except ValueError:
        kept = None
    # Other machines kept more than this one, perhaps. None of them can have counted as many steps as milliseconds have passed.
    row.generation = max(row.generation, 0 if kept is None else kept.generation, int(at.timestamp() * 1000)) + 1
    row.moved_at, row.closed_at, row.closed_because = at + clocks_apart(session), None, None
    return Kept(marker=row.marker, generation=row.generation)
