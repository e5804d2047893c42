"""On a machine whose cores disagree about the time, what cannot bear that is kept to one of them."""

import os
import subprocess
import sys

import pytest

from tests.servers import cores
from tests.servers.cores import READINGS, steady, the_best


def test_where_all_cores_are_steady_none_is_chosen() -> None:
    assert the_best({0: 0, 1: 3, 2: 11}) is None


def test_where_the_clock_of_one_stands_still_another_is_chosen() -> None:
    assert the_best({0: READINGS - 1, 1: 2, 2: READINGS - 5}) == 1


def test_where_no_clock_is_fine_nothing_is_better_than_one_of_them() -> None:
    assert the_best({0: READINGS - 1, 1: READINGS - 3}) == 1
    assert the_best({0: READINGS - 1}) is None


def test_a_process_started_within_keeps_to_the_chosen_one(monkeypatch: pytest.MonkeyPatch) -> None:
    here = os.sched_getaffinity(0)
    core = max(here)
    monkeypatch.setattr(cores, "the_steady_one", lambda: core)

    with steady():
        inside = started_here()

    assert inside == {core}
    assert started_here() == os.sched_getaffinity(0) == here


def test_where_any_will_do_it_runs_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "the_steady_one", lambda: None)

    with steady():
        assert started_here() == os.sched_getaffinity(0)


def started_here() -> set[int]:
    """The cores that a process started now may run on."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        allowed = os.sched_getaffinity(process.pid)
        process.kill()
    return allowed


def test_looking_changes_nothing_for_who_looks() -> None:
    here = os.sched_getaffinity(0)

    cores.the_steady_one.__wrapped__()

    assert os.sched_getaffinity(0) == here
