"""Attacks A01 to A06: on the audit log itself, by whoever has the file, the database, or the clock."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, update

from app.access import keys
from app.access.keys import Purpose
from app.audit import checkpoints, sequencer, tree
from app.audit.public_keys import read_keys
from app.audit.publishing import Forked, Places, publish, published_in, witness
from app.audit.tree_tables import AuditCheckpoint, AuditLeaf, AuditTree
from app.commands import evidence as evidence_job
from app.database import reading, transaction
from app.directory.settings import DEFAULTS
from app.directory.tables import Person, StatementKind, Voice
from app.journal.tables import Entry
from app.lifecycle import leaving
from app.settings import SettingError, from_environment
from app.sso.entering import refuse_while_closed
from app.sso.refusals import Refused
from tests.company import new_company
from tests.lagging import audit_may_lag
from tests.unit.audit.evidence import Evidence, exported_from, history
from tests.unit.audit.growing import AT, GRACE, Ledger, later, ledger_in
from tests.unit.audit.tampering import tampered

Change = Callable[[list[bytes]], list[bytes]]


@pytest.fixture
def ledger(installed: Flask) -> Ledger:
    return ledger_in(installed)


@pytest.fixture
def evidence(ledger: Ledger, tmp_path: Path) -> Evidence:
    history(ledger)
    found = exported_from(ledger, tmp_path)
    assert found.verdict().good
    return found


def faults_of(evidence: Evidence) -> list[str]:
    return [str(one) for one in evidence.verdict().faults]


def test_a01_a_leaf_that_was_altered_is_named(evidence: Evidence) -> None:
    line = evidence.line_of_leaf(7)

    altered = evidence.with_lines(lambda lines: [*lines[: line - 1], lines[line - 1].replace(b"p1", b"p2"), *lines[line:]])

    assert f"line {line}, leaf 7: was altered" in faults_of(altered)
    assert any("leaves 5 to 9 are not those that were signed" in one for one in faults_of(altered))


def test_a01_a_leaf_that_was_taken_out_is_named(evidence: Evidence) -> None:
    line = evidence.line_of_leaf(7)

    altered = evidence.with_lines(lambda lines: [*lines[: line - 1], *lines[line:]])

    assert f"line {line}, leaf 8: line {line} of what was exported was taken out" in faults_of(altered)
    assert f"line {line}, leaf 8: leaf 7 is missing" in faults_of(altered)


def test_a01_leaves_that_changed_places_are_named(evidence: Evidence) -> None:
    first, second = evidence.line_of_leaf(6), evidence.line_of_leaf(7)

    def swap(lines: list[bytes]) -> list[bytes]:
        lines[first - 1], lines[second - 1] = lines[second - 1], lines[first - 1]
        return lines

    assert f"line {first}, leaf 7: stands in another place: it was line {second}" in faults_of(evidence.with_lines(swap))


@pytest.mark.parametrize("kept", [1, 5, 12, 24])
def test_a01_a_file_that_was_cut_off_is_found_wherever_it_was_cut(evidence: Evidence, kept: int) -> None:
    altered = evidence.with_lines(lambda lines: lines[:kept])

    assert any("cut off" in one for one in faults_of(altered))


def test_a01_an_end_from_another_export_does_not_mend_a_file(evidence: Evidence, ledger: Ledger, tmp_path: Path) -> None:
    earlier = evidence.lines[-1]
    history(ledger)
    longer = exported_from(ledger, tmp_path)

    altered = longer.with_lines(lambda lines: [*lines[:-1], earlier])

    assert faults_of(altered) != []


def test_a01_a_line_that_was_added_is_named(evidence: Evidence) -> None:
    altered = evidence.with_lines(lambda lines: [*lines[:4], b'{"leaf":3,"text":"{}"}\n', *lines[4:]])

    assert "line 5, leaf 3: was added" in faults_of(altered)


@pytest.mark.parametrize(
    ("line", "member", "number"),
    [(0, "first", "1e999"), (0, "end", "1e999"), (0, "kept_days", "99999999999"), (0, "kept_days", "3650000"), (-1, "lines", "1e999"), (3, "leaf", "1e999"), (3, "leaf", "2.0")],
)
def test_a01_a_number_beyond_all_that_can_be_is_found(evidence: Evidence, line: int, member: str, number: str) -> None:
    def change(lines: list[bytes]) -> list[bytes]:
        lines[line] = re.sub(rb'"%s":\d+' % member.encode(), b'"%s":%s' % (member.encode(), number.encode()), lines[line], count=1)
        return lines

    altered = evidence.with_lines(change)

    assert altered.lines != evidence.lines
    faulty = line % len(evidence.lines) + 1
    assert faulty in {one.line for one in altered.verdict().faults}
    assert {type(one.leaf) for one in altered.verdict().faults} <= {int, type(None)}


def test_a01_an_end_that_says_the_same_in_other_letters_is_not_the_end_that_was_signed(evidence: Evidence) -> None:
    altered = evidence.with_lines(lambda lines: [*lines[:-1], lines[-1].replace(b'"kid":', b'"kid": ')])

    assert faults_of(altered) == [f"line {len(evidence.lines)}: the signed end was altered"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a01_one_flipped_bit_anywhere_is_found_and_its_line_is_named(ledger: Ledger, tmp_path: Path) -> None:
    ledger.writes(2)
    ledger.passes()
    ledger.signs()
    evidence = exported_from(ledger, tmp_path)
    whole = evidence.path.read_bytes()
    unnamed = []

    for place in range(len(whole)):
        line = whole.count(b"\n", 0, place) + 1
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        evidence.path.write_bytes(changed)
        if line not in {one.line for one in evidence.verdict().faults}:
            unnamed.append(place)

    assert unnamed == []


def _rewritten(ledger: Ledger, leaf: int) -> None:
    """Whoever has the database and the key makes another history, and signs it as well."""
    tampered(update(Entry).where(Entry.id == ledger.sources()[leaf]).values(verb="moved"))
    with transaction() as session:
        frontier = tree.Frontier()
        for row in session.scalars(select(AuditLeaf).where(AuditLeaf.organization_id == "acme").order_by(AuditLeaf.number)):
            if row.number == leaf:
                assert row.leaf is not None
                row.leaf = row.leaf.replace('"joined"', '"moved"')
                row.hash = tree.leaf_hash(row.leaf.encode())
            frontier.append(row.hash)
        session.get_one(AuditTree, "acme").frontier = [one.hex() for one in frontier.hashes]
        for signed in session.scalars(select(AuditCheckpoint)):
            session.delete(signed)
        session.get_one(AuditTree, "acme").checkpoint_size = 0
    ledger.signs(at=later(180))


def test_a01_a_history_that_was_made_anew_and_signed_is_found_by_a_checkpoint_that_was_published(
    evidence: Evidence, ledger: Ledger, tmp_path: Path
) -> None:
    published = [json.loads(line)["checkpoint"] for line in evidence.lines if b'"checkpoint"' in line]

    _rewritten(ledger, leaf=12)

    forked = exported_from(ledger, tmp_path)
    assert forked.verdict().good
    said = [str(one) for one in forked.verdict(elsewhere=published).faults]
    assert len(said) == 1
    assert "leaves 10 to 14 are not those that were signed: the checkpoint from elsewhere of 15 leaves has another root" in said[0]


def test_a01_an_old_checkpoint_in_the_place_of_a_new_one_is_found(evidence: Evidence) -> None:
    signed = [number for number, line in enumerate(evidence.lines) if b'"checkpoint"' in line]

    def replay(lines: list[bytes]) -> list[bytes]:
        lines[signed[3]] = lines[signed[0]]
        return lines

    assert any("is the checkpoint of 5 leaves, but 20 came before it" in one for one in faults_of(evidence.with_lines(replay)))


def test_a01_a_checkpoint_of_another_tree_is_found(ledger: Ledger, tmp_path: Path) -> None:
    history(ledger)
    history(ledger, "globex")
    mine, theirs = exported_from(ledger, tmp_path), exported_from(ledger, tmp_path, organization_id="globex")
    place = next(number for number, line in enumerate(mine.lines) if b'"checkpoint"' in line)

    altered = mine.with_lines(lambda lines: [*lines[:place], theirs.lines[place], *lines[place + 1 :]])

    assert any("globex, not of id.acme.example/audit/acme" in one for one in faults_of(altered))


def test_a01_evidence_that_another_key_signed_is_refused(evidence: Evidence, installed: Flask) -> None:
    with transaction() as session:
        keys.rotate(session, installed.config["DOORLIST"], Purpose.EVIDENCE, at=AT, actor=GRACE)
        newest = [one for one in keys.all_public(session) if one["purpose"] == "evidence" and one["retired"] is None]

    verdict = Evidence(path=evidence.path, keys=read_keys(json.dumps({"keys": newest})), exported=evidence.exported).verdict()

    assert any("not among those given" in str(one) for one in verdict.faults)


def test_a01_a_key_that_was_retired_signs_no_export_of_later(evidence: Evidence, installed: Flask) -> None:
    with transaction() as session:
        keys.rotate(session, installed.config["DOORLIST"], Purpose.EVIDENCE, at=AT, actor=GRACE, overlap=timedelta(minutes=5))
        public = read_keys(json.dumps({"keys": keys.all_public(session)}))

    verdict = Evidence(path=evidence.path, keys=public, exported=evidence.exported).verdict()

    assert [str(one) for one in verdict.faults] == [
        f"line {len(evidence.lines)}: is signed with a key that was not in use when the file says that it was exported"
    ]


def test_a01_of_an_export_that_a_withdrawn_key_signed_it_is_said_that_somebody_else_may_have_made_it(evidence: Evidence, installed: Flask) -> None:
    with transaction() as session:
        keys.rotate(session, installed.config["DOORLIST"], Purpose.EVIDENCE, at=later(7200), actor=GRACE, overlap=timedelta())
        public = read_keys(json.dumps({"keys": keys.all_public(session)}))

    verdict = Evidence(path=evidence.path, keys=public, exported=evidence.exported).verdict()

    assert verdict.good and evidence.verdict().remarks == []
    assert ["was withdrawn at 2026-11-26T14:00:00" in one.what for one in verdict.remarks] == [True]


def test_a01_a_clock_that_was_turned_back_is_seen_by_the_age_of_what_was_written_then(ledger: Ledger, tmp_path: Path) -> None:
    history(ledger)
    ledger.writes(1, at=later(-3600))
    ledger.passes(later(-3600))
    ledger.signs(at=later(180))

    verdict = exported_from(ledger, tmp_path).verdict()

    assert verdict.good
    assert [one.leaf for one in verdict.remarks] == [20]


def test_a02_of_one_size_two_roots_are_never_signed(ledger: Ledger) -> None:
    history(ledger)
    first = ledger.signs()

    with transaction() as session:
        session.get_one(AuditTree, "acme").frontier = [b"\1".hex() * 32, b"\2".hex() * 32]
        again = checkpoints.sign(session, "acme", ledger.signer(session), at=later(600))

    assert again is not None
    assert again.note == first.note


def test_a03_nothing_that_names_a_person_and_no_secret_is_in_a_leaf(ledger: Ledger) -> None:
    ledger.writes(1, before={"password": "hunter2"}, after={"emails": [{"value": "ada@acme.example"}], "note": "diabetes"})
    ledger.does("shut account @ada:chat")
    ledger.passes()

    with transaction() as session:
        leaves = "".join(session.scalars(select(AuditLeaf.leaf)).all())  # type: ignore[arg-type]  # none of them is null

    assert not [word for word in ("hunter2", "ada@", "@ada", "diabetes", "grace") if word in leaves]


def test_a05_an_export_opens_with_only_the_public_key(evidence: Evidence, tmp_path: Path) -> None:
    # As an auditor has it: no row, no setting, no key of the installation.
    with transaction() as session:
        public = json.dumps({"keys": keys.all_public(session)})
    assert '"d"' not in public

    verdict = Evidence(path=evidence.path, keys=read_keys(public), exported=evidence.exported).verdict()

    assert verdict.good
    assert verdict.opened > 0


def test_a02_a_second_history_is_refused_by_whoever_holds_the_first(evidence: Evidence, ledger: Ledger, tmp_path: Path) -> None:
    def hand_on(made: AuditCheckpoint) -> None:
        with transaction() as session:
            witness(made, Places(folder=tmp_path), lambda old, new: checkpoints.consistency(session, "acme", old=old, new=new))
            publish(made, Places(folder=tmp_path))

    first = ledger.signs()
    hand_on(first)
    _rewritten(ledger, leaf=3)
    second = ledger.signs()
    assert (second.size, second.root != first.root) == (first.size, True)

    with pytest.raises(Forked):
        hand_on(second)

    assert published_in(tmp_path, "acme") == [first.note]


def test_a04_when_the_log_stops_nobody_is_let_in_and_leavers_are_still_shut_out(installed: Flask) -> None:
    audit_may_lag(installed)
    company = new_company()
    person = company.person(company.joins("ada@northwind.example"))
    evidence_job.append(installed.config["DOORLIST"])
    stopped = later(0)
    company.joins("grace@northwind.example", at=stopped)

    def lets_in(seconds: float) -> None:
        with reading() as session:
            refuse_while_closed(session, connection_id=None, at=later(seconds))

    lets_in(59)
    with pytest.raises(Refused, match="the audit tree is behind"):
        lets_in(61)
    with transaction() as session:
        leaving.say(
            session, company.organization_id, person.id, voice=Voice.OPERATOR, kind=StatementKind.LEAVES, said_by="grace", effective_at=later(61),
            actor=GRACE, at=later(61), because="a test",
        )  # fmt: skip

    with transaction() as session:
        found = session.get_one(Person, (company.organization_id, person.id))
        written = session.scalars(select(Entry).where(Entry.verb == "operator says leaves")).all()
    assert (found.standing, found.access_epoch) == ("departed", person.access_epoch + 1)
    assert len(written) == 1

    # What was done meanwhile is in the tree once it goes on.
    evidence_job.append(installed.config["DOORLIST"])
    with transaction() as session:
        assert sequencer.leaf_number(session, company.organization_id, kind="journal", source_id=written[0].id) is not None
    lets_in(62)


def test_a04_no_setting_turns_the_log_off() -> None:
    for name in ("DOORLIST_AUDIT_LAG", "DOORLIST_AUDIT_KEPT_DAYS"):
        with pytest.raises(SettingError):
            from_environment({name: "0"})
    assert not [key for key in DEFAULTS if "audit" in key]
