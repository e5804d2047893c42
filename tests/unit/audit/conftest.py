"""A directory whose requests are seen, and a tree that grows, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.clients.directory import Directory, directory_on
from tests.unit.audit.growing import Ledger, ledger_in


@pytest.fixture
def directory(database_url: str, tmp_path: Path) -> Iterator[Directory]:
    with directory_on(database_url, tmp_path) as found, found.app.app_context():
        yield found


@pytest.fixture
def ledger(installed: Flask) -> Ledger:
    return ledger_in(installed)
