"""What is asked for each person is found by an index, not by looking through everybody: it costs the same in a large organisation."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from app.access import devices
from app.access.session_tables import RelyingParty
from app.database import db, in_transaction
from app.delivery.expansion import expand_person
from app.delivery.relying_parties import sessions_over
from app.directory.finding import called
from app.directory.tables import Person, Record, RecordEmail
from app.intake.tables import HREvent
from app.journal.tables import Organization
from app.lifecycle.engagements import last_engagement
from app.lifecycle.just_in_time import is_named_elsewhere
from app.lifecycle.people import find_people
from app.lifecycle.plain_joiners import Joiner, sort_out
from app.lifecycle.pulled_tables import AwaitedMember
from app.lifecycle.records import RecordDraft, add_record, change_record
from app.lifecycle.roles import roles_of
from app.lifecycle.signing_out import sign_out_everywhere
from app.lifecycle.sources import set_setting
from app.lifecycle.tables import HeldLine
from app.rules.file import parse
from app.rules.move_receipts import moves_of
from app.rules.move_tables import Move
from app.rules.revisions import apply_rules
from app.signals.subjects import Opaque
from app.signals.whom import Scope, find_sign_in
from tests.company import ADMIN, NOW, OKTA, Company, document, later, new_company

pytestmark = pytest.mark.slow

LARGE = re.compile(r"(SEARCH|SCAN) (account|awaited_member|channel_member|departure|device|engagement|held_line|hr_event|identity|journal|membership|move\w*|oauth_grant\w*|person|proof|record|record_email|session|statement|work)\b")
Read = Callable[[Session], Any]


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


def unfound(read: Read) -> list[str]:
    """What is read of the tables of everybody by nothing but whose organisation, or source, it is."""
    if db.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL plans by what it has counted")
    asked: list[tuple[str, Any]] = []
    note: Callable[..., None] = lambda _connection, _cursor, statement, given, *_: asked.append((statement, given))  # noqa: E731  # a listener
    event.listen(db.engine, "before_cursor_execute", note)
    try:
        in_transaction(read)
    finally:
        event.remove(db.engine, "before_cursor_execute", note)
    with db.engine.connect() as connection:
        steps = [
            str(step[3]) for statement, given in asked if statement.lstrip().upper().startswith(("SELECT", "WITH"))
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
        ]  # fmt: skip
    return [step for step in steps if LARGE.match(step) and not re.search(r"\((?!organization_id=\?\)|organization_id=\? AND source_id=\?\))", step)]


@pytest.mark.parametrize("text", ["ada@x.example", "E-1", "nobody"])
def test_whoever_is_meant(company: Company, text: str) -> None:
    company.joins("ada@x.example", "E-1")

    assert unfound(lambda session: find_people(session, company.organization_id, text)) == []


def test_whose_an_address_is(company: Company) -> None:
    theirs = select(RecordEmail.record_id).where(RecordEmail.organization_id == company.organization_id, RecordEmail.address_key.in_(["a", "b"]))

    assert unfound(lambda session: session.scalars(theirs).all()) == []


def test_whose_names_somebody_has_who_is_put_back(company: Company) -> None:
    theirs = called(Record, company.organization_id, company.source_id, name_key="a", external_id="x")

    assert unfound(lambda session: session.scalar(theirs.limit(1))) == []


def test_what_hr_said_of_somebody(company: Company) -> None:
    called = select(HREvent.sha256).where(HREvent.organization_id == company.organization_id, HREvent.state == "applied")
    keyed = called.where(HREvent.source_id == company.source_id, HREvent.person_key == "k")

    assert unfound(lambda session: (session.scalars(called.where(HREvent.person_id == "p")).all(), session.scalars(keyed).all())) == []


@pytest.mark.parametrize("keys", ["employeeNumber", "email", "userName"])
def test_whose_a_new_record_is(company: Company, keys: str) -> None:
    in_transaction(lambda s: set_setting(s, s.get_one(Organization, company.organization_id), "matching", keys, actor=ADMIN, at=NOW))
    company.joins("ada@x.example", "E-1")
    draft = RecordDraft(external_id="x2", user_name="bob@x.example", active=True, document=document("bob@x.example", "E-2"))
    added: Read = lambda session: add_record(session, company.organization_id, company.source_id, draft, actor=OKTA, at=later(1), because="test")  # noqa: E731

    assert unfound(added) == []
    joiner = Joiner(draft=replace(draft, external_id="x3", user_name="cyd@x.example"), key="x3", digest=b"x3")
    assert unfound(lambda session: sort_out(session, company.organization_id, company.source_id, [joiner])) == []


def test_what_ends_with_a_leaver(company: Company) -> None:
    ada = company.joins("ada@x.example", "E-1")
    draft = RecordDraft(external_id=ada.external_id, user_name=ada.user_name, active=False, document=ada.document)
    off: Read = lambda session: change_record(  # noqa: E731
        session, company.organization_id, company.source_id, ada.id, draft, actor=OKTA, at=later(1), because="test"
    )

    assert unfound(off) == []


def test_what_is_told_where_somebody_is_signed_out_everywhere(company: Company) -> None:
    ada = company.joins("ada@x.example", "E-1")
    out: Read = lambda session: sign_out_everywhere(session, company.organization_id, ada.person_id, actor=ADMIN, at=later(1), because="test")  # noqa: E731

    assert unfound(out) == []


def test_what_their_devices_and_applications_were_let_have(company: Company) -> None:
    ada = company.joins("ada@x.example", "E-1")
    party = RelyingParty(organization_id=company.organization_id, id="p")

    assert unfound(lambda session: devices.devices_of(session, company.organization_id, ada.person_id, at=NOW)) == []
    assert unfound(lambda session: sessions_over(session, party, ada.person_id, at=NOW)) == []


def test_whose_a_session_is_that_a_provider_names(company: Company) -> None:
    scope = Scope(organization_id=company.organization_id, issuer="https://idp.example")

    assert unfound(lambda session: find_sign_in(session, Opaque(id="s-1"), scope)) == []


def test_what_somebody_may_do_here_and_whether_a_name_is_anybodys(company: Company) -> None:
    wanted = '{"owner": ["owners"]}'
    in_transaction(lambda s: set_setting(s, s.get_one(Organization, company.organization_id), "role_groups", wanted, actor=ADMIN, at=NOW))
    ada = company.joins("ada@x.example", "E-1")

    assert unfound(lambda session: roles_of(session, company.organization_id, ada.person_id)) == []
    asked: Read = lambda session: is_named_elsewhere(session, company.organization_id, email="eve@x.example", names=("eve",), but=None)  # noqa: E731
    assert unfound(asked) == []


def test_where_somebody_is_to_be_and_is(company: Company) -> None:
    rules = parse("rules:\n  - {id: everyone, name: all-hands}\n  - {id: departments, for_each: department, name: 'dept-{{ key | slug }}'}\n")
    in_transaction(lambda session: apply_rules(session, company.organization_id, rules, ADMIN, NOW))
    ada = company.joins("ada@x.example", "E-1", department="Sales")

    assert unfound(lambda session: expand_person(session, company.organization_id, ada.person_id, at=NOW)) == []


def test_who_is_awaited_in_a_group(company: Company) -> None:
    theirs = select(AwaitedMember.member_key).where(
        AwaitedMember.organization_id == company.organization_id, AwaitedMember.source_id == "s", AwaitedMember.group_key == "g"
    )

    assert unfound(lambda session: session.scalars(theirs).all()) == []


def test_which_engagement_of_somebody_was_over_last(company: Company) -> None:
    ada = company.joins("ada@x.example", "E-1")

    assert unfound(lambda session: last_engagement(session, session.get_one(Person, (company.organization_id, ada.person_id)))) == []


def test_what_is_held_of_somebody(company: Company) -> None:
    theirs = select(HeldLine.held_id).where(HeldLine.organization_id == company.organization_id, HeldLine.person_id == "p", HeldLine.state == "open")

    assert unfound(lambda session: session.scalars(theirs).all()) == []


def test_what_a_mover_is_told(company: Company) -> None:
    ada = company.joins("ada@x.example", "E-1")
    in_transaction(lambda session: session.add(Move(organization_id=company.organization_id, id="m", person_id=ada.person_id, at=NOW)))

    assert unfound(lambda session: moves_of(session, company.organization_id, ada.person_id)) == []
