"""Attacks on days and dates (D06, D08, D12, P13, W09): nothing opens a door before somebody starts, or after they end, whatever comes in which order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.access import sessions
from app.access.sessions import Authenticated, Limits
from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Person, Standing, StatementKind, Voice
from app.journal.tables import Organization
from app.lifecycle import leaving, starting
from app.lifecycle.days import end_of, read_day, zone_of
from app.lifecycle.people import reconsider, records_of
from app.lifecycle.records import RecordDraft, change_record
from app.lifecycle.sources import set_setting
from app.sso.entering import refuse_without_access
from app.sso.refusals import Refused
from tests.company import ADMIN, OKTA, Company, new_company
from tests.hr_system import HR
from tests.hr_system import leaving as leaving_call
from tests.possessions import EVERYTHING, possessions_of
from tests.unit.lifecycle.contracting import new_firm, on

FIRST_DAY = (now() + timedelta(days=30)).date()
STARTS = datetime.combine(FIRST_DAY, time(), UTC)


def hired(number: str = "E-1", **data: Any) -> dict[str, Any]:
    return {"type": "employee.hired", "data": {"employee_id": number, "start_date": FIRST_DAY.isoformat(), **data}}


def by_an_operator(_app: Flask, company: Company, person_id: str) -> None:
    def act(session: Session) -> None:
        person = session.get_one(Person, (company.organization_id, person_id))
        starting.expect(session, person, starts_at=STARTS, said_by="ana", actor=ADMIN, at=now(), because="test")

    in_transaction(act)


def by_hr(app: Flask, company: Company, _person_id: str) -> None:
    assert HR(app, company).call(hired()).status_code == 200


def by_the_directory(_app: Flask, company: Company, person_id: str) -> None:
    def act(session: Session) -> None:
        [record] = records_of(session, session.get_one(Person, (company.organization_id, person_id)))
        draft = RecordDraft(external_id=record.external_id, user_name=record.user_name, active=None, document=record.document, starts_at=STARTS)
        change_record(session, company.organization_id, record.source_id, record.id, draft, actor=OKTA, at=now(), because="test")

    in_transaction(act)


WAYS_TO_WAIT: dict[str, Callable[[Flask, Company, str], None]] = {"an operator": by_an_operator, "HR, by its call": by_hr, "the directory": by_the_directory}


@pytest.mark.parametrize("way", WAYS_TO_WAIT)
def test_d11_whoever_has_yet_to_start_holds_nothing_and_is_let_in_nowhere(installed: Flask, way: str) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1", at=now())
    held = possessions_of(company.organization_id, ada.person_id, at=now())
    assert held.let_in(at=now()) == EVERYTHING

    WAYS_TO_WAIT[way](installed, company, ada.person_id)

    person = company.person(ada)
    assert person.standing == Standing.EXPECTED
    assert held.let_in(at=now()) == set()
    with pytest.raises(Refused):
        refuse_without_access(person, connection_id=None, at=now())
    # Whatever was given in spite of it, by a door that forgot to ask, opens nothing either.
    assert not in_transaction(lambda s: opens_a_door(s, person))


def opens_a_door(session: Session, person: Person) -> bool:
    """Whether a session that is begun without asking lets this person in."""
    _, cookie = sessions.start(session, person, Authenticated(connection_id=None, at=now()), limits=Limits(), agent="Firefox", at=now())
    return sessions.check(session, cookie, at=now()) is not None


@pytest.mark.parametrize("way", WAYS_TO_WAIT)
def test_d12_on_the_first_day_nothing_from_before_works(installed: Flask, way: str) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1", at=now())
    held = possessions_of(company.organization_id, ada.person_id, at=now())
    WAYS_TO_WAIT[way](installed, company, ada.person_id)

    in_transaction(lambda s: reconsider(s, company.organization_id, ada.person_id, at=STARTS))

    assert company.person(ada).standing == Standing.ACTIVE
    assert held.let_in(at=now()) == set()


@pytest.mark.parametrize(
    ("day", "zone"),
    [
        ("2026-03-29", "Europe/Berlin"), ("2026-10-25", "Europe/Berlin"), ("2026-09-05", "America/Santiago"), ("2026-10-31", "America/Havana"),
        ("2028-02-29", "Asia/Kathmandu"), ("2027-12-31", "Pacific/Kiritimati"),
    ],
)  # fmt: skip
def test_d06_a_last_day_ends_to_the_microsecond_whatever_the_clocks_there_do(installed: Flask, day: str, zone: str) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    end = end_of(read_day(day), zone_of(zone))
    begin = end - timedelta(days=5)

    def act(session: Session) -> None:
        leaving.say(
            session, firm.company.organization_id, ada.person_id, voice=Voice.OPERATOR, kind=StatementKind.LEAVES, said_by="ana", effective_at=end,
            actor=ADMIN, at=begin, because="test",
        )  # fmt: skip

    in_transaction(act)
    held = possessions_of(firm.company.organization_id, ada.person_id, at=end - timedelta(minutes=5))

    assert "cookie" in held.let_in(at=end - timedelta(microseconds=1))
    assert held.let_in(at=end) == set()


def test_d06_a_clock_put_back_opens_no_door_again(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, until=30)
    held = possessions_of(firm.company.organization_id, ada.person_id, at=on(29.9))
    firm.time_passes(to=30)

    firm.time_passes(to=10)

    assert firm.person(ada).standing == Standing.PAUSED
    assert held.let_in(at=on(10)) == set()


def test_d08_a_stolen_hr_secret_puts_off_no_more_people_than_the_brake_lets_through(installed: Flask) -> None:
    company = new_company()
    people = [company.joins(f"p{number}@x.example", f"N-{number}", at=now()) for number in range(12)]
    in_transaction(lambda s: set_setting(s, s.get_one(Organization, company.organization_id), "push_brake", "5/60s", actor=ADMIN, at=now()))
    hr = HR(installed, company)

    answers = {hr.call(hired(f"N-{number}"), event_id=f"m{number}").status_code for number in range(12)}

    assert answers == {200}
    assert [company.person(one).standing for one in people].count(Standing.ACTIVE) == 7


WORDS = {
    "hired": hired(),
    "leaves": leaving_call("E-1", revoke_access="immediately"),
    "cancelled": {"type": "employee.termination_cancelled", "data": {"employee_id": "E-1"}},
}


@pytest.mark.parametrize("order", list(itertools.permutations(WORDS)))
def test_w09_in_no_order_of_words_is_anybody_let_in_before_their_first_day(installed: Flask, order: tuple[str, ...]) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1", at=now())
    hr = HR(installed, company)

    for number, word in enumerate(order):
        hr.call(WORDS[word], event_id=f"m{number}")

    person = company.person(ada)
    said_last = [word for word in order if word != "hired"][-1]
    if said_last == "leaves":
        assert person.standing == Standing.DEPARTED
    elif person.standing == Standing.ACTIVE:
        # HR called the leaving off, and had spoken of the first day only while they were gone: that waits for somebody to look.
        assert order.index("leaves") < order.index("hired") < order.index("cancelled")
    else:
        assert person.standing == Standing.EXPECTED


def test_p13_a_directory_that_says_on_again_ends_no_suspension_and_no_expectation(installed: Flask) -> None:
    firm = new_firm()
    ada, bob = firm.joins("ada"), firm.joins("bob")
    firm.takes_on(ada, until=30)
    firm.takes_on(bob, since=50, until=60)
    firm.time_passes(to=31)

    for one in (ada, bob):
        off = firm.says(one, active=False, at=32)
        firm.says(off, active=True, at=33)

    assert [firm.person(one).standing for one in (ada, bob)] == [Standing.PAUSED, Standing.EXPECTED]
    with reading() as session:
        assert session.get_one(Person, (firm.company.organization_id, ada.person_id)).standing_reason == "paused by sponsor"
