"""The sweep believes nothing: who has left and can still get in is found, shut out again, and told of."""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.sessions import Authenticated, Limits, start
from app.access.tables import Workspace as WorkspaceRow
from app.access.tables import WorkspaceState
from app.clock import now
from app.database import in_transaction, reading
from app.delivery import sweeping
from app.delivery.sweeping import Swept
from app.directory.tables import Person, Standing
from app.journal.tables import HERE
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import open_alarms
from app.revocation.departures import history
from app.revocation.sweeps import EVERY, sweeps_of
from connectors.contract import AccountState, Conflict, ConnectorError, Missing, Refused, Unreachable
from tests.company import Company
from tests.unit.delivery.crew import StandInTargets, employ, settle
from tests.workspace import Workspace

pytestmark = pytest.mark.slow

A_MINUTE = timedelta(seconds=61)


def nothing_here(session: Session, organization_id: str, person_id: str, *, at: datetime) -> int:
    return 0


def swept(
    app: Flask, company: Company, workspace: Workspace, *, after: timedelta = A_MINUTE, everyone: bool = False, still_good: sweeping.StillGood = nothing_here
) -> dict[str, Swept]:
    """What the sweep saw, by place, that much later."""
    found = sweeping.sweep(
        app, StandInTargets(workspace), organization_id=company.organization_id, everyone=everyone, still_good=still_good, clock=lambda: now() + after
    )
    return {one.name: one for one in found}


def alarms(company: Company) -> list[str]:
    with reading() as session:
        return sorted(one.kind for one in open_alarms(session, company.organization_id))


def restores(workspace: Workspace) -> Callable[[], None]:
    """A backup of the workspace now; what is returned puts it back."""
    backup = copy.deepcopy((workspace.accounts, workspace.sessions, workspace.members))

    def put_back() -> None:
        workspace.accounts, workspace.sessions, workspace.members = copy.deepcopy(backup)

    return put_back


def leave(app: Flask, company: Company, workspace: Workspace, *names: str) -> tuple[list[str], Callable[[], None]]:
    """These joined, then left, and were shut out; returns their ids, and what restores the workspace to before that."""
    records = [company.joins(f"{name}@x.example", f"E-{name}") for name in names]
    settle(app, workspace)
    put_back = restores(workspace)
    for record in records:
        company.says(record, active=False, at=now())
    settle(app, workspace)
    return [record.person_id for record in records], put_back


def accounts_of(workspace: Workspace, people: list[str]) -> set[AccountState]:
    return {account.state for account in workspace.accounts.values() if account.person_id in people}


def test_where_everybody_is_out_nobody_is_found_and_nobody_is_told(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    leave(installed, company, workspace, "ada")

    found = swept(installed, company, workspace)

    assert {name: (one.looked > 0, one.alive, one.error) for name, one in found.items()} == {"chat": (True, [], None), HERE: (True, [], None)}
    assert alarms(company) == []


def test_a_workspace_restored_from_its_backup_lets_nobody_in_who_has_left(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    people, put_back = leave(installed, company, workspace, "ada", "bob", "cy")
    swept(installed, company, workspace)

    put_back()
    assert accounts_of(workspace, people) == {AccountState.ACTIVE}
    found = swept(installed, company, workspace, after=EVERY + A_MINUTE)
    settle(installed, workspace)

    assert {one.person_id for one in found["chat"].alive} == set(people)
    assert accounts_of(workspace, people) == {AccountState.DEACTIVATED}
    assert all(workspace.show_access(account.id).gone for account in workspace.accounts.values())
    assert alarms(company) == [AlarmKind.ACCESS_STILL_ALIVE, AlarmKind.WORKSPACE_RESTORED]
    assert swept(installed, company, workspace, everyone=True)["chat"].alive == []


def test_who_was_found_has_a_departure_of_its_own_and_the_first_proof_stays(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    [ada], put_back = leave(installed, company, workspace, "ada")
    put_back()

    swept(installed, company, workspace)
    settle(installed, workspace)

    with reading() as session:
        (second, [(again, _), *_]), (first, [(before, _), *_]) = history(session, company.organization_id, ada)
    assert "found alive by the sweep in chat" in second.reason and second.actor == "clock:sweep"
    assert again.gone_at is not None and before.gone_at is not None
    assert second.ended_at is None and first.ended_at is not None


class Taciturn:
    """A workspace that shows which accounts there are, and not what they hold."""

    def __init__(self, workspace: Workspace) -> None:
        self.find_account = workspace.find_account


def test_a_workspace_that_shows_no_sessions_is_asked_for_active_accounts(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    people, put_back = leave(installed, company, workspace, "ada")
    put_back()

    targets = StandInTargets(cast(Workspace, Taciturn(workspace)))
    found = sweeping.sweep(
        installed, targets, organization_id=company.organization_id, still_good=nothing_here, clock=lambda: now() + A_MINUTE
    )

    assert [one.person_id for one in found[1].alive] == people


def test_only_sessions_left_over_are_found_as_well(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    people, _ = leave(installed, company, workspace, "ada")
    [account] = workspace.accounts
    workspace.sessions[account] = 2

    found = swept(installed, company, workspace)
    settle(installed, workspace)

    assert [one.how for one in found["chat"].alive] == [f"account {account} has 2 sessions and 0 push registrations"]
    assert workspace.show_access(account).shut and accounts_of(workspace, people) == {AccountState.DEACTIVATED}


def test_who_came_back_is_left_alone(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada = company.joins("ada@x.example", "E-1")
    settle(installed, workspace)
    company.says(ada, active=False, at=now())
    settle(installed, workspace)
    company.says(ada, active=True, at=now())
    settle(installed, workspace)

    found = swept(installed, company, workspace, everyone=True)

    assert found["chat"].alive == [] and accounts_of(workspace, [ada.person_id]) == {AccountState.ACTIVE}


def test_who_comes_back_while_they_are_looked_at_is_left_alone(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada = company.joins("ada@x.example", "E-1")
    settle(installed, workspace)
    company.says(ada, active=False, at=now())
    settle(installed, workspace)

    def comes_back(session: Session, organization_id: str, person_id: str, *, at: datetime) -> int:
        company.says(ada, active=True, at=now())
        return 1

    found = swept(installed, company, workspace, still_good=comes_back)

    assert found[HERE].alive == [] and company.person(ada).standing == Standing.ACTIVE


def test_a_departure_under_way_is_counted_and_not_begun_anew(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada = company.joins("ada@x.example", "E-1")
    settle(installed, workspace)
    company.says(ada, active=False, at=now())

    [alive] = swept(installed, company, workspace)["chat"].alive

    assert not alive.shut_before and alarms(company) == []
    with reading() as session:
        assert len(list(history(session, company.organization_id, ada.person_id))) == 1


def test_what_doorlist_itself_still_lets_in_is_ended_by_a_new_epoch(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    [ada], _ = leave(installed, company, workspace, "ada")
    with reading() as session:
        before = session.get_one(Person, (company.organization_id, ada)).access_epoch

    found = swept(installed, company, workspace, still_good=lambda session, organization_id, person_id, *, at: 3)

    assert [one.how for one in found[HERE].alive] == ["3 sessions, tokens or devices are good"]
    assert alarms(company) == [AlarmKind.ACCESS_STILL_ALIVE]
    with reading() as session:
        assert session.get_one(Person, (company.organization_id, ada)).access_epoch == before + 1


def test_what_a_door_gave_after_the_departure_is_found_though_nobody_is_let_in_by_it(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    [ada], _ = leave(installed, company, workspace, "ada")

    def give(session: Session) -> None:
        person = session.get_one(Person, (company.organization_id, ada))
        start(session, person, Authenticated(connection_id=None, at=now()), limits=Limits(), agent="", at=now())

    in_transaction(give)
    found = swept(installed, company, workspace, still_good=sweeping.let_in_here)
    again = swept(installed, company, workspace, everyone=True, still_good=sweeping.let_in_here)

    assert [one.how for one in found[HERE].alive] == ["1 sessions, tokens or devices are good"]
    assert again[HERE].alive == [] and again[HERE].looked == 1


def test_a_workspace_that_does_not_answer_is_unknown_and_looked_at_once_it_does(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    people, put_back = leave(installed, company, workspace, "ada", "bob")
    put_back()

    def down(called: str, number: int) -> None:
        raise Unreachable("stand-in: no answer", sent=False)

    workspace.before_call = down
    first = swept(installed, company, workspace)["chat"]
    with reading() as session:
        [error] = [one.last_error for one in sweeps_of(session, company.organization_id) if one.place != HERE]
    workspace.before_call = None
    second = swept(installed, company, workspace)["chat"]

    assert (first.alive, first.complete, first.error, error) == ([], False, "stand-in: no answer", "stand-in: no answer")
    assert {one.person_id for one in second.alive} == set(people)


def fails_once_asked(workspace: Workspace, times: int, error: ConnectorError) -> None:
    """The workspace answers that many look-ups, then fails at one, and answers again behind it."""
    asked = 0

    def call(called: str, number: int) -> None:
        nonlocal asked
        asked += called == "find_account"
        if called == "find_account" and asked == times + 1:
            raise error

    workspace.before_call = call


def sweep_of(company: Company) -> tuple[int, int, str | None]:
    """What is kept of the sweep in the workspace: how many were looked at, how many of them alive, and why others were not."""
    with reading() as session:
        [row] = [one for one in sweeps_of(session, company.organization_id) if one.place != HERE]
    return row.looked, row.alive, row.last_error


def test_who_was_found_before_the_workspace_stopped_answering_is_shut_out_and_told_of(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    people, put_back = leave(installed, company, workspace, "ada", "bob", "cy")
    put_back()
    fails_once_asked(workspace, 2, Unreachable("stand-in: no answer", sent=False))

    first = swept(installed, company, workspace)["chat"]
    kept, told = sweep_of(company), alarms(company)
    workspace.before_call = None
    settle(installed, workspace)
    still_active = [account.person_id for account in workspace.accounts.values() if account.state is AccountState.ACTIVE]
    second = swept(installed, company, workspace)["chat"]

    assert [one.person_id for one in first.alive] == people[:2]
    assert (first.looked, first.complete, first.error) == (2, False, "stand-in: no answer")
    assert kept == (2, 2, "stand-in: no answer") and told == [AlarmKind.ACCESS_STILL_ALIVE, AlarmKind.WORKSPACE_RESTORED]
    assert still_active == people[2:], "whoever was found is out; the others were not looked at"
    assert [one.person_id for one in second.alive] == people[2:], "and they are as soon as it answers"


@pytest.mark.parametrize("refuses", [Refused, Conflict, Missing])
def test_one_look_that_is_refused_keeps_nobody_behind_it_from_being_found(installed: Flask, refuses: type[ConnectorError]) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    people, put_back = leave(installed, company, workspace, "ada", "bob", "cy")
    put_back()
    fails_once_asked(workspace, 0, refuses("stand-in: not that one"))

    first = swept(installed, company, workspace)["chat"]
    settle(installed, workspace)

    assert [one.person_id for one in first.alive] == people[1:]
    assert (first.complete, first.error, sweep_of(company)[2]) == (False, "stand-in: not that one", "stand-in: not that one")
    assert accounts_of(workspace, people[1:]) == {AccountState.DEACTIVATED}


def test_a_page_with_a_refused_look_is_not_repeated_and_who_was_refused_is_looked_at_in_the_next_round(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    [ada], put_back = leave(installed, company, workspace, "ada")
    swept(installed, company, workspace)
    put_back()
    fails_once_asked(workspace, 0, Refused("stand-in: not that one"))

    runs = [swept(installed, company, workspace, after=after)["chat"] for after in (EVERY + A_MINUTE, EVERY + A_MINUTE * 2, EVERY * 2 + A_MINUTE * 2)]

    assert [one.looked for one in runs] == [1, 0, 1]
    assert [one.person_id for one in runs[-1].alive] == [ada]


def test_who_was_found_stands_in_the_figures_of_the_round_that_begins_with_it(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    _, put_back = leave(installed, company, workspace, "ada")
    put_back()

    found = swept(installed, company, workspace)["chat"]

    assert len(found.alive) >= 1 and sweep_of(company)[1] == len(found.alive)


def test_a_new_departure_is_looked_at_once_after_a_minute_and_everyone_once_a_day(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    swept(installed, company, workspace, after=timedelta())
    leave(installed, company, workspace, "ada")

    looked = [
        swept(installed, company, workspace, after=after)["chat"].looked
        for after in (timedelta(seconds=30), A_MINUTE, A_MINUTE * 2, EVERY + A_MINUTE, EVERY + A_MINUTE * 2)
    ]

    assert looked == [0, 1, 0, 1, 0]


def test_pages_go_on_where_the_last_one_ended(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    names = ("ada", "bob", "cy", "di", "eve")
    leave(installed, company, workspace, *names)
    seen: list[str] = []

    def note(session: Session, organization_id: str, person_id: str, *, at: datetime) -> int:
        seen.append(person_id)
        return 0

    targets = StandInTargets(workspace)
    for _ in range(3):
        here = sweeping.sweep(installed, targets, organization_id=company.organization_id, still_good=note, page=2, seconds=-1.0)[0]
        assert here.place == HERE and here.looked in (1, 2)

    assert len(seen) == len(set(seen)) == len(names)


def test_a_halted_workspace_is_not_asked(installed: Flask) -> None:
    workspace = Workspace()
    company, workspace_id = employ(workspace)
    leave(installed, company, workspace, "ada")

    def halt(session: Session) -> None:
        session.scalars(select(WorkspaceRow).where(WorkspaceRow.id == workspace_id)).one().state = WorkspaceState.HALTED

    in_transaction(halt)

    assert set(swept(installed, company, workspace)) == {HERE}


def test_one_account_opened_by_hand_is_an_alarm_and_no_restored_workspace(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    leave(installed, company, workspace, "ada", "bob")
    first = next(iter(workspace.accounts))
    workspace.accounts[first] = replace(workspace.accounts[first], state=AccountState.ACTIVE)

    swept(installed, company, workspace)

    assert alarms(company) == [AlarmKind.ACCESS_STILL_ALIVE]
