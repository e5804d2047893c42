"""An audit of which another hand has taken what holds it together says that it was altered, and never that there is none yet."""

from __future__ import annotations

import pytest
from sqlalchemy import Delete, delete

from app.audit.tree_tables import AuditCheckpoint, AuditSequencer, AuditTree
from app.commands import evidence
from tests.unit.commands.conftest import Desk

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("taken", "why"), [(delete(AuditCheckpoint), "the checkpoint of"), (delete(AuditTree), "the tree is missing of which")], ids=["checkpoints", "tree"]
)
@pytest.mark.parametrize("verb", ["checkpoint", "export"])
def test_what_was_signed_and_is_gone_was_altered_and_is_not_yet_to_come(desk: Desk, verb: str, taken: Delete, why: str) -> None:
    desk.hires(desk.directory(), "ada")
    desk.asks("audit", "checkpoint")
    desk.acts(lambda session: session.execute(taken))

    said = desk.types("audit", verb, *(["--out", str(desk.folder / "audit.jsonl")] if verb == "export" else []), "--json")

    assert said.exit == 8
    assert said.json["error"].startswith(f"the audit in the database was altered: {why}")


@pytest.mark.parametrize("taken", [delete(AuditTree), delete(AuditSequencer)], ids=["tree", "sequencer"])
def test_a_tree_that_can_grow_no_more_is_an_alarm_that_says_so(desk: Desk, taken: Delete) -> None:
    okta = desk.directory()
    desk.hires(okta, "ada")
    desk.asks("audit", "checkpoint")
    desk.acts(lambda session: session.execute(taken))
    desk.hires(okta, "grace")

    evidence.sequence(desk.app)

    why = "nothing can be appended any more, since what is stored of a tree is not what it was"
    assert [(one["kind"], one["sentence"]) for one in desk.asks("alarms", "list")["alarms"]] == [("audit_altered", f"The audit tree is not signed any more: {why}.")]
    for typed in (["audit", "checkpoint"], ["receipt", "ada@acme.example", "--out", str(desk.folder / "ada.json")]):
        said = desk.types(*typed, "--json")
        assert (said.exit, said.json["error"]) == (8, f"the audit in the database was altered: {why}")
