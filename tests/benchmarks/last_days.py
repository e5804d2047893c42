"""Looking for work where many people have a last day: each is a row that waits for years, and nobody may look at it before."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import Final

from flask import Flask
from sqlalchemy import insert, text

from app.assembly import create_app
from app.clock import now
from app.database import asking, db, in_transaction
from app.delivery.due import is_due_by, somebody_is_still_in
from app.delivery.workspaces import halted
from app.journal import work
from app.journal.tables import HERE, Lane, Subject, Work, WorkState
from app.journal.work import PRIORITY
from app.schema import upgrade
from app.settings import from_environment
from tests.benchmarks.figures import Bound, Figure, Unit, middle
from tests.benchmarks.house import Bench, batches
from tests.servers.postgres import PostgresMissing, running_postgres

SIZES: Final = tuple(int(size) for size in os.environ.get("BENCH_LAST_DAYS", "1000,100000,1000000").split(","))
TRIES: Final = 300
AT_A_TIME: Final = 5000
NOTHING_MORE: Final = Bound(times=1.5)


def run(bench: Bench) -> list[Figure]:
    with ExitStack() as leaving:
        urls = {"SQLite": [f"sqlite:///{(bench.folder / f'last-days-{size}.db').absolute()}" for size in SIZES]}
        try:
            postgres = leaving.enter_context(running_postgres())
            urls["PostgreSQL"] = [postgres.database() for _ in SIZES]
        except PostgresMissing as error:
            print(f"last days: NOT MEASURED ON POSTGRESQL: {error}", file=sys.stderr)
        return [figure for name, some in urls.items() for figure in _on(bench, name, some)]


def _on(bench: Bench, name: str, urls: list[str]) -> list[Figure]:
    floors: dict[str, float] = {}
    figures = []
    for size, url in zip(SIZES, urls, strict=True):
        app = create_app(from_environment({"DOORLIST_HOME": str(bench.folder / f"last-days-{name}-{size}"), "DATABASE_URL": url}))
        with app.app_context():
            _fill(app, size)
            for what, act in (("asking whether anything is due", _ask), ("taking up a departure and closing it", _take_up)):
                measured = middle([_microseconds(act) for _ in range(TRIES)])
                floor = floors.setdefault(what, measured)
                alone = size == SIZES[0]
                figures.append(
                    Figure(
                        what=f"{what}, {size:,} people with a last day, {name}", unit=Unit.MICROSECONDS, measured=measured,
                        floor=None if alone else floor, floor_is="" if alone else f"the same with {SIZES[0]:,}", bound=None if alone else NOTHING_MORE,
                    )
                )  # fmt: skip
    return figures


def _fill(app: Flask, size: int) -> None:
    upgrade()
    in_years = now() + timedelta(days=1000)
    for some in batches(range(size), AT_A_TIME):
        rows = [
            {
                "organization_id": "o", "workspace_id": "", "subject": Subject.DUE, "subject_id": f"p{number:09}", "lane": Lane.DEPARTURES,
                "priority": PRIORITY[Subject.DUE], "due_at": in_years + timedelta(seconds=number), "state": WorkState.WAITING, "generation": 1,
                "attempts": 0,
            }
            for number in some
        ]  # fmt: skip
        in_transaction(lambda session, rows=rows: session.execute(insert(Work), rows))  # type: ignore[misc]  # defaults bind the loop's values
    with db.engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()


def _ask() -> None:
    with asking() as connection:
        assert not is_due_by(connection, Lane.DEPARTURES, at=now()) and not somebody_is_still_in(at=now())


def _take_up() -> None:
    in_transaction(
        lambda session: work.want(
            session, "o", subject=Subject.ACCESS, subject_ids=["ada"], because=None, due_at=now(), lane=Lane.DEPARTURES, workspace_id=HERE
        )
    )
    [claim] = in_transaction(lambda session: work.claim(session, lanes=[Lane.DEPARTURES], worker="w", at=now(), most=1, halted=halted))
    in_transaction(lambda session: work.finish(session, claim))


def _microseconds(act: Callable[[], None]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1e6
