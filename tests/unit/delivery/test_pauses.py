"""How long the worker rests between two looks."""

from __future__ import annotations

import pytest
from flask import Flask

from app.delivery import worker
from app.delivery.pauses import LOOK_EVERY, rest_after
from app.journal.tables import Lane


@pytest.mark.parametrize(("took", "rests"), [(0.0, 0.05), (0.0004, 0.05), (0.007, 0.14), (0.3, 1.0)])
def test_a_look_that_takes_long_is_taken_less_often(took: float, rests: float) -> None:
    assert rest_after(took, lane=Lane.SYNC) == pytest.approx(rests)


def test_who_leaves_is_looked_for_as_often_as_ever() -> None:
    assert rest_after(5.0, lane=Lane.DEPARTURES) == LOOK_EVERY[Lane.DEPARTURES] == 0.015


@pytest.mark.parametrize(("lane", "rests"), [(Lane.SYNC, [0.05, 0.2, 0.2]), (Lane.DEPARTURES, [0.015, 0.015, 0.015])])
def test_the_watch_rests_by_how_long_it_looked(installed: Flask, monkeypatch: pytest.MonkeyPatch, lane: Lane, rests: list[float]) -> None:
    rested: list[float] = []

    class Stop:
        def wait(self, seconds: float) -> bool:
            rested.append(seconds)
            return len(rested) == 3

    seconds = iter(0.01 * number for number in range(10))
    watching = worker.Worker(installed, threads={lane: 1})
    monkeypatch.setattr(watching, "_stop", Stop())
    monkeypatch.setattr(worker, "is_due", lambda *_, **__: False)
    # Two readings around each look.
    monkeypatch.setattr(worker, "monotonic", lambda: next(seconds))

    watching._watch(lane, "watch")

    assert rested == pytest.approx(rests)
