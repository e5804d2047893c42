"""A source that is given up: nobody loses access by it, and nothing is left of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.clock import now
from app.commands.housekeeping import tick
from app.database import in_transaction, reading
from app.directory.tables import Group, Membership, Person, Record, Source
from app.journal.tables import Entry
from app.lifecycle.groups import GroupDraft, add_group
from app.lifecycle.pulled_tables import PulledEntry, Question, QuestionState
from tests.unit.commands.conftest import OKTA, Desk

pytestmark = pytest.mark.slow


class Firm:
    """Two directories of one company: the old one is to be given up."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.made = {name: desk.asks("source", "add", "scim", name) for name in ("old", "new")}
        self.ids: dict[str, str] = {}

    def hires(self, name: str, *directories: str) -> None:
        for directory in directories:
            self.ids[name] = self.desk.hires(str(self.made[directory]["id"]), name, number=f"E-{name}")

    def ends(self, name: str = "old") -> Any:
        return self.desk.asks("source", "end", name, "--reason", "moved to the new one")

    def standing(self) -> dict[str, str]:
        with self.desk.app.app_context(), reading() as session:
            return {name: session.scalars(select(Person.standing).where(Person.id == id)).one() for name, id in self.ids.items()}

    def left(self, table: type[Record] | type[Group]) -> int:
        with self.desk.app.app_context(), reading() as session:
            query = select(func.count()).select_from(table).where(table.source_id == self.made["old"]["id"], table.ended_at.is_(None))
            return session.scalar(query) or 0

    def knocks(self, name: str) -> int:
        made = self.made[name]
        answer = self.desk.app.test_client().get(f"/scim/v2/{made['id']}/Users", headers={"Authorization": f"Bearer {made['token']}"})
        return answer.status_code


@pytest.fixture
def firm(desk: Desk) -> Firm:
    return Firm(desk)


def test_whoever_another_source_names_stays_in_and_nothing_of_the_old_one_is_left(firm: Firm) -> None:
    for name in ("ada", "bob"):
        firm.hires(name, "old", "new")
    organization_id, old = firm.desk.organization_id, str(firm.made["old"]["id"])

    def grouped(session: Session) -> str:
        members = tuple(session.scalars(select(Record.id).where(Record.source_id == old)).all())
        draft = GroupDraft(external_id=None, display_name="Finance", members=members)
        return add_group(session, organization_id, old, draft, actor=OKTA, at=now(), because="push").id

    group_id = firm.desk.acts(grouped)

    said = firm.ends()

    assert (said["ended"], said["users"], said["groups"]) == (True, 2, 1)
    assert firm.standing() == {"ada": "active", "bob": "active"}
    assert (firm.left(Record), firm.left(Group)) == (0, 0)
    with firm.desk.app.app_context(), reading() as session:
        assert session.scalars(select(Membership.record_id).where(Membership.group_id == group_id, Membership.ended_at.is_(None))).all() == []
        entry = session.scalars(select(Entry).where(Entry.verb == "source ended")).one()
    assert (entry.subject_id, entry.because) == (old, "moved to the new one")
    assert [one["name"] for one in firm.desk.asks("source", "list")["sources"]] == ["new"]
    assert firm.desk.asks("source", "add", "scim", "old")["id"] != old


def test_it_can_say_nothing_more(firm: Firm) -> None:
    assert firm.knocks("old") == 200

    firm.ends()

    assert (firm.knocks("old"), firm.knocks("new")) == (401, 200)


def test_whoever_would_lose_access_is_named_and_nothing_is_done(firm: Firm) -> None:
    firm.hires("ada", "old", "new")
    for number in range(7):
        firm.hires(f"p{number}", "old")

    refused = firm.desk.types("source", "end", "old", "--reason", "moved", "--json")

    assert (refused.exit, "p0@acme.example" in refused.json["error"], "and 2 more" in refused.json["error"]) == (1, True, True)
    assert firm.left(Record) == 8
    assert firm.knocks("old") == 200
    assert set(firm.standing().values()) == {"active"}


def test_an_off_that_the_brake_holds_is_access_as_well(firm: Firm) -> None:
    firm.desk.asks("settings", "set", "push_brake", "1/900s")
    for name in ("ada", "bob"):
        firm.hires(name, "old")
        firm.desk.switches_off(str(firm.made["old"]["id"]), firm.ids[name])
    assert firm.standing() == {"ada": "departed", "bob": "active"}

    assert firm.desk.types("source", "end", "old", "--reason", "moved").exit == 1
    [held] = firm.desk.asks("held", "list")["held"]
    firm.desk.asks("held", "approve", held["digest"])

    assert firm.ends()["users"] == 2
    assert firm.standing() == {"ada": "departed", "bob": "departed"}


def test_whoever_is_away_is_named_as_well(firm: Firm) -> None:
    firm.desk.asks("settings", "set", "leaving_voice", "hr")
    firm.hires("ada", "old")
    firm.desk.switches_off(str(firm.made["old"]["id"]), firm.ids["ada"])
    assert firm.standing() == {"ada": "paused"}

    assert firm.desk.types("source", "end", "old", "--reason", "moved").exit == 1
    firm.hires("ada", "new")
    firm.ends()

    assert firm.standing() == {"ada": "active"}


@pytest.mark.parametrize(
    ("typed", "standing"),
    [(("depart", "ada@acme.example", "--pause"), "paused"), (("person", "expect", "ada@acme.example", "--at", "2090-01-01"), "expected")],
)
def test_whoever_is_away_and_off_in_the_other_is_named_before_anything_is_done(firm: Firm, typed: tuple[str, ...], standing: str) -> None:
    """To come back by the old one is theirs as well: by the other alone they would have left."""
    firm.hires("ada", "old", "new")
    firm.desk.switches_off(str(firm.made["new"]["id"]), firm.ids["ada"])
    firm.desk.asks(*typed)

    refused = firm.desk.types("source", "end", "old", "--reason", "moved")

    assert (refused.exit, "ada@acme.example" in refused.err) == (1, True)
    assert (firm.standing(), firm.left(Record), firm.knocks("old")) == ({"ada": standing}, 1, 200)


def test_whoever_is_off_in_both_stays_out(firm: Firm) -> None:
    firm.hires("ada", "old", "new")
    for directory in ("old", "new"):
        firm.desk.switches_off(str(firm.made[directory]["id"]), firm.ids["ada"])

    firm.ends()

    assert firm.standing() == {"ada": "departed"}


def test_whoever_has_no_access_any_more_in_between_is_not_put_out_by_it(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new directory switches somebody off after it was looked who rests on the old one."""
    from app.lifecycle import ended_sources

    firm.hires("ada", "old", "new")
    some = ended_sources.end_some

    def end_some(session: Session, source: Source, **given: Any) -> int:
        record = session.scalars(select(Record).where(Record.source_id == firm.made["new"]["id"])).one()
        record.active, record.journal_id = False, record.journal_id + 1
        session.flush()
        return some(session, source, **given)

    monkeypatch.setattr(ended_sources, "end_some", end_some)

    refused = firm.desk.types("source", "end", "old", "--reason", "moved")

    assert (refused.exit, "ada@acme.example" in refused.err) == (1, True)
    assert firm.standing() == {"ada": "active"}
    assert firm.left(Record) == 1


def test_another_of_its_name_is_left_alone_where_two_give_it_up_at_once(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    firm.hires("ada", "old", "new")
    steps: list[object] = []

    def in_turns(act: Callable[[Session], Any]) -> Any:
        steps.append(act)
        if len(steps) == 2:
            # Between what the first one does, a second one does all of it, and adds one of that name.
            assert firm.ends()["users"] == 1
            firm.desk.asks("source", "add", "scim", "old")
        return in_transaction(act)

    monkeypatch.setattr("app.commands.sources.in_transaction", in_turns)

    ended = firm.ends()

    assert (ended["id"], ended["ended"]) == (firm.made["old"]["id"], True)
    assert sorted(one["name"] for one in firm.desk.asks("source", "list")["sources"]) == ["new", "old"]
    with firm.desk.app.app_context(), reading() as session:
        assert len(session.scalars(select(Entry).where(Entry.verb == "source ended")).all()) == 1


def test_what_a_request_that_was_under_way_writes_afterwards_does_not_stand(firm: Firm) -> None:
    firm.hires("ada", "new")
    firm.ends()
    firm.hires("ada", "old")
    firm.hires("eve", "old")
    organization_id, old = firm.desk.organization_id, str(firm.made["old"]["id"])
    draft = GroupDraft(external_id=None, display_name="Late")
    firm.desk.acts(lambda session: add_group(session, organization_id, old, draft, actor=OKTA, at=now(), because="push"))

    tick(firm.desk.app)

    assert (firm.left(Record), firm.left(Group)) == (0, 0)
    assert firm.standing() == {"ada": "active", "eve": "departed"}


def test_questions_and_what_was_remembered_of_a_listing_are_gone(firm: Firm) -> None:
    organization_id, old = firm.desk.organization_id, str(firm.made["old"]["id"])

    def act(session: Session) -> None:
        here = {"organization_id": organization_id, "source_id": old}
        session.add(PulledEntry(**here, kind="user", key="k", digest=b"d"))
        session.add(
            Question(**here, number=1, source_key="k", record_id=None, draft=None, reason="two fit", candidates=[], state=QuestionState.OPEN, asked_at=now())
        )

    firm.desk.acts(act)
    firm.ends()

    assert firm.desk.asks("questions", "list")["questions"] == []
    with firm.desk.app.app_context(), reading() as session:
        assert session.scalars(select(PulledEntry.key)).all() == []


def test_an_hr_system_is_given_up_as_well(desk: Desk) -> None:
    made = desk.asks("source", "add", "hr", "workday")

    desk.asks("source", "end", "workday", "--reason", "another one")

    answer = desk.app.test_client().post(f"/hr/{made['id']}", data=b"{}")
    assert answer.status_code == 404
    assert desk.asks("source", "list")["sources"] == []
    assert desk.asks("hr", "list")["systems"] == []


def test_one_that_is_pulled_is_given_up_as_well(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("userName\n")
    desk.asks("source", "add", "csv", "people", "--file", str(file))
    desk.asks("source", "pull", "people")

    said = desk.asks("source", "end", "people", "--reason", "moved to the new one")

    assert said["ended"] is True and desk.asks("source", "list")["sources"] == []
    desk.asks("source", "add", "csv", "people", "--file", str(file))


@pytest.mark.parametrize(("exit", "typed"), [(1, ("nowhere", "--reason", "x")), (2, ("old", "--reason", " ")), (2, ("old",))])
def test_one_that_is_not_there_and_a_reason_that_says_nothing_are_refused(firm: Firm, exit: int, typed: tuple[str, ...]) -> None:
    assert firm.desk.types("source", "end", *typed).exit == exit
    assert len(firm.desk.asks("source", "list")["sources"]) == 2


def test_people_who_were_entered_here_are_no_source_to_give_up(desk: Desk) -> None:
    directory = desk.directory()
    desk.hires(directory, "ada")
    desk.asks("contractor", "add", "Zoe", "--email", "zoe@elsewhere.example", "--sponsor", "ada@acme.example", "--until", f"{now() + timedelta(days=30):%Y-%m-%d}")
    [name] = [one["name"] for one in desk.asks("source", "list")["sources"] if one["name"] != "okta"]

    assert desk.types("source", "end", str(name), "--reason", "x").exit == 2
