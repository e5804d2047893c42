"""What was written down cannot be emptied, changed or deleted unseen: whoever checks an export is told which leaf, or that nothing explains it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Executable, delete, null, select, update

from app.audit import retention
from app.audit.tables import Deed
from app.audit.tree_tables import AuditLeaf, AuditTree
from app.audit.verifying import Verdict
from app.database import transaction
from app.journal.tables import Entry
from tests.unit.audit.evidence import exported_from, history
from tests.unit.audit.growing import GRACE, Ledger, later
from tests.unit.audit.tampering import garbled, garbled_leaf, tampered

YEARS = timedelta(days=2192)
GONE = {"actor": "", "because": "", "before": null(), "after": null()}


def _said(verdict: Verdict) -> tuple[list[str], list[str]]:
    return [str(one) for one in verdict.faults], [str(one) for one in verdict.remarks]


def _entry(leaf: int) -> int:
    with transaction() as session:
        return session.scalars(select(AuditLeaf.source_id).where(AuditLeaf.number == leaf, AuditLeaf.organization_id == "acme")).one()


def _leaves(first: int, last: int) -> Any:
    return update(AuditLeaf).where(AuditLeaf.organization_id == "acme", AuditLeaf.number.between(first, last))


def _forget(*subjects: str) -> None:
    with transaction() as session:
        retention.forget(session, "acme", subjects, actor=GRACE, at=later(240), because="request 17")


def _goes_on(ledger: Ledger, seconds: float = 300, **said: Any) -> None:
    ledger.writes(1, at=later(seconds), **said)
    ledger.passes(later(seconds))
    ledger.signs(at=later(seconds))


def test_a_leaf_that_was_dated_back_beside_its_text_is_named(ledger: Ledger, tmp_path: Path) -> None:
    history(ledger)
    tampered(_leaves(7, 7).values(sequenced_at=later(-86_400)))

    evidence = exported_from(ledger, tmp_path)

    assert _said(evidence.verdict()) == ([f"line {evidence.line_of_leaf(7)}, leaf 7: 'sequenced' of its row is not what was written down"], [])


def test_an_entry_that_was_emptied_is_named_though_the_triggers_let_that_pass(ledger: Ledger, tmp_path: Path) -> None:
    history(ledger)
    emptied = update(Entry).where(Entry.id == _entry(7)).values(GONE)
    with transaction() as session:
        session.execute(emptied)

    evidence = exported_from(ledger, tmp_path, kept=YEARS)

    where = f"line {evidence.line_of_leaf(7)}, leaf 7"
    assert _said(evidence.verdict()) == ([f"{where}: '{name}' is there no more" for name in ("actor", "after", "because")], [])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"because": ""}, "'because' is there no more"),
        ({"because": "another"}, "'because' is not what was written down"),
        ({"before": {"active": True}}, "'before' is not what was written down"),
        ({"verb": "left"}, "'verb' of its row is not what was written down"),
        ({"at": later(-86_400)}, "'at' of its row is not what was written down"),
        ({"subject_id": "p9"}, "'subject_id' of its row is not what was written down"),
        ({"organization_id": "globex"}, "the row that it was made from is gone"),
        (None, "the row that it was made from is gone"),
    ],
)
def test_an_entry_that_was_changed_or_deleted_is_named(ledger: Ledger, tmp_path: Path, change: dict[str, Any] | None, fault: str) -> None:
    history(ledger)
    entry = Entry.id == _entry(7)
    tampered(delete(Entry).where(entry) if change is None else update(Entry).where(entry).values(change))

    verdict = exported_from(ledger, tmp_path, kept=YEARS).verdict()

    assert [(one.leaf, one.what) for one in verdict.faults] == [(7, fault)]
    assert verdict.remarks == []


@pytest.mark.parametrize(("written", "fault"), [("", "there no more"), ("{", "not what was written down"), ('{"active": true}x', "not what was written down")])
def test_an_entry_that_holds_no_document_any_more_is_named_like_any_other(ledger: Ledger, tmp_path: Path, written: str, fault: str) -> None:
    ledger.writes(1, before={"active": True})
    history(ledger)
    if not (change := garbled(_entry(0), written)):
        pytest.skip("PostgreSQL takes nothing there that is no JSON")
    tampered(*change)

    verdict = exported_from(ledger, tmp_path, kept=YEARS).verdict()

    assert [(one.leaf, one.what) for one in verdict.faults] == [(0, f"'before' is {fault}")]


@pytest.mark.parametrize(
    ("column", "written"), [("before", "{"), ("before", b"\xff"), ("at", "soon"), ("at", -(10**17)), ("actor", b"\xff"), ("verb", b"\xff")]
)
def test_an_entry_that_can_be_read_no_more_before_it_is_a_leaf_keeps_no_tree_from_growing(ledger: Ledger, column: str, written: object) -> None:
    first, *_ = ledger.writes(3, before={"active": True})
    tampered(*garbled(first, written, column))

    assert ledger.passes() == 3


@pytest.mark.parametrize(
    ("column", "written"),
    [("at", "soon"), ("at", b"\xff"), ("at", -(10**17)), ("verb", b"\xff"), ("subject_id", b"\xff"), ("actor", b"\xff"), ("because", 1.5), ("before", b"\xff")],
)
def test_a_value_of_another_kind_ends_no_export_and_is_named(ledger: Ledger, tmp_path: Path, column: str, written: object) -> None:
    ledger.writes(1, before={"active": True})
    history(ledger)
    if not (change := garbled(_entry(0), written, column)):
        pytest.skip("PostgreSQL takes nothing there of another kind")
    tampered(*change)

    faults = exported_from(ledger, tmp_path, kept=YEARS).verdict().faults

    assert [one.leaf for one in faults] == [0]
    assert faults[0].what.startswith(f"'{column}' ")
    assert faults[0].what.endswith("is not what was written down")


@pytest.mark.parametrize(
    "written", [{"leaf": b"\xff"}, {"salt": "soon"}, {"leaf": None, "hash": "soon"}, {"leaf": None, "sequenced_at": "soon"}, {"leaf": None, "sequenced_at": 10**18}]
)
def test_a_leaf_of_another_kind_ends_no_export_and_is_told_of(ledger: Ledger, tmp_path: Path, written: dict[str, object]) -> None:
    history(ledger)
    if not (change := garbled_leaf(3, **written)):
        pytest.skip("PostgreSQL takes nothing there of another kind")
    tampered(*change)

    verdict = exported_from(ledger, tmp_path, kept=YEARS).verdict()

    assert any(one.leaf == 3 or "leaf 3 " in one.what for one in [*verdict.faults, *verdict.remarks])


@pytest.mark.parametrize("change", [update(Deed).values(did=""), update(Deed).values(workspace_id="w2"), delete(Deed)], ids=["emptied", "moved", "deleted"])
def test_a_deed_that_was_changed_is_named_as_well(ledger: Ledger, tmp_path: Path, change: Executable) -> None:
    ledger.does("shut account @ada:chat")
    ledger.passes()
    ledger.signs()
    tampered(change)

    assert [one.leaf for one in exported_from(ledger, tmp_path, kept=YEARS).verdict().faults] == [0]


@pytest.mark.parametrize("taken", [{"leaf": None, "salt": None}, {"leaf": None}])
def test_content_that_goes_before_older_content_was_not_taken_for_its_age(ledger: Ledger, tmp_path: Path, taken: dict[str, None]) -> None:
    history(ledger)
    tampered(_leaves(7, 9).values(taken))

    verdict = exported_from(ledger, tmp_path).verdict()

    what = "the content of 3 leaves, from this one to leaf 9, is gone, though older leaves have theirs: it was not taken for its age"
    assert [(one.leaf, one.what) for one in verdict.faults] == [(7, what)]
    assert (verdict.without_content, verdict.opened) == (3, 17 * 3)


def test_content_that_is_gone_too_early_is_remarked_upon(ledger: Ledger, tmp_path: Path) -> None:
    history(ledger)
    tampered(_leaves(0, 6).values(leaf=None, salt=None), update(AuditTree).where(AuditTree.organization_id == "acme").values(pruned=7))

    verdict = exported_from(ledger, tmp_path, kept=YEARS).verdict()

    assert verdict.good
    what = "the content of 7 leaves, from this one to leaf 6, is gone, and is to be kept for 2192 days"
    assert [(one.leaf, one.what) for one in verdict.remarks] == [(0, what)]


def test_what_cannot_be_opened_any_more_is_remarked_upon_where_nobody_was_erased(ledger: Ledger, tmp_path: Path) -> None:
    history(ledger)
    tampered(_leaves(7, 7).values(salt=None), _leaves(9, 9).values(salt=None))

    verdict = exported_from(ledger, tmp_path, kept=YEARS).verdict()

    assert verdict.good
    what = "the content of 2 leaves, from this one to leaf 9, about p1 can be checked no more, and no entry 'erased' behind it in this file says why"
    assert [(one.leaf, one.what) for one in verdict.remarks] == [(7, what)]


def test_however_many_came_late_it_is_remarked_upon_what_cannot_be_opened(ledger: Ledger, tmp_path: Path) -> None:
    """As after an upgrade from before there was a tree, or a day on which no worker ran."""
    ledger.writes(60, at=later(-86_400))
    ledger.passes()
    ledger.signs()
    tampered(_leaves(7, 7).values(salt=None))

    remarks = exported_from(ledger, tmp_path, kept=YEARS).verdict().remarks

    assert "about p1 can be checked no more" in remarks[0].what
    assert len(remarks) == 51


def test_nothing_is_remarked_upon_where_content_went_in_its_time(ledger: Ledger, tmp_path: Path) -> None:
    history(ledger)
    with transaction() as session:
        assert retention.prune(session, "acme", at=later(86_400 + 61), kept=timedelta(days=1)) == 10

    verdict = exported_from(ledger, tmp_path, at=later(86_400 + 61), kept=timedelta(days=1)).verdict()

    assert _said(verdict) == ([], [])
    assert verdict.without_content == 10


def test_an_erasure_explains_each_of_whom_it_erased_and_nothing_that_comes_after(ledger: Ledger, tmp_path: Path) -> None:
    ledger.writes(2, subject="p1")
    ledger.writes(2, subject="p2")
    ledger.passes()
    ledger.signs()
    _forget("p2", "p1")
    _goes_on(ledger, subject="p1")
    assert _said(exported_from(ledger, tmp_path, kept=YEARS).verdict()) == ([], [])

    tampered(_leaves(6, 6).values(salt=None))

    assert [one.leaf for one in exported_from(ledger, tmp_path, kept=YEARS).verdict().remarks] == [6]


def test_a_file_that_ends_before_the_erasure_says_that_it_is_not_in_it(ledger: Ledger, tmp_path: Path) -> None:
    history(ledger)
    _forget("p1")
    _goes_on(ledger, subject="p2")

    verdict = exported_from(ledger, tmp_path, kept=YEARS, until=later(200)).verdict()

    assert verdict.good
    assert len(verdict.remarks) == 1 and "in this file" in verdict.remarks[0].what


def test_what_was_erased_before_it_was_a_leaf_can_be_checked_as_it_is(ledger: Ledger, tmp_path: Path) -> None:
    ledger.writes(1, subject="p1")
    _forget("p1")
    ledger.passes(later(240))
    ledger.signs(at=later(240))

    verdict = exported_from(ledger, tmp_path, kept=YEARS).verdict()

    assert _said(verdict) == ([], [])
    assert verdict.without_content == 0
