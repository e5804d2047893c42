"""Whom reports are for, and that they change nothing and see one moment only."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select, update

from app.commands.acting import ROLES
from app.commands.reports import reports
from app.database import one_moment
from app.intake.tables import HREvent
from app.lifecycle.operators import Role
from tests.unit.commands.conftest import Desk
from tests.unit.commands.reporting import ALL, new_firm, period


@pytest.fixture
def firm(desk: Desk) -> Desk:
    return new_firm(desk)


@pytest.mark.parametrize("role", ["helpdesk", "auditor"])
def test_reports_are_for_those_who_may_know_why(firm: Desk, role: str) -> None:
    token = firm.asks("operator", "add", "grace", "--role", role)["token"]

    for name, given in ALL.items():
        said = firm.types("report", name, *given, "--csv", token=token)

        if role == "helpdesk":
            assert (said.exit, said.out) == (4, ""), name
        else:
            assert said.exit == 0 and said.out, name


def test_no_report_is_for_the_helpdesk() -> None:
    assert {name: Role.HELPDESK in ROLES[command] for name, command in reports.commands.items()} == dict.fromkeys(ALL, False)


def test_an_operator_of_another_organisation_sees_nothing_of_this_one(firm: Desk) -> None:
    assert firm.types("init", "--organization", "Other").exit == 0
    token = firm.asks("operator", "add", "mallory", "--role", "owner", "--organization", "Other")["token"]

    said = firm.types("report", "terminations", *period(), "--json", token=token)
    asked = firm.types("report", "terminations", *period(), "--json", "--organization", "Acme", token=token)

    assert said.json["lines"] == [] and asked.exit == 4


def test_a_report_needs_nothing_that_can_be_written(firm: Desk) -> None:
    firm.connects_chat()
    url = firm.environment["DATABASE_URL"]
    shut = replace(firm, environment={**firm.environment, "DATABASE_URL": read_only(url)})

    assert {name: int(shut.types("report", name, *given, "--json").exit) for name, given in ALL.items()} == dict.fromkeys(ALL, 0)


def read_only(url: str) -> str:
    if url.startswith("sqlite"):
        return url.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true"
    return f"{url}{'&' if '?' in url else '?'}options=-c%20default_transaction_read_only%3Don"


def test_a_report_sees_one_moment_however_long_it_takes(firm: Desk) -> None:
    with firm.app.app_context(), one_moment() as session:
        before = session.scalars(select(HREvent.problem).order_by(HREvent.event_id)).all()
        firm.acts(lambda other: other.execute(update(HREvent).values(problem="changed")))
        after = session.scalars(select(HREvent.problem).order_by(HREvent.event_id)).all()

    assert after == before
