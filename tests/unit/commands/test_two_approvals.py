"""Where the organisation asks for two administrators, what is held is let through by the second who has seen the same; whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actors import Actor, ActorKind
from app.clock import now
from app.commands import held as held_verbs
from app.commands.differences import Differences, find_differences
from app.commands.exits import Exit
from app.database import reading
from app.directory.tables import Person, Standing
from app.journal.tables import Entry, Organization
from app.lifecycle import brake, leaving, seconding
from app.lifecycle.operators import end_operator
from app.lifecycle.tables import HeldState
from app.rules.revisions import current_revision
from tests.two_at_once import meanwhile
from tests.unit.commands.conftest import Desk
from tests.unit.commands.test_rules import EVERYONE, NOBODY, makes_channels

pytestmark = pytest.mark.slow

BEN = Actor(kind=ActorKind.OPERATOR, name="ben")
OWNER = Actor(kind=ActorKind.OPERATOR, name="olga")


@dataclass(kw_only=True)
class Board:
    """A desk at which it takes two; Ben and Eve are administrators, each with a token."""

    desk: Desk
    ben: str
    eve: str
    people: list[str]

    def held(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.desk.asks("held", "list")["held"]
        return found

    def out(self) -> int:
        """How many of those whom the burst is about have lost their access."""
        with self.desk.app.app_context(), reading() as session:
            standing = session.scalars(select(Person.standing).where(Person.id.in_(self.people))).all()
        return standing.count(Standing.DEPARTED)

    def revision(self) -> int:
        organization_id = self.desk.organization_id
        with self.desk.app.app_context(), reading() as session:
            there = current_revision(session, organization_id)
        return 0 if there is None else there.number

    def said(self, verb: str) -> list[Entry]:
        with self.desk.app.app_context(), reading() as session:
            return list(session.scalars(select(Entry).where(Entry.verb == verb).order_by(Entry.id)))

    def waiting(self) -> int:
        """Whom the worker is to look at."""
        return int(self.desk.asks("status")["waiting"])


@pytest.fixture
def board(desk: Desk) -> Board:
    source_id = desk.directory()
    people = [desk.hires(source_id, name) for name in ("ada", "bob", "cyd", "dan")]
    people += [desk.hires(source_id, f"p{number:02}") for number in range(12)]
    ben, eve = (desk.asks("operator", "add", name, "--role", "admin")["token"] for name in ("ben", "eve"))
    desk.asks("settings", "set", "approvals", "2")
    return Board(desk=desk, ben=ben, eve=eve, people=people[:4])


def burst(board: Board) -> str:
    """Three of four who are switched off at once wait."""
    board.desk.asks("settings", "set", "push_brake", "1/60s")
    source_id = board.desk.asks("source", "list")["sources"][0]["id"]
    for person_id in board.people:
        board.desk.switches_off(source_id, person_id)
    assert board.out() == 1
    return str(board.held()[0]["digest"])


def reorganisation(board: Board) -> str:
    """Rules that put everybody out of their channel."""
    board.desk.asks("rules", "apply", board.desk.file("rules.yaml", EVERYONE))
    return str(board.desk.types("rules", "apply", board.desk.file("nobody.yaml", NOBODY), "--json").json["held"])


def clearing(board: Board) -> str:
    """A plan that puts twenty strangers out of a channel."""
    board.desk.connects_chat()
    board.desk.asks("rules", "apply", board.desk.file("rules.yaml", EVERYONE))
    ref = makes_channels(board.desk)["all-hands"]
    board.desk.chat.members[ref] = {board.desk.chat.has(one) for one in (*board.people, *(f"former-{number:02}" for number in range(20)))}
    return str(board.desk.types("apply", "--json").json["held"][0])


def state_of(board: Board) -> list[object]:
    """All that letting something through would change."""
    return [board.out(), board.revision(), board.waiting(), len(board.said("let through")), len(board.said("rules applied"))]


@pytest.mark.parametrize("held", [burst, reorganisation, clearing])
def test_the_second_lets_it_through_and_the_first_says_it_twice_in_vain(board: Board, held: Callable[[Board], str]) -> None:
    digest = held(board)
    before = state_of(board)
    lines = board.desk.asks("held", "show", digest)["lines"]

    first = board.desk.asks("held", "approve", digest, token=board.ben)
    again = board.desk.types("held", "approve", digest, token=board.ben)

    assert (first["schema"], first["digest"], first["state"], first["people"]) == ("doorlist.held.decided/1", digest, "seconded", 0)
    assert (first["left"], first["still_held"]) == (digest, len(lines)), "all of it waits as it did"
    assert again.exit == Exit.DONE and "ben has approved this as the first of two; another administrator" in again.err
    assert state_of(board) == before
    assert [(one["digest"], one["first_approval"]) for one in board.held()] == [(digest, "operator:ben")]
    [entry] = board.said("approved as the first of two")
    assert entry.actor == "operator:ben" and entry.after == {"seen": digest}

    second = board.desk.asks("held", "approve", digest, token=board.eve)

    assert second["state"] == "approved" and second["people"] > 0 and board.held() == []
    assert state_of(board) != before and len(board.said("approved as the first of two")) == 1
    for token in (board.ben, board.eve):
        assert board.desk.types("held", "approve", digest, token=token).exit == Exit.ERROR


@pytest.mark.parametrize("held", [burst, reorganisation, clearing])
def test_what_an_operator_approved_who_is_one_no_more_waits_for_two_again(board: Board, held: Callable[[Board], str]) -> None:
    digest = held(board)
    board.desk.asks("held", "approve", digest, token=board.ben)

    board.desk.asks("operator", "end", "ben")

    assert [one["first_approval"] for one in board.held()] == [None]
    [ended] = board.said("operator ended")
    assert ended.after is not None and len(ended.after["approvals_taken_back"]) == 1
    before = state_of(board)
    assert board.desk.asks("held", "approve", digest, token=board.eve)["state"] == "seconded"
    assert state_of(board) == before
    assert board.desk.asks("held", "approve", digest)["state"] == "approved", "by the host's user, who is somebody else"


@pytest.mark.parametrize("takes", ["1", "2"])
def test_who_is_ended_while_the_workspace_is_read_again_approves_nothing(board: Board, monkeypatch: pytest.MonkeyPatch, takes: str) -> None:
    digest, organization_id = clearing(board), board.desk.organization_id
    board.desk.asks("settings", "set", "approvals", takes)
    waiting = board.waiting()

    def ended_meanwhile(*given: Any) -> Differences:
        board.desk.acts(lambda session: end_operator(session, organization_id, "ben", actor=OWNER, at=now()))
        return find_differences(*given)

    monkeypatch.setattr(held_verbs, "find_differences", ended_meanwhile)
    said = board.desk.types("held", "approve", digest, "--json", token=board.ben)

    assert (said.exit, said.json["error"]) == (4, "ben is no operator any more; nothing was done")
    assert [(one["digest"], one["first_approval"]) for one in board.held()] == [(digest, None)]
    assert board.waiting() == waiting


def test_who_ends_takes_back_nobody_elses_approval(board: Board) -> None:
    digest = burst(board)
    board.desk.asks("held", "approve", digest, token=board.ben)

    board.desk.asks("operator", "end", "eve")

    assert [one["first_approval"] for one in board.held()] == ["operator:ben"]
    assert board.desk.asks("held", "approve", digest)["state"] == "approved"


def test_where_it_cannot_be_read_how_many_it_takes_nobody_lets_anything_through(board: Board) -> None:
    def spoil(session: Session) -> None:
        organization = session.get_one(Organization, board.desk.organization_id)
        organization.settings = {**organization.settings, "approvals": "two"}

    digest = burst(board)
    board.desk.acts(spoil)
    before = state_of(board)

    said = [board.desk.types("held", "approve", digest, "--json", token=token) for token in (board.ben, board.eve)]

    assert [(one.exit, one.json["error"]) for one in said] == [(Exit.USAGE, "approvals is 1 or 2, not 'two'")] * 2
    assert state_of(board) == before
    board.desk.asks("settings", "set", "approvals", "1")
    assert board.desk.asks("held", "approve", digest, token=board.ben)["state"] == "approved"


def test_a_burst_is_out_once_and_for_all_of_them(board: Board) -> None:
    digest = burst(board)
    board.desk.asks("held", "approve", digest, token=board.eve)

    assert board.desk.asks("held", "approve", digest, token=board.ben)["people"] == 3

    assert board.out() == 4 and [one.actor for one in board.said("let through")] == ["operator:ben"] * 3


def test_the_first_word_is_for_what_was_seen_and_not_for_what_came_later(board: Board) -> None:
    board.desk.asks("settings", "set", "push_brake", "1/60s")
    source_id = board.desk.asks("source", "list")["sources"][0]["id"]
    for person_id in board.people[:3]:
        board.desk.switches_off(source_id, person_id)
    seen = board.held()[0]["digest"]
    board.desk.asks("held", "approve", seen, token=board.ben)
    board.desk.switches_off(source_id, board.people[3])

    old = board.desk.types("held", "approve", seen, token=board.eve)
    now_seen = board.held()[0]["digest"]
    new = board.desk.asks("held", "approve", now_seen, token=board.eve)

    assert old.exit == Exit.ERROR and now_seen != seen and new["state"] == "seconded" and board.out() == 1
    assert board.desk.asks("held", "approve", now_seen, token=board.ben)["people"] == 3 and board.out() == 4


def test_letting_some_pass_takes_two_who_mean_the_same_people(board: Board) -> None:
    digest = burst(board)
    bob, cyd = "bob@acme.example", "cyd@acme.example"

    first = board.desk.asks("held", "pass", digest, bob, cyd, token=board.ben)
    fewer = board.desk.asks("held", "pass", digest, bob, token=board.eve)
    whole = board.desk.asks("held", "approve", digest, token=board.ben)
    assert {one["state"] for one in (first, fewer, whole)} == {"seconded"} and board.out() == 1

    board.desk.asks("held", "pass", digest, bob, cyd, token=board.ben)
    # In another order they are the same people.
    passed = board.desk.asks("held", "pass", digest, cyd, bob, token=board.eve)

    assert (passed["state"], passed["people"], passed["still_held"]) == ("passed", 2, 1) and board.out() == 3
    assert board.held()[0]["digest"] == passed["left"]


def test_to_reject_takes_one(board: Board) -> None:
    digest = burst(board)
    board.desk.asks("held", "approve", digest, token=board.ben)

    assert board.desk.asks("held", "reject", digest, token=board.eve)["state"] == "rejected"

    assert board.out() == 1 and board.held() == []


def test_rules_that_were_overtaken_are_refused_to_the_second_as_well(board: Board) -> None:
    digest = reorganisation(board)
    board.desk.asks("held", "approve", digest, token=board.ben)
    board.desk.asks("rules", "apply", board.desk.file("more.yaml", EVERYONE + "  - id: more\n    name: more\n"))

    said = board.desk.types("held", "approve", digest, "--json", token=board.eve)

    assert said.exit == Exit.ERROR and "apply the file again" in said.json["error"] and board.revision() == 2


def test_helpdesk_is_neither_the_first_nor_the_second(board: Board) -> None:
    digest = burst(board)
    token = board.desk.asks("operator", "add", "grace", "--role", "helpdesk")["token"]

    assert board.desk.types("held", "approve", digest, token=token).exit == Exit.NOT_ALLOWED
    board.desk.asks("held", "approve", digest, token=board.ben)
    assert board.desk.types("held", "approve", digest, token=token).exit == Exit.NOT_ALLOWED
    assert board.out() == 1 and board.held()[0]["first_approval"] == "operator:ben"


# Two at once


def says(board: Board, digest: str) -> Callable[[Session], bool]:
    organization_id = board.desk.organization_id

    def act(session: Session) -> bool:
        held, _ = brake.find(session, organization_id, digest)
        return seconding.is_enough(session, held, seen=digest, actor=BEN, at=now())

    return act


def test_of_two_who_approve_at_the_same_time_the_second_is_the_second(board: Board) -> None:
    digest = burst(board)

    ben, eve = meanwhile(board.desk.app, says(board, digest), lambda: board.desk.asks("held", "approve", digest, token=board.eve))

    assert ben is False and (eve["state"], eve["people"]) == ("approved", 3) and board.out() == 4


def test_whoever_approves_what_is_decided_in_that_moment_decides_nothing(board: Board) -> None:
    digest, organization_id = burst(board), board.desk.organization_id

    def reject(session: Session) -> None:
        held, lines = brake.find(session, organization_id, digest)
        leaving.reject(session, held, lines, actor=BEN, at=now())

    said = meanwhile(board.desk.app, reject, lambda: board.desk.types("held", "approve", digest, "--json", token=board.eve))[1]

    assert said.exit == Exit.ERROR and board.out() == 1 and board.held() == []
    assert board.said("approved as the first of two") == []


@pytest.mark.parametrize("held", [burst, reorganisation, clearing])
def test_whoever_rejects_what_is_let_through_in_that_moment_decides_nothing(board: Board, held: Callable[[Board], str]) -> None:
    digest, organization_id = held(board), board.desk.organization_id

    def approve(session: Session) -> None:
        brake.close_lines(session, *brake.find(session, organization_id, digest), state=HeldState.APPROVED, by="ben", at=now())

    said = meanwhile(board.desk.app, approve, lambda: board.desk.types("held", "reject", digest, "--json", token=board.eve))[1]

    assert said.exit == Exit.ERROR and "decided" in said.json["error"]
    assert not any(board.said(verb) for verb in ("rejected", "rules rejected", "plan rejected"))
