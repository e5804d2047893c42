"""Verbs that are broken off, by Ctrl-C, by SIGTERM or by a terminal that is closed: what they had begun is given back, and one line says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.clock import now
from app.journal import work
from app.journal.tables import Lane, Subject
from tests.unit.commands.conftest import Desk
from tests.unit.commands.test_serving import first_words, started

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("heard_at_a_terminal")]

HOUSE = Path(__file__).parents[3]
WHILE_IT_IS_READ = """
import os, sys
from importlib.abc import MetaPathFinder

class BreaksOff(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "app.assembly":
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, BreaksOff())
from app.program import main
main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)])
@pytest.mark.parametrize(("typed", "out", "err"), [
    (["status"], "", "doorlist: interrupted\n"),
    (["status", "--json"], '{"schema": "doorlist.error/1", "error": "interrupted", "exit": 130}\n', ""),
])  # fmt: skip
def test_who_breaks_off_while_the_program_is_read_is_told_so_in_a_line(number: signal.Signals, code: int, typed: list[str], out: str, err: str) -> None:
    script = WHILE_IT_IS_READ.format(number=int(number))

    ended = subprocess.run([sys.executable, "-c", script, *typed], cwd=HOUSE, capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (code, out, err)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)])
def test_a_workspace_whose_end_is_broken_off_is_delivered_to_again(desk: Desk, number: signal.Signals, code: int) -> None:
    workspace_id, ada = desk.connects_chat(), desk.hires(desk.directory(), "ada")
    organization_id = desk.organization_id

    def is_at_work(session: Session) -> None:
        work.want(session, organization_id, subject=Subject.ACCOUNT, subject_ids=[ada], because=None, due_at=now(), workspace_id=workspace_id)
        work.claim(session, lanes=[Lane.SYNC], worker="w", at=now() + timedelta(seconds=1), most=50)

    desk.acts(is_at_work)
    process = started(desk, "workspace", "end", "chat", "--reason", "given up")
    try:
        first_words(process, "waiting for what is in hand")
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()

    assert (process.returncode, said.strip()) == (code, "doorlist: interrupted")
    assert [one["state"] for one in desk.asks("workspace", "list")["workspaces"]] == ["running"]


def test_who_is_to_outlive_the_terminal_does(desk: Desk) -> None:
    """As `nohup` has it."""
    script = "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); " + WHILE_IT_IS_READ.format(number=int(signal.SIGHUP))

    ended = subprocess.run(
        [sys.executable, "-c", script, "status", "--json"], cwd=HOUSE, env=os.environ | desk.environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip

    assert (ended.returncode, ended.stderr) == (0, "")
