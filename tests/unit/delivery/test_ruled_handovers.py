"""Channels of the rules that lose their owner: whoever takes over owns them, and is in them, until the rules name somebody again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.delivery import ruled_handovers
from app.directory.tables import Record, StatementKind
from app.journal.tables import Lane, Organization, Subject, Work
from app.lifecycle.handover import NoHeir
from app.lifecycle.handover_tables import HandedChannel
from app.lifecycle.sources import set_setting
from app.rules.membership import desired
from app.rules.revisions import current_rules
from app.rules.stay_tables import Stay
from app.rules.tables import Channel
from connectors.contract import AccountId
from tests.arranged_once import arranged_once
from tests.company import ADMIN
from tests.unit.delivery.led_company import RULES, LedCompany, led_company

pytestmark = pytest.mark.slow


@pytest.fixture
def firm(installed: Flask) -> LedCompany:
    return arranged_once(installed, led_company)


def test_a_managers_team_and_what_she_owned_by_name_are_her_managers(firm: LedCompany) -> None:
    firm.says(firm.ada)
    firm.delivers()

    assert firm.told(firm.ada) == {
        "team-ada-x-example": ("handed over", "mia@x.example"), "dept-sales": ("handed over", "mia@x.example"),
        "dept-board": ("handed over", "mia@x.example"), "all-hands": ("others own it", "olga@x.example"),
    }  # fmt: skip
    mia = firm.account(firm.mia)
    assert firm.owners("team-ada-x-example") == firm.owners("dept-sales") == {mia}
    assert firm.owners("all-hands") == {firm.account(firm.olga)}
    assert {"team-ada-x-example", "dept-sales"} <= firm.is_in(firm.mia)


def test_the_plan_wants_what_was_handed_over(firm: LedCompany) -> None:
    firm.says(firm.ada)
    firm.delivers()

    with reading() as session:
        organization_id = firm.company.organization_id
        names = {one.id: one.name for one in session.scalars(select(Channel).where(Channel.organization_id == organization_id))}
        wanted = {(names[channel], person) for channel, person in desired(session, organization_id, current_rules(session, organization_id), at=firm.at)}

    assert ("team-ada-x-example", firm.mia.person_id) in wanted
    assert not {channel for channel, person in wanted if person == firm.ada.person_id}


def test_it_ends_when_the_directory_names_another_manager(firm: LedCompany) -> None:
    firm.says(firm.ada)
    firm.delivers()
    firm.ticks()
    assert "team-ada-x-example" in firm.is_in(firm.mia)
    eve = firm.joins("eve", manager=firm.mia, department="Sales")

    firm.changes(firm.bob, manager=eve, department="Sales")
    firm.delivers()
    firm.ticks()

    # The channel went along with its people, and is Eve's by the rules.
    assert firm.owners("team-eve-x-example") == {firm.account(eve)}
    assert "team-eve-x-example" not in firm.is_in(firm.mia)


def test_it_ends_when_whoever_left_is_back(firm: LedCompany) -> None:
    firm.says(firm.ada)
    firm.delivers()

    firm.passes(minutes=1)
    firm.says(firm.ada, StatementKind.RETURNS)
    firm.delivers()
    firm.ticks()

    assert firm.owners("team-ada-x-example") == {firm.account(firm.ada)}
    assert firm.is_in(firm.mia) == {"all-hands", "dept-board", "team-mia-x-example"}
    with reading() as session:
        assert session.scalars(select(Stay.id).where(Stay.ended_at.is_(None))).all() == []


def test_it_ends_when_the_rules_ask_for_no_owner_any_more(firm: LedCompany) -> None:
    firm.says(firm.ada)
    firm.delivers()

    firm.rules(RULES.replace("    owners: [manager]\n", ""))
    firm.delivers()
    firm.ticks()

    assert firm.owners("team-ada-x-example") == set()
    assert "team-ada-x-example" not in firm.is_in(firm.mia)


@pytest.mark.parametrize("ticked", [False, True])
def test_whoever_took_over_and_leaves_as_well_hands_it_on(firm: LedCompany, ticked: bool) -> None:
    firm.changes(firm.mia, manager=firm.olga, department="Board")
    firm.delivers()
    firm.says(firm.ada)
    firm.delivers()

    firm.says(firm.mia)
    if ticked:
        # What is over is written down before anybody has looked at the one who left.
        firm.ticks()
    firm.delivers()

    assert firm.told(firm.mia)["team-ada-x-example"] == ("handed over", "olga@x.example")
    assert firm.owners("team-ada-x-example") == {firm.account(firm.olga)}
    firm.ticks()
    assert "team-ada-x-example" in firm.is_in(firm.olga)


def test_a_channel_with_nobody_in_it_needs_no_owner(firm: LedCompany) -> None:
    firm.says(firm.bob)
    firm.delivers()

    firm.says(firm.ada)
    firm.delivers()

    assert firm.told(firm.ada)["team-ada-x-example"] == ("nobody else is in it", None)
    assert "team-ada-x-example" not in firm.is_in(firm.mia)


def test_a_channel_that_empties_in_the_same_breath_needs_none_either(firm: LedCompany) -> None:
    # Whichever of the two is looked at first.
    firm.says(firm.ada)
    firm.changes(firm.bob, department="Sales")
    firm.delivers()

    assert firm.told(firm.ada)["team-ada-x-example"] == ("nobody else is in it", None)
    assert "team-ada-x-example" not in firm.is_in(firm.mia)


def first_of_all(firm: LedCompany, record: Record) -> None:
    """This one is looked at before everybody else."""

    def act(session: Session) -> None:
        row = session.get_one(Work, (firm.company.organization_id, "", Subject.PERSON, record.person_id, Lane.SYNC))
        row.due_at -= timedelta(seconds=1)

    in_transaction(act)


@pytest.mark.parametrize("first", ["bob", "eve"])
def test_a_team_that_comes_to_be_only_afterwards_has_no_owner(firm: LedCompany, first: str) -> None:
    firm.says(firm.bob)
    firm.delivers()
    firm.passes(minutes=1)

    # Whether it is he who led nobody that is looked at first, or his report.
    eve = firm.joins("eve", manager=firm.bob, department="Sales")
    first_of_all(firm, firm.bob if first == "bob" else eve)
    firm.delivers()

    assert firm.told(firm.bob) == {}
    assert "team-bob-x-example" in firm.is_in(eve)
    assert firm.owners("team-bob-x-example") == set()


def test_it_ends_when_nobody_is_left_in_it(firm: LedCompany) -> None:
    firm.says(firm.ada)
    firm.delivers()
    firm.ticks()
    assert "team-ada-x-example" in firm.is_in(firm.mia)

    firm.changes(firm.bob, department="Sales")
    firm.delivers()
    firm.ticks()

    assert "team-ada-x-example" not in firm.is_in(firm.mia)
    assert "dept-sales" in firm.is_in(firm.mia)


def test_where_there_is_nobody_it_says_so_and_can_be_given_to_somebody_afterwards(firm: LedCompany) -> None:
    firm.says(firm.mia)
    firm.delivers()
    assert firm.told(firm.mia)["team-mia-x-example"][0] == "could not"

    def give() -> None:
        in_transaction(
            lambda session: ruled_handovers.give_to(
                session, firm.person(session, firm.mia), firm.person(session, firm.olga), actor=ADMIN, at=firm.at
            )
        )  # fmt: skip

    give()
    firm.delivers()

    assert firm.told(firm.mia)["team-mia-x-example"] == ("handed over", "olga@x.example")
    assert firm.owners("team-mia-x-example") == {firm.account(firm.olga)}


def test_it_can_be_given_to_another_than_the_manager_afterwards(firm: LedCompany) -> None:
    firm.says(firm.ada)
    firm.delivers()

    def give(to: str) -> None:
        in_transaction(
            lambda session: ruled_handovers.give_to(
                session, firm.person(session, firm.ada), firm.person(session, getattr(firm, to)), actor=ADMIN, at=firm.at
            )
        )  # fmt: skip

    give("bob")
    firm.delivers()

    assert firm.owners("team-ada-x-example") == {AccountId("bob")}
    assert "team-ada-x-example" not in firm.is_in(firm.mia)
    with pytest.raises(NoHeir):
        give("ada")


def test_where_the_organisation_hands_nothing_over_the_channel_is_without_an_owner(firm: LedCompany) -> None:
    organization_id = firm.company.organization_id
    in_transaction(
        lambda session: set_setting(session, session.get_one(Organization, organization_id), "handover", "none", actor=ADMIN, at=firm.at)
    )
    firm.says(firm.ada)
    firm.delivers()

    assert firm.told(firm.ada) == {} and firm.owners("team-ada-x-example") == set()
    assert "team-ada-x-example" not in firm.is_in(firm.mia)


def test_looking_at_a_leaver_again_hands_nothing_over_twice(firm: LedCompany) -> None:
    firm.says(firm.ada)
    firm.delivers()
    told = firm.told(firm.ada)

    in_transaction(lambda session: ruled_handovers.hand_over_ruled(session, firm.person(session, firm.ada), current_rules(session, firm.company.organization_id), at=firm.at))
    firm.delivers()

    assert firm.told(firm.ada) == told
    with reading() as session:
        assert len(session.scalars(select(Stay.id).where(Stay.ended_at.is_(None))).all()) == 3


def test_who_is_only_away_still_owns_what_is_theirs_when_they_are_back(firm: LedCompany) -> None:
    firm.says(firm.ada, StatementKind.PAUSES)
    firm.delivers()
    assert firm.told(firm.ada) == {} and "team-ada-x-example" not in firm.is_in(firm.mia)

    firm.passes(minutes=1)
    firm.says(firm.ada, StatementKind.RETURNS)
    firm.delivers()

    assert firm.owners("team-ada-x-example") == {firm.account(firm.ada)}


def line(firm: LedCompany, name: str) -> dict[str, str | None]:
    """What stands of a channel, as it is kept."""
    with reading() as session:
        one = session.scalars(select(HandedChannel).where(HandedChannel.organization_id == firm.company.organization_id, HandedChannel.name == name)).one()
        return {"outcome": one.outcome, "to": one.to_person_id, "account": one.to_account, "arrival": one.arrival, "because": one.because}


def test_a_line_that_is_said_anew_has_nothing_left_of_what_it_said_before(firm: LedCompany) -> None:
    firm.says(firm.ada)
    firm.delivers()
    assert line(firm, "dept-sales") == {"outcome": "handed over", "to": firm.mia.person_id, "account": None, "arrival": "joined", "because": None}

    def give(to: Record) -> None:
        in_transaction(lambda session: ruled_handovers.give_to(session, firm.person(session, firm.ada), firm.person(session, to), actor=ADMIN, at=firm.at))

    # The rules name somebody else as well, and nobody is in the team any more.
    firm.rules(RULES.replace("    owners: [ada@x.example]\n", "    owners: [ada@x.example, olga@x.example]\n"))
    firm.changes(firm.bob, manager=firm.mia, department="Sales")
    firm.delivers()
    give(firm.bob)

    assert line(firm, "dept-sales") == {"outcome": "others own it", "to": None, "account": None, "arrival": None, "because": "olga@x.example"}
    assert line(firm, "team-ada-x-example") == {"outcome": "nobody else is in it", "to": None, "account": None, "arrival": None, "because": None}

    # And the other way round: the rules name nobody else.
    firm.rules(RULES)
    firm.delivers()
    give(firm.bob)

    assert line(firm, "dept-sales") == {"outcome": "handed over", "to": firm.bob.person_id, "account": None, "arrival": "joined", "because": None}
