"""Rings in the manager line."""

from __future__ import annotations

from app.rules.cycles import cycles, manager_cycles
from tests.unit.rules.conftest import ORGANIZATION, Company


def test_a_line_that_ends_has_no_cycle() -> None:
    assert cycles({"cy": "bob", "bob": "ada"}) == []


def test_a_ring_is_reported_once_however_it_is_entered() -> None:
    assert cycles({"x": "cy", "cy": "bob", "bob": "ada", "ada": "cy", "y": "ada"}) == [("ada", "cy", "bob")]


def test_two_rings_and_one_alone_are_all_reported() -> None:
    assert cycles({"a": "b", "b": "a", "c": "c", "e": "d", "d": "e"}) == [("a", "b"), ("c",), ("d", "e")]


def test_a_ring_of_a_hundred_thousand_is_no_trouble() -> None:
    assert len(cycles({str(n): str((n + 1) % 100_000) for n in range(100_000)})[0]) == 100_000


def test_cycles_are_found_in_the_directory(company: Company) -> None:
    company.hires("Ada", manager="bob")
    company.hires("Bob", manager="ada")
    company.hires("Cy", manager="ada")

    assert manager_cycles(company.session, ORGANIZATION) == [("ada", "bob")]
