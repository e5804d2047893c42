"""Whose a record is: one person's, nobody's whom we know, or that is in doubt; never guessed."""

import json
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.settings import UnusableSetting, attribute_precedence, check, matching_keys
from app.directory.tables import Person, Record, Standing, StatementKind, Voice
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal.tables import Organization
from app.lifecycle import just_in_time, leaving, matching
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.just_in_time import Newcomer
from app.lifecycle.matching import Doubt, Match, Nobody, One
from app.lifecycle.pulled_tables import PulledEntry
from app.lifecycle.records import add_record, change_record, end_record
from app.lifecycle.sources import set_setting
from tests.company import ADMIN, OKTA, Company, another_source, document, later, new_company


def draft(user_name: str, number: str | None = None, *, emails: list[str] | None = None, external_id: str = "other") -> RecordDraft:
    said: dict[str, Any] = document(user_name, number)
    if emails is not None:
        said["emails"] = [{"value": one} for one in emails]
    return RecordDraft(external_id=external_id, user_name=user_name, active=True, document=said)


def joins(company: Company, source_id: str, said: RecordDraft, *, at: float = 0) -> Record:
    return in_transaction(lambda session: add_record(session, company.organization_id, source_id, said, actor=OKTA, at=later(at), because="test"))


def whom(company: Company, source_id: str, said: RecordDraft, *, key: str | None = None) -> Match:
    with reading() as session:
        return matching.whom(session, company.organization_id, source_id, said, key=key)


def chooses(company: Company, value: str) -> None:
    in_transaction(
        lambda session: set_setting(session, session.get_one(Organization, company.organization_id), "matching", value, actor=ADMIN, at=later(0))
    )


def candidates(match: Match) -> list[str]:
    assert isinstance(match, Doubt), match
    return [one.person_id for one in match.candidates]


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.fixture
def entra(company: Company) -> str:
    """Another directory of the same company."""
    return another_source(company, "entra")


# By the employee number


def test_whoever_alone_has_the_number_and_an_address_in_common_is_the_one(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")

    found = whom(company, entra, draft("lovelace", "E-1", emails=["other@y.example", "ADA@x.example"]))

    assert found == One(person_id=ada.person_id, by="employeeNumber")


def test_a_user_name_that_is_an_address_is_one_in_common(company: Company, entra: str) -> None:
    ada = joins(company, company.source_id, draft("ada@x.example", "E-1", emails=["a.lovelace@x.example"]))

    assert whom(company, entra, draft("Ada@X.example", "E-1", emails=[])) == One(person_id=ada.person_id, by="employeeNumber")
    assert whom(company, entra, draft("al", "E-1", emails=["ada@x.example"])) == One(person_id=ada.person_id, by="employeeNumber")


def test_where_one_of_the_two_has_no_address_nothing_contradicts(company: Company, entra: str) -> None:
    ada = joins(company, company.source_id, draft("ada", "E-1", emails=[]))

    assert whom(company, entra, draft("lovelace@y.example", "E-1")) == One(person_id=ada.person_id, by="employeeNumber")
    assert whom(company, entra, draft("lovelace", "E-1", emails=[])) == One(person_id=ada.person_id, by="employeeNumber")


def test_the_same_number_with_other_addresses_is_in_doubt(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")

    found = whom(company, entra, draft("bob@y.example", "E-1"))

    assert candidates(found) == [ada.person_id]
    assert isinstance(found, Doubt) and found.reason == "employee number E-1 belongs to ada@x.example, whose addresses are others"


def test_a_number_of_one_and_an_address_of_another_is_in_doubt_between_both(company: Company, entra: str) -> None:
    ada = joins(company, company.source_id, draft("ada", "E-1", emails=[]))
    bob = company.joins("bob@x.example", "E-2")

    found = whom(company, entra, draft("bob", "E-1", emails=["bob@x.example"]))

    assert candidates(found) == [ada.person_id, bob.person_id]


def test_a_number_that_two_people_have_is_in_doubt(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    bob = joins(company, company.source_id, draft("bob@x.example", "E-1", external_id="b"))
    assert ada.person_id != bob.person_id

    found = whom(company, entra, draft("ada@x.example", "E-1"))

    assert candidates(found) == sorted([ada.person_id, bob.person_id])
    assert isinstance(found, Doubt) and found.reason == "2 people have employee number E-1"


def test_a_leaver_is_the_same_person_by_number_when_they_come_again(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    company.says(ada, active=False, at=later(1))

    assert whom(company, entra, draft("ada@x.example", "E-1")) == One(person_id=ada.person_id, by="employeeNumber")


def test_nobody_is_meant_by_a_number_that_nobody_has_or_that_is_another_organisations(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    stranger = new_company()

    assert whom(company, entra, draft("ada@x.example", "E-2")) == Nobody()
    assert whom(company, entra, draft("ada@x.example")) == Nobody()
    assert whom(stranger, stranger.source_id, draft("ada@x.example", "E-1")) == Nobody()
    chooses(company, "none")
    assert whom(company, entra, draft("ada@x.example", "E-1")) == Nobody()
    assert ada.person_id


def test_two_engagements_in_one_directory_are_one_person_by_number(company: Company) -> None:
    ada = company.joins("ada@x.example", "E-1")

    second = joins(company, company.source_id, draft("ada-2", "E-1", emails=["ada@x.example"]))

    assert second.person_id == ada.person_id


# By addresses and names, where the organisation chose them


def test_nobody_is_joined_by_an_address_or_a_name_unless_that_was_chosen(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example")
    same = draft("ada@x.example")

    assert whom(company, entra, same) == Nobody()
    chooses(company, "employeeNumber,email")
    assert whom(company, entra, same) == One(person_id=ada.person_id, by="email")
    chooses(company, "userName")
    assert whom(company, entra, same) == One(person_id=ada.person_id, by="userName")


def test_the_first_key_that_anybody_has_decides(company: Company, entra: str) -> None:
    chooses(company, "employeeNumber,email")
    ada = company.joins("ada@x.example", "E-1")
    joins(company, entra, draft("bob", "E-2", emails=[]))

    assert whom(company, another_source(company, "ldap"), draft("ada", "E-1", emails=[])) == One(person_id=ada.person_id, by="employeeNumber")
    assert whom(company, another_source(company, "csv"), draft("ada@x.example")) == One(person_id=ada.person_id, by="email")


@pytest.mark.parametrize("key", ["email", "userName"])
def test_a_name_or_address_of_somebody_who_has_left_is_in_doubt(company: Company, entra: str, key: str) -> None:
    chooses(company, key)
    ada = company.joins("ada@x.example")
    company.says(ada, active=False, at=later(1))

    found = whom(company, entra, draft("ada@x.example"))

    assert candidates(found) == [ada.person_id]
    assert isinstance(found, Doubt) and found.reason.endswith("belonged to ada@x.example, who has left")


@pytest.mark.parametrize("key", ["email", "userName"])
def test_a_name_or_address_of_somebody_with_another_number_is_in_doubt(company: Company, entra: str, key: str) -> None:
    chooses(company, f"employeeNumber,{key}")
    ada = company.joins("ada@x.example", "E-1")

    found = whom(company, entra, draft("ada@x.example", "E-2"))

    assert candidates(found) == [ada.person_id]
    assert isinstance(found, Doubt) and found.reason.endswith("who has another employee number")


def test_a_name_with_other_addresses_is_in_doubt(company: Company, entra: str) -> None:
    chooses(company, "userName")
    ada = joins(company, company.source_id, draft("ada", emails=["ada@x.example"]))

    assert candidates(whom(company, entra, draft("ada", emails=["ada@y.example"]))) == [ada.person_id]


def test_two_entries_of_one_directory_with_one_address_are_not_taken_for_one_person(company: Company) -> None:
    chooses(company, "email")
    ada = joins(company, company.source_id, draft("ada", emails=["office@x.example"], external_id="a"))

    found = whom(company, company.source_id, draft("bob", emails=["office@x.example"], external_id="b"))

    assert candidates(found) == [ada.person_id]


def test_an_address_that_two_people_have_is_in_doubt(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example")
    bob = joins(company, entra, draft("bob", emails=["ada@x.example"]))
    chooses(company, "email")

    assert candidates(whom(company, another_source(company, "ldap"), draft("cy", emails=["ada@x.example"]))) == sorted([ada.person_id, bob.person_id])


def test_nobody_is_joined_to_somebody_who_is_only_known_by_signing_in(company: Company, entra: str) -> None:
    """No directory speaks of them, so none could let them go: joined, a leaver of the directory would stay."""
    chooses(company, "email,userName")

    def sign_in(session: Session) -> str:
        source = just_in_time.source_of(session, company.organization_id, "connection", "okta", actor=ADMIN, at=later(0))
        newcomer = Newcomer(key="s", email="ada@x.example", display_name=None)
        return just_in_time.join(session, source, newcomer, actor=ADMIN, at=later(0)).person_id

    by_sign_in = in_transaction(sign_in)
    ada = joins(company, entra, draft("ada@x.example"))
    company.says(ada, active=False, at=later(1))

    assert ada.person_id != by_sign_in
    assert company.person(ada).standing == Standing.DEPARTED


def test_whoever_joins_by_signing_in_is_joined_to_nobody(company: Company) -> None:
    chooses(company, "email")
    ada = company.joins("ada@x.example")

    def sign_in(session: Session) -> str:
        source = just_in_time.source_of(session, company.organization_id, "connection", "okta", actor=ADMIN, at=later(0))
        newcomer = Newcomer(key="s", email="ada@x.example", display_name=None)
        return just_in_time.join(session, source, newcomer, actor=ADMIN, at=later(0)).person_id

    assert in_transaction(sign_in) != ada.person_id


# By what a pulled source calls the entry


def entry_of(company: Company, record: Record, key: str) -> None:
    in_transaction(
        lambda session: session.add(
            PulledEntry(organization_id=company.organization_id, source_id=record.source_id, kind="person", key=key, subject_id=record.id)
        )
    )


def test_an_entry_that_is_there_again_is_the_same_person_whatever_it_is_called_now(company: Company, entra: str) -> None:
    chooses(company, "none")
    ada = joins(company, entra, draft("ada@x.example"))
    entry_of(company, ada, "uuid-ada")
    in_transaction(lambda session: end_record(session, company.organization_id, entra, ada.id, actor=OKTA, at=later(1), because="gone"))

    renamed = draft("lovelace@x.example", "E-9")

    assert whom(company, entra, renamed, key="uuid-ada") == One(person_id=ada.person_id, by="key")
    assert whom(company, entra, renamed, key="uuid-other") == Nobody()
    assert whom(company, company.source_id, renamed, key="uuid-ada") == Nobody(), "a key is its source's own"


# What follows from it


def test_in_doubt_a_pushed_record_is_a_person_of_their_own(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")

    bob = joins(company, entra, draft("bob@y.example", "E-1"))

    assert bob.person_id != ada.person_id
    assert company.person(bob).standing == Standing.ACTIVE


def test_who_says_whose_it_is_is_not_asked_again(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")

    def act(session: Session) -> str:
        known = One(person_id=ada.person_id, by="answer")
        return add_record(session, company.organization_id, entra, draft("bob@y.example"), match=known, actor=OKTA, at=later(1), because="x").person_id

    assert in_transaction(act) == ada.person_id


def test_being_matched_gives_nobody_back_what_a_stronger_voice_took(company: Company, entra: str) -> None:
    ada = company.joins("ada@x.example", "E-1")
    in_transaction(
        lambda session: leaving.say(
            session, company.organization_id, ada.person_id, voice=Voice.HR, kind=StatementKind.LEAVES, said_by="hr", effective_at=later(1),
            actor=ADMIN, at=later(1), because="test",
        )
    )  # fmt: skip

    again = joins(company, entra, draft("ada@x.example", "E-1"), at=2)

    assert again.person_id == ada.person_id
    assert company.person(again).standing == Standing.DEPARTED


def test_a_user_that_is_given_to_somebody_with_the_same_name_is_not_their_predecessor_by_it(company: Company) -> None:
    """Okta switches the user with that userName on, under another externalId: a name says nothing then of who it is."""
    chooses(company, "employeeNumber,userName")
    in_transaction(
        lambda session: set_setting(session, session.get_one(Organization, company.organization_id), "leaving_voice", "hr", actor=ADMIN, at=later(0))
    )
    ada = company.joins("ada@x.example")
    company.says(ada, active=False, at=later(1))
    assert company.person(ada).standing == Standing.PAUSED
    predecessor = ada.person_id

    successor = in_transaction(
        lambda session: change_record(
            session, company.organization_id, company.source_id, ada.id, draft("ada@x.example", external_id="another"), actor=OKTA, at=later(2),
            because="test",
        )
    )  # fmt: skip

    assert successor.person_id != predecessor
    with reading() as session:
        assert session.get_one(Person, (company.organization_id, predecessor)).standing == Standing.PAUSED
        assert session.scalars(select(Record.ended_at).where(Record.person_id == predecessor)).one() == later(2)


# Settings


@pytest.mark.parametrize(
    ("text", "keys"),
    [("none", ()), ("employeeNumber", ("employeeNumber",)), ("userName, email", ("userName", "email")), ("email,userName,employeeNumber", ("email", "userName", "employeeNumber"))],
)
def test_matching_names_keys_in_their_order(text: str, keys: tuple[str, ...]) -> None:
    assert matching_keys(text) == keys


@pytest.mark.parametrize("text", ["", "mail", "employeeNumber,", "email,email", "none,email", "employeenumber"])
def test_matching_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(UnusableSetting, match="matching is none, or some of"):
        check("matching", text)


def test_attribute_precedence_knows_where_attributes_stand() -> None:
    said = {"department": ["workday", "okta"], "title": ["okta"], "USERNAME": ["okta"], "urn:x:badge": ["hr"], f"{ENTERPRISE_URN}:costCenter": ["hr"]}

    assert attribute_precedence(json.dumps(said)) == {
        (ENTERPRISE_URN, "department"): ("workday", "okta"), ("title",): ("okta",), ("userName",): ("okta",), ("urn:x", "badge"): ("hr",),
        (ENTERPRISE_URN, "costCenter"): ("hr",),
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", "[]", '{"department": "okta"}', '{"department": []}', '{"department": [""]}', '{"departement": ["okta"]}', '{"active": ["okta"]}', "[" * 100_000])
def test_attribute_precedence_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(UnusableSetting, match="attribute_precedence"):
        check("attribute_precedence", text)
