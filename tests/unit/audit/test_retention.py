"""Content goes after its time, or when somebody's data is erased; the tree and every proof stay."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from app.audit import retention
from app.audit.tables import Deed
from app.audit.tree_tables import AuditLeaf, AuditTree
from app.database import transaction
from app.journal.tables import Entry
from tests.unit.audit.evidence import exported_from, history
from tests.unit.audit.growing import GRACE, Ledger, later

KEPT = timedelta(seconds=90)


def _prune(at: float) -> int:
    with transaction() as session:
        return retention.prune(session, "acme", at=later(at), kept=KEPT)


def _forget(*subjects: str) -> int:
    with transaction() as session:
        return retention.forget(session, "acme", subjects, actor=GRACE, at=later(240), because="request 17")


def test_what_is_older_than_is_kept_loses_its_content_and_keeps_its_place(ledger: Ledger, tmp_path: Path) -> None:
    history(ledger)

    assert _prune(180) == 10
    assert _prune(180) == 0

    evidence = exported_from(ledger, tmp_path)
    assert evidence.verdict().good
    assert [sorted(json.loads(line)) for line in evidence.lines[1:3]] == [["hash", "leaf", "sequenced"]] * 2
    with transaction() as session:
        gone = session.scalars(select(Entry).where(Entry.organization_id == "acme").order_by(Entry.id)).first()
        assert gone is not None
        assert (gone.actor, gone.because, gone.before, gone.after, gone.verb) == ("", "", None, None, "joined")


def test_what_no_checkpoint_vouches_for_is_kept_all_the_same(ledger: Ledger) -> None:
    ledger.writes(5)
    ledger.passes()

    assert _prune(86_400) == 0


def test_nothing_is_older_than_its_own_leaf_says(ledger: Ledger) -> None:
    history(ledger)
    with transaction() as session:
        session.execute(update(AuditLeaf).where(AuditLeaf.number >= 4).values(sequenced_at=later(-86_400)))

    assert _prune(180) == 4
    assert _prune(180) == 0


def test_what_is_erased_of_somebody_can_be_guessed_no_more_and_the_tree_stays_whole(ledger: Ledger, tmp_path: Path) -> None:
    """Attack A06."""
    ledger.writes(2, subject="p1", before={"userName": "old"}, after={"userName": "ada@acme.example"})
    ledger.writes(2, subject="p2", after={"userName": "bob@acme.example"})
    ledger.does("shut account @ada:chat")
    ledger.passes()
    ledger.signs()

    assert _forget("p1") == 3

    evidence = exported_from(ledger, tmp_path)
    assert evidence.verdict().good
    text = evidence.path.read_text()
    assert "ada@" not in text
    assert "@ada" not in text
    assert "bob@acme.example" in text
    with transaction() as session:
        assert set(session.scalars(select(AuditLeaf.salt).where(AuditLeaf.number < 2))) == {None}


def test_that_something_was_erased_is_written_down_itself(ledger: Ledger) -> None:
    history(ledger)

    _forget("p1")

    with transaction() as session:
        said = session.scalars(select(Entry).where(Entry.verb == "erased")).one()
    assert (said.actor, said.because, said.after) == ("operator:grace", "request 17", {"entries": 20, "deeds": 0})


@pytest.mark.parametrize(
    "change",
    [{"verb": "left"}, {"after": {"userName": "eve"}}, {"actor": "operator:eve"}, {"because": "other"}, {"subject_id": "p9"}, {"at": later(9)}],
    ids=lambda change: next(iter(change)),
)
def test_nothing_may_come_in_the_place_of_what_was_written_down(ledger: Ledger, change: dict[str, Any]) -> None:
    ledger.writes(1)

    with pytest.raises(DBAPIError, match="never changed or deleted"), transaction() as session:
        session.execute(update(Entry).values(**change))


def test_rows_are_not_deleted(ledger: Ledger) -> None:
    ledger.writes(1)
    ledger.does("shut account @ada:chat")

    for table in (Entry, Deed):
        with pytest.raises(DBAPIError, match="never changed or deleted"), transaction() as session:
            session.execute(delete(table))


def test_pruning_remembers_how_far_it_came(ledger: Ledger) -> None:
    history(ledger)
    _prune(180)

    with transaction() as session:
        assert session.get_one(AuditTree, "acme").pruned == 10
