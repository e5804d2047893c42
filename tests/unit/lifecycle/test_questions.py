"""*Is this the same person?*: asked once, kept up to date, answered by somebody named, and nobody gets in by the answer."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.tables import Record, Source, Standing, StatementKind
from app.journal import entries
from app.journal.tables import Entry
from app.lifecycle import matching, questions
from app.lifecycle.errors import Ambiguous, NotFound, Taken, WorldMoved
from app.lifecycle.matching import One
from app.lifecycle.pulled_entries import EntryKind
from app.lifecycle.pulled_tables import PulledEntry, QuestionState
from app.lifecycle.records import change_record, end_record
from tests.company import ADMIN, OKTA, Company, another_source, later, new_company
from tests.unit.lifecycle.asking import ANA, answers, asked, draft, pulls, pushes, question, record, says


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.fixture
def entra(company: Company) -> str:
    return another_source(company, "entra")


# Asking


def test_who_is_pushed_in_doubt_is_asked_about_once(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")

    bob = pushes(company, entra, draft("bob@y.example", "E-1"), at=1)

    [one] = asked(company)
    assert (one.number, one.source_id, one.record_id, one.source_key, one.asked_at) == (1, entra, bob.id, None, later(1))
    assert one.candidates == [{"person": ada.person_id, "because": "has employee number E-1"}]
    assert "whose addresses are others" in one.reason


def test_who_is_clear_is_not_asked_about(company: Company, entra: str) -> None:
    company.joins("ada@x.example", "E-1")
    pushes(company, entra, draft("ada@x.example", "E-1"))
    pushes(company, entra, draft("bob@x.example", "E-2"))

    assert asked(company) == []


def test_numbers_count_up_within_each_organisation(company: Company, entra: str) -> None:
    other = new_company()
    for one, source_id in ((company, entra), (other, another_source(other, "entra"))):
        one.joins("ada@x.example", "E-1")
        pushes(one, source_id, draft("bob@y.example", "E-1"))
        pushes(one, source_id, draft("cy@y.example", "E-1"))

    assert [one.number for one in asked(company)] == [1, 2] and [one.number for one in asked(other)] == [1, 2]
    with pytest.raises(NotFound), reading() as session:
        questions.find(session, company.organization_id, 3)


def test_two_that_are_asked_at_once_have_numbers_of_their_own(installed: Flask, company: Company, entra: str) -> None:
    company.joins("ada@x.example", "E-1")
    together = threading.Barrier(4)

    def push(number: int) -> None:
        with installed.app_context():
            together.wait()
            pushes(company, entra, draft(f"p{number}@y.example", "E-1"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(push, range(4)))

    assert [one.number for one in asked(company)] == [1, 2, 3, 4]


def test_who_is_pulled_in_doubt_waits_outside_and_is_asked_about_anew_with_each_pull(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    first = replace(draft("bob@y.example", "E-1"), starts_at=later(60), ends_at=later(3600))

    pulls(company, entra, first)
    cy = pushes(company, company.source_id, draft("cy@z.example", "E-1"))
    pulls(company, entra, replace(first, user_name="robert@y.example"), at=1)

    of_entry, of_push = asked(company)
    assert (of_entry.number, of_entry.source_key, of_entry.record_id, of_entry.asked_at) == (1, "uuid", None, later(0))
    assert {one["person"] for one in of_entry.candidates} == {ada.person_id, cy.person_id}
    assert of_push.record_id == cy.id
    with reading() as session:
        assert questions.said_of(session, of_entry) == replace(first, user_name="robert@y.example")
        assert session.scalar(select(func.count()).select_from(Record).where(Record.source_id == entra)) == 0


# A question that nobody needs to answer any more


def test_a_question_goes_with_the_user_it_was_about(company: Company, entra: str) -> None:
    company.joins("ada@x.example", "E-1")
    bob = pushes(company, entra, draft("bob@y.example", "E-1"))

    in_transaction(lambda session: end_record(session, company.organization_id, entra, bob.id, actor=OKTA, at=later(5), because="push"))

    gone = question(company, 1)
    assert (gone.state, gone.answer, gone.answered_at) == (QuestionState.WITHDRAWN, "the user was deleted", later(5))
    with pytest.raises(WorldMoved, match="withdrawn already"):
        answers(company, 1)


def test_a_question_goes_when_the_entry_goes_or_becomes_clear(company: Company, entra: str) -> None:
    company.joins("ada@x.example", "E-1")
    pulls(company, entra, draft("bob@y.example", "E-1"))

    pulls(company, entra, draft("bob@y.example", "E-2"), at=1)

    assert question(company, 1).state == QuestionState.WITHDRAWN
    assert in_transaction(lambda s: questions.withdraw(s, company.organization_id, entra, key="uuid", actor=OKTA, at=later(2), because="gone")) is False


def test_a_user_who_becomes_another_persons_is_asked_about_as_that_one(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    cy = company.joins("cy@x.example", "E-2")
    bob = pushes(company, entra, draft("bob@y.example", "E-1"))
    company.says(bob, active=False, at=later(1))

    in_transaction(
        lambda session: change_record(
            session, company.organization_id, entra, bob.id, draft("next@y.example", "E-2", external_id="next"), actor=OKTA, at=later(2), because="push"
        )
    )

    [one] = asked(company)
    assert (question(company, 1).state, one.number, one.record_id) == (QuestionState.WITHDRAWN, 2, bob.id)
    assert [each["person"] for each in one.candidates] == [cy.person_id] and ada.person_id


# Answering about an entry that waits outside


def test_a_waiting_entry_joins_as_the_one_it_is(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    pulls(company, entra, replace(draft("lovelace@y.example", "E-1", department="Research"), ends_at=later(3600)))

    who = answers(company, 1, ada.person_id)

    assert who.id == ada.person_id
    done = question(company, 1)
    assert (done.state, done.answered_by, done.answered_at) == (QuestionState.ANSWERED, str(ANA), later(10))
    with reading() as session:
        made = session.scalars(select(Record).where(Record.source_id == entra)).one()
        entry = session.get_one(PulledEntry, (company.organization_id, entra, "person", "uuid"))
        known = matching.whom(session, company.organization_id, entra, draft("x@x.example"), key="uuid")
        asked_for = session.get(PulledEntry, (company.organization_id, entra, EntryKind.AGAIN, "uuid"))
        said = session.scalars(select(Entry).where(Entry.subject_kind == "question").order_by(Entry.id)).all()
    assert (made.person_id, made.user_name, made.ends_at) == (ada.person_id, "lovelace@y.example", later(3600))
    assert (entry.subject_id, entry.digest) == (made.id, None) and asked_for is not None, "the next pull asks for all of it"
    assert known == One(person_id=ada.person_id, by="key")
    assert [(one.verb, one.actor) for one in said] == [("asked", str(OKTA)), ("question answered", str(ANA))]


def test_a_waiting_entry_joins_as_a_person_of_its_own(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    pulls(company, entra, draft("bob@y.example", "E-1"))

    who = answers(company, 1)

    assert who.id != ada.person_id and (who.user_name, who.standing) == ("bob@y.example", Standing.ACTIVE)
    assert asked(company) == []


def test_a_leaver_does_not_come_back_by_an_answer(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    says(company, ada.person_id, StatementKind.LEAVES)
    pulls(company, entra, draft("lovelace@y.example", "E-1"), at=2)

    who = answers(company, 1, ada.person_id)

    assert who.standing == Standing.DEPARTED
    assert record(company, ada.id).active


def test_an_entry_that_is_off_lets_nobody_in(company: Company, entra: str) -> None:
    company.joins("ada@x.example", "E-1")
    pulls(company, entra, draft("bob@y.example", "E-1", active=False))

    assert answers(company, 1).standing == Standing.DEPARTED


def test_an_entry_whose_name_was_taken_meanwhile_is_refused_and_still_asked_about(company: Company, entra: str) -> None:
    company.joins("ada@x.example", "E-1")
    pulls(company, entra, draft("bob@y.example", "E-1"))
    pushes(company, entra, draft("bob@y.example", "E-7", external_id="somebody"))

    with pytest.raises(Taken):
        answers(company, 1)

    assert [one.number for one in asked(company)] == [1]


# What is no answer


def test_somebody_who_was_not_asked_about_is_no_answer(company: Company, entra: str) -> None:
    company.joins("ada@x.example", "E-1")
    cy = company.joins("cy@x.example", "E-9")
    bob = pushes(company, entra, draft("bob@y.example", "E-1"))
    stranger = new_company().joins("ada@x.example", "E-1")

    with pytest.raises(Ambiguous, match="does not ask about"):
        answers(company, 1, cy.person_id)
    with pytest.raises(NotFound):
        answers(company, 1, stranger.person_id)

    assert record(company, bob.id).person_id == bob.person_id and [one.number for one in asked(company)] == [1]


def test_a_question_is_answered_once(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    pushes(company, entra, draft("bob@y.example", "E-1"))
    answers(company, 1)

    with pytest.raises(WorldMoved, match="answered already: a person of their own"):
        answers(company, 1, ada.person_id)


def test_a_source_that_has_ended_lets_nobody_join_any_more(company: Company, entra: str) -> None:
    company.joins("ada@x.example", "E-1")
    pulls(company, entra, draft("bob@y.example", "E-1"))

    def end(session: Session) -> None:
        source = session.get_one(Source, (company.organization_id, entra))
        source.ended_at = later(1)
        source.journal_id = entries.write(
            session, company.organization_id, at=later(1), actor=ADMIN, verb="source ended", because="test", subject_kind="source", subject_id=entra
        )

    in_transaction(end)

    with pytest.raises(WorldMoved, match="has ended"):
        answers(company, 1)
