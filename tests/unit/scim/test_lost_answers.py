"""PostgreSQL makes a new user, and its answer to that is lost on the way: the directory hears what is true all the same."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.scim.hot import HotDoor
from app.scim.seen import flush_requests
from tests.clients.directory import Directory, directory_on
from tests.servers.severed import Severed
from tests.unit.scim.choosing import set_brake
from tests.unit.scim.looping import joining
from tests.unit.scim.twins import environ_of

pytestmark = pytest.mark.slow


@pytest.fixture
def between(database_url: str) -> Iterator[Severed]:
    port = make_url(database_url).port
    if port is None:
        pytest.skip("on SQLite there is no way between")
    with Severed(port) as between:
        yield between


@pytest.fixture
def directory(database_url: str, between: Severed, tmp_path: Path) -> Iterator[Directory]:
    url = make_url(database_url).set(port=between.port).render_as_string(hide_password=False)
    with directory_on(url, tmp_path) as found, found.app.app_context():
        set_brake("off")
        # A token that has just been good is the usual one.
        found.send("GET", "/ServiceProviderConfig")
        yield found


@pytest.mark.parametrize("way", ["thread", "loop"])
def test_a_user_who_was_made_is_not_said_to_be_another(
    directory: Directory, between: Severed, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    door: HotDoor = directory.app.wsgi_app  # type: ignore[assignment]
    environ = environ_of(directory, "POST", "/Users", joining("bob"))
    said: list[str] = []

    def lose_one_answer() -> None:
        # Whoever writes requests down has a connection too, and the answer that is lost is not to be theirs.
        flush_requests(directory.app)
        between.lose_one_answer()

    async def story() -> None:
        assert await door.soon(environ_of(directory, "POST", "/Users", joining("ada"))) is not None
        # It is noted once it has been sent, at the next turn.
        await asyncio.sleep(0)
        lose_one_answer()
        assert await door.soon(environ) is None

    if way == "loop":
        asyncio.run(story())
    else:
        assert directory.send("POST", "/Users", joining("ada")).status == 201
        lose_one_answer()
    b"".join(door(environ, lambda status, _headers: said.append(status)))

    assert between.lost and "a hot path failed" in caplog.text
    assert said == ["201 CREATED"]
    found = directory.send("GET", '/Users?filter=userName eq "bob"').document
    assert found["totalResults"] == 1
    # Who says so for a second time hears that there is one.
    assert directory.send("POST", "/Users", joining("bob")).document["scimType"] == "uniqueness"
