"""What somebody leaves behind, at the command line: who takes over, what is held, what is erased when, who is where beside the rules."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.access.tables import Account, Workspace
from app.clock import iso, now
from app.database import reading
from app.delivery.expansion import expand_person
from app.directory.tables import Person, Record
from app.journal.tables import Organization
from app.lifecycle import retention
from app.lifecycle.records import RecordDraft, change_record
from app.revocation.erasure_tables import Erasure
from app.revocation.tables import Proof
from app.rules.channels import reach
from app.rules.membership import keys_of_person
from app.rules.revisions import current_rules
from app.rules.stay_tables import Stay
from app.rules.tables import ChannelMember
from tests.unit.commands.conftest import ENTERPRISE, OKTA, Desk

pytestmark = pytest.mark.slow

RULES = """
rules:
  - {id: everyone, name: all-hands}
  - {id: departments, for_each: department, name: "dept-{{ key | slug }}", keep_for: 14 days}
  - {id: teams, for_each: manager, name: "team-{{ manager.userName | slug }}", owners: [manager]}
"""


class Office:
    """Mia leads Ada, and Ada leads Bob."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.source_id = desk.directory()
        self.mia = desk.hires(self.source_id, "mia", number="1", department="Board")
        self.ada = desk.hires(self.source_id, "ada", number="2", department="Sales")
        self.bob = desk.hires(self.source_id, "bob", number="3", department="Sales")
        desk.connects_chat()
        self.reports(self.ada, to=self.mia)
        self.reports(self.bob, to=self.ada)
        desk.asks("rules", "apply", desk.file("rules.yaml", RULES))
        self.expands()

    def reports(self, person_id: str, *, to: str, department: str = "Sales") -> None:
        organization_id = self.desk.organization_id

        def act(session: Session) -> None:
            records = {one.person_id: one for one in session.scalars(select(Record).where(Record.organization_id == organization_id))}
            mine = records[person_id]
            extension = {**mine.document.get(ENTERPRISE, {}), "department": department, "manager": {"value": records[to].id}}
            draft = RecordDraft(external_id=mine.external_id, user_name=mine.user_name, active=True, document={**mine.document, ENTERPRISE: extension})
            change_record(session, organization_id, mine.source_id, mine.id, draft, actor=OKTA, at=now(), because="push")

        self.desk.acts(act)

    def expands(self) -> None:
        """What the worker does before anything is delivered."""
        organization_id = self.desk.organization_id

        def act(session: Session) -> None:
            for person_id in session.scalars(select(Person.id).where(Person.organization_id == organization_id)).all():
                expand_person(session, organization_id, person_id, at=now())

        self.desk.acts(act)

    def is_gone(self, person_id: str) -> None:
        """What the worker knows once a departure is over in the workspace."""

        def act(session: Session) -> None:
            workspace = session.scalars(select(Workspace)).one()
            session.add(Account(organization_id=workspace.organization_id, workspace_id=workspace.id, person_id=person_id, account_id="@x:chat", state="departed"))
            for proof in session.scalars(select(Proof).where(Proof.workspace_id == workspace.id)):
                proof.shut_at = proof.gone_at = now()

        self.desk.acts(act)

    def token(self, role: str) -> str:
        return str(self.desk.asks("operator", "add", f"{role}-{now().timestamp()}", "--role", role)["token"])


@pytest.fixture
def office(desk: Desk) -> Office:
    return Office(desk)


def test_before_somebody_leaves_it_says_who_would_take_over(office: Office) -> None:
    said = office.desk.asks("handover", "show", "ada@acme.example")

    assert said["would_go_to"]["id"] == office.mia and "manager" in said["why"]
    assert office.desk.asks("handover", "show", "mia@acme.example")["would_go_to"] is None


def test_whoever_is_named_with_the_departure_takes_over_and_it_is_shown(office: Office) -> None:
    office.desk.asks("depart", "ada@acme.example", "--handover-to", "bob@acme.example")
    office.expands()

    said = office.desk.asks("handover", "show", "ada@acme.example")

    [departure] = said["departures"]
    [line] = departure["channels"]
    assert (line["name"], line["what"], line["to"]["id"], line["workspace"]) == ("team-ada-acme-example", "handed over", office.bob, None)
    assert departure["to"]["id"] == office.bob and departure["how"].startswith("named by ")
    assert [one["kind"] for one in office.desk.asks("exception", "list")["exceptions"]] == ["handover"]


def test_somebody_can_be_named_before_and_taken_back(office: Office) -> None:
    office.desk.asks("handover", "set", "ada@acme.example", "--to", "bob@acme.example")
    assert office.desk.asks("handover", "show", "ada@acme.example")["would_go_to"]["id"] == office.bob
    office.desk.asks("handover", "set", "ada@acme.example", "--nobody")
    assert office.desk.asks("handover", "show", "ada@acme.example")["would_go_to"] is None

    office.desk.asks("handover", "set", "ada@acme.example", "--default")

    assert office.desk.asks("handover", "show", "ada@acme.example")["would_go_to"]["id"] == office.mia


def test_afterwards_it_can_be_given_to_somebody_else(office: Office) -> None:
    office.desk.asks("depart", "ada@acme.example")
    office.expands()

    office.desk.asks("handover", "set", "ada@acme.example", "--to", "bob@acme.example")

    [line] = office.desk.asks("handover", "show", "ada@acme.example")["departures"][0]["channels"]
    assert line["to"]["id"] == office.bob
    assert office.desk.types("depart", "ada@acme.example", "--handover-to", "mia@acme.example").exit == 2
    assert office.desk.types("handover", "set", "ada@acme.example", "--nobody").exit == 2


@pytest.mark.parametrize(
    "arguments",
    [("--to", "ada@acme.example"), (), ("--nobody", "--default"), ("--to", "bob@acme.example", "--nobody")],
)  # fmt: skip
def test_what_names_nobody_who_could_is_refused(office: Office, arguments: tuple[str, ...]) -> None:
    assert office.desk.types("handover", "set", "ada@acme.example", *arguments).exit in (1, 2)
    assert office.desk.types("depart", "ada@acme.example", "--pause", "--handover-to", "bob@acme.example").exit == 2

    with office.desk.app.app_context(), reading() as session:
        assert session.scalars(select(Person.standing).where(Person.id == office.ada)).one() == "active"


def test_helpdesk_may_let_somebody_leave_and_not_say_who_gets_their_rooms(office: Office) -> None:
    token = office.token("helpdesk")

    said = office.desk.types("depart", "ada@acme.example", "--handover-to", "bob@acme.example", token=token)

    assert said.exit == 4
    with office.desk.app.app_context(), reading() as session:
        assert session.scalars(select(Person.standing).where(Person.id == office.ada)).one() == "active"
    assert office.desk.types("depart", "ada@acme.example", token=token).exit == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("handover", "show", "ada@acme.example"), ("handover", "set", "ada@acme.example", "--nobody"), ("hold", "list"),
        ("hold", "set", "ada@acme.example", "--reason", "x", "--by", "y"), ("hold", "end", "x", "--reason", "x", "--by", "y"), ("retention", "list"),
        ("exception", "list"), ("exception", "end", "ada@acme.example", "--channel", "all-hands", "--reason", "x"),
        ("exception", "add", "ada@acme.example", "--channel", "all-hands", "--until", "2999-01-01", "--approved-by", "mia@acme.example", "--reason", "x"),
    ],
)  # fmt: skip
def test_helpdesk_sees_and_changes_none_of_it(office: Office, arguments: tuple[str, ...]) -> None:
    assert office.desk.types(*arguments, token=office.token("helpdesk")).exit == 4


@pytest.mark.parametrize(
    ("arguments", "exit"),
    [
        (("handover", "show", "ada@acme.example"), 0), (("hold", "list"), 0), (("retention", "list"), 0), (("exception", "list"), 0),
        (("handover", "set", "ada@acme.example", "--nobody"), 4), (("hold", "set", "ada@acme.example", "--reason", "x", "--by", "y"), 4),
    ],
)  # fmt: skip
def test_an_auditor_reads_all_of_it_and_changes_nothing(office: Office, arguments: tuple[str, ...], exit: int) -> None:
    assert office.desk.types(*arguments, token=office.token("auditor")).exit == exit


def test_a_hold_is_set_listed_and_ended(office: Office) -> None:
    made = office.desk.asks("hold", "set", "ada@acme.example", "--reason", "case 1", "--by", "counsel")
    office.desk.asks("depart", "ada@acme.example")

    [listed] = office.desk.asks("hold", "list")["holds"]
    assert (listed["id"], listed["reason"], listed["ordered_by"], listed["person"]["standing"]) == (made["id"], "case 1", "counsel", "departed")
    assert office.desk.asks("hold", "list", "--person", "bob@acme.example")["holds"] == []

    ended = office.desk.asks("hold", "end", made["id"], "--reason", "settled", "--by", "counsel")
    assert ended["others"] == 0 and ended["ended"]
    assert office.desk.asks("hold", "list")["holds"] == []
    assert len(office.desk.asks("hold", "list", "--all")["holds"]) == 1
    assert office.desk.types("hold", "end", "nowhere", "--reason", "x", "--by", "y").exit == 1
    assert office.desk.types("hold", "set", "ada@acme.example", "--reason", " ", "--by", "y").exit == 2


def test_the_retention_list_shows_what_is_due_what_is_held_and_what_another_setting_would_do(office: Office) -> None:
    office.desk.asks("depart", "ada@acme.example")
    office.is_gone(office.ada)
    assert office.desk.asks("retention", "list")["erasures"] == []
    [would] = office.desk.asks("retention", "list", "--after", "90d")["erasures"]
    assert (would["person"]["id"], would["workspace"], would["state"]) == (office.ada, "chat", "would wait")
    assert office.desk.types("retention", "list", "--after", "soon").exit == 2
    with office.desk.app.app_context(), reading() as session:
        assert session.scalars(select(Erasure)).all() == []

    office.desk.asks("settings", "set", "erase_after", "90d")
    office.desk.acts(lambda session: retention.keep_up(session, session.scalars(select(Organization.id)).one(), at=now()))
    office.desk.asks("hold", "set", "ada@acme.example", "--reason", "case 1", "--by", "counsel")

    said = office.desk.asks("retention", "list")
    [row] = said["erasures"]
    assert (said["erase_after"], row["state"], row["due"]) == ("90d", "held", would["due"])


def test_what_was_erased_before_a_hold_came_is_not_counted_as_kept(office: Office) -> None:
    office.desk.asks("depart", "ada@acme.example")
    office.is_gone(office.ada)
    office.desk.asks("settings", "set", "erase_after", "90d")
    office.desk.acts(lambda session: retention.keep_up(session, session.scalars(select(Organization.id)).one(), at=now()))
    office.desk.acts(lambda session: session.execute(update(Erasure).values(erased_at=now(), begun_at=now())))
    office.desk.asks("hold", "set", "ada@acme.example", "--reason", "case 1", "--by", "counsel")

    said = office.desk.types("retention", "list", "--all")

    assert said.exit == 0 and "erased" in said.out and "are kept by a legal hold" not in said.err


def test_an_exception_is_added_explained_listed_and_ended(office: Office) -> None:
    until = iso(now() + timedelta(days=30))
    arguments = ("bob@acme.example", "--channel", "dept-board")
    office.desk.asks("exception", "add", *arguments, "--until", str(until), "--approved-by", "mia@acme.example", "--reason", "minutes")

    [listed] = office.desk.asks("exception", "list")["exceptions"]
    assert (listed["approved_by"]["id"], listed["reason"], listed["until"], listed["kind"]) == (office.mia, "minutes", until, "exception")
    told = office.desk.asks("explain", "bob@acme.example", "--channel", "dept-board")["sentence"]
    assert "by an exception until" in told and "minutes" not in told

    office.desk.asks("exception", "end", *arguments, "--reason", "done")
    assert office.desk.asks("exception", "list")["exceptions"] == []
    assert [one["ended_because"] for one in office.desk.asks("exception", "list", "--all")["exceptions"]] == ["done"]
    assert office.desk.types("exception", "end", *arguments, "--reason", "done").exit == 1
    refused = office.desk.types("exception", "add", *arguments, "--until", str(until), "--approved-by", "bob@acme.example", "--reason", "x", "--json")
    assert refused.exit == 1 and "themselves" in refused.json["error"]


def test_a_plan_asks_for_an_exception_until_its_day_and_not_for_longer(office: Office) -> None:
    def asked_for() -> bool:
        [workspace] = office.desk.asks("plan")["workspaces"]
        return ("+", "dept-board", "bob@acme.example") in {(line["sign"], line["channel"], line["person"]) for line in workspace["lines"]}

    until = str(iso(now() + timedelta(days=30)))
    office.desk.asks(
        "exception", "add", "bob@acme.example", "--channel", "dept-board", "--until", until, "--approved-by", "mia@acme.example", "--reason", "x"
    )
    before = asked_for()
    office.desk.acts(lambda session: session.execute(update(Stay).values(ends_at=now())))

    assert before and not asked_for()


def _moves(office: Office) -> None:
    """Bob is delivered where he belongs, and then another department's."""

    def deliver(session: Session) -> None:
        workspace = session.scalars(select(Workspace)).one()
        session.add(Account(organization_id=workspace.organization_id, workspace_id=workspace.id, person_id=office.bob, account_id="@bob:chat", state="active"))
        rules = current_rules(session, workspace.organization_id)
        belongs = keys_of_person(session, workspace.organization_id, rules, office.bob)
        for channel_id in set(reach(session, workspace.organization_id, rules, belongs, now()).values()):
            session.add(
                ChannelMember(
                    organization_id=workspace.organization_id, workspace_id=workspace.id, channel_id=channel_id, person_id=office.bob, why="rule",
                    since=now(),
                )
            )  # fmt: skip

    office.desk.acts(deliver)
    office.reports(office.bob, to=office.ada, department="Legal")
    organization_id = office.desk.organization_id

    def expand(session: Session) -> None:
        entry = session.scalars(select(Person.journal_id).where(Person.id == office.bob)).one()
        expand_person(session, organization_id, office.bob, at=now(), because=entry)

    office.desk.acts(expand)


def test_a_movers_receipt_says_what_changed_what_was_left_and_what_can_be_read(office: Office) -> None:
    _moves(office)

    [move] = office.desk.asks("receipt", "bob@acme.example")["moves"]

    assert move["changed"] == [{"attribute": "department", "before": "Sales", "after": "Legal"}]
    assert (move["because"]["verb"], move["because"]["actor"]) == ("changed", "source:okta")
    lines = {line["channel"]: line for line in move["channels"]}
    assert (lines["dept-legal"]["what"], lines["dept-sales"]["what"]) == ("joined", "left")
    assert lines["dept-sales"]["kept_until"] and lines["dept-legal"]["kept_until"] is None
    out = office.desk.folder / "receipt.json"
    page = office.desk.folder / "receipt.html"
    office.desk.asks("receipt", "bob@acme.example", "--out", str(out), "--html", str(page))
    assert "dept-legal" in out.read_text() and "Moved on" in page.read_text()
    keys = office.desk.file("keys.json", office.desk.types("keys", "export", "--json").out)
    assert office.desk.types("receipt", "--verify", str(out), "--keys", keys).exit == 0


def test_helpdesk_sees_where_somebody_moved_and_not_on_whose_word(office: Office) -> None:
    _moves(office)

    [move] = office.desk.asks("receipt", "bob@acme.example", token=office.token("helpdesk"))["moves"]

    assert (move["because"], move["changed"]) == (None, []) and move["channels"]


def test_what_was_erased_stands_in_the_receipt_for_those_who_may_know(office: Office) -> None:
    office.desk.asks("depart", "ada@acme.example")
    office.is_gone(office.ada)

    def erased(session: Session) -> None:
        workspace = session.scalars(select(Workspace)).one()
        departure = session.scalars(select(Proof.departure_id).where(Proof.workspace_id == workspace.id)).one()
        session.add(
            Erasure(
                organization_id=workspace.organization_id, departure_id=departure, workspace_id=workspace.id, person_id=office.ada, left_at=now(),
                after="90d", due_at=now(), next_at=now(), erased_at=now(), grade="re-read", accounts=["@x:chat"],
            )
        )  # fmt: skip

    office.desk.acts(erased)

    [target] = office.desk.asks("receipt", "ada@acme.example")["departures"][0]["workspaces"]
    [hidden] = office.desk.asks("receipt", "ada@acme.example", token=office.token("helpdesk"))["departures"][0]["workspaces"]
    assert target["erased"] and target["erased_known"] == "re-read"
    assert hidden["erased"] is None
    page = office.desk.folder / "receipt.html"
    office.desk.asks("receipt", "ada@acme.example", "--html", str(page))
    assert "erased on" in page.read_text()


@pytest.mark.parametrize(
    ("key", "value"),
    [("handover", ""), ("handover", "manager,"), ("handover", "manager,none"), ("handover", "a,a"), ("erase_after", "0d"), ("erase_after", "90"),
     ("erase_after", "90 days"), ("erase_after", "-1d"), ("erase_after", "٩٠d")],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(desk: Desk, key: str, value: str) -> None:
    assert desk.types("settings", "set", key, value).exit == 2
