"""The verdict: our rate beside the best right answer of any other server and beside the floor, line by line."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.benchmarks.scim.load import Measured
from tests.benchmarks.scim.operations import Operation
from tests.benchmarks.scim.served import Store

WIDTH: Final = 190
OURS: Final = "Doorlist"
FLOOR: Final = "floor"
# Of the floor's rate at least this part must be left.
COSTS_AT_MOST: Final = 2.0


def asked(store: Store, at_once: int) -> float:
    """How many times the best other server's rate ours must be."""
    # One request at a time waits for its own round trip and its own commit, which memory does not have.
    return 1.0 if store is Store.POSTGRESQL and at_once == 1 else 2.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """One figure of one server at one size."""

    server: str
    store: Store
    size: int
    measured: Measured

    @property
    def counts(self) -> bool:
        return self.measured.wrong is None


@dataclass(frozen=True, kw_only=True)
class Line:
    """One operation, size, concurrency and database of ours, and what it is held against, where that was measured."""

    operation: Operation
    size: int
    at_once: int
    store: Store
    ours: Result | None
    best: Result | None
    floor: Result | None
    # Whether any other server was measured at all; where none was right, there is nothing to be twice as fast as.
    peers: bool

    @property
    def ratio(self) -> float | None:
        if self.ours is None or self.best is None or not self.ours.counts:
            return None
        return self.ours.measured.rate / self.best.measured.rate

    @property
    def cost(self) -> float | None:
        if self.ours is None or self.floor is None or not self.ours.counts or not self.floor.counts:
            return None
        return self.floor.measured.rate / self.ours.measured.rate

    @property
    def misses(self) -> list[str]:
        """What was promised and is not so, in words; empty where the line holds."""
        if self.ours is None:
            return []
        if not self.ours.counts:
            return [f"wrong: {self.ours.measured.wrong}"]
        found = []
        if self.ratio is not None and self.ratio < asked(self.store, self.at_once):
            found.append("too slow beside the best")
        if self.cost is not None and self.cost > COSTS_AT_MOST:
            found.append("too dear beside the floor")
        return found


def lines(results: Sequence[Result]) -> list[Line]:
    """A line for each of our figures, in the order in which they were measured."""
    others = [one for one in results if one.server not in (OURS, FLOOR)]
    found = []
    for ours in (one for one in results if one.server == OURS):
        same = [one for one in others if _same_cell(one, ours)]
        floor = next((one for one in results if one.server == FLOOR and one.store is ours.store and _same_cell(one, ours)), None)
        found.append(
            Line(
                operation=ours.measured.operation, size=ours.size, at_once=ours.measured.at_once, store=ours.store, ours=ours,
                best=max((one for one in same if one.counts), key=lambda one: one.measured.rate, default=None), floor=floor, peers=bool(same),
            )
        )  # fmt: skip
    return found


def _same_cell(one: Result, other: Result) -> bool:
    return (one.size, one.measured.operation, one.measured.at_once) == (other.size, other.measured.operation, other.measured.at_once)


def show(results: Sequence[Result], *, foot: Iterable[str]) -> bool:
    """Print everything; whether all that was promised holds."""
    console = Console(width=WIDTH)
    verdict = lines(results)
    table = Table(title="Requests a second beside the best right answer of any other server, and beside the floor; all on one core, in this run")
    for column in ("operation", "people", "at once", "on"):
        table.add_column(column, justify="left" if column in ("operation", "on") else "right")
    for column in ("ours", "p50 ms", "p99 ms", "best other", "ratio", "asked", "floor", "cost", "asked"):
        table.add_column(column, justify="right")
    table.add_column("")
    for line in sorted(verdict, key=lambda line: (line.size, list(Operation).index(line.operation), line.at_once, line.store)):
        table.add_row(*_row(line), style="bold red" if line.misses else None)
    console.print(table)
    console.print(_everybody(results))
    for server, wrong in _wrongs(results):
        console.print(f"✗ {server}: {wrong}", highlight=False)
    for sentence in foot:
        console.print(sentence, highlight=False)
    missed = sum(1 for line in verdict if line.misses)
    console.print(f"{missed} of {len(verdict)} lines miss what is asked." if missed else f"All {len(verdict)} lines hold.", highlight=False)
    return not missed


def _row(line: Line) -> tuple[str, ...]:
    ours = line.ours
    assert ours is not None
    best = "none was right" if line.peers else "not measured"
    if line.best is not None:
        best = f"{_rate(line.best)} {line.best.server}"
    return (
        line.operation, f"{line.size:,}", str(line.at_once), line.store, _rate(ours), f"{1000 * ours.measured.p50:.2f}",
        f"{1000 * ours.measured.p99:.2f}", best, _times(line.ratio), f"≥ {asked(line.store, line.at_once):g}",
        "" if line.floor is None else _rate(line.floor), _times(line.cost), f"≤ {COSTS_AT_MOST:g}", "; ".join(line.misses) or "holds",
    )  # fmt: skip


def _everybody(results: Sequence[Result]) -> Table:
    """Every server's rates, one row for each."""
    table = Table(title="Everybody's rates (✗: the answer was wrong, so the rate does not count)")
    table.add_column("server")
    table.add_column("people", justify="right")
    table.add_column("at once", justify="right")
    for operation in Operation:
        table.add_column(operation, justify="right")
    rows: dict[tuple[str, int, int], dict[Operation, Result]] = {}
    for one in results:
        rows.setdefault((named(one), one.size, one.measured.at_once), {})[one.measured.operation] = one
    for (server, size, at_once), cells in sorted(rows.items(), key=lambda item: (item[0][1], item[0][2])):
        table.add_row(server, f"{size:,}", str(at_once), *(_rate(cells[one]) if one in cells else "" for one in Operation))
    return table


def named(result: Result) -> str:
    return f"{result.server}, {result.store}"


def _wrongs(results: Sequence[Result]) -> list[tuple[str, str]]:
    said: dict[tuple[str, str], None] = {}
    for one in results:
        if not one.counts:
            said[named(one), f"{one.measured.operation}: {one.measured.wrong}"] = None
    return list(said)


def _rate(result: Result) -> str:
    rate = result.measured.rate
    number = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
    return number if result.counts else f"✗ {number}" if rate else "✗"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
