"""Times to shut and to gone: each figure is one that really happened, by target, within the window, and never over more than so many."""

import math
from collections.abc import Sequence
from datetime import timedelta

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as some
from sqlalchemy import insert

from app.database import in_transaction, new_id, reading
from app.lifecycle import spreads
from app.lifecycle.spreads import Spread, Times, times_of
from app.revocation.tables import Departure, Proof
from tests.company import NOW, Company, later, new_company

MONTH_AGO = NOW - timedelta(days=30)


def departures_took(company: Company, place: str, *, shut: Sequence[float | None], gone: Sequence[float | None] | None = None, received: float = 0) -> None:
    """So many people left; this is how many seconds it took each to be shut and to be gone there."""
    of_organization = {"organization_id": company.organization_id}
    ids = [new_id() for _ in shut]
    departures = [
        {**of_organization, "id": one, "person_id": one, "means": "departed", "reason": "", "actor": "", "due_at": later(received),
         "received_at": later(received), "decided_at": later(received), "journal_id": 1}
        for one in ids
    ]  # fmt: skip
    proofs = [
        {**of_organization, "departure_id": one, "workspace_id": place, "attempts": 1, "shut_at": None if to_shut is None else later(received + to_shut),
         "gone_at": None if to_gone is None else later(received + to_gone)}
        for one, to_shut, to_gone in zip(ids, shut, gone or shut, strict=True)
    ]  # fmt: skip
    in_transaction(lambda session: (session.execute(insert(Departure), departures), session.execute(insert(Proof), proofs)))


def times(company: Company, *places: str) -> dict[str, Times]:
    with reading() as session:
        return dict(times_of(session, company.organization_id, places, since=MONTH_AGO))


def nearest_rank(values: Sequence[float], percent: int) -> int:
    return round(sorted(values)[math.ceil(len(values) * percent / 100) - 1] * 1000)


@pytest.mark.parametrize("count", [1, 2, 3, 99, 100, 101, 250])
def test_figures_are_those_of_the_nearest_rank(installed: Flask, count: int) -> None:
    company = new_company()
    took = [(number * 7919 % count) / 8 for number in range(count)]
    departures_took(company, "chat", shut=took, gone=[one + 1 for one in took])

    found = times(company, "chat")["chat"]

    expected = Spread(count=count, p50=nearest_rank(took, 50), p99=nearest_rank(took, 99), max=round(max(took) * 1000))
    assert found.to_shut == expected
    assert found.to_gone.max == round((max(took) + 1) * 1000) and found.to_gone.count == count


def test_places_are_apart_and_together_they_are_one(installed: Flask) -> None:
    company, neighbour = new_company(), new_company()
    departures_took(company, "chat", shut=[1, 2, 3])
    departures_took(company, "wiki", shut=[10])
    departures_took(neighbour, "chat", shut=[100])

    found = times(company, "chat", "wiki", "empty")
    with reading() as session:
        apart = times_of(session, company.organization_id, ["chat", "wiki"], since=MONTH_AGO, apart="wiki")[""]

    assert {place: (one.to_shut.count, one.to_shut.max) for place, one in found.items()} == {"chat": (3, 3000), "wiki": (1, 10000), "": (4, 10000)}
    assert found[""].to_shut == Spread(count=4, p50=2000, p99=10000, max=10000)
    assert apart.to_shut == Spread(count=3, p50=2000, p99=3000, max=3000)
    assert times(company) == times(company, "empty") == {}


def test_who_is_shut_and_not_gone_counts_for_the_one_alone(installed: Flask) -> None:
    company = new_company()
    departures_took(company, "chat", shut=[1, 2, None], gone=[5, None, None])

    found = times(company, "chat")["chat"]

    assert (found.to_shut.count, found.to_gone) == (2, Spread(count=1, p50=5000, p99=5000, max=5000))


def test_what_was_shut_before_the_window_is_left_out(installed: Flask) -> None:
    company = new_company()
    departures_took(company, "chat", shut=[9], received=-31 * 86400)
    departures_took(company, "chat", shut=[1])

    assert times(company, "chat")["chat"].to_shut == Spread(count=1, p50=1000, p99=1000, max=1000)


def test_no_more_than_the_latest_are_counted(installed: Flask) -> None:
    company = new_company()
    departures_took(company, "chat", shut=[60], received=-3600)
    share = spreads.LATEST // 20
    departures_took(company, "chat", shut=[1] * share)

    places = ["chat", *(f"place {number}" for number in range(19))]
    assert times(company, *places)["chat"].to_shut == Spread(count=share, p50=1000, p99=1000, max=1000)


def test_more_places_than_a_question_may_have_parts(installed: Flask) -> None:
    company = new_company()
    departures_took(company, "place 199", shut=[1])

    assert set(times(company, *(f"place {number}" for number in range(250)))) == {"place 199"}


@given(values=some.lists(some.integers(min_value=0, max_value=5000), min_size=1, max_size=40))
def test_every_figure_is_one_that_happened(values: list[int]) -> None:
    assert nearest_rank(values, 50) / 1000 in values and nearest_rank(values, 99) / 1000 in values
