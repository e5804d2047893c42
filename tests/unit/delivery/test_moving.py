"""The receipt of a mover: what they left and joined because of which change, until when they stay, and what is called off again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask

from app.database import in_transaction, reading
from app.delivery.expansion import expand_person
from app.directory.tables import Record, StatementKind
from app.rules.move_receipts import MoveTold, moves_of
from tests.arranged_once import arranged_once
from tests.unit.delivery.led_company import BEGINNING, LedCompany, led_company

pytestmark = pytest.mark.slow


@pytest.fixture
def firm(installed: Flask) -> LedCompany:
    return arranged_once(installed, led_company)


def moves(firm: LedCompany, record: Record) -> list[MoveTold]:
    with reading() as session:
        return moves_of(session, firm.company.organization_id, record.person_id)


def lines(told: MoveTold) -> dict[str, tuple[str, bool]]:
    """What somebody does with each channel, and whether it has come about."""
    return {line.name: (line.step, line.done_at is not None) for line, _ in told.lines}


def test_a_mover_is_told_what_they_joined_and_until_when_they_keep_what_they_left(firm: LedCompany) -> None:
    # A whole team that goes to somebody else takes its channel along, so one of it stays.
    firm.joins("cy", manager=firm.ada, department="Sales")
    firm.delivers()
    firm.changes(firm.bob, manager=firm.mia, department="Legal")
    firm.delivers()

    [told] = moves(firm, firm.bob)
    assert lines(told) == {
        "dept-legal": ("joins", True), "team-mia-x-example": ("joins", True), "dept-sales": ("leaves", False), "team-ada-x-example": ("leaves", True),
    }  # fmt: skip
    [kept] = [line for line, _ in told.lines if line.name == "dept-sales"]
    assert kept.until is not None and timedelta(days=13, hours=23) < kept.until - BEGINNING < timedelta(days=14, hours=1)
    assert "dept-sales" in firm.is_in(firm.bob)


def test_once_that_is_over_it_says_since_when_they_are_out(firm: LedCompany) -> None:
    firm.changes(firm.bob, manager=firm.ada, department="Legal")
    firm.delivers()

    firm.passes(days=14, minutes=5)
    firm.delivers()

    [told] = moves(firm, firm.bob)
    assert lines(told) == {"dept-legal": ("joins", True), "dept-sales": ("leaves", True)}
    assert "dept-sales" not in firm.is_in(firm.bob)


def test_it_names_the_change_who_said_it_and_what_was_different(firm: LedCompany) -> None:
    firm.changes(firm.bob, manager=firm.ada, department="Legal")
    firm.delivers()

    [told] = moves(firm, firm.bob)
    assert told.entry is not None and (told.entry.verb, told.entry.actor, told.entry.because) == ("changed", "source:okta", "moved")
    assert [(one.attribute, one.before, one.after) for one in told.changed] == [("department", "Sales", "Legal")]


def test_what_a_later_change_called_off_is_said_so(firm: LedCompany) -> None:
    firm.changes(firm.bob, manager=firm.ada, department="Legal")
    firm.delivers()
    firm.passes(days=1)

    firm.changes(firm.bob, manager=firm.ada, department="Sales")
    firm.delivers()

    second, first = moves(firm, firm.bob)
    assert [line.name for line, _ in first.lines if line.withdrawn_at is not None] == ["dept-sales"]
    assert lines(second) == {"dept-legal": ("leaves", False)}
    # They are back in for good: what they were to keep for two weeks is theirs again.
    firm.passes(days=20)
    firm.delivers()
    assert "dept-sales" in firm.is_in(firm.bob)


def test_whoever_comes_back_and_moves_again_keeps_it_as_long_as_anybody(firm: LedCompany) -> None:
    for department in ("Legal", "Sales", "Legal"):
        firm.passes(days=1)
        firm.changes(firm.bob, manager=firm.ada, department=department)
        firm.delivers()

    firm.passes(days=13)
    firm.delivers()

    assert "dept-sales" in firm.is_in(firm.bob)
    firm.passes(days=1, hours=1)
    firm.delivers()
    assert "dept-sales" not in firm.is_in(firm.bob)


def test_whoever_joins_leaves_or_returns_is_no_mover(firm: LedCompany) -> None:
    firm.says(firm.bob)
    firm.delivers()
    firm.passes(minutes=1)
    firm.says(firm.bob, StatementKind.RETURNS)
    firm.delivers()

    assert moves(firm, firm.bob) == [] and moves(firm, firm.olga) == []


def test_a_change_that_takes_nobody_anywhere_leaves_no_receipt(firm: LedCompany) -> None:
    firm.changes(firm.bob, manager=firm.ada, department="Sales", costCenter="42")
    firm.delivers()

    assert moves(firm, firm.bob) == []


def test_rules_that_take_people_elsewhere_are_named_as_the_reason(firm: LedCompany) -> None:
    firm.rules('rules:\n  - {id: everyone, name: all-hands}\n  - {id: sales, where: "department eq \\"Sales\\"", name: selling}\n')
    firm.delivers()

    [told] = moves(firm, firm.bob)
    assert told.entry is not None and (told.entry.verb, told.entry.because) == ("apply rules", "rules revision 3")
    assert lines(told)["selling"] == ("joins", True) and told.changed == ()


def test_an_exception_is_told_as_well(firm: LedCompany) -> None:
    firm.allows(firm.bob, "dept-board", days=3)
    firm.delivers()
    firm.passes(days=3, minutes=5)
    firm.delivers()

    second, first = moves(firm, firm.bob)
    assert first.entry is not None and first.entry.verb == "exception approved"
    assert lines(first) == {"dept-board": ("joins", True)} and lines(second) == {"dept-board": ("leaves", True)}


def test_looking_at_somebody_twice_writes_one_move(firm: LedCompany) -> None:
    firm.changes(firm.bob, manager=firm.ada, department="Legal")

    for _ in range(2):
        in_transaction(lambda session: expand_person(session, firm.company.organization_id, firm.bob.person_id, at=firm.at, because=7))
    firm.delivers()

    assert len(moves(firm, firm.bob)) == 1


def test_who_keeps_a_channel_keeps_the_space_above_it_as_long(firm: LedCompany) -> None:
    firm.rules('rules:\n  - {id: departments, for_each: department, name: "{{ key }}", parent: "around {{ key }}", keep_for: 14 days}\n')
    firm.joins("cy", department="Sales")
    firm.joins("dee", department="Legal")
    firm.delivers()
    firm.changes(firm.bob, department="Legal")
    firm.delivers()

    assert firm.is_in(firm.bob) == {"Sales", "around Sales", "Legal", "around Legal"}
    firm.passes(days=14, minutes=5)
    firm.delivers()
    assert firm.is_in(firm.bob) == {"Legal", "around Legal"}
