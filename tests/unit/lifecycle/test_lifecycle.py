"""The verbs, through the real database: who is let in after what was said, by whom."""

from datetime import datetime

import pytest
from flask import Flask
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.settings import UnusableSetting
from app.directory.tables import JOURNALED, Person, Record, Standing, StatementKind, Voice
from app.journal.tables import Entry, Organization, Work
from app.lifecycle import brake, leaving
from app.lifecycle.errors import Taken, WorldMoved
from app.lifecycle.people import find_people, reconsider
from app.lifecycle.records import RecordDraft, add_record, end_record, reads_active
from app.lifecycle.sources import set_setting
from app.revocation.departures import current
from tests.company import ADMIN, NOW, OKTA, Company, another_source, document, later, new_company


def say(
    company: Company,
    person_id: str,
    kind: StatementKind,
    *,
    voice: Voice = Voice.HR,
    at: float = 0,
    effective: float | None = None,
    engagement: str = "",
) -> Person:
    effective_at = later(at if effective is None else effective)
    return in_transaction(
        lambda session: leaving.say(
            session, company.organization_id, person_id, voice=voice, kind=kind, said_by="x", effective_at=effective_at, actor=ADMIN,
            at=later(at), because="test", engagement=engagement,
        )
    )  # fmt: skip


def test_off_over_scim_moves_the_epoch_and_opens_a_departure_in_the_same_transaction(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    epoch = company.person(ada).access_epoch

    company.says(ada, active=False, at=later(1))

    person = company.person(ada)
    assert person.standing == Standing.DEPARTED
    assert person.access_epoch == epoch + 1
    with reading() as session:
        departure = current(session, company.organization_id, person.id)
    assert departure is not None and departure.decided_at == later(1)


def test_saying_off_again_opens_no_second_departure(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    off = company.says(ada, active=False, at=later(1))
    epoch = company.person(ada).access_epoch

    company.says(off, active=False, at=later(2))

    assert company.person(ada).access_epoch == epoch


def test_a_person_with_two_directory_accounts_is_out_when_the_last_is_off_but_the_epoch_moves_before(installed: Flask) -> None:
    company = new_company()
    first = company.joins("ada@x.example", "E-1")
    second = company.joins("ada@x.example", "E-1", source_id=another_source(company, "entra"))
    assert first.person_id == second.person_id
    epoch = company.person(first).access_epoch

    company.says(first, active=False, at=later(1))

    assert company.person(first).standing == Standing.ACTIVE
    assert company.person(first).access_epoch == epoch + 1
    company.says(second, active=False, at=later(2))
    assert company.person(first).standing == Standing.DEPARTED


def test_a_late_on_of_the_directory_changes_nothing_after_hr_said_left(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    say(company, ada.person_id, StatementKind.LEAVES, at=1)
    off = company.says(ada, active=False, at=later(2))
    epoch = company.person(ada).access_epoch

    on = company.says(off, active=True, at=later(3))

    person = company.person(ada)
    assert person.standing == Standing.DEPARTED
    assert person.access_epoch == epoch
    assert on.active and not reads_active(on, person.standing)


def test_a_directory_may_undo_its_own_off(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    off = company.says(ada, active=False, at=later(1))

    company.says(off, active=True, at=later(2))

    assert company.person(ada).standing == Standing.ACTIVE


def test_an_announced_leaving_takes_effect_on_its_instant_and_not_before(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    say(company, ada.person_id, StatementKind.LEAVES, at=1, effective=3600)
    assert company.person(ada).access_until == later(3600)

    in_transaction(lambda session: reconsider(session, company.organization_id, ada.person_id, at=later(3599)))
    assert company.person(ada).standing == Standing.ACTIVE
    in_transaction(lambda session: reconsider(session, company.organization_id, ada.person_id, at=later(3600)))

    assert company.person(ada).standing == Standing.DEPARTED


def test_a_cancelled_leaving_never_takes_effect(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    say(company, ada.person_id, StatementKind.LEAVES, at=1, effective=3600)

    say(company, ada.person_id, StatementKind.RETURNS, at=2)

    in_transaction(lambda session: reconsider(session, company.organization_id, ada.person_id, at=later(7200)))
    assert company.person(ada).standing == Standing.ACTIVE
    assert company.person(ada).access_until is None


def test_hr_calling_off_a_termination_gives_nobody_back_what_the_directory_took(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    say(company, ada.person_id, StatementKind.LEAVES, at=1, effective=3600)
    company.says(ada, active=False, at=later(2))

    say(company, ada.person_id, StatementKind.RETURNS, at=3)

    assert company.person(ada).standing == Standing.DEPARTED


def test_an_operators_return_outranks_what_the_directory_said_before(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    company.says(ada, active=False, at=later(1))

    say(company, ada.person_id, StatementKind.RETURNS, voice=Voice.OPERATOR, at=2)

    assert company.person(ada).standing == Standing.ACTIVE


def test_only_an_operator_lifts_a_bar(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    say(company, ada.person_id, StatementKind.BARS, voice=Voice.OPERATOR, at=1)

    say(company, ada.person_id, StatementKind.REHIRES, at=2, engagement="second")
    assert company.person(ada).standing == Standing.DEPARTED
    say(company, ada.person_id, StatementKind.RETURNS, voice=Voice.OPERATOR, at=3)

    assert company.person(ada).standing == Standing.ACTIVE


def test_a_new_engagement_ends_an_operators_earlier_departure(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    say(company, ada.person_id, StatementKind.LEAVES, voice=Voice.OPERATOR, at=1)

    say(company, ada.person_id, StatementKind.REHIRES, at=2, engagement="second")

    assert company.person(ada).standing == Standing.ACTIVE


def test_a_termination_that_names_no_engagement_ends_them_all(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    say(company, ada.person_id, StatementKind.LEAVES, at=1)
    say(company, ada.person_id, StatementKind.REHIRES, at=2, engagement="second")

    say(company, ada.person_id, StatementKind.LEAVES, at=3)

    assert company.person(ada).standing == Standing.DEPARTED


def test_off_means_paused_once_leaving_is_hrs_to_say_and_stays_what_it_meant(installed: Flask) -> None:
    company = new_company()
    ada, bob = company.joins("ada@x.example", "E-1"), company.joins("bob@x.example", "E-2")
    company.says(ada, active=False, at=later(1))

    def hr_decides(session: Session) -> None:
        set_setting(session, session.get_one(Organization, company.organization_id), "leaving_voice", "hr", actor=ADMIN, at=later(2))

    in_transaction(hr_decides)
    company.says(bob, active=False, at=later(3))

    assert company.person(ada).standing == Standing.DEPARTED
    assert company.person(bob).standing == Standing.PAUSED


def test_the_brake_lets_the_first_through_and_holds_the_effect_of_the_rest(installed: Flask) -> None:
    company = new_company()
    in_transaction(
        lambda s: set_setting(s, s.get_one(Organization, company.organization_id), "push_brake", "2/60s", actor=ADMIN, at=later(0))
    )
    people = [company.joins(f"p{number}@x.example", f"E-{number}") for number in range(5)]

    said = [company.says(record, active=False, at=later(1)) for record in people]

    assert [company.person(record).standing for record in people] == ["departed"] * 2 + ["active"] * 3
    assert not any(reads_active(record, company.person(record).standing) for record in said)

    def approve(session: Session) -> int:
        [(held, lines)] = brake.waiting(session, company.organization_id)
        assert brake.find(session, company.organization_id, brake.digest_of(held, lines))
        return len(leaving.release(session, held, lines, actor=ADMIN, at=later(5)))

    assert in_transaction(approve) == 3
    assert {company.person(record).standing for record in people} == {"departed"}


def test_approving_what_has_changed_since_is_refused(installed: Flask) -> None:
    company = new_company()
    in_transaction(
        lambda s: set_setting(s, s.get_one(Organization, company.organization_id), "push_brake", "0/60s", actor=ADMIN, at=later(0))
    )
    ada, bob = company.joins("ada@x.example"), company.joins("bob@x.example")
    company.says(ada, active=False, at=later(1))
    with reading() as session:
        [(held, lines)] = brake.waiting(session, company.organization_id)
        digest = brake.digest_of(held, lines)

    company.says(bob, active=False, at=later(2))

    with pytest.raises(WorldMoved), reading() as session:
        brake.find(session, company.organization_id, digest)


def test_on_again_takes_a_held_line_back(installed: Flask) -> None:
    company = new_company()
    in_transaction(
        lambda s: set_setting(s, s.get_one(Organization, company.organization_id), "push_brake", "0/60s", actor=ADMIN, at=later(0))
    )
    ada = company.joins("ada@x.example")
    off = company.says(ada, active=False, at=later(1))

    company.says(off, active=True, at=later(2))

    with reading() as session:
        assert brake.waiting(session, company.organization_id) == []
    assert company.person(ada).standing == Standing.ACTIVE


def test_a_name_that_another_record_has_is_taken_whatever_its_case(installed: Flask) -> None:
    company = new_company()
    company.joins("Ada@x.example")

    with pytest.raises(Taken):
        company.joins("aDA@X.example")


def test_a_deleted_record_frees_its_name_and_a_new_one_is_the_same_person_by_number(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    in_transaction(
        lambda session: end_record(session, company.organization_id, company.source_id, ada.id, actor=OKTA, at=later(1), because="test")
    )
    assert company.person(ada).standing == Standing.DEPARTED

    again = company.joins("ada@x.example", "E-1", at=later(2))

    assert again.id != ada.id and again.person_id == ada.person_id
    assert company.person(again).standing == Standing.ACTIVE


def test_people_without_a_matching_key_are_never_joined_by_name(installed: Flask) -> None:
    company = new_company()
    first = company.joins("ada@x.example")

    second = company.joins("ada@x.example", source_id=another_source(company, "entra"))

    assert first.person_id != second.person_id
    with reading() as session:
        assert len(find_people(session, company.organization_id, "ada@x.example")) == 2


@pytest.mark.parametrize("text", ["E-1 ", "\tE-1", " ada@x.example\n", "\u00a0E-1"])
def test_blanks_around_what_means_somebody_are_no_part_of_it(installed: Flask, text: str) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")

    with reading() as session:
        assert [one.id for one in find_people(session, company.organization_id, text)] == [ada.person_id]
        assert find_people(session, company.organization_id, " ") == []


def joins_without_an_address(company: Company, user_name: str, number: str, *, source_id: str, at: datetime = NOW) -> Record:
    said = {name: value for name, value in document(user_name, number).items() if name != "emails"}
    draft = RecordDraft(external_id=None, user_name=user_name, active=True, document=said)
    return in_transaction(lambda session: add_record(session, company.organization_id, source_id, draft, actor=OKTA, at=at, because="test"))


def test_somebody_is_found_by_what_any_directory_calls_them(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    joins_without_an_address(company, "lovelace", "E-1", source_id=another_source(company, "entra"))

    with reading() as session:
        found = [find_people(session, company.organization_id, name) for name in ("ada@x.example", "lovelace", "LoveLace")]
    assert [[one.id for one in people] for people in found] == [[ada.person_id]] * 3


def test_and_by_what_one_called_them_that_has_them_no_more_until_somebody_else_is_called_so(installed: Flask) -> None:
    company = new_company()
    ada, entra = company.joins("ada@x.example", "E-1"), another_source(company, "entra")
    old = joins_without_an_address(company, "lovelace", "E-1", source_id=entra)
    in_transaction(lambda session: end_record(session, company.organization_id, entra, old.id, actor=OKTA, at=later(1), because="test"))
    with reading() as session:
        before = find_people(session, company.organization_id, "lovelace")

    other = joins_without_an_address(company, "lovelace", "E-2", source_id=entra, at=later(2))

    with reading() as session:
        after = find_people(session, company.organization_id, "lovelace")
    assert [[one.id for one in people] for people in (before, after)] == [[ada.person_id], [other.person_id]]


def test_every_change_is_journaled_and_wanted_once(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    with reading() as session:
        before = session.scalar(select(func.count()).select_from(Entry)) or 0

    company.says(ada, active=True)

    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Entry)) == before
        assert session.scalar(select(func.count()).select_from(Work).where(Work.subject_id == ada.person_id)) == 1


@pytest.mark.parametrize("table", [name for name in JOURNALED if name in ("record", "person", "source")])
def test_the_database_refuses_a_change_without_a_new_entry_and_every_delete(installed: Flask, table: str) -> None:
    from app.database import Base

    company = new_company()
    company.joins("ada@x.example", "E-1")
    rows = Base.metadata.tables[table]

    with pytest.raises(DBAPIError, match="journal entry"):
        in_transaction(lambda session: session.execute(update(rows).values(created_at=later(9))))
    with pytest.raises(DBAPIError, match="never deleted"):
        in_transaction(lambda session: session.execute(delete(rows)))


def test_the_journal_is_never_changed_and_never_deleted(installed: Flask) -> None:
    new_company().joins("ada@x.example", "E-1")

    for statement in (update(Entry).values(actor="somebody else"), delete(Entry)):
        with pytest.raises(DBAPIError, match="never changed or deleted"):
            in_transaction(lambda session, statement=statement: session.execute(statement))  # type: ignore[misc]  # bound, not typed


@pytest.mark.parametrize("value", ["many", "50", "50/60", "-1/60s", "50/0s", "50/3155760001s", f"50/{10**20}s"])
def test_a_setting_that_cannot_be_used_is_refused(installed: Flask, value: str) -> None:
    company = new_company()
    with pytest.raises(UnusableSetting, match="push_brake"):
        in_transaction(
            lambda s: set_setting(s, s.get_one(Organization, company.organization_id), "push_brake", value, actor=ADMIN, at=later(0))
        )
