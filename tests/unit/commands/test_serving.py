"""`serve` and `worker` as processes, and the figures that Prometheus reads."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from flask import Flask

from app.assembly import create_app
from app.commands import housekeeping
from app.console.metrics import routes
from app.database import db, reading
from app.rules.tables import Channel
from app.settings import from_environment
from tests.ports import free_port
from tests.unit.commands.conftest import Desk
from tests.waiting import until

pytestmark = pytest.mark.slow

HOUSE = Path(__file__).parents[3]


def started(desk: Desk, *arguments: str, processes: int = 1, own_session: bool = False) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DOORLIST_")}
    return subprocess.Popen(
        [sys.executable, "-c", "from app.program import main; main()", *arguments],
        cwd=HOUSE, env=environment | desk.environment | {"DOORLIST_WEB_PROCESSES": str(processes)}, start_new_session=own_session,
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def first_words(process: subprocess.Popen[str], word: str) -> None:
    """Waits until the process has said on stderr that it is ready."""
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return
    raise AssertionError(f"it ended with {process.wait()} without saying {word}")


@pytest.mark.slow
@pytest.mark.usefixtures("heard_at_a_terminal")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGHUP, 0)])
def test_serve_answers_and_ends_cleanly(desk: Desk, number: signal.Signals, code: int) -> None:
    port = free_port()
    process = started(desk, "serve", "--port", str(port))
    try:
        first_words(process, "serving on")
        ready = requests.get(f"http://127.0.0.1:{port}/readyz", timeout=10)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()

    assert ready.status_code == 200
    assert process.returncode == code
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
def test_serve_on_an_address_of_ipv6_says_where_it_is_reached(desk: Desk) -> None:
    port = free_port()
    process = started(desk, "serve", "--host", "::1", "--port", str(port), "--lanes", "none")
    try:
        first_words(process, f"serving on http://[::1]:{port}, known as")
        ready = requests.get(f"http://[::1]:{port}/readyz", timeout=10)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()

    assert ready.status_code == 200


@pytest.mark.slow
@pytest.mark.usefixtures("heard_at_a_terminal")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 0)])
def test_ctrl_c_at_a_terminal_or_its_closing_ends_all_of_it_without_a_word(desk: Desk, number: signal.Signals, code: int) -> None:
    """There, every process is told."""
    process = started(desk, "serve", "--port", str(free_port()), "--lanes", "none", own_session=True)
    try:
        first_words(process, "serving on")
        os.killpg(process.pid, number)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()

    assert process.returncode == code
    assert "Traceback" not in said and "takes its place" not in said


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_whoever_connects_while_the_last_is_answered_is_refused_and_does_not_wait_in_vain(desk: Desk, processes: int) -> None:
    port = free_port()

    def is_refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
        except ConnectionRefusedError:
            return True
        return False

    process = started(desk, "serve", "--port", str(port), "--lanes", "none", processes=processes)
    try:
        first_words(process, "serving on")
        with socket.create_connection(("127.0.0.1", port), timeout=30) as last:
            last.sendall(b"POST /healthz HTTP/1.1\r\nHost: doorlist\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert last.recv(1024).startswith(b"HTTP/1.1 100 ")
            process.send_signal(signal.SIGTERM)

            refused = until(is_refused, within=5)
            still_here = process.poll() is None
            last.sendall(b"{}")
            answer = last.recv(1024)
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()

    assert (refused, still_here, process.returncode) == (True, True, 0)
    assert answer.startswith(b"HTTP/1.1 405 ")


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_another_process_takes_the_place_of_one_that_was_killed(desk: Desk, processes: int) -> None:
    port = free_port()
    process = started(desk, "serve", "--port", str(port), "--lanes", "none", processes=processes)
    try:
        first_words(process, "serving on")
        before = web_processes(process, processes)
        for one in before:
            os.kill(one, signal.SIGKILL)
        # Whoever asks meanwhile waits, and is answered.
        ready = requests.get(f"http://127.0.0.1:{port}/readyz", timeout=60)
        first_words(process, "another one takes its place")
        after = web_processes(process, processes)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()

    assert ready.status_code == 200
    assert not set(before) & set(after)
    assert process.returncode == 0
    assert not any(Path(f"/proc/{one}").exists() for one in after)


def web_processes(process: subprocess.Popen[str], number: int) -> list[int]:
    """Those that answer, once there are so many; beside them Python keeps one that tidies up."""
    deadline = time.monotonic() + 30
    while True:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        found = [int(child) for child in children if b"spawn_main" in _command(child)]
        if len(found) == number:
            return found
        assert time.monotonic() < deadline


def _command(child: str) -> bytes:
    try:
        return Path(f"/proc/{child}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


@pytest.mark.slow
def test_worker_runs_one_lane_and_ends_cleanly(desk: Desk) -> None:
    process = started(desk, "worker", "--lanes", "departures")
    try:
        first_words(process, "delivering departures")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()

    assert process.returncode == 0
    assert "Traceback" not in said


def test_serve_refuses_to_start_without_its_key(desk: Desk) -> None:
    (desk.folder / "home" / "encryption.key").unlink()

    said = desk.types("serve", "--json")

    assert said.exit == 1 and "encryption key" in said.json["error"]


def test_serve_says_that_its_port_is_taken(desk: Desk) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()

        said = desk.types("serve", "--port", str(holder.getsockname()[1]), "--json")

    assert said.exit == 1 and "cannot listen" in said.json["error"]


def test_worker_knows_its_lanes(desk: Desk) -> None:
    assert desk.types("worker", "--lanes", "arrivals", "--json").exit == 2


def test_metrics_show_counts_and_no_person(desk: Desk) -> None:
    desk.hires(desk.directory(), "ylva")
    desk.connects_chat()
    app: Flask = create_app(from_environment(desk.environment))
    if "metrics" not in app.blueprints:
        app.register_blueprint(routes)

    text = app.test_client().get("/metrics").get_data(as_text=True)
    with app.app_context():
        db.engine.dispose()

    assert 'doorlist_people{organization="Acme",standing="active"} 1.0' in text
    assert 'doorlist_workspace_halted{organization="Acme",workspace="chat"} 0.0' in text
    assert "ylva" not in text


def test_a_channel_that_was_empty_for_long_is_archived_by_the_tick(desk: Desk) -> None:
    from datetime import timedelta

    from sqlalchemy import select

    from app.clock import now

    organization_id = desk.organization_id
    long_ago = now() - timedelta(days=400)
    channel = Channel(organization_id=organization_id, id="c1", name="old", state="empty", space=False, empty_since=long_ago, created_at=long_ago)
    desk.acts(lambda session: session.add(channel))

    housekeeping.tick(desk.app)

    with desk.app.app_context(), reading() as session:
        assert session.scalars(select(Channel.state)).one() == "archived"


# What lies on top keeps what is free beneath it from being given back by itself.
_BLOCKS = """
import sys
from app.commands import web

def kept():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

if sys.argv[1] == "handed back":
    web._hand_back_what_is_large()
large = bytearray(16 << 20)
del large
before = kept()
blocks, on_top = [bytearray(400_000) for _ in range(100)], bytearray(60_000)
held = kept() - before
del blocks
print(held, kept() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps it")
@pytest.mark.parametrize("how", ["handed back", "kept"])
def test_memory_of_a_large_answer_is_handed_back(how: str) -> None:
    ended = subprocess.run([sys.executable, "-c", _BLOCKS, how], cwd=HOUSE, capture_output=True, text=True, check=True)

    held, still = map(int, ended.stdout.split())

    assert held > 38_000_000
    # The other one shows that it would not be by itself.
    assert (still < 4_000_000) is (how == "handed back")
