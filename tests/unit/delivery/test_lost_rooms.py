"""A room that an administrator of the workspace deletes by hand is made anew, with the people who belong in it, and stands in nobody's way."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.tables import Workspace as WorkspaceRow
from app.audit.tables import Deed
from app.clock import now
from app.commands import differences
from app.database import in_transaction, reading
from app.delivery.expansion import want_channels
from app.journal.tables import Work, WorkState
from app.rules.channels import settle
from app.rules.move_receipts import moves_of
from app.rules.tables import Channel, ChannelMember, ChannelState
from connectors.contract import AccountId, ChannelRef, Permit, Refused
from tests.arranged_once import arranged_once
from tests.company import ADMIN
from tests.unit.delivery.led_company import LedCompany, led_company

pytestmark = pytest.mark.slow

ADA, BOB, CY, OLGA = (AccountId(name) for name in ("ada", "bob", "cy", "olga"))
FANS = """
rules:
  - id: everyone
    name: all-hands
  - id: departments
    for_each: department
    name: "dept-{{ key | slug }}"
    parent: company
    keep_for: 14 days
  - id: fans
    where: 'costCenter eq "fans"'
    name: fans
    membership: MEMBERSHIP
"""


@pytest.fixture
def firm(installed: Flask) -> LedCompany:
    return arranged_once(installed, _company_with_mo)


def _company_with_mo(app: Flask) -> LedCompany:
    made = led_company(app)
    made.joins("mo", manager=made.ada, department="Legal")
    made.delivers()
    return made


def ref_of(firm: LedCompany, name: str) -> ChannelRef:
    [ref] = [room.ref for room in firm.there.rooms.values() if room.name == name]
    return ref


def members(firm: LedCompany, name: str) -> set[AccountId]:
    return firm.there.members[ref_of(firm, name)]


def plan(firm: LedCompany, monkeypatch: pytest.MonkeyPatch) -> differences.Differences:
    monkeypatch.setattr(differences, "open_workspace", lambda row: firm.there)
    return differences.find_differences(firm.company.organization_id, workspace(firm))


def workspace(firm: LedCompany) -> WorkspaceRow:
    with reading() as session:
        return session.get_one(WorkspaceRow, (firm.company.organization_id, firm.workspace_id))


def applies(firm: LedCompany, found: differences.Differences) -> None:
    at, row = firm.at, workspace(firm)
    in_transaction(lambda session: differences.want_all(session, firm.company.organization_id, row, found, actor=ADMIN, at=at))


def archives(firm: LedCompany, name: str) -> None:
    """What the clock does with a channel that is empty, each minute."""

    def act(session: Session) -> None:
        channel_id = firm.channel(session, name).id
        if settle(session, firm.company.organization_id, [channel_id], firm.at)[channel_id].state is not ChannelState.EMPTY:
            want_channels(session, firm.company.organization_id, {channel_id}, at=firm.at)

    in_transaction(act)
    firm.delivers()


def empties_and_is_archived_without_its_room(firm: LedCompany) -> None:
    """Everybody in Sales leaves, an administrator deletes its room, and the day of its archiving comes."""
    for record in (firm.ada, firm.bob):
        firm.says(record)
    firm.delivers()
    firm.there.deletes("dept-sales")
    firm.passes(days=31)
    archives(firm, "dept-sales")


def fans_of(firm: LedCompany, membership: str) -> None:
    firm.rules(FANS.replace("MEMBERSHIP", membership))
    for record in (firm.ada, firm.bob):
        firm.changes(record, manager=firm.mia, department="Sales", costCenter="fans")
    firm.delivers()


def test_the_next_who_joins_finds_it_made_anew_and_everybody_is_back_in_it(firm: LedCompany) -> None:
    before, was = members(firm, "all-hands"), ref_of(firm, "all-hands")
    firm.there.deletes("all-hands")

    firm.joins("cy", manager=firm.ada, department="Sales")
    firm.delivers()

    assert ref_of(firm, "all-hands") != was and firm.there.rooms[ref_of(firm, "all-hands")].key == "all-hands"
    assert members(firm, "all-hands") == before | {CY}
    assert members(firm, "dept-sales") >= {CY}
    assert firm.owners("all-hands") == {ADA, OLGA}
    with reading() as session:
        told = session.scalars(select(Deed.did).where(Deed.did == "created channel all-hands")).all()
        assert len(told) == 2 and session.scalars(select(Work).where(Work.due_at <= firm.at)).all() == []


def test_who_moves_on_leaves_their_channel_though_another_one_was_deleted(firm: LedCompany) -> None:
    firm.rules(FANS.replace("    keep_for: 14 days\n", "").replace("MEMBERSHIP", "added"))
    firm.delivers()
    firm.there.deletes("all-hands")

    firm.changes(firm.bob, manager=firm.ada, department="Legal")
    firm.delivers()

    assert firm.is_in(firm.bob) == {"all-hands", "dept-legal"}


def test_nobody_who_is_put_in_again_counts_as_a_mover(firm: LedCompany, monkeypatch: pytest.MonkeyPatch) -> None:
    firm.there.deletes("all-hands")

    applies(firm, plan(firm, monkeypatch))
    firm.delivers()

    with reading() as session:
        assert moves_of(session, firm.company.organization_id, firm.bob.person_id) == []
    assert BOB in members(firm, "all-hands")


def test_the_plan_names_it_and_everybody_who_is_missing_and_applying_mends_it(firm: LedCompany, monkeypatch: pytest.MonkeyPatch) -> None:
    before = members(firm, "dept-sales")
    firm.there.deletes("dept-sales")

    found = plan(firm, monkeypatch)
    assert found.new_channels == ["dept-sales"]
    assert {(line.sign, line.channel, line.person) for line in found.lines if line.channel == "dept-sales"} == {
        ("+", "dept-sales", f"{name}@x.example") for name in before
    }
    applies(firm, found)
    firm.delivers()

    assert members(firm, "dept-sales") == before
    assert not [line for line in plan(firm, monkeypatch).lines if line.channel == "dept-sales"]


def test_a_room_that_nobody_belongs_in_is_not_missed(firm: LedCompany, monkeypatch: pytest.MonkeyPatch) -> None:
    for record in (firm.ada, firm.bob):
        firm.says(record)
    firm.delivers()
    firm.there.deletes("dept-sales")

    found = plan(firm, monkeypatch)
    applies(firm, found)
    firm.delivers()

    assert found.new_channels == [] and "dept-sales" not in {room.name for room in firm.there.rooms.values()}


def test_a_room_that_nobody_belongs_in_stays_deleted_on_the_day_it_is_archived_and_comes_back_with_the_first_who_does(firm: LedCompany) -> None:
    empties_and_is_archived_without_its_room(firm)

    assert "dept-sales" not in {room.name for room in firm.there.rooms.values()}
    firm.joins("cy", manager=firm.mia, department="Sales")
    firm.delivers()

    assert members(firm, "dept-sales") == {CY} and not firm.there.rooms[ref_of(firm, "dept-sales")].read_only


def test_and_with_the_first_who_is_let_into_it_beside_the_rules(firm: LedCompany) -> None:
    empties_and_is_archived_without_its_room(firm)

    firm.allows(firm.olga, "dept-sales", days=30)
    firm.delivers()

    assert members(firm, "dept-sales") == {OLGA}


def test_whoever_is_put_in_by_force_is_put_into_the_new_one_though_they_had_left_the_old_one_once(firm: LedCompany) -> None:
    fans_of(firm, "added")
    members(firm, "fans").discard(ADA)
    firm.looks_again_at(firm.ada)
    firm.rules(FANS.replace("MEMBERSHIP", "enforced"))
    firm.delivers()
    assert members(firm, "fans") == {ADA, BOB}
    firm.there.deletes("fans")

    firm.looks_again_at(firm.bob)

    assert members(firm, "fans") == {ADA, BOB}


def test_who_was_refused_while_it_was_being_deleted_is_put_into_the_new_one(firm: LedCompany, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(ref: ChannelRef, accounts: Iterable[AccountId], *, permit: Permit) -> None:
        raise Refused("stand-in: we are not in it any more, and others still are")

    monkeypatch.setattr(firm.there, "add_members", refuses)
    firm.joins("cy", manager=firm.ada, department="Sales")
    with pytest.raises(AssertionError):
        firm.delivers()
    with reading() as session:
        assert len(session.scalars(select(Work).where(Work.state == WorkState.PARKED)).all()) == 1
    monkeypatch.undo()
    firm.there.deletes("all-hands")

    firm.looks_again_at(firm.bob)

    assert {BOB, CY} <= members(firm, "all-hands")


def test_a_deleted_space_is_made_anew_with_its_channels_below_it(firm: LedCompany) -> None:
    firm.there.deletes("company")

    firm.joins("cy", manager=firm.ada, department="Sales")
    firm.delivers()

    space = ref_of(firm, "company")
    assert {room.name for room in firm.there.rooms.values() if room.parent == space} >= {"dept-sales", "dept-legal", "dept-board"}
    assert members(firm, "company") == {AccountId(name) for name in ("ada", "bob", "cy", "mia", "mo")}


def test_a_new_channel_below_a_deleted_space_has_the_space_made_anew_first(firm: LedCompany) -> None:
    firm.there.deletes("company")

    firm.joins("cy", manager=firm.ada, department="Research")
    firm.delivers()

    assert firm.there.rooms[ref_of(firm, "dept-research")].parent == ref_of(firm, "company")
    assert firm.there.rooms[ref_of(firm, "dept-sales")].parent == ref_of(firm, "company")


def test_a_change_to_the_channel_finds_it_as_well(firm: LedCompany) -> None:
    before = members(firm, "dept-sales")
    firm.there.deletes("dept-sales")

    firm.rules(FANS.replace("    parent: company\n", '    topic: "{{ key }}"\n').replace("MEMBERSHIP", "added"))
    with reading() as session:
        channel_id = firm.channel(session, "dept-sales").id
    in_transaction(lambda session: want_channels(session, firm.company.organization_id, {channel_id}, at=firm.at))
    firm.delivers()

    assert members(firm, "dept-sales") == before and firm.there.rooms[ref_of(firm, "dept-sales")].topic == "Sales"


def in_fans(firm: LedCompany, membership: str) -> set[AccountId]:
    return members(firm, "fans") if membership == "added" else firm.there.invited.get(ref_of(firm, "fans"), set())


@pytest.mark.parametrize("membership", ["added", "suggested"])
def test_whoever_was_put_in_once_is_put_into_the_new_one_and_who_had_left_is_not(firm: LedCompany, membership: str) -> None:
    fans_of(firm, membership)
    for given in (firm.there.members, firm.there.invited):
        given.get(ref_of(firm, "fans"), set()).discard(ADA)
    firm.looks_again_at(firm.ada)
    assert in_fans(firm, membership) == {BOB}
    firm.there.deletes("fans")

    firm.looks_again_at(firm.bob)

    assert in_fans(firm, membership) == {BOB}


def test_whoever_had_accepted_is_invited_into_the_new_one(firm: LedCompany) -> None:
    fans_of(firm, "suggested")
    firm.looks_again_at(firm.bob)
    members(firm, "fans").add(BOB)
    firm.looks_again_at(firm.bob)
    firm.there.deletes("fans")

    firm.looks_again_at(firm.bob)

    assert in_fans(firm, "suggested") == {ADA, BOB}


def test_applying_puts_whoever_was_added_once_into_the_new_one(firm: LedCompany, monkeypatch: pytest.MonkeyPatch) -> None:
    fans_of(firm, "added")
    firm.there.deletes("fans")

    found = plan(firm, monkeypatch)
    applies(firm, found)
    firm.delivers()

    assert {line.person for line in found.lines if line.channel == "fans"} == {"ada@x.example", "bob@x.example"}
    assert members(firm, "fans") == {ADA, BOB}
    members(firm, "fans").discard(BOB)
    firm.looks_again_at(firm.bob)
    assert members(firm, "fans") == {ADA}, "now he has left it by himself"


def test_who_is_only_kept_there_for_a_while_is_in_the_new_one_until_that_day(firm: LedCompany) -> None:
    firm.changes(firm.bob, manager=firm.ada, department="Legal")
    firm.delivers()
    assert "dept-sales" in firm.is_in(firm.bob)
    firm.there.deletes("dept-sales")

    firm.joins("cy", manager=firm.ada, department="Sales")
    firm.delivers()
    assert "dept-sales" in firm.is_in(firm.bob)
    with reading() as session:
        kept = session.scalars(
            select(ChannelMember).join(Channel, Channel.id == ChannelMember.channel_id).where(
                ChannelMember.person_id == firm.bob.person_id, Channel.name == "dept-sales"
            )
        ).one()  # fmt: skip
    assert kept.keep_until is not None and kept.keep_until < now() + timedelta(days=15)
    firm.passes(days=14, minutes=30)
    firm.delivers()

    assert "dept-sales" not in firm.is_in(firm.bob)
