"""One story told twice: to an installation with the hot paths and to one without, which must end alike."""

import asyncio
import io
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from uuid_utils import uuid7
from werkzeug.test import EnvironBuilder

from app.access.tables import Workspace
from app.database import Base, in_transaction, reading
from app.directory.tables import Tally
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal.tables import Organization
from app.scim.hot import Early, HotDoor
from tests.clients.directory import Directory, directory_on
from tests.clients.transcript import Answer
from tests.unit.scim.hot_views import without_views

ADA = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "Ada@Northwind.example", "externalId": "00u1",
    "name": {"givenName": "Ada", "familyName": "Kim"}, "title": "Ünïcode \"quoted\" \\ back", "password": "x", "groups": [],
    "emails": [{"value": "Ada@northwind.example", "type": "work", "primary": True}, {"value": "ada@home.example"}],
    "userType": "Employee", "nickName": "A", "x-note": {"badge": 7, "cost": 1.5, "flags": [True, None]},
    ENTERPRISE_URN: {"department": "Research", "division": "North"},
}  # fmt: skip
BARE = {"userName": "bob"}
_BEGAN = datetime(2026, 11, 25, tzinfo=UTC)


def active(value: Any, *, path: bool = True) -> dict[str, Any]:
    operation = {"op": "Replace", "path": "active", "value": value} if path else {"op": "replace", "value": {"active": value}}
    return {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]}


def change(op: str, path: str | None, value: Any = None) -> dict[str, Any]:
    said = {"op": op, "value": value} if path is None else {"op": op, "path": path, "value": value}
    return {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [said]}


def members(op: str, *ids: str) -> dict[str, Any]:
    return {"Operations": [{"op": op, "path": "members", "value": [{"value": id} for id in ids]}]}


class Twin:
    """One directory's story, told to an application of its own with clock and ids that repeat."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.ids: dict[str, str] = {}
        self.at = _BEGAN
        self.answers: list[tuple[int, Any, str | None]] = []
        # One for the whole story, as a server has.
        self.loop = asyncio.new_event_loop()

    def tell(self, name: str, method: str, path: str, body: Any = None) -> Answer:
        self.at += timedelta(seconds=1)
        sent = None if body is None else json.loads(self._named(json.dumps(body)))
        return self._keep(name, self.directory.send(method, path.format(**self.ids), sent))

    def _keep(self, name: str, answer: Answer) -> Answer:
        document = json.loads(answer.text) if answer.text else None
        if isinstance(document, dict) and "id" in document:
            self.ids[name] = document["id"]
        self.answers.append((answer.status, document, answer.headers.get("ETag")))
        return answer

    def tell_together(self, *told: tuple[str, str, str, Any]) -> list[int | None]:
        """All of these at one instant, and on one turn of an event loop as far as hot paths take them; the others in their order.

        Returns the status of each that a hot path answered, and None for each other.
        """
        self.at += timedelta(seconds=1)
        door: HotDoor = self.directory.app.wsgi_app  # type: ignore[assignment]
        sent = [
            (name, method, path.format(**self.ids), None if body is None else json.loads(self._named(json.dumps(body)))) for name, method, path, body in told
        ]

        async def all_of_them() -> list[Early | None]:
            return list(await asyncio.gather(*(door.soon(environ_of(self.directory, method, path, body)) for _, method, path, body in sent)))

        early = self.loop.run_until_complete(all_of_them())
        for (name, method, path, body), answered in zip(sent, early, strict=True):
            if answered is None:
                self._keep(name, self.directory.send(method, path, body))
            else:
                status, headers, pieces = answered
                self._keep(name, Answer(status=status, headers=dict(headers), text=b"".join(pieces).decode()))
        return [None if answered is None else answered[0] for answered in early]

    def _named(self, text: str) -> str:
        for name, id in self.ids.items():
            text = text.replace(f"<{name}>", id)
        return text

    def totals(self) -> dict[str, int]:
        """How many records and groups stand, whichever connections added them."""
        with self.directory.app.app_context(), reading() as session:
            return {kind: int(number) for kind, number in session.execute(select(Tally.kind, func.sum(Tally.number)).group_by(Tally.kind))}

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        with self.directory.app.app_context(), reading() as session:
            return {
                table.name: sorted(
                    ({key: value for key, value in row.items() if key not in ("digest", "sealed_secret", "last_used_at") and not _of_set_up(value)} for row in session.execute(select(table)).mappings()),
                    key=lambda row: json.dumps(row, default=str, sort_keys=True),
                )
                for table in Base.metadata.sorted_tables
                # Each database has a mark of its own (`installation`), by which it is told from a copy of itself.
                if not table.name.startswith(("request_", "installation")) and table is not Tally.__table__
            }  # fmt: skip


def environ_of(directory: Directory, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """A request as a server hands it on, with its body there as a whole."""
    address, _, query = path.partition("?")
    raw = b"" if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {directory.token}"}
    if body is not None:
        headers["Content-Type"] = "application/scim+json"
    built = EnvironBuilder(directory.base + address, method=method, query_string=query, headers=list(headers.items()), data=raw)
    return {**built.get_environ(), "wsgi.input": io.BytesIO(raw)}


def _repeating(ids: Iterator[int]) -> object:
    # Whoever writes down the requests seen takes ids of its own, on a thread of its own.
    return f"00000000-0000-7000-8000-{next(ids):012}" if threading.current_thread() is threading.main_thread() else uuid7()


def _of_set_up(value: Any) -> bool:
    # When the directory itself was set up is not part of the story.
    return isinstance(value, datetime) and not _BEGAN <= value < _BEGAN + timedelta(hours=1)


def both_ways(
    urls: tuple[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch, story: Callable[[Twin], None], *, rows: bool = True
) -> tuple[Twin, Twin]:
    """The story told with the hot paths and without; clock and ids run alike in both."""
    twins: list[Twin] = []
    with ExitStack() as leaving:
        for number, url in enumerate(urls):
            ids = itertools.count(1)
            monkeypatch.setattr("app.database.uuid7", lambda ids=ids: _repeating(ids))
            home = folder / f"twin{number}"
            home.mkdir()
            twin = Twin(leaving.enter_context(directory_on(url, home)))
            leaving.callback(twin.loop.close)
            with monkeypatch.context() as here:
                # Who asks is written down at another moment where several go together.
                here.setattr("app.scim.seen.new_id", lambda: str(uuid7()))
                # Who goes together is the same at any speed.
                here.setattr("app.bare.gathered._PATIENCE", 30.0)
                for module in ("app.scim.door", "app.scim.hot", "app.lifecycle.plain_switch", "app.lifecycle.plain_members"):
                    here.setattr(f"{module}.now", lambda twin=twin: twin.at)
                if number:
                    without_views(here)
                with twin.directory.app.app_context():
                    story(twin)
            twins.append(twin)
        written = [twin.rows() for twin in twins] if rows else [{}, {}]
        for table in written[0]:
            assert written[0][table] == written[1][table], table
        assert twins[0].totals() == twins[1].totals()
    assert twins[0].answers == twins[1].answers
    return twins[0], twins[1]


def set_up(twin: Twin, *, brake: str = "off", workspaces: int = 2) -> None:
    def act(session: Any) -> None:
        organization = session.scalars(select(Organization)).one()
        organization.settings = {"push_brake": brake}
        for number in range(workspaces):
            session.add(
                Workspace(
                    organization_id=organization.id, id=f"w{number}", name=f"chat{number}", kind="matrix", url="http://127.0.0.1:1",
                    sealed_token=b"", created_at=datetime(2026, 11, 25, tzinfo=UTC),
                )
            )  # fmt: skip

    in_transaction(act)
    # A token that has just been good is the usual one.
    twin.tell("", "GET", "/ServiceProviderConfig")
