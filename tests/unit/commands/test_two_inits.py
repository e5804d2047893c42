"""Two who type `doorlist init` at once, as where several machines of one installation are started together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.clock import now
from app.database import db, reading
from app.journal.tables import Entry, Organization
from app.lifecycle.sources import add_organization
from tests.unit.commands.conftest import Desk
from tests.waiting import until

pytestmark = pytest.mark.slow

HOUSE = Path(__file__).parents[3]
_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


def _started(desk: Desk) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DOORLIST_")}
    return subprocess.Popen(
        [sys.executable, "-c", "from app.program import main; main()", "init", "--organization", "Acme", "--json"],
        cwd=HOUSE, env=environment | desk.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _somebody_waits(number: int) -> bool:
    with reading() as session:
        return bool(session.scalar(_WAITING) == number)


def test_two_inits_at_once_make_one_organisation(bare_desk: Desk) -> None:
    with bare_desk.app.app_context():
        if db.engine.dialect.name == "postgresql":
            # Neither finds one, and both wait, until this one is taken back.
            with Session(db.engine) as session:
                add_organization(session, "Acme", at=now())
                running = [_started(bare_desk), _started(bare_desk)]
                assert until(lambda: _somebody_waits(2), within=60)
        else:
            running = [_started(bare_desk), _started(bare_desk)]
        ended = [(process.communicate(timeout=60), process.returncode) for process in running]
        with reading() as session:
            organizations = session.scalar(select(func.count()).select_from(Organization))
            entries = session.scalar(select(func.count()).select_from(Entry).where(Entry.verb == "organisation added"))

    assert [code for _, code in ended] == [0, 0], ended
    said = [json.loads(out) for (out, _), _ in ended]
    assert sorted(one["made"] for one in said) == [False, True]
    assert sorted(one["encryption_key_made"] for one in said) == [False, True]
    assert (organizations, entries) == (1, 1)
