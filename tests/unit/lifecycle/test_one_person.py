"""A record that was pushed turns out to be somebody's who is here: two people become one, and only one of them is let in."""

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.connection_tables import Identity
from app.database import in_transaction, reading
from app.directory.tables import Membership, Person, Source, Standing, Statement, StatementKind, Voice
from app.intake import hr
from app.intake.hr_tables import HRPerson
from app.journal.tables import Subject, Work
from app.lifecycle import leaving, legal_hold, matching
from app.lifecycle.engagements import open_engagement, take_on
from app.lifecycle.groups import GroupDraft, add_group
from app.lifecycle.handover import name_heir
from app.lifecycle.handover_tables import Heir
from app.lifecycle.matching import One
from app.lifecycle.one_person import become_one
from app.lifecycle.people import find_people, reconsider
from app.revocation.departures import current
from tests.company import ADMIN, OKTA, Company, another_source, company_that_holds_all, decides, later, new_company
from tests.unit.lifecycle.asking import answers, draft, person, pushes, question, record, says


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.fixture
def entra(company: Company) -> str:
    return another_source(company, "entra")


def test_nobody_else_is_meant_and_a_pushed_record_stays_their_own(company: Company, entra: str) -> None:
    company.joins("ada@x.example", "E-1")
    bob = pushes(company, entra, draft("bob@y.example", "E-1"))

    who = answers(company, 1)

    assert who.id == bob.person_id and who.standing == Standing.ACTIVE
    assert record(company, bob.id).person_id == bob.person_id


def test_a_pushed_record_and_its_groups_are_the_ones_they_turn_out_to_be(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    again = pushes(company, entra, draft("lovelace@y.example", "E-1", department="Research"))
    group = in_transaction(
        lambda session: add_group(
            session, company.organization_id, entra, GroupDraft(external_id="g", display_name="Cyclists", members=(again.id,), document={}),
            actor=OKTA, at=later(1), because="push",
        )
    )  # fmt: skip

    who = answers(company, 1, ada.person_id)

    assert who.id == ada.person_id and record(company, again.id).person_id == ada.person_id
    assert person(company, ada.person_id).department == "Research"
    with reading() as session:
        assert session.get_one(Membership, (company.organization_id, group.id, again.id)).ended_at is None


def test_both_are_looked_at_again_though_only_groups_have_changed_hands(company: Company, entra: str) -> None:
    def wishes() -> dict[str, int]:
        with reading() as session:
            return {row.subject_id: row.generation for row in session.scalars(select(Work).where(Work.subject == Subject.PERSON))}

    ada = company.joins("ada@x.example", "E-1")
    again = pushes(company, entra, draft("lovelace@y.example", "E-1"))
    before, version = wishes(), person(company, ada.person_id).version

    answers(company, 1, ada.person_id)

    assert person(company, ada.person_id).version == version, "nothing else has changed of her"
    assert all(wishes()[one] > before[one] for one in (ada.person_id, again.person_id))


def test_whoever_they_were_until_then_has_left_with_all_that_they_held(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    again = pushes(company, entra, draft("lovelace@y.example", "E-1"))
    epochs = [person(company, one).access_epoch for one in (again.person_id, ada.person_id)]
    in_transaction(
        lambda session: session.add(
            Identity(
                organization_id=company.organization_id, id="i", issuer="https://idp", tenant="", subject="s", person_id=again.person_id, bound_by="externalId",
                bound_at=later(1),
            )
        )
    )  # fmt: skip

    answers(company, 1, ada.person_id)

    old, new = person(company, again.person_id), person(company, ada.person_id)
    assert (old.standing, new.standing) == (Standing.DEPARTED, Standing.ACTIVE)
    assert (old.access_epoch, new.access_epoch) == (epochs[0] + 1, epochs[1])
    with reading() as session:
        departure = current(session, company.organization_id, old.id)
        assert departure is not None and "question 1" in departure.reason
        assert session.get_one(Identity, (company.organization_id, "i")).ended_at == later(10)


def test_nobody_is_found_any_more_under_the_names_of_whom_they_were(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    pushes(company, entra, draft("lovelace@y.example", "E-1"))

    answers(company, 1, ada.person_id)

    with reading() as session:
        for name in ("lovelace@y.example", "ada@x.example", "E-1"):
            assert [one.id for one in find_people(session, company.organization_id, name)] == [ada.person_id], name
        assert hr.numbered(session, company.organization_id, "E-1") == [ada.person_id]
        found = matching.whom(session, company.organization_id, "another source", draft("ada@x.example", "E-1"))
    assert found == One(person_id=ada.person_id, by="employeeNumber")


def test_what_voices_said_of_the_one_counts_for_the_other(company: Company, entra: str) -> None:
    """Whoever HR or an operator has taken access from does not get it back by being somebody else as well."""
    ada = company.joins("ada@x.example", "E-1")
    again = pushes(company, entra, draft("lovelace@y.example", "E-1"))
    says(company, again.person_id, StatementKind.BARS, voice=Voice.OPERATOR, at=5)

    who = answers(company, 1, ada.person_id)

    assert (who.standing, who.standing_reason) == (Standing.DEPARTED, "barred by an operator")


def test_a_leaver_does_not_come_back_by_a_pushed_record_that_is_theirs(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    says(company, ada.person_id, StatementKind.LEAVES)
    again = pushes(company, entra, draft("lovelace@y.example", "E-1"), at=2)
    assert person(company, again.person_id).standing == Standing.ACTIVE

    assert answers(company, 1, ada.person_id).standing == Standing.DEPARTED
    assert person(company, again.person_id).standing == Standing.DEPARTED


# Comebacks


PAUSED_AND_BACK = ((Voice.OPERATOR, StatementKind.PAUSES), (Voice.OPERATOR, StatementKind.RETURNS))
LEFT_AND_HIRED = ((Voice.HR, StatementKind.LEAVES), (Voice.HR, StatementKind.REHIRES))


@pytest.mark.parametrize("leaver", [0, 1])
@pytest.mark.parametrize(
    ("voice", "back"), [(Voice.HR, PAUSED_AND_BACK), (Voice.OPERATOR, LEFT_AND_HIRED), (Voice.OPERATOR, PAUSED_AND_BACK), (Voice.SIGNAL, PAUSED_AND_BACK)]
)
def test_who_brought_the_one_back_has_given_the_other_nothing_back(
    company: Company, entra: str, leaver: int, voice: Voice, back: tuple[tuple[Voice, StatementKind], ...]
) -> None:
    ada = company.joins("ada@x.example", "E-1")
    again = pushes(company, entra, draft("lovelace@y.example", "E-1"))
    who = (ada.person_id, again.person_id)
    says(company, who[leaver], StatementKind.LEAVES, voice=voice, at=3)
    for at, (by, kind) in enumerate(back, start=4):
        says(company, who[1 - leaver], kind, voice=by, at=at)
    assert person(company, who[1 - leaver]).standing == Standing.ACTIVE

    one = answers(company, 1, ada.person_id)

    assert (one.standing, one.standing_reason) == (Standing.DEPARTED, f"departed by {voice}")
    says(company, ada.person_id, StatementKind.RETURNS, voice=Voice.OPERATOR, at=20)
    assert person(company, ada.person_id).standing == Standing.ACTIVE, "who knows of both brings back both"


@pytest.mark.parametrize("leaver", [0, 1])
def test_a_last_day_that_was_announced_of_the_one_comes_though_the_other_was_brought_back(company: Company, entra: str, leaver: int) -> None:
    ada = company.joins("ada@x.example", "E-1")
    again = pushes(company, entra, draft("lovelace@y.example", "E-1"))
    who = (ada.person_id, again.person_id)
    says(company, who[leaver], StatementKind.LEAVES, at=3, effective=500)
    for at, (by, kind) in enumerate(PAUSED_AND_BACK, start=4):
        says(company, who[1 - leaver], kind, voice=by, at=at)

    one = answers(company, 1, ada.person_id)

    assert (one.standing, one.access_until) == (Standing.ACTIVE, later(500))
    in_transaction(lambda session: reconsider(session, company.organization_id, ada.person_id, at=later(500)))
    assert person(company, ada.person_id).standing == Standing.DEPARTED


@pytest.mark.parametrize("away", [0, 1])
def test_who_is_away_until_a_day_is_back_on_it_and_it_stays_written_when_that_was_said(company: Company, entra: str, away: int) -> None:
    ada = company.joins("ada@x.example", "E-1")
    again = pushes(company, entra, draft("lovelace@y.example", "E-1"))
    who = (ada.person_id, again.person_id)
    says(company, who[away], StatementKind.PAUSES, voice=Voice.OPERATOR, at=1)
    says(company, who[away], StatementKind.RETURNS, voice=Voice.OPERATOR, at=2, effective=500)
    for at, (by, kind) in enumerate(PAUSED_AND_BACK, start=4):
        says(company, who[1 - away], kind, voice=by, at=at)

    assert answers(company, 1, ada.person_id).standing == Standing.PAUSED

    in_transaction(lambda session: reconsider(session, company.organization_id, ada.person_id, at=later(500)))
    assert person(company, ada.person_id).standing == Standing.ACTIVE
    with reading() as session:
        heard = session.scalars(select(Statement.heard_at).where(Statement.person_id == ada.person_id)).all()
    assert sorted(one for one in heard if one is not None) == [later(at) for at in (1, 2, 4, 5)]


def test_what_the_brake_holds_of_the_one_counts_once_it_is_let_through_though_the_other_was_brought_back(installed: Flask) -> None:
    company = company_that_holds_all()
    ada, other = company.joins("ada@x.example"), company.joins("lovelace@y.example")
    in_transaction(
        lambda session: leaving.say(
            session, company.organization_id, ada.person_id, voice=Voice.HR, kind=StatementKind.LEAVES, said_by="hr", effective_at=later(1), actor=OKTA,
            at=later(1), because="test", source=session.get_one(Source, (company.organization_id, company.source_id)),
        )
    )  # fmt: skip
    for at, (by, kind) in enumerate(PAUSED_AND_BACK, start=4):
        says(company, other.person_id, kind, voice=by, at=at)
    in_transaction(
        lambda session: become_one(session, company.organization_id, other.person_id, ada.person_id, actor=ADMIN, at=later(10), because="test")
    )
    assert company.person(ada).standing == Standing.ACTIVE

    decides(company, leaving.release, at=20)

    assert company.person(ada).standing == Standing.DEPARTED


def test_reports_of_the_one_report_to_the_other(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    again = pushes(company, entra, draft("lovelace@y.example", "E-1"))
    cy = company.joins("cy@x.example", manager={"value": again.id})
    assert company.person(cy).manager_id == again.person_id

    answers(company, 1, ada.person_id)

    assert company.person(cy).manager_id == ada.person_id


def test_whom_an_hr_system_means_by_its_own_id_is_the_other_as_well(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    again = pushes(company, entra, draft("lovelace@y.example", "E-1"))
    in_transaction(
        lambda session: session.add(
            HRPerson(organization_id=company.organization_id, source_id="hr", key="7", person_id=again.person_id, linked_at=later(1))
        )
    )

    answers(company, 1, ada.person_id)

    with reading() as session:
        assert session.get_one(HRPerson, (company.organization_id, "hr", "7")).person_id == ada.person_id


def test_who_answers_for_the_one_answers_for_the_other(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    again = pushes(company, entra, draft("lovelace@y.example", "E-1"))
    boss, cy = company.joins("boss@x.example"), company.joins("cy@x.example")

    def engage(session: Session, who: str, sponsor: str) -> None:
        people = [session.get_one(Person, (company.organization_id, one)) for one in (who, sponsor)]
        take_on(session, people[0], sponsor=people[1], starts_at=None, ends_at=later(86_400 * 60), kind="contractor", actor=ADMIN, at=later(1))

    in_transaction(lambda session: engage(session, cy.person_id, again.person_id))
    in_transaction(lambda session: engage(session, again.person_id, boss.person_id))

    answers(company, 1, ada.person_id)

    with reading() as session:
        own = open_engagement(session, company.organization_id, ada.person_id)
        answered_for = open_engagement(session, company.organization_id, cy.person_id)
        assert own is not None and own.sponsor_id == boss.person_id
        assert answered_for is not None and answered_for.sponsor_id == ada.person_id
        assert open_engagement(session, company.organization_id, again.person_id) is None
    assert person(company, ada.person_id).access_until == later(86_400 * 60), "what the sponsor said ends their access as well"


def test_nobody_answers_for_themselves_by_it(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    again = pushes(company, entra, draft("lovelace@y.example", "E-1"))

    def engage(session: Session) -> None:
        people = [session.get_one(Person, (company.organization_id, one.person_id)) for one in (ada, again)]
        take_on(session, people[0], sponsor=people[1], starts_at=None, ends_at=later(86_400 * 60), kind="contractor", actor=ADMIN, at=later(1))

    in_transaction(engage)

    answers(company, 1, ada.person_id)

    with reading() as session:
        own = open_engagement(session, company.organization_id, ada.person_id)
    assert own is not None and own.sponsor_id is None


def test_a_legal_hold_on_the_one_holds_for_the_other_and_stays(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    again = pushes(company, entra, draft("lovelace@y.example", "E-1"))
    in_transaction(
        lambda session: legal_hold.place(
            session, company.organization_id, again.person_id, reason="case 7", ordered_by="counsel", actor=ADMIN, at=later(1)
        )
    )

    answers(company, 1, ada.person_id)

    with reading() as session:
        for one in (ada.person_id, again.person_id):
            assert [hold.reason for hold in legal_hold.standing(session, company.organization_id, one)] == ["case 7"]


def test_what_the_one_owned_goes_to_the_other(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    again = pushes(company, entra, draft("lovelace@y.example", "E-1"))
    cy = company.joins("cy@x.example")

    def name(session: Session) -> None:
        leaver, heir = (session.get_one(Person, (company.organization_id, one.person_id)) for one in (cy, again))
        name_heir(session, leaver, heir, actor=ADMIN, at=later(1))

    in_transaction(name)

    answers(company, 1, ada.person_id)

    with reading() as session:
        heirs = {row.person_id: row.heir_id for row in session.scalars(select(Heir))}
    assert heirs == {cy.person_id: ada.person_id, again.person_id: ada.person_id}


def test_two_questions_about_the_same_people_are_one_after_the_other(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    second = pushes(company, entra, draft("lovelace@y.example", "E-1"))
    third = pushes(company, another_source(company, "ldap"), draft("al@z.example", "E-1"))
    assert {one["person"] for one in question(company, 2).candidates} == {ada.person_id, second.person_id}

    answers(company, 1, ada.person_id)

    assert [one["person"] for one in question(company, 2).candidates] == [ada.person_id]
    assert answers(company, 2, ada.person_id).id == ada.person_id
    assert {record(company, one.id).person_id for one in (ada, second, third)} == {ada.person_id}
