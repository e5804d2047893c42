"""An export is checked by a file and public keys alone, says where it was altered, and tells of one organisation only."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import event

from app.access import keys
from app.audit import retention
from app.audit.exports import NothingToExport, write_export
from app.audit.public_keys import UnusableKeys, read_keys
from app.database import db, reading, transaction
from tests.unit.audit.evidence import KEPT, Evidence, exported_from, history
from tests.unit.audit.growing import Ledger, later


def test_a_whole_export_is_good(ledger: Ledger, tmp_path: Path) -> None:
    history(ledger)

    evidence = exported_from(ledger, tmp_path)

    verdict = evidence.verdict()
    assert [str(one) for one in verdict.faults] == []
    assert (verdict.first, verdict.end, verdict.checkpoints) == (0, 20, 4)
    assert verdict.opened == 20 * 3
    assert verdict.origin == "id.acme.example/audit/acme"


@pytest.mark.parametrize(("since", "until", "leaves"), [(60, 180, (5, 15)), (60, None, (5, 20)), (None, 61, (0, 10))])
def test_a_part_in_time_is_good_as_well(ledger: Ledger, tmp_path: Path, since: int | None, until: int | None, leaves: tuple[int, int]) -> None:
    history(ledger)

    evidence = exported_from(
        ledger, tmp_path, since=None if since is None else later(since), until=None if until is None else later(until)
    )

    assert [str(one) for one in evidence.verdict().faults] == []
    assert (evidence.exported.first, evidence.exported.end) == leaves


def test_leaves_that_came_after_the_last_checkpoint_wait_for_the_next_export(ledger: Ledger, tmp_path: Path) -> None:
    history(ledger)
    ledger.writes(1)
    ledger.passes()

    assert exported_from(ledger, tmp_path).exported.end == 20


def test_where_nothing_was_signed_there_is_nothing_to_export(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(NothingToExport):
        exported_from(ledger, tmp_path)


def test_content_that_goes_while_it_is_being_exported_leaves_an_export_that_is_good(installed: Flask, ledger: Ledger, tmp_path: Path) -> None:
    """Right behind the look at leaves: on PostgreSQL whatever is looked at afterwards is what it was made."""
    history(ledger)
    pruned: list[int] = []

    def prune(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if "audit_leaf.salt" in statement and not pruned:
            pruned.append(0)
            with transaction() as session:
                pruned.append(retention.prune(session, "acme", at=later(180), kept=timedelta(seconds=90)))

    event.listen(db.engine, "after_cursor_execute", prune)
    path = tmp_path / "acme.jsonl"
    with reading() as session, path.open("wb") as file:
        done = write_export(session, "acme", "Acme", file, ledger.signer(session), at=later(3600), kept=KEPT)
        public = read_keys(json.dumps({"keys": keys.all_public(session)}))
    event.remove(db.engine, "after_cursor_execute", prune)

    verdict = Evidence(path=path, keys=public, exported=done).verdict()
    assert pruned == [0, 10]
    assert [str(one) for one in verdict.faults] == []
    assert verdict.opened == 20 * 3


def test_nothing_of_another_organisation_is_in_it(ledger: Ledger, tmp_path: Path) -> None:
    ledger.writes(3, "globex", after={"userName": "bob@globex.example"})
    history(ledger)
    ledger.passes()
    ledger.signs("globex")

    mine = exported_from(ledger, tmp_path).path.read_text()

    assert "globex" not in mine
    assert "bob@" not in mine


def test_opened_values_are_what_was_written_down(ledger: Ledger, tmp_path: Path) -> None:
    ledger.writes(1, before={"active": True}, after={"active": False, "näme": "Ada \u2028 😀"})
    ledger.passes()
    ledger.signs()

    evidence = exported_from(ledger, tmp_path)

    opened = json.loads(evidence.lines[1])["opened"]
    assert {name: one["value"] for name, one in opened.items()} == {
        "actor": "operator:grace", "because": "a test", "before": {"active": True}, "after": {"active": False, "näme": "Ada \u2028 😀"},
    }  # fmt: skip
    assert evidence.verdict().good


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_half_a_letter_that_some_client_sent_stops_nothing(ledger: Ledger, tmp_path: Path) -> None:
    # PostgreSQL refuses it at the door.
    ledger.writes(1, after={"displayName": "Ada \ud83d"})
    ledger.passes()
    ledger.signs()

    assert exported_from(ledger, tmp_path).verdict().good


def test_a_checkpoint_from_elsewhere_is_held_against_the_file(ledger: Ledger, tmp_path: Path) -> None:
    history(ledger)
    ledger.writes(3)
    ledger.passes(later(240))
    middle = ledger.signs(at=later(240)).note
    ledger.writes(2)
    ledger.passes(later(300))
    ledger.signs(at=later(300))

    assert exported_from(ledger, tmp_path).verdict(elsewhere=[middle]).good


def test_a_file_of_keys_that_holds_none_is_said_to(ledger: Ledger) -> None:
    for text in ("", "{}", '{"keys": []}', '{"keys": [{"kty": "EC", "purpose": "tokens"}]}', '{"keys": [{"crv": "Ed25519", "x": "AA", "kid": "1"}]}'):
        with pytest.raises(UnusableKeys):
            read_keys(text)


def test_checking_loads_no_database(tmp_path: Path) -> None:
    code = "import sys; import app.audit.verifying; print('sqlalchemy' in sys.modules, 'flask' in sys.modules)"

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert said == "False False\n"
