"""Somebody was closed by mistake: they are back in one step, and the receipt says who decided it and why."""

from datetime import datetime

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.database import in_transaction, reading
from app.directory.tables import Person, Record, Standing, StatementKind, Voice
from app.journal.tables import Entry
from app.lifecycle import leaving
from app.lifecycle.engagements import Unfit
from app.lifecycle.people import reconsider
from app.lifecycle.records import RecordDraft, add_record, change_record, end_record
from app.lifecycle.reinstating import reinstate, standing_records
from app.lifecycle.starting import OutOfPlace
from app.revocation import receipts
from tests.company import ADMIN, OKTA, Company, document, later, new_company
from tests.unit.lifecycle.contracting import new_firm, on


def reinstated(company: Company, record: Record, *, at: float, reason: str = "the wrong Ada") -> Person:
    return in_transaction(
        lambda s: reinstate(s, company.organization_id, record.person_id, said_by="ana", reason=reason, actor=ADMIN, at=later(at))
    )


def say(company: Company, record: Record, voice: Voice, kind: StatementKind, *, at: float, effective: float | None = None) -> Person:
    return in_transaction(
        lambda s: leaving.say(
            s, company.organization_id, record.person_id, voice=voice, kind=kind, said_by="x", effective_at=later(at if effective is None else effective),
            actor=ADMIN, at=later(at), because="test",
        )
    )  # fmt: skip


@pytest.mark.parametrize("voice", [Voice.OPERATOR, Voice.HR, Voice.SPONSOR, Voice.SIGNAL])
@pytest.mark.parametrize("kind", [StatementKind.LEAVES, StatementKind.PAUSES, StatementKind.BARS])
def test_whatever_any_voice_said_before_is_undone(installed: Flask, voice: Voice, kind: StatementKind) -> None:
    company = new_company()
    ada = company.joins("ada@x.example")
    say(company, ada, voice, kind, at=1)
    epoch = company.person(ada).access_epoch

    back = reinstated(company, ada, at=2)

    assert back.standing == Standing.ACTIVE
    assert back.access_epoch > epoch, "nothing old comes back to life"


def test_it_is_one_entry_and_the_receipt_of_that_departure_says_so(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example")
    company.says(ada, active=False, at=later(1))
    with reading() as session:
        before = session.scalar(select(func.max(Entry.id))) or 0

    reinstated(company, ada, at=2)

    with reading() as session:
        entries = session.scalars(select(Entry).where(Entry.id > before)).all()
        assert [(one.verb, one.because, one.actor) for one in entries] == [("reinstated", "the wrong Ada", "operator:ana")]
        [told] = receipts.departures_of(session, company.organization_id, ada.person_id)
        person = session.get_one(Person, (company.organization_id, ada.person_id))
        receipt = receipts.compose(session, (company.organization_id, "Northwind"), person, events={}, at=later(3))
    assert told.departure.ended_at == later(2)
    undone = receipt["departures"][0]["reinstated"]
    assert (undone["by"], undone["reason"], undone["entry"]) == ("operator:ana", "the wrong Ada", entries[0].id)


def test_of_another_return_the_receipt_says_nothing_of_a_mistake(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example")
    say(company, ada, Voice.OPERATOR, StatementKind.LEAVES, at=1)
    say(company, ada, Voice.OPERATOR, StatementKind.RETURNS, at=2)
    say(company, ada, Voice.OPERATOR, StatementKind.LEAVES, at=3)
    reinstated(company, ada, at=4)

    with reading() as session:
        told = receipts.departures_of(session, company.organization_id, ada.person_id)

    assert [receipts.reinstatement(one) is not None for one in told] == [True, False]


def test_what_was_announced_for_later_still_comes(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example")
    say(company, ada, Voice.HR, StatementKind.LEAVES, at=1, effective=100)
    company.says(ada, active=False, at=later(2))

    back = reinstated(company, ada, at=3)

    assert (back.standing, back.access_until) == (Standing.ACTIVE, later(100))
    in_transaction(lambda s: reconsider(s, company.organization_id, ada.person_id, at=later(100)))
    assert company.person(ada).standing == Standing.DEPARTED


def test_what_is_said_afterwards_counts(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example")
    off = company.says(ada, active=False, at=later(1))
    reinstated(company, ada, at=2)

    on_again = company.says(off, active=True, at=later(3))
    company.says(on_again, active=False, at=later(4))

    assert company.person(ada).standing == Standing.DEPARTED


def test_repeating_what_was_said_before_is_not_saying_it_again(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example")
    off = company.says(ada, active=False, at=later(1))
    reinstated(company, ada, at=2)

    company.says(off, active=False, at=later(3))

    assert company.person(ada).standing == Standing.ACTIVE


def test_whoever_is_in_is_left_as_they_are(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example")

    same = reinstated(company, ada, at=1)

    assert (same.standing, same.access_epoch) == (Standing.ACTIVE, 1)
    with reading() as session:
        assert session.scalar(select(Entry.id).where(Entry.verb == "reinstated")) is None


def test_whoever_has_yet_to_start_was_not_closed(installed: Flask) -> None:
    company = new_company()
    draft = RecordDraft(external_id="a", user_name="ada@x.example", active=True, document=document("ada@x.example", None), starts_at=later(100))
    ada = in_transaction(lambda s: add_record(s, company.organization_id, company.source_id, draft, actor=OKTA, at=later(0), because="test"))

    with pytest.raises(OutOfPlace, match=r"doorlist person expect ada@x\.example --now"):
        reinstated(company, ada, at=1)


def test_whoever_was_suspended_for_want_of_an_answer_needs_another_day(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, until=30)
    firm.time_passes(to=31)

    with pytest.raises(Unfit, match=r"doorlist contractor attest ada@x\.example"):
        in_transaction(
            lambda s: reinstate(s, firm.company.organization_id, ada.person_id, said_by="ana", reason="why", actor=ADMIN, at=on(32))
        )
    assert firm.person(ada).standing == Standing.PAUSED


def test_somebody_whom_their_directory_has_deleted_is_back_without_a_record(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example")
    in_transaction(lambda s: end_record(s, company.organization_id, company.source_id, ada.id, actor=OKTA, at=later(1), because="test"))

    back = reinstated(company, ada, at=2)

    assert back.standing == Standing.ACTIVE and back.display_name == "Ada"
    with reading() as session:
        assert standing_records(session, back) == 0


def test_what_a_clock_that_was_ahead_had_decided_is_decided_anew(installed: Flask) -> None:
    company = new_company()
    far = 10_000_000.0
    ada = company.joins("ada@x.example")

    def ends(at: datetime) -> Record:
        draft = RecordDraft(external_id=ada.external_id, user_name=ada.user_name, active=None, document=ada.document, ends_at=later(far))
        return in_transaction(lambda s: change_record(s, company.organization_id, ada.source_id, ada.id, draft, actor=OKTA, at=at, because="test"))

    ends(later(1))
    in_transaction(lambda s: reconsider(s, company.organization_id, ada.person_id, at=later(2 * far)))
    assert company.person(ada).standing == Standing.DEPARTED

    back = reinstated(company, ada, at=5)

    assert (back.standing, back.access_until) == (Standing.ACTIVE, later(far))
    in_transaction(lambda s: reconsider(s, company.organization_id, ada.person_id, at=later(far)))
    assert company.person(ada).standing == Standing.DEPARTED


def test_a_reinstatement_counts_also_where_the_mistake_was_made_by_a_clock_that_was_ahead(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example")
    say(company, ada, Voice.HR, StatementKind.LEAVES, at=1_000)

    assert reinstated(company, ada, at=5).standing == Standing.ACTIVE
