"""Rooms that a leaver made: somebody else looks after them from then on, and nobody stays let in for the sake of it."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.access.tables import Workspace as WorkspaceRow
from app.clock import now
from app.database import in_transaction, new_id, reading
from app.directory.tables import StatementKind
from app.journal import work
from app.journal.tables import Lane, Subject
from app.lifecycle import handover
from app.lifecycle.handover import NoHeir
from connectors.contract import AccountState, ChannelRef
from tests.arranged_once import arranged_once
from tests.unit.delivery.crew import Killed, crew, make_everything_due, settle
from tests.unit.delivery.hall_company import HallCompany, hall_company
from tests.unit.delivery.halls import Halls

pytestmark = pytest.mark.slow


@pytest.fixture
def firm(installed: Flask) -> HallCompany:
    return arranged_once(installed, hall_company)


def test_a_leavers_room_is_her_managers_and_her_account_is_deactivated(firm: HallCompany) -> None:
    ref = firm.opens("Offsite", firm.bob)

    firm.says(firm.ada)
    firm.delivers()

    mia = firm.account(firm.mia)
    assert firm.told() == {"Offsite": ("handed over", mia)}
    assert mia in firm.there.halls[ref].owners and firm.there.halls[ref].invited == {mia}
    assert firm.state() is AccountState.DEACTIVATED
    assert firm.proof().gone_at is not None and firm.there.show_access(firm.account(firm.ada)).gone


def test_she_is_shut_out_and_known_to_be_before_the_first_room_is_looked_at(firm: HallCompany) -> None:
    firm.opens("Offsite", firm.bob)
    seen: list[bool] = []

    def look(what: str, _number: int) -> None:
        if what == "led_by":
            access = firm.there.show_access(firm.account(firm.ada))
            seen.append(access.shut and firm.proof().shut_at is not None)

    firm.there.before_call = look
    firm.says(firm.ada)
    firm.delivers()

    assert seen == [True]


def test_whoever_made_no_room_is_deactivated_in_the_same_stroke(firm: HallCompany) -> None:
    said: list[str] = []
    firm.there.before_call = lambda what, _number: said.append(what)

    firm.says(firm.ada)
    crew(firm.app, firm.there).step([Lane.DEPARTURES], "departures")

    assert [one for one in said if one not in ("find_account", "show_access")] == ["lock_account", "deactivate_account"]


@pytest.mark.parametrize("what", ["lock_account", "end_sessions", "show_access", "led_by", "hand_over", "channels_of", "deactivate_account"])
@pytest.mark.parametrize("after", [False, True])
def test_a_process_killed_anywhere_leaves_the_rest_to_the_next(firm: HallCompany, what: str, after: bool) -> None:
    refs = [firm.opens("Offsite", firm.bob), firm.opens("Reading", firm.bob)]
    seen = 0

    def kill(called: str, _number: int) -> None:
        nonlocal seen
        if called == what:
            seen += 1
            if seen == (2 if after else 1):
                firm.there.before_call = None
                raise Killed

    firm.there.before_call = kill
    firm.says(firm.ada)
    try:
        firm.delivers()
    except Killed:
        make_everything_due()
        firm.there.before_call = None
        firm.delivers()

    mia = firm.account(firm.mia)
    assert firm.told() == {"Offsite": ("handed over", mia), "Reading": ("handed over", mia)}
    assert all(mia in firm.there.halls[ref].owners for ref in refs)
    assert firm.state() is AccountState.DEACTIVATED and firm.proof().gone_at is not None


def test_a_room_that_others_own_is_theirs(firm: HallCompany) -> None:
    ref = firm.opens("Offsite", owners=(firm.bob,))

    firm.says(firm.ada)
    firm.delivers()

    assert firm.told() == {"Offsite": ("others own it", None)}
    assert firm.there.halls[ref].owners == {firm.account(firm.ada), firm.account(firm.bob)}


def test_of_two_owners_who_leave_at_once_neither_counts_on_the_other(firm: HallCompany) -> None:
    firm.opens("Offsite", firm.mia, owners=(firm.bob,))

    firm.says(firm.ada)
    firm.says(firm.bob)
    firm.delivers()

    assert firm.there.orphans() == set()
    assert firm.account(firm.mia) in firm.there.halls[ChannelRef("!hall-0000")].owners


def test_conversations_and_notes_to_herself_are_nobody_elses(firm: HallCompany) -> None:
    talk, notes = firm.opens("", firm.bob, direct=True), firm.opens("Notes")

    firm.says(firm.ada)
    firm.delivers()

    assert firm.told() == {"Notes": ("nobody else is in it", None)}
    assert all(firm.account(firm.mia) not in firm.there.halls[ref].owners for ref in (talk, notes))


def test_a_room_that_she_is_only_in_is_not_hers_to_give(firm: HallCompany) -> None:
    ref = firm.there.opens("Bob's", firm.account(firm.bob), firm.account(firm.ada))

    firm.says(firm.ada)
    firm.delivers()

    assert firm.told() == {} and firm.there.halls[ref].owners == {firm.account(firm.bob)}
    assert firm.state() is AccountState.DEACTIVATED


def test_where_nobody_could_take_over_it_says_so_and_she_is_out_all_the_same(firm: HallCompany) -> None:
    ref = firm.there.opens("Board", firm.account(firm.mia), firm.account(firm.bob))

    firm.says(firm.mia)
    firm.delivers()

    assert firm.told(firm.mia) == {"Board": ("could not", None)}
    assert firm.there.halls[ref].owners == {firm.account(firm.mia)}
    assert firm.state(firm.mia) is AccountState.DEACTIVATED


def test_a_manager_who_is_away_is_passed_over(firm: HallCompany) -> None:
    eve = firm.company.joins("eve@x.example", "E-9", manager={"value": firm.ada.id})
    firm.delivers()
    ref = firm.there.opens("Eve's", firm.account(eve), firm.account(firm.bob))
    firm.says(firm.ada, StatementKind.PAUSES)
    firm.delivers()

    firm.says(eve)
    firm.delivers()

    assert firm.account(firm.mia) in firm.there.halls[ref].owners


def test_whoever_was_named_takes_over_in_every_workspace(firm: HallCompany) -> None:
    there = {firm.workspace_id: firm.there, in_transaction(lambda session: _second_workspace(session, firm)): Halls()}
    firm.sets("handover", "none")
    settle(firm.app, firm.there, there)
    refs = {place: halls.opens("Offsite", firm.account(firm.ada, place), firm.account(firm.mia, place)) for place, halls in there.items()}
    firm.names(firm.bob, of=firm.ada)

    firm.says(firm.ada)
    settle(firm.app, firm.there, there)

    with reading() as session:
        found = next(handover.history(session, firm.person(session, firm.ada)))
    bob = {place: firm.account(firm.bob, place) for place in there}
    assert {one.workspace_id: (one.outcome, one.to_account) for one in found.channels} == {place: ("handed over", bob[place]) for place in there}
    assert all(bob[place] in halls.halls[refs[place]].owners for place, halls in there.items())


def _second_workspace(session: Session, firm: HallCompany) -> str:
    """Another one, in which everybody has yet to get an account."""
    row = WorkspaceRow(
        organization_id=firm.company.organization_id, id=new_id(), name="chat-2", kind="matrix", url="http://nowhere.invalid", sealed_token=b"",
        options={}, created_at=now(),
    )  # fmt: skip
    session.add(row)
    session.flush()
    everybody = [one.person_id for one in (firm.mia, firm.ada, firm.bob)]
    work.want(session, firm.company.organization_id, subject=Subject.PERSON, subject_ids=everybody, because=None, due_at=now())
    return row.id


def test_where_the_organisation_hands_nothing_over_nothing_is(firm: HallCompany) -> None:
    firm.sets("handover", "none")
    ref = firm.opens("Offsite", firm.bob)

    firm.says(firm.ada)
    firm.delivers()

    assert firm.told() == {} and firm.there.halls[ref].owners == {firm.account(firm.ada)}
    assert firm.state() is AccountState.DEACTIVATED


def test_that_nobody_takes_over_can_be_said_of_one_person(firm: HallCompany) -> None:
    firm.opens("Offsite", firm.bob)
    firm.names(None, of=firm.ada)

    firm.says(firm.ada)
    firm.delivers()

    assert firm.told() == {"Offsite": ("could not", None)}


def test_the_setting_may_name_somebody_behind_the_manager(firm: HallCompany) -> None:
    firm.sets("handover", "manager, bob@x.example")
    ref = firm.there.opens("Board", firm.account(firm.mia), firm.account(firm.ada))

    firm.says(firm.mia)
    firm.delivers()

    assert firm.account(firm.bob) in firm.there.halls[ref].owners


@pytest.mark.parametrize("who", ["herself", "somebody who has left", "somebody who is away"])
def test_nobody_without_access_can_be_named(firm: HallCompany, who: str) -> None:
    heir = firm.ada if who == "herself" else firm.bob
    if who != "herself":
        firm.says(firm.bob, StatementKind.LEAVES if "left" in who else StatementKind.PAUSES)

    with pytest.raises(NoHeir):
        firm.names(heir, of=firm.ada)
