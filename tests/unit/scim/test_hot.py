"""The hot paths do what the ordinary way does: the same answers, and the same rows in every table."""

import asyncio
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
from sqlalchemy.exc import OperationalError
from uuid_utils import uuid7

from app.access.tables import Workspace
from app.bare.connection import Bare
from app.database import Base, in_transaction, reading
from app.directory.tables import Tally
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal.tables import Organization
from app.scim import hot
from app.scim.hot import HotDoor
from tests.clients.directory import Directory, directory_on
from tests.clients.transcript import Answer

pytestmark = pytest.mark.slow

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


def members(op: str, *ids: str) -> dict[str, Any]:
    return {"Operations": [{"op": op, "path": "members", "value": [{"value": id} for id in ids]}]}


class Twin:
    """One directory's story, told to an application of its own with clock and ids that repeat."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.ids: dict[str, str] = {}
        self.at = _BEGAN
        self.answers: list[tuple[int, Any, str | None]] = []

    def tell(self, name: str, method: str, path: str, body: Any = None) -> Answer:
        self.at += timedelta(seconds=1)
        sent = None if body is None else json.loads(self._named(json.dumps(body)))
        answer = self.directory.send(method, path.format(**self.ids), sent)
        document = json.loads(answer.text) if answer.text else None
        if isinstance(document, dict) and "id" in document:
            self.ids[name] = document["id"]
        self.answers.append((answer.status, document, answer.headers.get("ETag")))
        return answer

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


def _repeating(ids: Iterator[int]) -> object:
    # Whoever writes down the requests seen takes ids of its own, on a thread of its own.
    return f"00000000-0000-7000-8000-{next(ids):012}" if threading.current_thread() is threading.main_thread() else uuid7()


def _of_set_up(value: Any) -> bool:
    # When the directory itself was set up is not part of the story.
    return isinstance(value, datetime) and not _BEGAN <= value < _BEGAN + timedelta(hours=1)


@pytest.fixture
def urls(database_url: str, request: pytest.FixtureRequest) -> tuple[str, str]:
    if database_url.startswith("sqlite"):
        return database_url, database_url.replace(".sqlite", "-2.sqlite")
    return database_url, request.getfixturevalue("postgres").database()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hot paths that answered, in order."""
    answered: list[str] = []

    def counting(view: Callable[..., Any]) -> Callable[..., Any]:
        async def counts(*given: Any) -> Any:
            response = await view(*given)
            if response is not None:
                answered.append(view.__name__.lstrip("_"))
            return response

        return counts

    monkeypatch.setattr(hot, "_VIEWS", {key: counting(view) for key, view in hot._VIEWS.items()})
    return answered


@pytest.fixture(params=["thread", "loop"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Requests are tried in a thread that waits, or on an event loop first."""
    loop, in_thread = asyncio.new_event_loop(), HotDoor.__call__

    def over_loop(door: HotDoor, environ: dict[str, Any], start_response: Any) -> Any:
        early = loop.run_until_complete(door.soon(environ))
        if early is None:
            return in_thread(door, environ, start_response)
        status, headers, body = early
        start_response(f"{status} of the loop", headers)
        return body

    if request.param == "loop":
        monkeypatch.setattr(HotDoor, "__call__", over_loop)
    yield
    loop.close()


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
            with monkeypatch.context() as here:
                for module in ("app.scim.door", "app.scim.hot"):
                    here.setattr(f"{module}.now", lambda twin=twin: twin.at)
                if number:
                    here.setattr(hot, "_VIEWS", {})
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


def test_everyday_requests_leave_the_same_rows_and_get_the_same_answers(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("ada", "POST", "/Users", ADA)
        twin.tell("bob", "POST", "/Users", BARE)
        twin.tell("", "GET", "/Users/{ada}")
        twin.tell("", "GET", '/Users?filter=userName eq "ADA@northwind.example"')
        twin.tell("", "GET", '/Users?filter=externalId eq "00u1"')
        twin.tell("", "GET", '/Users?filter=externalId eq "00U1"&count=1')
        twin.tell("", "GET", '/Users?filter=userName co "NORTH"&startIndex=1&count=10')
        twin.tell("", "GET", '/Users?filter=userName sw "b"')
        twin.tell("group", "POST", "/Groups", {"displayName": "Cyclists", "externalId": "g1", "members": [{"value": "<bob>"}]})
        twin.tell("", "PATCH", "/Groups/{group}", members("add", "<ada>"))
        twin.tell("", "PATCH", "/Groups/{group}", members("Add", "<ada>", "<bob>"))
        twin.tell("", "GET", "/Users/{ada}")
        twin.tell("", "PATCH", "/Users/{ada}", active(False))
        twin.tell("", "PATCH", "/Users/{ada}", active("True", path=False))
        twin.tell("", "PATCH", "/Groups/{group}", members("remove", "<ada>"))
        twin.tell("", "PATCH", "/Groups/{group}", members("Add", "<ada>"))
        twin.tell("", "PATCH", "/Users/{bob}", active("False"))
        twin.tell("", "GET", "/Users/{bob}")

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == [
        *["post_user"] * 2, "get_user", *["list_users"] * 5, *["patch_group"] * 2, "get_user",
        *["patch_user"] * 2, *["patch_group"] * 2, "patch_user", "get_user",
    ]  # fmt: skip


def test_groups_are_read_with_their_members(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("ada", "POST", "/Users", ADA)
        twin.tell("bob", "POST", "/Users", BARE)
        twin.tell("cy", "POST", "/Users", {"userName": "cy", "displayName": "Cÿ \"the\" \\ last"})
        everybody = [{"value": "<cy>"}, {"value": "<ada>"}, {"value": "<bob>"}]
        twin.tell("group", "POST", "/Groups", {"displayName": "Zü\"ge", "externalId": "g1", "x-note": {"n": 1.5}, "members": everybody})
        twin.tell("empty", "POST", "/Groups", {"displayName": "Nobody"})
        twin.tell("", "GET", "/Groups/{group}")
        twin.tell("", "GET", "/Groups/{empty}")
        twin.tell("", "PATCH", "/Groups/{group}", {"Operations": [{"op": "replace", "path": "displayName", "value": "Cyclists"}]})
        twin.tell("", "PATCH", "/Groups/{group}", {"Operations": [{"op": "remove", "path": "externalId"}]})
        twin.tell("", "PATCH", "/Groups/{group}", members("remove", "<ada>"))
        twin.tell("", "PATCH", "/Users/{cy}", active(False))
        twin.tell("", "GET", "/Groups/{group}")
        twin.tell("", "DELETE", "/Users/{bob}")
        twin.tell("", "GET", "/Groups/{group}")
        twin.tell("", "GET", "/Groups/{group}?excludedAttributes=members")
        twin.tell("", "GET", "/Groups/nothing")
        twin.tell("", "DELETE", "/Groups/{empty}")
        twin.tell("", "GET", "/Groups/{empty}")

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == [*["post_user"] * 3, "get_group", "get_group", "patch_group", "patch_user", "get_group", "get_group"]


def test_what_has_to_be_decided_goes_the_ordinary_way(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("ada", "POST", "/Users", ADA)
        twin.tell("bob", "POST", "/Users", BARE)
        del counted[:]
        twin.tell("", "POST", "/Users", {"userName": "cy", "active": False})
        twin.tell("dee", "POST", "/Users", {"userName": "dee", ENTERPRISE_URN: {"employeeNumber": "E-1"}})
        twin.tell("", "POST", "/Users", {"userName": "eve", ENTERPRISE_URN: {"manager": {"value": "<dee>"}}})
        twin.tell("", "POST", "/Users", {"externalId": "nameless"})
        twin.tell("", "PATCH", "/Users/{ada}", active(True))
        twin.tell("", "PATCH", "/Users/{ada}", active("perhaps"))
        twin.tell("", "PATCH", "/Users/{ada}", {"Operations": [{"op": "replace", "value": {"active": False, "title": "Left"}}]})
        twin.tell("", "GET", "/Users/nobody")
        twin.tell("", "GET", "/Users/{ada}?attributes=userName")
        twin.tell("", "GET", '/Users?filter=userName eq "a" or userName eq "b"')
        twin.tell("", "GET", '/Users?filter=userName sw ""')
        twin.tell("group", "POST", "/Groups", {"displayName": "Cyclists"})
        twin.tell("", "PATCH", "/Groups/{group}", members("add", "<ada>", "nobody"))
        twin.tell("", "PATCH", "/Groups/{group}", {"Operations": [{"op": "replace", "path": "members", "value": [{"value": "<ada>"}]}]})
        twin.tell("", "PATCH", "/Groups/nothing", members("add", "<ada>"))

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == []


@pytest.mark.parametrize(("matching", "hot_joins"), [("employeeNumber,email", 0), ("userName", 0), ("none", 2), ("employeeNumber", 2)])
def test_where_people_are_matched_by_address_or_name_each_join_goes_the_ordinary_way(
    urls: tuple[str, str], tmp_path: Path, counted: list[str], matching: str, hot_joins: int
) -> None:
    def choose(session: Any) -> None:
        session.scalars(select(Organization)).one().settings = {"matching": matching}

    with directory_on(urls[0], tmp_path) as directory, directory.app.app_context():
        in_transaction(choose)
        directory.send("GET", "/ServiceProviderConfig")
        del counted[:]
        directory.add_user("ada", emails=[{"value": "ada@x.example"}])
        directory.add_user("bob")

    assert counted == ["post_user"] * hot_joins


def test_taken_names_and_keys_are_answered_the_ordinary_way(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin)
        twin.tell("ada", "POST", "/Users", ADA)
        del counted[:]
        twin.tell("", "POST", "/Users", {"userName": " ADA@northwind.example "})
        twin.tell("", "POST", "/Users", {"userName": "cy", "externalId": "00u1"})
        twin.tell("", "DELETE", "/Users/{ada}")

    # The rows are not compared: PostgreSQL gives the number of a journal entry that was refused to nobody else.
    both_ways(urls, tmp_path, monkeypatch, story, rows=False)

    assert counted == []


def test_a_deactivation_that_the_brake_counts_goes_the_ordinary_way(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    def story(twin: Twin) -> None:
        set_up(twin, brake="1/60s")
        twin.tell("ada", "POST", "/Users", ADA)
        twin.tell("bob", "POST", "/Users", BARE)
        twin.tell("", "PATCH", "/Users/{ada}", active(False))
        twin.tell("", "PATCH", "/Users/{bob}", active(False))
        twin.tell("", "PATCH", "/Users/{bob}", active(True))

    both_ways(urls, tmp_path, monkeypatch, story)

    assert counted == ["post_user"] * 2


def test_a_wrong_token_opens_no_hot_path(urls: tuple[str, str], tmp_path: Path, counted: list[str]) -> None:
    with directory_on(urls[0], tmp_path) as directory, directory.app.app_context():
        ada = directory.add_user("ada")
        del counted[:]
        for method, path, body in (
            ("GET", f"/Users/{ada}", None), ("GET", "/Groups/any", None), ("GET", '/Users?filter=userName eq "ada"', None), ("GET", "/Users", None),
            ("POST", "/Users", BARE), ("PATCH", f"/Users/{ada}", active(False)), ("PATCH", "/Groups/any", members("add", ada)),
        ):  # fmt: skip
            assert directory.send(method, path, body, Authorization="Bearer dl_wrong").status == 401

    assert counted == []


def test_a_database_that_is_away_is_said_in_words_and_found_again(urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(app: object, **_: object) -> Bare:
        raise OperationalError("connect", {}, Exception("refused"))

    with directory_on(urls[0], tmp_path) as directory, directory.app.app_context():
        ada = directory.add_user("ada")
        with monkeypatch.context() as here:
            here.setattr(hot, "bare_of", away)
            here.setattr(hot, "lent_on_loop", away)

            assert directory.send("GET", f"/Users/{ada}").status == 200

        assert directory.send("GET", f"/Users/{ada}").status == 200
