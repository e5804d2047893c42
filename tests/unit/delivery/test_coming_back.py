"""Whoever is back is in what they were in, however far shutting them out had come: nobody has left by choice what they were taken out of."""

from __future__ import annotations

import pytest
from flask import Flask

from app.delivery import accounts, worker
from app.directory.tables import Record, StatementKind
from app.journal.tables import Lane
from connectors.contract import AccountId, AccountState, ChannelRef
from tests.arranged_once import arranged_once
from tests.unit.delivery.crew import Killed, StandInTargets
from tests.unit.delivery.led_company import LedCompany, led_company

pytestmark = pytest.mark.slow

BOB = AccountId("bob")
RULES = """
rules:
  - id: everyone
    name: all-hands
  - id: departments
    for_each: department
    name: "dept-{{ key | slug }}"
    keep_for: 14 days
  - id: fans
    where: 'costCenter eq "fans"'
    name: fans
    membership: MEMBERSHIP
"""


def fans_of(app: Flask, membership: str) -> LedCompany:
    firm = arranged_once(app, led_company)
    firm.rules(RULES.replace("MEMBERSHIP", membership))
    for record in (firm.bob, firm.olga):
        firm.changes(record, department="Sales", costCenter="fans")
    firm.delivers()
    return firm


def fans(firm: LedCompany) -> ChannelRef:
    return next(room.ref for room in firm.there.rooms.values() if room.name == "fans")


def returns(firm: LedCompany, record: Record) -> None:
    firm.passes(seconds=1)
    firm.says(record, StatementKind.RETURNS)


def is_shut_out_and_nobody_writes_it_down(firm: LedCompany, record: Record, kind: StatementKind) -> None:
    def kills(what: str, _: int) -> None:
        if what == "show_access":
            raise Killed

    firm.says(record, kind)
    firm.there.before_call = kills
    with pytest.raises(Killed):
        firm.delivers()
    firm.there.before_call = None
    assert firm.is_in(record) == set()


@pytest.mark.parametrize("kind", [StatementKind.PAUSES, StatementKind.LEAVES])
def test_whoever_is_back_before_they_were_seen_gone_is_where_they_were(installed: Flask, kind: StatementKind) -> None:
    firm = fans_of(installed, "added")
    is_shut_out_and_nobody_writes_it_down(firm, firm.bob, kind)

    returns(firm, firm.bob)
    firm.delivers()

    assert firm.is_in(firm.bob) == {"all-hands", "dept-sales", "fans"}


def test_and_is_invited_again_where_they_were_asked_in(installed: Flask) -> None:
    firm = fans_of(installed, "suggested")
    firm.there.members[fans(firm)].add(BOB)
    firm.looks_again_at(firm.bob)
    is_shut_out_and_nobody_writes_it_down(firm, firm.bob, StatementKind.PAUSES)

    returns(firm, firm.bob)
    firm.delivers()

    assert BOB in firm.there.invited[fans(firm)]


def test_but_not_in_what_they_had_left_by_choice_or_belong_in_no_more(installed: Flask) -> None:
    firm = fans_of(installed, "added")
    firm.there.members[fans(firm)].discard(BOB)
    firm.looks_again_at(firm.bob)
    is_shut_out_and_nobody_writes_it_down(firm, firm.bob, StatementKind.PAUSES)
    firm.changes(firm.bob, department="Legal", costCenter="fans")

    returns(firm, firm.bob)
    firm.delivers()

    assert firm.is_in(firm.bob) == {"all-hands", "dept-legal"}


def test_nor_in_what_they_were_only_kept_in_for_a_while(installed: Flask) -> None:
    firm = fans_of(installed, "added")
    firm.changes(firm.bob, department="Legal", costCenter="fans")
    firm.delivers()
    assert "dept-sales" in firm.is_in(firm.bob)
    is_shut_out_and_nobody_writes_it_down(firm, firm.bob, StatementKind.PAUSES)

    returns(firm, firm.bob)
    firm.delivers()

    assert firm.is_in(firm.bob) == {"all-hands", "dept-legal", "fans"}


def test_whoever_is_let_in_while_they_are_still_being_taken_out_is_put_in_once_more(installed: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    firm = fans_of(installed, "added")
    leave_all = firm.there._leave_all

    def is_back_meanwhile(id: AccountId) -> None:
        monkeypatch.undo()
        firm.changes(firm.bob, department="Legal", costCenter="fans")
        returns(firm, firm.bob)
        looks_in_between = worker.Worker(firm.app, threads={Lane.SYNC: 1}, clock=lambda: firm.at)
        looks_in_between._targets = StandInTargets(firm.there)
        looks_in_between.run_until_idle()
        leave_all(id)

    monkeypatch.setattr(firm.there, "_leave_all", is_back_meanwhile)
    firm.says(firm.bob, StatementKind.PAUSES)
    firm.delivers()

    assert firm.is_in(firm.bob) == {"all-hands", "dept-legal", "fans"}


def is_out_of_one_more_at_each_look(firm: LedCompany, monkeypatch: pytest.MonkeyPatch) -> list[ChannelRef]:
    """Whoever is deactivated is taken out of one room after another behind the answer, also once they are back; the rooms that are left to do."""
    there, channels_of, to_leave = firm.there, firm.there.channels_of, list[ChannelRef]()

    def is_to_be_out(id: AccountId) -> None:
        there.sessions[id] = 0
        to_leave.extend(channels_of(id))

    def is_looked_up(id: AccountId) -> frozenset[ChannelRef]:
        seen = channels_of(id)
        if to_leave and id == BOB:
            there.members[to_leave.pop()].discard(BOB)
        return seen

    monkeypatch.setattr(there, "_leave_all", is_to_be_out)
    monkeypatch.setattr(there, "channels_of", is_looked_up)
    return to_leave


def leaves_and_is_back_before_anybody_looks(firm: LedCompany) -> None:
    def kills(what: str, _: int) -> None:
        if what == "show_access":
            raise Killed

    firm.says(firm.bob)
    firm.there.before_call = kills
    with pytest.raises(Killed):
        firm.delivers()
    firm.there.before_call = None
    returns(firm, firm.bob)


def test_whoever_is_back_is_let_in_once_the_workspace_has_taken_them_out_of_all(installed: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    firm = fans_of(installed, "added")
    to_leave = is_out_of_one_more_at_each_look(firm, monkeypatch)
    leaves_and_is_back_before_anybody_looks(firm)

    firm.delivers()

    while to_leave:
        firm.there.channels_of(BOB)
    assert firm.is_in(firm.bob) == {"all-hands", "dept-sales", "fans"}


def test_and_all_the_same_where_it_leaves_them_in_one(installed: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    firm = fans_of(installed, "added")
    monkeypatch.setattr(accounts, "PATIENCE", 5)
    monkeypatch.setattr(firm.there, "_leave_all", lambda _: None)
    leaves_and_is_back_before_anybody_looks(firm)

    firm.delivers()

    assert firm.there.accounts[BOB].state is AccountState.ACTIVE
