"""The file of an embedded database is its owner's: names are in it, and when somebody is to leave."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.commands.conftest import Desk


@pytest.fixture
def usual_umask() -> Iterator[None]:
    """As most machines have it: whatever is made can be read by everybody."""
    was = os.umask(0o022)
    yield
    os.umask(was)


@pytest.mark.empty
@pytest.mark.usefixtures("usual_umask")
@pytest.mark.parametrize("first", ["init", "status"])
def test_nobody_else_on_the_machine_reads_a_database_that_is_made(bare_desk: Desk, first: str) -> None:
    home = bare_desk.folder / "home of ours"
    bare_desk.environment = {"DOORLIST_HOME": str(home)}

    bare_desk.types(first)
    bare_desk.asks("init")

    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in home.glob("doorlist.db*")}
    assert "doorlist.db" in modes
    assert set(modes.values()) == {0o600}


def test_doctor_says_of_one_that_others_can_read_what_to_type(desk: Desk) -> None:
    place = desk.environment["DATABASE_URL"].removeprefix("sqlite:///")
    if not place.startswith("/"):
        pytest.skip("PostgreSQL looks after its files itself")
    file = Path(place)
    file.parent.chmod(0o755)

    file.chmod(0o644)
    findings = desk.asks("doctor")["findings"]
    file.chmod(0o640)
    afterwards = desk.asks("doctor")["findings"]

    assert [(one["level"], one["sentence"]) for one in findings if "others on this machine" in one["sentence"]] == [
        ("note", f"others on this machine can read {file}: chmod o= {file}*")
    ]
    assert not [one for one in afterwards if "others on this machine" in one["sentence"]]
