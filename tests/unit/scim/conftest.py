"""A directory with its token, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.scim.hot import HotDoor
from tests.clients.directory import Directory, directory_on
from tests.unit.scim.choosing import set_brake


@pytest.fixture
def directory(database_url: str, tmp_path: Path) -> Iterator[Directory]:
    with directory_on(database_url, tmp_path) as found, found.app.app_context():
        yield found


@pytest.fixture
def urls(database_url: str, request: pytest.FixtureRequest) -> tuple[str, str]:
    """Two empty databases of one kind."""
    if database_url.startswith("sqlite"):
        return database_url, database_url.replace(".sqlite", "-2.sqlite")
    return database_url, request.getfixturevalue("postgres").database()


@pytest.fixture
def door(directory: Directory) -> HotDoor:
    set_brake("off")
    # A token that has just been good is the usual one.
    assert directory.send("GET", "/ServiceProviderConfig").status == 200
    return directory.app.wsgi_app  # type: ignore[return-value]
