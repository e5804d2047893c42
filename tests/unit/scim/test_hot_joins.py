"""Whoever joins with an employee number, or under a manager, is written by the hot paths as by the ordinary way; who may be somebody else is not."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.access import sealing
from app.clock import now
from app.database import in_transaction, reading
from app.directory.tables import Source, Standing
from app.directory.vocabulary import ENTERPRISE_URN
from app.intake import hr
from app.intake.tables import HREvent
from tests.clients.directory import Directory
from tests.unit.scim.choosing import numbered, person_of, set_brake
from tests.unit.scim.twins import ADA, Twin, active, both_ways, set_up

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("way")]


def under(manager: str, **more: str) -> dict[str, Any]:
    return {ENTERPRISE_URN: {"manager": {"value": manager, "displayName": "Who"}, **more}}


def test_who_joins_with_a_number_or_a_manager_leaves_the_same_rows(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("boss", "POST", "/Users", {**ADA, **numbered("E-1", department="Research")})
        twin.tell("cy", "POST", "/Users", {"userName": "cy", **under("<boss>", employeeNumber="e-1", division="North")})
        twin.tell("dee", "POST", "/Users", {"userName": "dee", **under("<boss>")})
        twin.tell("eve", "POST", "/Users", {"userName": "eve", **under("<cy>", employeeNumber=" E-1")})
        twin.tell("", "GET", "/Users/{cy}")
        twin.tell("", "PATCH", "/Users/{dee}", active(False))

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == [*["post_user"] * 4, "get_user", "patch_user"]


def test_who_may_be_somebody_else_joins_the_ordinary_way(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("ada", "POST", "/Users", {"userName": "ada", **numbered("E-1")})
        twin.tell("again", "POST", "/Users", {"userName": "ada.k", **numbered("E-1")})
        twin.tell("", "DELETE", "/Users/{ada}")
        twin.tell("", "DELETE", "/Users/{again}")
        # Of those who have ended, too.
        twin.tell("back", "POST", "/Users", {"userName": "ada", **numbered("E-1")})
        twin.tell("", "POST", "/Users", {"userName": "bob", **under("nobody")})
        twin.tell("", "POST", "/Users", {"userName": "cy", "active": False, **numbered("E-2")})
        twin.tell("dee", "POST", "/Users", {"userName": "dee", **under("<ada>")})

    both_ways(urls, tmp_path, monkeypatch, story)

    # A record that has ended is still whose it was.
    assert counted == ["post_user", "post_user"]


@pytest.mark.parametrize("state", ["parked", "awaited"])
def test_a_call_that_waits_for_a_number_is_heard_when_it_joins(directory: Directory, counted: list[str], state: str) -> None:
    body = json.dumps({"type": "employee.terminated", "data": {"employee_id": "E-7", "termination_date": "2026-11-01"}}).encode()

    def parks(session: Any) -> None:
        there = session.scalars(select(Source).where(Source.id == directory.source_id)).one()
        source = Source(organization_id=there.organization_id, id="hr", kind="hr", name="hr", created_at=now(), journal_id=there.journal_id)
        session.add(source)
        event = hr.receive(session, source, hr.read(body, "msg_1", time_zone="UTC"), body, at=now())
        assert event.state == "parked"
        event.state = state

    set_brake("off")
    sealing.make_key(directory.app.config["DOORLIST"])
    directory.send("GET", "/ServiceProviderConfig")
    in_transaction(parks)
    del counted[:]

    bob, cy = directory.add_user("bob", **numbered("E-6")), directory.add_user("cy", **numbered("E-7"))

    assert counted == ["post_user"]
    assert [person_of(one).standing for one in (bob, cy)] == [Standing.ACTIVE, Standing.DEPARTED]
    with reading() as session:
        assert session.scalars(select(HREvent.state)).all() == ["applied"]


def test_a_number_and_a_manager_of_another_organisation_are_nobodys_here(directory: Directory, counted: list[str]) -> None:
    theirs = directory.elsewhere().add_user("ada", **numbered("E-1"))
    directory.send("GET", "/ServiceProviderConfig")
    del counted[:]

    bob, cy = directory.add_user("bob", **numbered("E-1")), directory.add_user("cy", **under(theirs))

    # As under somebody whom nobody knows.
    assert counted == ["post_user"]
    assert (person_of(bob).id != person_of(theirs).id, person_of(cy).manager_id) == (True, None)
