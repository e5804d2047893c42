"""Alarms: raised with what they are about or not at all, once for each thing, answered by a name, escalated where nobody does."""

from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.settings import UnusableSetting, alarm_escalation
from app.journal.tables import Entry, Organization
from app.lifecycle.alarm_routes import add_mail, add_webhook, end_route, find_alarm
from app.lifecycle.errors import Taken
from app.lifecycle.sources import set_setting
from app.revocation.alarm_kinds import MEANINGS, AlarmKind
from app.revocation.alarm_tables import Alarm, AlarmPost, AlarmRoute, Severity, What
from app.revocation.alarms import acknowledge, close, escalate, keep_raised, open_alarms, raise_alarm, settle_alarm
from app.settings import Settings
from connectors.contract import Misconfigured
from tests.company import ADMIN, NOW, Company, later, new_company


def raised(company: Company, *, kind: AlarmKind = AlarmKind.STREAM_SILENT, about: str = "okta", sentence: str = "It is silent.", at: datetime = NOW) -> str:
    return in_transaction(lambda session: raise_alarm(session, company.organization_id, kind=kind, about=about, sentence=sentence, at=at))


def alarm_of(company: Company, alarm_id: str) -> Alarm:
    with reading() as session:
        return find_alarm(session, company.organization_id, alarm_id)


def mailbox(company: Company, address: str = "oncall@acme.example", *, escalation: bool = False) -> AlarmRoute:
    return in_transaction(lambda session: add_mail(session, company.organization_id, address, escalation=escalation, actor=ADMIN, at=NOW))


def posts(company: Company, what: What) -> list[str]:
    """The addresses that have this to come, or had."""
    with reading() as session:
        return sorted(
            session.scalars(
                select(AlarmRoute.address)
                .join(AlarmPost, AlarmPost.route_id == AlarmRoute.id)
                .where(AlarmPost.organization_id == company.organization_id, AlarmPost.what == what)
            )
        )


def escalates(company: Company, at: datetime) -> None:
    in_transaction(lambda session: escalate(session, at=at))


def test_the_same_again_is_counted_and_told_once(installed: Flask) -> None:
    company = new_company()
    mailbox(company)

    first = raised(company)
    again = raised(company, sentence="It is silent still.", at=later(30))

    alarm = alarm_of(company, first)
    assert again == first
    assert (alarm.times, alarm.sentence, alarm.raised_at, alarm.last_at) == (2, "It is silent still.", NOW, later(30))
    assert posts(company, What.RAISED) == ["oncall@acme.example"]


def test_another_thing_another_kind_and_another_organisation_are_other_alarms(installed: Flask) -> None:
    company, neighbour = new_company(), new_company()

    ids = {
        raised(company), raised(company, about="entra"), raised(company, kind=AlarmKind.SOURCE_SILENT), raised(neighbour),
    }  # fmt: skip

    assert len(ids) == 4
    with reading() as session:
        assert len(open_alarms(session, company.organization_id)) == 3


def test_what_is_rolled_back_raises_no_alarm(installed: Flask) -> None:
    company = new_company()
    mailbox(company)

    def act(session: Session) -> None:
        raise_alarm(session, company.organization_id, kind=AlarmKind.PUSH_HELD, about="x", sentence="x", at=NOW)
        raise RuntimeError("the verb failed")

    with pytest.raises(RuntimeError):
        in_transaction(act)

    with reading() as session:
        assert open_alarms(session, company.organization_id) == []
    assert posts(company, What.RAISED) == []


def test_after_it_was_closed_the_next_time_is_a_new_alarm_and_is_told(installed: Flask) -> None:
    company = new_company()
    mailbox(company)
    first = raised(company)

    in_transaction(lambda session: close(session, find_alarm(session, company.organization_id, first), actor=ADMIN, at=later(1)))
    second = raised(company, at=later(2))

    assert second != first
    assert alarm_of(company, first).closed_by == "operator:ana"
    assert posts(company, What.RAISED) == ["oncall@acme.example"] * 2


def test_who_answers_is_in_the_journal_and_the_first_name_stays(installed: Flask) -> None:
    company = new_company()
    alarm_id = raised(company)

    for at in (later(1), later(2)):
        in_transaction(lambda session, at=at: acknowledge(session, find_alarm(session, company.organization_id, alarm_id), actor=ADMIN, at=at))  # type: ignore[misc]  # defaults bind the loop's values

    with reading() as session:
        entries = session.scalars(select(Entry.actor).where(Entry.subject_id == alarm_id)).all()
    assert entries == ["operator:ana"]
    assert alarm_of(company, alarm_id).acknowledged_at == later(1)


def test_what_nobody_acknowledges_goes_to_the_second_list_once(installed: Flask) -> None:
    company = new_company()
    mailbox(company)
    mailbox(company, "boss@acme.example", escalation=True)
    raised(company)
    assert posts(company, What.RAISED) == ["oncall@acme.example"]

    escalates(company, later(15 * 60 - 1))
    assert posts(company, What.ESCALATED) == []
    escalates(company, later(15 * 60))
    escalates(company, later(16 * 60))

    assert posts(company, What.ESCALATED) == ["boss@acme.example"]


def test_without_a_second_list_the_first_is_told_again(installed: Flask) -> None:
    company = new_company()
    mailbox(company)
    raised(company)

    escalates(company, later(15 * 60))

    assert posts(company, What.ESCALATED) == ["oncall@acme.example"]


@pytest.mark.parametrize("answer", ["acknowledged", "closed", "over"])
def test_what_was_answered_in_time_does_not_escalate(installed: Flask, answer: str) -> None:
    company = new_company()
    mailbox(company)
    alarm_id = raised(company)

    def act(session: Session) -> None:
        alarm = find_alarm(session, company.organization_id, alarm_id)
        if answer == "acknowledged":
            acknowledge(session, alarm, actor=ADMIN, at=later(1))
        elif answer == "closed":
            close(session, alarm, actor=ADMIN, at=later(1))
        else:
            settle_alarm(session, company.organization_id, kind=AlarmKind.STREAM_SILENT, about="okta", at=later(1))

    in_transaction(act)
    escalates(company, later(3600))

    assert posts(company, What.ESCALATED) == []


def test_the_time_until_it_escalates_is_a_setting(installed: Flask) -> None:
    company = new_company()
    mailbox(company)

    def set_to(value: str) -> None:
        in_transaction(
            lambda session: set_setting(
                session, session.get_one(Organization, company.organization_id), "alarm_escalation", value, actor=ADMIN, at=NOW
            )
        )

    set_to("90s")
    raised(company, about="soon")
    set_to("off")
    raised(company, about="never")

    escalates(company, later(90))
    escalates(company, NOW + timedelta(days=30))

    with reading() as session:
        assert session.scalars(select(Alarm.about).where(Alarm.escalated_at.is_not(None))).all() == ["soon"]


@pytest.mark.parametrize("text", ["", "15", "0m", "-1m", "1.5h", "m", "1d", "٣m", "99999999999h", "on"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UnusableSetting):
        alarm_escalation(text)


def test_who_is_added_is_told_of_what_is_open_and_unanswered(installed: Flask) -> None:
    company = new_company()
    seen = raised(company, about="seen")
    in_transaction(lambda session: acknowledge(session, find_alarm(session, company.organization_id, seen), actor=ADMIN, at=NOW))
    raised(company, about="unseen")

    mailbox(company)

    assert posts(company, What.RAISED) == ["oncall@acme.example"]


def test_what_stands_is_raised_once_said_anew_and_closed_when_it_is_over(installed: Flask) -> None:
    company = new_company()

    def standing(at: datetime, **sentences: str) -> None:
        in_transaction(
            lambda session: keep_raised(session, company.organization_id, kind=AlarmKind.DEPARTURE_NOT_SHUT, standing=sentences, at=at)
        )

    standing(NOW, chat="1 person", wiki="2 people")
    standing(later(5), chat="3 people", wiki="2 people")
    standing(later(10), chat="3 people")

    with reading() as session:
        [chat] = open_alarms(session, company.organization_id)
        wiki = session.scalars(select(Alarm).where(Alarm.organization_id == company.organization_id, Alarm.about == "wiki")).one()
    assert (chat.about, chat.sentence, chat.times) == ("chat", "3 people", 1)
    assert (wiki.closed_at, wiki.closed_by) == (later(10), "clock:it is over")


def test_w11_names_from_outside_begin_no_new_line(installed: Flask) -> None:
    alarm = alarm_of(company := new_company(), raised(company, about="a\nb", sentence="Ada\r\nBcc: eve@evil.example\x1b[2J " + "x" * 600))

    assert alarm.sentence.startswith("Ada  Bcc: eve@evil.example [2J x") and len(alarm.sentence) == 500
    assert alarm.about == "a b"


def test_every_kind_says_what_to_do_and_names_nobody() -> None:
    assert set(MEANINGS) == set(AlarmKind)
    for meaning in MEANINGS.values():
        assert meaning.advice[-1] in ".?" and meaning.says[-1] not in ".?"
        assert "@" not in meaning.says


def test_severity_is_the_kinds_own_unless_it_is_given(installed: Flask) -> None:
    company = new_company()
    usual = raised(company, kind=AlarmKind.BREAK_GLASS_USED)
    given = in_transaction(
        lambda session: raise_alarm(
            session, company.organization_id, kind=AlarmKind.BREAK_GLASS_USED, about="drill", sentence="x", at=NOW, severity=Severity.WARNING
        )
    )

    assert (alarm_of(company, usual).severity, alarm_of(company, given).severity) == ("urgent", "warning")


@pytest.mark.parametrize("url", ["http://hook.example/a", "https://u:p@hook.example", "ftp://hook.example", "https:///x", "hook.example", "https://a b/"])
def test_w10_a_webhook_that_cannot_be_right_is_refused(installed: Flask, url: str) -> None:
    company = new_company()
    settings: Settings = installed.config["DOORLIST"]

    with pytest.raises(Misconfigured):
        in_transaction(
            lambda session: add_webhook(session, company.organization_id, url, escalation=False, private=False, settings=settings, actor=ADMIN, at=NOW)
        )


def test_one_place_is_told_once_and_may_come_back_after_it_was_ended(installed: Flask) -> None:
    company = new_company()
    route = mailbox(company)
    with pytest.raises(Taken):
        mailbox(company)

    in_transaction(lambda session: end_route(session, session.merge(route), actor=ADMIN, at=later(1)))
    raised(company)

    assert posts(company, What.RAISED) == []
    assert mailbox(company).id != route.id
