"""Two who join by signing in at the same moment: both come in, and one who comes by two windows is one person."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask, current_app
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database import reading
from app.directory.tables import Person, Source
from app.lifecycle import just_in_time
from app.sso import entering
from app.sso.entering import Entered, enter
from app.sso.verified import Verified
from tests.company import NOW, new_company
from tests.two_at_once import meanwhile
from tests.vouching import Provider, caught_up, new_provider


@pytest.fixture
def provider(installed: Flask) -> Provider:
    """A connection by which nobody has joined yet."""
    made = new_provider(new_company(), domains=("northwind.example",), settings={"jit": True})
    caught_up(NOW)
    return made


def entering_as(verified: Verified) -> Callable[[Session], Entered]:
    """For a transaction of the caller's own, as another process would have it open."""
    return lambda session: entering._enter(session, current_app.config["DOORLIST"], verified, agent="", at=NOW)


def at_once(app: Flask, one: Verified, other: Verified) -> tuple[Entered, Entered]:
    return meanwhile(app, entering_as(one), lambda: enter(current_app.config["DOORLIST"], other, agent="", at=NOW))


def test_the_first_two_who_join_by_a_connection_both_come_in(installed: Flask, provider: Provider) -> None:
    eve, bob = (provider.vouches_for(name, email=f"{name}@northwind.example", display_name=name) for name in ("eve", "bob"))

    entered = at_once(installed, eve, bob)

    assert [one.present.display_name for one in entered] == ["eve", "bob"]
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Source).where(Source.kind == just_in_time.KIND)) == 1


def test_who_joins_by_two_windows_is_one_person(installed: Flask, provider: Provider) -> None:
    eve = provider.vouches_for("eve", email="eve@northwind.example")

    one, other = at_once(installed, eve, eve)

    assert one.present.person_id == other.present.person_id
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Person)) == 1
