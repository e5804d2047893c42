"""Fifty clients at once for ten minutes, mixed writes, four processes of `doorlist serve` on one PostgreSQL: nothing is lost.

`python -m tests.benchmarks.scim.together`. `TOGETHER_SECONDS` (600), `TOGETHER_CLIENTS` (50) and `TOGETHER_PROCESSES` (4) make it
smaller. Every write that was accepted is kept in a log; at the end the directory must be what the log says. Ends with 1 otherwise.
"""

import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import psycopg
from rich.console import Console

from tests.benchmarks.scim import ours
from tests.benchmarks.scim.durable import DURABILITY, running_durable_postgres
from tests.benchmarks.scim.served import NotServed, Served, megabytes
from tests.benchmarks.scim.together_clients import Client, Meeting
from tests.benchmarks.scim.together_ledger import Ledger
from tests.ending import end_in_order
from tests.ports import free_port
from tests.servers.postgres import Postgres, PostgresError

SECONDS: Final = float(os.environ.get("TOGETHER_SECONDS", "600"))
CLIENTS: Final = int(os.environ.get("TOGETHER_CLIENTS", "50"))
PROCESSES: Final = int(os.environ.get("TOGETHER_PROCESSES", "4"))


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="doorlist-together-"))
    console = Console(width=150)
    try:
        with running_durable_postgres(core=None) as postgres:
            url = postgres.database()
            wrongs, sentences = _run(folder, url)
            wrongs += _deadlocks(postgres, url)
    except (NotServed, PostgresError) as error:
        console.print(f"NOT RUN: {error}", highlight=False)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for sentence in sentences:
        console.print(sentence, highlight=False)
    for wrong in wrongs[:40]:
        console.print(f"✗ {wrong}", highlight=False, style="bold red")
    console.print(f"{len(wrongs)} things are not as they should be." if wrongs else "No error, no lost update, no deadlock.", highlight=False)
    return 1 if wrongs else 0


def _run(folder: Path, url: str) -> tuple[list[str], list[str]]:
    installed = ours.install(folder / "home", url=url, size=0)
    logs = [folder / f"serve-{number}.log" for number in range(PROCESSES)]
    with ExitStack() as leaving:
        processes = [leaving.enter_context(ours.serving(installed, log=log, port=free_port(), core=None)) for log in logs]
        meeting = Meeting.arranged(processes[0], clients=CLIENTS)
        clients = [Client(number, processes[number % PROCESSES], meeting) for number in range(CLIENTS)]
        seconds = _at_once(clients)
        ledger = Ledger.of(clients, meeting)
        wrongs = [wrong for client in clients for wrong in client.wrongs]
        wrongs += ledger.compare(processes[0])
        sentences = _told(clients, processes, seconds)
    return wrongs + [wrong for log in logs for wrong in _errors(log)], sentences


def _at_once(clients: list[Client]) -> float:
    until = time.monotonic() + SECONDS
    began = time.monotonic()
    threads = [threading.Thread(target=client.run, args=(until,), name=f"client {client.number}") for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def _told(clients: list[Client], processes: list[Served], seconds: float) -> list[str]:
    acts: Counter[str] = sum((client.acts for client in clients), Counter())
    times = sorted(one for client in clients for one in client.times)
    said = ", ".join(f"{count:,} {name}" for name, count in sorted(acts.items()))
    memory = "; ".join(megabytes(served) for served in processes)
    return [
        f"{len(clients)} clients for {seconds:.0f} s against {len(processes)} processes: {len(times):,} requests, {len(times) / seconds:,.0f} a second.",
        f"Accepted or rightly refused: {said}.",
        f"Milliseconds: p50 {1000 * times[len(times) // 2]:.1f}, p99 {1000 * times[int(len(times) * 0.99)]:.1f}, longest {1000 * times[-1]:.1f}.",
        f"Memory of the processes: {memory}. {DURABILITY}.",
    ]


def _deadlocks(postgres: Postgres, url: str) -> list[str]:
    """Also those that were tried again and so seen by nobody."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        row = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    found = 0 if row is None else int(row[0])
    told = (postgres.folder / "log").read_text(errors="replace").count("deadlock detected")
    return [f"PostgreSQL broke {max(found, told)} deadlocks"] if found or told else []


def _errors(log: Path) -> list[str]:
    lines = log.read_text(errors="replace").splitlines()
    return [f"{log.name}: {line[:300]}" for line in lines if '"level": "error"' in line or '"level": "critical"' in line or "Traceback" in line]


if __name__ == "__main__":
    end_in_order()
    sys.exit(main())
