"""`python -m tests.benchmarks [NAME…]`: every figure beside its floor, in one table. Ends with 0 whatever the figures say.

`BENCH_PEOPLE` (1000), `BENCH_WAITING` (5000), `BENCH_DEPARTURES` (50), `BENCH_PLAN_SIZES` and `BENCH_PULL_SIZES` (both 10000,100000) and
`BENCH_LAST_DAYS` (1000,100000,1000000) make it smaller.
"""

import argparse
import fcntl
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import requests

from tests.benchmarks import departures, last_days, planning, provisioning, pulling, reorganisation, saml, sessions
from tests.benchmarks.figures import Figure, show
from tests.benchmarks.house import Bench
from tests.ending import end_in_order
from tests.journeys.doorlist import StepFailed
from tests.journeys.okta import ProvisioningFailed
from tests.servers.postgres import PostgresError
from tests.servers.synapse import SynapseMissing

BENCHMARKS: Final[dict[str, Callable[[Bench], list[Figure]]]] = {
    "last-days": last_days.run,
    "planning": planning.run,
    "pulling": pulling.run,
    "provisioning": provisioning.run,
    "reorganisation": reorganisation.run,
    "departures": departures.run,
    "sessions": sessions.run,
    "saml": saml.run,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - BENCHMARKS.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    figures: list[Figure] = []
    broken: list[str] = []
    chosen = [name for name in BENCHMARKS if name in (options.names or BENCHMARKS)]
    try:
        with ExitStack() as leaving:
            bench = Bench(_emptied(options.folder, leaving), leaving)
            for name in chosen:
                print(f"{name}: measuring", file=sys.stderr, flush=True)
                began = time.monotonic()
                try:
                    figures += BENCHMARKS[name](bench)
                except (StepFailed, ProvisioningFailed, SynapseMissing, PostgresError, RuntimeError, requests.RequestException) as error:
                    broken.append(f"{name}: NOT MEASURED: {error}")
                print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    finally:
        # What was measured is shown even where the run is cut short.
        show(figures)
        for line in broken:
            print(line)
    return 0


def _emptied(folder: Path, leaving: ExitStack) -> Path:
    folder.mkdir(exist_ok=True)
    lock = leaving.enter_context((folder / "lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"another benchmark is running in {folder}; end it first")
    for entry in folder.iterdir():
        # What was installed to be compared with takes minutes to install again.
        if entry.name not in ("lock", "peers"):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    return folder


if __name__ == "__main__":
    end_in_order()
    sys.exit(main())
