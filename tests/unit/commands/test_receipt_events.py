"""Which HR call a departure goes back to, as its receipt says and the report on terminations does."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.clock import iso, now
from app.directory.tables import Source
from app.intake import hr, terminations
from app.intake.termination_words import Period
from app.intake.terminations import Totals
from app.lifecycle.one_person import become_one
from app.lifecycle.people import reconsider
from tests.company import ADMIN
from tests.unit.commands.conftest import Desk

ADA = "ada@acme.example"


class HRDesk:
    """Ada is here, and an HR system speaks of her; minutes are counted from when she came."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.ada = desk.hires(desk.directory(), "ada", number="0042")
        self.source_id = str(desk.asks("source", "add", "hr", "workday")["id"])
        self._began = now()

    def at(self, minute: float) -> datetime:
        return self._began + timedelta(minutes=minute)

    def calls(self, event_id: str, *, at: float, ends: float | None, kind: str = "terminated", **data: str) -> None:
        told = {"employee_id": "0042", **data} | ({} if ends is None else {"revoke_access": iso(self.at(ends))})
        body = json.dumps({"type": f"employee.{kind}", "data": told}).encode()
        self.desk.acts(
            lambda session: hr.receive(
                session, session.get_one(Source, (self.desk.organization_id, self.source_id)), hr.read(body, event_id, time_zone="UTC"), body, at=self.at(at)
            )
        )

    def comes_due(self, *, at: float) -> None:
        self.desk.acts(lambda session: reconsider(session, self.desk.organization_id, self.ada, at=self.at(at)))

    def turns_out(self, was: str, now_: str, *, at: float) -> None:
        """An administrator says that these are one person."""
        organization_id = self.desk.organization_id
        self.desk.acts(lambda session: become_one(session, organization_id, was, now_, actor=ADMIN, at=self.at(at), because="test"))

    def receipt(self, person: str = ADA) -> list[dict[str, Any]]:
        """The departures of the signed file, the oldest first."""
        out = self.desk.folder / "ada.json"
        self.desk.asks("receipt", person, "--out", str(out))
        return list(reversed(json.loads(out.read_bytes())["receipt"]["departures"]))


@pytest.fixture
def told(desk: Desk) -> HRDesk:
    return HRDesk(desk)


def events(told: HRDesk) -> list[str | None]:
    return [None if one["event"] is None else one["event"]["id"] for one in told.receipt()]


@pytest.mark.parametrize("kind", ["terminated", "on_leave"])
def test_what_came_due_names_the_call_that_had_said_so(told: HRDesk, kind: str) -> None:
    told.calls("msg_1", at=1, ends=10, kind=kind)
    told.comes_due(at=11)

    [departure] = told.receipt()

    assert departure["actor"].startswith("clock:")
    assert (departure["event"]["source"], departure["event"]["id"]) == ("workday", "msg_1")


def test_of_several_calls_it_is_the_one_that_named_that_day(told: HRDesk) -> None:
    told.calls("msg_1", at=1, ends=10)
    told.calls("msg_2", at=2, ends=20)
    told.comes_due(at=21)
    told.calls("msg_3", at=22, ends=30)

    assert events(told) == ["msg_2"]


def test_what_was_called_off_and_said_anew_names_the_later_call(told: HRDesk) -> None:
    told.calls("msg_1", at=1, ends=10)
    told.calls("msg_2", at=2, ends=None, kind="termination_cancelled")
    told.calls("msg_3", at=3, ends=10)
    told.comes_due(at=11)

    assert events(told) == ["msg_3"]


def test_a_return_and_another_leaving_have_a_call_each(told: HRDesk) -> None:
    told.calls("msg_1", at=1, ends=10)
    told.comes_due(at=11)
    told.calls("msg_2", at=12, ends=None, kind="rehired")
    told.calls("msg_3", at=13, ends=20)
    told.comes_due(at=21)

    assert events(told) == ["msg_1", "msg_3"]


def test_the_receipt_names_the_call_that_the_report_names(told: HRDesk) -> None:
    told.calls("msg_1", at=1, ends=10, engagement_id="a")
    told.calls("msg_2", at=2, ends=20, engagement_id="b")
    told.comes_due(at=21)

    [departure] = told.receipt()
    period = Period(since=told.at(0), until=told.at(30))
    lines = told.desk.acts(lambda session: list(terminations.report(session, told.desk.organization_id, period, Totals(), at=told.at(30))))

    told_of = {(line["hr_event"], line["hr_sha256"]) for line in lines if line["departure"] == departure["id"]}
    assert told_of == {("msg_2", departure["event"]["sha256"])}


def test_what_was_said_of_somebody_who_turned_out_to_be_another_is_named_in_the_others_receipt(told: HRDesk) -> None:
    desk, was = told.desk, told.ada
    told.calls("msg_1", at=1, ends=10)
    told.ada = desk.hires(str(desk.asks("source", "add", "scim", "entra")["id"]), "lovelace")
    told.turns_out(was, told.ada, at=5)
    told.comes_due(at=11)

    [departure] = told.receipt("lovelace@acme.example")

    assert departure["event"]["id"] == "msg_1"


def test_whoever_turned_out_to_be_another_left_by_the_others_receipt_as_by_the_report(told: HRDesk) -> None:
    desk, was = told.desk, told.ada
    told.calls("msg_1", at=1, ends=10)
    told.comes_due(at=11)
    entra = str(desk.asks("source", "add", "scim", "entra")["id"])
    told.ada, last = desk.hires(entra, "lovelace"), desk.hires(entra, "countess")
    told.turns_out(was, told.ada, at=20)
    told.turns_out(told.ada, last, at=21)
    period = Period(since=told.at(0), until=told.at(30))
    lines = desk.acts(lambda session: list(terminations.report(session, desk.organization_id, period, Totals(), at=told.at(30))))

    departures = told.receipt("countess@acme.example")

    shown = {one["id"]: one for one in desk.asks("receipt", "countess@acme.example")["departures"]}
    assert {line["departure"] for line in lines if line["person_id"] == last} == {one["id"] for one in departures} == set(shown)
    first = departures[0]
    assert (first["event"]["id"], first["due"], first["returned"]) == ("msg_1", iso(told.at(10)), iso(told.at(20)))
    assert shown[first["id"]]["returned"] == first["returned"]


def test_whom_an_operator_had_leave_has_no_call(told: HRDesk) -> None:
    told.calls("msg_1", at=0, ends=900)
    told.desk.asks("depart", ADA)

    assert events(told) == [None]
