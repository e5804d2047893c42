"""Terminations against removals: whoever a voice had leave is in the report, with every place and how it is known."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.access.session_tables import RelyingParty
from app.clock import iso, now
from app.database import reading
from app.directory.tables import StatementKind
from app.intake.tables import HREvent
from app.journal.tables import HERE
from app.revocation.tables import Departure, Grade, Proof
from tests.possessions import possessions_of
from tests.unit.intake.terminating import Firm, date, new_firm


@pytest.fixture
def firm(installed: Flask) -> Firm:
    return new_firm(installed)


# Removed, without an account, open


def test_a_removal_is_shown_in_every_place_with_how_it_is_known(firm: Firm) -> None:
    ada = firm.joins("ada", "E-1")
    possessions_of(firm.company.organization_id, ada.person_id, at=now())
    firm.calls("E-1")
    firm.delivers()

    told = firm.report()

    chat = next(line for line in told.of("ada") if line["place"] == "chat")
    here = next(line for line in told.of("ada") if line["place"] == HERE)
    assert told.outcomes == {"removed": 1}
    assert (chat["kind"], chat["state"], chat["shut_known"], chat["gone_known"]) == ("workspace", "gone", "re-read", "re-read")
    assert (here["kind"], here["state"], here["shut_known"]) == ("doorlist", "gone", "probed")
    assert here["closed"]["sessions"] == 1 and here["closed"]["push_tokens"] == 1
    assert chat["account"] == "ada"


def test_a_line_says_who_said_so_and_names_the_call_and_the_entry(firm: Firm) -> None:
    ada = firm.joins("ada", "E-1")
    firm.calls("E-1", "msg_42")
    firm.delivers()

    line = firm.report().of("ada")[0]

    with reading() as session:
        event = session.scalars(select(HREvent)).one()
        departure = session.scalars(select(Departure)).one()
    assert (line["voice"], line["said_by"], line["said_at"]) == ("hr", "hr", iso(event.received_at))
    assert (line["hr_event"], line["hr_sha256"], line["hr_received"]) == ("msg_42", event.sha256, iso(event.received_at))
    assert (line["departure"], line["journal"], line["actor"]) == (departure.id, departure.journal_id, "source:hr")
    assert (line["person_id"], line["employeeNumber"]) == (ada.person_id, "E-1")


def test_times_run_from_when_it_was_due_and_from_when_it_was_received(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1")
    firm.delivers()

    def prove(session: Session) -> None:
        received = session.scalars(select(Departure.received_at)).one()
        session.execute(update(Departure).values(due_at=received))
        session.execute(update(Proof).values(shut_at=received + timedelta(milliseconds=250), gone_at=received + timedelta(seconds=2)))

    firm.acts(prove)
    told = firm.report()

    assert {(line["s_from_due_to_shut"], line["s_from_received_to_shut"], line["s_to_gone"]) for line in told.of("ada")} == {(0.25, 0.25, 2.0)}
    assert told.totals.slowest == 2.0


def test_who_had_no_account_is_in_it_and_marked_so(firm: Firm) -> None:
    firm.joins("ada", "E-1", delivered=False)
    firm.calls("E-1")
    firm.delivers()

    told = firm.report()

    assert told.outcomes == {"no account": 1}
    assert told.places("ada") == {HERE: "gone", "chat": "no account"}


def test_who_had_no_account_but_was_signed_in_was_removed(firm: Firm) -> None:
    ada = firm.joins("ada", "E-1", delivered=False)
    possessions_of(firm.company.organization_id, ada.person_id, at=now())
    firm.calls("E-1")
    firm.delivers()

    assert firm.report().outcome("ada") == "removed"


def test_nothing_counts_as_removed_before_every_place_was_looked_at(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1")

    told = firm.report()

    assert told.outcomes == {"open": 1}
    assert told.places("ada") == {HERE: "open", "chat": "open"}
    assert all(line["why"] for line in told.of("ada"))


@pytest.mark.parametrize("left", ["not shut", "memberships", "doorlist"])
def test_one_place_that_is_not_proved_leaves_the_whole_open(firm: Firm, left: str) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1")
    firm.delivers()
    place = HERE if left == "doorlist" else firm.workspace_id
    gone = {"gone_at": None} if left == "memberships" else {"shut_at": None, "gone_at": None, "last_error": "chat: no answer"}
    firm.acts(lambda session: session.execute(update(Proof).where(Proof.workspace_id == place).values(**gone)))

    assert firm.report().outcomes == {"open": 1}


def test_relying_parties_and_streams_that_were_told_are_places_too(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.calls("E-1")
    firm.delivers()

    def told(session: Session) -> None:
        departure = session.scalars(select(Departure)).one()
        session.add(RelyingParty(organization_id=firm.company.organization_id, id="party", name="wiki", created_at=now()))
        session.add(
            Proof(
                organization_id=firm.company.organization_id, departure_id=departure.id, workspace_id="party", attempts=1, shut_at=now(),
                gone_at=now(), shut_grade=Grade.CLAIMED, gone_grade=Grade.CLAIMED,
            )
        )  # fmt: skip

    firm.acts(told)

    line = next(line for line in firm.report().of("ada") if line["place"] == "wiki")
    assert (line["kind"], line["state"], line["shut_known"]) == ("relying party", "gone", "claimed")


# Who said so


def test_without_hr_a_directory_that_switches_somebody_off_is_in_it(firm: Firm) -> None:
    firm.sets("leaving_voice", "directory")
    ada = firm.joins("ada", "E-1")
    firm.company.says(ada, active=False, at=now())
    firm.delivers()

    (line, *_) = firm.report().of("ada")

    assert (line["outcome"], line["voice"], line["said_by"]) == ("removed", "directory", "okta")


def test_a_leave_of_absence_is_no_termination(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.says("on_leave", "E-1", "msg_1")
    firm.delivers()

    assert firm.report().lines == []


def test_who_was_away_and_then_left_counts_from_the_leaving(firm: Firm) -> None:
    firm.joins("ada", "E-1")
    firm.says("on_leave", "E-1", "msg_1")
    firm.delivers()
    firm.calls("E-1", "msg_2")
    firm.delivers()

    told = firm.report()

    assert told.outcomes == {"removed": 1}
    assert {line["hr_event"] for line in told.of("ada")} == {"msg_2"}


def test_an_operators_bar_is_in_it_without_a_call(firm: Firm) -> None:
    ada = firm.joins("ada", "E-1")
    firm.operator_says(ada, StatementKind.BARS)
    firm.delivers()

    told = firm.report()

    assert (told.outcomes, dict(told.totals.voices)) == ({"removed": 1}, {"operator": 1})
    assert {(line["said_by"], line["hr_event"]) for line in told.of("ada")} == {("ana", None)}


def test_hr_that_confirms_what_the_directory_did_is_one_termination_with_both(firm: Firm) -> None:
    firm.sets("leaving_voice", "directory")
    ada = firm.joins("ada", "E-1")
    firm.company.says(ada, active=False, at=now())
    firm.calls("E-1", "msg_7", last_day_of_work=date(-1))
    firm.delivers()

    told = firm.report((-1, 0))

    assert told.outcomes == {"removed": 1}
    assert {(line["voice"], line["hr_event"]) for line in told.of("ada")} == {("directory", "msg_7")}
    assert told.totals.matched == 1
