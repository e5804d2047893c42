"""Handing rooms over while somebody else leaves or comes back, the workspace fails, or the database may be an old one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from app.access import closed
from app.clock import now
from app.database import in_transaction, reading
from app.delivery import handing_over
from app.directory.tables import StatementKind
from app.journal.tables import Lane
from app.lifecycle import handover
from app.revocation.departures import history
from connectors.contract import AccountId, AccountState, ChannelRef, ConnectorError, Missing, Refused, Unreachable
from tests.arranged_once import arranged_once
from tests.unit.delivery.crew import crew, make_everything_due
from tests.unit.delivery.hall_company import HallCompany, hall_company

pytestmark = pytest.mark.slow


@pytest.fixture
def firm(installed: Flask) -> HallCompany:
    return arranged_once(installed, hall_company)


def test_whoever_leaves_at_that_moment_is_given_nothing_and_the_next_above_is(firm: HallCompany) -> None:
    eve = firm.company.joins("eve@x.example", "E-9", manager={"value": firm.ada.id})
    firm.delivers()
    ref = firm.there.opens("Eve's", firm.account(eve), firm.account(firm.bob))

    def just_before(what: str, _number: int) -> None:
        if what == "led_by":
            firm.there.before_call = None
            hand_over = firm.there.hand_over

            def leave_first(ref: ChannelRef, to: AccountId, *, permit: Callable[[], None]) -> object:
                firm.there.hand_over = hand_over  # type: ignore[method-assign]  # once
                firm.says(firm.ada)
                return hand_over(ref, to, permit=permit)

            firm.there.hand_over = leave_first  # type: ignore[method-assign, assignment]  # once

    firm.there.before_call = just_before
    firm.says(eve)
    firm.delivers()

    assert firm.account(firm.ada) not in firm.there.halls[ref].owners
    assert firm.account(firm.mia) in firm.there.halls[ref].owners
    assert firm.told(eve) == {"Eve's": ("handed over", firm.account(firm.mia))}


def test_whoever_comes_back_meanwhile_keeps_the_rest_and_is_let_in(firm: HallCompany) -> None:
    firm.opens("Offsite", firm.bob)

    def come_back(what: str, _number: int) -> None:
        if what == "led_by":
            firm.there.before_call = None
            firm.says(firm.ada, StatementKind.RETURNS)

    firm.there.before_call = come_back
    firm.says(firm.ada)
    firm.delivers()

    assert firm.account(firm.mia) not in firm.there.halls[ChannelRef("!hall-0000")].owners
    assert firm.state() is AccountState.ACTIVE
    assert firm.there.names_of(firm.account(firm.ada)) >= {"all-hands", "dept-sales"}


def test_a_room_that_fails_again_and_again_keeps_nobody_half_shut_out(firm: HallCompany) -> None:
    bad, good = firm.opens("Broken", firm.bob), firm.opens("Good", firm.bob)
    real = firm.there.led_by

    def led_by(ref: ChannelRef, id: AccountId) -> object:
        if ref == bad:
            raise Unreachable("stand-in: answered 500", sent=True)
        return real(ref, id)

    firm.there.led_by = led_by  # type: ignore[method-assign, assignment]  # one room is broken over there
    firm.says(firm.ada)
    firm.delivers()

    mia = firm.account(firm.mia)
    assert firm.told() == {bad: ("could not", None), "Good": ("handed over", mia)}
    assert mia in firm.there.halls[good].owners and firm.state() is AccountState.DEACTIVATED
    with reading() as session:
        found = next(handover.history(session, firm.person(session, firm.ada)))
    assert {one.because for one in found.channels if one.outcome == "could not"} == {"stand-in: answered 500"}


def test_a_workspace_that_does_not_say_where_she_is_keeps_her_out_and_is_asked_again(firm: HallCompany) -> None:
    ref = firm.opens("Offsite", firm.bob)
    real, asked = firm.there.lock_account, 0

    def lock_account(id: AccountId) -> frozenset[ChannelRef] | None:
        nonlocal asked
        asked += 1
        return None if real(id) and asked == 1 else real(id)

    firm.there.lock_account = lock_account  # type: ignore[method-assign]  # no answer to one question
    firm.says(firm.ada)
    firm.delivers()

    assert firm.account(firm.mia) in firm.there.halls[ref].owners and firm.state() is AccountState.DEACTIVATED


@pytest.mark.parametrize("error", [Unreachable("stand-in: answered 500", sent=True), Refused("stand-in: answered 403"), Missing("stand-in: answered 404")])
def test_where_the_list_never_comes_she_is_deactivated_all_the_same(firm: HallCompany, error: ConnectorError) -> None:
    firm.opens("Offsite", firm.bob)
    account, real = firm.account(firm.ada), firm.there.channels_of

    def channels_of(id: AccountId) -> frozenset[ChannelRef]:
        if id == account:
            raise error
        return real(id)

    firm.there.channels_of = channels_of  # type: ignore[method-assign]  # no answer to one question
    firm.says(firm.ada)
    firm.delivers()

    assert firm.state() is AccountState.DEACTIVATED and firm.proof().gone_at is not None
    with reading() as session:
        departure, _ = next(history(session, firm.company.organization_id, firm.ada.person_id))
        place = handover.place_of(session, firm.company.organization_id, departure.id, firm.workspace_id)
    assert place is not None and place.last_error == str(error)


def test_a_session_that_outlives_the_lock_is_not_waited_for(firm: HallCompany) -> None:
    firm.opens("Offsite", firm.bob)
    firm.there.end_sessions = lambda id: 0  # type: ignore[method-assign]  # it ends nothing

    firm.says(firm.ada)
    crew(firm.app, firm.there).step([Lane.DEPARTURES], "departures")

    assert firm.state() is AccountState.DEACTIVATED and firm.proof().shut_at is not None
    with reading() as session:
        departure, _ = next(history(session, firm.company.organization_id, firm.ada.person_id))
        place = handover.place_of(session, firm.company.organization_id, departure.id, firm.workspace_id)
    assert place is not None and place.done_at is not None and "outlived the lock" in (place.last_error or "")


def test_who_is_only_away_keeps_her_rooms(firm: HallCompany) -> None:
    ref = firm.opens("Offsite", firm.bob)

    firm.says(firm.ada, StatementKind.PAUSES)
    firm.delivers()

    assert firm.told() == {} and firm.there.halls[ref].owners == {firm.account(firm.ada)}


def test_who_was_away_and_then_leaves_hands_over_what_she_is_still_in(firm: HallCompany) -> None:
    ref = firm.opens("Offsite", firm.bob)
    firm.there._leave_all = lambda id: firm.there.sessions.update({id: 0})  # type: ignore[method-assign]  # a pause takes nobody out of others' rooms
    firm.says(firm.ada, StatementKind.PAUSES)
    for _ in range(3):
        crew(firm.app, firm.there).step([Lane.DEPARTURES], "departures")
    del firm.there._leave_all

    firm.says(firm.ada)
    firm.delivers()

    assert firm.account(firm.mia) in firm.there.halls[ref].owners and firm.state() is AccountState.DEACTIVATED


def test_devices_that_cannot_be_ended_one_by_one_are_ended_by_deactivating(firm: HallCompany) -> None:
    firm.opens("Offsite", firm.bob)

    def end_sessions(id: AccountId) -> int:
        raise Unreachable("stand-in: answered 500", sent=True)

    firm.there.end_sessions = end_sessions  # type: ignore[method-assign]  # it never does
    firm.says(firm.ada)
    crew(firm.app, firm.there).step([Lane.DEPARTURES], "departures")

    assert firm.state() is AccountState.DEACTIVATED and firm.proof().shut_at is not None
    with reading() as session:
        departure, _ = next(history(session, firm.company.organization_id, firm.ada.person_id))
        place = handover.place_of(session, firm.company.organization_id, departure.id, firm.workspace_id)
    assert place is not None and place.last_error == "had to be deactivated at once: stand-in: answered 500"


def test_a_channel_that_does_not_let_her_go_keeps_nobody_from_shutting_her_out(firm: HallCompany) -> None:
    ref = firm.opens("Offsite", firm.bob)

    def remove_members(_ref: ChannelRef, _accounts: object) -> None:
        raise Unreachable("stand-in: answered 500", sent=True)

    firm.there.remove_members = remove_members  # type: ignore[method-assign, assignment]  # it never does
    firm.says(firm.ada)
    firm.delivers()

    assert firm.account(firm.mia) in firm.there.halls[ref].owners and firm.state() is AccountState.DEACTIVATED


def test_many_rooms_take_turns_with_others_who_leave(firm: HallCompany, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handing_over, "SECONDS_AT_ONCE", 0.0)
    refs = [firm.opens(f"Room {number}", firm.mia) for number in range(6)]
    done_when_bob_was_shut: list[int] = []

    def look(what: str, number: int) -> None:
        if what == "led_by" and number and not done_when_bob_was_shut:
            firm.there.before_call = watch
            firm.says(firm.bob)

    def watch(what: str, _number: int) -> None:
        if what == "lock_account":
            done_when_bob_was_shut.append(len(firm.told()))
            firm.there.before_call = None

    firm.there.before_call = look
    firm.says(firm.ada)
    firm.delivers()

    assert done_when_bob_was_shut and done_when_bob_was_shut[0] < 3
    assert all(firm.account(firm.mia) in firm.there.halls[ref].owners for ref in refs)
    assert firm.state() is firm.state(firm.bob) is AccountState.DEACTIVATED


def test_whoever_leaves_meanwhile_is_shut_out_before_the_next_room(firm: HallCompany) -> None:
    refs = [firm.opens(f"Room {number}", firm.mia) for number in range(6)]
    done_when_bob_was_shut: list[int] = []

    def bob_leaves(what: str, _number: int) -> None:
        if what == "led_by":
            firm.there.before_call = look
            firm.says(firm.bob)

    def look(what: str, _number: int) -> None:
        if what == "lock_account":
            done_when_bob_was_shut.append(len(firm.told()))
            firm.there.before_call = None

    firm.there.before_call = bob_leaves
    firm.says(firm.ada)
    firm.delivers()

    assert done_when_bob_was_shut == [1]
    assert all(firm.account(firm.mia) in firm.there.halls[ref].owners for ref in refs)


def test_while_the_evidence_is_behind_she_is_shut_out_and_nothing_is_given(firm: HallCompany, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = firm.opens("Offsite", firm.bob)
    monkeypatch.setattr(handing_over, "audit_is_behind", lambda _session, *, at: True)

    firm.says(firm.ada)
    for _ in range(6):
        crew(firm.app, firm.there).run_until_idle()
        make_everything_due()

    assert firm.proof().shut_at is not None and firm.there.halls[ref].owners == {firm.account(firm.ada)}

    monkeypatch.undo()
    firm.delivers()
    assert firm.account(firm.mia) in firm.there.halls[ref].owners and firm.state() is AccountState.DEACTIVATED


def test_while_a_restored_backup_is_closed_she_is_shut_out_and_nothing_is_given(firm: HallCompany) -> None:
    ref = firm.opens("Offsite", firm.bob)
    in_transaction(lambda session: closed.shut_doors(session, because="restored", at=now()))
    closed.look_again()

    firm.says(firm.ada)
    for _ in range(6):
        crew(firm.app, firm.there).run_until_idle()
        make_everything_due()

    assert firm.proof().shut_at is not None and firm.there.show_access(firm.account(firm.ada)).shut
    assert firm.there.halls[ref].owners == {firm.account(firm.ada)}

    in_transaction(lambda session: closed.open_doors(session, firm.app.config["DOORLIST"], at=now() + timedelta(seconds=1)))
    closed.look_again()
    firm.delivers()
    assert firm.account(firm.mia) in firm.there.halls[ref].owners and firm.state() is AccountState.DEACTIVATED
