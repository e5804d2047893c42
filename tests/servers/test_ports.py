"""A port that a test is given is its own until its server listens there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests import ports
from tests.ports import RANGE, free_port

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


@pytest.mark.skipif(not GIVEN_BY_THE_SYSTEM.exists(), reason="only Linux tells which ones it gives")
def test_none_is_given_that_the_system_gives_by_itself() -> None:
    lowest, highest = map(int, GIVEN_BY_THE_SYSTEM.read_text().split())
    if lowest < RANGE.stop:
        pytest.skip(f"this system gives ports from {lowest} up: there is nothing below that is nobody's")

    assert free_port() not in range(lowest, highest + 1)
