"""The verb of the sweep says of each place whether it was looked at."""

from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.access.tables import Workspace
from app.clock import now
from app.journal.tables import HERE
from app.revocation import sweeps
from app.revocation.sweep_tables import Sweep
from tests.unit.commands.conftest import Desk, Said


def _errors(said: Said) -> dict[str, str | None]:
    return {one["place"]: one["error"] for one in said.json["places"]}


def test_every_place_is_told_with_nothing_to_say_against_it(desk: Desk) -> None:
    desk.connects_chat()

    said = desk.types("sweep", "--all", "--json")

    assert (said.exit, _errors(said)) == (0, {HERE: None, "chat": None})


def test_a_halted_workspace_is_a_place_that_could_not_be_looked_at(desk: Desk) -> None:
    desk.connects_chat()
    desk.acts(lambda session: session.execute(update(Workspace).values(state="halted", halted_reason="chat: the token is not accepted")))

    said = desk.types("sweep", "--all", "--json")

    assert said.exit == 6
    assert _errors(said) == {HERE: None, "chat": "chat is halted and is not asked: doorlist workspace resume chat"}


def test_what_another_process_looks_at_or_did_when_it_was_killed_was_not_looked_at(desk: Desk) -> None:
    workspace_id, organization_id, at = desk.connects_chat(), desk.organization_id, now()

    def taken(session: Session, place: str) -> None:
        assert sweeps.take(session, organization_id, place, at=at)

    desk.acts(lambda session: taken(session, workspace_id))
    partly = desk.types("sweep", "--all", "--json")
    desk.acts(lambda session: taken(session, HERE))
    nowhere = desk.types("sweep", "--all", "--json")

    assert (partly.exit, nowhere.exit) == (6, 7)
    assert _errors(partly)[HERE] is None and "just now" in str(_errors(partly)["chat"])
    assert all("just now" in str(error) for error in _errors(nowhere).values())
    desk.acts(lambda session: session.execute(update(Sweep).values(lease_until=at - timedelta(seconds=1))))
    assert desk.types("sweep", "--all").exit == 0
    assert desk.acts(lambda session: session.scalars(select(Sweep.last_error)).all()) == [None, None]
