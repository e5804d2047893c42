"""A company of which there is something to report, and how the answers are read."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

from sqlalchemy.orm import Session

from app.clock import now
from app.directory.tables import Source
from app.intake import hr
from tests.unit.commands.conftest import Desk, Said

DAY = timedelta(days=1)
ALL = {
    "terminations": ("--from", "2020-01-01", "--to", "2099-12-31"),
    "orphans": (), "contractors": (), "drift": (), "no-channel": (), "contradictions": (), "access": (), "memberships": (),
}  # fmt: skip
FORMS = ("--json", "--csv", "")


def period(first: int = 0, last: int = 0) -> tuple[str, ...]:
    """Days from today on, in UTC."""
    today = now().date()
    return ("--from", (today + first * DAY).isoformat(), "--to", (today + last * DAY).isoformat())


def terminates(desk: Desk, source_id: str, number: str, event_id: str = "msg_1") -> None:
    """HR says that somebody leaves at once."""
    body = json.dumps({"type": "employee.terminated", "data": {"employee_id": number, "revoke_access": "immediately"}}).encode()
    organization_id = desk.organization_id

    def act(session: Session) -> None:
        source = session.get_one(Source, (organization_id, source_id))
        hr.receive(session, source, hr.read(body, event_id, time_zone="UTC"), body, at=now())

    desk.acts(act)


def table(said: Said) -> list[dict[str, str]]:
    """The rows of a CSV answer, as any reader of RFC 4180 takes them."""
    assert said.exit == 0, said
    return list(csv.DictReader(io.StringIO(said.out, newline=""), strict=True))


def new_firm(desk: Desk) -> Desk:
    """Ada was terminated by HR, Bob switched off by an operator; HR named somebody whom nobody knows."""
    directory = desk.directory()
    system = str(desk.asks("source", "add", "hr", "workday")["id"])
    desk.hires(directory, "ada", number="E-1", department="Finance")
    desk.hires(directory, "bob", number="E-2")
    terminates(desk, system, "E-1")
    desk.asks("depart", "bob@acme.example")
    terminates(desk, system, "E-9", "msg_9")
    return desk
