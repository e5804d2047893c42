"""A port that a test is given is its own until its server listens there."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ports
from tests.ports import RANGE, free_port

HOUSE = Path(__file__).parents[2]
GIVEN_BY_THE_SYSTEM = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_none_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "RANGE", RANGE[:40])
    monkeypatch.setattr(ports, "_GIVEN", set())

    given = [free_port() for _ in range(30)]

    assert len(set(given)) == 30


def test_none_is_given_that_somebody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_GIVEN", set())
    taken, free = free_port(), free_port()
    monkeypatch.setattr(ports, "RANGE", [*[taken] * 50, free])
    monkeypatch.setattr(ports, "_GIVEN", set())

    with socket.create_server(("127.0.0.1", taken)):
        assert free_port() == free


def test_none_is_given_that_another_process_was_given_and_has_not_listened_at_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    given, free = free_port(), free_port()
    asks = f"from tests import ports; ports.RANGE = [*[{given}] * 50, {free}]; print(ports.free_port())"
    there = {**os.environ, "PYTHONPATH": str(HOUSE)}
    # Of ours the second is free for them: a lock that is given up by whoever has it.
    fcntl.lockf(ports._table(), fcntl.LOCK_UN, 1, free)

    told = subprocess.run([sys.executable, "-c", asks], env=there, capture_output=True, text=True, check=True, timeout=60)

    assert int(told.stdout) == free


@pytest.mark.skipif(not GIVEN_BY_THE_SYSTEM.exists(), reason="only Linux tells which ones it gives")
def test_none_is_given_that_the_system_gives_by_itself() -> None:
    lowest, highest = map(int, GIVEN_BY_THE_SYSTEM.read_text().split())
    if lowest < RANGE.stop:
        pytest.skip(f"this system gives ports from {lowest} up: there is nothing below that is nobody's")

    assert free_port() not in range(lowest, highest + 1)
