"""Many leave at once: who is still in comes before all that is left to do for who is kept out, and none of that is forgotten or put off for long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.clock import now
from app.database import reading
from app.delivery import access, worker
from app.directory.tables import Record
from app.journal import work
from app.journal.tables import HERE, Lane
from app.revocation.tables import Departure, Proof
from connectors.contract import AccountState
from tests.arranged_once import arranged_once
from tests.company import Company
from tests.unit.delivery.crew import Killed, crew, employ, settle
from tests.workspace import Workspace

pytestmark = pytest.mark.slow

LEAVERS = 3
LANE = [Lane.DEPARTURES]


@pytest.fixture(autouse=True)
def _no_look_is_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for two seconds would else have it looked first."""
    monkeypatch.setattr(worker, "PROVED_WITHIN", 3600.0)


@pytest.fixture
def workspace(installed: Flask) -> Workspace:
    """Everybody in it has left, and nobody was shut out yet."""
    made, company, records = arranged_once(installed, _all_are_in)
    for record in records:
        company.says(record, active=False, at=now())
    return made


def _all_are_in(app: Flask) -> tuple[Workspace, Company, list[Record]]:
    made = Workspace()
    company, _ = employ(made)
    records = [company.joins(f"p{number}@x.example") for number in range(LEAVERS)]
    settle(app, made)
    return made, company, records


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


# What ended here is written down together


def here() -> int:
    """Departures of which it is not known yet that every door here is shut."""
    proved = select(Proof.departure_id).where(Proof.workspace_id == HERE, Proof.shut_at.is_not(None))
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Departure).where(Departure.id.not_in(proved))) or 0


def watched(monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Sequence[work.Claim]], None] = lambda _claims: None) -> list[int]:
    """How many departures each transaction wrote down."""
    deliver, counts = access.deliver_here, list[int]()

    def deliver_here(claims: Sequence[work.Claim], **said: Any) -> None:
        counts.append(len(claims))
        spoil(claims)
        deliver(claims, **said)

    for module in (access, worker):
        monkeypatch.setattr(module, "deliver_here", deliver_here)
    return counts


def test_what_ended_here_is_written_down_for_several_at_once(installed: Flask, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = watched(monkeypatch)
    assert here() == LEAVERS

    crew(installed, workspace).run_until_idle()

    assert counts == [LEAVERS] and here() == 0


def test_one_that_cannot_be_written_down_keeps_no_other(installed: Flask, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    unlucky = sorted(account.person_id or "" for account in workspace.accounts.values())[1]

    def spoil(claims: Sequence[work.Claim]) -> None:
        if any(taken.subject_id == unlucky for taken in claims):
            raise ValueError("nobody foresaw this")

    watched(monkeypatch, spoil)
    one = crew(installed, workspace)
    for _ in range(20):
        try:
            if not one.step(LANE, "one"):
                break
        except ValueError:
            continue

    assert here() == 1
    monkeypatch.undo()
    settle(installed, workspace)
    assert here() == 0


def test_a_worker_killed_while_it_writes_several_down_loses_none(installed: Flask, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(_claims: Sequence[work.Claim]) -> None:
        raise Killed

    watched(monkeypatch, spoil)
    one = crew(installed, workspace)
    with pytest.raises(Killed):
        one.run_until_idle()
    monkeypatch.undo()

    settle(installed, workspace)

    assert here() == 0
