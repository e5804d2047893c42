"""Somebody is spoken of while they become one with somebody else: whatever is said then is said of the one who is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.tables import Person, Record, Standing, StatementKind, Voice
from app.intake.hr_systems import link
from app.intake.hr_tables import HRPerson
from app.journal.tables import Entry, Organization
from app.lifecycle import brake, leaving, legal_hold, questions, reinstating
from app.lifecycle.answering import answer
from app.lifecycle.errors import TurnedOut
from app.lifecycle.matching import Candidate, Doubt
from app.lifecycle.people import find_people
from app.lifecycle.records import add_record, change_record
from app.lifecycle.signing_out import sign_out_everywhere
from app.lifecycle.sources import find_source, set_setting
from app.signals import whom
from app.signals.subjects import IssSub
from app.signals.whom import Nobody, One, Scope
from tests.company import ADMIN, OKTA, Company, another_source, later, new_company
from tests.hr_system import HR
from tests.hr_system import leaving as hr_says_leaving
from tests.two_at_once import meanwhile
from tests.unit.intake.pulled_company import pulled_company
from tests.unit.intake.scripted_directory import person as entry
from tests.unit.lifecycle.asking import answers, draft, person, pushes, record

pytestmark = pytest.mark.slow

Verb = Callable[[Session, str, str], object]


@dataclass(frozen=True, kw_only=True)
class Two:
    """`ada`, and `again` of whom is asked whether they are the same person; each has a number of their own."""

    company: Company
    entra: str
    ada: str
    again: str
    record_id: str

    def same(self, session: Session) -> Person:
        """An administrator says that they are, in a transaction of the caller's own."""
        return answer(session, self.company.organization_id, 1, same_as=self.ada, actor=ADMIN, at=later(10))

    def known_by_address(self, verb: Verb) -> Callable[[Session], object]:
        """The verb on `again`, by somebody who knows them by an address."""

        def act(session: Session) -> object:
            return verb(session, self.company.organization_id, self.found(session).id)

        return act

    def found(self, session: Session) -> Person:
        [meant] = find_people(session, self.company.organization_id, "lovelace@y.example")
        return meant


def two(company: Company) -> Two:
    entra = another_source(company, "entra")
    ada = company.joins("ada@x.example", "E-1")
    again = pushes(company, entra, draft("lovelace@y.example", "E-1"))
    renumbered = draft("lovelace@y.example", "E-2")
    in_transaction(
        lambda session: change_record(session, company.organization_id, entra, again.id, renumbered, actor=OKTA, at=later(1), because="push")
    )
    return Two(company=company, entra=entra, ada=ada.person_id, again=again.person_id, record_id=again.id)


@pytest.fixture
def pair(installed: Flask) -> Two:
    return two(new_company())


def chooses(company: Company, key: str, value: str) -> None:
    in_transaction(lambda s: set_setting(s, s.get_one(Organization, company.organization_id), key, value, actor=ADMIN, at=later(2)))


def departs(session: Session, organization_id: str, person_id: str) -> object:
    return leaving.say(
        session, organization_id, person_id, voice=Voice.OPERATOR, kind=StatementKind.LEAVES, said_by="ana", effective_at=later(11), actor=ADMIN,
        at=later(11), because="doorlist depart",
    )  # fmt: skip


def signs_out(session: Session, organization_id: str, person_id: str) -> object:
    return sign_out_everywhere(session, organization_id, person_id, actor=ADMIN, at=later(11), because="test")


def holds(session: Session, organization_id: str, person_id: str) -> object:
    return legal_hold.place(session, organization_id, person_id, reason="a claim", ordered_by="counsel", actor=ADMIN, at=later(11))


def reinstates(session: Session, organization_id: str, person_id: str) -> object:
    return reinstating.reinstate(session, organization_id, person_id, said_by="ana", reason="a mistake", actor=ADMIN, at=later(11))


def test_whoever_is_to_leave_has_left(installed: Flask, pair: Two) -> None:
    meanwhile(installed, pair.same, lambda: in_transaction(pair.known_by_address(departs)))

    assert person(pair.company, pair.ada).standing == Standing.DEPARTED


def test_whom_an_hr_system_lets_go_has_left(installed: Flask, pair: Two) -> None:
    system = HR(installed, pair.company)

    _, answered = meanwhile(installed, pair.same, lambda: system.call(hr_says_leaving("E-2", revoke_access="immediately")))

    assert answered.json == {"state": "applied"}
    assert person(pair.company, pair.ada).standing == Standing.DEPARTED


def test_whoever_is_to_be_signed_out_is(installed: Flask, pair: Two) -> None:
    def out(session: Session) -> object:
        meant = pair.known_by_address(signs_out)(session)
        assert isinstance(meant, Person)
        return meant.id

    _, meant = meanwhile(installed, pair.same, lambda: in_transaction(out))

    assert meant == pair.ada


def test_what_is_to_be_kept_of_them_is(installed: Flask, pair: Two) -> None:
    meanwhile(installed, pair.same, lambda: in_transaction(pair.known_by_address(holds)))

    with reading() as session:
        assert len(legal_hold.standing(session, pair.company.organization_id, pair.ada)) == 1


def test_an_id_that_an_hr_system_is_said_to_call_them_by_is_the_others(installed: Flask, pair: Two) -> None:
    HR(installed, pair.company)

    def links(session: Session) -> None:
        source = find_source(session, pair.company.organization_id, "hr")
        link(session, source, "W-7", pair.found(session), actor=ADMIN, at=later(11))

    meanwhile(installed, pair.same, lambda: in_transaction(links))

    with reading() as session:
        assert session.scalars(select(HRPerson.person_id)).all() == [pair.ada]


def test_who_is_just_being_switched_off_is_out_as_the_other_whom_their_directory_has_off(installed: Flask, pair: Two) -> None:
    company = pair.company
    with reading() as session:
        first = session.scalars(select(Record).where(Record.person_id == pair.ada)).one()
    company.says(first, active=False, at=later(2))

    def off(session: Session) -> Record:
        said = draft("lovelace@y.example", "E-2", active=False)
        return change_record(session, company.organization_id, pair.entra, pair.record_id, said, actor=OKTA, at=later(9), because="push")

    meanwhile(installed, off, lambda: in_transaction(pair.same))

    assert person(company, pair.ada).standing == Standing.DEPARTED


# Where addresses are matched by. Who has a number is held by it as well.


def test_who_joins_by_their_address_joins_the_other(installed: Flask, pair: Two) -> None:
    company = pair.company
    chooses(company, "matching", "email")
    keycloak, said = another_source(company, "keycloak"), draft("lovelace@y.example")

    def join(session: Session) -> Record:
        return add_record(session, company.organization_id, keycloak, said, actor=OKTA, at=later(11), because="push")

    _, third = meanwhile(installed, pair.same, lambda: in_transaction(join))

    assert third.person_id == pair.ada
    assert person(company, pair.ada).standing == Standing.ACTIVE


def test_who_is_pulled_under_their_address_joins_the_other(installed: Flask) -> None:
    corp = pulled_company()
    pair = two(corp.company)
    chooses(corp.company, "matching", "email")
    corp.directory.put(entry("al", "lovelace@y.example"))

    _, outcome = meanwhile(installed, pair.same, corp.pull)

    assert corp.records()["lovelace@y.example"].person_id == pair.ada
    assert list(outcome.notes) == []


def test_a_successor_who_has_their_address_is_the_other(installed: Flask, pair: Two) -> None:
    company = pair.company
    chooses(company, "matching", "email")
    keycloak = another_source(company, "keycloak")
    bob = company.joins("bob@x.example", source_id=keycloak)
    company.says(bob, active=False, at=later(2))
    said = draft("lovelace@y.example", external_id="another")

    def give(session: Session) -> Record:
        return change_record(session, company.organization_id, keycloak, bob.id, said, actor=OKTA, at=later(11), because="push")

    _, given = meanwhile(installed, pair.same, lambda: in_transaction(give))

    assert given.person_id == pair.ada


def test_what_was_held_of_them_and_is_let_through_takes_effect(installed: Flask, pair: Two) -> None:
    company = pair.company
    chooses(company, "push_brake", "0/60s")
    HR(installed, company).call(hr_says_leaving("E-2", revoke_access="immediately"))

    def release(session: Session) -> None:
        [(held, lines)] = brake.waiting(session, company.organization_id)
        leaving.release(session, held, lines, actor=ADMIN, at=later(11))

    meanwhile(installed, pair.same, lambda: in_transaction(release))

    assert person(company, pair.ada).standing == Standing.DEPARTED


def test_a_question_that_was_asked_while_they_became_one_joins_nobody_to_who_is_not_there(installed: Flask, pair: Two) -> None:
    company = pair.company
    in_transaction(pair.same)
    bob = company.joins("bob@x.example", "E-3")
    doubt = Doubt(reason="asked meanwhile", candidates=(Candidate(person_id=pair.again, because="has the number"),))
    in_transaction(
        lambda session: questions.ask(session, company.organization_id, company.source_id, doubt, record_id=bob.id, actor=OKTA, at=later(11))
    )

    with pytest.raises(TurnedOut):
        answers(company, 2, pair.again, at=12)

    assert record(company, bob.id).person_id == bob.person_id
    assert person(company, bob.person_id).standing == Standing.ACTIVE


def test_a_signal_that_names_them_by_our_own_id_means_nobody(installed: Flask, pair: Two) -> None:
    scope = Scope(organization_id=pair.company.organization_id, issuer="https://idp.example", ours="https://doorlist.example")
    theirs = IssSub(iss="https://doorlist.example", sub=pair.again)
    with reading() as session:
        assert whom.find(session, theirs, scope) == One(person_id=pair.again)

    in_transaction(pair.same)

    with reading() as session:
        assert isinstance(whom.find(session, theirs, scope), Nobody)


def test_what_stays_with_their_own_account_may_still_be_kept(installed: Flask, pair: Two) -> None:
    in_transaction(pair.same)

    in_transaction(lambda session: holds(session, pair.company.organization_id, pair.again))

    with reading() as session:
        assert len(legal_hold.standing(session, pair.company.organization_id, pair.again)) == 1


@pytest.mark.parametrize("verb", [departs, signs_out, reinstates])
def test_by_their_own_id_nothing_is_said_of_them_any_more_and_somebody_hears_it(installed: Flask, pair: Two, verb: Verb) -> None:
    in_transaction(pair.same)
    with reading() as session:
        before = session.scalars(select(Entry.id)).all()

    with pytest.raises(TurnedOut, match=rf"lovelace@y.example \(now {pair.ada}\)"):
        in_transaction(lambda session: verb(session, pair.company.organization_id, pair.again))

    with reading() as session:
        assert session.scalars(select(Entry.id)).all() == before
    assert person(pair.company, pair.again).standing == Standing.DEPARTED
    assert person(pair.company, pair.ada).standing == Standing.ACTIVE
