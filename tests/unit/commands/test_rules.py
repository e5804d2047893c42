"""Rules, plans and explanations as typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.clock import now
from app.commands import rules as rules_verbs
from app.database import reading
from app.journal.tables import Entry, Lane, Subject, Work
from app.lifecycle.brake import find, hold_whole
from app.lifecycle.tables import HeldState
from app.rules.channels import reach
from app.rules.file import parse
from app.rules.membership import keys_in_use
from app.rules.revisions import Applied, Difference, apply_rules, current_revision, current_rules, diff
from app.rules.tables import Channel, Room
from connectors.contract import ChannelRef
from tests.company import ADMIN
from tests.two_at_once import meanwhile
from tests.unit.commands.conftest import Desk

EVERYONE = "rules:\n  - id: everyone\n    name: all-hands\n"
DEPARTMENTS = EVERYONE + '  - id: departments\n    for_each: department\n    name: "dept-{{ key | slug }}"\n'
NOBODY = "rules:\n  - id: none\n    where: 'userName eq \"nobody\"'\n    name: nobody\n"


def staffed(desk: Desk, count: int = 3) -> list[str]:
    source_id = desk.directory()
    return [desk.hires(source_id, f"p{number:02}", department="Sales" if number % 2 else "Legal") for number in range(count)]


def test_applying_rules_makes_a_revision_and_looks_at_everybody(desk: Desk) -> None:
    staffed(desk)

    said = desk.asks("rules", "apply", desk.file("rules.yaml", DEPARTMENTS))

    assert (said["schema"], said["revision"], said["held"]) == ("doorlist.rules/1", 1, None)
    assert said["new_channels"] == ["all-hands", "dept-legal", "dept-sales"]
    assert desk.asks("status")["waiting"] == 3


def test_testing_rules_counts_and_writes_nothing(desk: Desk) -> None:
    staffed(desk)

    said = desk.asks("rules", "test", desk.file("rules.yaml", DEPARTMENTS))

    assert {(one["rule"], one["key"], one["people"]) for one in said["channels"]} == {
        ("everyone", "", 3), ("departments", "Legal", 2), ("departments", "Sales", 1),
    }  # fmt: skip
    assert desk.asks("rules", "apply", desk.file("rules.yaml", EVERYONE))["revision"] == 1


def test_a_typo_in_the_file_is_named_and_nothing_written(desk: Desk) -> None:
    said = desk.types("rules", "apply", desk.file("rules.yaml", EVERYONE + "    ownrs: [ada]\n"), "--json")

    assert said.exit == 1
    assert "ownrs" in said.json["error"] and "line 4" in said.json["error"]
    assert desk.asks("rules", "apply", desk.file("rules.yaml", EVERYONE))["revision"] == 1


def test_a_file_that_is_not_there_is_named(desk: Desk) -> None:
    said = desk.types("rules", "apply", "/nowhere/rules.yaml", "--json")

    assert said.exit == 1 and "/nowhere/rules.yaml" in said.json["error"]


def test_rules_that_take_too_much_away_are_held_until_approved(desk: Desk) -> None:
    staffed(desk, 12)
    desk.asks("rules", "apply", desk.file("rules.yaml", EVERYONE))

    held = desk.types("rules", "apply", desk.file("nobody.yaml", NOBODY), "--json")
    shown = desk.asks("held", "show", held.json["held"])
    status = desk.asks("status")

    assert held.exit == 5 and held.json["removed"] == 12
    assert shown["kind"] == "rules" and shown["people"] == 12
    assert status["held"] == 12
    with desk.app.app_context(), reading() as session:
        assert [rule.id for rule in current_rules(session, desk.organization_id)] == ["everyone"]

    assert desk.asks("held", "approve", held.json["held"])["people"] == 12

    with desk.app.app_context(), reading() as session:
        assert [rule.id for rule in current_rules(session, desk.organization_id)] == ["none"]
    assert desk.asks("held", "list")["held"] == []


def test_held_rules_are_refused_once_other_rules_are_in_force(desk: Desk) -> None:
    staffed(desk, 12)
    desk.asks("rules", "apply", desk.file("rules.yaml", EVERYONE))
    digest = desk.types("rules", "apply", desk.file("nobody.yaml", NOBODY), "--json").json["held"]
    desk.asks("rules", "apply", desk.file("more.yaml", DEPARTMENTS))

    said = desk.types("held", "approve", digest, "--json")

    assert said.exit == 1 and "apply the file again" in said.json["error"]
    assert desk.asks("held", "reject", digest)["state"] == "rejected"


def test_a_held_revision_is_not_passed_in_parts(desk: Desk) -> None:
    staffed(desk, 12)
    desk.asks("rules", "apply", desk.file("rules.yaml", EVERYONE))
    digest = desk.types("rules", "apply", desk.file("nobody.yaml", NOBODY), "--json").json["held"]

    assert desk.types("held", "pass", digest, "p01@acme.example").exit == 2


def makes_channels(desk: Desk) -> dict[str, ChannelRef]:
    """Every channel that the rules reach, and its room in the stand-in; by name."""
    organization_id = desk.organization_id
    workspace_id = desk.asks("workspace", "list")["workspaces"][0]["id"]

    def act(session: Session) -> dict[str, ChannelRef]:
        rules = current_rules(session, organization_id)
        reach(session, organization_id, rules, [one.belongs for one in keys_in_use(session, organization_id, rules)], now())
        refs: dict[str, ChannelRef] = {}
        for channel in session.scalars(select(Channel)).all():
            refs[channel.name] = ChannelRef(f"!{channel.name}:chat")
            session.add(Room(organization_id=organization_id, workspace_id=workspace_id, channel_id=channel.id, key=channel.name, ref=refs[channel.name]))
        return refs

    refs = desk.acts(act)
    for ref in refs.values():
        desk.chat.members.setdefault(ref, set())
    return refs


def test_renaming_a_key_renames_its_channel(desk: Desk) -> None:
    staffed(desk)
    desk.connects_chat()
    desk.asks("rules", "apply", desk.file("rules.yaml", DEPARTMENTS))
    makes_channels(desk)

    said = desk.asks("rules", "rename", "departments", "Sales", "Revenue")

    assert said["channel"]["name"] == "dept-revenue"
    assert desk.types("rules", "rename", "departments", "Nowhere", "Anywhere", "--json").exit == 1


def test_a_file_that_only_renames_channels_is_not_held(desk: Desk) -> None:
    staffed(desk, 30)
    desk.connects_chat()
    desk.asks("rules", "apply", desk.file("rules.yaml", "rules: [{id: everyone, name: all-hands}]"))
    makes_channels(desk)
    renaming = desk.file("renaming.yaml", "rules: [{id: everyone, name: everybody}]")

    diff, applied = desk.types("rules", "diff", renaming), desk.asks("rules", "apply", renaming)

    assert "= channel\tall-hands is called everybody\n" in diff.out and "- memberships\t0\n" in diff.out
    assert (applied["held"], applied["revision"], applied["kept"], applied["lost_channels"]) == (None, 2, 30, [])
    assert applied["renamed_channels"] == [{"old": "all-hands", "new": "everybody"}]


def counted(desk: Desk) -> tuple[int, int]:
    with desk.app.app_context(), reading() as session:
        return session.scalar(select(func.count()).select_from(Entry)) or 0, session.scalar(select(func.count()).select_from(Work)) or 0


def test_a_plan_compares_with_the_live_workspace_and_never_writes(desk: Desk) -> None:
    people = staffed(desk)
    desk.connects_chat()
    desk.asks("rules", "apply", desk.file("rules.yaml", EVERYONE))
    refs = makes_channels(desk)
    desk.chat.members[refs["all-hands"]] = {desk.chat.has(people[0]), desk.chat.has("former")}
    before = counted(desk)

    said = desk.types("plan", "--json", "--detailed-exitcode")

    assert said.exit == 3
    lines = {(line["sign"], line["channel"], line["person"]) for line in said.json["workspaces"][0]["lines"]}
    assert lines == {
        ("+", None, "p01@acme.example"), ("+", None, "p02@acme.example"), ("-", None, "former"),
        ("+", "all-hands", "p01@acme.example"), ("+", "all-hands", "p02@acme.example"), ("-", "all-hands", "former"),
    }  # fmt: skip
    assert counted(desk) == before


def test_a_plan_names_channels_that_are_still_to_be_made(desk: Desk) -> None:
    people = staffed(desk, 1)
    desk.connects_chat()
    desk.asks("rules", "apply", desk.file("rules.yaml", EVERYONE))
    desk.chat.has(people[0])

    said = desk.asks("plan")["workspaces"][0]

    assert said["new_channels"] == ["all-hands"]
    assert said["lines"] == [{"sign": "+", "channel": "all-hands", "person": "p00@acme.example"}]


def test_a_plan_without_changes_ends_with_nothing_to_say(desk: Desk) -> None:
    people = staffed(desk, 2)
    desk.connects_chat()
    desk.asks("rules", "apply", desk.file("rules.yaml", EVERYONE))
    refs = makes_channels(desk)
    desk.chat.members[refs["all-hands"]] = {desk.chat.has(one) for one in people}

    said = desk.types("plan", "--workspace", "chat", "--json", "--detailed-exitcode")

    assert said.exit == 0
    assert (said.json["add"], said.json["remove"], said.json["changes"]) == (0, 0, False)


def test_a_plan_of_a_workspace_that_is_down_says_so(desk: Desk) -> None:
    desk.connects_chat()
    desk.chat.down = True

    assert desk.types("plan", "--json").exit == 7


def test_nobody_who_came_by_hand_is_put_out_of_a_channel_that_only_adds(desk: Desk) -> None:
    people = staffed(desk, 1)
    desk.connects_chat()
    desk.asks("rules", "apply", desk.file("rules.yaml", EVERYONE + "    membership: added\n"))
    refs = makes_channels(desk)
    desk.chat.members[refs["all-hands"]] = {desk.chat.has(people[0]), desk.chat.has("guest")}

    lines = desk.asks("plan")["workspaces"][0]["lines"]

    assert [line for line in lines if line["channel"] is not None] == []


def test_applying_a_plan_wants_work_for_exactly_whom_it_speaks_of(desk: Desk) -> None:
    people = staffed(desk)
    desk.connects_chat()
    desk.asks("rules", "apply", desk.file("rules.yaml", EVERYONE))
    refs = makes_channels(desk)
    desk.chat.members[refs["all-hands"]] = {desk.chat.has(people[0]), desk.chat.has(people[1])}
    desk.asks("depart", "p01@acme.example")
    desk.acts(lambda session: session.execute(Work.__table__.delete()))  # type: ignore[attr-defined]  # a Table

    said = desk.asks("apply")

    with desk.app.app_context(), reading() as session:
        wanted = {(work.subject, work.lane, work.subject_id) for work in session.scalars(select(Work)) if work.subject == Subject.ACCOUNT}
    assert wanted == {(Subject.ACCOUNT, Lane.SYNC, people[2]), (Subject.ACCOUNT, Lane.DEPARTURES, people[1])}
    assert said["held"] == [] and said["wanted"] == 2


def test_a_plan_that_removes_too_much_is_held_and_approved_only_while_it_is_the_same(desk: Desk) -> None:
    people = staffed(desk, 2)
    desk.connects_chat()
    desk.asks("rules", "apply", desk.file("rules.yaml", EVERYONE))
    refs = makes_channels(desk)
    desk.chat.members[refs["all-hands"]] = {desk.chat.has(one) for one in (*people, *(f"former-{number:02}" for number in range(20)))}

    first = desk.types("apply", "--json")
    desk.chat.has("one-more")
    moved = desk.types("held", "approve", first.json["held"][0], "--json")
    second = desk.types("apply", "--json")

    assert first.exit == 5 and second.exit == 5
    assert moved.exit == 1 and "has changed" in moved.json["error"]
    assert desk.asks("held", "approve", second.json["held"][0])["state"] == "approved"


def journal_of(desk: Desk, verb: str) -> list[str]:
    """What was so recorded about things that are held, by their reasons."""
    with desk.app.app_context(), reading() as session:
        found = select(Entry.because).where(Entry.verb == verb, Entry.subject_kind == "held").order_by(Entry.id)
        return list(session.scalars(found))


def digests(desk: Desk) -> list[str]:
    return [one["digest"] for one in desk.asks("held", "list")["held"]]


def test_the_same_plan_is_held_once_and_another_of_the_same_workspace_takes_its_place(desk: Desk) -> None:
    staffed(desk, 2)
    desk.connects_chat()
    desk.asks("rules", "apply", desk.file("rules.yaml", EVERYONE))
    ref = makes_channels(desk)["all-hands"]
    desk.chat.members[ref] = {desk.chat.has(f"former-{number:02}") for number in range(20)}

    first, again = (desk.types("apply", "--json") for _ in range(2))

    assert (first.exit, again.exit) == (5, 5)
    assert first.json["held"] == again.json["held"] == digests(desk)
    assert len(journal_of(desk, "plan held")) == 1

    desk.chat.members[ref].add(desk.chat.has("one-more"))
    other = desk.types("apply", "--json")
    gone = desk.types("held", "approve", first.json["held"][0], "--json")

    assert other.json["held"] == digests(desk) != first.json["held"]
    assert gone.exit == 1 and "nothing with digest" in gone.json["error"]
    [why] = journal_of(desk, "plan withdrawn")
    assert "another takes its place: chat:" in why
    assert desk.asks("held", "approve", other.json["held"][0])["state"] == "approved"
    assert digests(desk) == []


def test_the_same_rules_are_held_once_and_others_beside_them(desk: Desk) -> None:
    staffed(desk, 12)
    desk.asks("rules", "apply", desk.file("rules.yaml", EVERYONE))
    nobody, nor_here = desk.file("nobody.yaml", NOBODY), desk.file("nor-here.yaml", NOBODY.replace("nobody\n", "nor-here\n"))

    first, again, others = (desk.types("rules", "apply", file, "--json").json["held"] for file in (nobody, nobody, nor_here))

    assert first == again
    assert digests(desk) == [first, others]
    desk.hires(desk.asks("source", "list")["sources"][0]["id"], "late")
    counted_anew = desk.types("rules", "apply", nobody, "--json").json["held"]
    assert digests(desk) == [others, counted_anew]
    assert len(journal_of(desk, "rules withdrawn")) == 1


def test_two_who_hold_the_same_at_once_hold_it_once(desk: Desk) -> None:
    organization_id = desk.organization_id

    def hold(session: Session) -> str:
        return hold_whole(
            session, organization_id, kind="plan", about="workspace_id", payload={"workspace_id": "w", "digest": "d"}, reason="too much", actor=ADMIN, at=now()
        ).id

    first, second = meanwhile(desk.app, hold, lambda: desk.acts(hold))

    assert first == second
    assert len(digests(desk)) == 1


def put_in_force(desk: Desk, text: str) -> Callable[[Session], Applied]:
    """For a transaction of the caller's own, as another process would have it open."""
    return lambda session: apply_rules(session, desk.organization_id, parse(text), ADMIN, now())


def test_rules_are_weighed_against_those_that_are_put_in_force_at_that_moment(desk: Desk) -> None:
    staffed(desk, 12)
    nobody = desk.file("nobody.yaml", NOBODY)

    _, said = meanwhile(desk.app, put_in_force(desk, EVERYONE), lambda: desk.types("rules", "apply", nobody, "--json"))

    assert (said.exit, said.json["removed"]) == (5, 12)


def test_rules_are_weighed_anew_where_others_are_put_in_force_meanwhile(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    staffed(desk, 12)
    nobody = desk.file("nobody.yaml", NOBODY)

    def looked_at(session: Session, *given: Any) -> Difference:
        if session.get_bind().dialect.name != "postgresql":
            pytest.skip("SQLite has one writer")
        monkeypatch.setattr(rules_verbs, "diff", diff)
        found = diff(session, *given)
        desk.acts(put_in_force(desk, EVERYONE))
        return found

    monkeypatch.setattr(rules_verbs, "diff", looked_at)
    said = desk.types("rules", "apply", nobody, "--json")

    assert (said.exit, said.json["removed"]) == (5, 12)


def test_what_gave_way_meanwhile_is_let_through_no_more(desk: Desk) -> None:
    staffed(desk, 12)
    desk.asks("rules", "apply", desk.file("rules.yaml", EVERYONE))
    organization_id = desk.organization_id
    digest = desk.types("rules", "apply", desk.file("nobody.yaml", NOBODY), "--json").json["held"]

    def give_way(session: Session) -> None:
        here, _ = find(session, organization_id, digest)
        here.state = HeldState.WITHDRAWN

    _, said = meanwhile(desk.app, give_way, lambda: desk.types("held", "approve", digest, "--json"))

    with desk.app.app_context(), reading() as session:
        revision = current_revision(session, organization_id)
    assert said.exit == 1
    assert revision is not None and revision.number == 1


def test_explaining_says_one_sentence_and_the_steps(desk: Desk) -> None:
    staffed(desk, 1)
    desk.asks("rules", "apply", desk.file("rules.yaml", DEPARTMENTS))

    said = desk.asks("explain", "p00@acme.example", "--channel", "dept-legal")

    assert "dept-legal" in said["sentence"] and said["steps"]
    assert said["person"]["userName"] == "p00@acme.example"


@pytest.mark.parametrize("verb", [("rules", "apply", "x"), ("apply",), ("rules", "rename", "a", "b", "c")])
def test_helpdesk_changes_no_rules(desk: Desk, verb: tuple[str, ...]) -> None:
    token = desk.asks("operator", "add", "grace", "--role", "helpdesk")["token"]

    assert desk.types(*verb, token=token).exit == 4
