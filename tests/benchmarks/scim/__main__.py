"""`python -m tests.benchmarks.scim`: every server in turn, the verdict in one table. Ends with 1 where a promise does not hold.

`BENCH_SCIM_SIZES` (10000,100000), `BENCH_SCIM_PEERS` (names, or `none`), `BENCH_SCIM_ONLY` (get, name, external, contains, page, active,
members, post; and title, whole, which are measured only where they are named), `BENCH_SCIM_SECONDS` (3), `BENCH_SCIM_AT_ONCE` (1,8) and `BENCH_SCIM_ON` (sqlite,postgres) cut it.
"""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from tests.benchmarks.scim import floor, ours, peers
from tests.benchmarks.scim.durable import DURABILITY, running_durable_postgres
from tests.benchmarks.scim.load import measure
from tests.benchmarks.scim.operations import CELLS, MORE, Cell, Filled
from tests.benchmarks.scim.served import LOAD_CORE, NotServed, Served, Store, megabytes
from tests.benchmarks.scim.table import FLOOR, OURS, Result, show
from tests.ending import end_in_order
from tests.servers.postgres import Postgres, PostgresError

FOLDER: Final = Path(".bench")
_LAST: Final = ("post", "whole")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What of the benchmark is run."""

    sizes: tuple[int, ...]
    peers: tuple[peers.Peer, ...]
    cells: tuple[Cell, ...]
    seconds: float
    at_once: tuple[int, ...]
    stores: tuple[Store, ...]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A server on a store: `serving(folder, url, size)` starts and fills it for as long as its block lasts."""

    name: str
    store: Store
    serving: Callable[[Path, str | None, int], AbstractContextManager[Served]]


def main() -> int:
    chosen = _chosen()
    results: list[Result] = []
    absent: list[str] = []
    memory: list[str] = []
    _stay_on(LOAD_CORE)
    try:
        with ExitStack() as leaving:
            folder = _emptied(leaving)
            contenders = _contenders(chosen, folder, absent)
            postgres = leaving.enter_context(running_durable_postgres()) if any(one.store is Store.POSTGRESQL for one in contenders) else None
            for size in chosen.sizes:
                for contender in contenders:
                    _say(f"{contender.name}, {contender.store}, {size:,} people: filling")
                    try:
                        results += _run(contender, folder, postgres, size, chosen, memory)
                    except (NotServed, PostgresError, OSError) as error:
                        absent.append(f"NOT MEASURED: {contender.name}, {contender.store}, {size:,} people: {error}")
    except KeyboardInterrupt:
        absent.append("The run was cut short.")
    holds = show(results, foot=[*absent, *memory, *_durability(chosen)])
    ours_are_missing = any(f"NOT MEASURED: {OURS}" in sentence or "cut short" in sentence for sentence in absent)
    return 0 if holds and not ours_are_missing else 1


def _run(contender: Contender, folder: Path, postgres: Postgres | None, size: int, chosen: Chosen, memory: list[str]) -> list[Result]:
    place = folder / f"{contender.name}-{contender.store}-{size}".lower().replace(" ", "-")
    place.mkdir()
    found: list[Result] = []
    with _database(contender.store, place, postgres) as url, contender.serving(place, url, size) as served:
        filled = Filled(served=served, size=size)
        _say(f"{contender.name}, {contender.store}, {size:,} people: measuring")
        # POST makes the directory larger, so it comes once everything else was measured.
        rounds = [(cell, at_once) for at_once in chosen.at_once for cell in chosen.cells if cell.name not in _LAST]
        rounds += [(cell, at_once) for at_once in chosen.at_once for cell in chosen.cells if cell.name in _LAST]
        for cell, at_once in rounds:
            for measured in measure(filled, cell, at_once=at_once, seconds=chosen.seconds):
                found.append(Result(server=contender.name, store=contender.store, size=size, measured=measured))
                said = f"WRONG: {measured.wrong}" if measured.wrong else f"{measured.rate:,.1f}/s, p50 {1000 * measured.p50:.2f} ms"
                _say(f"  {measured.operation} × {at_once}: {said}")
        memory.append(f"Memory of {contender.name} on {contender.store} with {size:,} people: {megabytes(served)}.")
    shutil.rmtree(place, ignore_errors=True)
    return found


@contextmanager
def _database(store: Store, place: Path, postgres: Postgres | None) -> Iterator[str | None]:
    match store:
        case Store.MEMORY:
            yield None
        case Store.SQLITE:
            yield f"sqlite:///{(place / 'bench.sqlite').absolute()}"
        case Store.POSTGRESQL:
            assert postgres is not None
            yield postgres.database()


def _contenders(chosen: Chosen, folder: Path, absent: list[str]) -> list[Contender]:
    found: list[Contender] = []
    for store in chosen.stores:
        found.append(Contender(name=OURS, store=store, serving=_ours))
        found.append(Contender(name=FLOOR, store=store, serving=lambda place, url, size: floor.serving(place, url=url or "", size=size)))
    for peer in chosen.peers:
        try:
            _say(f"{peer.name}: installing")
            installed = peer.install(FOLDER / "peers")
        except NotServed as error:
            absent.append(f"NOT MEASURED: {peer.name} could not be installed: {error}")
        else:
            found.append(Contender(name=peer.name, store=peer.store, serving=_of(peer, installed)))
    return found


@contextmanager
def _ours(place: Path, url: str | None, size: int) -> Iterator[Served]:
    installed = ours.install(place / "home", url=url, size=size)
    with ours.serving(installed, log=place / "serve.log") as served:
        yield served


def _of(peer: peers.Peer, installed: Path) -> Callable[[Path, str | None, int], AbstractContextManager[Served]]:
    return lambda place, url, size: peer.serving(installed, place, url, size)


def _durability(chosen: Chosen) -> Iterator[str]:
    yield f"Durable as shipped: Doorlist on SQLite with journal_mode=WAL and synchronous=FULL (fsync at every commit), the floor likewise. {DURABILITY}."
    for peer in chosen.peers:
        yield f"{peer.name}: {peer.durability}."
    yield "Servers ran on one core; PostgreSQL and the load on the other. Every answer was judged after the clock had stopped."


def _stay_on(core: str) -> None:
    os.sched_setaffinity(0, {int(core)})


def _say(sentence: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr, flush=True)


def _emptied(leaving: ExitStack) -> Path:
    """This benchmark's folder, empty. Installed peers beside it are kept."""
    FOLDER.mkdir(exist_ok=True)
    lock = leaving.enter_context((FOLDER / "lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"another benchmark is running in {FOLDER}; end it first")
    folder = FOLDER / "scim"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _chosen() -> Chosen:
    return Chosen(
        sizes=tuple(int(size) for size in os.environ.get("BENCH_SCIM_SIZES", "10000,100000").split(",")),
        peers=_named("BENCH_SCIM_PEERS", {peer.name: peer for peer in peers.PEERS}),
        cells=_named("BENCH_SCIM_ONLY", {cell.name: cell for cell in (*CELLS, *MORE)}, usual=CELLS),
        seconds=float(os.environ.get("BENCH_SCIM_SECONDS", "3")),
        at_once=tuple(int(number) for number in os.environ.get("BENCH_SCIM_AT_ONCE", "1,8").split(",")),
        stores=_named("BENCH_SCIM_ON", {"sqlite": Store.SQLITE, "postgres": Store.POSTGRESQL}),
    )


def _named(variable: str, there: dict[str, T], *, usual: tuple[T, ...] | None = None) -> tuple[T, ...]:
    text = os.environ.get(variable, "")
    if not text:
        return tuple(there.values()) if usual is None else usual
    names: Sequence[str] = [] if text == "none" else text.split(",")
    if unknown := set(names) - there.keys():
        sys.exit(f"{variable}: there is no {', '.join(sorted(unknown))}; there are {', '.join(there)}")
    return tuple(one for name, one in there.items() if name in names)


if __name__ == "__main__":
    end_in_order()
    sys.exit(main())
