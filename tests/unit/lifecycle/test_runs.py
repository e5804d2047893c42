"""Runs are numbered, hold what they took, and say how they ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from flask import Flask, current_app
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.lifecycle import pulled_entries, runs
from app.lifecycle.errors import NotFound
from app.lifecycle.pulled_entries import EntryKind
from app.lifecycle.pulled_tables import PulledEntry, RunKind, RunState, Took
from app.lifecycle.putting_back import NotUndoable, undo
from app.lifecycle.runs import Taken
from tests.company import ADMIN, NOW, Company, later, new_company


@pytest.fixture
def company(installed: Flask) -> Iterator[Company]:
    yield new_company()


def begins(company: Company, *, kind: RunKind = RunKind.PULL) -> int:
    return in_transaction(
        lambda session: runs.begin(session, company.organization_id, kind=kind, source_id=company.source_id, actor=ADMIN, at=NOW).number
    )


def state_of(company: Company, number: int) -> tuple[str, str | None]:
    with reading() as session:
        run = runs.find(session, company.organization_id, number)
        return run.state, run.problem


def test_each_organisation_numbers_its_own(company: Company) -> None:
    other = new_company()

    assert [begins(company), begins(company), begins(other), begins(company)] == [1, 2, 1, 3]
    with reading() as session:
        assert [run.number for run in runs.recent(session, company.organization_id, most=2)] == [3, 2]
        with pytest.raises(NotFound, match="run 9 does not exist"):
            runs.find(session, company.organization_id, 9)


def test_two_that_begin_at_once_have_two_numbers(company: Company) -> None:
    app, numbers = current_app._get_current_object(), []  # type: ignore[attr-defined]  # what a proxy stands for

    def one() -> None:
        with app.app_context():
            numbers.append(begins(company))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(numbers) == list(range(1, 9))


def test_lines_are_numbered_through_all_parts_of_a_run(company: Company) -> None:
    number = begins(company)
    for part in (["a", "b"], [], ["c"]):
        taken = [Taken(took=Took.OFF, subject_id=one, journal_id=1) for one in part]
        in_transaction(lambda session, taken=taken: runs.note_taken(session, company.organization_id, number, taken))  # type: ignore[misc]  # defaults bind the loop's values

    with reading() as session:
        lines = runs.lines_of(session, company.organization_id, number)
        assert [(line.line, line.subject_id, line.undone_by) for line in lines] == [(1, "a", None), (2, "b", None), (3, "c", None)]


def test_only_pulls_of_that_source_that_still_run_were_abandoned(company: Company) -> None:
    killed, done, approval = begins(company), begins(company), begins(company, kind=RunKind.APPROVAL)

    def act(session: Session) -> None:
        runs.finish(runs.find(session, company.organization_id, done), state=RunState.DONE, at=NOW)
        runs.abandon(session, company.organization_id, company.source_id, at=later(1))
        runs.abandon(session, company.organization_id, "another", at=later(1))

    in_transaction(act)

    assert state_of(company, killed) == ("failed", runs.ABANDONED)
    assert state_of(company, done) == ("done", None)
    assert state_of(company, approval) == ("running", None)


def test_of_very_many_notes_the_first_are_kept(company: Company) -> None:
    number = begins(company)

    def act(session: Session) -> None:
        notes = [f"note {one}" for one in range(runs.MOST_NOTES + 7)]
        runs.finish(runs.find(session, company.organization_id, number), state=RunState.DONE, at=NOW, notes=notes)

    in_transaction(act)

    with reading() as session:
        kept = runs.find(session, company.organization_id, number).notes
        assert (len(kept), kept[0], kept[-1]) == (runs.MOST_NOTES + 1, "note 0", "and 7 more")


def test_one_that_is_not_over_is_not_undone(company: Company) -> None:
    number = begins(company)
    in_transaction(lambda session: runs.note_taken(session, company.organization_id, number, [Taken(took=Took.OFF, subject_id="a", journal_id=1)]))

    with pytest.raises(NotUndoable, match="run 1 is not over yet"):
        in_transaction(lambda session: undo(session, company.organization_id, number, actor=ADMIN, at=NOW))


# What is remembered of entries


def entry(session: Session, company: Company, key: str, kind: EntryKind = EntryKind.PERSON, subject: str | None = None) -> PulledEntry:
    made = PulledEntry(organization_id=company.organization_id, source_id=company.source_id, kind=kind, key=key, subject_id=subject, digest=b"1")
    session.add(made)
    session.flush()
    return made


def kinds(company: Company, key: str) -> dict[str, str | None]:
    with reading() as session:
        rows = [session.get(PulledEntry, (company.organization_id, company.source_id, kind, key)) for kind in EntryKind]
        return {row.kind: row.subject_id for row in rows if row is not None}


def test_one_that_went_is_remembered_and_may_come_again(company: Company) -> None:
    in_transaction(lambda session: pulled_entries.has_gone(session, entry(session, company, "k", subject="r")))
    assert kinds(company, "k") == {"gone person": "r"}

    def again(session: Session) -> None:
        where = (company.organization_id, company.source_id)
        gone = pulled_entries.by_key(session, *where, ["k"], kinds=[EntryKind.PERSON, EntryKind.GONE_PERSON])["k"]
        pulled_entries.is_there_again(session, gone)

    in_transaction(again)
    assert kinds(company, "k") == {"person": "r"}


def test_one_that_was_never_anybody_is_forgotten(company: Company) -> None:
    in_transaction(lambda session: pulled_entries.has_gone(session, entry(session, company, "k", EntryKind.GROUP)))

    assert kinds(company, "k") == {}


def test_members_are_kept_by_group(company: Company) -> None:
    where = (company.organization_id, company.source_id)

    def act(session: Session) -> None:
        pulled_entries.keep_members(session, *where, "g1", ["a", "b"], why="test")
        pulled_entries.keep_members(session, *where, "g1", ["b"], why="again")
        pulled_entries.keep_members(session, *where, "g12", ["c"], why="test")
        pulled_entries.let_members_go(session, *where, [pulled_entries.membership_key("g1", "a")])

    in_transaction(act)

    with reading() as session:
        assert pulled_entries.kept_members(session, *where, "g1") == {"b"}
        assert pulled_entries.kept_members(session, *where, "g12") == {"c"}
        assert pulled_entries.kept_members(session, *where, "g") == set()
