"""Invitations end with what they were made for: nobody accepts one later who does not belong there any more."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from flask import Flask
from sqlalchemy import select

from app.database import in_transaction, reading
from app.directory.tables import StatementKind
from app.journal import work
from app.journal.tables import Subject, Work, WorkState
from connectors.contract import AccountId, ChannelRef, Refused
from tests.arranged_once import arranged_once
from tests.unit.delivery.led_company import LedCompany, led_company

pytestmark = pytest.mark.slow

BOB, OLGA = AccountId("bob"), AccountId("olga")
RULES = """
rules:
  - id: everyone
    name: all-hands
"""
FANS = """
  - id: fans
    where: 'costCenter eq "fans"'
    name: fans
    membership: suggested
    keep_for: 14 days
"""


@pytest.fixture
def firm(installed: Flask) -> LedCompany:
    made = arranged_once(installed, _fans_of_something)
    assert invited(made) == {BOB, OLGA}
    return made


def _fans_of_something(app: Flask) -> LedCompany:
    made = led_company(app)
    made.rules(RULES + FANS)
    for record in (made.bob, made.olga):
        made.changes(record, costCenter="fans")
    made.delivers()
    return made


def fans(firm: LedCompany) -> ChannelRef:
    return next(room.ref for room in firm.there.rooms.values() if room.name == "fans")


def invited(firm: LedCompany) -> set[AccountId]:
    return firm.there.invited[fans(firm)]


def looks_again(firm: LedCompany) -> None:
    in_transaction(
        lambda session: work.want(
            session, firm.company.organization_id, subject=Subject.ACCOUNT, subject_ids=[firm.bob.person_id], because=None, due_at=firm.at,
            workspace_id=firm.workspace_id,
        )
    )  # fmt: skip


def test_whoever_no_longer_fits_is_not_invited_any_more(firm: LedCompany) -> None:
    firm.changes(firm.bob, costCenter="none")
    firm.delivers()

    # Only who is in a channel stays in it for a while.
    assert invited(firm) == {OLGA} and firm.is_in(firm.bob) == {"all-hands"}


def test_nor_whoever_had_been_looked_at_in_between(firm: LedCompany) -> None:
    looks_again(firm)
    firm.delivers()

    firm.changes(firm.bob, costCenter="none")
    firm.delivers()

    assert invited(firm) == {OLGA}


def test_with_the_rule_its_invitations_end(firm: LedCompany) -> None:
    firm.rules(RULES)
    for record in (firm.bob, firm.olga):
        firm.changes(record, costCenter="none")
    firm.delivers()

    assert invited(firm) == set()


def test_who_fits_again_is_invited_again(firm: LedCompany) -> None:
    firm.changes(firm.bob, costCenter="none")
    firm.delivers()

    firm.changes(firm.bob, costCenter="fans")
    firm.delivers()

    assert invited(firm) == {BOB, OLGA}


def test_whoever_somebody_invited_by_hand_stays_invited(firm: LedCompany) -> None:
    mia = firm.account(firm.mia)
    invited(firm).add(mia)

    firm.changes(firm.mia, costCenter="none")
    firm.delivers()

    assert mia in invited(firm)


def test_whoever_is_back_from_a_pause_to_something_else_is_not_invited_still(firm: LedCompany) -> None:
    firm.says(firm.bob, StatementKind.PAUSES)
    firm.delivers()
    assert invited(firm) == {OLGA}
    firm.changes(firm.bob, costCenter="none")

    firm.says(firm.bob, StatementKind.RETURNS)
    firm.delivers()

    assert invited(firm) == {OLGA}


def test_an_invitation_that_could_not_be_withdrawn_is_not_forgotten(firm: LedCompany) -> None:
    remove = firm.there.remove_members

    def refuses(ref: ChannelRef, accounts: Iterable[AccountId]) -> None:
        raise Refused("stand-in: no power there")

    firm.there.remove_members = refuses  # type: ignore[method-assign]  # until we have the power again
    firm.changes(firm.bob, costCenter="none")
    with pytest.raises(AssertionError):
        firm.delivers()
    with reading() as session:
        assert session.scalars(select(Work.last_error).where(Work.state == WorkState.PARKED)).all() == ["stand-in: no power there"]

    firm.there.remove_members = remove  # type: ignore[method-assign]  # and here it is
    looks_again(firm)
    firm.delivers()

    assert invited(firm) == {OLGA}
