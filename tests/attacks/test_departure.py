"""Attacks on departure (D03 onward): whichever way somebody is out, nothing they hold opens a door, and nothing is called done that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.tables import Workspace as WorkspaceRow
from app.clock import now
from app.database import in_transaction, new_id, reading
from app.delivery.access import still_let_in
from app.directory.tables import Person, Standing, StatementKind, Voice
from app.intake.hr import read
from app.journal.tables import HERE, Lane, Work
from app.lifecycle import brake, leaving
from app.lifecycle.look_alikes import flag_look_alikes
from app.lifecycle.people import reconsider
from app.revocation import departures
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarm_tables import Alarm
from app.revocation.tables import Grade, Proof
from connectors.contract import Access, AccountId, AccountState, Unreachable
from tests.attacks.test_ways_out import WAYS_OFF
from tests.clients.directory import Directory
from tests.company import ADMIN, Company, new_company
from tests.hr_system import HR
from tests.hr_system import leaving as leaving_call
from tests.possessions import EVERYTHING, Possessions, possessions_of
from tests.unit.delivery.crew import Killed, crew, employ, make_everything_due, only_account, settle
from tests.unit.scim.choosing import person_of
from tests.workspace import Workspace

Out = Callable[[Flask, Company, str], None]


def say(company: Company, person_id: str, voice: Voice, kind: StatementKind, *, effective_at: datetime | None = None) -> None:
    at = now()
    in_transaction(
        lambda session: leaving.say(
            session, company.organization_id, person_id, voice=voice, kind=kind, said_by="test", effective_at=effective_at or at, actor=ADMIN, at=at,
            because="test",
        )
    )  # fmt: skip


def _by(voice: Voice, kind: StatementKind) -> Out:
    return lambda _app, company, person_id: say(company, person_id, voice, kind)


def _by_hr_call(app: Flask, company: Company, _person_id: str) -> None:
    assert HR(app, company).call(leaving_call("E-1", revoke_access="immediately")).status_code == 200


def _by_an_end_date(_app: Flask, company: Company, person_id: str) -> None:
    say(company, person_id, Voice.SPONSOR, StatementKind.LEAVES, effective_at=now() + timedelta(milliseconds=1))
    in_transaction(lambda session: reconsider(session, company.organization_id, person_id, at=now() + timedelta(seconds=1)))


WAYS_OUT: dict[str, Out] = {
    "an operator": _by(Voice.OPERATOR, StatementKind.LEAVES),
    "an operator's bar": _by(Voice.OPERATOR, StatementKind.BARS),
    "a leave of absence": _by(Voice.OPERATOR, StatementKind.PAUSES),
    "HR, by its call": _by_hr_call,
    "a sponsor": _by(Voice.SPONSOR, StatementKind.LEAVES),
    "a signal": _by(Voice.SIGNAL, StatementKind.LEAVES),
    "a signal that pauses": _by(Voice.SIGNAL, StatementKind.PAUSES),
    "an end date": _by_an_end_date,
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_d11_whichever_way_somebody_is_out_nothing_they_hold_opens_a_door(installed: Flask, way: str) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    held = possessions_of(company.organization_id, ada.person_id, at=now())
    assert held.let_in(at=now()) == EVERYTHING

    WAYS_OUT[way](installed, company, ada.person_id)

    assert held.let_in(at=now() + timedelta(seconds=1)) == set()


def test_d11_every_form_of_off_over_scim_does_the_same(directory: Directory) -> None:
    for way, act in WAYS_OFF.items():
        ada = directory.add_user("ada")
        person = person_of(ada)
        held = possessions_of(person.organization_id, person.id, at=now())
        assert held.let_in(at=now()) == EVERYTHING, way

        act(directory, ada)

        assert held.let_in(at=now()) == set(), way
        directory.send("DELETE", f"/Users/{ada}")


def test_d11_on_its_day_access_ends_though_no_process_of_ours_runs(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    held = possessions_of(company.organization_id, ada.person_id, at=now())

    say(company, ada.person_id, Voice.HR, StatementKind.LEAVES, effective_at=now() + timedelta(minutes=5))

    assert held.let_in(at=now() + timedelta(minutes=4)) >= {"cookie", "access token"}
    assert held.let_in(at=now() + timedelta(minutes=5, seconds=1)) == set()


@pytest.mark.parametrize("back", [StatementKind.RETURNS, StatementKind.REHIRES])
def test_d12_who_comes_back_holds_nothing_old(installed: Flask, back: StatementKind) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    held = possessions_of(company.organization_id, ada.person_id, at=now())
    say(company, ada.person_id, Voice.OPERATOR, StatementKind.LEAVES)

    say(company, ada.person_id, Voice.OPERATOR, back)

    assert company.person(ada).standing == Standing.ACTIVE
    assert held.let_in(at=now()) == set()
    assert possessions_of(company.organization_id, ada.person_id, at=now()).let_in(at=now()) == EVERYTHING


def proofs(company: Company, person_id: str) -> dict[str, Proof]:
    with reading() as session:
        [(_, found), *_] = departures.history(session, company.organization_id, person_id)
        return {name: proof for proof, name in found}


def test_doorlist_tries_its_own_doors_and_says_what_it_closed(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada = company.joins("ada@x.example", "E-1")
    settle(installed, workspace)
    possessions_of(company.organization_id, ada.person_id, at=now())
    possessions_of(company.organization_id, ada.person_id, at=now())

    say(company, ada.person_id, Voice.OPERATOR, StatementKind.LEAVES)
    settle(installed, workspace)

    here = proofs(company, ada.person_id)[HERE]
    assert (here.shut_grade, here.gone_grade) == (Grade.PROBED, Grade.PROBED)
    assert here.closed == {"sessions": 2, "grants": 4, "access_tokens": 2, "refresh_tokens": 2, "devices": 2, "push_tokens": 2}


def test_what_ended_with_an_earlier_departure_is_not_counted_again(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada = company.joins("ada@x.example", "E-1")
    possessions_of(company.organization_id, ada.person_id, at=now())
    say(company, ada.person_id, Voice.OPERATOR, StatementKind.LEAVES)
    say(company, ada.person_id, Voice.OPERATOR, StatementKind.RETURNS)
    possessions_of(company.organization_id, ada.person_id, at=now())

    say(company, ada.person_id, Voice.OPERATOR, StatementKind.LEAVES)
    settle(installed, workspace)

    closed = proofs(company, ada.person_id)[HERE].closed
    assert closed is not None
    assert closed["sessions"] == 1


def test_d03_of_two_workspaces_the_one_that_is_down_is_never_reported_done(installed: Flask) -> None:
    up, down = Workspace(name="up"), Workspace(name="down")
    company, _ = employ(up)
    second = new_id()

    def add(session: Session) -> None:
        session.add(
            WorkspaceRow(
                organization_id=company.organization_id, id=second, name="second", kind="matrix", url="http://nowhere.invalid", sealed_token=b"",
                options={}, created_at=now(),
            )
        )  # fmt: skip

    in_transaction(add)

    class Both:
        def of(self, organization_id: str, workspace_id: str) -> Workspace:
            return down if workspace_id == second else up

    def deliver() -> None:
        workers = crew(installed, up)
        workers._targets = Both()  # type: ignore[assignment]  # the stand-ins keep the same promises
        for _ in range(20):
            workers.run_until_idle()
            make_everything_due()

    ada = company.joins("ada@x.example", "E-1")
    deliver()

    def refuse(what: str, _number: int) -> None:
        raise Unreachable("connection refused", sent=False)

    down.before_call = refuse
    say(company, ada.person_id, Voice.OPERATOR, StatementKind.LEAVES)
    deliver()

    found = proofs(company, ada.person_id)
    assert (found["chat"].shut_at is None, found["second"].shut_at is None, found["second"].gone_at is None) == (False, True, True)
    assert found["second"].last_error == "connection refused"

    down.before_call = None
    deliver()
    assert proofs(company, ada.person_id)["second"].shut_at is not None
    assert down.accounts[only_account(down)].state is AccountState.DEACTIVATED


def test_d05_a_workspace_that_says_yes_and_does_it_later_is_shut_only_then(installed: Flask) -> None:
    class Slow(Workspace):
        def show_access(self, id: AccountId) -> Access:
            return replace(super().show_access(id), sessions=self.still)

        still = 0

    workspace = Slow()
    company, _ = employ(workspace)
    ada = company.joins("ada@x.example", "E-1")
    settle(installed, workspace)
    workspace.still = 2
    say(company, ada.person_id, Voice.OPERATOR, StatementKind.LEAVES)
    worker = crew(installed, workspace)
    for _ in range(3):
        worker.step([Lane.DEPARTURES], "once")
        make_everything_due()

    assert proofs(company, ada.person_id)["chat"].shut_at is None

    workspace.still = 0
    settle(installed, workspace)
    assert proofs(company, ada.person_id)["chat"].shut_grade == Grade.REREAD


@pytest.mark.parametrize("what", ["find_account", "deactivate_account", "show_access"])
def test_d04_a_process_that_dies_at_any_call_leaves_the_departure_to_the_next(installed: Flask, what: str) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada = company.joins("ada@x.example", "E-1")
    settle(installed, workspace)
    say(company, ada.person_id, Voice.OPERATOR, StatementKind.LEAVES)

    def kill(called: str, _number: int) -> None:
        if called == what:
            workspace.before_call = None
            raise Killed

    workspace.before_call = kill
    # What is done here itself may come first; the process dies at the workspace in any case.
    with pytest.raises(Killed):
        settle(installed, workspace)
    assert proofs(company, ada.person_id)["chat"].shut_at is None
    make_everything_due()
    settle(installed, workspace)

    assert proofs(company, ada.person_id)["chat"].shut_at is not None
    assert workspace.accounts[only_account(workspace)].state is AccountState.DEACTIVATED


def test_d02_whatever_asks_on_somebodys_behalf_is_denied_at_its_next_question(installed: Flask) -> None:
    """A socket, an export, a search cursor: behind the gate each question asks anew, with the cookie or the token that was good a moment ago."""
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    held = possessions_of(company.organization_id, ada.person_id, at=now())
    browser, service = installed.test_client(), installed.test_client()
    browser.set_cookie("doorlist_session", held.cookie)
    token = {"Authorization": f"Bearer {held.access_token}"}

    def answers() -> list[int]:
        return [browser.get("/gate").status_code, browser.get("/session").status_code, service.get("/gate", headers=token).status_code]

    before = answers()
    say(company, ada.person_id, Voice.OPERATOR, StatementKind.LEAVES)

    assert all(200 <= status < 300 for status in before)
    assert answers() == [401, 401, 401]


def test_d07_a_directory_that_switches_everybody_off_is_held_and_released_in_one_step(installed: Flask) -> None:
    company = new_company()
    people = [company.joins(f"p{number}@x.example", f"N-{number}") for number in range(60)]
    held = [possessions_of(company.organization_id, one.person_id, at=now()) for one in people]

    for one in people:
        company.says(one, active=False, at=now())
    inside = sum(one.let_in(at=now()) == EVERYTHING for one in held)

    def release(session: Session) -> int:
        [(waiting, lines)] = brake.waiting(session, company.organization_id)
        return len(leaving.release(session, waiting, lines, actor=ADMIN, at=now()))

    assert inside == 10
    assert in_transaction(release) == 10
    assert not any(one.let_in(at=now()) for one in held)


def test_d07_who_is_ended_by_name_is_not_held_up_by_it(installed: Flask) -> None:
    company = new_company()
    people = [company.joins(f"p{number}@x.example", f"N-{number}") for number in range(60)]
    for one in people[:55]:
        company.says(one, active=False, at=now())
    last = possessions_of(company.organization_id, people[-1].person_id, at=now())

    say(company, people[-1].person_id, Voice.OPERATOR, StatementKind.LEAVES)

    assert last.let_in(at=now()) == set()


@pytest.mark.parametrize(
    ("zone", "last_day", "ends"),
    [
        ("Europe/Berlin", "2026-10-24", datetime(2026, 10, 24, 22, tzinfo=UTC)),
        ("Europe/Berlin", "2026-10-25", datetime(2026, 10, 25, 23, tzinfo=UTC)),
        ("America/Sao_Paulo", "2018-11-03", datetime(2018, 11, 4, 3, tzinfo=UTC)),
        ("Pacific/Apia", "2011-12-29", datetime(2011, 12, 30, 10, tzinfo=UTC)),
        ("Asia/Kathmandu", "2028-02-29", datetime(2028, 2, 29, 18, 15, tzinfo=UTC)),
    ],
)
def test_d06_a_last_day_ends_with_that_day_there(zone: str, last_day: str, ends: datetime) -> None:
    """Daylight saving begins and ends, a midnight that does not exist, a day that a country left out, 29 February."""
    body = f'{{"type":"employee.terminated","data":{{"employee_id":"1","last_day_of_work":"{last_day}","time_zone":"{zone}"}}}}'

    assert read(body.encode(), "m", time_zone="UTC").effective_at == ends


def test_d06_a_last_day_in_the_past_ends_access_now(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    held = possessions_of(company.organization_id, ada.person_id, at=now())

    HR(installed, company).call(leaving_call("E-1", last_day_of_work="2020-02-29"))

    assert held.let_in(at=now()) == set()


@pytest.mark.parametrize("address", ["ada+2@x.example", "ada@freemail.example", "Ada+new@other.example"])
def test_d10_a_leaver_who_comes_again_under_another_address_is_noticed(installed: Flask, address: str) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    say(company, ada.person_id, Voice.OPERATOR, StatementKind.LEAVES)
    again = company.joins(address, "E-2")
    company.joins("adam@x.example", "E-3")

    flagged = [flag_look_alikes(company.organization_id, at=now()) for _ in range(2)]

    with reading() as session:
        alarms = session.scalars(select(Alarm).where(Alarm.organization_id == company.organization_id)).all()
    assert flagged == [1, 0]
    assert [(one.kind, one.about) for one in alarms] == [(AlarmKind.LEAVER_SEEN_AGAIN, f"{again.person_id} {ada.person_id}")]


def test_d10_a_namesake_of_somebody_who_stays_is_nobodys_business(installed: Flask) -> None:
    company = new_company()
    company.joins("ada@x.example", "E-1")
    company.joins("ada@y.example", "E-2")

    assert flag_look_alikes(company.organization_id, at=now()) == 0


@pytest.fixture
def burst(installed: Flask) -> Iterator[tuple[Company, list[Possessions], HR]]:
    company = new_company()
    people = [company.joins(f"p{number}@x.example", f"N-{number}") for number in range(60)]
    yield company, [possessions_of(company.organization_id, one.person_id, at=now()) for one in people], HR(installed, company)


def test_d08_a_stolen_hr_secret_takes_out_no_more_than_the_brake_lets_through(burst: tuple[Company, list[Possessions], HR]) -> None:
    company, held, hr = burst

    answers = {hr.call(leaving_call(f"N-{number}", revoke_access="immediately"), event_id=f"m{number}").status_code for number in range(60)}

    assert answers == {200}
    assert sum(one.let_in(at=now()) == EVERYTHING for one in held) == 10
    with reading() as session:
        assert len(session.scalars(select(Person).where(Person.organization_id == company.organization_id, Person.standing == Standing.ACTIVE)).all()) == 10


def test_the_probe_finds_what_would_still_be_let_in(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    possessions_of(company.organization_id, ada.person_id, at=now())

    with reading() as session:
        assert still_let_in(session, company.organization_id, ada.person_id, at=now()) == 7

    say(company, ada.person_id, Voice.OPERATOR, StatementKind.LEAVES)
    with reading() as session:
        assert still_let_in(session, company.organization_id, ada.person_id, at=now()) == 0
        assert session.scalar(select(Work.lane).where(Work.workspace_id == HERE, Work.subject_id == ada.person_id)) == Lane.DEPARTURES
