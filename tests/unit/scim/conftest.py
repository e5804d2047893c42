"""A directory with its token, on both databases."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.scim.hot import HotDoor
from tests.clients.directory import Directory, directory_on
from tests.servers.lent_databases import LentDatabases
from tests.unit.scim.choosing import set_brake
from tests.unit.scim.hot_views import View, wrap_views


@pytest.fixture
def directory(database_url: str, tmp_path: Path) -> Iterator[Directory]:
    with directory_on(database_url, tmp_path) as found, found.app.app_context():
        yield found


@pytest.fixture
def urls(database_url: str, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Two fresh databases of one kind."""
    if database_url.startswith("sqlite"):
        yield database_url, database_url.replace(".sqlite", "-2.sqlite")
        return
    databases: LentDatabases = request.getfixturevalue("lent_databases")
    with databases.lent(like=request.getfixturevalue("present_schema")) as another:
        yield database_url, another


@pytest.fixture
def door(directory: Directory) -> HotDoor:
    set_brake("off")
    # A token that has just been good is the usual one.
    assert directory.send("GET", "/ServiceProviderConfig").status == 200
    return directory.app.wsgi_app  # type: ignore[return-value]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hot paths that answered, in order."""
    answered: list[str] = []

    def counting(view: View) -> View:
        async def counts(on: Any, asked: Any) -> Any:
            response = await view(on, asked)
            if response is not None:
                answered.append(getattr(view, "__name__", "").lstrip("_"))
            return response

        return counts

    wrap_views(monkeypatch, counting)
    return answered


@pytest.fixture(params=["thread", "loop"])
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
