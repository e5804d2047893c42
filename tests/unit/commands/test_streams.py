"""How the command line ends where nobody reads what it says, or where it cannot be written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from app.assembly import without_doors
from app.commands.entry import doorlist
from app.settings import from_environment
from tests.ports import free_port
from tests.waiting import until

pytestmark = pytest.mark.slow

HOUSE = Path(__file__).parents[3]
FULL = Path("/dev/full")
REPORT = ("report", "terminations", "--from", "2026-10-01", "--to", "2026-10-02")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of an installation with one organisation."""
    ours = {"DOORLIST_HOME": str(tmp_path / "home"), "PYTHONPATH": str(HOUSE)}
    assert doorlist.main(["init", "--organization", "Acme"], standalone_mode=False, obj=lambda: without_doors(from_environment(ours))) == 0
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DOORLIST_") and name != "DATABASE_URL"}
    return kept | ours | {"PYTHONUNBUFFERED": ""}


def ended(environment: dict[str, str], *arguments: str, shell: str = 'exec "$@"', stdout: int | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, started by a shell that has arranged its streams."""
    typed = [sys.executable, "-c", "from app.program import main; main()", *arguments]
    return subprocess.run(
        ["sh", "-c", shell, "sh", *typed], stdout=subprocess.PIPE if stdout is None else stdout, stderr=subprocess.PIPE, text=True, cwd=HOUSE,
        env=environment, check=False, timeout=60,
    )  # fmt: skip


def unheard(environment: dict[str, str], *arguments: str, shell: str = 'exec "$@"') -> tuple[int, str]:
    """How it ends, and what it says on stderr, where nobody reads its output from the beginning."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        said = ended(environment, *arguments, shell=shell, stdout=writing)
    finally:
        os.close(writing)
    return said.returncode, said.stderr


@pytest.mark.parametrize(
    "typed",
    [("settings", "list"), ("settings", "list", "--json"), ("settings", "--help"), (*REPORT, "--csv")],
)
def test_a_reader_who_has_seen_enough_is_no_error(environment: dict[str, str], typed: tuple[str, ...]) -> None:
    code, said = unheard(environment, *typed)

    assert code == 0, said
    assert "Traceback" not in said and "doorlist:" not in said


def test_a_reader_who_has_seen_enough_is_no_error_where_nothing_waits_to_be_written(environment: dict[str, str]) -> None:
    assert unheard(environment | {"PYTHONUNBUFFERED": "1"}, "settings", "list") == (0, "")
    assert unheard(environment | {"PYTHONUNBUFFERED": "1"}, "settings", "--help") == (0, "")


def test_what_was_found_decides_how_it_ends_though_nobody_reads_it(environment: dict[str, str]) -> None:
    (Path(environment["DOORLIST_HOME"]) / "encryption.key").unlink()

    assert unheard(environment, "doctor", "--json") == (1, "")
    assert unheard(environment, "stauts", "--json") == (2, "")


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["", "json"])
def test_evidence_that_was_altered_is_so_though_nobody_reads_it(environment: dict[str, str], tmp_path: Path, form: tuple[str, ...]) -> None:
    export, keys = tmp_path / "audit.jsonl", tmp_path / "keys.json"
    assert ended(environment, "audit", "export", "--out", str(export)).returncode == 0
    keys.write_text(ended(environment, "keys", "export", "--json").stdout)
    verify = ("audit", "verify", str(export), "--keys", str(keys), *form)
    assert unheard(environment, *verify)[0] == 0

    export.write_text(export.read_text().replace("Acme", "Acne"))

    assert unheard(environment, *verify)[0] == 8


def test_a_directory_is_pulled_to_the_end_though_nobody_reads_how_far_it_is(environment: dict[str, str], tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_text("id,userName,displayName,email\nada,ada@acme.example,Ada,ada@acme.example\n")
    assert ended(environment, "source", "add", "csv", "list", "--file", str(people)).returncode == 0

    assert unheard(environment, "source", "pull", "list", shell='exec "$@" 2>&1')[0] == 0

    runs = json.loads(ended(environment, "run", "list", "--json").stdout)["runs"]
    assert [(run["joined"], run["state"]) for run in runs] == [(1, "done")]


def test_what_was_found_is_written_though_nobody_reads_what_is_said_of_it(environment: dict[str, str]) -> None:
    code, table = unheard(environment, "init", shell='exec "$@" 3>&1 1>&2 2>&3')

    assert (code, table.splitlines()[1].partition("\t")[0]) == (0, "Acme")


@pytest.mark.parametrize("typed", [("status",), REPORT])
def test_an_output_that_was_closed_before_is_written_to_by_nobody(environment: dict[str, str], typed: tuple[str, ...]) -> None:
    said = ended(environment, *typed, shell='exec "$@" >&-')

    assert (said.returncode, "Traceback" in said.stderr) == (0, False), said.stderr


def _answers(port: int) -> bool:
    with suppress(requests.ConnectionError):
        return requests.get(f"http://127.0.0.1:{port}/readyz", timeout=10).ok
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_who_serves_without_a_stderr_ends_as_ever(environment: dict[str, str], number: signal.Signals, code: int) -> None:
    port = free_port()
    typed = [sys.executable, "-c", "from app.program import main; main()", "serve", "--port", str(port)]
    process = subprocess.Popen(["sh", "-c", 'exec "$@" 2>&-', "sh", *typed], stdout=subprocess.PIPE, text=True, cwd=HOUSE, env=environment)
    try:
        assert until(lambda: _answers(port), within=60)
        theirs = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        written_to = {os.readlink(f"/proc/{one}/fd/2") for one in (process.pid, *theirs)}
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()

    assert (process.returncode, said) == (code, "")
    assert written_to == {os.devnull}, "no file or connection of ours has taken its number"


@pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("typed", [("status",), ("status", "--json")])
def test_an_output_that_takes_nothing_is_an_error_said_on_stderr(environment: dict[str, str], typed: tuple[str, ...]) -> None:
    said = ended(environment, *typed, shell='exec "$@" >/dev/full')

    assert said.returncode == 1
    assert said.stderr.splitlines()[-1] == "doorlist: [Errno 28] No space left on device"
    assert "Traceback" not in said.stderr and "Exception ignored" not in said.stderr


def test_what_is_read_is_whole(environment: dict[str, str]) -> None:
    said = ended(environment, "status", "--json")

    assert (said.returncode, said.stderr) == (0, "")
    assert json.loads(said.stdout)["organization"] == "Acme"
