"""The sequencer: everything becomes one leaf, whenever it was committed, and the tree stays what it was signed to be."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import delete, event, func, select, text, update
from sqlalchemy.orm import Session

from app import database
from app.audit import checkpoints, lag, notes, sequencer, tree
from app.audit.stored import StoredTree, TreeBroken
from app.audit.tree_tables import AuditCheckpoint, AuditLeaf, AuditNode, AuditSequencer, AuditTree
from app.clock import now
from app.database import db, reading, transaction
from tests.lagging import audit_may_lag
from tests.unit.audit.evidence import exported_from
from tests.unit.audit.growing import AT, Ledger, later, origin_of, write


def test_every_entry_and_every_deed_becomes_one_leaf(ledger: Ledger) -> None:
    numbers = ledger.writes(3)
    ledger.does("shut account @ada:chat")

    first, second = ledger.passes(), ledger.passes()

    assert (first, second) == (4, 0)
    assert ledger.sources() == numbers
    assert len(ledger.sources(kind="deed")) == 1


def test_each_organisation_has_a_tree_of_its_own(ledger: Ledger) -> None:
    mine, theirs = ledger.writes(2), ledger.writes(3, "globex")

    ledger.passes()

    assert ledger.sources() == mine
    assert ledger.sources("globex") == theirs
    with transaction() as session:
        assert session.get_one(AuditTree, "acme").origin == "id.acme.example/audit/acme"


def test_a_batch_that_is_full_says_that_there_is_more(ledger: Ledger) -> None:
    numbers = ledger.writes(7)

    with transaction() as session:
        passed = sequencer.run_pass(session, at=AT, origin_of=origin_of, batch=5)

    assert (passed.appended, passed.more) == (5, True)
    assert ledger.passes(batch=5) == 2
    assert ledger.sources() == numbers


def test_a_leaf_holds_neither_names_nor_values_but_can_be_checked_against_them(ledger: Ledger) -> None:
    ledger.writes(1, after={"userName": "ylva@acme.example", "password": "s3cret"})
    ledger.passes()

    with transaction() as session:
        row = session.scalars(select(AuditLeaf)).one()

    assert row.leaf is not None
    # Words that hexadecimal digits cannot spell by chance.
    assert not [word for word in ("ylva", "s3cret", "grace", "a test") if word in row.leaf]
    said = json.loads(row.leaf)
    assert (said["verb"], said["subject_id"], said["at"]) == ("joined", "p1", "2026-11-26T12:00:00.000000Z")
    assert "before" not in said
    assert row.hash == tree.leaf_hash(row.leaf.encode())


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
class TestWhatIsCommittedLate:
    """PostgreSQL numbers rows before they are committed, so that a lower number may come after a higher one."""

    def test_an_entry_that_commits_after_a_later_one_still_becomes_a_leaf(self, ledger: Ledger) -> None:
        with Session(db.engine) as slow:
            late = write(slow)
            early = ledger.writes(1)[0]
            assert late < early
            ledger.passes()
            assert ledger.sources() == [early]

            slow.commit()

        ledger.passes()
        assert ledger.sources() == [early, late]

    def test_one_that_takes_long_is_waited_for_over_many_passes(self, ledger: Ledger) -> None:
        with Session(db.engine) as slow:
            late = [write(slow), write(slow)]
            for _ in range(5):
                ledger.writes(2)
                ledger.passes()

            slow.commit()

        ledger.passes()
        assert set(late) <= set(ledger.sources())
        assert len(ledger.sources()) == len(set(ledger.sources())) == 12

    def test_of_two_that_are_late_each_comes_when_it_is_there(self, ledger: Ledger) -> None:
        with Session(db.engine) as slow, Session(db.engine) as slower:
            first, second, third = write(slow), write(slower), write(slow)
            early = ledger.writes(1)[0]
            ledger.passes()

            slow.commit()
            ledger.passes()
            slower.commit()

        ledger.passes()
        assert ledger.sources() == [early, first, third, second]

    def test_a_number_that_was_rolled_back_is_waited_for_no_longer_than_its_transaction_lives(self, ledger: Ledger) -> None:
        with Session(db.engine) as slow:
            write(slow)
            ledger.writes(1)
            ledger.passes()
            assert self._gaps() != []
            slow.rollback()

        ledger.passes()

        assert self._gaps() == []
        assert ledger.passes() == 0

    def test_many_that_are_rolled_back_meanwhile_hide_none_that_is_late(self, ledger: Ledger) -> None:
        with Session(db.engine) as slow:
            late = [write(slow)]
            for _ in range(30):
                with Session(db.engine) as gone:
                    write(gone)
                    gone.rollback()
                ledger.writes(1)
            ledger.passes()
            late.append(write(slow))
            with Session(db.engine) as gone:
                # As many as a sequence jumps over when it is set anew.
                gone.execute(text("SELECT nextval('journal_id_seq') FROM generate_series(1, 500)"))
            ledger.writes(1)
            ledger.passes()
            assert len(self._gaps()) >= 31

            slow.commit()

        ledger.passes()
        assert set(late) <= set(ledger.sources())
        assert len(ledger.sources()) == 33
        ledger.passes()
        assert self._gaps() == []

    def _gaps(self) -> list[object]:
        with transaction() as session:
            return session.get_one(AuditSequencer, "journal").gaps

    def test_a_second_sequencer_does_nothing_while_the_first_is_at_it(self, ledger: Ledger) -> None:
        numbers = ledger.writes(3)
        with Session(db.engine) as first:
            sequencer.run_pass(first, at=AT, origin_of=origin_of)

            with Session(db.engine) as second:
                passed = sequencer.run_pass(second, at=AT, origin_of=origin_of)
            first.commit()

        assert passed.elsewhere
        assert ledger.sources() == numbers


def test_appending_costs_by_the_new_leaves_and_not_by_the_tree(ledger: Ledger) -> None:
    def statements(leaves: int) -> int:
        ledger.writes(leaves)
        told: list[str] = []

        def note(*arguments: object) -> None:
            told.append(str(arguments[2]))

        event.listen(db.engine, "before_cursor_execute", note)
        ledger.passes(batch=1000)
        event.remove(db.engine, "before_cursor_execute", note)
        return len(told)

    few = statements(10)
    statements(900)

    # One more where a node of the eighth level was completed.
    assert statements(10) <= few + 1


def test_stored_hashes_lead_to_the_same_root_as_the_frontier(ledger: Ledger) -> None:
    ledger.writes(700)
    ledger.passes()

    with transaction() as session:
        grown = session.get_one(AuditTree, "acme")
        leaves = list(session.scalars(select(AuditLeaf).order_by(AuditLeaf.number)))
        stored = StoredTree(session, "acme")
        path = tree.inclusion_proof(301, 700, stored)
        nodes = session.scalar(select(func.count()).select_from(AuditNode))
        root = tree.root_at(700, stored)

    assert nodes == 2
    assert root == tree.root_from_inclusion(leaves[301].hash, 301, 700, path)
    frontier = tree.Frontier()
    for leaf in leaves:
        frontier.append(leaf.hash)
    assert frontier.root() == root
    assert grown.frontier == [one.hex() for one in frontier.hashes]


def test_a_checkpoint_is_a_note_that_others_can_open(ledger: Ledger) -> None:
    ledger.writes(5)
    ledger.passes()

    made = ledger.signs()

    checkpoint = notes.opened(made.note, ledger.public())
    assert (checkpoint.origin, checkpoint.size, checkpoint.root) == ("id.acme.example/audit/acme", 5, made.root)


def test_a_checkpoint_is_signed_once_for_each_size(ledger: Ledger) -> None:
    ledger.writes(5)
    ledger.passes()

    assert ledger.signs().note == ledger.signs(at=later(90)).note


def test_checkpoints_are_due_a_minute_after_the_last_where_something_has_come(ledger: Ledger) -> None:
    def due(seconds: float) -> list[str]:
        with transaction() as session:
            return list(checkpoints.due(session, at=later(seconds)))

    ledger.writes(1)
    ledger.passes()
    assert due(0) == ["acme"]
    ledger.signs()

    assert due(600) == []
    ledger.writes(1)
    ledger.passes()
    assert due(59) == []
    assert due(60) == ["acme"]


def test_a_checkpoint_is_never_dated_before_the_one_that_it_follows(ledger: Ledger, tmp_path: Path) -> None:
    """Clocks of several machines differ, and one may be turned back: whoever checks would take that for an altered log."""
    for seconds in (0, -3600, 3600):
        ledger.writes(1)
        ledger.passes(later(seconds))
        ledger.signs(at=later(seconds))

    with transaction() as session:
        dated = list(session.scalars(select(AuditCheckpoint.at).order_by(AuditCheckpoint.size)))
        assert session.get_one(AuditTree, "acme").checkpoint_at == later(3600)
    assert dated == [AT, AT, later(3600)]
    assert [str(one) for one in exported_from(ledger, tmp_path).verdict().faults] == []


def test_a_clock_that_was_a_year_ahead_once_keeps_nothing_from_being_signed(ledger: Ledger) -> None:
    ledger.writes(1)
    ledger.passes()
    ledger.signs(at=AT + timedelta(days=365))
    ledger.writes(1)
    ledger.passes()

    with transaction() as session:
        assert list(checkpoints.due(session, at=later(60))) == ["acme"]
    assert ledger.signs(at=later(60)).at == AT + timedelta(days=365)


@pytest.mark.parametrize("leaf", [2, 5], ids=["signed", "new"])
@pytest.mark.parametrize("change", [{"hash": b"\1" * 32}, None], ids=["altered", "removed"])
def test_nothing_is_signed_over_a_tree_that_is_not_what_it_was(ledger: Ledger, change: dict[str, object] | None, leaf: int) -> None:
    ledger.writes(5)
    ledger.passes()
    ledger.signs()
    ledger.writes(1)
    ledger.passes()
    mine = AuditLeaf.organization_id == "acme", AuditLeaf.number == leaf
    with transaction() as session:
        session.execute(delete(AuditLeaf).where(*mine) if change is None else update(AuditLeaf).where(*mine).values(**change))

    with pytest.raises(TreeBroken):
        ledger.signs()


def test_even_the_first_checkpoint_is_signed_only_over_what_was_appended(ledger: Ledger) -> None:
    ledger.writes(5)
    ledger.passes()
    with transaction() as session:
        session.execute(update(AuditLeaf).where(AuditLeaf.number == 2).values(hash=b"\1" * 32))

    with pytest.raises(TreeBroken, match="do not lead to its root"):
        ledger.signs()


def test_a_tree_that_was_made_anew_is_not_signed_over_the_old_one(ledger: Ledger) -> None:
    ledger.writes(5)
    ledger.passes()
    ledger.signs()
    with transaction() as session:
        # Whoever has the database can make a whole other tree that fits in itself.
        frontier = tree.Frontier()
        for row in session.scalars(select(AuditLeaf).order_by(AuditLeaf.number)):
            row.hash = tree.leaf_hash(b"forged" + str(row.number).encode())
            frontier.append(row.hash)
        session.get_one(AuditTree, "acme").frontier = [one.hex() for one in frontier.hashes]
    ledger.writes(1)
    ledger.passes()

    with pytest.raises(TreeBroken, match="does not begin with the 5 leaves"):
        ledger.signs()


def test_a_clock_that_was_turned_back_does_not_turn_the_tree_back(ledger: Ledger) -> None:
    ledger.writes(1)
    ledger.passes(AT)
    ledger.writes(1)

    ledger.passes(AT - timedelta(days=1))

    with transaction() as session:
        assert list(session.scalars(select(AuditLeaf.sequenced_at).order_by(AuditLeaf.number))) == [AT, AT]


def _behind(seconds: float) -> bool:
    with reading() as session:
        return lag.audit_is_behind(session, at=later(seconds))


def test_a_sequencer_that_has_stopped_is_seen_by_what_waits_for_it(ledger: Ledger) -> None:
    audit_may_lag(ledger.app)
    ledger.writes(1)
    ledger.passes()
    ledger.writes(1)

    assert not _behind(60)
    assert _behind(61)


@pytest.mark.parametrize("ahead", [300, -300])
def test_a_machine_whose_clock_is_another_counts_by_the_one_that_all_share(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    if db.engine.dialect.name != "postgresql":
        pytest.skip("a file is on one machine, which has one clock")
    audit_may_lag(ledger.app)
    ledger.writes(1)
    monkeypatch.setattr(database, "now", lambda: now() + timedelta(seconds=ahead))

    assert not _behind(ahead + 2)
    assert _behind(ahead + 62)


def test_an_installation_that_is_idle_is_not_behind(ledger: Ledger) -> None:
    ledger.writes(1)
    ledger.passes()

    assert not _behind(86_400)


def test_a_sequencer_that_never_ran_is_behind_as_well(ledger: Ledger) -> None:
    audit_may_lag(ledger.app)
    assert not _behind(86_400)

    ledger.writes(1)

    assert _behind(61)


def test_what_a_sequencer_has_caught_up_with_is_granted_again(ledger: Ledger) -> None:
    audit_may_lag(ledger.app)
    ledger.writes(1)
    assert _behind(61)

    ledger.passes(later(61))

    assert not _behind(62)


def test_a_pass_is_only_due_where_it_would_find_something(installed: Flask, ledger: Ledger) -> None:
    def due() -> bool:
        with reading() as session:
            return sequencer.is_due(session)

    assert not due()
    ledger.writes(1)
    assert due()
    ledger.passes()
    assert not due()
