"""What `doctor` says of clocks that do not agree."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.commands import doctor
from app.database import db, in_transaction
from app.directory.tables import Person, StatementKind, Voice
from app.lifecycle import leaving
from tests.company import ADMIN
from tests.unit.commands.conftest import Desk

ADA = "ada@acme.example"


def of_clocks(desk: Desk) -> list[str]:
    found = desk.types("doctor", "--json").json["findings"]
    assert all(one["level"] == "note" for one in found if one["about"] == "clocks")
    return [one["sentence"] for one in found if one["about"] == "clocks"]


def test_clocks_that_agree_are_not_spoken_of(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")

    assert of_clocks(desk) == []


def test_who_was_changed_by_a_clock_that_was_ahead_is_counted_until_they_are_reinstated(desk: Desk) -> None:
    person_id = desk.hires(desk.directory(), "ada")
    ahead = now() + timedelta(days=1)

    def leaves(session: Session) -> None:
        organization_id = session.scalars(select(Person.organization_id).where(Person.id == person_id)).one()
        leaving.say(
            session, organization_id, person_id, voice=Voice.HR, kind=StatementKind.LEAVES, said_by="x", effective_at=ahead, actor=ADMIN, at=ahead,
            because="test",
        )  # fmt: skip

    with desk.app.app_context():
        in_transaction(leaves)
    [said] = of_clocks(desk)
    desk.asks("reinstate", ADA, "--reason", "the clock")

    assert said.startswith("1 person was changed by one that was ahead") and str(iso(ahead)) in said and said.endswith("doorlist reinstate PERSON --reason TEXT")
    assert of_clocks(desk) == []


@pytest.mark.parametrize(("apart", "way"), [(-60, "60 s ahead of"), (90, "90 s behind")])
def test_a_database_on_another_clock_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch, apart: float, way: str) -> None:
    with desk.app.app_context():
        if db.engine.dialect.name != "postgresql":
            pytest.skip("SQLite has this machine's clock")
    monkeypatch.setattr(doctor, "now", lambda: now() + timedelta(seconds=apart))

    [said] = of_clocks(desk)

    assert f"the database's is {way} this machine's" in said
