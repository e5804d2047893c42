"""Connections by the hundred, of which nobody asks for anything: others are answered, and no log is filled."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.benchmarks.scim import ours
from tests.benchmarks.scim.served import started
from tests.ports import free_port

pytestmark = pytest.mark.slow


@contextmanager
def served(folder: Path, *, files: str) -> Iterator[tuple[int, int]]:
    """Doorlist's own `serve` with so many files, as `prlimit` writes the two limits: its port, and its process."""
    environment = ours._environment(folder / "home", port=free_port(), url=None)
    ours.run(environment, "init", "--organization", "Northwind")
    port = int(environment["DOORLIST_PUBLIC_URL"].rpartition(":")[2])
    command = ["prlimit", f"--nofile={files}", ours._program(), "serve", "--lanes", "none", "--host", "127.0.0.1", "--port", str(port)]
    with started(command, port=port, log=folder / "serve.log", environment=environment, core=None) as process:
        yield port, process.pid


def test_where_no_more_can_be_taken_others_go_on_and_the_log_stays_short(tmp_path: Path) -> None:
    with served(tmp_path, files="150:150") as (port, _), ExitStack() as held:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        held.callback(client.close)

        def is_well() -> bool:
            client.request("GET", "/healthz")
            answer = client.getresponse()
            answer.read()
            return answer.status == 200

        assert is_well()
        for _ in range(250):
            held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        assert all(is_well() for _ in range(2_000))

        said = (tmp_path / "serve.log").read_text()
    assert "Too many open files" in said, "there were enough of them"
    assert said.count("Too many open files") < 100


def test_as_many_files_are_opened_as_the_system_allows(tmp_path: Path) -> None:
    with served(tmp_path, files="200:4000") as (_, pid):
        family = [pid, *(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
        soft = {int(line.split()[3]) for one in family for line in Path(f"/proc/{one}/limits").read_text().splitlines() if line.startswith("Max open files")}

    assert soft == {4000} and len(family) > 1
