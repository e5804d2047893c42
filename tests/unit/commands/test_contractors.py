"""Taking people on, vouching for them, and letting them go, as it is typed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.clock import now
from app.commands import housekeeping
from app.database import reading
from app.directory.tables import Person, Record, Statement, Voice
from app.journal import entries
from app.lifecycle import engagements, restoring
from app.lifecycle.engagement_tables import Engagement
from app.lifecycle.records import RecordDraft, change_record
from tests.company import ADMIN
from tests.unit.commands.conftest import OKTA, Desk

ADA, KIM = "ada@acme.example", "kim@acme.example"


def in_days(days: int) -> str:
    return (now() + timedelta(days=days)).date().isoformat()


@pytest.fixture
def firm(desk: Desk) -> Desk:
    """Ada and Kim are in the directory."""
    source_id = desk.directory()
    for name in ("ada", "kim"):
        desk.hires(source_id, name)
    return desk


def test_somebody_whom_a_directory_names_is_taken_on(firm: Desk) -> None:
    said = firm.asks("contractor", "add", ADA, "--sponsor", KIM, "--until", in_days(30))

    assert said["person"]["standing"] == "active" and said["sponsor"]["userName"] == KIM
    assert said["ends"] == said["access_until"] == f"{in_days(31)}T00:00:00.000Z", "at the end of that day"


def test_somebody_whom_nobody_names_is_entered_with_an_address(firm: Desk) -> None:
    said = firm.asks(
        "contractor", "add", "Zoë Ng", "--email", "zoe@agency.example", "--sponsor", KIM, "--from", in_days(5), "--until", in_days(30)
    )

    assert (said["person"]["displayName"], said["person"]["userName"], said["person"]["standing"]) == ("Zoë Ng", "zoe@agency.example", "expected")
    assert said["kind"] == "Contractor"
    sources = firm.asks("source", "list")["sources"]
    assert {one["kind"] for one in sources} == {"scim", "contractors"}


def test_the_last_day_of_somebody_who_has_yet_to_start_is_said(firm: Desk) -> None:
    entered = firm.types(
        "contractor", "add", "Zoë Ng", "--email", "zoe@agency.example", "--sponsor", KIM, "--from", in_days(5), "--until", in_days(30)
    )
    attested = firm.types("contractor", "attest", "zoe@agency.example", "--until", in_days(60), "--by", KIM)

    assert entered.err == f"Zoë Ng is expected, until {in_days(31)}T00:00:00.000Z.\n"
    assert attested.err == f"Zoë Ng is expected, until {in_days(61)}T00:00:00.000Z.\n"


def test_an_address_that_is_known_is_not_entered_again(firm: Desk) -> None:
    said = firm.types("contractor", "add", "Ada B.", "--email", ADA, "--sponsor", KIM, "--until", in_days(30), "--json")

    assert said.exit == 2 and "known already" in said.json["error"]


@pytest.mark.parametrize("address", ["", " ", "zoe", "@agency.example", "zoe@", "zoe@@agency.example", "Zoë <zoe@agency.example>", "zoe@agency.example,z@x"])
def test_what_is_no_address_is_not_taken_for_one(firm: Desk, address: str) -> None:
    said = firm.types("contractor", "add", "Zoë", "--email", address, "--sponsor", KIM, "--until", in_days(30), "--json")

    assert said.exit == 2 and "is no address; write it like zoe@agency.example" in said.json["error"]
    assert firm.asks("contractor", "list")["contractors"] == []


def test_blanks_around_an_address_are_no_part_of_it(firm: Desk) -> None:
    said = firm.asks("contractor", "add", "Zoë", "--email", " zoë@agency.example ", "--sponsor", KIM, "--until", in_days(30))

    assert said["person"]["userName"] == "zoë@agency.example"


@pytest.mark.parametrize(("name", "user_name"), [("", "zoe"), (" ", "zoe"), ("Zoë", ""), ("Zoë", " "), ("Zoë", "z\noe")])
def test_nobody_is_entered_without_a_name(firm: Desk, name: str, user_name: str) -> None:
    said = firm.types(
        "contractor", "add", name, "--email", "zoe@agency.example", "--user-name", user_name, "--sponsor", KIM, "--until", in_days(30), "--json"
    )

    assert said.exit == 2 and "is no name" in said.json["error"]
    assert firm.asks("contractor", "list")["contractors"] == []


def test_nobody_is_entered_by_what_somebody_else_is_called(firm: Desk) -> None:
    said = firm.types(
        "contractor", "add", "Ada C.", "--email", "ada.c@agency.example", "--user-name", ADA.upper(), "--sponsor", KIM, "--until", in_days(30), "--json"
    )

    assert said.exit == 2 and f"known already, as {ADA}" in said.json["error"]
    assert firm.asks("depart", ADA)["standing"] == "departed", "who is meant is still clear"


@pytest.mark.parametrize("missing", [("--sponsor", KIM), ("--until", "2031-01-01")])
def test_nobody_is_taken_on_without_a_sponsor_or_without_a_last_day(firm: Desk, missing: tuple[str, str]) -> None:
    assert firm.types("contractor", "add", ADA, *missing, "--json").exit == 2
    assert firm.asks("contractor", "list")["contractors"] == []


def test_a_stranger_sponsors_nobody(firm: Desk) -> None:
    said = firm.types("contractor", "add", ADA, "--sponsor", "nobody@acme.example", "--until", in_days(30), "--json")

    assert said.exit == 1 and firm.asks("contractor", "list")["contractors"] == []


def test_a_sponsor_who_does_not_fit_enters_nobody(firm: Desk) -> None:
    firm.asks("depart", KIM)

    said = firm.types("contractor", "add", "Zoë", "--email", "zoe@agency.example", "--sponsor", KIM, "--until", in_days(30), "--json")

    assert said.exit == 1 and "no access themselves" in said.json["error"]
    assert firm.types("receipt", "zoe@agency.example", "--json").exit == 1, "nothing of it was kept"


def test_a_sponsor_attests_until_another_day(firm: Desk) -> None:
    firm.asks("contractor", "add", ADA, "--sponsor", KIM, "--until", in_days(30))

    said = firm.asks("contractor", "attest", ADA, "--until", in_days(60), "--by", KIM)

    assert said["access_until"] == f"{in_days(61)}T00:00:00.000Z"
    assert said["attested_by"] == KIM


def test_whoever_is_no_sponsor_attests_nothing(firm: Desk) -> None:
    firm.asks("contractor", "add", ADA, "--sponsor", KIM, "--until", in_days(30))

    said = firm.types("contractor", "attest", ADA, "--until", in_days(60), "--by", ADA, "--json")

    assert said.exit == 1 and f"{KIM} does" in said.json["error"]


def test_another_sponsor_answers(firm: Desk) -> None:
    firm.hires(firm.asks("source", "list")["sources"][0]["id"], "lee")
    firm.asks("contractor", "add", ADA, "--sponsor", KIM, "--until", in_days(30))

    firm.asks("contractor", "reassign", ADA, "--to", "lee@acme.example")

    [listed] = firm.asks("contractor", "list")["contractors"]
    assert (listed["sponsor"]["userName"], listed["state"]) == ("lee@acme.example", "open")


def test_whoever_is_let_go_has_departed_and_whoever_stays_has_no_end(firm: Desk) -> None:
    firm.hires(firm.asks("source", "list")["sources"][0]["id"], "bob")
    for name in (ADA, "bob@acme.example"):
        firm.asks("contractor", "add", name, "--sponsor", KIM, "--until", in_days(30))

    gone = firm.asks("contractor", "end", ADA)
    stays = firm.asks("contractor", "end", "bob@acme.example", "--stays")

    assert gone["person"]["standing"] == "departed"
    assert (stays["person"]["standing"], stays["access_until"]) == ("active", None)
    assert firm.asks("contractor", "list")["contractors"] == []


@pytest.mark.parametrize(("options", "standing"), [((), "departed"), (("--stays",), "active")])
def test_an_engagement_that_is_over_shows_no_last_day(firm: Desk, options: tuple[str, ...], standing: str) -> None:
    firm.asks("contractor", "add", ADA, "--sponsor", KIM, "--until", in_days(30))

    said = firm.types("contractor", "end", ADA, *options)

    assert said.out.splitlines()[1].split("\t") == [ADA, standing, "-", "-"]


def test_whoever_was_entered_by_hand_and_stays_is_an_employee_from_then_on(firm: Desk) -> None:
    zoe = "zoe@agency.example"
    firm.asks("contractor", "add", "Zoë Ng", "--email", zoe, "--sponsor", KIM, "--until", in_days(30))

    said = firm.types("contractor", "end", zoe, "--stays")
    housekeeping.tick(firm.app)

    assert said.err == "Zoë Ng is active: no voice has taken access.\n"
    assert firm.asks("contractor", "list")["contractors"] == firm.asks("report", "contractors")["lines"] == []
    assert firm.asks("alarms", "list")["alarms"] == []
    # Nobody but an employee answers for somebody else.
    firm.asks("contractor", "add", ADA, "--sponsor", zoe, "--until", in_days(30))


def test_of_whom_a_directory_still_calls_a_contractor_it_is_said_that_they_are_taken_for_one_again(firm: Desk) -> None:
    cyd = firm.hires(firm.asks("source", "list")["sources"][0]["id"], "cyd")
    firm.acts(lambda session: _pushed_as_a_contractor(session, cyd))

    said = firm.types("contractor", "end", "cyd@acme.example", "--stays")

    assert said.err.splitlines()[1:] == ["A directory still calls them Contractor: until it does not, they get another engagement within minutes."]


def test_every_minute_whom_a_directory_calls_a_contractor_gets_an_engagement_and_whose_day_has_come_is_written_down(firm: Desk) -> None:
    source_id = firm.asks("source", "list")["sources"][0]["id"]
    person_id = firm.hires(source_id, "cyd")
    firm.acts(lambda session: _called_a_contractor(session, person_id))
    firm.asks("contractor", "add", ADA, "--sponsor", KIM, "--until", in_days(30))
    firm.acts(_all_engagements_have_run_out)
    assert [one["state"] for one in firm.asks("contractor", "list")["contractors"]] == ["open", "incomplete"]

    housekeeping.tick(firm.app)
    housekeeping.tick(firm.app)

    listed = {one["person"]["userName"]: (one["state"], one["origin"], one["kind"]) for one in firm.asks("contractor", "list")["contractors"]}
    assert listed == {ADA: ("lapsed", "operator", "Contractor"), "cyd@acme.example": ("incomplete", "directory", "Contractor")}
    kinds = {one["kind"] for one in firm.asks("alarms", "list")["alarms"]}
    assert {"contract_lapsed", "contract_incomplete"} <= kinds


def _pushed_as_a_contractor(session: Session, person_id: str) -> None:
    record = session.scalars(select(Record).where(Record.person_id == person_id)).one()
    draft = RecordDraft(
        external_id=record.external_id, user_name=record.user_name, active=True, document={**record.document, "userType": "Contractor"}
    )
    change_record(session, record.organization_id, record.source_id, record.id, draft, actor=OKTA, at=now(), because="push")


def _called_a_contractor(session: Session, person_id: str) -> None:
    person = session.scalars(select(Person).where(Person.id == person_id)).one()
    entry = entries.write(
        session, person.organization_id, at=now(), actor=ADMIN, verb="changed", because="test", subject_kind="person", subject_id=person_id
    )
    person.user_type, person.journal_id = "Contractor", entry


def test_what_was_entered_by_hand_is_not_waited_for_after_a_restore(firm: Desk) -> None:
    firm.asks("contractor", "add", "Zoë", "--email", "zoe@agency.example", "--sponsor", KIM, "--until", in_days(30))

    with firm.app.app_context(), reading() as session:
        heard = restoring.heard_since(session, closed_at=now(), last_word=lambda *_: None)

    assert {one.kind for one in heard} == {"scim"}


def test_a_return_does_not_stand_in_for_an_answer(firm: Desk) -> None:
    firm.asks("contractor", "add", ADA, "--sponsor", KIM, "--until", in_days(30))
    firm.acts(_all_engagements_have_run_out)

    said = firm.types("return", ADA, "--json")

    assert said.exit == 1 and "contractor attest" in said.json["error"]


def _all_engagements_have_run_out(session: Session) -> None:
    """And with them what their sponsors have said."""
    row = session.scalars(select(Engagement).where(Engagement.ends_at.is_not(None))).one()
    yesterday = now() - timedelta(days=1)
    entry = engagements.journal(session, row, "changed", actor=ADMIN, at=now(), because="test")
    row.ends_at = yesterday
    session.execute(update(Statement).where(Statement.voice == Voice.SPONSOR).values(effective_at=yesterday, journal_id=entry))


def test_whoever_was_kept_as_an_employee_and_has_left_is_not_said_to_be_let_go_once_more(firm: Desk) -> None:
    firm.asks("contractor", "add", ADA, "--sponsor", KIM, "--until", in_days(30))
    firm.asks("contractor", "end", ADA, "--stays")
    firm.asks("depart", ADA)

    said = firm.types("contractor", "end", ADA, "--json")

    assert said.exit == 1 and f"doorlist contractor add {ADA} --sponsor PERSON --until DAY takes them on again" in said.json["error"]


@pytest.mark.parametrize("role", ["helpdesk", "auditor"])
@pytest.mark.parametrize(
    "verb",
    [
        ("add", ADA, "--sponsor", KIM, "--until", "2031-01-01"), ("attest", ADA, "--until", "2031-01-01", "--by", KIM),
        ("reassign", ADA, "--to", KIM), ("end", ADA), ("end", ADA, "--stays"),
    ],
)  # fmt: skip
def test_contractors_are_for_administrators(firm: Desk, role: str, verb: tuple[str, ...]) -> None:
    token = firm.asks("operator", "add", "grace", "--role", role)["token"]

    assert firm.types("contractor", *verb, "--json", token=token).exit == 4


@pytest.mark.parametrize("again", [("end",), ("end", "--stays"), ("reassign", "--to", ADA), ("attest", "--until", in_days(60), "--by", KIM)])
def test_whatever_is_typed_of_whoever_was_let_go_their_engagement_goes_on_when_they_are_back(firm: Desk, again: tuple[str, ...]) -> None:
    zoe = "zoe@agency.example"
    firm.asks("contractor", "add", "Zoë Ng", "--email", zoe, "--sponsor", KIM, "--until", in_days(30))
    firm.asks("contractor", "end", zoe)
    verb, *options = again

    typed = firm.types("contractor", verb, zoe, *options)

    assert (typed.exit, zoe in typed.out) == (0, True) if again == ("end",) else (1, False)
    assert again == ("end",) or typed.err == (
        f"doorlist: {zoe} has departed: doorlist contractor add {zoe} --sponsor PERSON --until DAY takes them on again\n"
    )
    assert firm.asks("return", zoe)["access_until"] == f"{in_days(31)}T00:00:00.000Z"
    housekeeping.tick(firm.app)
    [line] = firm.asks("contractor", "list")["contractors"]
    assert (line["state"], line["sponsor"]["userName"], line["ends"]) == ("open", KIM, f"{in_days(31)}T00:00:00.000Z")
