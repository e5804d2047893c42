"""The report is tied to HR: every call is found in it again, and what is no termination stands beside the population."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.clock import now
from app.database import in_transaction, reading
from app.delivery import sweeping
from app.directory.tables import Record, Source
from app.intake import hr as hr_calls
from app.intake import termination_calls
from app.intake.tables import HREvent
from app.intake.termination_words import Outcome, Period
from app.journal.tables import HERE
from app.lifecycle.one_person import become_one
from app.lifecycle.people import reconsider
from connectors.contract import AccountState
from tests.company import ADMIN, new_company
from tests.hr_system import HR
from tests.unit.delivery.crew import StandInTargets
from tests.unit.intake.terminating import DAY, Firm, date, midnight, new_firm

pytestmark = pytest.mark.slow


@pytest.fixture
def firm(installed: Flask) -> Firm:
    return new_firm(installed)


# HR's population


def test_a_call_that_nobody_was_found_for_is_listed_as_parked(firm: Firm) -> None:
    firm.calls("E-9", "msg_9")

    told = firm.report()

    (line,) = told.lines
    assert (line["outcome"], line["employeeNumber"], line["hr_event"]) == ("parked", "E-9", "msg_9")
    assert line["why"] == "nobody has employee number E-9"
    assert told.totals.population == told.totals.parked == 1


def test_a_parked_call_that_an_operator_let_be_is_still_listed(firm: Firm) -> None:
    firm.calls("E-9")
    firm.acts(lambda session: session.execute(update(HREvent).values(state="dropped", problem=None)))

    told = firm.report()

    assert [(line["outcome"], line["why"]) for line in told.lines] == [("parked", "an operator let it be")]


def test_a_call_that_nobody_could_read_stands_beside_the_population(firm: Firm) -> None:
    mine = {"organization_id": firm.company.organization_id, "source_id": firm.hr.source_id, "received_at": now(), "sha256": "0"}
    firm.stored(HREvent(**mine, event_id="1", body={"type": "unread"}, state="parked", problem="not understood: no date"))
    firm.stored(HREvent(**mine, event_id="2", body={}, state="received", attempts=0))
    firm.stored(HREvent(**mine, event_id="3", body={"type": "handshake"}, state="received", attempts=0))
    firm.stored(HREvent(**mine, event_id="4", body={"type": "unread"}, state="ignored", attempts=0))

    told = firm.report()

    assert {line["hr_event"] for line in told.lines} == {"1", "2"}
    assert (told.outcomes, told.totals.population) == ({"unread": 2}, 0)


def test_the_population_is_the_sum_of_what_became_of_everybody(firm: Firm) -> None:
    for number in range(6):
        firm.joins(f"p{number}", f"E-{number}", delivered=number < 4)
    for number in range(3):
        firm.calls(f"E-{number}", f"msg_{number}")
    firm.calls("E-5", "msg_5")
    firm.calls("E-99", "msg_99")
    firm.delivers()
    firm.calls("E-3", "msg_3")

    told = firm.report()

    assert told.outcomes == {"removed": 3, "no account": 1, "parked": 1, "open": 1}
    assert (told.totals.population, told.totals.people) == (6, 5)
    assert (told.totals.calls, told.totals.matched, told.totals.parked) == (6, 5, 1)


def test_the_same_news_twice_is_one_termination(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1", "msg_1", last_day_of_work=date(-1))
    firm.calls("E-1", "msg_2", last_day_of_work=date(-1))
    firm.delivers()

    told = firm.report((-1, -1))

    assert (told.outcomes, told.totals.calls, told.totals.matched) == ({"removed": 1}, 2, 2)


def test_nobody_of_another_organisation_is_in_it(firm: Firm, installed: Flask) -> None:
    other = new_company()
    other.joins("eve@x.example", "E-1", at=now())
    elsewhere = HR(installed, other)
    elsewhere.call({"type": "employee.terminated", "data": {"employee_id": "E-1", "revoke_access": "immediately"}})
    elsewhere.call({"type": "employee.terminated", "data": {"employee_id": "E-9", "revoke_access": "immediately"}}, event_id="msg_9")

    assert firm.report().lines == []


def test_however_few_are_looked_at_at_a_time_the_report_is_the_same(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        firm.joins(f"p{number}", f"E-{number}", delivered=False)
        firm.calls(f"E-{number}", f"msg_{number}")
    firm.delivers()
    whole = firm.report()

    monkeypatch.setattr(termination_calls, "AT_A_TIME", 2)

    assert firm.report().lines == whole.lines and len(whole.lines) == 14


# Beside the population


def test_who_is_found_alive_later_is_told_and_not_counted_again(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1")
    firm.delivers()
    (account,) = firm.workspace.accounts.values()
    firm.workspace.accounts[account.id] = account.__class__(
        id=account.id, person_id=account.person_id, display_name="Ada", emails=(), state=AccountState.ACTIVE
    )
    found_at = now() + timedelta(seconds=90)
    sweeping.sweep(
        firm.app, StandInTargets(firm.workspace), organization_id=firm.company.organization_id, still_good=lambda *_, **__: 0, clock=lambda: found_at
    )

    after = Period(since=found_at - timedelta(seconds=1), until=found_at + DAY)
    told, whole = firm.report(after, at=found_at), firm.report((0, 1), at=found_at)

    assert (told.outcomes, told.totals.population) == ({"found alive": 1}, 0)
    assert told.of("ada")[0]["why"].startswith("found alive by the sweep in chat")
    assert (whole.outcomes, whole.totals.population) == ({"open": 1}, 1)


def merges(firm: Firm, was: Record, now_: Record) -> None:
    """An administrator says that these are one person."""
    firm.acts(lambda s: become_one(s, firm.company.organization_id, was.person_id, now_.person_id, actor=ADMIN, at=now(), because="question 1"))
    firm.delivers()


def test_that_two_turned_out_to_be_one_is_no_termination(firm: Firm) -> None:
    ada, second = firm.joins("ada", "E-1"), firm.joins("countess", "E-2")
    merges(firm, second, ada)

    told = firm.report()

    assert (told.outcomes, told.totals.population) == ({"merged": 1}, 0)
    assert {line["why"] for line in told.lines} == {f"the same person as {ada.person_id}"}
    assert {line["place"] for line in told.lines} == {HERE, "chat"}


def test_what_hr_said_of_either_of_two_who_are_one_is_one_termination(firm: Firm) -> None:
    ada, second = firm.joins("ada", "E-1"), firm.joins("countess", "E-2")
    firm.calls("E-2")
    firm.delivers()
    merges(firm, second, ada)

    told = firm.report()

    assert (told.outcomes, told.totals.people, told.totals.matched) == ({"removed": 1}, 1, 1)
    assert {line["person_id"] for line in told.lines} == {ada.person_id}
    assert {line["account"] for line in told.lines if line["place"] == "chat"} == {"ada", "countess"}


def test_a_leaver_who_is_recognised_when_they_come_again_keeps_their_removal(firm: Firm) -> None:
    old = firm.joins("old", "E-1")
    firm.calls("E-1", "msg_1")
    firm.delivers()
    firm.says("rehired", "E-1", "msg_2")
    new = firm.joins("new", "E-2")
    merges(firm, old, new)

    told = firm.report()

    assert told.totals.population == told.totals.outcomes[Outcome.REMOVED] == 1
    assert {line["person_id"] for line in told.lines if line["outcome"] == "removed"} == {new.person_id}


# Whatever happens


@pytest.mark.parametrize("seed", range(8))
def test_every_call_is_found_again_whatever_hr_said_in_which_order(firm: Firm, seed: int) -> None:
    chance = random.Random(seed)
    firm.sets("push_brake", "2/60s")
    people = [firm.joins(f"p{number}", f"E-{number}", delivered=False, at=midnight(-40)) for number in range(3)]
    at = midnight(-30)
    for step in range(14):
        at += timedelta(hours=chance.randint(1, 40))
        kind = chance.choice(["terminated"] * 5 + ["termination_cancelled", "rehired", "on_leave"])
        said = {"employee_id": f"E-{chance.randint(0, 3)}"} | ({"engagement_id": chance.choice("12")} if chance.random() < 0.5 else {})
        if kind == "terminated":
            dated = {"last_day_of_work": (at + chance.randint(-6, 9) * DAY).date().isoformat()}
            said |= {"revoke_access": "immediately"} if chance.random() < 0.4 else dated
        _hear(firm, f"msg_{step}", {"type": f"employee.{kind}", "data": said}, at=at)
        for record in people:
            firm.acts(lambda session, one=record, at=at: reconsider(session, firm.company.organization_id, one.person_id, at=at))

    for first, last in ((-60, 60), (-25, -20), (-19, -10)):
        told = firm.report((first, last), at=at)
        if (first, last) == (-60, 60):
            assert told.totals.calls == _calls(firm)


def _hear(firm: Firm, event_id: str, event: dict[str, object], *, at: datetime) -> None:
    import json

    body = json.dumps(event).encode()
    call = hr_calls.read(body, event_id, time_zone="UTC")

    def act(session: Session) -> None:
        source = session.get_one(Source, (firm.company.organization_id, firm.hr.source_id))
        hr_calls.receive(session, source, call, body, at=at)

    in_transaction(act)


def _calls(firm: Firm) -> int:
    with reading() as session:
        return sum(one.body["type"] == "employee.terminated" for one in session.scalars(select(HREvent)))
