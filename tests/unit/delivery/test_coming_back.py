"""Whoever is back is in what they were in, however far shutting them out had come: nobody has left by choice what they were taken out of."""

from __future__ import annotations

import pytest
from flask import Flask

from app.delivery import worker
from app.directory.tables import Record, StatementKind
from app.journal.tables import Lane
from connectors.contract import AccountId, ChannelRef
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
        looks_in_between._targets = StandInTargets(firm.there)  # type: ignore[assignment]  # the stand-in keeps the same promises
        looks_in_between.run_until_idle()
        leave_all(id)

    monkeypatch.setattr(firm.there, "_leave_all", is_back_meanwhile)
    firm.says(firm.bob, StatementKind.PAUSES)
    firm.delivers()

    assert firm.is_in(firm.bob) == {"all-hands", "dept-legal", "fans"}
