"""Sponsors who leave, and what people hear of engagements: counted for each sponsor, and never whom it is about or when."""

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.tables import Person, Record, Standing, StatementKind, Voice
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal.tables import Entry
from app.lifecycle import engagements, leaving, sponsors
from app.lifecycle.records import RecordDraft, change_record
from app.revocation.alarm_kinds import AlarmKind
from tests.company import ADMIN, OKTA
from tests.unit.lifecycle.contracting import Firm, new_firm, on


def reports_to(firm: Firm, record: Record, manager: Record, *, at: float = 0) -> Record:
    said = {**record.document, ENTERPRISE_URN: {**record.document.get(ENTERPRISE_URN, {}), "manager": {"value": manager.id}}}
    draft = RecordDraft(external_id=record.external_id, user_name=record.user_name, active=None, document=said)
    return in_transaction(
        lambda s: change_record(s, firm.company.organization_id, firm.company.source_id, record.id, draft, actor=OKTA, at=on(at), because="test")
    )


def says(firm: Firm, record: Record, voice: Voice, *kinds: StatementKind, at: float) -> None:
    """A voice says one thing of somebody, and a day later another."""

    def act(session: Session, kind: StatementKind, day: float) -> None:
        leaving.say(
            session, firm.company.organization_id, record.person_id, voice=voice, kind=kind, said_by="x", effective_at=on(day), actor=ADMIN, at=on(day),
            because="test",
        )  # fmt: skip

    for day, kind in enumerate(kinds):
        in_transaction(lambda s, kind=kind, day=day: act(s, kind, at + day))  # type: ignore[misc]  # defaults bind the loop's values


def lapses() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(Entry.subject_id).where(Entry.verb == "engagement lapsed")))


def sponsor_of(firm: Firm, record: Record) -> str | None:
    row = firm.engagement(record)
    assert row is not None
    return row.sponsor_id


def test_when_a_sponsor_leaves_their_manager_answers(installed: Flask) -> None:
    firm = new_firm()
    boss, ada = firm.joins("boss"), firm.joins("ada")
    kim = reports_to(firm, firm.kim, boss)
    firm.takes_on(ada, until=60)

    firm.says(kim, active=False, at=5)
    firm.time_passes(to=5)

    assert sponsor_of(firm, ada) == boss.person_id
    assert AlarmKind.SPONSOR_LEFT not in firm.alarms()
    with reading() as session:
        assert session.scalar(select(Entry.because).where(Entry.verb == "sponsor changed")) == "kim@x.example, who answered for them, has left"


def test_when_the_manager_has_left_too_it_is_who_stands_above_them(installed: Flask) -> None:
    firm = new_firm()
    top, boss, ada = firm.joins("top"), firm.joins("boss"), firm.joins("ada")
    kim, boss = reports_to(firm, firm.kim, boss), reports_to(firm, boss, top)
    firm.takes_on(ada, until=60)

    firm.says(boss, active=False, at=4)
    firm.says(kim, active=False, at=5)
    firm.time_passes(to=5)

    assert sponsor_of(firm, ada) == top.person_id


def test_where_nobody_stands_above_people_hear_of_it_until_somebody_is_named(installed: Flask) -> None:
    firm = new_firm()
    ada, bob, lee = firm.joins("ada"), firm.joins("bob"), firm.joins("lee")
    for one in (ada, bob):
        firm.takes_on(one, until=60)

    firm.says(firm.kim, active=False, at=5)
    firm.time_passes(to=5)
    alarm = firm.alarms()[AlarmKind.SPONSOR_LEFT]
    for one in (ada, bob):
        row = firm.engagement(one)
        assert row is not None
        in_transaction(
            lambda s, row=row: engagements.reassign(  # type: ignore[misc]  # defaults bind the loop's values
                s, s.merge(row), s.get_one(Person, (firm.company.organization_id, lee.person_id)), actor=ADMIN, at=on(6), because="operator"
            )
        )
    firm.time_passes(to=6)

    assert alarm == "Kim has left and answered for 2 people who are no employees; nobody above could take their place."
    assert AlarmKind.SPONSOR_LEFT not in firm.alarms()


def test_nobody_is_read_whole_while_all_is_as_it_was(installed: Flask) -> None:
    firm = new_firm()
    ada, bob = firm.joins("ada"), firm.joins("bob", kind="Contractor", manager=firm.kim, until=90)
    firm.takes_on(ada, until=60)
    firm.adopts(at=1)
    assert sponsor_of(firm, bob) == firm.kim.person_id
    whole: list[str] = []
    note: Callable[..., None] = lambda person, _context: whole.append(person.user_name)  # noqa: E731  # a listener
    event.listen(Person, "load", note)

    sponsors.look(firm.company.organization_id, at=on(2))
    event.remove(Person, "load", note)

    assert whole == []


def test_managers_in_a_ring_who_all_left_are_nobody(installed: Flask) -> None:
    firm = new_firm()
    boss, ada = firm.joins("boss"), firm.joins("ada")
    kim = reports_to(firm, firm.kim, boss)
    boss = reports_to(firm, boss, kim)
    firm.takes_on(ada, until=60)

    firm.says(kim, active=False, at=5)
    firm.says(boss, active=False, at=5)
    firm.time_passes(to=5)

    assert AlarmKind.SPONSOR_LEFT in firm.alarms()


def test_a_contractor_does_not_inherit_contractors_nor_themselves(installed: Flask) -> None:
    firm = new_firm()
    boss, ada, bob = firm.joins("boss", kind="Contractor"), firm.joins("ada"), firm.joins("bob")
    kim = reports_to(firm, firm.kim, boss)
    firm.takes_on(ada, until=60)
    lee = reports_to(firm, firm.joins("lee"), bob)
    firm.takes_on(bob, until=60, sponsor=lee)

    firm.says(kim, active=False, at=5)
    firm.says(lee, active=False, at=5)
    firm.time_passes(to=5)

    assert (sponsor_of(firm, ada), sponsor_of(firm, bob)) == (kim.person_id, lee.person_id)
    assert AlarmKind.SPONSOR_LEFT in firm.alarms()


def test_a_sponsor_who_is_only_away_stays_the_sponsor(installed: Flask) -> None:
    firm = new_firm()
    boss, ada = firm.joins("boss"), firm.joins("ada")
    reports_to(firm, firm.kim, boss)
    firm.takes_on(ada, until=60)

    says(firm, firm.kim, Voice.HR, StatementKind.PAUSES, at=5)
    firm.time_passes(to=5)

    assert sponsor_of(firm, ada) == firm.kim.person_id


def test_a_sponsor_who_has_not_answered_in_the_last_week_is_told_of_without_names_or_days(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, until=30)

    firm.time_passes(to=22)
    early = firm.alarms()
    firm.time_passes(to=23)
    late = firm.alarms()
    firm.attests(ada, until=60, at=24)
    firm.time_passes(to=24)

    assert AlarmKind.CONTRACT_UNANSWERED not in early
    assert late[AlarmKind.CONTRACT_UNANSWERED] == "Kim is asked about 1 person who is no employee and has not answered."
    assert AlarmKind.CONTRACT_UNANSWERED not in firm.alarms()


def test_a_suspension_is_told_of_until_somebody_answers_or_they_are_let_go(installed: Flask) -> None:
    firm = new_firm()
    ada, bob = firm.joins("ada"), firm.joins("bob")
    for one in (ada, bob):
        firm.takes_on(one, until=30)

    firm.time_passes(to=31)
    both = firm.alarms()
    firm.attests(ada, until=60, at=32)
    firm.ends(bob, at=32)
    firm.time_passes(to=32)

    assert both[AlarmKind.CONTRACT_LAPSED] == "Kim has not vouched for 2 people who are no employees in time, and they are suspended."
    assert AlarmKind.CONTRACT_UNANSWERED not in both
    assert AlarmKind.CONTRACT_LAPSED not in firm.alarms()


@pytest.mark.parametrize("before", [(StatementKind.LEAVES, StatementKind.RETURNS), (StatementKind.RETURNS,)])
def test_who_was_returned_by_an_operator_is_suspended_on_the_day_all_the_same(installed: Flask, before: tuple[StatementKind, ...]) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, until=30)

    says(firm, ada, Voice.OPERATOR, *before, at=5)

    assert (firm.person(ada).standing, firm.person(ada).access_until) == (Standing.ACTIVE, on(30))
    firm.time_passes(to=31)
    assert firm.person(ada).standing == Standing.PAUSED
    assert AlarmKind.CONTRACT_LAPSED in firm.alarms()


def test_who_is_hired_anew_on_that_day_is_not_said_to_be_suspended(installed: Flask) -> None:
    firm = new_firm()
    ada, bob = firm.joins("ada"), firm.joins("bob")
    for one in (ada, bob):
        firm.takes_on(one, until=30)
    says(firm, ada, Voice.HR, StatementKind.REHIRES, at=30)

    firm.time_passes(to=31)
    says(firm, bob, Voice.HR, StatementKind.REHIRES, at=32)
    told = firm.alarms()
    firm.time_passes(to=33)

    assert firm.person(ada).standing == firm.person(bob).standing == Standing.ACTIVE
    row = firm.engagement(bob)
    assert row is not None and lapses() == [row.id]
    assert told[AlarmKind.CONTRACT_LAPSED] == "Kim has not vouched for 1 person who is no employee in time, and they are suspended."
    assert AlarmKind.CONTRACT_LAPSED not in firm.alarms()
    assert firm.alarms()[AlarmKind.CONTRACT_UNANSWERED] == "Kim is asked about 2 people who are no employees and has not answered."


def test_who_is_in_behind_their_day_by_a_mistake_of_earlier_is_suspended_at_the_next_look(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    row = firm.takes_on(ada, until=30)
    firm.time_passes(to=31)

    def as_it_was(session: Session) -> None:
        entry = engagements.journal(session, session.merge(row), "test", actor=ADMIN, at=on(31), because="test")
        session.execute(
            update(Person).where(Person.id == ada.person_id).values(standing=Standing.ACTIVE, standing_reason="", journal_id=entry),
            execution_options={"synchronize_session": False},
        )

    in_transaction(as_it_was)

    sponsors.look(firm.company.organization_id, at=on(32))

    assert firm.person(ada).standing == Standing.PAUSED


def test_whoever_has_no_sponsor_or_no_last_day_is_counted_until_they_have_both(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada", kind="Contractor")
    firm.adopts(at=1)
    firm.time_passes(to=1)
    without = firm.alarms()

    ada = reports_to(firm, ada, firm.kim, at=2)
    firm.time_passes(to=2)
    sponsor = sponsor_of(firm, ada)
    firm.attests(ada, until=60, at=3)
    firm.time_passes(to=3)

    assert without[AlarmKind.CONTRACT_INCOMPLETE] == "1 person who is no employee without a sponsor or a last day."
    assert sponsor == firm.kim.person_id, "the manager whom the directory has named meanwhile"
    assert AlarmKind.CONTRACT_INCOMPLETE not in firm.alarms()


def test_looking_twice_writes_nothing_twice(installed: Flask) -> None:
    firm = new_firm()
    firm.takes_on(firm.joins("ada"), until=30)
    firm.time_passes(to=31)

    def entries() -> int:
        with reading() as session:
            return len(session.scalars(select(Entry.id)).all())

    before = entries()
    firm.time_passes(to=32)

    assert entries() == before
