"""Typing at alarms: who is told, who has answered, and what a pipe or a dashboard sees."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from standardwebhooks.webhooks import Webhook

from app.clock import now
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import raise_alarm
from tests.servers.mailbox import Mailbox, open_mailbox
from tests.servers.receiver import Receiver, open_receiver
from tests.unit.commands.conftest import Desk


@pytest.fixture
def mailbox(desk: Desk) -> Iterator[Mailbox]:
    with open_mailbox() as box:
        desk.environment["DOORLIST_SMTP_URL"] = box.url
        yield box


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with open_receiver() as opened:
        yield opened


def raised(desk: Desk, about: str = "okta") -> str:
    organization_id = desk.organization_id
    return desk.acts(
        lambda session: raise_alarm(session, organization_id, kind=AlarmKind.STREAM_SILENT, about=about, sentence="okta is silent.", at=now())
    )


def test_a_test_alarm_arrives_by_mail_and_by_webhook(desk: Desk, mailbox: Mailbox, receiver: Receiver) -> None:
    desk.asks("alarms", "route", "add", "mail", "oncall@acme.example")
    secret = desk.asks("alarms", "route", "add", "webhook", receiver.url, "--private")["secret"]

    said = desk.asks("alarms", "test")

    assert said["arrived"] and {one["state"] for one in said["told"]} == {"sent"}
    assert mailbox.mails[0]["To"] == "oncall@acme.example"
    [(_, headers, body)] = receiver.posted
    assert Webhook(secret).verify(body, headers)["data"]["organization"] == "Acme"


def test_a_test_alarm_that_reached_nobody_says_so(desk: Desk, mailbox: Mailbox) -> None:
    assert desk.types("alarms", "test").exit == 7
    desk.asks("alarms", "route", "add", "mail", "gone@acme.example")
    mailbox.answers["RCPT"] = "550 no such mailbox"

    said = desk.types("alarms", "test", "--json")

    assert said.exit == 7 and not said.json["arrived"] and "550" in said.json["told"][-1]["last_error"]
    faults = [one["sentence"] for one in desk.types("doctor", "--json").json["findings"] if one["level"] == "fault"]
    assert any(one.startswith("gone@acme.example did not take 2: ") for one in faults), faults


def test_an_alarm_is_listed_shown_acknowledged_and_closed_by_name(desk: Desk) -> None:
    alarm_id = raised(desk)
    token = desk.asks("operator", "add", "ana", "--role", "admin")["token"]

    assert [(one["id"], one["state"]) for one in desk.asks("alarms", "list")["alarms"]] == [(alarm_id, "open")]
    assert desk.asks("alarms", "acknowledge", alarm_id, token=token)["acknowledged_by"] == "operator:ana"
    assert desk.asks("alarms", "show", alarm_id)["advice"]
    assert desk.asks("alarms", "close", alarm_id, token=token)["state"] == "closed"
    assert desk.asks("alarms", "list")["alarms"] == []
    assert [one["id"] for one in desk.asks("alarms", "list", "--all")["alarms"]] == [alarm_id]


def test_who_may_answer_and_who_may_say_who_is_told(desk: Desk) -> None:
    alarm_id = raised(desk)
    desk_token = desk.asks("operator", "add", "hal", "--role", "helpdesk")["token"]
    eye = desk.asks("operator", "add", "eve", "--role", "auditor")["token"]

    assert desk.types("alarms", "acknowledge", alarm_id, token=eye).exit == 4
    assert desk.types("alarms", "close", alarm_id, token=desk_token).exit == 4
    assert desk.types("alarms", "route", "add", "mail", "eve@evil.example", token=desk_token).exit == 4
    assert desk.types("alarms", "acknowledge", alarm_id, token=desk_token).exit == 0
    assert desk.types("alarms", "list", token=eye).exit == 0


def test_another_organisations_alarm_is_as_unknown_as_none(desk: Desk) -> None:
    alarm_id = raised(desk)
    assert desk.types("init", "--organization", "Other").exit == 0

    other = desk.types("alarms", "show", alarm_id, "--organization", "Other")
    none = desk.types("alarms", "show", "0199", "--organization", "Other")

    assert other.exit == none.exit == 1
    assert other.err.replace(alarm_id, "ID") == none.err.replace("0199", "ID")


def test_routes_are_listed_without_their_secret_and_ended_by_address(desk: Desk, receiver: Receiver) -> None:
    secret = desk.asks("alarms", "route", "add", "webhook", receiver.url, "--private", "--escalation")["secret"]

    listed = desk.asks("alarms", "route", "list")
    desk.asks("alarms", "route", "end", receiver.url)

    assert secret not in json.dumps(listed) and [one["escalation"] for one in listed["routes"]] == [True]
    assert desk.asks("alarms", "route", "list")["routes"] == []


@pytest.mark.parametrize(
    ("kind", "address"), [("mail", "not an address"), ("mail", "a@b.example,c@d.example"), ("webhook", "http://hook.example"), ("webhook", "x")]
)
def test_an_address_that_cannot_be_right_is_refused(desk: Desk, kind: str, address: str) -> None:
    said = desk.types("alarms", "route", "add", kind, address)

    assert said.exit == 1 and desk.asks("alarms", "route", "list")["routes"] == []


def test_status_and_metrics_show_what_is_open(desk: Desk) -> None:
    raised(desk)

    status = desk.asks("status")
    metrics = desk.app.test_client().get("/metrics").get_data(as_text=True)

    assert [one["kind"] for one in status["open_alarms"]] == ["stream_silent"] and status["closed"] is None
    assert 'doorlist_alarms_open{acknowledged="no",kind="stream_silent",organization="Acme",severity="urgent"} 1.0' in metrics
    assert "doorlist_closed 0.0" in metrics


def test_doctor_says_where_nobody_is_told_and_where_no_mail_can_leave(desk: Desk) -> None:
    def about_alarms() -> list[tuple[str, str]]:
        said = desk.types("doctor", "--json").json
        return [(one["level"], one["sentence"]) for one in said["findings"] if one["about"] == "alarms"]

    assert about_alarms() == [("note", "nobody is told of them: doorlist alarms route add mail ADDRESS")]
    desk.asks("alarms", "route", "add", "mail", "oncall@acme.example")
    assert about_alarms() == [("fault", "they are to go by mail, and no mail server is set: DOORLIST_SMTP_URL")]
