"""Processes that run until they are asked to end, and hear it whatever they are at."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.commands.ending import until_asked

pytestmark = pytest.mark.slow

HOUSE = Path(__file__).parents[3]
WAITS = """
import signal, sys, threading
from app.commands import ending

ending.ENDS_WITHIN = {within}
waiting = threading.Thread(target=threading.Event().wait, name="somebody else", daemon=True)
waiting.start()
with ending.until_asked() as asked:
    print(waiting.native_id, flush=True)
    {meanwhile}
    print(signal.Signals(asked.by).name, int(asked.exit), flush=True)
    {afterwards}
"""


@contextmanager
def running(meanwhile: str, afterwards: str = "", *, within: int = 60) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that waits to be asked, and the number of another thread of it."""
    script = WAITS.format(meanwhile=meanwhile, afterwards=afterwards, within=within)
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=HOUSE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="tgkill is Linux's")
@pytest.mark.parametrize(("number", "said"), [(signal.SIGTERM, "SIGTERM 0\n"), (signal.SIGINT, "SIGINT 130\n")])
def test_a_signal_is_heard_whichever_thread_it_is_given_to(number: signal.Signals, said: str) -> None:
    with running("asked.wait()") as (process, another):
        assert ctypes.CDLL(None, use_errno=True).tgkill(process.pid, another, int(number)) == 0, os.strerror(ctypes.get_errno())
        told = process.communicate(timeout=30)

    assert told == (said, "")


def test_asking_twice_is_asking_once() -> None:
    with running("asked.wait()", "print(sys.stdin.readline()); asked.wait()") as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        told = process.communicate("go on\n", timeout=30)

    assert first == "SIGTERM 0\n"
    assert told == ("go on\n\n", "")
    assert process.returncode == 0


def test_what_does_not_end_in_time_says_where_it_is_and_ends() -> None:
    with running("asked.wait()", "threading.Event().wait()", within=1) as (process, _):
        process.send_signal(signal.SIGTERM)
        told, complained = process.communicate(timeout=30)

    assert (told, process.returncode) == ("SIGTERM 0\n", 1)
    assert "Timeout" in complained and complained.count("Thread 0x") == 2
    assert 'File "<string>", line 12 in <module>' in complained


def test_nothing_else_asks() -> None:
    ear, mouth = os.pipe()
    os.write(mouth, b"x")

    with until_asked() as asked:
        assert not asked.wait(0.01)
        assert not asked.wait(or_until=[ear])
        assert asked.by is None

    for end in (ear, mouth):
        os.close(end)
