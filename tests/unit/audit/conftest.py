"""A directory whose requests are seen, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.directory import Directory, directory_on


@pytest.fixture
def directory(database_url: str, tmp_path: Path) -> Iterator[Directory]:
    with directory_on(database_url, tmp_path) as found, found.app.app_context():
        yield found
