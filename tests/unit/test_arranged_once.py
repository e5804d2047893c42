"""Whoever is given a copy of what was arranged has all of it, and shares nothing of it with anybody."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from app.assembly import without_doors
from app.database import db, reading
from app.directory.tables import Person
from app.settings import Settings
from tests.arranged_once import arranged_once
from tests.company import Company, new_company
from tests.databases import let_go, migrated


@dataclass(frozen=True, kw_only=True)
class Shop:
    app: Flask
    company: Company
    told: list[str]

    def joins(self, name: str) -> None:
        self.company.joins(f"{name}@x.example")
        self.told.append(name)

    def people(self) -> list[str]:
        with reading() as session:
            return list(session.scalars(select(Person.user_name).order_by(Person.user_name)))


def _shop(app: Flask) -> Shop:
    made = Shop(app=app, company=new_company(), told=[])
    made.joins("ada")
    return made


@pytest.fixture
def other_url(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Another database of the same kind."""
    if database_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'other.sqlite'}"
    return str(request.getfixturevalue("postgres").database())


def test_a_copy_has_what_was_arranged_and_nothing_of_what_came_of_another(installed: Flask, other_url: str, tmp_path: Path) -> None:
    settings: Settings = installed.config["DOORLIST"]
    first = arranged_once(installed, _shop)
    first.joins("bob")
    other = without_doors(replace(settings, home=tmp_path / "other", database_url=other_url))

    with other.app_context():
        migrated()
        second = arranged_once(other, _shop)
        found, told = second.people(), list(second.told)
        # Rows are numbered from where the arrangement ended.
        second.joins("cy")
        people = second.people()
        db.engine.dispose()
    let_go(other_url)

    assert (found, told, second.app) == (["ada@x.example"], ["ada"], other)
    assert people == ["ada@x.example", "cy@x.example"]
    assert first.people() == ["ada@x.example", "bob@x.example"] and first.app is installed
