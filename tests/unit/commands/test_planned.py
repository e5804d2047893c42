"""When somebody is to leave, and why somebody has no access, is for owners, admins and auditors: each place that could tell others is tried."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from app.clock import now, parse_instant
from app.database import reading
from app.directory.tables import Person, Record, Statement, StatementKind, Voice
from app.journal.tables import Work
from app.lifecycle import leaving, sponsors
from app.scim.seen import flush_requests
from tests.company import ADMIN
from tests.unit.commands.conftest import Desk, Said

pytestmark = pytest.mark.slow

ADA, BEA = "ada@acme.example", "bea@acme.example"
LAST_DAY = "2031-04-30"
SECRETS = (LAST_DAY, "parental", "by hr", "hr says", "workday")
"""What must not be read: the planned day, the kind of leave, and that HR took access rather than anybody else."""


def says(desk: Desk, person_id: str, kind: StatementKind, *, planned: bool) -> None:
    organization_id = desk.organization_id
    at = now()

    def act(session: Session) -> Person:
        effective = parse_instant(f"{LAST_DAY}T22:00:00+00:00") if planned else at
        return leaving.say(
            session, organization_id, person_id, voice=Voice.HR, kind=kind, said_by="workday", effective_at=effective, actor=ADMIN, at=at,
            because="parental leave, says workday",
        )  # fmt: skip

    desk.acts(act)


@pytest.fixture
def office(desk: Desk) -> Desk:
    """Ada leaves on a planned day, Bea is on leave, both by HR's word."""
    source_id = desk.directory()
    ada, bea = (desk.hires(source_id, name, department="Sales") for name in ("ada", "bea"))
    desk.connects_chat()
    desk.asks("rules", "apply", desk.file("rules.yaml", "rules:\n  - {id: sales, for_each: department, name: 'dept-{{ key | slug }}'}\n"))
    says(desk, ada, StatementKind.LEAVES, planned=True)
    says(desk, bea, StatementKind.PAUSES, planned=False)
    return desk


def token_of(desk: Desk, role: str) -> str:
    return str(desk.asks("operator", "add", f"the-{role}", "--role", role)["token"])


def tells(said: Said) -> list[str]:
    return [one for one in SECRETS if one in said.out + said.err]


VERBS = {
    "receipt of somebody who is to leave": ("receipt", ADA),
    "receipt of somebody on leave": ("receipt", BEA),
    "explain of somebody who is to leave": ("explain", ADA),
    "explain of somebody on leave": ("explain", BEA),
    "explain for one channel": ("explain", BEA, "--channel", "dept-sales"),
    "plan": ("plan",),
    "status": ("status",),
    "alarms": ("alarms", "list"),
    "held": ("held", "list"),
    "parked": ("parked", "list"),
    "requests": ("requests", "list"),
    "rules": ("rules", "diff", "rules.yaml"),
    "signals": ("signals", "received"),
    "workspaces": ("workspace", "list"),
    "doctor": ("doctor",),
}


@pytest.mark.parametrize("what", list(VERBS))
@pytest.mark.parametrize("as_json", [True, False])
def test_helpdesk_reads_neither_a_planned_day_nor_a_reason_anywhere(office: Desk, what: str, as_json: bool) -> None:
    token = token_of(office, "helpdesk")
    typed = [str(office.folder / one) if one == "rules.yaml" else one for one in VERBS[what]]

    said = office.types(*typed, *(["--json"] if as_json else []), token=token)

    assert said.exit in (0, 1, 3), said
    assert tells(said) == []


@pytest.mark.parametrize("role", ["owner", "admin", "auditor"])
def test_those_who_are_named_read_it_in_the_receipt(office: Desk, role: str) -> None:
    token = token_of(office, role)

    to_leave, on_leave = (office.asks("receipt", one, token=token) for one in (ADA, BEA))

    assert [one["effective_at"][:10] for one in to_leave["announced"]] == [LAST_DAY]
    assert on_leave["reason"] == "paused by hr"
    assert "parental leave" in on_leave["departures"][0]["reason"]


@pytest.mark.parametrize("role", ["owner", "admin", "auditor", "helpdesk"])
@pytest.mark.parametrize("what", ["explain of somebody who is to leave", "explain of somebody on leave", "explain for one channel", "plan", "status"])
def test_explain_plans_and_status_tell_nobody_at_all(office: Desk, role: str, what: str) -> None:
    assert tells(office.types(*VERBS[what], "--json", token=token_of(office, role))) == []


def test_what_is_explained_says_only_that_there_is_no_access(office: Desk) -> None:
    explained = office.asks("explain", BEA)

    assert explained["sentence"] == "Bea belongs in no channel, having no access at present."
    assert explained["steps"][0] == {"question": "Has the person access?", "answer": "no", "holds": False}


def test_helpdesk_writes_no_receipt_that_says_why(office: Desk) -> None:
    token = token_of(office, "helpdesk")

    for option in ("--out", "--html"):
        said = office.types("receipt", BEA, option, str(office.folder / "r.html"), "--json", token=token)
        assert said.exit == 4
    assert not (office.folder / "r.html").exists()


def test_status_does_not_count_who_is_to_leave(office: Desk) -> None:
    office.acts(lambda session: session.execute(Work.__table__.delete().where(Work.subject != "due")))  # type: ignore[attr-defined]  # a Table

    status = office.asks("status")

    assert (status["waiting"], status["scheduled"], status["overdue"]) == (0, 0, 0)


def test_helpdesk_that_names_a_later_day_does_not_learn_of_the_earlier_one(office: Desk) -> None:
    token = token_of(office, "helpdesk")

    later = office.types("depart", ADA, "--at", "2033-01-01T00:00:00Z", "--json", token=token)
    admin = office.asks("depart", ADA, "--at", "2033-01-01T00:00:00Z")

    assert tells(later) == [] and later.json["access_until"] is None and later.json["effective_at"] == "2033-01-01T00:00:00.000Z"
    assert admin["access_until"][:10] == LAST_DAY


def test_helpdesk_sees_the_day_that_it_has_named_itself(office: Desk) -> None:
    office.hires(office.asks("source", "list")["sources"][0]["id"], "cyd")

    said = office.asks("depart", "cyd@acme.example", "--at", "2033-01-01T00:00:00Z", token=token_of(office, "helpdesk"))

    assert said["access_until"] == "2033-01-01T00:00:00.000Z"


def test_helpdesk_that_says_return_learns_neither_the_day_nor_the_reason(office: Desk) -> None:
    office.acts(lambda session: session.execute(Statement.__table__.update().values(said_at=now() + timedelta(hours=1), journal_id=10**6)))  # type: ignore[attr-defined]  # a Table

    said = office.types("return", ADA, "--json", token=token_of(office, "helpdesk"))

    assert said.exit == 0 and tells(said) == []
    assert said.json["access_until"] is None and said.json["reason"] is None


def test_held_departures_are_listed_for_everybody_and_named_for_few(office: Desk) -> None:
    source_id = str(office.asks("source", "list")["sources"][0]["id"])
    people = [office.hires(source_id, name) for name in ("cyd", "dan")]
    office.asks("settings", "set", "push_brake", "1/60s")
    for one in people:
        office.switches_off(source_id, one)
    [held] = office.asks("held", "list", token=token_of(office, "helpdesk"))["held"]

    shown = {role: office.types("held", "show", held["digest"], "--json", token=token_of(office, role)).exit for role in ("admin", "auditor")}

    assert shown == {"admin": 0, "auditor": 0}
    assert office.types("held", "show", held["digest"], "--json", token=str(office.asks("operator", "add", "h2", "--role", "helpdesk")["token"])).exit == 4
    assert "dan@acme.example" not in json.dumps(held)


def test_what_a_directory_sent_says_today_who_has_no_access_and_not_why(office: Desk) -> None:
    made = office.asks("source", "add", "scim", "entra")
    body = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "cyd@acme.example", "displayName": "Cyd"}
    http = office.app.test_client()
    answer = http.post(
        f"/scim/v2/{made['id']}/Users", json=body, headers={"Authorization": f"Bearer {made['token']}", "Content-Type": "application/scim+json"}
    )
    flush_requests(office.app)
    with office.app.app_context(), reading() as session:
        person_id = session.get_one(Record, (office.organization_id, answer.get_json(force=True)["id"])).person_id
    says(office, person_id, StatementKind.PAUSES, planned=False)
    [request] = office.asks("requests", "list", "--source", "entra")["requests"]

    seen = {role: office.types("requests", "show", request["id"], token=token_of(office, role)) for role in ("helpdesk", "admin")}

    assert all("Today Cyd is paused" in one.err + one.out for one in seen.values())
    assert tells(seen["helpdesk"]) == [] and tells(seen["admin"]) == ["by hr"]


@pytest.mark.parametrize("verb", [("person", "show", ADA), ("contractor", "list")])
def test_what_shows_dates_is_not_for_helpdesk(office: Desk, verb: tuple[str, ...]) -> None:
    assert office.types(*verb, "--json", token=token_of(office, "helpdesk")).exit == 4
    assert office.types(*verb, "--json", token=token_of(office, "auditor")).exit == 0


def test_alarms_about_engagements_name_no_contractor_and_no_day(office: Desk) -> None:
    source_id = str(office.asks("source", "list")["sources"][0]["id"])
    for name in ("kim", "cyd"):
        office.hires(source_id, name)
    until = (now() + timedelta(days=3)).date().isoformat()
    office.asks("contractor", "add", "cyd@acme.example", "--sponsor", "kim@acme.example", "--until", until)
    with office.app.app_context():
        sponsors.look(office.organization_id, at=now())
    token = token_of(office, "helpdesk")

    said = [office.types(*verb, "--json", token=token) for verb in (("alarms", "list"), ("status",))]

    assert all("contract_unanswered" in one.out for one in said)
    assert not [one for one in said if "cyd" in one.out.lower() or until in one.out]
