"""Clocks that are behind: whoever speaks last has spoken last, whatever instant they give."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.tables import Person, Record, Standing, Statement, StatementKind, Voice
from app.journal import entries
from app.journal.tables import Organization
from app.lifecycle import leaving
from app.lifecycle.matching import One
from app.lifecycle.one_person import become_one
from app.lifecycle.order import behind, position
from app.lifecycle.people import reconsider
from app.lifecycle.records import RecordDraft, add_record, change_record, end_record
from app.lifecycle.reinstating import reinstate
from app.lifecycle.sources import set_setting
from tests.company import ADMIN, OKTA, Company, another_source, company_that_holds_all, decides, document, later, new_company

pytestmark = pytest.mark.slow

TAKES = (StatementKind.LEAVES, StatementKind.PAUSES, StatementKind.BARS)
VOICES = (Voice.OPERATOR, Voice.HR, Voice.SPONSOR, Voice.SIGNAL)
OUT = {StatementKind.LEAVES: Standing.DEPARTED, StatementKind.PAUSES: Standing.PAUSED, StatementKind.BARS: Standing.DEPARTED}


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.fixture
def ada(company: Company) -> Record:
    return company.joins("ada@x.example", "E-1")


def says(
    company: Company, record: Record, voice: Voice, kind: StatementKind, *, at: float, effective: float | None = None, received: float | None = None,
    heard_after: int | None = None,
) -> str:  # fmt: skip
    """What somebody's standing is after a voice has spoken; a call that waited was received earlier."""
    return in_transaction(
        lambda s: leaving.say(
            s, company.organization_id, record.person_id, voice=voice, kind=kind, said_by="x", actor=ADMIN, at=later(at), because="test",
            effective_at=later(at if effective is None else effective), received_at=None if received is None else later(received),
            heard_after=heard_after,
        ).standing
    )  # fmt: skip


def deleted(company: Company, record: Record, *, at: float) -> str:
    in_transaction(lambda s: end_record(s, company.organization_id, record.source_id, record.id, actor=OKTA, at=later(at), because="test"))
    return company.person(record).standing


def here() -> int:
    with reading() as session:
        return position(session)


def returned_by_a_clock_ahead(company: Company, record: Record, kind: StatementKind = StatementKind.RETURNS) -> None:
    says(company, record, Voice.OPERATOR, StatementKind.LEAVES, at=1)
    assert says(company, record, Voice.OPERATOR, kind, at=100) == Standing.ACTIVE


def test_only_instants_that_run_back_are_moved() -> None:
    assert behind([], at=later(1)) == later(1)
    assert behind([later(1), later(0)], at=later(1)) == later(1)
    assert behind([later(2), later(1)], at=later(1)) == later(2.000001)


# What takes access


@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize("kind", TAKES)
@pytest.mark.parametrize("back", [StatementKind.RETURNS, StatementKind.REHIRES])
def test_a_leaver_is_out_though_a_return_has_a_later_instant(company: Company, ada: Record, voice: Voice, kind: StatementKind, back: StatementKind) -> None:
    returned_by_a_clock_ahead(company, ada, back)

    assert says(company, ada, voice, kind, at=50) == OUT[kind]


@pytest.mark.parametrize("takes", [lambda c, r: c.says(r, active=False, at=later(50)), lambda c, r: deleted(c, r, at=50)])
def test_so_is_whom_a_directory_switches_off_or_deletes(company: Company, ada: Record, takes: Callable[[Company, Record], object]) -> None:
    returned_by_a_clock_ahead(company, ada)

    takes(company, ada)

    assert company.person(ada).standing == Standing.DEPARTED


def test_so_is_whom_another_directory_names_as_switched_off(company: Company, ada: Record) -> None:
    company.says(ada, active=False, at=later(60))
    assert says(company, ada, Voice.OPERATOR, StatementKind.RETURNS, at=100) == Standing.ACTIVE

    draft = RecordDraft(external_id="e", user_name="ada@y.example", active=False, document=document("ada@y.example", "E-1"))
    entra, same = another_source(company, "entra"), One(person_id=ada.person_id, by="test")
    in_transaction(lambda s: add_record(s, company.organization_id, entra, draft, match=same, actor=OKTA, at=later(50), because="test"))

    assert company.person(ada).standing == Standing.DEPARTED


def test_so_is_who_is_given_a_user_that_is_off(company: Company, ada: Record) -> None:
    in_transaction(
        lambda s: set_setting(s, s.get_one(Organization, company.organization_id), "matching", "employeeNumber", actor=ADMIN, at=later(0))
    )
    bob = company.joins("bob@x.example", "E-2", source_id=another_source(company, "entra"))
    company.says(bob, active=False, at=later(1))
    assert says(company, bob, Voice.OPERATOR, StatementKind.RETURNS, at=100) == Standing.ACTIVE
    company.says(ada, active=False, at=later(2))

    bobs = RecordDraft(external_id="another", user_name="bob@x.example", active=False, document=document("bob@x.example", "E-2"))
    given = in_transaction(
        lambda s: change_record(s, company.organization_id, company.source_id, ada.id, bobs, actor=OKTA, at=later(50), because="test")
    )

    assert given.person_id == bob.person_id
    assert company.person(bob).standing == Standing.DEPARTED


def test_so_is_whose_off_comes_to_mean_that_they_left(company: Company, ada: Record) -> None:
    off = RecordDraft(external_id=ada.external_id, user_name=ada.user_name, active=False, document=ada.document)

    def means(what: Standing, *, at: float) -> None:
        draft = RecordDraft(**{**off.__dict__, "off_means": what})
        in_transaction(
            lambda s: change_record(s, company.organization_id, ada.source_id, ada.id, draft, actor=OKTA, at=later(at), because="test")
        )

    means(Standing.PAUSED, at=1)
    assert says(company, ada, Voice.OPERATOR, StatementKind.RETURNS, at=100) == Standing.ACTIVE
    means(Standing.DEPARTED, at=50)

    assert company.person(ada).standing == Standing.DEPARTED


def test_whoever_is_to_start_later_is_out_until_then(company: Company, ada: Record) -> None:
    says(company, ada, Voice.OPERATOR, StatementKind.STARTS, at=100)

    assert says(company, ada, Voice.OPERATOR, StatementKind.STARTS, at=50, effective=500) == Standing.EXPECTED


def test_what_the_brake_holds_counts_once_it_is_let_through(installed: Flask) -> None:
    company = company_that_holds_all()
    ada = company.joins("ada@x.example")
    returned_by_a_clock_ahead(company, ada)
    company.says(ada, active=False, at=later(50))
    assert company.person(ada).standing == Standing.ACTIVE

    decides(company, leaving.release, at=60)

    assert company.person(ada).standing == Standing.DEPARTED


# Comebacks


@pytest.mark.parametrize("kind", TAKES)
def test_a_return_by_a_clock_behind_undoes_what_was_said_before_it(company: Company, ada: Record, kind: StatementKind) -> None:
    says(company, ada, Voice.OPERATOR, kind, at=100)

    assert says(company, ada, Voice.OPERATOR, StatementKind.RETURNS, at=50) == Standing.ACTIVE


def test_it_calls_off_what_was_announced_before_it(company: Company, ada: Record) -> None:
    says(company, ada, Voice.HR, StatementKind.LEAVES, at=100, effective=200)
    says(company, ada, Voice.HR, StatementKind.RETURNS, at=50)

    in_transaction(lambda s: reconsider(s, company.organization_id, ada.person_id, at=later(300)))

    assert company.person(ada).standing == Standing.ACTIVE


def test_it_undoes_what_a_directory_said_before_it(company: Company, ada: Record) -> None:
    company.says(ada, active=False, at=later(100))

    assert says(company, ada, Voice.OPERATOR, StatementKind.RETURNS, at=50) == Standing.ACTIVE


# Dates, where a clock was a year ahead

YEAR = 365 * 86_400


def at_last(company: Company, record: Record, *, at: float) -> tuple[str, str]:
    """What somebody's standing is just before an instant, and at it."""
    found = []
    for instant in (at - 1, at):
        in_transaction(lambda s, instant=instant: reconsider(s, company.organization_id, record.person_id, at=later(instant)))  # type: ignore[misc]
        found.append(company.person(record).standing)
    return found[0], found[1]


def reinstated(company: Company, record: Record, *, at: float) -> None:
    """By an operator who vouches that this clock is right."""
    in_transaction(
        lambda s: reinstate(s, company.organization_id, record.person_id, said_by="ana", reason="the clock", actor=ADMIN, at=later(at))
    )
    assert company.person(record).standing == Standing.ACTIVE


def test_a_last_day_that_is_announced_comes_on_that_day(company: Company, ada: Record) -> None:
    says(company, ada, Voice.OPERATOR, StatementKind.LEAVES, at=YEAR)
    reinstated(company, ada, at=10)

    assert says(company, ada, Voice.HR, StatementKind.LEAVES, at=20, effective=1000) == Standing.ACTIVE

    assert company.person(ada).access_until == later(1000)
    assert at_last(company, ada, at=1000) == (Standing.ACTIVE, Standing.DEPARTED)


def test_a_last_day_that_is_called_off_is_called_off_for_good(company: Company, ada: Record) -> None:
    """Not outranked alone: whoever asks HR's list again must not take it for announced still."""
    says(company, ada, Voice.OPERATOR, StatementKind.LEAVES, at=YEAR)
    reinstated(company, ada, at=10)
    says(company, ada, Voice.HR, StatementKind.LEAVES, at=20, effective=1000)

    says(company, ada, Voice.HR, StatementKind.RETURNS, at=30)

    with reading() as session:
        announced = session.scalars(select(Statement).where(Statement.voice == Voice.HR, Statement.kind == StatementKind.LEAVES)).one()
    assert announced.withdrawn_at == later(30)
    assert at_last(company, ada, at=1000) == (Standing.ACTIVE, Standing.ACTIVE)


def test_the_last_day_of_a_record_comes_on_that_day(company: Company) -> None:
    draft = RecordDraft(
        external_id="e", user_name="cem@x.example", active=True, document=document("cem@x.example", "E-3"), starts_at=None, ends_at=later(1000)
    )
    cem = in_transaction(lambda s: add_record(s, company.organization_id, company.source_id, draft, actor=OKTA, at=later(0), because="test"))
    says(company, cem, Voice.OPERATOR, StatementKind.LEAVES, at=YEAR)
    reinstated(company, cem, at=10)

    assert at_last(company, cem, at=1000) == (Standing.ACTIVE, Standing.DEPARTED)


def test_a_last_day_that_was_announced_before_a_reinstatement_still_comes(company: Company, ada: Record) -> None:
    says(company, ada, Voice.HR, StatementKind.LEAVES, at=5, effective=1000)
    says(company, ada, Voice.OPERATOR, StatementKind.LEAVES, at=YEAR)
    reinstated(company, ada, at=10)

    assert company.person(ada).access_until == later(1000)
    assert at_last(company, ada, at=1000) == (Standing.ACTIVE, Standing.DEPARTED)


# Calls that waited


def test_a_call_that_came_after_a_return_takes_access_though_it_waited(company: Company, ada: Record) -> None:
    returned_by_a_clock_ahead(company, ada)

    assert says(company, ada, Voice.HR, StatementKind.LEAVES, at=120, received=50, heard_after=here()) == Standing.DEPARTED


def test_a_call_that_came_before_a_return_and_waited_is_undone_by_it(company: Company, ada: Record) -> None:
    came = here()
    returned_by_a_clock_ahead(company, ada)

    assert says(company, ada, Voice.HR, StatementKind.LEAVES, at=120, received=50, heard_after=came) == Standing.ACTIVE


@pytest.mark.parametrize("takes", [
    lambda c, r: says(c, r, Voice.HR, StatementKind.LEAVES, at=50), lambda c, r: c.says(r, active=False, at=later(50)),
    lambda c, r: deleted(c, r, at=50),
])  # fmt: skip
def test_a_rehire_that_waited_undoes_nothing_that_was_said_since(
    company: Company, ada: Record, takes: Callable[[Company, Record], object]
) -> None:
    came = here()
    takes(company, ada)

    assert says(company, ada, Voice.HR, StatementKind.REHIRES, at=120, received=100, heard_after=came) == Standing.DEPARTED


def test_it_undoes_what_was_said_before_though_the_record_has_changed_since(company: Company, ada: Record) -> None:
    company.says(ada, active=False, at=later(1))
    came = here()
    draft = RecordDraft(external_id=ada.external_id, user_name="ada.l@x.example", active=False, document=ada.document)
    in_transaction(lambda s: change_record(s, company.organization_id, ada.source_id, ada.id, draft, actor=OKTA, at=later(20), because="test"))
    deleted(company, ada, at=30)

    assert says(company, ada, Voice.HR, StatementKind.REHIRES, at=120, received=10, heard_after=came) == Standing.ACTIVE


@pytest.mark.parametrize("of_before_the_journal_was_asked", [False, True])
def test_it_undoes_what_was_said_before_of_whoever_turned_out_to_be_the_same(
    company: Company, ada: Record, of_before_the_journal_was_asked: bool
) -> None:
    other = company.joins("ada@y.example", "E-2")
    says(company, other, Voice.HR, StatementKind.LEAVES, at=1)
    if of_before_the_journal_was_asked:
        in_transaction(lambda s: _as_it_was_stored_before(s, company, other.person_id))
    came = here()
    in_transaction(
        lambda s: become_one(s, company.organization_id, other.person_id, ada.person_id, actor=ADMIN, at=later(20), because="test")
    )
    assert company.person(ada).standing == Standing.DEPARTED

    assert says(company, ada, Voice.HR, StatementKind.REHIRES, at=120, received=10, heard_after=came) == Standing.ACTIVE


def _as_it_was_stored_before(session: Session, company: Company, person_id: str) -> None:
    entry = entries.write(
        session, company.organization_id, at=later(2), actor=ADMIN, verb="test", because="test", subject_kind="person", subject_id=person_id
    )
    session.execute(
        update(Statement).where(Statement.person_id == person_id).values(heard_at=None, heard_after=None, said_in=None, journal_id=entry)
    )


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_that_waited_the_later_one_counts_in_whichever_order_they_are_acted_on(company: Company, ada: Record, order: Sequence[int]) -> None:
    came = here()
    calls = ((StatementKind.LEAVES, 50.0), (StatementKind.REHIRES, 60.0))

    for number in order:
        kind, received = calls[number]
        says(company, ada, Voice.HR, kind, at=120, received=received, heard_after=came)

    assert company.person(ada).standing == Standing.ACTIVE


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_that_waited_the_one_further_on_in_the_journal_counts_whatever_their_clocks(
    company: Company, ada: Record, order: Sequence[int]
) -> None:
    first = here()
    company.joins("bob@x.example")
    calls = ((StatementKind.REHIRES, 100.0, first), (StatementKind.LEAVES, 50.0, here()))

    for number in order:
        kind, received, came = calls[number]
        says(company, ada, Voice.HR, kind, at=120, received=received, heard_after=came)

    assert company.person(ada).standing == Standing.DEPARTED


# All of it


Verb = Callable[[Company, Record, float], object]
VERBS: tuple[Verb, ...] = (
    *(
        lambda c, r, at, v=voice, k=kind: says(c, r, v, k, at=at)  # defaults bind the loop's values
        for voice in VOICES
        for kind in (*TAKES, StatementKind.RETURNS, StatementKind.REHIRES)
    ),
    lambda c, r, at: c.says(r, active=False, at=later(at)),
    lambda c, r, at: c.says(r, active=True, at=later(at)),
)


@pytest.mark.parametrize("seed", range(20))
def test_clocks_that_jump_decide_as_clocks_that_are_right(company: Company, seed: int) -> None:
    chance = random.Random(seed)
    right, wrong = company.joins("ada@x.example", at=later(-1000)), company.joins("bob@x.example", at=later(-1000))
    for step in range(30):
        verb = chance.choice(VERBS)
        verb(company, right, step)
        verb(company, wrong, chance.randrange(-500, 500))

        told = [(one.standing, one.standing_reason) for one in map(company.person, (right, wrong))]
        assert told[0] == told[1], f"step {step}"


def test_what_is_shown_is_when_it_was_said(company: Company, ada: Record) -> None:
    returned_by_a_clock_ahead(company, ada)
    says(company, ada, Voice.OPERATOR, StatementKind.LEAVES, at=50)

    with reading() as session:
        told = session.scalars(select(Statement).where(Statement.person_id == ada.person_id).order_by(Statement.said_at)).all()
        assert session.get_one(Person, (company.organization_id, ada.person_id)).standing == Standing.DEPARTED
    assert [one.heard_at for one in told] == [later(1), later(100), later(50)]
    assert told[-1].said_at == later(100.000001)
