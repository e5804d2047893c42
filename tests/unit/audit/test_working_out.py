"""What the sequencer works out before it writes: nobody waits for it, and it is written down only where it still fits."""

from __future__ import annotations

import pytest
from sqlalchemy import event, func, select

from app.audit import sequencer
from app.audit.tree_tables import AuditLeaf, AuditSequencer, AuditTree
from app.commands import evidence
from app.database import db, reading, transaction
from tests.unit.audit.growing import AT, Ledger, origin_of


def test_while_leaves_are_worked_out_others_write_and_theirs_are_for_the_next_pass(ledger: Ledger) -> None:
    first = ledger.writes(3)

    with reading() as session:
        found = sequencer.work_out(session, at=AT)
        second = ledger.writes(2)
    with transaction() as session:
        passed = sequencer.append(session, found, origin_of=origin_of)

    assert (passed.appended, ledger.sources()) == (3, first)
    assert ledger.passes() == 2
    assert ledger.sources() == [*first, *second]


@pytest.mark.parametrize("before", [0, 5], ids=["a new tree", "a tree that stands"])
def test_what_another_process_has_appended_meanwhile_is_not_appended_twice(ledger: Ledger, before: int) -> None:
    ledger.writes(before)
    ledger.passes()
    ledger.writes(3)
    with reading() as session:
        found = sequencer.work_out(session, at=AT)
    ledger.passes()
    stood = _standing()

    with transaction() as session:
        passed = sequencer.append(session, found, origin_of=origin_of)

    assert passed.elsewhere and passed.appended == 0
    assert _standing() == stood


def test_a_tree_that_has_grown_by_what_was_done_alone_is_not_grown_by_it_again(ledger: Ledger) -> None:
    ledger.writes(2)
    ledger.passes()
    ledger.does("shut account @ada:chat")
    with reading() as session:
        found = sequencer.work_out(session, at=AT)
    ledger.passes()

    with transaction() as session:
        assert sequencer.append(session, found, origin_of=origin_of).elsewhere

    assert len(ledger.sources()) == 2 and len(ledger.sources(kind="deed")) == 1


def test_where_one_writes_at_a_time_a_turn_reads_before_it_writes_and_elsewhere_under_its_lock(ledger: Ledger) -> None:
    ledger.writes(20)
    told: list[str] = []

    def note(*arguments: object) -> None:
        told.append(str(arguments[2]))

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        assert evidence.append(ledger.app.config["DOORLIST"]) == 20
    finally:
        event.remove(db.engine, "before_cursor_execute", note)

    reads = max(number for number, statement in enumerate(told) if "FROM journal" in statement)
    begins = "BEGIN IMMEDIATE" if db.engine.dialect.name == "sqlite" else "SELECT pg_try_advisory_xact_lock"
    locks = min(number for number, statement in enumerate(told) if statement.startswith(begins))
    assert (reads < locks) is (db.engine.dialect.name == "sqlite")


def test_whoever_signs_what_there_is_appends_all_that_has_waited(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "PASSES", 1)
    written = ledger.writes(2 * sequencer.BATCH + 1)

    assert evidence.append(ledger.app.config["DOORLIST"], most=1) == sequencer.BATCH
    assert evidence.catch_up(ledger.app.config["DOORLIST"]) == sequencer.BATCH + 1
    assert ledger.sources() == written


def _standing() -> tuple[object, ...]:
    with transaction() as session:
        leaves = session.scalar(select(func.count()).select_from(AuditLeaf))
        grown, state = session.get_one(AuditTree, "acme"), session.get_one(AuditSequencer, "journal")
        return leaves, grown.size, grown.frontier, state.high
