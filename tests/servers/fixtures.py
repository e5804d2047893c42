"""Fixtures that start real servers. A pytest plugin: name it in `pytest_plugins` of the root conftest."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.servers.synapse import Synapse, SynapseMissing

NOT_TESTED = "NOT TESTED ON SYNAPSE"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One loud line at the end, so that nobody takes an untested connector for a tested one."""
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if NOT_TESTED in report.longreprtext
    ]
    if skipped:
        terminalreporter.write_line(
            f"{NOT_TESTED}: {len(skipped)} tests skipped (`make synapse`)", red=True, bold=True
        )


@pytest.fixture(scope="session")
def synapse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    """One for the whole run: use names of your own in it. Skips where none can run, and fails on CI."""
    server = Synapse()
    try:
        server.start(tmp_path_factory.mktemp("synapse"))
    except SynapseMissing as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must test against a real Synapse: {error}")
        pytest.skip(f"{NOT_TESTED}: {error}")
    try:
        yield server
    finally:
        server.stop()
