"""One cell measured: its requests driven for a while, every answer judged, the rate and the times of those that count."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

from tests.benchmarks.figures import middle
from tests.benchmarks.scim.operations import Cell, Filled, Operation
from tests.benchmarks.scim.served import NotServed
from tests.benchmarks.scim.wire import Answered, Driven, Sent, drive

WARM: Final = 0.5
# Of something so slow that the time ends before it, so many answers are waited for on each connection.
LEAST: Final = 2
# Requests a second, more than any server has answered, for which the bytes are made before the clock runs: to make them is time in
# which nobody is asked anything, and on the databases' core it would be taken from them.
_PREPARED: Final = 12_000


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Requests a second, and seconds; or, where `wrong` says why, figures that do not count."""

    operation: Operation
    at_once: int
    rate: float
    p50: float
    p99: float
    count: int
    wrong: str | None = None


def measure(filled: Filled, cell: Cell, *, at_once: int, seconds: float, warm: float = WARM) -> list[Measured]:
    """One figure for each operation of the cell. The server is looked at afterwards for what it promised."""
    refused = next((filled.served.cannot[name] for name in cell.operations if name in filled.served.cannot), None)
    if refused is not None:
        return [_nothing(operation, at_once, refused) for operation in cell.operations]
    try:
        each = int((warm + seconds) * _PREPARED / at_once)
        streams = [_prepared(cell.requests(filled, mine, at_once), each) for mine in range(at_once)]
        driven = drive(filled.served.address, streams, seconds=seconds, warm=warm, least=LEAST)
        wrong = driven.broke or _complaint(driven.answers) or cell.look(filled, driven.answers)
    except (OSError, NotServed) as error:
        return [_nothing(operation, at_once, str(error)) for operation in cell.operations]
    return [_figure(operation, driven, at_once=at_once, wrong=wrong) for operation in cell.operations]


def _prepared(requests: Iterator[Sent], number: int) -> Iterator[Sent]:
    return chain(list(islice(requests, number)), requests)


def _complaint(answers: list[Answered]) -> str | None:
    # The same page, answered again in the same bytes, is judged once.
    judged: dict[tuple[int, int, int], str | None] = {}
    for answer in answers:
        key = (id(answer.sent.check), answer.status, id(answer.body))
        if key not in judged:
            judged[key] = answer.sent.check(answer.status, answer.body)
        if judged[key] is not None:
            return judged[key]
    return None


def _figure(operation: Operation, driven: Driven, *, at_once: int, wrong: str | None) -> Measured:
    counted = [answer for answer in driven.answers if answer.began >= driven.since]
    times = sorted(answer.ended - answer.began for answer in counted if answer.sent.label == operation)
    if not times:
        return _nothing(operation, at_once, wrong or "nothing was answered in time")
    # Where operations take turns, each has the share of the time that was spent waiting for it.
    share = sum(times) / sum(answer.ended - answer.began for answer in counted)
    rate = len(times) / ((driven.until - driven.since) * share)
    return Measured(
        operation=operation, at_once=at_once, rate=rate, p50=middle(times), p99=_percentile(times, 0.99), count=len(times), wrong=wrong
    )


def _percentile(times: Sequence[float], part: float) -> float:
    return times[min(len(times) - 1, int(len(times) * part))]


def _nothing(operation: Operation, at_once: int, why: str) -> Measured:
    return Measured(operation=operation, at_once=at_once, rate=0.0, p50=0.0, p99=0.0, count=0, wrong=why)
