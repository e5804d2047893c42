"""People depart while their sessions and tokens are in use: no request that began after the commit is let in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.racing import ASKING, Outcome, race, track
from tests.servers.postgres import Postgres

CLIENTS = 50


def is_fair(outcome: Outcome, *, requests: int) -> None:
    """Each kind was asked before a departure and after one, and nothing was as it must not be."""
    print(f"{outcome.requests:,} requests: {sum(outcome.before.values()):,} before, {sum(outcome.during.values()):,} during, {sum(outcome.after.values()):,} after")
    assert outcome.wrongs == []
    assert outcome.requests >= requests
    for what in ASKING:
        assert outcome.before[what] and outcome.after[what], what


@pytest.mark.slow
def test_a_departure_is_never_overtaken(tmp_path: Path) -> None:
    with track(tmp_path, url=None, processes=1) as on:
        is_fair(race(on, clients=20, requests=1_000), requests=1_000)


@pytest.mark.slow
@pytest.mark.postgres
def test_a_departure_is_never_overtaken_by_any_of_four_processes(tmp_path: Path, postgres: Postgres) -> None:
    with track(tmp_path, url=postgres.database(), processes=4) as on:
        is_fair(race(on, clients=20, requests=1_000), requests=1_000)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_ten_thousand_requests_and_none_gets_past_a_departure(tmp_path: Path) -> None:
    with track(tmp_path, url=None, processes=1) as on:
        is_fair(race(on, clients=CLIENTS, requests=10_000), requests=10_000)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.postgres
def test_ten_thousand_requests_to_four_processes_and_none_gets_past_a_departure(tmp_path: Path, postgres: Postgres) -> None:
    with track(tmp_path, url=postgres.database(), processes=4) as on:
        is_fair(race(on, clients=CLIENTS, requests=10_000), requests=10_000)
