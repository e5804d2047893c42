"""Somebody who is only away stays in rooms where we have no say: that keeps no pause open, and is said in its proof."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from flask import Flask
from sqlalchemy import select

from app.database import reading
from app.delivery import departing
from app.directory.tables import StatementKind
from app.journal.tables import Lane, Work
from app.revocation.receipts import closed_by_kind
from connectors.contract import AccountId, AccountState, ChannelRef, Refused
from tests.arranged_once import arranged_once
from tests.unit.delivery.crew import crew, make_everything_due
from tests.unit.delivery.hall_company import HallCompany, hall_company

pytestmark = pytest.mark.slow


@pytest.fixture
def firm(installed: Flask) -> HallCompany:
    return arranged_once(installed, hall_company)


def looks_again(firm: HallCompany, times: int) -> None:
    for _ in range(times):
        crew(firm.app, firm.there).run_until_idle()
        make_everything_due()


def departures_left() -> int:
    with reading() as session:
        return len(session.scalars(select(Work).where(Work.lane == Lane.DEPARTURES)).all())


def test_a_pause_ends_though_somebody_is_in_a_direct_chat_and_the_proof_says_so(firm: HallCompany) -> None:
    chat = firm.there.opens("", firm.account(firm.bob), firm.account(firm.ada), direct=True)

    firm.says(firm.ada, StatementKind.PAUSES)
    looks_again(firm, 3)

    proof = firm.proof()
    assert proof.shut_at is not None and proof.gone_at is not None and departures_left() == 0
    assert closed_by_kind(proof.closed) == {"accounts": 1, "rooms_of_others_kept": 1}
    assert firm.state() is AccountState.PAUSED and firm.there.channels_of(firm.account(firm.ada)) == {chat}


def test_a_channel_of_ours_that_they_are_still_in_keeps_the_pause_open(firm: HallCompany, monkeypatch: pytest.MonkeyPatch) -> None:
    account, remove = firm.account(firm.ada), firm.there.remove_members
    firm.opens("Offsite", firm.bob)
    [first, second] = sorted(ref for ref in firm.there.channels_of(account) if ref in firm.there.rooms and not firm.there.rooms[ref].space)[:2]
    firm.there.stuck = {first, second}

    def refuses(ref: ChannelRef, accounts: Iterable[AccountId]) -> None:
        if ref == first:
            raise Refused("stand-in: no power there")
        firm.there.stuck.discard(ref)
        remove(ref, accounts)

    monkeypatch.setattr(firm.there, "remove_members", refuses)
    monkeypatch.setattr(departing, "PATIENCE", 2)
    firm.says(firm.ada, StatementKind.PAUSES)
    looks_again(firm, 6)

    # What is refused in one of them keeps them in none of the others.
    proof = firm.proof()
    assert proof.shut_at is not None and proof.gone_at is None and proof.last_error == "stand-in: no power there"
    assert account in firm.there.members[first] and account not in firm.there.members[second]
    firm.there.remove_members = remove  # type: ignore[method-assign]  # somebody gave us the power back
    looks_again(firm, 2)
    assert firm.proof().gone_at is not None and departures_left() == 0


def test_whoever_leaves_for_good_afterwards_is_in_nobodys_room_any_more(firm: HallCompany) -> None:
    chat = firm.there.opens("", firm.account(firm.bob), firm.account(firm.ada), direct=True)
    firm.says(firm.ada, StatementKind.PAUSES)
    firm.delivers()

    firm.says(firm.ada)
    firm.delivers()

    assert firm.state() is AccountState.DEACTIVATED and firm.account(firm.ada) not in firm.there.members[chat]
    assert closed_by_kind(firm.proof().closed) == {"accounts": 1}


def test_whoever_comes_back_is_in_their_channels_and_still_in_their_direct_chat(firm: HallCompany) -> None:
    chat = firm.there.opens("", firm.account(firm.bob), firm.account(firm.ada), direct=True)
    firm.says(firm.ada, StatementKind.PAUSES)
    firm.delivers()

    firm.says(firm.ada, StatementKind.RETURNS)
    firm.delivers()

    assert firm.there.names_of(firm.account(firm.ada)) == {"all-hands", "dept-sales", "company"}
    assert firm.account(firm.ada) in firm.there.members[chat]
