"""A hundred times as many people at about the same cost: our own operations at 1,000,000 people beside those at 10,000, on PostgreSQL.

`python -m tests.benchmarks.scim.million`. `BENCH_MILLION_SIZES` (10000,1000000), `BENCH_MILLION_GROUPS` (10000,100000),
`BENCH_SCIM_SECONDS` (3) and `BENCH_SCIM_AT_ONCE` (1,8) make it smaller. Ends with 1 where a promise does not hold.
"""

import gc
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.benchmarks.scim import ours
from tests.benchmarks.scim.answers import is_group, is_page
from tests.benchmarks.scim.durable import DURABILITY, running_durable_postgres
from tests.benchmarks.scim.load import Measured, measure
from tests.benchmarks.scim.operations import CELLS, PAGE, Cell, Filled, Operation, nothing_to_look_at
from tests.benchmarks.scim.served import LOAD_CORE, NotServed
from tests.benchmarks.scim.wire import Sent
from tests.ending import end_in_order
from tests.servers.postgres import Postgres, PostgresError

SIZES: Final = tuple(int(size) for size in os.environ.get("BENCH_MILLION_SIZES", "10000,1000000").split(","))
GROUPS: Final = tuple(int(size) for size in os.environ.get("BENCH_MILLION_GROUPS", "10000,100000").split(","))
SECONDS: Final = float(os.environ.get("BENCH_SCIM_SECONDS", "3"))
AT_ONCE: Final = tuple(int(number) for number in os.environ.get("BENCH_SCIM_AT_ONCE", "1,8").split(","))
COSTS_AT_MOST: Final = 1.5
MEGABYTES_AT_MOST: Final = 250.0
# A page by startIndex reads what comes before it; depth is what cursors are for.
NOT_PROMISED: Final = frozenset({str(Operation.PAGE)})
DEPTHS: Final = (0.0, 0.5, 0.9)
# People on each page while the list is read to its end; the largest page that there is.
AT_A_TIME: Final = 200


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Everything that was measured at one size, by operation and concurrency, and the most memory that any one process took."""

    size: int
    measured: dict[tuple[str, int], Measured]
    megabytes: float


def main() -> int:
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    folder = Path(tempfile.mkdtemp(prefix="doorlist-million-"))
    try:
        with running_durable_postgres() as postgres:
            both = [_figures(postgres, folder, size=size, group=group) for size, group in zip(SIZES, GROUPS, strict=True)]
    except (NotServed, PostgresError) as error:
        print(f"NOT MEASURED: {error}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if show(both[0], both[-1]) else 1


def _figures(postgres: Postgres, folder: Path, *, size: int, group: int) -> Figures:
    place = folder / str(size)
    place.mkdir()
    _say(f"{size:,} people, a group of {group:,}: filling")
    installed = ours.install(place / "home", url=postgres.database(), size=size, group_size=group)
    measured: dict[tuple[str, int], Measured] = {}
    with ours.serving(installed, log=place / "serve.log") as served:
        filled = Filled(served=served, size=size)
        _say(f"{size:,} people: reading the list to its end by cursor")
        # The load looks through its own memory before each request, and a million ids are a lot to look through.
        gc.freeze()
        cells = _cells(filled)
        for cell in cells:
            for at_once in AT_ONCE:
                for one in measure(filled, cell, at_once=at_once, seconds=SECONDS):
                    name = str(one.operation) if cell in CELLS else cell.name
                    measured[name, at_once] = one
                    said = f"WRONG: {one.wrong}" if one.wrong else f"{one.rate:,.1f}/s, p50 {1000 * one.p50:.2f} ms"
                    _say(f"  {name} × {at_once}: {said}")
        return Figures(size=size, measured=measured, megabytes=max(served.memory()))


def _cells(filled: Filled) -> list[Cell]:
    """What is asked of every server, and what only a large directory makes interesting; POST still comes last."""
    *first, post = CELLS
    more = [_by_cursor(depth, path, filled) for depth, path in _cursors(filled).items()]
    path = f"/Groups/{filled.served.group}?excludedAttributes=members"
    sent = Sent(Operation.GET, filled.served.request("GET", path), is_group(filled.served.group, without_members=True))
    return [*first, *more, _same_request("group without its members", sent), post]


def _cursors(filled: Filled) -> dict[float, str]:
    """Paths of pages by cursor at each depth, found by reading the whole list once. Raises NotServed where it is not whole."""
    found: dict[float, str] = {}
    seen: set[str] = set()
    cursor = ""
    while True:
        here = f"/Users?cursor={cursor}&count={PAGE}"
        for depth in DEPTHS:
            if depth not in found and len(seen) + AT_A_TIME > depth * filled.size:
                found[depth] = here
        status, document = filled.served.ask("GET", f"/Users?cursor={cursor}&count={AT_A_TIME}&attributes=userName")
        if status != 200:
            raise NotServed(f"a page by cursor was answered {status}: {str(document)[:200]}")
        ids = [one["id"] for one in document["Resources"]]
        if seen.intersection(ids):
            raise NotServed("a list by cursor showed somebody twice")
        seen.update(ids)
        cursor = document.get("nextCursor") or ""
        if not cursor:
            break
    if seen != filled.known:
        raise NotServed(f"a list by cursor showed {len(seen):,} people of {filled.size:,}")
    return found


def _by_cursor(depth: float, path: str, filled: Filled) -> Cell:
    check = is_page(start=None, count=PAGE, total=filled.size, known=filled.known)
    sent = Sent(Operation.PAGE, filled.served.request("GET", path), check)
    return _same_request(f"page of {PAGE} by cursor, {depth:.0%} on", sent)


def _same_request(name: str, sent: Sent) -> Cell:
    def requests(filled: Filled, mine: int, of: int) -> Iterator[Sent]:
        while True:
            yield sent

    return Cell(name=name, operations=(Operation(sent.label),), requests=requests, look=nothing_to_look_at)


def show(small: Figures, large: Figures) -> bool:
    """Print both beside each other; whether all that was promised holds."""
    table = Table(title=f"Milliseconds a request at {large.size:,} people beside {small.size:,}, PostgreSQL, one core")
    table.add_column("operation")
    for column in ("at once", f"at {small.size:,}", f"at {large.size:,}", "p99", "ratio", "asked"):
        table.add_column(column, justify="right")
    table.add_column("")
    holds = True
    for (name, at_once), there in large.measured.items():
        here = small.measured[name, at_once]
        wrong = here.wrong or there.wrong
        ratio = here.rate / there.rate if there.rate else float("inf")
        promised = name not in NOT_PROMISED
        misses = wrong is not None or (promised and ratio > COSTS_AT_MOST)
        holds = holds and not misses
        costs = [f"{1000 * at_once / one.rate:.2f}" if one.rate else "" for one in (here, there)]
        verdict = f"wrong: {wrong}" if wrong else "MISSES" if misses else "holds" if promised else "not promised"
        asked = f"≤ {COSTS_AT_MOST:g}" if promised else ""
        table.add_row(
            name, str(at_once), *costs, f"{1000 * there.p99:.2f}", f"{ratio:.2f}", asked, verdict, style="bold red" if misses else None
        )  # fmt: skip
    console = Console(width=150)
    console.print(table)
    heavy = large.megabytes >= MEGABYTES_AT_MOST
    console.print(
        f"Memory of the largest process of `doorlist serve` with {large.size:,} people: {large.megabytes:,.0f} MB at most, asked: under "
        f"{MEGABYTES_AT_MOST:.0f} MB; with {small.size:,}: {small.megabytes:,.0f} MB.", highlight=False, style="bold red" if heavy else None,
    )  # fmt: skip
    console.print(f"{DURABILITY}. Every answer was judged, totalResults included, after the clock had stopped.", highlight=False)
    return holds and not heavy


def _say(sentence: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    end_in_order()
    sys.exit(main())
