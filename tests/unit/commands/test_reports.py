"""Reports as they are typed: what they print in each form, and how they end when something could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.access.tables import Workspace
from app.clock import now
from app.intake import terminations
from app.intake.tables import HREvent
from app.intake.terminations import Totals
from app.journal import entries
from app.journal.tables import HERE
from app.revocation.departures import current
from app.revocation.sweep_tables import Sweep
from app.revocation.tables import Departure, Proof
from connectors.contract import AccountState
from tests.company import ADMIN
from tests.unit.commands.conftest import Desk
from tests.unit.commands.reporting import ALL, FORMS, new_firm, period, table


@pytest.fixture
def firm(desk: Desk) -> Desk:
    return new_firm(desk)


# The forms


def test_json_is_one_object_with_lines_and_totals(firm: Desk) -> None:
    said = firm.asks("report", "terminations", *period())

    assert said["schema"] == "doorlist.report.terminations/1"
    assert {line["userName"]: line["voice"] for line in said["lines"] if line["person_id"]} == {"ada@acme.example": "hr", "bob@acme.example": "operator"}
    assert (said["population"], said["open"], said["parked"], said["people"]) == (3, 2, 1, 2)
    assert said["population"] == sum(said[one] for one in ("removed", "no_account", "open", "returned", "stays", "parked"))
    assert said["hr"] == {"calls": 2, "matched": 1, "superseded": 0, "called_off": 0, "parked": 1}
    assert (said["voices"], said["time_zone"]) == ({"hr": 1, "operator": 1}, "UTC")
    assert set(said["lines"][0]) == set(terminations.COLUMNS)


def test_csv_has_a_header_and_the_same_lines_and_talk_goes_elsewhere(firm: Desk) -> None:
    said = firm.types("report", "terminations", *period(), "--csv")

    rows = table(said)
    assert said.out.splitlines()[0] == ",".join(terminations.COLUMNS)
    assert [row["outcome"] for row in rows] == [line["outcome"] for line in firm.asks("report", "terminations", *period())["lines"]]
    assert "3 terminations of 2 people = 0 removed + 0 no account + 2 open + 0 returned + 0 stays + 1 parked." in said.err


def test_in_a_pipe_a_report_is_lines_with_a_header(firm: Desk) -> None:
    said = firm.types("report", "terminations", *period())

    header, *lines = said.out.splitlines()
    assert header.split("\t")[:3] == ["outcome", "userName", "voice"]
    assert {line.split("\t")[0] for line in lines} == {"open", "parked"}
    assert {len(line.split("\t")) for line in lines} == {len(header.split("\t"))}


@pytest.mark.parametrize("form", FORMS)
def test_every_report_answers_in_every_form_where_there_is_nothing(desk: Desk, form: str) -> None:
    for name, given in ALL.items():
        said = desk.types("report", name, *given, *([form] if form else []))

        assert said.exit == 0, said
        if form == "--json":
            assert said.json["lines"] == [] and said.err == ""
        elif form == "--csv":
            assert table(said) == [] and len(said.out.splitlines()) == 1
        else:
            assert len(said.out.splitlines()) == 1


def test_json_and_csv_at_once_are_a_slip(desk: Desk) -> None:
    said = desk.types("report", "orphans", "--json", "--csv")

    assert said.exit == 2 and "exclude each other" in said.json["error"]


def test_a_report_that_fails_halfway_prints_its_error_and_nothing_else(firm: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object, **__: object) -> Any:
        yield {"outcome": "removed"}
        raise OSError("the disk is full")

    monkeypatch.setattr(terminations, "report", breaks)

    as_json = firm.types("report", "terminations", *period(), "--json")
    as_csv = firm.types("report", "terminations", *period(), "--csv")

    assert (as_json.exit, as_json.json["error"]) == (1, "the disk is full")
    assert (as_csv.exit, as_csv.out) == (1, "")


def test_a_name_that_is_a_formula_is_one_in_no_csv(desk: Desk) -> None:
    desk.hires(desk.directory(), "=1+1", number="E-1")
    desk.asks("depart", "E-1")

    csv_rows = table(desk.types("report", "terminations", *period(), "--csv"))
    (line, *_) = desk.asks("report", "terminations", *period())["lines"]

    assert {(row["userName"], row["displayName"]) for row in csv_rows} == {("'=1+1@acme.example", "'=1+1")}
    assert line["userName"] == "=1+1@acme.example"


# Terminations


def test_days_are_those_of_the_organisation_and_the_last_one_is_in(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")
    desk.asks("settings", "set", "time_zone", "Asia/Tokyo")
    desk.asks("depart", "ada@acme.example")
    # The end of 31 March in Tokyo.
    desk.acts(lambda session: session.execute(update(Departure).values(due_at=datetime(2026, 3, 31, 15, tzinfo=UTC))))
    _forget_words(desk)

    def count(first: str, last: str) -> int:
        return int(desk.asks("report", "terminations", "--from", first, "--to", last)["population"])

    assert [count("2026-03-01", "2026-03-31"), count("2026-03-31", "2026-03-31"), count("2026-04-01", "2026-04-30")] == [1, 1, 0]
    assert count("2026-03-01", "2026-03-30") == 0


def _forget_words(desk: Desk) -> None:
    """What the operator said is called off, so that only the departure's own day counts."""
    from app.directory.tables import Statement

    organization_id = desk.organization_id

    def act(session: Session) -> None:
        entry = entries.write(
            session, organization_id, at=now(), actor=ADMIN, verb="test", because="test", subject_kind="person", subject_id="x"
        )
        session.execute(update(Statement).values(withdrawn_at=now(), journal_id=entry))

    desk.acts(act)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (("--from", "2026-02-30", "--to", "2026-03-31"), "'2026-02-30' is no day"),
        (("--from", "2026-03-01T10:00", "--to", "2026-03-31"), "is no day"),
        (("--from", "2026-04-01", "--to", "2026-03-31"), "comes before"),
        (("--from", "2026-04-01"), "--to"),
    ],
)
def test_days_that_cannot_be_are_refused(desk: Desk, given: Sequence[str], problem: str) -> None:
    said = desk.types("report", "terminations", *given, "--json")

    assert said.exit == 2 and problem in said.json["error"]


def test_a_day_of_a_leap_year_is_taken(desk: Desk) -> None:
    assert desk.asks("report", "terminations", "--from", "2028-02-29", "--to", "2028-02-29")["lines"] == []


def test_a_report_that_does_not_add_up_is_an_error(firm: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Totals, "adds_up", property(lambda _: False))

    said = firm.types("report", "terminations", *period(), "--json")

    assert said.exit == 1 and said.json["hr"]["calls"] == 2


def test_what_was_proved_is_shown_with_its_grade_and_seconds(firm: Desk) -> None:
    organization_id = firm.organization_id

    def prove(session: Session) -> None:
        ada = session.scalars(select(HREvent.person_id).where(HREvent.event_id == "msg_1")).one()
        departure = current(session, organization_id, str(ada))
        assert departure is not None
        shut = departure.received_at + timedelta(seconds=1.5)
        session.add(
            Proof(
                organization_id=departure.organization_id, departure_id=departure.id, workspace_id=HERE, attempts=1, shut_at=shut, gone_at=shut,
                shut_grade="probed", gone_grade="probed", closed={"sessions": 2},
            )
        )  # fmt: skip

    firm.acts(prove)

    (row,) = [row for row in table(firm.types("report", "terminations", *period(), "--csv")) if row["userName"] == "ada@acme.example"]
    assert (row["outcome"], row["place"], row["shut_known"], row["closed"]) == ("removed", "doorlist", "probed", "2 sessions")
    assert (row["s_from_received_to_shut"], row["s_to_gone"]) == ("1.5", "1.5")


# Orphans and drift


def test_orphans_are_listed_with_who_stands_behind_them(desk: Desk) -> None:
    source_id = desk.directory()
    ada, bob = desk.hires(source_id, "ada"), desk.hires(source_id, "bob")
    desk.connects_chat()
    desk.chat.has(ada)
    desk.chat.has(bob)
    desk.chat.has("gone", state=AccountState.DEACTIVATED)
    desk.asks("depart", "bob@acme.example")

    said = desk.asks("report", "orphans")

    assert {(line["behind"], line["user_name"]) for line in said["lines"]} == {("left", "bob@acme.example")}
    assert said["workspaces"] == [{"name": "chat", "accounts": 3, "shut": 1, "orphans": 1, "error": None}]


@pytest.mark.parametrize("report", ["orphans", "drift"])
def test_a_workspace_that_does_not_answer_is_a_line_that_says_unknown(desk: Desk, report: str) -> None:
    desk.connects_chat()
    desk.chat.down = True

    for form in FORMS:
        said = desk.types("report", report, *([form] if form else []))

        assert said.exit == 7
        assert "unknown" in said.out and "no answer" in said.out


@pytest.mark.parametrize("report", ["orphans", "drift"])
def test_where_only_some_could_be_read_the_others_are_told_all_the_same(desk: Desk, report: str) -> None:
    desk.connects_chat()
    second = desk.asks("workspace", "add", "matrix", "second", "--url", "https://b.example", "--token-file", desk.file("token", "s3cret\n"))["id"]
    desk.acts(lambda session: session.execute(update(Workspace).where(Workspace.id == second).values(sealed_token=b"of another key")))
    desk.chat.has("nobody")

    said = desk.types("report", report, "--json")

    assert said.exit == 6
    assert {line.get("workspace") or line.get("place") for line in said.json["lines"]} == {"chat", "second"}


def test_drift_tells_the_last_sweep_and_how_each_workspace_differs(desk: Desk) -> None:
    source_id = desk.directory()
    desk.hires(source_id, "ada")
    bob = desk.hires(source_id, "bob")
    chat = desk.connects_chat()
    desk.chat.has(bob)
    desk.asks("depart", "bob@acme.example")
    began, organization_id = now() - timedelta(minutes=5), desk.organization_id

    def swept(session: Session) -> None:
        session.add(
            Sweep(
                organization_id=organization_id, place=chat, upto_at=began, round_began_at=began, round_ended_at=now(), looked=7, alive=1,
                last_error="a page was slow",
            )
        )  # fmt: skip
        session.execute(update(Departure).values(reason="found alive by the sweep in chat: account @bob is active"))

    desk.acts(swept)

    said = desk.asks("report", "drift")

    by_kind = {(line["kind"], line["sign"]): line for line in said["lines"]}
    assert (by_kind["sweep", None]["looked"], by_kind["sweep", None]["alive"], by_kind["sweep", None]["why"]) == (7, 1, "a page was slow")
    found = by_kind["found alive", None]
    assert (found["place"], found["person"], found["why"]) == ("chat", "bob@acme.example", "account @bob is active")
    assert (by_kind["differs", "+"]["person"], by_kind["differs", "-"]["person"]) == ("ada@acme.example", "bob@acme.example")
    assert said["workspaces"] == [{"name": "chat", "error": None, "add": 1, "remove": 1, "keep": 0, "new_channels": 0}]


def test_drift_names_a_channel_that_is_still_to_be_made(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")
    desk.connects_chat()
    desk.asks("rules", "apply", desk.file("rules.yaml", "rules:\n  - id: all\n    name: all-hands\n"))

    lines = desk.asks("report", "drift")["lines"]

    assert ("differs", "+", "all-hands", None) in {(line["kind"], line["sign"], line["channel"], line["person"]) for line in lines}


# The others


def test_contractors_are_listed_by_their_last_day(desk: Desk) -> None:
    source_id = desk.directory()
    desk.hires(source_id, "kim")
    for name, day in (("ada", "2030-03-31"), ("bob", "2030-01-31")):
        desk.asks("settings", "set", "contractor_longest", "3660d")
        desk.asks("contractor", "add", name, "--email", f"{name}@x.example", "--sponsor", "kim@acme.example", "--until", day)

    said = desk.asks("report", "contractors")

    assert [(line["user_name"], line["last_day"], line["sponsor"]) for line in said["lines"]] == [
        ("bob@x.example", "2030-01-31", "kim@acme.example"), ("ada@x.example", "2030-03-31", "kim@acme.example"),
    ]  # fmt: skip
    assert (said["count"], said["open"], said["lapsed"], said["incomplete"]) == (2, 2, 0, 0)
    assert said["lines"][0]["days_left"] > 0 and said["lines"][0]["ends_at"] == "2030-02-01T00:00:00.000Z"


def test_people_in_no_channel_are_listed_with_the_reason(firm: Desk) -> None:
    firm.hires(str(firm.asks("source", "list")["sources"][0]["id"]), "cy")
    firm.asks("rules", "apply", firm.file("rules.yaml", 'rules:\n  - id: departments\n    for_each: department\n    name: "{{ key }}"\n'))

    said = firm.asks("report", "no-channel")

    assert [(line["user_name"], line["why"]) for line in said["lines"]] == [("cy@acme.example", "departments: they have no department")]
    assert [(line["userName"], line["displayName"]) for line in said["lines"]] == [("cy@acme.example", said["lines"][0]["display_name"])]
    assert (said["count"], said["rules"]) == (1, 1)


def test_contradictions_say_who_says_what(firm: Desk) -> None:
    said = firm.asks("report", "contradictions")

    assert {(line["user_name"], line["said_by"], line["says"], line["counts"]) for line in said["lines"]} >= {
        ("ada@acme.example", "okta", "on", False), ("ada@acme.example", "workday", "leaves", True),
    }  # fmt: skip
    assert said["people"] == 2
