"""Whoever was let go by their sponsor before their last day, and came back: they are here until that day, and somebody answers for them."""

import pytest
from flask import Flask
from sqlalchemy import select

from app.database import in_transaction, reading
from app.directory.tables import Record, Standing, StatementKind, Voice
from app.journal.tables import Entry
from app.lifecycle import leaving
from app.lifecycle.contractor_ends import endings
from app.lifecycle.engagements import Unfit
from app.lifecycle.reinstating import reinstate
from app.revocation.alarm_kinds import AlarmKind
from tests.company import ADMIN
from tests.unit.lifecycle.contracting import Firm, new_firm, on


@pytest.fixture
def firm(installed: Flask) -> Firm:
    return new_firm()


def let_go(firm: Firm, *, kind: str = "Employee") -> Record:
    """Ada was to stay until the thirtieth day, and was let go on the fifth."""
    ada = firm.joins("ada", kind=kind)
    firm.takes_on(ada, until=30)
    firm.ends(ada, at=5)
    return ada


def returns(firm: Firm, record: Record, *, at: float, voice: Voice = Voice.OPERATOR, kind: StatementKind = StatementKind.RETURNS) -> None:
    in_transaction(
        lambda s: leaving.say(
            s, firm.company.organization_id, record.person_id, voice=voice, kind=kind, said_by="x", effective_at=on(at), actor=ADMIN, at=on(at),
            because="test",
        )
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["Employee", "Contractor"])
def test_whoever_returns_before_their_day_stays_as_an_employee_where_that_is_said(firm: Firm, kind: str) -> None:
    ada = let_go(firm, kind=kind)
    returns(firm, ada, at=6)
    assert firm.person(ada).access_until == on(30)

    firm.ends(ada, stays=True, at=7)

    assert (firm.person(ada).standing, firm.person(ada).access_until) == (Standing.ACTIVE, None)
    firm.time_passes(to=31)
    assert firm.person(ada).standing == Standing.ACTIVE


def test_their_sponsor_attests_until_another_day(firm: Firm) -> None:
    ada = let_go(firm)
    returns(firm, ada, at=6)

    firm.attests(ada, until=60, at=7)

    assert firm.person(ada).access_until == on(60)


@pytest.mark.parametrize("kind", ["Employee", "Contractor"])
def test_their_sponsor_is_written_to_again_and_they_are_listed(firm: Firm, kind: str) -> None:
    ada = let_go(firm, kind=kind)
    returns(firm, ada, at=6)

    firm.adopts(at=6)
    firm.time_passes(to=6)

    assert firm.letters() == [(14, on(16)), (7, on(23)), (0, on(30))]
    with reading() as session:
        assert [(one.state, one.sponsor, one.ends_at) for one in endings(session, firm.company.organization_id, at=on(6))] == [
            ("open", "kim@x.example", on(30))
        ]
        assert session.scalar(select(Entry.because).where(Entry.verb == "engagement resumed")) == "they are back before their last day"


def test_nobody_answers_again_and_that_is_told(firm: Firm) -> None:
    ada = let_go(firm)
    returns(firm, ada, at=6)

    firm.time_passes(to=31)

    row = firm.engagement(ada)
    assert firm.person(ada).standing == Standing.PAUSED and row is not None and row.lapsed_at == on(31)
    assert AlarmKind.CONTRACT_LAPSED in firm.alarms()
    firm.attests(ada, until=60, at=32)
    assert firm.person(ada).standing == Standing.ACTIVE


def test_a_mistake_that_is_taken_back_has_the_engagement_go_on(firm: Firm) -> None:
    ada = let_go(firm)
    in_transaction(lambda s: reinstate(s, firm.company.organization_id, ada.person_id, said_by="x", reason="mistake", actor=ADMIN, at=on(6)))

    firm.time_passes(to=6)

    row = firm.engagement(ada)
    assert row is not None and (row.sponsor_id, row.ends_at, firm.person(ada).access_until) == (firm.kim.person_id, on(30), on(30))


def test_whoever_is_hired_by_hr_before_their_day_is_asked_about_until_it(firm: Firm) -> None:
    ada = let_go(firm)
    returns(firm, ada, voice=Voice.HR, kind=StatementKind.REHIRES, at=6)

    firm.time_passes(to=6)

    assert firm.engagement(ada) is not None and firm.person(ada).access_until == on(30)


def test_whoever_is_back_before_their_day_is_not_taken_on_beside_it(firm: Firm) -> None:
    ada = let_go(firm)
    returns(firm, ada, at=6)

    with pytest.raises(Unfit, match="contractor attest"):
        firm.takes_on(ada, until=60, at=7)


def test_whoever_stays_away_has_no_engagement_again(firm: Firm) -> None:
    ada = let_go(firm)

    firm.time_passes(to=6)

    assert firm.engagement(ada) is None and firm.letters() == []


def test_whoever_returns_after_their_day_is_here_by_that_word_alone(firm: Firm) -> None:
    ada = let_go(firm)
    returns(firm, ada, at=40)

    firm.time_passes(to=41)

    assert (firm.person(ada).standing, firm.person(ada).access_until, firm.engagement(ada)) == (Standing.ACTIVE, None, None)


def test_whoever_was_kept_as_an_employee_and_is_away_later_has_no_engagement_again(firm: Firm) -> None:
    ada = firm.joins("ada")
    firm.takes_on(ada, until=30)
    firm.ends(ada, stays=True, at=5)
    returns(firm, ada, voice=Voice.HR, kind=StatementKind.PAUSES, at=6)

    firm.time_passes(to=31)

    assert firm.engagement(ada) is None and firm.alarms() == {}
