"""What a real Synapse has of an organisation, by its own word, and a worker that brings it about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from flask import Flask
from sqlalchemy import select

from app.access.tables import Account
from app.clock import now
from app.database import reading
from app.delivery.worker import Worker
from app.journal.tables import Lane, Work, WorkState
from app.rules.tables import Room
from connectors.http import path
from tests.journeys.chat_tree import ADMIN, ChatAdmin
from tests.journeys.pictures import Channels, Names, a_minute_passes
from tests.waiting import until

OWNER: Final = 50
"""Whoever has so much power in a room may rename it, invite and remove."""


def deliver_for_real(app: Flask) -> None:
    """With the threads of a worker, until nothing waits that is due; a minute after it as well."""
    worker = Worker(app, threads={Lane.DEPARTURES: 2, Lane.SYNC: 4})
    worker.start()
    try:
        assert until(lambda: not _left(), within=90), _left()
        a_minute_passes()
        assert until(lambda: not _left(), within=90), _left()
    finally:
        worker.stop()


def _left() -> list[tuple[str, str, str | None]]:
    with reading() as session:
        rows = session.execute(select(Work.subject, Work.state, Work.last_error, Work.due_at)).all()
    assert all(row.state != WorkState.PARKED for row in rows), rows
    return [(row.subject, row.state, row.last_error) for row in rows if row.due_at <= now() or row.last_error is not None]


class Chat:
    """One organisation's part of a server that others share. Everybody is called by their address there, without the mark."""

    def __init__(self, admin: ChatAdmin, organization_id: str, mark: str) -> None:
        self._admin = admin
        self._mark = mark
        with reading() as session:
            self._accounts = list(session.scalars(select(Account.account_id).where(Account.organization_id == organization_id)))
            self._refs = list(session.scalars(select(Room.ref).where(Room.organization_id == organization_id)))
        self._users = {id: admin.call("GET", path(f"{ADMIN}/v2/users/{{}}", id)) for id in self._accounts}

    def rooms(self) -> Channels:
        """Those that anybody is in, each with its members and owners."""
        found = {}
        for ref in self._refs:
            assert ref is not None
            members = self._admin.call("GET", path(f"{ADMIN}/v1/rooms/{{}}/members", ref))["members"]
            events = self._admin.call("GET", path(f"{ADMIN}/v1/rooms/{{}}/state", ref))["state"]
            content = {event["type"]: event["content"] for event in events if event["state_key"] == ""}
            owners = [user for user, power in content["m.room.power_levels"]["users"].items() if power >= OWNER]
            if people := self._named(members):
                found[self._plain(content["m.room.name"]["name"])] = (people, self._named(owners))
        return found

    def people(self) -> list[Names]:
        """Who may come in, by address and name; of those who may not, whose addresses are taken away, the name."""
        return sorted(
            (
                *(self._plain(one["address"]) for one in user["threepids"]), user["displayname"] or "",
                "closed" if user["deactivated"] or user["locked"] else "open",
            )
            for user in self._users.values()
        )  # fmt: skip

    def _named(self, users: Iterable[str]) -> Names:
        """Without the account that provisions."""
        return tuple(sorted(self._plain(self._users[user]["threepids"][0]["address"]) for user in users if user != self._admin.me))

    def _plain(self, text: str) -> str:
        return text.replace(self._mark, "")
