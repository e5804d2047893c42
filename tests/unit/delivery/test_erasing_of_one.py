"""Somebody had two accounts, and turned out to be one person: what they wrote in either is erased once they have left, and not before."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.audit.retention import forget
from app.database import in_transaction, reading
from app.directory.tables import Record, StatementKind
from app.lifecycle import legal_hold, retention
from app.lifecycle.legal_hold import Placed
from app.lifecycle.one_person import become_one
from app.revocation.erasure_tables import Erasure
from connectors.contract import AccountId
from tests.arranged_once import arranged_once
from tests.company import ADMIN
from tests.unit.delivery.crew import settle
from tests.unit.delivery.halls import Halls
from tests.unit.delivery.left_office import Office, office_of, on

pytestmark = pytest.mark.slow


@dataclass
class Two:
    """Bob is here. `other` was he as well, as was said on the first day: that account is shut."""

    office: Office
    other: str
    account: AccountId

    def is_erased(self) -> bool:
        assert isinstance(self.office.there, Halls)
        return self.account in self.office.there.erased

    def becomes(self, was: str, now: str) -> None:
        organization_id = self.office.company.organization_id
        in_transaction(lambda session: become_one(session, organization_id, was, now, actor=ADMIN, at=on(0.02), because="test"))
        settle(self.office.app, self.office.there)

    def bob_is_held(self, *, day: float) -> Placed:
        organization_id, bob = self.office.company.organization_id, self.office.bob.person_id
        return in_transaction(
            lambda session: legal_hold.place(session, organization_id, bob, reason="case 7", ordered_by="counsel", actor=ADMIN, at=on(day))
        )

    def bob_is_held_no_more(self, placed: Placed, *, day: float) -> None:
        def act(session: Session) -> None:
            row = legal_hold.find(session, self.office.company.organization_id, placed.hold.id)
            legal_hold.end(session, row, because="settled", ordered_by="counsel", actor=ADMIN, at=on(day))

        in_transaction(act)

    def listed(self) -> retention.Listed:
        with reading() as session:
            [found] = [one for one in retention.listed(session, self.office.company.organization_id) if one.person.id == self.other]
        return found


@pytest.fixture
def two(installed: Flask) -> Two:
    return arranged_once(installed, _two)


def _two(app: Flask) -> Two:
    office = office_of(app, Halls())
    # Only Bob is looked at here.
    office.says(office.ada, StatementKind.RETURNS, day=0.01)
    other: Record = office.company.joins("robert@x.example", "E-3")
    settle(app, office.there)
    made = Two(office=office, other=other.person_id, account=office.account(other))
    made.becomes(other.person_id, office.bob.person_id)
    office.sets("90d")
    return made


def test_what_somebody_wrote_who_turned_out_to_be_one_who_is_here_is_not_erased(two: Two) -> None:
    assert two.office.erases(day=400) == 0 and not two.is_erased()

    assert two.listed().why == "whom they turned out to be has not left"
    with reading() as session:
        assert retention.tried(session, two.office.company.organization_id, "1d", at=on(1)) == []


def test_it_is_erased_when_they_have_left_for_long_enough(two: Two) -> None:
    two.office.says(two.office.bob, StatementKind.LEAVES, day=100)
    two.office.looks(day=100)

    assert two.office.erases(day=189.9) == 0
    with reading() as session:
        tried = retention.tried(session, two.office.company.organization_id, "30d", at=on(101))
    assert [one.due_at for one in tried] == [on(130), on(130)]
    assert two.office.erases(day=190.1) == 2 and two.is_erased()


def test_whoever_is_only_away_or_back_loses_nothing(two: Two) -> None:
    two.office.says(two.office.bob, StatementKind.LEAVES, day=10)
    two.office.says(two.office.bob, StatementKind.RETURNS, day=20)
    two.office.says(two.office.bob, StatementKind.PAUSES, day=30)

    assert two.office.erases(day=400) == 0 and not two.is_erased()


def test_a_hold_on_who_they_are_keeps_what_they_wrote_as_another(two: Two) -> None:
    two.office.says(two.office.bob, StatementKind.LEAVES, day=1)
    two.office.looks(day=1)
    placed = two.bob_is_held(day=50)

    assert two.listed().held and two.office.erases(day=200) == 0
    two.bob_is_held_no_more(placed, day=200)
    assert two.office.erases(day=200.9) == 0, "a day for whoever has an order of their own"
    assert two.office.erases(day=202) == 2 and two.is_erased()


def test_a_hold_that_comes_too_late_names_what_they_wrote_as_another(two: Two) -> None:
    two.office.says(two.office.bob, StatementKind.LEAVES, day=1)
    two.office.looks(day=1)
    two.office.erases(day=100)

    placed = two.bob_is_held(day=101)

    assert {one.person_id for one in placed.too_late} == {two.other, two.office.bob.person_id}


def test_whom_they_turned_out_to_be_may_turn_out_to_be_another(two: Two) -> None:
    two.becomes(two.office.bob.person_id, two.office.ada.person_id)
    assert two.office.erases(day=400) == 0

    two.office.says(two.office.ada, StatementKind.LEAVES, day=401)
    two.office.looks(day=401)

    assert two.office.erases(day=490) == 0
    assert two.office.erases(day=492) == 3 and two.is_erased()


def test_where_nobody_can_tell_any_more_who_they_are_nothing_is_erased(two: Two) -> None:
    two.office.says(two.office.bob, StatementKind.LEAVES, day=1)

    organization_id = two.office.company.organization_id
    in_transaction(lambda session: forget(session, organization_id, [two.other], actor=ADMIN, at=on(2), because="asked for"))

    two.office.erases(day=400)

    assert not two.is_erased()
    with reading() as session:
        row = session.scalars(select(Erasure).where(Erasure.person_id == two.other)).one()
    assert row.last_error == "it is not known any more whom they turned out to be"
