"""HR's calls where somebody returned by a clock that was ahead: what counts, and what the report on terminations says of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.database import reading
from app.directory.tables import Record, RecordEmail, Source, Standing, Statement, StatementKind
from app.intake.hr import try_again
from app.intake.tables import HREvent
from tests.unit.intake.terminating import Firm, new_firm

AHEAD = timedelta(hours=1)


@pytest.fixture
def firm(installed: Flask) -> Firm:
    return new_firm(installed)


@pytest.fixture
def ada(firm: Firm) -> Record:
    return firm.joins("ada", "E-1")


def comes_back(firm: Firm, ada: Record) -> None:
    firm.operator_says(ada, StatementKind.LEAVES)
    assert firm.operator_says(ada, StatementKind.RETURNS, at=now() + AHEAD).standing == Standing.ACTIVE


def address_is_corrected(firm: Firm, ada: Record) -> str:
    """And the call that had waited for that is acted on. What somebody's standing is then."""

    def act(session: Session) -> None:
        session.add(RecordEmail(organization_id=firm.company.organization_id, record_id=ada.id, address_key="ada.new@x.example"))
        session.flush()
        event = session.scalars(select(HREvent).where(HREvent.state == "parked")).one()
        try_again(session, session.get_one(Source, (event.organization_id, event.source_id)), event, at=now())
        assert event.state == "applied"

    firm.acts(act)
    return firm.company.person(ada).standing


def test_the_report_has_who_left_after_that_return_with_the_call_and_its_true_instant(firm: Firm, ada: Record) -> None:
    comes_back(firm, ada)
    firm.calls("E-1", "msg_42")
    firm.delivers()

    told = firm.report()

    with reading() as session:
        received = session.scalars(select(HREvent.received_at)).one()
    lines = [line for line in told.of("ada") if line["hr_event"] == "msg_42"]
    assert firm.company.person(ada).standing == Standing.DEPARTED
    assert {line["outcome"] for line in lines} == {"removed"}
    assert {line["hr_received"] for line in lines} == {iso(received)}
    assert told.totals.matched == 1
    assert all(line["said_at"] is None or line["said_at"] <= iso(now()) for line in told.of("ada"))


def test_a_call_that_came_after_it_counts_once_it_is_clear_whom_it_means(firm: Firm, ada: Record) -> None:
    comes_back(firm, ada)
    firm.calls("E-1", work_email="ada.new@x.example", revoke_access="immediately")

    assert address_is_corrected(firm, ada) == Standing.DEPARTED


def test_only_what_has_waited_counts_from_when_it_came(firm: Firm, ada: Record) -> None:
    """Who speaks with the person locked speaks last, also where somebody was returned between the receipt of a call and the lock."""
    firm.calls("E-1", "msg_1", work_email="ada.new@x.example", revoke_access="immediately")
    firm.calls("E-1", "msg_2")
    assert address_is_corrected(firm, ada) == Standing.DEPARTED

    with reading() as session:
        said = session.scalars(select(Statement).order_by(Statement.said_in)).all()
        came = {one.event_id: one.heard_after for one in session.scalars(select(HREvent))}
    assert [one.heard_after for one in said] == [None, came["msg_1"]]


def test_parked_calls_are_tried_again_in_the_order_in_which_they_came_whatever_their_clocks(firm: Firm) -> None:
    firm.calls("E-7", "msg_1")
    firm.joins("bob", "E-2", delivered=False)
    firm.calls("E-7", "msg_2", revoke_access="immediately", engagement_id="2")
    firm.acts(lambda s: s.execute(update(HREvent).where(HREvent.event_id == "msg_1").values(received_at=now() + AHEAD)))

    firm.joins("late", "E-7", delivered=False)

    with reading() as session:
        said = session.scalars(select(Statement.engagement).order_by(Statement.said_in)).all()
    assert said == ["", "2"]


def test_a_call_that_came_before_it_does_not(firm: Firm, ada: Record) -> None:
    firm.calls("E-1", work_email="ada.new@x.example", revoke_access="immediately")
    comes_back(firm, ada)

    assert address_is_corrected(firm, ada) == Standing.ACTIVE
