"""Many leave at once: who is still in comes before a second look at who is out, and that look is neither forgotten nor put off for long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.clock import now
from app.database import reading
from app.delivery import worker
from app.journal import work
from app.journal.tables import Lane
from app.revocation.tables import Proof
from connectors.contract import AccountState
from tests.unit.delivery.crew import crew, employ, settle
from tests.workspace import Workspace

LEAVERS = 3
LANE = [Lane.DEPARTURES]


@pytest.fixture
def workspace(installed: Flask) -> Workspace:
    """Everybody in it has left, and nobody was shut out yet."""
    made = Workspace()
    company, _ = employ(made)
    records = [company.joins(f"p{number}@x.example") for number in range(LEAVERS)]
    settle(installed, made)
    for record in records:
        company.says(record, active=False, at=now())
    return made


def recorded(workspace: Workspace) -> list[str]:
    """What is done to shut people out and to look at them again, from now on, in its order."""
    called: list[str] = []

    def note(what: str, _number: int) -> None:
        if what in ("deactivate_account", "show_access"):
            called.append(what)

    workspace.before_call = note
    return called


def open_accounts(workspace: Workspace) -> int:
    return sum(account.state is AccountState.ACTIVE for account in workspace.accounts.values())


def unproved() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Proof).where(Proof.gone_at.is_(None))) or 0


def test_all_are_shut_out_before_the_first_is_looked_at_again(installed: Flask, workspace: Workspace) -> None:
    called = recorded(workspace)

    crew(installed, workspace).run_until_idle()

    assert called == ["deactivate_account"] * LEAVERS + ["show_access"] * LEAVERS
    assert unproved() == 0


def test_a_look_does_not_wait_for_long(installed: Flask, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "PROVED_WITHIN", 0.0)
    called = recorded(workspace)

    crew(installed, workspace).run_until_idle()

    assert called == ["deactivate_account", "show_access"] * LEAVERS


def test_a_look_that_its_worker_took_to_the_grave_is_taken_by_another(installed: Flask, workspace: Workspace) -> None:
    dead = crew(installed, workspace)
    while open_accounts(workspace):
        dead.step(LANE, "dead")
    assert unproved() > 0

    settle(installed, workspace)

    assert unproved() == 0


def test_who_is_asked_to_end_looks_first(installed: Flask, workspace: Workspace) -> None:
    one = crew(installed, workspace)
    while open_accounts(workspace):
        one.step(LANE, "one")
    called = recorded(workspace)
    one._stop.set()
    one.start()

    one.stop()

    assert called.count("show_access") >= LEAVERS - 1 and "deactivate_account" not in called


def test_whoever_stays_waits_while_a_departure_is_claimed(installed: Flask, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = crew(installed, workspace)
    claim, gave_way = work.claim, list[tuple[bool, bool]]()

    def watched(session: Session, *, lanes: Sequence[Lane], **said: Any) -> list[work.Claim]:
        gave_way.append((Lane.DEPARTURES in lanes, busy._precedence.asked()))
        return claim(session, lanes=lanes, **said)

    monkeypatch.setattr(work, "claim", watched)
    for lane in (Lane.SYNC, Lane.DEPARTURES):
        busy.step([lane], "busy", busy=True)

    assert gave_way == [(False, False), (True, True)]
