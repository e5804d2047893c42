"""Leaving, returning, receipts, what is held and what is parked."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.database import reading
from app.directory.tables import Person, Source
from app.intake import hr
from app.journal.tables import Entry, Lane, Subject, Work, WorkState
from app.revocation.tables import Departure, Proof
from tests.unit.commands.conftest import Desk


def standing(desk: Desk, person_id: str) -> str:
    with desk.app.app_context(), reading() as session:
        return str(session.scalars(select(Person.standing).where(Person.id == person_id)).one())


@pytest.mark.parametrize("said", ["ada@acme.example", "ADA@acme.example", "0042", "ext-ada", "countess@acme.example"])
def test_a_person_is_found_by_any_of_their_names(desk: Desk, said: str) -> None:
    person_id = desk.hires(desk.directory(), "ada", number="0042", email="countess@acme.example")

    desk.asks("depart", said)

    assert standing(desk, person_id) == "departed"


def test_a_name_that_fits_several_people_does_nothing_and_lists_them(desk: Desk) -> None:
    source_id = desk.directory()
    people = [desk.hires(source_id, name, email="shared@acme.example") for name in ("ada", "grace")]

    said = desk.types("depart", "shared@acme.example", "--json")

    assert said.exit == 2
    assert {one["id"] for one in said.json["people"]} == set(people)
    assert [standing(desk, one) for one in people] == ["active", "active"]


def test_a_stranger_departs_from_nowhere(desk: Desk) -> None:
    said = desk.types("depart", "nobody@acme.example", "--json")

    assert said.exit == 1 and "nobody@acme.example" in said.json["error"]


def test_departing_puts_work_in_the_departure_lane(desk: Desk) -> None:
    person_id = desk.hires(desk.directory(), "ada")
    desk.connects_chat()

    said = desk.asks("depart", "ada@acme.example")

    assert said["standing"] == "departed" and said["departure"]
    with desk.app.app_context(), reading() as session:
        work = session.scalars(select(Work).where(Work.lane == Lane.DEPARTURES)).all()
    # Once for the workspace, once for what was let in from here.
    assert {(row.subject, row.subject_id) for row in work} == {(Subject.ACCOUNT, person_id), (Subject.ACCESS, person_id)}


def test_a_later_departure_waits_and_a_return_calls_it_off(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")

    later = desk.asks("depart", "ada@acme.example", "--at", "2031-01-01T00:00:00+01:00")
    announced = desk.asks("receipt", "ada@acme.example")["announced"]
    back = desk.asks("return", "ada@acme.example")

    assert later["standing"] == "active" and later["access_until"] == "2030-12-31T23:00:00.000Z"
    assert [one["effective_at"] for one in announced] == ["2030-12-31T23:00:00.000Z"]
    assert back["access_until"] is None
    assert desk.asks("receipt", "ada@acme.example")["announced"] == []


def test_a_departure_announced_for_later_is_counted_nowhere(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")
    desk.acts(lambda session: session.execute(Work.__table__.delete()))  # type: ignore[attr-defined]  # a Table

    desk.asks("depart", "ada@acme.example", "--at", "2031-01-01T00:00:00Z")
    desk.acts(lambda session: session.execute(Work.__table__.delete().where(Work.subject == Subject.PERSON)))  # type: ignore[attr-defined]  # likewise

    status = desk.asks("status")
    assert (status["waiting"], status["scheduled"]) == (0, 0)


def test_an_instant_without_its_zone_is_refused(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")

    said = desk.types("depart", "ada@acme.example", "--at", "2031-01-01T00:00:00", "--json")

    assert said.exit == 2 and "time zone" in said.json["error"]


def test_pausing_and_barring_exclude_each_other(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")

    assert desk.types("depart", "ada@acme.example", "--pause", "--bar").exit == 2
    assert desk.asks("depart", "ada@acme.example", "--pause")["standing"] == "paused"
    assert desk.asks("depart", "ada@acme.example", "--bar")["reason"] == "barred by an operator"
    assert desk.asks("return", "ada@acme.example")["standing"] == "active"


def test_a_receipt_shows_every_instant_and_how_it_is_known(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")
    desk.connects_chat()
    desk.asks("depart", "ada@acme.example")

    def prove(session: Session) -> None:
        received = session.scalars(select(Departure.received_at)).one()
        session.execute(
            update(Proof).values(
                sent_at=received + timedelta(milliseconds=20), acknowledged_at=received + timedelta(milliseconds=200),
                shut_at=received + timedelta(milliseconds=250), shut_grade="re-read", attempts=1,
            )
        )  # fmt: skip

    desk.acts(prove)

    receipt = desk.asks("receipt", "ada@acme.example")
    printed = desk.types("receipt", "ada@acme.example").out

    departure = receipt["departures"][0]
    there = departure["workspaces"][0]
    assert {"due", "received", "decided", "actor", "reason"} <= departure.keys()
    assert there["ms_from_received_to_shut"] == 250 and there["shut_known"] == "re-read"
    assert there["gone"] is None and there["ms_from_received_to_gone"] is None
    assert "chat\tgone\tnot yet" in printed
    assert desk.asks("status", "--days", "3650")["time_to_shut_ms"] == {"p50": 250, "p99": 250, "max": 250, "count": 1}


def test_a_departure_that_is_not_shut_in_time_is_overdue_and_alarmed(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")
    desk.connects_chat()
    desk.asks("depart", "ada@acme.example")
    desk.acts(lambda session: session.execute(update(Departure).values(due_at=now() - timedelta(minutes=5))))
    desk.acts(lambda session: session.execute(update(Proof).values(last_error="chat: no answer")))

    status = desk.asks("status")

    assert status["overdue"] == 1 and status["workspaces"][0]["overdue"] == 1
    assert status["alarms"] == ["1 departures are overdue in chat: chat: no answer"]


def held_burst(desk: Desk) -> tuple[list[str], str]:
    """Four people, switched off at once behind a brake of one; returns the three who are held, and the digest."""
    source_id = desk.directory()
    people = [desk.hires(source_id, name) for name in ("ada", "bob", "cyd", "dan")]
    desk.asks("settings", "set", "push_brake", "1/60s")
    for person_id in people:
        desk.switches_off(source_id, person_id)
    return people[1:], str(desk.asks("held", "list")["held"][0]["digest"])


def test_a_burst_is_listed_shown_and_alarmed(desk: Desk) -> None:
    people, digest = held_burst(desk)

    listed = desk.asks("held", "list")["held"]
    shown = desk.asks("held", "show", digest)
    status = desk.asks("status")

    assert [(one["people"], one["kind"], one["source"]) for one in listed] == [(3, "pushes", "okta")]
    assert {line["person_id"] for line in shown["lines"]} == set(people)
    assert status["held"] == 3 and digest in status["alarms"][0]


def test_approving_takes_access_from_all_of_them(desk: Desk) -> None:
    people, digest = held_burst(desk)

    said = desk.asks("held", "approve", digest)

    assert said["people"] == 3
    assert {standing(desk, one) for one in people} == {"departed"}
    assert desk.asks("held", "list")["held"] == []


def test_rejecting_leaves_them_in(desk: Desk) -> None:
    people, digest = held_burst(desk)

    desk.asks("held", "reject", digest)

    assert {standing(desk, one) for one in people} == {"active"}
    assert desk.asks("held", "list")["held"] == []


def test_passing_some_leaves_the_rest_held_under_another_digest(desk: Desk) -> None:
    people, digest = held_burst(desk)

    said = desk.asks("held", "pass", digest, "cyd@acme.example")

    assert [standing(desk, one) for one in people] == ["active", "departed", "active"]
    assert said["left"] != digest and said["still_held"] == 2
    assert desk.types("held", "approve", digest, "--json").exit == 1
    assert desk.types("held", "pass", said["left"], "ada@acme.example", "--json").exit == 2


def test_helpdesk_may_not_let_held_departures_through(desk: Desk) -> None:
    people, digest = held_burst(desk)
    token = desk.asks("operator", "add", "grace", "--role", "helpdesk")["token"]

    said = desk.types("held", "approve", digest, "--json", token=token)

    assert said.exit == 4
    assert {standing(desk, one) for one in people} == {"active"}


def parked_call(desk: Desk, employee_id: str) -> str:
    """An HR call about nobody we know; returns its id in the list."""
    source_id = str(desk.asks("source", "add", "hr", "workday")["id"])
    body = f'{{"type": "employee.terminated", "data": {{"employee_id": "{employee_id}", "revoke_access": "immediately"}}}}'.encode()
    organization_id = desk.organization_id

    def act(session: Session) -> None:
        source = session.get_one(Source, (organization_id, source_id))
        hr.receive(session, source, hr.read(body, "msg:1", time_zone="UTC"), body, at=now())

    desk.acts(act)
    return f"hr:{source_id}:msg:1"


def test_a_parked_hr_call_is_alarmed_and_listed(desk: Desk) -> None:
    parked_id = parked_call(desk, "0042")

    status = desk.asks("status")

    assert (status["parked"], status["parked_hr_calls"]) == (1, 1)
    assert "nobody has employee number 0042" in status["alarms"][0]
    assert [one["id"] for one in desk.asks("parked", "list")["parked"]] == [parked_id]


def test_a_parked_hr_call_is_tried_again_once_its_person_is_there(desk: Desk) -> None:
    parked_id = parked_call(desk, "0042")
    still = desk.asks("parked", "retry", parked_id)
    person_id = desk.hires(desk.directory(), "ada", number="0042")

    if desk.asks("parked", "list")["parked"]:
        desk.asks("parked", "retry", parked_id)

    assert still["state"] == "parked"
    assert standing(desk, person_id) == "departed"
    assert desk.asks("parked", "list")["parked"] == []


def test_a_dropped_hr_call_is_let_be(desk: Desk) -> None:
    parked_id = parked_call(desk, "0042")

    desk.asks("parked", "drop", parked_id)

    assert desk.asks("parked", "list")["parked"] == []
    assert desk.types("parked", "retry", parked_id, "--json").exit == 1


def parked_work(desk: Desk) -> str:
    """Somebody whose account the workspace refused."""
    desk.hires(desk.directory(), "ada")
    workspace_id = desk.connects_chat()

    def refuse(session: Session) -> None:
        work = session.scalars(select(Work).where(Work.subject == Subject.PERSON)).one()
        session.execute(
            update(Work)
            .where(Work.subject_id == work.subject_id)
            .values(workspace_id=workspace_id, subject=Subject.ACCOUNT, state=WorkState.PARKED, last_error="chat: the name is taken")
        )

    desk.acts(refuse)
    listed = desk.asks("parked", "list")["parked"]
    assert [(one["workspace"], one["name"], one["error"]) for one in listed] == [("chat", "ada@acme.example", "chat: the name is taken")]
    return str(listed[0]["id"])


def test_parked_work_is_tried_again(desk: Desk) -> None:
    parked_id = parked_work(desk)

    desk.asks("parked", "retry", parked_id)

    status = desk.asks("status")
    assert (status["parked"], status["waiting"]) == (0, 1)


def test_parked_work_is_dropped_and_the_journal_says_by_whom(desk: Desk) -> None:
    parked_id = parked_work(desk)

    desk.asks("parked", "drop", parked_id)

    status = desk.asks("status")
    assert (status["parked"], status["waiting"]) == (0, 0)
    with desk.app.app_context(), reading() as session:
        entry = session.scalars(select(Entry).order_by(Entry.id.desc())).first()
    assert entry is not None and entry.verb == "parked work dropped" and entry.actor.startswith("host:")


def test_what_is_no_id_is_a_usage_error(desk: Desk) -> None:
    assert desk.types("parked", "retry", "frobnicate", "--json").exit == 2


def test_iso_instants_carry_their_zone(desk: Desk) -> None:
    at = desk.asks("status")["at"]

    assert at.endswith("Z") and at <= (iso(now()) or "")
