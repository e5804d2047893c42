"""Telling people of alarms: by a real mail server and a real receiver; what fails is tried again, whoever has died."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.clock import now
from app.database import in_transaction, reading
from app.delivery import alarm_posts
from app.delivery.alarm_posts import post_due
from app.lifecycle.alarm_routes import add_mail, add_webhook, end_route, find_alarm, find_route
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarm_tables import AlarmPost
from app.revocation.alarms import close, escalate, raise_alarm
from tests.company import ADMIN, Company, new_company
from tests.servers.mailbox import Mailbox, open_mailbox
from tests.servers.receiver import Receiver, open_receiver

SENTENCE = "1 person who has left could still get into chat."


@pytest.fixture
def mailbox(installed: Flask) -> Iterator[Mailbox]:
    with open_mailbox() as box:
        installed.config["DOORLIST"] = replace(installed.config["DOORLIST"], smtp_url=box.url, smtp_from="doorlist@acme.example")
        yield box


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with open_receiver() as opened:
        yield opened


def raised(company: Company, about: str = "chat") -> str:
    return in_transaction(
        lambda session: raise_alarm(session, company.organization_id, kind=AlarmKind.DEPARTURE_NOT_SHUT, about=about, sentence=SENTENCE, at=now())
    )


def tell_mail(company: Company, address: str = "oncall@acme.example", *, escalation: bool = False) -> None:
    in_transaction(lambda session: add_mail(session, company.organization_id, address, escalation=escalation, actor=ADMIN, at=now()))


def tell_webhook(company: Company, url: str, app: Flask, *, private: bool = True) -> str:
    settings = app.config["DOORLIST"]
    return in_transaction(
        lambda session: add_webhook(session, company.organization_id, url, escalation=False, private=private, settings=settings, actor=ADMIN, at=now())
    )[1]


def post_of(company: Company) -> AlarmPost:
    with reading() as session:
        return session.scalars(select(AlarmPost).where(AlarmPost.organization_id == company.organization_id)).one()


def in_an_hour() -> datetime:
    return now() + timedelta(hours=1, minutes=1)


def test_a_mail_says_what_is_wrong_and_how_to_answer_and_comes_once(installed: Flask, mailbox: Mailbox) -> None:
    company = new_company()
    tell_mail(company)
    alarm_id = raised(company)

    post_due(installed)
    post_due(installed, clock=in_an_hour)

    [mail] = mailbox.mails
    assert "urgent: somebody who has left is not shut out of a workspace yet" in mail["Subject"]
    assert SENTENCE in mail.get_content() and f"doorlist alarms acknowledge {alarm_id}" in mail.get_content()
    assert mail["Message-ID"] == f"<{alarm_id}.raised@acme.example>"
    assert post_of(company).posted_at is not None


def test_the_subject_of_a_mail_names_no_person(installed: Flask, mailbox: Mailbox) -> None:
    company = new_company()
    tell_mail(company)
    in_transaction(
        lambda session: raise_alarm(
            session, company.organization_id, kind=AlarmKind.BREAK_GLASS_USED, about="1", sentence="ada@acme.example signed in.", at=now()
        )
    )

    post_due(installed)

    assert "ada" not in mailbox.mails[0]["Subject"] and "ada@acme.example" in mailbox.mails[0].get_content()


def test_a_webhook_is_signed_and_one_byte_off_is_not_believed(installed: Flask, receiver: Receiver) -> None:
    company = new_company()
    secret = tell_webhook(company, receiver.url, installed)
    alarm_id = raised(company)

    post_due(installed)

    [(path, headers, body)] = receiver.posted
    said: dict[str, Any] = Webhook(secret).verify(body, headers)
    assert path == "/hook" and headers["content-type"] == "application/json"
    assert (said["type"], said["data"]["id"], said["data"]["kind"]) == ("alarm.raised", alarm_id, "departure_not_shut")
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.replace(b"chat", b"chaT"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 44).verify(body, headers)


def test_the_end_of_it_is_told_to_webhooks_and_not_by_mail(installed: Flask, receiver: Receiver, mailbox: Mailbox) -> None:
    company = new_company()
    secret = tell_webhook(company, receiver.url, installed)
    tell_mail(company)
    alarm_id = raised(company)
    post_due(installed)

    in_transaction(lambda session: close(session, find_alarm(session, company.organization_id, alarm_id), actor=ADMIN, at=now()))
    post_due(installed)

    assert [Webhook(secret).verify(body, headers)["type"] for _, headers, body in receiver.posted] == ["alarm.raised", "alarm.closed"]
    assert len(mailbox.mails) == 1


def closes(company: Company, alarm_id: str) -> None:
    in_transaction(lambda session: close(session, find_alarm(session, company.organization_id, alarm_id), actor=ADMIN, at=now()))


def types_told(receiver: Receiver) -> list[str]:
    return [json.loads(body)["type"] for _, _, body in receiver.posted]


def test_the_end_is_told_though_the_alarm_was_on_its_way_and_comes_after_it(installed: Flask, receiver: Receiver) -> None:
    company = new_company()
    tell_webhook(company, receiver.url, installed)
    alarm_id = raised(company)
    in_hand = in_transaction(lambda session: alarm_posts._claim(session, at=now()))

    closes(company, alarm_id)
    post_due(installed)
    alarm_posts._post_all(installed, in_hand, clock=now)
    post_due(installed, clock=lambda: now() + alarm_posts.LEASE)

    assert types_told(receiver) == ["alarm.raised", "alarm.closed"]


def test_the_end_is_told_where_the_answer_to_the_alarm_was_lost(installed: Flask, receiver: Receiver) -> None:
    company = new_company()
    tell_webhook(company, receiver.url, installed)
    alarm_id = raised(company)
    receiver.answers = [503]
    post_due(installed)

    closes(company, alarm_id)
    post_due(installed)

    assert types_told(receiver) == ["alarm.raised", "alarm.closed"]


def test_of_what_was_never_begun_no_end_is_told(installed: Flask, receiver: Receiver) -> None:
    company = new_company()
    tell_webhook(company, receiver.url, installed)
    alarm_id = raised(company)

    closes(company, alarm_id)
    post_due(installed)

    assert receiver.posted == []


def test_what_was_closed_before_it_could_be_told_is_not_told(installed: Flask, mailbox: Mailbox) -> None:
    company = new_company()
    tell_mail(company)
    alarm_id = raised(company)
    in_transaction(lambda session: close(session, find_alarm(session, company.organization_id, alarm_id), actor=ADMIN, at=now()))

    post_due(installed)

    assert mailbox.mails == []


@pytest.mark.parametrize("status", [500, 503, 429, 404, 302])
def test_what_a_receiver_does_not_take_comes_again_under_the_same_id(installed: Flask, receiver: Receiver, status: int) -> None:
    company = new_company()
    tell_webhook(company, receiver.url, installed)
    raised(company)
    receiver.answers, receiver.headers = [status], {"Location": "http://127.0.0.1:1/"}

    post_due(installed)
    failed = post_of(company)
    post_due(installed)
    assert len(receiver.posted) == 1, "it is due later"
    post_due(installed, clock=in_an_hour)

    assert failed.posted_at is None and failed.attempts == 1 and str(status) in str(failed.last_error) + "429"
    assert len({headers["webhook-id"] for _, headers, _ in receiver.posted}) == 1 and len(receiver.posted) == 2
    assert post_of(company).posted_at is not None


def test_a_mail_server_that_is_down_is_tried_until_it_is_up(installed: Flask, mailbox: Mailbox) -> None:
    company = new_company()
    tell_mail(company)
    raised(company)
    mailbox.answers["RCPT"] = "450 not now"
    for day in range(3):
        post_due(installed, clock=lambda day=day: now() + timedelta(days=day))  # type: ignore[misc]  # defaults bind the loop's values
    assert post_of(company).attempts == 3

    mailbox.answers.clear()
    post_due(installed, clock=lambda: now() + timedelta(days=4))

    assert len(mailbox.mails) == 1


def test_a_worker_that_died_with_it_in_hand_loses_nothing(installed: Flask, mailbox: Mailbox) -> None:
    company = new_company()
    tell_mail(company)
    raised(company)
    in_transaction(lambda session: alarm_posts._claim(session, at=now()))  # and nothing of it runs after this

    post_due(installed)
    assert mailbox.mails == [], "another may be sending it just now"
    post_due(installed, clock=lambda: now() + alarm_posts.LEASE)

    assert len(mailbox.mails) == 1


def test_one_place_that_fails_keeps_no_other_waiting(installed: Flask, mailbox: Mailbox, receiver: Receiver) -> None:
    company = new_company()
    with open_receiver() as gone:
        nowhere = gone.url
    tell_webhook(company, nowhere, installed)
    tell_webhook(company, receiver.url, installed)
    tell_mail(company)
    for number in range(3):
        raised(company, about=str(number))

    post_due(installed)

    assert len(mailbox.mails) == len(receiver.posted) == 3


def test_many_for_one_place_keep_no_other_from_its_first(installed: Flask, mailbox: Mailbox, receiver: Receiver) -> None:
    company, neighbour = new_company(), new_company()
    tell_webhook(company, receiver.url, installed)
    for number in range(alarm_posts.AT_A_TIME + 10):
        raised(company, about=str(number))
    tell_mail(neighbour)
    raised(neighbour)

    post_due(installed)

    assert len(mailbox.mails) == 1 and len(receiver.posted) == alarm_posts.OF_ONE_ROUTE


def test_w10_a_webhook_in_our_own_network_is_not_called_unless_it_was_allowed(installed: Flask, receiver: Receiver) -> None:
    company = new_company()
    tell_webhook(company, receiver.url.replace("http", "https").replace("127.0.0.1", "localhost"), installed, private=False)
    raised(company)

    post_due(installed)

    failed = post_of(company)
    assert receiver.posted == [] and failed.posted_at is None
    assert "certificate" not in str(failed.last_error), "it is left before anything is said, TLS too"


def test_an_ended_route_is_sent_nothing_that_was_still_to_be_sent(installed: Flask, receiver: Receiver) -> None:
    company = new_company()
    tell_webhook(company, receiver.url, installed)
    raised(company)

    def end(session: Session) -> None:
        end_route(session, find_route(session, company.organization_id, receiver.url), actor=ADMIN, at=now())

    in_transaction(end)
    post_due(installed)

    assert receiver.posted == [] and post_of(company).dropped_at is not None


def test_without_a_mail_server_it_waits_and_says_why(installed: Flask) -> None:
    company = new_company()
    tell_mail(company)
    raised(company)

    post_due(installed)

    assert "DOORLIST_SMTP_URL" in str(post_of(company).last_error)


def test_an_escalation_says_that_nobody_has_answered(installed: Flask, mailbox: Mailbox) -> None:
    company = new_company()
    tell_mail(company, "boss@acme.example", escalation=True)
    raised(company)

    in_transaction(lambda session: escalate(session, at=in_an_hour()))
    post_due(installed, clock=in_an_hour)

    [mail] = mailbox.mails
    assert mail["To"] == "boss@acme.example" and "nobody has answered" in mail["Subject"]


def test_no_secret_is_in_a_log_or_an_error(installed: Flask, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    company = new_company()
    secret = tell_webhook(company, receiver.url, installed)
    tell_mail(company)
    installed.config["DOORLIST"] = replace(installed.config["DOORLIST"], smtp_url="smtp://doorlist:hunter2@127.0.0.1:1?starttls=no")
    raised(company)
    receiver.answers = [500]

    with caplog.at_level(logging.DEBUG):
        post_due(installed)

    with reading() as session:
        errors = session.scalars(select(AlarmPost.last_error)).all()
    said = json.dumps([record.getMessage() for record in caplog.records if record.name.startswith(("app", "connectors"))]) + json.dumps(errors)
    assert "hunter2" not in said and secret.removeprefix("whsec_") not in said and "no answer" in said
