"""Every file in `plans/` is one rule of reconciliation: what is wanted, what is there, and the lines that follow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.reconcile.ceiling import Ceiling, TooLarge
from app.reconcile.plan import Tally

PLANS = sorted((Path(__file__).parent / "plans").glob("*.json"))


def pairs(roster: dict[str, list[str]]) -> list[tuple[str, str]]:
    return sorted((channel, person) for channel, people in roster.items() for person in people)


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_plan(path: Path) -> None:
    scenario: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))

    tally = Tally()
    lines = [str(line) for line in tally.lines(pairs(scenario["desired"]), pairs(scenario["observed"]))]

    assert lines == scenario["lines"]
    ceiling = Ceiling(**scenario.get("ceiling", {}))
    if scenario.get("held", False):
        with pytest.raises(TooLarge):
            ceiling.check(tally.plan())
    else:
        ceiling.check(tally.plan())


def test_there_are_scenarios() -> None:
    assert PLANS
