"""The sweep in a workspace that is slow, or does not answer each time: it goes on, and whoever was found is not kept waiting for those behind them."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.database import in_transaction
from app.delivery import sweeping
from app.directory.tables import Person, Standing
from app.revocation.departures import current
from app.revocation.sweeps import EVERY, Page, Row
from connectors.contract import AccountState, Unreachable
from tests.company import Company, later
from tests.unit.delivery.crew import employ, settle
from tests.unit.delivery.test_sweeping import A_MINUTE, accounts_of, leave, sweep_of, swept
from tests.workspace import Workspace

pytestmark = pytest.mark.slow


def does_not_answer_for(workspace: Workspace, fails: Callable[[int], bool]) -> list[str]:
    """It gives no answer at those look-ups; returns whom it was asked about, in their order."""
    asked: list[str] = []
    find = workspace.find_account

    def find_account(person_id: str) -> object:
        asked.append(person_id)
        if fails(len(asked)):
            raise Unreachable("stand-in: no answer", sent=True)
        return find(person_id)

    workspace.find_account = find_account  # type: ignore[method-assign,assignment]  # seen on its way
    return asked


def departure_of(company: Company, person_id: str) -> str:
    def look(session: Session) -> str:
        found = current(session, company.organization_id, session.get_one(Person, (company.organization_id, person_id)).id)
        assert found is not None
        return found.id

    return in_transaction(look)


def test_whoever_is_found_is_shut_out_though_those_behind_them_take_long(installed: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    [ada, bob, _], put_back = leave(installed, company, workspace, "ada", "bob", "cy")
    put_back()
    before, seen = departure_of(company, ada), []
    find = workspace.find_account

    def takes_long(person_id: str) -> object:
        if person_id == bob:
            seen.append(departure_of(company, ada) != before)
        return find(person_id)

    workspace.find_account = takes_long  # type: ignore[method-assign,assignment]  # seen on its way
    monkeypatch.setattr(sweeping, "SECONDS_AT_A_PLACE", -1.0)
    found = swept(installed, company, workspace)["chat"]

    assert seen[0], "a departure of her own had begun when the next one was looked at"
    assert (found.looked, len(found.alive), found.complete) == (3, 3, True)


def test_a_page_that_broke_off_goes_on_where_it_did(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    swept(installed, company, workspace, after=timedelta())
    [ada, bob, cy], _ = leave(installed, company, workspace, "ada", "bob", "cy")
    asked = does_not_answer_for(workspace, lambda number: number in (2, 3))

    first = swept(installed, company, workspace)["chat"]
    first_asked = list(asked)
    swept(installed, company, workspace)

    assert first_asked == [ada, bob, cy] and asked[3:] == [bob, cy], "it broke off at Bob"
    assert (first.looked, first.complete, first.error) == (1, False, "stand-in: no answer")


def test_a_person_for_whom_nothing_is_answered_keeps_nobody_behind_them_from_being_found(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    people, put_back = leave(installed, company, workspace, "ada", "bob", "cy")
    put_back()
    find = workspace.find_account

    def spoilt(person_id: str) -> object:
        if person_id == people[0]:
            raise Unreachable("stand-in: answered 500", sent=True)
        return find(person_id)

    workspace.find_account = spoilt  # type: ignore[method-assign,assignment]  # seen on its way
    found = swept(installed, company, workspace, after=EVERY + A_MINUTE)["chat"]
    workspace.find_account = find  # type: ignore[method-assign]  # mended over there
    settle(installed, workspace)

    assert {one.person_id for one in found.alive} == set(people[1:])
    assert (found.complete, found.error, sweep_of(company)[2]) == (False, "stand-in: answered 500", "stand-in: answered 500")
    assert accounts_of(workspace, people[1:]) == {AccountState.DEACTIVATED}


def test_one_answer_that_was_lost_is_asked_for_again(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    people, put_back = leave(installed, company, workspace, "ada", "bob")
    put_back()
    does_not_answer_for(workspace, lambda number: number == 1)

    found = swept(installed, company, workspace)["chat"]

    assert {one.person_id for one in found.alive} == set(people) and found.error is None


def test_who_came_back_meanwhile_is_no_sign_that_a_place_answers() -> None:
    """They are not asked about: where nothing else is answered either, nobody is passed over."""
    out, back = Person(id="out", standing=Standing.DEPARTED), Person(id="back", standing=Standing.ACTIVE)
    asked: list[str] = []

    def look(person: Person) -> str | None:
        asked.append(person.id)
        raise Unreachable("stand-in: no answer", sent=True)

    seen = sweeping._looked_at(sweeping.Swept(organization_id="o", place="w", name="chat"), [out, back, None, back], look, until=float("inf"))

    assert (seen.count, str(seen.broken), asked) == (0, "stand-in: no answer", ["out"])


@pytest.mark.parametrize(("count", "people", "cursor"), [(0, None, None), (1, ("a",), "2"), (2, ("a", "b"), "3"), (3, ("a", "b", "c"), "4")])
def test_a_page_is_cut_behind_those_who_were_looked_at(count: int, people: tuple[str, ...] | None, cursor: str | None) -> None:
    # Between them there is one for whom nobody is looked at, and who was in it twice is looked at once.
    rows = tuple(Row(person_id=one, cursor=str(number)) for number, one in enumerate(("a", None, "a", "b", "c")))
    page = Page(people=("a", "b", "c"), cursor="4", in_round=True, rows=rows)

    cut = page.cut(count)

    assert (people, cursor) == (None, None) if cut is None else (cut.people, cut.cursor) == (people, cursor)


def test_one_that_is_cut_ends_no_round() -> None:
    rows = tuple(Row(person_id=one, upto=(later(0), one)) for one in ("a", "b"))
    page = Page(people=("a", "b"), in_round=True, ends_round=True, rows=rows)

    cut = page.cut(1)

    assert cut is not None and not cut.ends_round and cut.upto == (later(0), "a") and page.cut(2) is page
