"""What the brake holds while several processes push, take back and release at once: nothing is lost, and nothing is left over."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from flask import Flask
from sqlalchemy import delete, insert, select, text
from sqlalchemy.orm import Session

from app.database import db, in_transaction, new_id, reading, transaction
from app.directory.settings import DEFAULTS, parse_push_brake
from app.directory.tables import Record, Standing
from app.journal.tables import Organization, Work
from app.lifecycle import brake, leaving
from app.lifecycle.errors import WorldMoved
from app.lifecycle.records import RecordDraft, change_record, end_record
from app.lifecycle.sources import set_setting
from app.lifecycle.tables import Held, HeldLine, HeldState
from tests.company import ADMIN, OKTA, Company, later, new_company
from tests.hr_system import HR
from tests.hr_system import leaving as hr_says_leaving
from tests.two_at_once import meanwhile
from tests.work_counted import work_counted


@pytest.fixture
def company(installed: Flask) -> Company:
    """One whose sources may take nobody's access by themselves."""
    made = new_company()
    in_transaction(lambda s: set_setting(s, s.get_one(Organization, made.organization_id), "push_brake", "0/60s", actor=ADMIN, at=later(0)))
    return made


def says(company: Company, record: Record, *, active: bool, at: float) -> Callable[[Session], object]:
    """For a transaction of the caller's own, as another process would have it open."""
    draft = RecordDraft(external_id=record.external_id, user_name=record.user_name, active=active, document=record.document)
    return lambda session: change_record(
        session, company.organization_id, company.source_id, record.id, draft, actor=OKTA, at=later(at), because="test"
    )


def waiting(company: Company) -> list[set[str | None]]:
    with reading() as session:
        return [{line.person_id for line in lines} for _, lines in brake.waiting(session, company.organization_id)]


def test_an_off_that_comes_while_others_are_released_goes_on_waiting(installed: Flask, company: Company) -> None:
    ada, bob = company.joins("ada@x.example"), company.joins("bob@x.example")
    company.says(ada, active=False, at=later(1))
    with reading() as session:
        [(held, lines)] = brake.waiting(session, company.organization_id)
        digest = brake.digest_of(held, lines)

    def release(session: Session) -> None:
        # On SQLite, where one writes after the other, what was seen has changed by then.
        with suppress(WorldMoved):
            leaving.release(session, *brake.find(session, company.organization_id, digest), actor=ADMIN, at=later(3))

    meanwhile(installed, says(company, bob, active=False, at=2), lambda: in_transaction(release))

    [people] = waiting(company)
    assert bob.person_id in people
    assert company.person(bob).standing == Standing.ACTIVE


def test_an_off_that_comes_while_the_last_is_released_waits_in_a_burst_of_its_own(installed: Flask, company: Company) -> None:
    ada, bob = company.joins("ada@x.example"), company.joins("bob@x.example")
    company.says(ada, active=False, at=later(1))
    with reading() as session:
        [(held, lines)] = brake.waiting(session, company.organization_id)
        digest = brake.digest_of(held, lines)

    def release(session: Session) -> None:
        leaving.release(session, *brake.find(session, company.organization_id, digest), actor=ADMIN, at=later(3))

    meanwhile(installed, release, lambda: in_transaction(says(company, bob, active=False, at=2)))

    assert waiting(company) == [{bob.person_id}]
    assert (company.person(ada).standing, company.person(bob).standing) == (Standing.DEPARTED, Standing.ACTIVE)


Decides = Callable[[Session, Held, list[HeldLine]], object]


def releases(session: Session, held: Held, lines: list[HeldLine]) -> object:
    return leaving.release(session, held, lines, actor=ADMIN, at=later(3))


def rejects(session: Session, held: Held, lines: list[HeldLine]) -> object:
    return leaving.reject(session, held, lines, actor=ADMIN, at=later(3))


def decided(company: Company, digest: str, decide: Decides) -> Callable[[Session], object]:
    return lambda session: decide(session, *brake.find(session, company.organization_id, digest))


def is_refused(act: Callable[[Session], object]) -> bool:
    """Whether what was seen waited no more; then nothing was done."""
    try:
        in_transaction(act)
    except WorldMoved:
        return True
    return False


def digest_of(company: Company) -> str:
    with reading() as session:
        [(held, lines)] = brake.waiting(session, company.organization_id)
        return brake.digest_of(held, lines)


@pytest.mark.parametrize(("first", "second", "standing"), [(releases, rejects, Standing.DEPARTED), (rejects, releases, Standing.ACTIVE)])
def test_of_two_who_decide_at_once_one_does(installed: Flask, company: Company, first: Decides, second: Decides, standing: Standing) -> None:
    ada = company.joins("ada@x.example")
    company.says(ada, active=False, at=later(1))
    digest = digest_of(company)

    refused = meanwhile(installed, decided(company, digest, first), lambda: is_refused(decided(company, digest, second)))[1]

    assert refused
    assert company.person(ada).standing == standing


def test_an_off_that_is_said_anew_while_the_one_before_is_rejected_goes_on_waiting(installed: Flask, company: Company) -> None:
    ada = company.joins("ada@x.example")
    company.says(ada, active=False, at=later(1))
    digest = digest_of(company)

    def anew(session: Session) -> None:
        for active, at in ((True, 2), (False, 3)):
            says(company, ada, active=active, at=at)(session)
            session.flush()

    refused = meanwhile(installed, anew, lambda: is_refused(decided(company, digest, rejects)))[1]

    assert refused
    assert waiting(company) == [{ada.person_id}]


def test_the_first_two_that_are_held_at_once_wait_together(installed: Flask, company: Company) -> None:
    ada, bob = company.joins("ada@x.example"), company.joins("bob@x.example")

    meanwhile(installed, says(company, ada, active=False, at=1), lambda: in_transaction(says(company, bob, active=False, at=2)))

    assert waiting(company) == [{ada.person_id, bob.person_id}]


def test_in_the_middle_of_a_burst_none_waits_for_another(installed: Flask, company: Company) -> None:
    if db.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time anyway")
    ada, bob = company.joins("ada@x.example"), company.joins("bob@x.example")
    company.says(company.joins("carl@x.example"), active=False, at=later(1))

    with transaction() as session:
        says(company, ada, active=False, at=2)(session)
        session.flush()
        with ThreadPoolExecutor(1) as other:
            other.submit(_in_app, installed, says(company, bob, active=False, at=2)).result(timeout=10)
        assert [len(people) for people in waiting(company)] == [2]

    assert [len(people) for people in waiting(company)] == [3]


def _in_app(app: Flask, act: Callable[[Session], object]) -> None:
    with app.app_context():
        # Whoever has to wait fails by it, before this test is given up.
        in_transaction(lambda session: (session.execute(text("SET LOCAL lock_timeout = '5s'")), act(session)))


def test_two_that_are_taken_back_at_once_leave_nothing_held(installed: Flask, company: Company) -> None:
    ada, bob = (company.says(company.joins(name), active=False, at=later(1)) for name in ("ada@x.example", "bob@x.example"))

    meanwhile(installed, says(company, ada, active=True, at=2), lambda: in_transaction(says(company, bob, active=True, at=2)))

    assert waiting(company) == []


def _waits(company: Company, *, taken_back: int) -> str:
    """A burst of which so many lines were taken back and two wait; gives whose the first of the two is."""
    held_id = new_id()

    def act(session: Session) -> None:
        key = {"organization_id": company.organization_id, "held_id": held_id, "subject_kind": "record"}
        said = {"version": "1", "becomes": "off", "created_at": later(0)}
        session.add(Held(organization_id=company.organization_id, id=held_id, kind="pushes", source_id="s", reason="many", created_at=later(0)))
        lines = [
            {**key, **said, "subject_id": f"{held_id}-{number:06}", "state": HeldState.WITHDRAWN if number < taken_back else HeldState.OPEN}
            for number in range(taken_back + 2)
        ]
        session.execute(insert(HeldLine), lines)

    in_transaction(act)
    return f"{held_id}-{taken_back:06}"


def test_taking_one_back_costs_the_same_however_many_were_taken_back_before(company: Company) -> None:
    few, many = _waits(company, taken_back=10), _waits(company, taken_back=3000)
    with db.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            # As it does by itself a while after so much has come; SQLite knows what is many.
            connection.exec_driver_sql("ANALYZE held_line")
            connection.commit()

    with work_counted(db.engine) as count:
        costs = [count(lambda one=one: in_transaction(lambda session: brake.withdraw(session, company.organization_id, one))) for one in (few, many)]  # type: ignore[misc]  # defaults bind the loop's values

    assert costs[1] <= 2 * costs[0] + 50


def test_what_hr_takes_back_waits_no_more(installed: Flask, company: Company) -> None:
    ada, bob = company.joins("ada@x.example", "E-1"), company.joins("bob@x.example", "E-2")
    hr = HR(installed, company)
    for number in (1, 2):
        assert hr.call(hr_says_leaving(f"E-{number}", revoke_access="immediately"), event_id=f"msg_{number}").status_code == 200
    assert waiting(company) == [{ada.person_id, bob.person_id}]

    hr.call({"type": "employee.termination_cancelled", "data": {"employee_id": "E-1"}}, event_id="msg_3")

    assert waiting(company) == [{bob.person_id}]
    assert company.person(ada).standing == Standing.ACTIVE


def test_a_deletion_that_is_held_of_somebody_in_no_group_has_nothing_delivered(installed: Flask, company: Company) -> None:
    ada = company.joins("ada@x.example")
    in_transaction(lambda session: session.execute(delete(Work)))

    in_transaction(lambda session: end_record(session, company.organization_id, company.source_id, ada.id, actor=OKTA, at=later(1), because="test"))

    with reading() as session:
        assert session.scalars(select(Work)).all() == []
    assert waiting(company) == [{ada.person_id}]


def test_an_off_that_is_taken_back_and_said_again_waits_as_one(installed: Flask, company: Company) -> None:
    ada, bob = company.joins("ada@x.example"), company.joins("bob@x.example")
    for at, record, active in ((1, ada, False), (2, bob, False), (3, ada, True), (4, ada, False)):
        company.says(record, active=active, at=later(at))

    with reading() as session:
        [(_, lines)] = brake.waiting(session, company.organization_id)
        assert {(line.person_id, line.version) for line in lines} == {(ada.person_id, later(4).isoformat()), (bob.person_id, later(2).isoformat())}


def test_an_off_that_is_taken_back_and_said_again_counts_once_and_from_then_on(company: Company) -> None:
    in_transaction(lambda s: set_setting(s, s.get_one(Organization, company.organization_id), "push_brake", "2/60s", actor=ADMIN, at=later(0)))
    ada, bob, cleo = (company.joins(f"{name}@x.example") for name in ("ada", "bob", "cleo"))

    for at, record, active in ((1, ada, False), (2, ada, True), (3, ada, False), (4, bob, False), (62, cleo, False)):
        company.says(record, active=active, at=later(at))

    assert waiting(company) == [{cleo.person_id}]


def test_a_brake_that_cannot_be_read_lets_through_what_it_does_by_default(company: Company) -> None:
    def spoil(session: Session) -> None:
        session.get_one(Organization, company.organization_id).settings = {"push_brake": "many"}

    by_default = parse_push_brake(DEFAULTS["push_brake"])
    assert by_default is not None
    people = [company.joins(f"p{number}@x.example") for number in range(by_default.most + 2)]
    in_transaction(spoil)

    for record in people:
        company.says(record, active=False, at=later(1))

    assert [company.person(record).standing for record in people] == [Standing.DEPARTED] * by_default.most + [Standing.ACTIVE] * 2
    assert waiting(company) == [{record.person_id for record in people[by_default.most :]}]
    with reading() as session:
        [(held, _)] = brake.waiting(session, company.organization_id)
    assert f"push_brake = {DEFAULTS['push_brake']} allows" in held.reason
