"""A workspace's credential is of the account that made its rooms: with another's nobody could be put into them or taken out."""

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.access.tables import Workspace
from app.clock import now
from app.rules.tables import Channel, Room
from connectors.contract import ChannelRef, ChannelSeen
from tests.unit.commands.conftest import Desk

OLD, NEW = ChannelRef("!old:chat"), ChannelRef("!new:chat")


def _room(desk: Desk, ref: ChannelRef, *, ours: bool, there: bool = True) -> None:
    """A channel that was made in the workspace, and whether the account whose token counts now made it."""
    organization_id = desk.organization_id

    def act(session: Session) -> None:
        workspace = session.query(Workspace).one()
        workspace.state, workspace.halted_reason = "halted", "chat: the token is not accepted"
        session.add(Channel(organization_id=organization_id, id=ref, name=ref, created_at=now()))
        session.add(Room(organization_id=organization_id, workspace_id=workspace.id, channel_id=ref, key=ref, ref=ref))

    desk.acts(act)
    if there:
        desk.chat.rooms[ref] = ChannelSeen(
            ref=ref, key=ref, name=ref, topic="", parent=None, space=False, read_only=False, private=True, owners=frozenset(), ours=ours,
        )  # fmt: skip


def _resumed(desk: Desk) -> int:
    return desk.types("workspace", "resume", "chat", "--token-file", desk.file("new", "n3w")).exit


def test_a_token_of_another_account_is_not_taken(desk: Desk) -> None:
    desk.connects_chat()
    _room(desk, OLD, ours=False)

    said = desk.types("workspace", "resume", "chat", "--token-file", desk.file("new", "n3w"), "--json")

    assert (said.exit, "of another account" in said.json["error"]) == (1, True)
    assert desk.asks("workspace", "list")["workspaces"][0]["state"] == "halted"


def test_what_another_account_made_meanwhile_keeps_no_token_out(desk: Desk) -> None:
    desk.connects_chat()
    _room(desk, OLD, ours=True)
    _room(desk, NEW, ours=False)

    assert _resumed(desk) == 0


def test_a_room_that_is_not_there_any_more_says_nothing(desk: Desk) -> None:
    desk.connects_chat()
    _room(desk, OLD, ours=True, there=False)

    assert _resumed(desk) == 0
    _room(desk, NEW, ours=False)
    assert _resumed(desk) == 1


@pytest.mark.parametrize("verb", [("doctor",), ("workspace", "check", "chat")])
def test_a_token_of_another_account_that_was_taken_before_is_told(desk: Desk, verb: tuple[str, ...]) -> None:
    desk.connects_chat()
    _room(desk, OLD, ours=False)
    desk.acts(lambda session: session.execute(update(Workspace).values(state="running", halted_reason=None)))

    said = desk.types(*verb)

    assert said.exit == 1
    assert "of another account" in said.out + said.err
