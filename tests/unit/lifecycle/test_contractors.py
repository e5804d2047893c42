"""People who are no employees: a sponsor answers for each, until a day."""

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import in_transaction, reading
from app.directory.tables import Person, Source, Standing, StatementKind, Voice
from app.journal.tables import Entry, Organization
from app.lifecycle import contractors, leaving
from app.lifecycle.contractor_ends import endings
from app.lifecycle.engagements import Unfit
from app.lifecycle.sources import set_setting
from tests.company import ADMIN
from tests.unit.lifecycle.contracting import new_firm, on


def test_access_ends_by_itself_on_the_day_that_was_given(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")

    firm.takes_on(ada, until=30)

    person = firm.person(ada)
    assert (person.standing, person.access_until) == (Standing.ACTIVE, on(30))


def test_whoever_starts_later_is_expected_until_then(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")

    firm.takes_on(ada, since=10, until=30)

    assert firm.person(ada).standing == Standing.EXPECTED
    firm.time_passes(to=10)
    assert (firm.person(ada).standing, firm.person(ada).access_until) == (Standing.ACTIVE, on(30))


def test_the_sponsor_is_to_be_asked_thirty_fourteen_and_seven_days_before(installed: Flask) -> None:
    firm = new_firm()

    firm.takes_on(firm.joins("ada"), until=60)

    assert firm.letters() == [(30, on(30)), (14, on(46)), (7, on(53)), (0, on(60))]


def test_of_a_short_engagement_only_what_is_still_to_come_is_asked(installed: Flask) -> None:
    firm = new_firm()

    firm.takes_on(firm.joins("ada"), until=10)

    assert firm.letters() == [(7, on(3)), (0, on(10))]


def test_whoever_nobody_vouches_for_is_suspended_on_the_day_and_their_account_is_kept(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, until=30)

    firm.time_passes(to=30)

    person, row = firm.person(ada), firm.engagement(ada)
    assert (person.standing, person.standing_reason) == (Standing.PAUSED, "paused by sponsor")
    assert row is not None and row.lapsed_at == on(30)
    with reading() as session:
        assert session.scalar(select(Entry.because).where(Entry.verb == "engagement lapsed")) == "nobody vouched for them by their last day"


def test_attesting_moves_the_day_and_the_letters(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, until=30)

    firm.attests(ada, until=90, at=20)

    assert firm.person(ada).access_until == on(90)
    assert firm.letters() == [(30, on(60)), (14, on(76)), (7, on(83)), (0, on(90))]
    firm.time_passes(to=30)
    assert firm.person(ada).standing == Standing.ACTIVE


def test_attesting_the_same_day_again_still_asks_before_it(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, until=40)

    firm.attests(ada, until=40, at=5)

    assert firm.letters() == [(30, on(10)), (14, on(26)), (7, on(33)), (0, on(40))]


def test_attesting_lets_a_suspended_person_back_in_until_the_other_day(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, until=30)
    firm.time_passes(to=31)
    epoch = firm.person(ada).access_epoch

    firm.attests(ada, until=60, at=32)

    person, row = firm.person(ada), firm.engagement(ada)
    assert (person.standing, person.access_until) == (Standing.ACTIVE, on(60))
    assert person.access_epoch > epoch
    assert row is not None and row.lapsed_at is None
    firm.time_passes(to=60)
    assert firm.person(ada).standing == Standing.PAUSED


def test_attesting_gives_nobody_back_what_another_voice_took(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, until=30)
    in_transaction(
        lambda s: leaving.say(
            s, firm.company.organization_id, ada.person_id, voice=Voice.HR, kind=StatementKind.PAUSES, said_by="workday", effective_at=on(5),
            actor=ADMIN, at=on(5), because="test",
        )
    )  # fmt: skip

    firm.attests(ada, until=60, at=6)

    assert firm.person(ada).standing == Standing.PAUSED


def test_attesting_before_the_first_day_lets_nobody_start_earlier(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, since=20, until=30)

    firm.attests(ada, until=60, at=5)

    assert firm.person(ada).standing == Standing.EXPECTED
    firm.time_passes(to=20)
    assert firm.person(ada).access_until == on(60)


def test_only_their_own_sponsor_attests(installed: Flask) -> None:
    firm = new_firm()
    ada, lee = firm.joins("ada"), firm.joins("lee")
    firm.takes_on(ada, until=30)

    with pytest.raises(Unfit, match=r"lee@x\.example does not answer for ada@x\.example, but kim@x\.example does"):
        firm.attests(ada, until=60, by=lee, at=5)
    assert firm.person(ada).access_until == on(30)


def test_nobody_attests_whoever_has_departed(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, until=30)
    firm.says(ada, active=False, at=3)

    with pytest.raises(Unfit, match="has departed"):
        firm.attests(ada, until=60, at=5)


@pytest.mark.parametrize(
    ("until", "why"), [(-1, "is not after"), (0, "is not after"), (400, "366 days ahead")]
)
def test_a_last_day_is_still_to_come_and_not_too_far_away(installed: Flask, until: float, why: str) -> None:
    firm = new_firm()
    ada = firm.joins("ada")

    with pytest.raises(Unfit, match=why):
        firm.takes_on(ada, until=until)
    assert firm.person(ada).access_until is None and firm.engagement(ada) is None


def test_an_organisation_may_allow_less(installed: Flask) -> None:
    firm = new_firm()
    in_transaction(lambda s: set_setting(s, s.get_one(Organization, firm.company.organization_id), "contractor_longest", "30d", actor=ADMIN, at=on(0)))

    with pytest.raises(Unfit, match="30 days ahead"):
        firm.takes_on(firm.joins("ada"), until=31)


def test_a_sponsor_is_an_employee_who_is_here_and_somebody_else(installed: Flask) -> None:
    firm = new_firm()
    ada, bob, cyd = firm.joins("ada"), firm.joins("bob"), firm.joins("cyd", kind="contractor")
    firm.takes_on(bob, until=30)
    gone = firm.joins("gone")
    firm.says(gone, active=False, at=0)

    for sponsor, why in ((ada, "nobody vouches for themselves"), (bob, "no employee"), (cyd, "no employee"), (gone, "no access themselves")):
        with pytest.raises(Unfit, match=why):
            firm.takes_on(ada, until=30, sponsor=sponsor)


def test_nobody_is_taken_on_twice(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, until=30)

    with pytest.raises(Unfit, match="is taken on already"):
        firm.takes_on(ada, until=60)


def test_whoever_is_let_go_is_out_at_once_and_is_asked_about_no_more(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, until=30)

    firm.ends(ada, at=5)

    assert firm.person(ada).standing == Standing.DEPARTED
    assert firm.letters() == [] and firm.engagement(ada) is None


def test_whoever_becomes_an_employee_stays_without_an_end(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, until=30)

    firm.ends(ada, stays=True, at=5)

    assert (firm.person(ada).standing, firm.person(ada).access_until) == (Standing.ACTIVE, None)
    firm.time_passes(to=31)
    assert firm.person(ada).standing == Standing.ACTIVE


def test_whoever_was_let_go_is_taken_on_again_as_the_same_person_and_not_a_moment_before_their_day(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.takes_on(ada, until=30)
    firm.ends(ada, at=5)
    epoch = firm.person(ada).access_epoch

    firm.takes_on(ada, since=40, until=60, at=20)

    person = firm.person(ada)
    assert (person.standing, person.access_epoch) == (Standing.EXPECTED, epoch)
    firm.time_passes(to=40)
    assert (firm.person(ada).standing, firm.person(ada).access_until) == (Standing.ACTIVE, on(60))


def test_whoever_another_voice_took_is_not_taken_on_again_by_a_sponsor(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")
    firm.says(ada, active=False, at=1)

    with pytest.raises(Unfit, match=r"doorlist return ada@x\.example comes first"):
        firm.takes_on(ada, until=30, at=2)
    assert firm.person(ada).standing == Standing.DEPARTED and firm.engagement(ada) is None


# Entered by hand


def test_somebody_whom_no_directory_names_is_a_person_of_their_own_and_expected_until_their_day(installed: Flask) -> None:
    firm = new_firm()

    def enter(session: Session) -> Person:
        return contractors.enter(
            session, firm.company.organization_id, "Zoë Ng", email="zoe@agency.example", user_name="zoe", starts_at=on(5), actor=ADMIN, at=on(0)
        )

    person = in_transaction(enter)

    assert (person.display_name, person.email, person.user_type) == ("Zoë Ng", "zoe@agency.example", "Contractor")
    assert person.standing == Standing.EXPECTED
    in_transaction(lambda s: contractors.enter(
        s, firm.company.organization_id, "Yul", email="yul@agency.example", user_name="yul", starts_at=None, actor=ADMIN, at=on(0)
    ))  # fmt: skip
    with reading() as session:
        assert len(session.scalars(select(Source).where(Source.kind == contractors.KIND)).all()) == 1


# Named by a directory


def test_whom_a_directory_calls_a_contractor_has_an_engagement_with_their_manager_as_sponsor(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada", kind="CONTRACTOR", manager=firm.kim, until=50)

    firm.adopts(at=1)

    row = firm.engagement(ada)
    assert row is not None and (row.kind, row.origin, row.sponsor_id, row.ends_at) == ("CONTRACTOR", "directory", firm.kim.person_id, on(50))
    assert firm.letters() == [(30, on(20)), (14, on(36)), (7, on(43)), (0, on(50))]


@pytest.mark.parametrize(("type_", "said"), [("Überlassen", "überlassen"), ("überlassen", "ÜBERLASSEN"), ("Überlassen", "Überlassen"), ("Groß", "GROSS")])
def test_whatever_letters_a_type_is_written_with_it_is_found(installed: Flask, type_: str, said: str) -> None:
    firm = new_firm()
    organization_id = firm.company.organization_id
    in_transaction(lambda s: set_setting(s, s.get_one(Organization, organization_id), "contractor_types", f"Intern,{type_}", actor=ADMIN, at=on(0)))
    ada = firm.joins("ada", kind=said, manager=firm.kim, until=50)

    with reading() as session:
        assert [one.person.id for one in contractors.listed(session, organization_id)] == [ada.person_id]
        assert [one.person_id for one in endings(session, organization_id, at=on(0))] == [ada.person_id]
    firm.adopts(at=1)

    row = firm.engagement(ada)
    assert row is not None and (row.kind, row.ends_at) == (said, on(50))


def test_beginning_an_engagement_for_a_directory_takes_nothing_and_names_no_day_of_its_own(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada", kind="Contractor")

    firm.adopts(at=1)
    firm.time_passes(to=300)

    person, row = firm.person(ada), firm.engagement(ada)
    assert (person.standing, person.access_until) == (Standing.ACTIVE, None)
    assert row is not None and row.ends_at is None


def test_employees_have_no_engagement_and_neither_has_anybody_where_no_type_says_so(installed: Flask) -> None:
    firm = new_firm()
    ada, bob = firm.joins("ada"), firm.joins("bob", kind="Contractor")
    in_transaction(lambda s: set_setting(s, s.get_one(Organization, firm.company.organization_id), "contractor_types", "none", actor=ADMIN, at=on(0)))

    firm.adopts(at=1)

    assert firm.engagement(ada) is None and firm.engagement(bob) is None


def test_looking_through_people_goes_on_where_it_ended_and_begins_nothing_twice(installed: Flask) -> None:
    firm = new_firm()
    people = [firm.joins(name, kind="Contractor") for name in ("ada", "bob", "cyd")]

    def some(session: Session, after: str) -> str | None:
        return contractors.adopt_some(session, firm.company.organization_id, after=after, most=2, at=on(1))

    upto = in_transaction(lambda s: some(s, ""))
    assert upto is not None
    assert sum(firm.engagement(one) is not None for one in people) == 1, "of the first two people one is an employee"
    while upto is not None:
        upto = in_transaction(lambda s, upto=upto: some(s, upto))  # type: ignore[misc]  # defaults bind the loop's values
    in_transaction(lambda s: some(s, ""))

    assert all(firm.engagement(one) is not None for one in people)


def test_a_sponsor_gives_whom_a_directory_named_a_day_and_then_their_word_counts(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada", kind="Contractor", manager=firm.kim)
    firm.adopts(at=1)

    firm.attests(ada, until=20, at=2)
    firm.time_passes(to=20)

    assert firm.person(ada).standing == Standing.PAUSED


def test_an_employee_is_not_attested(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada")

    with pytest.raises(Unfit, match="is an employee"):
        firm.attests(ada, until=20, at=1)


def test_what_a_directory_says_later_is_followed_until_a_sponsor_has_answered(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada", kind="Contractor", manager=firm.kim, until=50)
    firm.adopts(at=1)

    ada = firm.says(ada, until=80, at=2)
    firm.time_passes(to=3)
    moved = firm.engagement(ada)
    ada = firm.says(ada, kind="Employee", at=4)
    firm.time_passes(to=5)

    assert moved is not None and moved.ends_at == on(80)
    assert firm.engagement(ada) is None and firm.letters() == []


def test_a_directory_that_calls_them_an_employee_undoes_no_sponsors_day(installed: Flask) -> None:
    firm = new_firm()
    ada = firm.joins("ada", kind="Contractor", manager=firm.kim)
    firm.adopts(at=1)
    firm.attests(ada, until=20, at=2)

    firm.says(ada, kind="Employee", at=3)
    firm.time_passes(to=20)

    assert firm.person(ada).standing == Standing.PAUSED
    assert firm.engagement(ada) is not None


def test_everybody_who_is_no_employee_is_listed_by_their_last_day(installed: Flask) -> None:
    firm = new_firm()
    for name, until in (("late", 60), ("soon", 10)):
        firm.takes_on(firm.joins(name), until=until)
    firm.joins("open", kind="Contractor")
    gone = firm.joins("gone")
    firm.takes_on(gone, until=5)
    firm.says(gone, active=False, at=1)

    with reading() as session:
        found = [(one.person.user_name, one.engagement is None) for one in contractors.listed(session, firm.company.organization_id)]

    assert found == [("soon@x.example", False), ("late@x.example", False), ("open@x.example", True)]
