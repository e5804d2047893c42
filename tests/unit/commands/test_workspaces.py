"""Workspaces that have moved, and those that are kept in step no more: what stays, what is forgotten, and what has to be said before."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.access.tables import Account, Workspace, WorkspaceState
from app.actors import CLOCK
from app.clock import now
from app.commands import workspaces
from app.commands.housekeeping import tick
from app.database import reading
from app.delivery import ended_workspaces, own_rooms
from app.delivery.ended_workspaces import end_if_free
from app.delivery.worker import Worker
from app.journal import work
from app.journal.tables import Entry, Lane, Subject, Work
from app.lifecycle.brake import hold_whole
from app.revocation import sweeps
from app.revocation.erasure_tables import Erasure
from app.revocation.sweep_tables import Sweep
from app.revocation.tables import Departure, Proof
from app.rules.tables import Channel, ChannelMember, Room
from connectors.contract import AccountState
from tests.unit.commands.conftest import Desk

pytestmark = pytest.mark.slow

PEOPLE = ("ada", "bob")


def _at_work(desk: Desk) -> tuple[str, dict[str, str]]:
    """A workspace in which two people have accounts and are in a channel; its id and theirs."""
    directory, workspace_id = desk.directory(), desk.connects_chat()
    ids = {name: desk.hires(directory, name) for name in PEOPLE}
    organization_id = desk.organization_id

    def act(session: Session) -> None:
        here = {"organization_id": organization_id, "workspace_id": workspace_id}
        session.add(Channel(organization_id=organization_id, id="all", name="all", created_at=now()))
        session.add(Room(**here, channel_id="all", key="all", ref="!all:chat"))
        for name, person_id in ids.items():
            session.add(Account(**here, person_id=person_id, account_id=f"@{name}:chat", state=AccountState.ACTIVE))
            session.add(ChannelMember(**here, channel_id="all", person_id=person_id, why="rule", since=now()))
            desk.chat.has(name)

    desk.acts(act)
    return workspace_id, ids


def _rows(desk: Desk, table: type[Room] | type[ChannelMember] | type[Work] | type[Account], workspace_id: str) -> int:
    with desk.app.app_context(), reading() as session:
        return len(session.scalars(select(table).where(table.workspace_id == workspace_id)).all())


def test_a_workspace_that_is_ended_is_kept_in_step_no_more(desk: Desk) -> None:
    workspace_id, _ = _at_work(desk)
    ended = desk.asks("workspace", "end", "chat", "--reason", "moved to another product")

    assert (ended["ended"], ended["accounts"], ended["not_shut"], ended["not_erased"]) == (True, 2, [], 0)
    assert desk.asks("workspace", "list")["workspaces"] == []
    assert desk.asks("status")["workspaces"] == []
    assert [_rows(desk, table, workspace_id) for table in (Room, ChannelMember, Work, Account)] == [0, 0, 0, 2]
    with desk.app.app_context(), reading() as session:
        entry = session.scalars(select(Entry).where(Entry.verb == "workspace ended")).one()
    assert (entry.subject_id, entry.because, (entry.before or {})["name"]) == (workspace_id, "moved to another product", "chat")


def test_what_a_killed_process_did_not_forget_is_forgotten_by_the_clock(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace_id, _ = _at_work(desk)
    monkeypatch.setattr(ended_workspaces, "AT_ONCE", 1)
    with monkeypatch.context() as killed:
        killed.setattr(ended_workspaces, "forget_some", lambda *_: 0)
        desk.asks("workspace", "end", "chat", "--reason", "given up")
    assert [_rows(desk, table, workspace_id) for table in (Room, ChannelMember)] == [1, 2]

    tick(desk.app)

    assert [_rows(desk, table, workspace_id) for table in (Room, ChannelMember)] == [0, 0]


def test_its_name_and_its_address_may_be_given_again(desk: Desk) -> None:
    first, _ = _at_work(desk)
    desk.asks("workspace", "end", "chat", "--reason", "set up wrongly")

    assert desk.connects_chat() != first


def test_whoever_leaves_afterwards_is_not_waited_for_there(desk: Desk) -> None:
    workspace_id, _ = _at_work(desk)
    desk.asks("workspace", "end", "chat", "--reason", "given up")

    desk.asks("depart", "ada@acme.example")

    with desk.app.app_context(), reading() as session:
        assert session.scalars(select(Proof.workspace_id).where(Proof.workspace_id == workspace_id)).all() == []


def test_a_leaver_who_was_not_shown_to_be_out_is_named_first(desk: Desk) -> None:
    _at_work(desk)
    desk.asks("depart", "ada@acme.example")

    refused = desk.types("workspace", "end", "chat", "--reason", "given up", "--json")

    assert (refused.exit, "ada@acme.example" in refused.json["error"]) == (1, True)
    assert desk.asks("workspace", "list")["workspaces"][0]["state"] == "running", "nothing was begun"
    ended = desk.asks("workspace", "end", "chat", "--reason", "its server burnt down", "--anyway")
    assert ended["not_shut"] == ["ada@acme.example"]


@pytest.mark.parametrize("killed", [False, True], ids=["in between", "after a try that was killed"])
def test_whoever_leaves_while_it_is_being_ended_can_still_be_shut_out(desk: Desk, killed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    _at_work(desk)
    stop = ended_workspaces.stop

    def stop_and_lose_one(organization_id: str, name: str, *, anyway: bool) -> None:
        stop(organization_id, name, anyway=anyway)
        desk.asks("depart", "ada@acme.example")
        if killed:
            raise KeyboardInterrupt

    monkeypatch.setattr(ended_workspaces, "stop", stop_and_lose_one)
    refused = desk.types("workspace", "end", "chat", "--reason", "given up")
    if killed:
        monkeypatch.setattr(ended_workspaces, "stop", stop)
        refused = desk.types("workspace", "end", "chat", "--reason", "given up")

    assert (refused.exit, "ada@acme.example" in refused.err) == (1, True)
    assert desk.asks("workspace", "list")["workspaces"][0]["state"] == "running"


def test_one_that_was_halted_before_stays_halted(desk: Desk) -> None:
    workspace_id, _ = _at_work(desk)
    values = {"state": WorkspaceState.HALTED, "halted_reason": "the token is refused"}
    desk.acts(lambda session: session.execute(update(Workspace).where(Workspace.id == workspace_id).values(**values)))
    desk.asks("depart", "ada@acme.example")

    assert desk.types("workspace", "end", "chat", "--reason", "given up").exit == 1

    assert desk.asks("workspace", "list")["workspaces"][0]["halted_reason"] == "the token is refused"


def test_a_leaver_who_was_not_shown_to_be_out_is_never_said_to_be(desk: Desk) -> None:
    _at_work(desk)
    desk.asks("depart", "ada@acme.example")
    desk.acts(lambda session: session.execute(update(Proof).values(last_error="no answer")))
    desk.asks("workspace", "end", "chat", "--reason", "its server burnt down", "--anyway")

    [departure] = desk.asks("receipt", "ada@acme.example")["departures"]

    assert [one["name"] for one in departure["workspaces"]] == ["chat"]
    assert any(one.startswith("chat: not shut yet (the workspace was ended on ") for one in departure["open"])


def test_nobody_is_overdue_where_nobody_can_be_shut_out_any_more(desk: Desk) -> None:
    _at_work(desk)
    desk.asks("depart", "ada@acme.example")
    desk.acts(lambda session: session.execute(update(Departure).values(due_at=now() - timedelta(hours=1))))
    before = desk.asks("status")["overdue"]
    desk.asks("workspace", "end", "chat", "--reason", "its server burnt down", "--anyway")

    assert before - desk.asks("status")["overdue"] == 1


def test_nobody_waits_for_a_sweep_of_what_is_ended(desk: Desk) -> None:
    workspace_id, _ = _at_work(desk)
    desk.acts(lambda session: _was_swept(session, desk.organization_id, workspace_id, at=now() - timedelta(days=3)))
    assert [one["place"] for one in desk.asks("status")["sweeps"]] == ["chat"]
    assert workspace_id in _metrics(desk)

    desk.asks("workspace", "end", "chat", "--reason", "given up")

    assert desk.asks("status")["sweeps"] == []
    assert desk.types("report", "drift", "--csv").out.count("sweep") == 0
    assert workspace_id not in _metrics(desk)


def _was_swept(session: Session, organization_id: str, place: str, *, at: datetime) -> None:
    """A sweep of this place that came to its end."""
    assert sweeps.take(session, organization_id, place, at=at)
    session.execute(update(Sweep).where(Sweep.place == place).values(round_began_at=at, round_ended_at=at, alive=1))


def _metrics(desk: Desk) -> str:
    return desk.app.test_client().get("/metrics").text


def test_what_is_still_to_be_erased_is_called_off_only_when_that_is_said(desk: Desk) -> None:
    workspace_id, ids = _at_work(desk)
    organization_id = desk.organization_id
    later = now() + timedelta(days=30)

    def act(session: Session) -> None:
        session.add(
            Erasure(
                organization_id=organization_id, departure_id="gone", workspace_id=workspace_id, person_id=ids["bob"], left_at=now(), after="30d",
                due_at=later, next_at=later,
            )
        )  # fmt: skip

    desk.acts(act)
    refused = desk.types("workspace", "end", "chat", "--reason", "given up")
    assert (refused.exit, "still to be erased" in refused.err) == (1, True)

    assert desk.asks("workspace", "end", "chat", "--reason", "given up", "--anyway")["not_erased"] == 1

    [listed] = desk.asks("retention", "list", "--all")["erasures"]
    assert (listed["workspace"], listed["state"], listed["because"]) == ("chat", "called off", "the workspace was ended")


def test_a_plan_that_waits_for_it_is_withdrawn(desk: Desk) -> None:
    workspace_id, _ = _at_work(desk)
    organization_id = desk.organization_id

    def act(session: Session) -> None:
        payload = {"workspace_id": workspace_id, "digest": "d", "people": 2, "add": 0, "remove": 2}
        hold_whole(session, organization_id, kind="plan", about="workspace_id", payload=payload, reason="chat: too many", actor=CLOCK, at=now())

    desk.acts(act)
    assert len(desk.asks("held", "list")["held"]) == 1

    desk.asks("workspace", "end", "chat", "--reason", "given up")

    assert desk.asks("held", "list")["held"] == []


def test_what_somebody_has_in_hand_there_comes_to_its_end_first(desk: Desk) -> None:
    workspace_id, ids = _at_work(desk)
    organization_id = desk.organization_id

    def begin(session: Session) -> work.Claim:
        work.want(
            session, organization_id, subject=Subject.ACCOUNT, subject_ids=[ids["ada"]], because=None, due_at=now(), workspace_id=workspace_id
        )
        [taken] = [
            one for one in work.claim(session, lanes=[Lane.SYNC], worker="w", at=now(), most=50) if one.workspace_id == workspace_id
        ]
        return taken

    taken = desk.acts(begin)

    def tried() -> bool:
        with desk.app.app_context():
            return end_if_free(organization_id, "chat", reason="given up", anyway=False, actor=CLOCK, clock=now) is not None

    assert not tried()
    assert desk.asks("workspace", "list")["workspaces"] != []
    assert _rows(desk, Work, workspace_id) == 1, "nothing of it is undone"
    desk.acts(lambda session: work.finish(session, taken))
    assert tried()


@pytest.mark.parametrize("already", [False, True])
def test_who_interrupts_it_leaves_it_as_it_was_or_ended(desk: Desk, monkeypatch: pytest.MonkeyPatch, already: bool) -> None:
    _at_work(desk)
    ends = ended_workspaces.end_if_free

    def interrupted(*given: Any, **named: Any) -> None:
        if already:
            ends(*given, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(ended_workspaces, "end_if_free", interrupted)

    assert desk.types("workspace", "end", "chat", "--reason", "given up").exit == 130
    assert [one["state"] for one in desk.asks("workspace", "list")["workspaces"]] == ([] if already else ["running"])


def test_what_is_asked_for_by_whoever_saw_it_stand_comes_to_nothing(desk: Desk) -> None:
    workspace_id, ids = _at_work(desk)
    organization_id = desk.organization_id
    desk.asks("workspace", "end", "chat", "--reason", "given up")

    def act(session: Session) -> None:
        for lane in Lane:
            work.want(
                session, organization_id, subject=Subject.ACCOUNT, subject_ids=ids.values(), because=None, due_at=now(), lane=lane,
                workspace_id=workspace_id,
            )  # fmt: skip

    desk.acts(act)
    Worker(desk.app, threads={Lane.DEPARTURES: 1, Lane.SYNC: 1}).run_until_idle()

    assert _rows(desk, Work, workspace_id) == 0


@pytest.mark.parametrize(("exit", "typed"), [(1, ("nowhere", "--reason", "x")), (2, ("chat", "--reason", "  ")), (2, ("chat",))])
def test_one_that_is_not_there_and_a_reason_that_says_nothing_are_refused(desk: Desk, exit: int, typed: tuple[str, ...]) -> None:
    desk.connects_chat()

    assert desk.types("workspace", "end", *typed).exit == exit
    assert desk.asks("workspace", "list")["workspaces"][0]["state"] == "running"


def test_two_do_not_deliver_to_one_server(desk: Desk) -> None:
    desk.connects_chat()

    twice = desk.types("workspace", "add", "matrix", "again", "--url", "https://Chat.example/", "--token-file", desk.file("t", "s3cret"))

    assert (twice.exit, "'chat' is at" in twice.err) == (1, True)


def _url(desk: Desk) -> tuple[str, dict[str, object], str]:
    with desk.app.app_context(), reading() as session:
        one = session.scalars(select(Workspace)).one()
        return one.url, one.options, one.state


def test_a_server_that_has_moved_is_reached_at_its_new_address(desk: Desk) -> None:
    _at_work(desk)
    desk.chat.accounts = {}
    desk.chat.has("ada")
    desk.acts(lambda session: session.execute(update(Workspace).values(state="halted", halted_reason="it redirects")))

    desk.asks(
        "workspace", "set", "chat", "--url", "https://new.example", "--option", "server_name=chat.example", "--token-file", desk.file("new", "n3w")
    )

    assert _url(desk) == ("https://new.example", {"server_name": "chat.example"}, "running")
    assert desk.chat.seen_token == "n3w"
    desk.asks("workspace", "set", "chat", "--url", "https://new.example/", "--option", "server_name=")
    assert _url(desk) == ("https://new.example/", {}, "running")
    assert desk.chat.seen_token == "n3w", "the token is the one before"


def test_the_token_is_not_shown_to_a_server_that_it_was_not_given_for(desk: Desk) -> None:
    desk.connects_chat()
    desk.chat.seen_token = "nobody asked"

    for url in ("https://evil.example", "http://chat.example", "https://chat.example:8448", "https://chat.example@evil.example"):
        refused = desk.types("workspace", "set", "chat", "--url", url)

        assert (refused.exit, "--token-file" in refused.err, desk.chat.seen_token) == (1, True, "nobody asked"), url
    assert _url(desk)[0] == "https://chat.example"


def test_a_token_that_somebody_gives_meanwhile_is_not_replaced_by_the_one_before(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.connects_chat()
    seen = own_rooms.check_same_place

    def meanwhile(*_: object) -> None:
        monkeypatch.setattr(workspaces, "check_same_place", seen)
        desk.asks("workspace", "set", "chat", "--token-file", desk.file("new", "n3w"))

    monkeypatch.setattr(workspaces, "check_same_place", meanwhile)

    assert desk.types("workspace", "set", "chat", "--option", "server_name=x").exit == 1
    desk.asks("workspace", "check", "chat")
    assert desk.chat.seen_token == "n3w"


def test_another_server_is_no_new_address(desk: Desk) -> None:
    _at_work(desk)
    desk.chat.accounts = {}
    desk.chat.has("stranger")

    refused = desk.types("workspace", "set", "chat", "--url", "https://new.example", "--token-file", desk.file("new", "n3w"), "--json")

    assert (refused.exit, "does not know the account" in refused.json["error"]) == (1, True)
    assert _url(desk)[0] == "https://chat.example"


def test_the_address_of_another_one_is_no_new_address(desk: Desk) -> None:
    desk.connects_chat()
    token = desk.file("token", "s3cret\n")
    desk.asks("workspace", "add", "matrix", "second", "--url", "https://two.example", "--token-file", token)

    refused = desk.types("workspace", "set", "second", "--url", "https://Chat.example/", "--token-file", desk.file("t", "s3cret"), "--json")

    assert (refused.exit, "'chat' is at" in refused.json["error"]) == (1, True)
    assert [one["url"] for one in desk.asks("workspace", "list")["workspaces"]] == ["https://chat.example", "https://two.example"]
    desk.asks("workspace", "set", "second", "--url", "https://two.example/", "--token-file", desk.file("t", "s3cret"))


def test_a_change_of_nothing_and_a_server_that_does_not_answer_are_refused(desk: Desk) -> None:
    desk.connects_chat()

    assert desk.types("workspace", "set", "chat").exit == 2
    desk.chat.down = True
    assert desk.types("workspace", "set", "chat", "--url", "https://new.example", "--token-file", desk.file("new", "n3w")).exit == 7
    assert _url(desk)[0] == "https://chat.example"
