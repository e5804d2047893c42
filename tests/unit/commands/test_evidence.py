"""Keys, receipts and the audit at the command line: written here, and checked where nothing of ours is."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import delete, insert, null, select, text, update

from app.access import keys
from app.audit import sequencer
from app.audit.tree import leaf_hash
from app.audit.tree_tables import AuditLeaf
from app.clock import now
from app.commands import evidence
from app.commands.entry import doorlist
from app.database import reading
from app.directory.tables import Source
from app.intake import hr
from app.journal.tables import HERE, Entry
from app.revocation.tables import Departure, Proof
from tests.two_at_once import meanwhile
from tests.unit.audit.growing import Ledger
from tests.unit.commands.conftest import Desk, Said

pytestmark = pytest.mark.slow


def elsewhere(*arguments: str) -> Said:
    """Run a command where there is no database, no setting and no installation."""

    def nothing_here() -> Any:
        raise AssertionError("an application was made")

    ended = CliRunner(env={name: None for name in os.environ if name.startswith(("DOORLIST", "DATABASE"))}).invoke(
        doorlist, list(arguments), obj=nothing_here
    )
    return Said(exit=ended.exit_code, out=ended.stdout, err=ended.stderr)


@pytest.fixture
def public(desk: Desk) -> str:
    """A file of the public keys."""
    return desk.file("keys.json", desk.types("keys", "export", "--json").out)


def tampered(path: Path, change: Callable[[bytes], bytes]) -> str:
    changed = path.with_name(f"tampered-{path.name}")
    content = change(path.read_bytes())
    assert content != path.read_bytes()
    changed.write_bytes(content)
    return str(changed)


def leaves(desk: Desk) -> None:
    """Somebody is named by HR, and goes."""
    desk.hires(desk.directory(), "ada", number="0042")
    desk.asks("source", "add", "hr", "workday")
    body = json.dumps({"type": "employee.terminated", "timestamp": "2026-01-01T00:00:00Z", "data": {"employee_id": "0042", "revoke_access": "immediately"}})

    def call(session: Any) -> None:
        source = session.scalars(select(Source).where(Source.name == "workday")).one()
        hr.receive(session, source, hr.read(body.encode(), "msg_1", time_zone="UTC"), body.encode(), at=now())

    desk.acts(call)


def test_public_keys_are_a_jwks_that_holds_nothing_private(desk: Desk) -> None:
    said = desk.asks("keys", "export")

    assert {(one["purpose"], one["alg"]) for one in said["keys"]} == {
        ("tokens", "ES256"), ("tokens", "PS256"), ("tokens", "EdDSA"), ("evidence", "EdDSA"),
    }  # fmt: skip
    assert not any("d" in one for one in said["keys"])


def test_rotated_keys_wait_for_a_day_and_the_old_ones_stay_listed(desk: Desk) -> None:
    before = desk.asks("keys", "list")["keys"]

    new = desk.asks("keys", "rotate", "evidence")["keys"]

    after = {one["kid"]: one for one in desk.asks("keys", "list")["keys"]}
    assert len(after) == len(before) + 1
    old = next(one for one in before if one["purpose"] == "evidence")
    assert after[old["kid"]]["retired"] == new[0]["active_from"]
    assert new[0]["active_from"] > new[0]["created"]


def test_keys_that_somebody_else_may_have_are_withdrawn_at_once(desk: Desk) -> None:
    before = {one["kid"] for one in desk.asks("keys", "list")["keys"] if one["purpose"] == "tokens"}

    new = desk.asks("keys", "rotate", "tokens", "--at-once")["keys"]

    after = {one["kid"]: one["withdrawn"] for one in desk.asks("keys", "list")["keys"] if one["purpose"] == "tokens"}
    assert {kid for kid, withdrawn in after.items() if withdrawn} == before
    assert after.keys() - before == {one["kid"] for one in new}


def test_a_receipt_is_written_signed_and_checked_elsewhere(desk: Desk, public: str) -> None:
    leaves(desk)
    out = desk.folder / "ada.json"

    desk.asks("receipt", "ada@acme.example", "--out", str(out))

    receipt = json.loads(out.read_bytes())["receipt"]
    departure = receipt["departures"][0]
    assert (departure["event"]["source"], departure["event"]["id"]) == ("workday", "msg_1")
    assert departure["event"]["sha256"] in departure["entry"]["because"]
    assert departure["audit"]["checkpoint"].startswith("127.0.0.1:8484/audit/")
    said = elsewhere("receipt", "--verify", str(out), "--keys", public, "--json")
    assert (said.exit, said.json["good"], said.json["altered"]) == (0, True, [])


def test_a_receipt_that_was_altered_says_what(desk: Desk, public: str) -> None:
    leaves(desk)
    out = desk.folder / "ada.json"
    desk.asks("receipt", "ada@acme.example", "--out", str(out))

    said = elsewhere("receipt", "--verify", tampered(out, lambda file: file.replace(b'"id":"msg_1"', b'"id":"msg_2"')), "--keys", public)

    assert said.exit == 8
    assert "departures/0/event/id: was altered" in said.out


def test_a_receipt_of_an_entry_that_was_emptied_says_so(desk: Desk, public: str) -> None:
    leaves(desk)
    desk.asks("audit", "checkpoint")
    desk.acts(lambda session: session.execute(update(Entry).where(Entry.verb == "hr says leaves").values(because="", before=null(), after=null())))
    out = desk.folder / "ada.json"
    desk.asks("receipt", "ada@acme.example", "--out", str(out))

    said = elsewhere("receipt", "--verify", str(out), "--keys", public)

    assert said.exit == 8
    assert "audit/opened/because: is not what was written down" in said.out


def test_a_receipt_counts_what_doorlist_itself_closed(desk: Desk, public: str) -> None:
    leaves(desk)
    organization_id = desk.organization_id

    def close(session: Any) -> None:
        departure = session.scalars(select(Departure)).one()
        at = departure.decided_at + timedelta(milliseconds=12)
        session.add(
            Proof(
                organization_id=organization_id, departure_id=departure.id, workspace_id=HERE, sent_at=at, acknowledged_at=at, shut_at=at,
                shut_grade="probed", gone_at=at, gone_grade="probed", closed={"sessions": 2, "refresh_tokens": 3}, attempts=1,
            )
        )  # fmt: skip

    desk.acts(close)
    out = desk.folder / "ada.json"

    said = desk.asks("receipt", "ada@acme.example", "--out", str(out))

    target = json.loads(out.read_bytes())["receipt"]["departures"][0]["targets"][0]
    assert (target["place"], target["kind"], target["closed"]) == ("doorlist", "doorlist", {"sessions": 2, "refresh_tokens": 3})
    assert target["ms_from_due_to_shut"] is not None
    assert said["departures"][0]["targets"][0]["kind"] == "doorlist"
    assert said["departures"][0]["workspaces"] == []


def test_a_receipt_is_a_page_where_its_name_says_so(desk: Desk) -> None:
    leaves(desk)
    page, file = desk.folder / "ada.html", desk.folder / "ada.json"

    desk.asks("receipt", "ada@acme.example", "--out", str(page))
    both = desk.asks("receipt", "ada@acme.example", "--out", str(file), "--html", str(page))

    assert page.read_text().startswith("<!DOCTYPE html>")
    assert both["written"] == [str(file), str(page)]


@pytest.mark.parametrize(
    "arguments", [[], ["ada", "--keys", "keys.json"], ["--verify", "keys.json"], ["ada", "--verify", "keys.json", "--keys", "keys.json"]]
)
def test_a_receipt_that_is_asked_for_in_two_ways_is_a_mistake(desk: Desk, public: str, arguments: list[str]) -> None:
    said = desk.types("receipt", *(public if one == "keys.json" else one for one in arguments))

    assert said.exit == 2


def test_a_page_does_not_take_the_place_of_the_receipt(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")
    file = desk.folder / "receipt"

    said = desk.types("receipt", "ada@acme.example", "--out", str(file), "--html", str(desk.folder / "." / "receipt"))

    assert (said.exit, file.exists()) == (2, False)


def test_an_audit_is_exported_and_checked_elsewhere(desk: Desk, public: str) -> None:
    leaves(desk)
    out = desk.folder / "audit.jsonl"

    desk.asks("audit", "export", "--out", str(out))

    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    said = elsewhere("audit", "verify", str(out), "--keys", public, "--json")
    assert (said.exit, said.json["good"]) == (0, True)
    assert said.json["end"] == desk.asks("audit", "status")["signed_leaves"] > 3
    assert b"ada@acme.example" in out.read_bytes()


def test_an_export_takes_the_place_of_nothing_but_a_file(desk: Desk, public: str) -> None:
    leaves(desk)
    pipe, newest, link = desk.folder / "pipe", desk.folder / "november.jsonl", desk.folder / "newest.jsonl"
    os.mkfifo(pipe)
    newest.write_text("the one before")
    link.symlink_to(newest)

    refused = desk.types("audit", "export", "--out", str(pipe), "--json")
    desk.asks("audit", "export", "--out", str(link))

    assert (refused.exit, stat.S_ISFIFO(pipe.stat().st_mode)) == (2, True) and "is no file" in refused.json["error"]
    assert link.is_symlink() and elsewhere("audit", "verify", str(newest), "--keys", public).exit == 0


def test_an_audit_that_was_altered_says_where(desk: Desk, public: str) -> None:
    leaves(desk)
    out = desk.folder / "audit.jsonl"
    desk.asks("audit", "export", "--out", str(out))

    said = elsewhere("audit", "verify", tampered(out, lambda file: file.replace(b"hr says leaves", b"hr says stayed")), "--keys", public, "--json")

    assert said.exit == 8
    assert [one["what"] for one in said.json["altered"] if one["leaf"] is not None] == ["was altered"]


def test_an_audit_is_held_against_a_checkpoint_that_was_published(desk: Desk, public: str) -> None:
    leaves(desk)
    published = desk.file("published", desk.asks("audit", "checkpoint")["checkpoint"])
    out = desk.folder / "audit.jsonl"
    desk.asks("audit", "export", "--out", str(out))

    assert elsewhere("audit", "verify", str(out), "--keys", public, "--checkpoint", published).exit == 0
    other = desk.file("other", Path(published).read_text().replace("audit/", "audit/x"))
    assert elsewhere("audit", "verify", str(out), "--keys", public, "--checkpoint", other).exit == 8


@pytest.mark.parametrize("what", ["leaf", "journal"])
def test_a_database_that_was_altered_is_found_by_whoever_checks_its_export(desk: Desk, public: str, what: str) -> None:
    leaves(desk)
    desk.asks("audit", "checkpoint")

    def alter(session: Any) -> None:
        if what == "leaf":
            row = session.scalars(select(AuditLeaf).where(AuditLeaf.number == 2)).one()
            row.leaf = row.leaf.replace('"subject_kind":', '"subject_kint":')
        else:
            # Whoever has the database can take its triggers away.
            guard = "journal_no_update" if session.get_bind().dialect.name == "sqlite" else "journal_kept ON journal"
            session.execute(text(f"DROP TRIGGER {guard}"))
            session.execute(update(Entry).where(Entry.verb == "source added").values(actor="operator:mallory"))

    desk.acts(alter)
    out = desk.folder / "audit.jsonl"
    desk.asks("audit", "export", "--out", str(out))

    said = elsewhere("audit", "verify", str(out), "--keys", public, "--json")

    assert said.exit == 8
    whats = [one["what"] for one in said.json["altered"]]
    assert ("another root" in whats[-1]) if what == "leaf" else (whats == ["'actor' is not what was written down"] * len(whats))


def test_a_file_of_keys_that_is_none_is_a_mistake(desk: Desk) -> None:
    out = desk.file("audit.jsonl", "{}\n")

    said = elsewhere("audit", "verify", out, "--keys", desk.file("none.json", "{}"), "--json")

    assert said.exit == 2
    assert "keys export" in said.json["error"]


def test_only_those_who_may_take_the_audit_away_with_them(desk: Desk) -> None:
    helpdesk = desk.asks("operator", "add", "hal", "--role", "helpdesk")["token"]
    auditor = desk.asks("operator", "add", "ann", "--role", "auditor")["token"]

    assert desk.types("audit", "export", "--out", str(desk.folder / "a"), token=helpdesk).exit == 4
    assert desk.types("audit", "export", "--out", str(desk.folder / "a"), token=auditor).exit == 0


def test_checkpoints_lie_in_the_folder_that_is_set(desk: Desk, tmp_path: Path) -> None:
    desk.environment["DOORLIST_CHECKPOINT_FOLDER"] = str(tmp_path / "witness")

    note = desk.asks("audit", "checkpoint")["checkpoint"]

    assert (tmp_path / "witness" / desk.organization_id / "checkpoint").read_text() == note
    assert desk.asks("audit", "status")["published"] is not None


def test_the_audit_grows_and_is_signed_by_itself(desk: Desk) -> None:
    leaves(desk)

    evidence.sequence(desk.app)

    status = desk.asks("audit", "status")
    assert status["leaves"] == status["signed_leaves"] > 3
    assert status["behind"] is False


@pytest.mark.parametrize("verb", ["checkpoint", "export"])
def test_what_a_worker_is_just_appending_for_the_first_time_is_waited_for(desk: Desk, verb: str) -> None:
    leaves(desk)
    typed = ("checkpoint",) if verb == "checkpoint" else ("export", "--out", str(desk.folder / "audit.jsonl"))

    passed, said = meanwhile(
        desk.app,
        lambda session: sequencer.run_pass(session, at=now(), origin_of=lambda organization_id: f"tests/{organization_id}"),
        lambda: desk.types("audit", *typed, "--json"),
    )

    assert (said.exit, said.json["size"]) == (0, passed.appended), said


def test_an_audit_that_was_altered_raises_an_alarm_and_is_signed_no_more(desk: Desk) -> None:
    leaves(desk)
    desk.asks("audit", "checkpoint")
    desk.acts(lambda session: session.execute(update(AuditLeaf).where(AuditLeaf.number == 1).values(hash=b"\1" * 32)))
    desk.hires(desk.asks("source", "add", "scim", "entra")["id"], "grace")
    signed = desk.asks("audit", "status")["signed_leaves"]

    with desk.app.app_context():
        evidence.append(desk.app.config["DOORLIST"])
    later = now() + timedelta(minutes=5)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(evidence, "now", lambda: later)
        evidence.sequence(desk.app)

    assert desk.asks("audit", "status")["signed_leaves"] == signed
    assert [one["kind"] for one in desk.asks("alarms", "list")["alarms"]] == ["audit_altered"]


def test_a_leaf_that_was_deleted_far_back_stops_the_signing_until_it_is_there_again(desk: Desk) -> None:
    with desk.app.app_context():
        ledger = Ledger(app=desk.app)
        ledger.writes(600, desk.organization_id)
    desk.asks("audit", "checkpoint")
    third = select(*AuditLeaf.__table__.columns).where(AuditLeaf.number == 3)
    with desk.app.app_context(), reading() as session:
        was = dict(session.execute(third).mappings().one())
    desk.acts(lambda session: session.execute(delete(AuditLeaf).where(AuditLeaf.number == 3)))

    evidence.look_again(desk.app)

    alarms = desk.asks("alarms", "list")["alarms"]
    assert [(one["kind"], one["sentence"]) for one in alarms] == [("audit_altered", "The audit tree is not signed any more: leaf 3 is missing.")]
    assert desk.asks("audit", "status")["broken"] == "leaf 3 is missing"
    assert desk.types("audit", "checkpoint").exit == 8
    desk.acts(lambda session: session.execute(insert(AuditLeaf).values(was)))
    desk.asks("audit", "checkpoint")
    assert desk.asks("audit", "status")["broken"] is None


def test_a_checkpoint_that_is_asked_for_looks_at_what_lies_far_back(desk: Desk) -> None:
    with desk.app.app_context():
        Ledger(app=desk.app).writes(400, desk.organization_id)
    desk.asks("audit", "checkpoint")
    signed = desk.asks("audit", "status")["signed_leaves"]
    desk.acts(lambda session: session.execute(update(AuditLeaf).where(AuditLeaf.number == 7).values(leaf="{}", hash=leaf_hash(b"{}"))))
    desk.hires(desk.directory(), "ada")

    said = desk.types("audit", "checkpoint", "--json")

    assert said.exit == 8 and "leaves 0 to 255" in said.json["error"]
    assert desk.asks("audit", "status")["signed_leaves"] == signed


def test_of_a_tree_that_is_signed_no_more_what_was_signed_is_exported(desk: Desk, public: str) -> None:
    leaves(desk)
    signed = desk.asks("audit", "checkpoint")["size"]
    desk.hires(desk.asks("source", "add", "scim", "entra")["id"], "grace")
    desk.acts(lambda session: session.execute(delete(AuditLeaf).where(AuditLeaf.number == 1)))
    out = desk.folder / "audit.jsonl"

    said = desk.types("audit", "export", "--out", str(out), "--json")

    assert (said.exit, said.json["end"]) == (8, signed) and "are missing" in said.json["broken"]
    faults = elsewhere("audit", "verify", str(out), "--keys", public, "--json").json["altered"]
    assert ("leaf 1 is missing", 2) in [(one["what"], one["leaf"]) for one in faults]


def test_keys_of_two_installations_are_not_mixed_up(desk: Desk) -> None:
    desk.asks("keys", "export")

    with desk.app.app_context(), reading() as session:
        kids = {one["kid"] for one in keys.all_public(session)}

    assert len(kids) == 4
