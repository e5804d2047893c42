"""Expecting, rescinding, reinstating and showing people; leaving and returning on a day."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.database import in_transaction, reading
from app.directory.tables import Person, Record, StatementKind, Voice
from app.journal.tables import Entry
from app.lifecycle import leaving
from app.lifecycle.records import RecordDraft, change_record
from tests.company import ADMIN
from tests.possessions import possessions_of
from tests.unit.commands.conftest import OKTA, Desk

ADA = "ada@acme.example"


def test_whoever_is_expected_starts_on_that_day_where_the_organisation_is(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")
    desk.asks("settings", "set", "time_zone", "Europe/Berlin")

    said = desk.asks("person", "expect", ADA, "--at", "2031-03-01")

    assert (said["standing"], said["starts_at"]) == ("expected", "2031-02-28T23:00:00.000Z")
    assert said["person"]["standing"] == "expected"


def test_a_zone_that_is_named_counts_over_the_organisations(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")

    said = desk.asks("person", "expect", ADA, "--at", "2031-03-01T09:00", "--zone", "Asia/Tokyo")

    assert said["starts_at"] == "2031-03-01T00:00:00.000Z"


def test_whoever_is_expected_may_start_now(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")
    desk.asks("person", "expect", ADA, "--at", "2031-03-01")

    assert desk.asks("person", "expect", ADA, "--now")["standing"] == "active"


@pytest.mark.parametrize("when", [(), ("--at", "2031-03-01", "--now"), ("--at", "2031-02-29"), ("--at", "soon"), ("--at", "2031-03-01", "--zone", "Mars")])
def test_a_start_needs_a_day_that_there_is(desk: Desk, when: tuple[str, ...]) -> None:
    desk.hires(desk.directory(), "ada")

    assert desk.types("person", "expect", ADA, *when, "--json").exit == 2


def test_an_offer_is_rescinded(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")
    desk.asks("person", "expect", ADA, "--at", "2031-03-01")

    assert desk.asks("person", "rescind", ADA, "--reason", "took another offer")["standing"] == "departed"
    assert desk.types("person", "expect", ADA, "--at", "2031-03-01", "--json").exit == 1


def test_whoever_is_in_is_not_rescinded_but_departs(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")

    said = desk.types("person", "rescind", ADA, "--reason", "x", "--json")

    assert said.exit == 1 and "doorlist depart" in said.json["error"]


def test_a_reinstatement_is_one_step_and_stands_in_the_receipt(desk: Desk) -> None:
    source_id = desk.directory()
    person_id = desk.hires(source_id, "ada")
    desk.switches_off(source_id, person_id)

    said = desk.asks("reinstate", ADA, "--reason", "the wrong Ada")
    [departure] = desk.asks("receipt", ADA)["departures"]

    assert said["standing"] == "active" and said["departure"] == departure["id"]
    assert departure["returned"] is not None
    assert departure["reinstated"]["reason"] == "the wrong Ada" and departure["reinstated"]["by"].startswith("host:")


def test_the_written_receipt_says_it_too(desk: Desk) -> None:
    source_id = desk.directory()
    desk.switches_off(source_id, desk.hires(source_id, "ada"))
    desk.asks("reinstate", ADA, "--reason", "the wrong <Ada>")
    page = desk.folder / "receipt.html"

    desk.asks("receipt", ADA, "--out", str(desk.folder / "receipt.json"), "--html", str(page))

    assert '"reason":"the wrong <Ada>"' in (desk.folder / "receipt.json").read_text()
    assert "It was a mistake" in page.read_text() and "the wrong &lt;Ada&gt;" in page.read_text()


def test_a_reinstatement_says_that_an_announced_departure_still_comes(desk: Desk) -> None:
    source_id = desk.directory()
    person_id = desk.hires(source_id, "ada")
    desk.asks("depart", ADA, "--at", "2031-01-01T00:00:00Z")
    desk.switches_off(source_id, person_id)

    said = desk.types("reinstate", ADA, "--reason", "mistake")

    assert "They still leave at 2031-01-01T00:00:00.000Z" in said.err


def test_a_reinstatement_of_somebody_with_a_sponsor_names_what_moves_their_day(desk: Desk) -> None:
    source_id = desk.directory()
    for name in ("ada", "kim"):
        desk.hires(source_id, name)
    desk.asks("contractor", "add", ADA, "--sponsor", "kim@acme.example", "--until", (now() + timedelta(days=30)).date().isoformat())
    desk.asks("contractor", "end", ADA)

    said = desk.types("reinstate", ADA, "--reason", "mistake")

    assert f"doorlist contractor attest {ADA} --until DAY --by SPONSOR" in said.err and "doorlist return" not in said.err
    later = (now() + timedelta(days=60)).date().isoformat()
    assert desk.asks("contractor", "attest", ADA, "--until", later, "--by", "kim@acme.example")["person"]["standing"] == "active"


def test_a_reinstatement_of_somebody_whose_directory_names_a_last_day_says_where_it_is_changed(desk: Desk) -> None:
    person_id = desk.hires(desk.directory(), "ada")
    desk.acts(lambda session: _has_a_last_day(session, person_id))
    desk.asks("depart", ADA)

    said = desk.types("reinstate", ADA, "--reason", "mistake")

    assert "A directory says so, and the day is changed there." in said.err and "doorlist return" not in said.err


def _has_a_last_day(session: Session, person_id: str) -> None:
    record = session.scalars(select(Record).where(Record.person_id == person_id)).one()
    draft = RecordDraft(
        external_id=record.external_id, user_name=record.user_name, active=True, document=record.document, ends_at=now() + timedelta(days=30)
    )
    change_record(session, record.organization_id, record.source_id, record.id, draft, actor=OKTA, at=now(), because="push")


def test_whoever_has_access_already_is_not_said_to_sign_in_again(desk: Desk) -> None:
    source_id = desk.directory()
    desk.switches_off(source_id, desk.hires(source_id, "ada"))

    first, again = (desk.types("reinstate", ADA, "--reason", "a mistake").err for _ in range(2))

    assert "asks them to sign in again" in first
    assert "They had access already: nothing was undone." in again and "sign in again" not in again


def test_who_lost_a_phone_is_signed_out_everywhere_and_stays(desk: Desk) -> None:
    person_id = desk.hires(desk.directory(), "ada")
    with desk.app.app_context():
        organization_id = in_transaction(lambda s: s.scalars(select(Person.organization_id).where(Person.id == person_id)).one())
        held = possessions_of(organization_id, person_id, at=now())

        said = desk.asks("sign-out", ADA, "--reason", "phone lost on a train")

        assert held.let_in(at=now()) == set()
        assert (said["person"]["id"], said["standing"], said["signed_out"]) == (person_id, "active", True)
        with reading() as session:
            entry = session.scalars(select(Entry).where(Entry.verb == "signed out everywhere")).one()
        assert (entry.because, entry.actor.partition(":")[0]) == ("phone lost on a train", "host")
        assert possessions_of(organization_id, person_id, at=now()).let_in(at=now()) >= {"cookie"}, "they may sign in again"


def test_of_who_has_left_nothing_is_open(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")
    desk.asks("depart", ADA)

    assert desk.asks("sign-out", ADA)["signed_out"] is False
    assert desk.types("sign-out", "nobody@acme.example", "--json").exit == 1
    assert desk.types("sign-out", ADA, "--reason", " ", "--json").exit == 2


@pytest.mark.parametrize(("role", "exit"), [("helpdesk", 0), ("auditor", 4)])
def test_helpdesk_signs_out_and_whoever_only_reads_does_not(desk: Desk, role: str, exit: int) -> None:
    desk.hires(desk.directory(), "ada")
    token = desk.asks("operator", "add", "grace", "--role", role)["token"]

    assert desk.types("sign-out", ADA, "--json", token=token).exit == exit


@pytest.mark.parametrize("reason", [(), ("--reason", "  ")])
def test_a_reinstatement_needs_a_reason(desk: Desk, reason: tuple[str, ...]) -> None:
    desk.hires(desk.directory(), "ada")
    desk.asks("depart", ADA)

    assert desk.types("reinstate", ADA, *reason, "--json").exit == 2
    assert desk.asks("receipt", ADA)["standing"] == "departed"


@pytest.mark.parametrize("role", ["helpdesk", "auditor"])
@pytest.mark.parametrize(
    "verb",
    [("person", "expect", ADA, "--now"), ("person", "rescind", ADA, "--reason", "x"), ("reinstate", ADA, "--reason", "x")],
)
def test_who_starts_and_who_was_closed_by_mistake_is_for_administrators(desk: Desk, role: str, verb: tuple[str, ...]) -> None:
    desk.hires(desk.directory(), "ada")
    desk.asks("depart", ADA)
    token = desk.asks("operator", "add", "grace", "--role", role)["token"]

    assert desk.types(*verb, "--json", token=token).exit == 4
    assert desk.asks("receipt", ADA)["standing"] == "departed"


def test_words_are_shown_in_the_order_in_which_they_count_each_with_the_time_of_its_clock(desk: Desk) -> None:
    person_id = desk.hires(desk.directory(), "ada")
    ahead = now() + timedelta(hours=1)
    desk.asks("depart", ADA)


    def returns(session: Session) -> None:
        organization_id = session.scalars(select(Person.organization_id).where(Person.id == person_id)).one()
        leaving.say(
            session, organization_id, person_id, voice=Voice.OPERATOR, kind=StatementKind.RETURNS, said_by="x", effective_at=ahead, actor=ADMIN,
            at=ahead, because="test",
        )  # fmt: skip

    with desk.app.app_context():
        in_transaction(returns)
    desk.asks("depart", ADA)

    shown = desk.asks("person", "show", ADA)

    assert [one["says"] for one in shown["statements"]] == ["leaves", "returns", "leaves"]
    assert shown["statements"][0]["said_at"] < shown["statements"][2]["said_at"] < shown["statements"][1]["said_at"] == iso(ahead)
    assert shown["standing"] == "departed"


def test_every_voice_is_shown_with_its_dates(desk: Desk) -> None:
    source_id = desk.directory()
    person_id = desk.hires(source_id, "ada")
    desk.asks("depart", ADA, "--at", "2031-01-01T00:00:00Z")

    shown = desk.asks("person", "show", ADA)

    assert shown["person"]["id"] == person_id and shown["access_until"] == shown["changes_at"] == "2031-01-01T00:00:00.000Z"
    assert [(one["source"], one["says"]) for one in shown["records"]] == [("okta", "on")]
    assert [(one["voice"], one["says"], one["effective_at"]) for one in shown["statements"]] == [("operator", "leaves", "2031-01-01T00:00:00.000Z")]
    assert shown["engagement"] is None


def test_a_last_day_ends_at_its_midnight_there(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")

    said = desk.asks("depart", ADA, "--last-day", "2031-10-26", "--zone", "Europe/Berlin")

    assert said["access_until"] == "2031-10-26T23:00:00.000Z"


@pytest.mark.parametrize("when", [(), ("--at", "2031-10-26T17:00Z")])
def test_a_zone_without_a_day_that_ends_there_lets_nobody_leave(desk: Desk, when: tuple[str, ...]) -> None:
    desk.hires(desk.directory(), "ada")

    said = desk.types("depart", ADA, *when, "--zone", "Europe/Berlin", "--json")

    assert (said.exit, "--last-day" in said.json["error"]) == (2, True)
    shown = desk.asks("person", "show", ADA)
    assert (shown["standing"], shown["access_until"]) == ("active", None)


@pytest.mark.parametrize("day", [("--last-day", "2031-02-29"), ("--last-day", "2031-10-26T17:00"), ("--last-day", "2031-10-26", "--at", "2031-10-26T17:00Z")])
def test_a_last_day_is_a_day_and_nothing_else(desk: Desk, day: tuple[str, ...]) -> None:
    desk.hires(desk.directory(), "ada")

    assert desk.types("depart", ADA, *day, "--json").exit == 2
    assert desk.asks("receipt", ADA)["announced"] == []


def test_a_last_day_that_has_passed_is_now(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")

    assert desk.asks("depart", ADA, "--last-day", "2020-02-29")["standing"] == "departed"


def test_somebody_comes_back_on_a_day(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")
    desk.asks("depart", ADA)

    said = desk.asks("return", ADA, "--at", "2031-01-01T00:00:00Z")

    assert (said["standing"], said["effective_at"]) == ("departed", "2031-01-01T00:00:00.000Z")
    assert desk.asks("person", "show", ADA)["changes_at"] == "2031-01-01T00:00:00.000Z"
