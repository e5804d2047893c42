"""What leavers wrote is erased on its day and never before, nor while a legal hold stands, nor of anybody who is back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import closed
from app.access.tables import Workspace as WorkspaceRow
from app.access.tables import WorkspaceState
from app.audit.tables import Deed
from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Person, StatementKind
from app.journal.tables import Entry, Organization
from app.lifecycle import legal_hold, restoring, retention
from app.lifecycle.hold_tables import LegalHold
from app.lifecycle.sources import set_setting
from app.revocation.erasure_tables import Erasure
from app.revocation.receipts import departures_of
from connectors.contract import AccountId, AccountState, Unreachable
from tests.arranged_once import arranged_once
from tests.company import ADMIN
from tests.lagging import audit_may_lag
from tests.unit.delivery.crew import settle
from tests.unit.delivery.halls import Halls
from tests.unit.delivery.left_office import Office, office_of, on
from tests.workspace import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture
def office(installed: Flask) -> Office:
    return arranged_once(installed, _office_with_halls)


def _office_with_halls(app: Flask) -> Office:
    return office_of(app, Halls())


def test_it_is_erased_when_the_time_is_over_and_not_a_moment_before(office: Office) -> None:
    office.sets("90d")

    assert office.erases(day=89.99) == 0 and not office.is_erased()
    assert office.erases(day=90.01) == 1 and office.is_erased()

    assert office.erases(day=200) == 0 and not office.is_erased(office.bob)


def test_where_all_are_listed_nothing_is_written(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at all who ever left, each minute, must keep nobody waiting who writes to SQLite."""
    office.sets("90d")
    monkeypatch.setattr(retention, "keep_up", lambda *_, **__: pytest.fail("nothing is behind"))

    office.looks(day=1)


def test_unless_the_organisation_says_so_nothing_is_ever_erased(office: Office) -> None:
    office.looks(day=0)

    assert office.erases(day=9_000) == 0 and not office.is_erased()
    with reading() as session:
        assert session.scalars(select(Erasure)).all() == []


def test_the_receipt_says_when_and_how_it_is_known(office: Office) -> None:
    office.sets("90d")
    office.erases(day=90.01)

    with reading() as session:
        [told] = departures_of(session, office.company.organization_id, office.ada.person_id)
        deeds = session.scalars(select(Deed.did).where(Deed.subject_id == office.ada.person_id)).all()
    [row] = told.erased.values()
    assert (row.erased_at, row.grade, row.accounts) == (on(90.01), "re-read", [office.account(office.ada)])
    assert f"erased account {office.account(office.ada)}" in deeds


@pytest.mark.parametrize("day", [0, 30, 89.99])
def test_while_a_hold_stands_nothing_is_erased_and_afterwards_it_takes_another_day(office: Office, day: float) -> None:
    office.sets("90d")
    office.is_held(day=day)

    assert office.erases(day=100) == 0
    office.is_held_no_more(day=100)
    assert office.erases(day=100.99) == 0 and not office.is_erased()
    assert office.erases(day=101.2) == 1


def test_the_last_of_several_holds_counts(office: Office) -> None:
    office.sets("90d")
    office.is_held(reason="case 1")
    office.is_held(reason="case 2")
    office.is_held_no_more(day=50)

    assert office.erases(day=100) == 0
    office.is_held_no_more(day=102)
    assert office.erases(day=104) == 1


def test_a_hold_placed_at_that_very_moment_is_heard_before_the_workspace_is_asked(office: Office) -> None:
    office.sets("90d")

    def look(what: str, _number: int) -> None:
        if what == "find_account":
            office.there.before_call = None
            office.is_held(day=90.1)

    office.there.before_call = look
    assert office.erases(day=90.1) == 0

    assert not office.is_erased() and office.row().begun_at is None
    with reading() as session:
        assert len(legal_hold.standing(session, office.company.organization_id, office.ada.person_id)) == 1


def test_a_hold_that_comes_too_late_is_told_so(office: Office) -> None:
    office.sets("90d")
    office.erases(day=91)

    placed = office.is_held(day=92)

    assert [one.workspace_id for one in placed.too_late] == [office.workspace_id]


def test_a_hold_may_stand_before_anybody_leaves_and_is_written_down_where_few_read(office: Office) -> None:
    placed = in_transaction(
        lambda session: legal_hold.place(
            session, office.company.organization_id, office.bob.person_id, reason="secret case", ordered_by="counsel", actor=ADMIN, at=on(0)
        )
    )

    with reading() as session:
        person = session.get_one(Person, (office.company.organization_id, office.bob.person_id))
        [entry] = session.scalars(select(Entry).where(Entry.subject_id == placed.hold.id)).all()
    assert person.standing == "active"
    # What a leaf of the audit shows in the open, and what a SIEM is sent, names neither them nor the case.
    assert "secret" not in entry.because and office.bob.person_id not in (entry.subject_id, entry.because)
    assert (entry.after or {})["reason"] == "secret case"


def test_ending_a_hold_twice_is_ending_it_once(office: Office) -> None:
    placed = office.is_held()
    office.is_held_no_more(day=1)
    office.holds.append(placed.hold.id)
    office.is_held_no_more(day=2)

    with reading() as session:
        row = session.get_one(LegalHold, (office.company.organization_id, placed.hold.id))
    assert row.ended_at == on(1)


@pytest.mark.parametrize("delivered", [True, False])
def test_whoever_is_back_before_the_day_keeps_everything(office: Office, delivered: bool) -> None:
    """Also while the workspace has not heard of it yet: there they are deactivated still."""
    office.sets("90d")
    office.says(office.ada, StatementKind.RETURNS, day=30, deliver=delivered)

    assert office.erases(day=95) == 0 and not office.is_erased()
    office.looks(day=95)

    assert office.row().ended_why == "that departure is over"


def test_whoever_leaves_again_is_counted_from_then(office: Office) -> None:
    office.sets("90d")
    office.says(office.ada, StatementKind.RETURNS, day=30)
    office.says(office.ada, StatementKind.LEAVES, day=60)
    office.looks(day=60)

    assert office.erases(day=149) == 0 and not office.is_erased()
    assert office.erases(day=150.1) == 1


def test_whoever_is_only_away_loses_nothing(office: Office) -> None:
    office.says(office.bob, StatementKind.PAUSES)
    office.sets("90d")

    office.erases(day=200)

    assert not office.is_erased(office.bob)


def test_who_left_long_before_the_setting_is_seen_in_the_list_for_a_day_first(office: Office) -> None:
    office.sets("90d", day=400)

    assert office.row().due_at == on(401)
    assert office.erases(day=400.9) == 0
    assert office.erases(day=401.1) == 1


@pytest.mark.parametrize(("first", "then", "too_early", "due"), [("90d", "365d", 364, 365.1), ("365d", "90d", 299.5, 301.1)])
def test_another_setting_counts_for_who_waits_already(office: Office, first: str, then: str, too_early: float, due: float) -> None:
    office.sets(first)

    office.sets(then, day=80 if then == "365d" else 300)

    assert office.erases(day=too_early) == 0
    assert office.erases(day=due) == 1


def test_a_longer_setting_counts_at_once_though_nobody_has_looked_yet(office: Office) -> None:
    office.sets("90d")
    organization_id = office.company.organization_id
    in_transaction(
        lambda session: set_setting(session, session.get_one(Organization, organization_id), "erase_after", "365d", actor=ADMIN, at=on(91))
    )

    assert office.erases(day=91) == 0 and not office.is_erased()


def test_switched_off_nothing_waits_and_switched_on_again_it_waits_anew(office: Office) -> None:
    office.sets("90d")
    office.sets("off", day=10)
    assert office.row().ended_why == "erase_after is off" and office.erases(day=100) == 0

    office.sets("90d", day=120)

    assert office.row().ended_at is None and office.erases(day=120.5) == 0
    assert office.erases(day=121.1) == 1


def test_looking_again_lists_nobody_twice(office: Office) -> None:
    office.sets("90d")
    for _ in range(3):
        office.looks(day=1)

    with reading() as session:
        assert len(session.scalars(select(Erasure)).all()) == 1
        assert session.scalars(select(Entry.verb).where(Entry.subject_kind == "departure")).all() == []


def test_an_account_that_is_open_again_over_there_is_not_erased(office: Office) -> None:
    office.sets("90d")
    account = office.account(office.ada)
    office.there.accounts[account] = replace(office.there.accounts[account], state=AccountState.ACTIVE)

    assert office.erases(day=91) == 0 and not office.is_erased()
    assert "not deactivated" in (office.row().last_error or "")


def test_an_account_that_is_somebody_elses_by_now_is_not_erased(office: Office) -> None:
    office.sets("90d")
    account = office.account(office.ada)
    office.there.accounts[account] = replace(office.there.accounts[account], person_id="a stranger")

    assert office.erases(day=91) == 0 and not office.is_erased()


def test_a_workspace_that_does_not_answer_is_asked_again_later(office: Office) -> None:
    office.sets("90d")

    def down(what: str, _number: int) -> None:
        raise Unreachable("stand-in: no answer", sent=False)

    office.there.before_call = down
    assert office.erases(day=91) == 0
    assert office.row().last_error == "stand-in: no answer"
    office.there.before_call = None
    assert office.erases(day=91) == 0

    assert office.erases(day=92) == 1 and office.row().last_error is None


def test_what_the_workspace_only_says_it_did_is_not_believed(office: Office) -> None:
    office.sets("90d")
    assert isinstance(office.there, Halls)
    office.there.is_erased = lambda id: False  # type: ignore[method-assign]  # it is all still there

    assert office.erases(day=91) == 0

    assert office.row().erased_at is None and "not seen to be erased" in (office.row().last_error or "")


@pytest.mark.parametrize("stops", ["closed", "behind", "halted"])
def test_nothing_is_erased_while_it_is_not_known_who_is_back_or_nobody_could_read_it_later(office: Office, stops: str) -> None:
    office.sets("90d")
    if stops == "closed":
        in_transaction(lambda session: closed.shut_doors(session, because="restored", at=now()))
        closed.look_again()
    if stops == "halted":
        in_transaction(lambda session: _halt(session, office))

    if stops == "behind":
        audit_may_lag(office.app, 0)

    assert office.erases(day=91) == 0 and not office.is_erased()


def _halt(session: Session, office: Office) -> None:
    session.get_one(WorkspaceRow, (office.company.organization_id, office.workspace_id)).state = WorkspaceState.HALTED


def test_a_restored_backup_erases_nothing_for_a_week_as_holds_may_have_been_lost_with_it(office: Office) -> None:
    office.sets("90d")

    in_transaction(lambda session: restoring.open_again(session, office.app.config["DOORLIST"], actor=ADMIN, because="read again", at=on(95)))

    assert office.erases(day=101.9) == 0 and not office.is_erased()
    assert office.erases(day=102.1) == 1


def test_a_workspace_that_cannot_erase_is_asked_for_nothing(installed: Flask) -> None:
    office = office_of(installed, Workspace())
    office.sets("90d")

    assert office.erases(day=91) == 0

    assert office.row().ended_why == "this kind of workspace cannot erase"


def test_whoever_comes_back_in_that_moment_is_let_in_all_the_same(office: Office) -> None:
    """A workspace may erase by deactivating: whoever was let in between its look and that is shut out by it, and is let in once more."""
    office.sets("90d")
    account, there = office.account(office.ada), office.there

    def erases_late(id: AccountId) -> None:
        office.says(office.ada, StatementKind.RETURNS, day=91)
        assert there.accounts[id].state is AccountState.ACTIVE
        there.deactivate_account(id)

    there.erase_account = erases_late  # type: ignore[attr-defined]  # of a Halls
    office.erases(day=91)
    settle(office.app, there)

    assert there.accounts[account].state is AccountState.ACTIVE


def test_two_processes_at_once_erase_once(office: Office) -> None:
    office.sets("90d")
    asked: list[str] = []

    def beside(what: str, _number: int) -> None:
        if what == "find_account":
            office.there.before_call = lambda called, _: asked.append(called)
            assert office.erases(day=91) == 0

    office.there.before_call = beside
    assert office.erases(day=91) == 1

    assert asked.count("erase_account") == 1


def test_the_list_says_who_and_when_and_what_is_held_and_a_trial_says_what_would_come(office: Office) -> None:
    with reading() as session:
        [would] = retention.tried(session, office.company.organization_id, "90d", at=on(1))
    assert (would.person.id, would.due_at, would.held) == (office.ada.person_id, on(90) if would.left_at == on(0) else would.due_at, False)
    assert retention_of(office, lambda session: retention.listed(session, office.company.organization_id)) == []

    office.sets("90d")
    office.is_held()

    [listed] = retention_of(office, lambda session: retention.listed(session, office.company.organization_id))
    assert (listed.person.id, listed.workspace, listed.held) == (office.ada.person_id, "chat", True)
    assert listed.erasure.due_at - listed.erasure.left_at == timedelta(days=90)


def retention_of(office: Office, read: Callable[[Session], object]) -> list[retention.Listed]:
    with reading() as session:
        found = read(session)
    assert isinstance(found, list)
    return found
