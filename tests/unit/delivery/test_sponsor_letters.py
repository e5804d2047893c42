"""Letters to sponsors, over a real mail server: when they are due, to whom they go, and that none asks about a day that was changed."""

import shlex
from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import select, update

from app.database import in_transaction, reading
from app.delivery.sponsor_letters import post_due
from app.directory.tables import Person
from app.journal.tables import Organization
from app.lifecycle import engagements
from app.lifecycle.engagement_tables import Engagement, SponsorLetter
from app.lifecycle.sources import set_setting
from tests.company import ADMIN
from tests.servers.mailbox import Mailbox, open_mailbox
from tests.unit.lifecycle.contracting import Firm, new_firm, on


@pytest.fixture
def mailbox(installed: Flask) -> Iterator[Mailbox]:
    with open_mailbox() as box:
        installed.config["DOORLIST"] = replace(installed.config["DOORLIST"], smtp_url=box.url, smtp_from="doorlist@acme.example")
        yield box


def posts(app: Flask, *, day: float) -> int:
    return post_due(app, clock=lambda: on(day))


def kept(firm: Firm) -> list[SponsorLetter]:
    with reading() as session:
        return list(session.scalars(select(SponsorLetter).order_by(SponsorLetter.due_at)))


def test_the_sponsor_is_asked_on_each_day_once_and_told_how_to_answer(installed: Flask, mailbox: Mailbox) -> None:
    firm = new_firm()
    firm.takes_on(firm.joins("ada"), until=60)

    sent = [posts(installed, day=day) for day in (29.9, 30, 30.1, 46, 53, 53.5, 60)]

    assert sent == [0, 1, 0, 1, 1, 0, 1]
    first, last = mailbox.mails[0], mailbox.mails[-1]
    assert first["To"] == "kim@x.example"
    assert "Ada has access until 2025-08-01, and you answer for them." in first.get_content()
    assert "doorlist contractor attest ada@x.example --until DAY --by kim@x.example" in first.get_content()
    assert "their access is suspended" in last.get_content()


def test_whatever_somebody_is_called_the_answer_can_be_typed(installed: Flask, mailbox: Mailbox) -> None:
    firm = new_firm()
    firm.takes_on(firm.joins("ada $(id) o'x"), until=60)

    posts(installed, day=30)

    [command] = [line.strip() for line in mailbox.mails[0].get_content().splitlines() if "doorlist" in line]
    assert shlex.split(command)[2:4] == ["attest", "ada $(id) o'x@x.example"]


def test_the_subject_names_nobody(installed: Flask, mailbox: Mailbox) -> None:
    firm = new_firm()
    firm.takes_on(firm.joins("ada"), until=60)

    posts(installed, day=30)

    [mail] = mailbox.mails
    assert "Ada" not in mail["Subject"] and "ada@" not in mail["Subject"] and "2025" not in mail["Subject"]


def test_the_last_day_is_told_as_it_is_where_the_organisation_is(installed: Flask, mailbox: Mailbox) -> None:
    firm = new_firm()
    in_transaction(lambda s: set_setting(s, s.get_one(Organization, firm.company.organization_id), "time_zone", "Pacific/Kiritimati", actor=ADMIN, at=on(0)))
    firm.takes_on(firm.joins("ada"), until=60)

    posts(installed, day=30)

    assert "until 2025-08-02" in mailbox.mails[0].get_content()


def test_after_a_time_without_a_worker_one_letter_is_enough(installed: Flask, mailbox: Mailbox) -> None:
    firm = new_firm()
    firm.takes_on(firm.joins("ada"), until=60)

    assert posts(installed, day=54) == 1

    assert len(mailbox.mails) == 1 and "and you answer for them" in mailbox.mails[0].get_content()
    assert [(one.days, one.posted_at is not None) for one in kept(firm)] == [(30, False), (14, False), (7, True), (0, False)]


def test_nobody_is_asked_about_a_day_that_was_changed(installed: Flask, mailbox: Mailbox) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, until=60)

    firm.attests(ada, until=200, at=20)

    assert posts(installed, day=60) == 0 and mailbox.mails == []


def test_a_letter_whose_day_does_not_stand_any_more_when_it_is_taken_up_is_dropped(installed: Flask, mailbox: Mailbox) -> None:
    firm = new_firm()
    firm.takes_on(firm.joins("ada"), until=60)
    in_transaction(lambda s: s.execute(update(Engagement).values(ends_at=on(200))))

    assert posts(installed, day=30) == 0 and mailbox.mails == []


def test_nobody_is_asked_about_whoever_has_departed_or_was_let_go(installed: Flask, mailbox: Mailbox) -> None:
    firm = new_firm()
    ada, bob = firm.joins("ada"), firm.joins("bob")
    for one in (ada, bob):
        firm.takes_on(one, until=60)
    firm.says(ada, active=False, at=5)
    firm.ends(bob, at=5)

    assert posts(installed, day=30) == 0 and mailbox.mails == []


def test_whoever_answers_by_then_is_asked_and_not_whoever_did_before(installed: Flask, mailbox: Mailbox) -> None:
    firm = new_firm()
    ada, lee = firm.joins("ada"), firm.joins("lee")
    row = firm.takes_on(ada, until=60)
    in_transaction(
        lambda s: engagements.reassign(
            s, s.merge(row), s.get_one(Person, (firm.company.organization_id, lee.person_id)), actor=ADMIN, at=on(5), because="operator"
        )
    )

    posts(installed, day=30)

    assert [mail["To"] for mail in mailbox.mails] == ["lee@x.example"]


def test_a_letter_that_cannot_be_sent_is_tried_again(installed: Flask, mailbox: Mailbox) -> None:
    firm = new_firm()
    firm.takes_on(firm.joins("ada"), until=60)
    there = installed.config["DOORLIST"]
    installed.config["DOORLIST"] = replace(there, smtp_url="smtp://127.0.0.1:9?starttls=no")

    assert posts(installed, day=30) == 0
    [first, *_] = kept(firm)
    installed.config["DOORLIST"] = there

    assert first.attempts == 1 and first.last_error and first.due_at > on(30)
    assert posts(installed, day=31) == 1


def test_a_worker_that_dies_in_the_middle_leaves_it_to_another(installed: Flask, mailbox: Mailbox) -> None:
    firm = new_firm()
    firm.takes_on(firm.joins("ada"), until=60)
    in_transaction(lambda s: s.execute(update(SponsorLetter).where(SponsorLetter.days == 30).values(lease_until=on(30.01))))

    assert posts(installed, day=30) == 0, "somebody has it in hand"
    assert posts(installed, day=30.02) == 1


def test_a_sponsor_without_an_address_costs_nobody_else_their_letter(installed: Flask, mailbox: Mailbox) -> None:
    firm = new_firm()
    lee = firm.joins("lee")
    firm.takes_on(firm.joins("ada"), until=60)
    firm.takes_on(firm.joins("bob"), until=60, sponsor=lee)
    in_transaction(lambda s: s.execute(update(Person).where(Person.id == firm.kim.person_id).values(email=None, journal_id=Person.journal_id + 1000)))

    posts(installed, day=30)

    assert [mail["To"] for mail in mailbox.mails] == ["lee@x.example"]
    assert [one.last_error for one in kept(firm) if one.dropped_at is not None] == ["the sponsor has no address that mail could be sent to"]


def test_names_begin_no_line_of_their_own(installed: Flask, mailbox: Mailbox) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, until=60)
    evil = "Ada\r\nBcc: all@x.example\n\nhas access for ever"
    in_transaction(lambda s: s.execute(update(Person).where(Person.id == ada.person_id).values(display_name=evil, journal_id=Person.journal_id + 1000)))

    posts(installed, day=30)

    [mail] = mailbox.mails
    assert mail["Bcc"] is None
    assert not [line for line in mail.get_content().splitlines() if line.startswith(("Bcc", "has access"))]


def test_without_a_mail_server_nothing_is_sent_and_nothing_lost(installed: Flask) -> None:
    firm = new_firm()
    firm.takes_on(firm.joins("ada"), until=60)

    assert posts(installed, day=30) == 0
    assert [one.attempts for one in kept(firm)] == [0, 0, 0, 0]
