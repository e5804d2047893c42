"""Trying a source step by step, each with its own outcome and time."""

from __future__ import annotations

import time
from collections.abc import Callable

from connectors.contract import ConnectorError
from connectors.source_contract import Step


def take(*steps: Callable[[], str]) -> tuple[Step, ...]:
    """One after the other, up to the first that fails. Each function's name is the step's, what it returns the sentence that is shown."""
    taken: list[Step] = []
    for step in steps:
        began = time.monotonic()
        try:
            good, detail = True, step()
        except ConnectorError as error:
            good, detail = False, str(error)
        taken.append(Step(name=step.__name__, good=good, detail=detail, milliseconds=round((time.monotonic() - began) * 1000)))
        if not good:
            break
    return tuple(taken)
