"""Exceptions: somebody is in a channel although no rule says so, on somebody's word, until a day."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from app.database import db, in_transaction, reading
from app.delivery import ruled_handovers
from app.directory.tables import Person, StatementKind
from app.journal.tables import Entry
from app.rules import stays
from app.rules.explain import explain
from app.rules.membership import desired
from app.rules.reasons import Because, places_of
from app.rules.revisions import current_rules
from app.rules.stay_tables import Stay, Why
from app.rules.stays import NoException
from tests.arranged_once import arranged_once
from tests.company import ADMIN
from tests.two_at_once import meanwhile
from tests.unit.delivery.led_company import LedCompany, led_company

pytestmark = pytest.mark.slow


@pytest.fixture
def firm(installed: Flask) -> LedCompany:
    return arranged_once(installed, led_company)


def why(firm: LedCompany, name: str) -> str:
    with reading() as session:
        return explain(session, firm.company.organization_id, firm.bob.person_id, name, firm.at).sentence


def test_whoever_moves_stays_until_the_day_and_not_a_day_longer(firm: LedCompany) -> None:
    firm.allows(firm.bob, "dept-sales", days=20)
    firm.changes(firm.bob, manager=firm.ada, department="Legal")
    firm.delivers()
    assert firm.is_in(firm.bob) == {"all-hands", "dept-legal", "dept-sales", "team-ada-x-example"}

    firm.passes(days=19)
    firm.delivers()
    assert "dept-sales" in firm.is_in(firm.bob)
    firm.passes(days=1, minutes=10)
    firm.delivers()

    # Nobody had to do anything; and what the rule grants to movers begins no second time.
    assert firm.is_in(firm.bob) == {"all-hands", "dept-legal", "team-ada-x-example"}


def test_whoever_never_belonged_there_is_put_in_and_taken_out_again(firm: LedCompany) -> None:
    firm.allows(firm.olga, "dept-sales", days=3)
    firm.delivers()
    assert "dept-sales" in firm.is_in(firm.olga)

    firm.passes(days=3, minutes=1)
    firm.delivers()

    assert "dept-sales" not in firm.is_in(firm.olga)


def test_what_was_approved_until_a_day_is_written_down_as_ended(firm: LedCompany) -> None:
    row = firm.allows(firm.olga, "dept-sales", days=3)
    firm.passes(days=4)

    firm.ticks()
    firm.ticks()

    with reading() as session:
        kept = session.get_one(Stay, (row.organization_id, row.id))
        said = session.scalars(select(Entry).where(Entry.subject_id == row.id).order_by(Entry.id)).all()
    assert kept.ended_why == "its end has come" and kept.ended_at is not None
    assert [(one.verb, one.because, one.actor) for one in said] == [
        ("exception approved", "approved by mia@x.example", "operator:ana"), ("exception ended", "its end has come", "clock:due date"),
    ]  # fmt: skip


def test_it_can_be_ended_before_its_day(firm: LedCompany) -> None:
    row = firm.allows(firm.olga, "dept-sales", days=30)
    firm.delivers()

    def end() -> None:
        in_transaction(lambda session: stays.end(session, session.get_one(Stay, (row.organization_id, row.id)), why="done", actor=ADMIN, at=firm.at))

    end()
    end()
    firm.delivers()

    assert "dept-sales" not in firm.is_in(firm.olga)


def test_another_day_replaces_the_one_before(firm: LedCompany) -> None:
    firm.allows(firm.olga, "dept-sales", days=3)
    firm.allows(firm.olga, "dept-sales", days=30)
    firm.delivers()

    firm.passes(days=4)
    firm.ticks()

    assert "dept-sales" in firm.is_in(firm.olga)
    with reading() as session:
        assert len(session.scalars(select(Stay).where(Stay.ended_at.is_(None))).all()) == 1


def test_whoever_leaves_loses_it_for_good(firm: LedCompany) -> None:
    firm.allows(firm.olga, "dept-sales", days=30)
    firm.delivers()
    firm.says(firm.olga)
    firm.delivers()
    firm.ticks()

    firm.passes(minutes=1)
    firm.says(firm.olga, StatementKind.RETURNS)
    firm.delivers()

    assert "dept-sales" not in firm.is_in(firm.olga)


def test_whoever_leaves_and_is_back_before_the_clock_has_looked_has_lost_it_as_well(firm: LedCompany) -> None:
    firm.allows(firm.olga, "dept-sales", days=30)
    firm.delivers()
    for kind in (StatementKind.LEAVES, StatementKind.RETURNS):
        firm.passes(seconds=1)
        firm.says(firm.olga, kind)
        firm.delivers()

    assert "dept-sales" not in firm.is_in(firm.olga)
    with reading() as session:
        asked_for = set(desired(session, firm.company.organization_id, current_rules(session, firm.company.organization_id), at=firm.at))
        channel_id = firm.channel(session, "dept-sales").id
    assert (channel_id, firm.olga.person_id) not in asked_for
    firm.ticks()
    with reading() as session:
        assert session.scalars(select(Stay.ended_why)).all() == ["they have left"]

    firm.allows(firm.olga, "dept-sales", days=30)
    firm.delivers()

    assert "dept-sales" in firm.is_in(firm.olga), "another one counts"


def test_whoever_is_away_for_a_while_has_it_when_they_are_back(firm: LedCompany) -> None:
    firm.allows(firm.olga, "dept-sales", days=30)
    firm.delivers()
    firm.says(firm.olga, StatementKind.PAUSES)
    firm.delivers()
    firm.ticks()
    assert firm.there.names_of(firm.account(firm.olga)) == set()

    firm.passes(minutes=1)
    firm.says(firm.olga, StatementKind.RETURNS)
    firm.delivers()

    assert "dept-sales" in firm.is_in(firm.olga)


def test_a_channel_that_was_archived_around_them_is_open_once_the_rules_put_them_in(firm: LedCompany) -> None:
    firm.rules("rules:\n  - {id: departments, for_each: department, name: 'dept-{{ key | slug }}', archive_after: 0}")
    firm.delivers()
    firm.allows(firm.olga, "dept-sales", days=20)
    for record in (firm.ada, firm.bob):
        firm.changes(record, department="Legal" if record is firm.ada else "Board")
    firm.delivers()
    assert is_read_only(firm, "dept-sales")

    firm.changes(firm.olga, department="Sales")
    firm.delivers()

    assert not is_read_only(firm, "dept-sales")


def is_read_only(firm: LedCompany, name: str) -> bool:
    return next(room.read_only for room in firm.there.rooms.values() if room.name == name)


def test_it_is_in_the_plan_and_told_to_whoever_asks(firm: LedCompany) -> None:
    firm.allows(firm.bob, "dept-board", days=5)
    firm.delivers()

    with reading() as session:
        organization_id = firm.company.organization_id
        board = firm.channel(session, "dept-board").id
        wanted = set(desired(session, organization_id, current_rules(session, organization_id), at=firm.at))
        [place] = [one for one in places_of(session, organization_id, firm.bob.person_id, at=firm.at) if one.channel == "dept-board"]
    assert (board, firm.bob.person_id) in wanted
    assert why(firm, "dept-board").startswith("Bob is in dept-board beside the rules, by an exception until ")
    assert "mia@x.example" in why(firm, "dept-board") and "customers" not in why(firm, "dept-board")
    assert (place.reasons[0].because, place.until) == (Because.KEPT, firm.at + timedelta(days=5) if place.until is None else place.until)


def test_the_plan_asks_for_nobody_whose_day_has_come_before_the_clock_has_looked(firm: LedCompany) -> None:
    firm.allows(firm.bob, "dept-board", days=5)
    firm.passes(days=5)

    with reading() as session:
        organization_id = firm.company.organization_id
        pair = (firm.channel(session, "dept-board").id, firm.bob.person_id)
        rules = current_rules(session, organization_id)
        last, over = (set(desired(session, organization_id, rules, at=at)) for at in (firm.at - timedelta(microseconds=1), firm.at))
    assert pair in last and pair not in over


def test_a_channel_that_was_handed_over_is_told_as_led(firm: LedCompany) -> None:
    firm.says(firm.ada)
    firm.delivers()

    with reading() as session:
        sentence = explain(session, firm.company.organization_id, firm.mia.person_id, "team-ada-x-example", firm.at).sentence
        places = {one.channel: one.reasons[0].because for one in places_of(session, firm.company.organization_id, firm.mia.person_id, at=firm.at)}
    assert sentence == "Mia is in team-ada-x-example beside the rules, as its owner: it was handed over to them."
    assert places["team-ada-x-example"] is Because.LEADS


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("themselves", "nobody approves"), ("past", "has passed"), ("too long", "366 days"), ("space", "is a space"), ("left", "has no access"),
        ("approver left", "can approve nothing"),
    ],
)  # fmt: skip
def test_what_cannot_be_an_exception_says_why(firm: LedCompany, what: str, said: str) -> None:
    if what == "left":
        firm.says(firm.bob)
    if what == "approver left":
        firm.says(firm.mia)
    name = "company" if what == "space" else "dept-board"
    days = {"past": -1.0, "too long": 367.0}.get(what, 5.0)

    with pytest.raises(NoException, match=said):
        firm.allows(firm.bob, name, days=days, approver=firm.bob if what == "themselves" else None)

    with reading() as session:
        assert session.scalars(select(Stay)).all() == []


def test_in_another_organisation_it_means_nothing(firm: LedCompany, installed: Flask) -> None:
    other = led_company(installed)
    firm.allows(firm.olga, "dept-sales", days=3)
    firm.delivers()
    other.delivers()

    assert "dept-sales" not in other.is_in(other.olga)
    with reading() as session:
        listed = stays.listed(session, other.company.organization_id)
        people = session.scalars(select(Person.id).where(Person.organization_id == other.company.organization_id)).all()
    assert listed == [] and firm.olga.person_id not in people


# Two at once


def open_stays(firm: LedCompany, why: Why) -> list[Stay]:
    with reading() as session:
        return list(session.scalars(select(Stay).where(Stay.ended_at.is_(None), Stay.why == why)))


def test_two_who_allow_the_same_at_once_leave_one_exception_the_later_one(firm: LedCompany) -> None:
    first, second = meanwhile(firm.app, firm.allowing(firm.olga, "dept-sales", days=3), lambda: firm.allows(firm.olga, "dept-sales", days=30))

    [stands] = open_stays(firm, Why.EXCEPTION)
    assert stands.id == second.id
    with reading() as session:
        assert session.get_one(Stay, (first.organization_id, first.id)).ended_why == "another was approved by mia@x.example"
    firm.delivers()
    firm.passes(days=4)
    firm.ticks()
    assert "dept-sales" in firm.is_in(firm.olga)


def test_whoever_ends_it_while_another_day_is_allowed_ends_the_other(firm: LedCompany) -> None:
    firm.allows(firm.olga, "dept-sales", days=3)

    def end(session: Session) -> None:
        row = stays.find(session, firm.company.organization_id, firm.olga.person_id, firm.channel(session, "dept-sales").id)
        assert row is not None
        stays.end(session, row, why="done", actor=ADMIN, at=firm.at)

    meanwhile(firm.app, firm.allowing(firm.olga, "dept-sales", days=30), lambda: in_transaction(end))

    assert open_stays(firm, Why.EXCEPTION) == []


def test_what_is_handed_over_twice_at_once_is_handed_over_once(firm: LedCompany) -> None:
    def hand_over(session: Session) -> Stay:
        channel, heir = firm.channel(session, "team-ada-x-example"), firm.person(session, firm.mia)
        return stays.hand_over(session, channel, heir, departure_id="d1", reason="Ada has left", actor=ADMIN, at=firm.at)

    first, second = meanwhile(firm.app, hand_over, lambda: in_transaction(hand_over))

    assert [one.id for one in open_stays(firm, Why.HANDOVER)] == [first.id] == [second.id]
    with reading() as session:
        assert len(session.scalars(select(Entry).where(Entry.verb == "channel handed over")).all()) == 1


# What the clock does


@contextmanager
def statements() -> Iterator[list[str]]:
    """What is asked of the database meanwhile."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


def only_read(asked: list[str]) -> bool:
    """Whether nobody was kept waiting for any of it: no pen is taken, no row locked."""
    return all(one == "BEGIN" or (one.lstrip().startswith("SELECT") and "FOR UPDATE" not in one) for one in asked)


def test_where_nothing_is_over_the_clock_only_reads(firm: LedCompany) -> None:
    organization_id = firm.company.organization_id
    firm.allows(firm.olga, "dept-sales", days=3)
    firm.says(firm.ada)
    firm.delivers()
    assert open_stays(firm, Why.EXCEPTION) and len(open_stays(firm, Why.HANDOVER)) == 3

    with statements() as asked:
        stays.follow(organization_id, at=firm.at)
        ruled_handovers.follow(organization_id, at=firm.at)
    assert asked and only_read(asked), asked

    # The same eyes see when it does write.
    with statements() as asked:
        stays.follow(organization_id, at=firm.at + timedelta(days=4))
    assert not only_read(asked) and open_stays(firm, Why.EXCEPTION) == []
    firm.passes(minutes=1)
    firm.says(firm.ada, StatementKind.RETURNS)
    with statements() as asked:
        ruled_handovers.follow(organization_id, at=firm.at)
    assert not only_read(asked) and open_stays(firm, Why.HANDOVER) == []


def test_the_clock_ends_nothing_of_another_organisation(firm: LedCompany, installed: Flask) -> None:
    other = led_company(installed)
    firm.allows(firm.olga, "dept-sales", days=3)
    other.allows(other.olga, "dept-sales", days=3)
    firm.passes(days=4)

    stays.follow(firm.company.organization_id, at=firm.at)

    assert [one.organization_id for one in open_stays(firm, Why.EXCEPTION)] == [other.company.organization_id]


def test_two_clocks_write_down_once_what_is_over(firm: LedCompany) -> None:
    row, organization_id = firm.allows(firm.olga, "dept-sales", days=3), firm.company.organization_id
    firm.passes(days=4)

    meanwhile(
        firm.app, lambda session: stays.end_what_is_over(session, organization_id, at=firm.at), lambda: stays.follow(organization_id, at=firm.at)
    )

    with reading() as session:
        assert len(session.scalars(select(Entry).where(Entry.subject_id == row.id, Entry.verb == "exception ended")).all()) == 1
