"""People who have yet to start: expected until their day, through the real verbs, with the clock handed in."""

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.tables import Person, Source, Standing, Statement, StatementKind, Voice
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal.tables import Entry, Organization
from app.lifecycle import leaving, starting
from app.lifecycle.records import reads_active
from app.lifecycle.sources import set_setting
from app.lifecycle.starting import OutOfPlace
from app.revocation.departures import current
from tests.company import ADMIN, NOW, OKTA, new_company
from tests.unit.lifecycle.dated import comes_due, dated, departures_of, due_at, expect, gets_in, hr_says, joins, on, signed_in


def test_a_record_that_begins_later_is_expected_without_a_departure_and_looks_active_to_its_directory(installed: Flask) -> None:
    company = new_company()

    ada = joins(company, "ada", since=10)

    person = company.person(ada)
    assert (person.standing, person.standing_reason) == (Standing.EXPECTED, "expected by directory")
    assert departures_of(company, ada) == []
    assert reads_active(ada, person.standing)
    assert due_at(company, ada) == on(10)


def test_whoever_is_expected_becomes_active_at_the_instant_and_not_before(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", since=10)

    before = comes_due(company, ada, at=9.999)
    at = comes_due(company, ada, at=10)

    assert (before.standing, at.standing) == (Standing.EXPECTED, Standing.ACTIVE)
    assert at.access_epoch > before.access_epoch


def test_somebody_who_is_in_and_is_now_said_to_start_later_loses_what_was_given(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada")
    cookie = signed_in(company, ada, at=1)
    epoch = company.person(ada).access_epoch
    assert gets_in(cookie, at=1.5)

    dated(company, ada, at=2, starts_at=on(10))

    person = company.person(ada)
    assert person.standing == Standing.EXPECTED and person.access_epoch == epoch + 1
    assert not gets_in(cookie, at=2.1)
    [departure] = departures_of(company, ada)
    assert (departure.means, departure.ended_at) == (Standing.PAUSED, None)
    assert comes_due(company, ada, at=10).standing == Standing.ACTIVE
    assert not gets_in(cookie, at=10.1), "nothing old comes back to life"


def test_hr_names_the_first_day_of_somebody_whom_the_directory_has_on_already(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", number="E-1")

    expected = hr_says(company, ada, StatementKind.STARTS, said=1, at=10)

    assert (expected.standing, expected.standing_reason) == (Standing.EXPECTED, "expected by hr")
    assert comes_due(company, ada, at=10).standing == Standing.ACTIVE


def test_another_engagement_to_come_takes_nothing_from_who_is_here_and_keeps_them_expected_when_the_first_ends(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", number="E-1")
    hr_says(company, ada, StatementKind.STARTS, said=1, at=20, engagement="e-2")
    assert company.person(ada).standing == Standing.ACTIVE

    hr_says(company, ada, StatementKind.LEAVES, said=2, at=10, engagement="e-1")

    assert company.person(ada).access_until == on(10)
    assert comes_due(company, ada, at=10).standing == Standing.EXPECTED
    assert comes_due(company, ada, at=20).standing == Standing.ACTIVE


def test_calling_off_the_end_of_one_engagement_leaves_the_announced_end_of_the_other(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", number="E-1")
    for number, engagement in enumerate(("e-1", "e-2")):
        hr_says(company, ada, StatementKind.STARTS, said=1 + 2 * number, at=2 + 2 * number, engagement=engagement)
        comes_due(company, ada, at=2 + 2 * number)
    for engagement in ("e-1", "e-2"):
        hr_says(company, ada, StatementKind.LEAVES, said=6, at=20, engagement=engagement)

    hr_says(company, ada, StatementKind.RETURNS, said=7, engagement="e-2")
    stays = comes_due(company, ada, at=21)
    left = hr_says(company, ada, StatementKind.LEAVES, said=30, engagement="e-2")

    assert (stays.standing, left.standing) == (Standing.ACTIVE, Standing.DEPARTED)


def test_a_first_day_that_is_put_off_again_takes_access_also_where_it_names_its_engagement(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", number="E-1", since=5)
    hr_says(company, ada, StatementKind.STARTS, said=1, at=10, engagement="e-1")
    assert comes_due(company, ada, at=10).standing == Standing.ACTIVE

    hr_says(company, ada, StatementKind.STARTS, said=10.5, at=20, engagement="e-1")

    assert company.person(ada).standing == Standing.EXPECTED


def test_an_operator_expects_somebody_and_lets_them_start_earlier(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", since=20)

    expect(company, ada, starts=15, at=1)
    first = company.person(ada)
    now_in = expect(company, ada, starts=2, at=3)

    assert first.standing == Standing.EXPECTED
    assert due_at(company, ada) is not None
    assert now_in.standing == Standing.ACTIVE, "an instant that has passed means now"


@pytest.mark.parametrize("kind", [StatementKind.PAUSES, StatementKind.LEAVES])
def test_nobody_is_expected_who_is_away_or_gone(installed: Flask, kind: StatementKind) -> None:
    company = new_company()
    ada = joins(company, "ada")
    hr_says(company, ada, kind, said=1)

    with pytest.raises(OutOfPlace, match=r"doorlist return ada@x\.example --at"):
        expect(company, ada, starts=10, at=2)


def test_an_offer_that_is_rescinded_ends_what_was_prepared_and_nobody_starts(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", since=10)

    def rescind(session: Session, at: float) -> Person:
        person = session.get_one(Person, (company.organization_id, ada.person_id))
        return starting.rescind(session, person, said_by="ana", actor=ADMIN, at=on(at), reason="took another offer")

    in_transaction(lambda s: rescind(s, 2))
    again = in_transaction(lambda s: rescind(s, 3))

    assert again.standing == Standing.DEPARTED
    assert comes_due(company, ada, at=10).standing == Standing.DEPARTED
    assert len(departures_of(company, ada)) == 1
    with reading() as session:
        assert session.scalar(select(Entry.because).where(Entry.verb == "operator says leaves")) == "took another offer"


def test_only_whoever_is_expected_is_rescinded(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada")

    def rescind(session: Session) -> Person:
        person = session.get_one(Person, (company.organization_id, ada.person_id))
        return starting.rescind(session, person, said_by="ana", actor=ADMIN, at=on(1), reason="mistake")

    with pytest.raises(OutOfPlace, match="doorlist depart"):
        in_transaction(rescind)
    assert company.person(ada).standing == Standing.ACTIVE


def test_a_rehire_on_a_day_is_the_same_person_who_comes_in_on_that_day(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", number="E-1")
    cookie = signed_in(company, ada, at=0.5)
    hr_says(company, ada, StatementKind.LEAVES, said=1)

    in_transaction(
        lambda s: leaving.say(
            s, company.organization_id, ada.person_id, voice=Voice.OPERATOR, kind=StatementKind.RETURNS, said_by="ana", effective_at=on(30),
            actor=ADMIN, at=on(2), because="test",
        )
    )  # fmt: skip

    assert comes_due(company, ada, at=29).standing == Standing.DEPARTED
    back = comes_due(company, ada, at=30)
    assert (back.id, back.standing) == (ada.person_id, Standing.ACTIVE)
    assert not gets_in(cookie, at=30)


def test_a_return_on_a_later_day_calls_off_nothing_before_that_day(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada")

    def operator(kind: StatementKind, effective: float, at: float) -> Person:
        return in_transaction(
            lambda s: leaving.say(
                s, company.organization_id, ada.person_id, voice=Voice.OPERATOR, kind=kind, said_by="ana", effective_at=on(effective),
                actor=ADMIN, at=on(at), because="test",
            )
        )  # fmt: skip

    operator(StatementKind.PAUSES, 10, 1)
    operator(StatementKind.RETURNS, 40, 2)

    assert [comes_due(company, ada, at=one).standing for one in (9, 10, 39, 40)] == ["active", "paused", "paused", "active"]


# What a source pushes


def test_first_days_put_off_for_many_at_once_are_braked_like_any_other_loss(installed: Flask) -> None:
    company = new_company()
    people = [joins(company, name, number=name) for name in ("ada", "bob", "cyd")]

    def act(session: Session) -> None:
        set_setting(session, session.get_one(Organization, company.organization_id), "push_brake", "1/60s", actor=ADMIN, at=NOW)
        source = session.get_one(Source, (company.organization_id, company.source_id))
        for one in people:
            leaving.say(
                session, company.organization_id, one.person_id, voice=Voice.HR, kind=StatementKind.STARTS, said_by="workday", effective_at=on(300),
                actor=OKTA, at=on(1), because="test", source=source,
            )  # fmt: skip

    in_transaction(act)

    assert [company.person(one).standing for one in people] == ["expected", "active", "active"]
    with reading() as session:
        assert session.scalars(select(Statement.held).order_by(Statement.id)).all() == [False, True, True]


def test_an_epoch_moves_once_for_whoever_never_had_access(installed: Flask) -> None:
    company = new_company()
    ada = joins(company, "ada", since=10)

    assert company.person(ada).access_epoch == 1
    assert comes_due(company, ada, at=10).access_epoch == 2
    with reading() as session:
        assert current(session, company.organization_id, ada.person_id) is None


def test_the_enterprise_extension_stays_as_said(installed: Flask) -> None:
    company = new_company()

    ada = joins(company, "ada", since=10, department="Sales")

    assert ada.document[ENTERPRISE_URN]["department"] == "Sales"
