"""Files with names in them, and with days on which somebody is to leave, are their owner's: the embedded database, and receipts."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
    assert {name: oct(mode) for name, mode in modes.items() if mode != 0o600} == {}


@pytest.mark.empty
@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o755), (0o002, 0o755), (0o077, 0o700)])
def test_nobody_else_on_the_machine_puts_another_database_or_key_in_their_place(bare_desk: Desk, umask: int, mode: int) -> None:
    home = bare_desk.folder / "home of ours"
    bare_desk.environment = {"DOORLIST_HOME": str(home)}
    before = os.umask(umask)
    try:
        bare_desk.asks("init")
    finally:
        os.umask(before)

    assert oct(stat.S_IMODE(home.stat().st_mode)) == oct(mode)


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


@pytest.mark.empty
def test_what_doctor_says_to_type_about_a_key_that_others_can_read_can_be_pasted(bare_desk: Desk) -> None:
    home = bare_desk.folder / "home of ours"
    bare_desk.environment = {"DOORLIST_HOME": str(home)}
    bare_desk.asks("init")
    key = home / "encryption.key"
    key.chmod(0o644)

    said = bare_desk.types("doctor", "--json").json["findings"]

    assert [one["sentence"] for one in said if "chmod 600" in one["sentence"]] == [f"others on this machine can read {key}: chmod 600 '{key}'"]


@pytest.mark.parametrize("name", ["ada.json", "ada.html"])
def test_a_receipt_is_its_owners_also_in_the_place_of_a_file_that_others_could_read(desk: Desk, name: str) -> None:
    desk.hires(desk.directory(), "ada")
    desk.asks("depart", "ada@acme.example")
    out = desk.folder / name
    out.write_text("the one before")
    out.chmod(0o644)

    desk.asks("receipt", "ada@acme.example", "--out", str(out))

    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "ada@acme.example" in out.read_text()


def test_a_receipt_that_finds_no_room_leaves_the_one_before_as_it_was(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.hires(desk.directory(), "ada")
    desk.asks("audit", "checkpoint")
    out = desk.folder / "ada.json"
    out.write_text("the one before")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    said = desk.types("receipt", "ada@acme.example", "--out", str(out), "--json")

    assert (said.exit, said.json["error"]) == (1, f"{out}: No space left on device")
    assert [one.read_text() for one in desk.folder.glob("*ada.json*")] == ["the one before"]


def test_a_receipt_goes_through_a_pipe(desk: Desk) -> None:
    desk.hires(desk.directory(), "ada")
    pipe = desk.folder / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_text)

        desk.asks("receipt", "ada@acme.example", "--out", str(pipe))

        assert "ada@acme.example" in read.result(timeout=30)
    assert pipe.is_fifo()
