"""Who a worker is, and whether it is surely dead: so that what a killed process had in hand need not wait for its lease."""

import os
import socket
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.journal.tables import Lane, Subject, Work

_PARTS = 4
IN_FLIGHT = timedelta(seconds=10)
"""Longer than any single request may take (`connectors.http`)."""


def _started(pid: int) -> str | None:
    """When the kernel started a process, in its own ticks; None where there is no such process or no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the program's name in brackets and may hold anything; the 22nd of all is the start (proc(5)).
    return text.rpartition(")")[2].split()[19]


def _neighbourhood() -> str:
    """Where our process ids mean something: this host since its boot, and this namespace of process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        return f"{socket.gethostname()}|unknown"
    return f"{socket.gethostname()}|{boot}{space}"


def own_name() -> str:
    """A name that no other process ever has, and that tells where to look whether it lives."""
    return f"{_neighbourhood()}|{os.getpid()}|{_started(os.getpid())}"


def is_surely_dead(name: str) -> bool:
    """Only where it ran beside us and its process is gone; of others nothing is known, and their leases count."""
    parts = name.split("|")
    if len(parts) != _PARTS or "unknown" in parts or "|".join(parts[:2]) != _neighbourhood():
        return False
    return parts[2].isdigit() and _started(int(parts[2])) != parts[3]


def free_claims_of_the_dead(session: Session, *, at: datetime) -> int:
    """Give back what dead neighbours had in hand; returns how many pieces of work that was. Safe at any time."""
    freed = 0
    for claimed_by in session.scalars(select(Work.claimed_by).where(Work.claimed_by.is_not(None)).distinct()).all():
        if claimed_by is not None and is_surely_dead(claimed_by.partition("#")[0]):
            mine = update(Work).where(Work.claimed_by == claimed_by)
            gave = (Work.lane == Lane.SYNC) & (Work.subject == Subject.ACCOUNT)
            quiet = {"synchronize_session": False}
            session.execute(mine.where(~gave).values(claimed_by=None, lease_until=None), execution_options=quiet)
            # Its last request may still be under way over there, and may still give: a departure waits that out.
            session.execute(mine.where(gave, Work.lease_until > at + IN_FLIGHT).values(lease_until=at + IN_FLIGHT), execution_options=quiet)
            freed += 1
    return freed
