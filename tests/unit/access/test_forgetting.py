"""Sign-ins that are long over are forgotten, with what applications had through them; what still holds is not."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from app import database
from app.access import forgetting, sessions
from app.access.forgetting import forget, last_sign_ins
from app.access.issued import GRANT_LIVES, OFFLINE, issue, open_grant
from app.access.session_tables import Grant, IssuedToken, RelyingParty, TokenKind, WebSession
from app.access.sessions import Authenticated, Limits
from app.clock import now
from app.commands import housekeeping
from app.database import db, in_transaction, reading
from app.directory.tables import Person, Record
from tests.company import NOW, Company, new_company
from tests.handsets import new_client

pytestmark = pytest.mark.slow

DAY = Limits(absolute=timedelta(hours=12), idle=timedelta(hours=12))
LONG = timedelta(days=400)


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.fixture
def client_id(company: Company) -> str:
    return new_client(company)


def signs_in(company: Company, record: Record, *, at: datetime, client_id: str | None = None, scope: str = "openid", own: bool = False) -> str:
    """Somebody, and the application that `client_id` names through them; returns the session's id."""

    def act(session: Session) -> str:
        person = session.get_one(Person, (company.organization_id, record.person_id))
        row, secret = sessions.start(session, person, Authenticated(connection_id=None, at=at), limits=DAY, agent="Firefox", at=at)
        session.flush()
        if client_id is not None:
            present = sessions.check(session, secret, at=at)
            assert present is not None
            grant = open_grant(session, present, session.get_one(RelyingParty, (company.organization_id, client_id)), scope=scope, own=own, at=at)
            issue(session, grant, TokenKind.ACCESS, at=at)
        return row.id

    return in_transaction(act)


def forgets(at: datetime) -> bool:
    return in_transaction(lambda session: forget(session, before=at - LONG, at=at))


def there(table: type[WebSession] | type[Grant] | type[IssuedToken]) -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def last_of(company: Company, *records: Record) -> list[datetime | None]:
    with reading() as session:
        found = last_sign_ins(session, company.organization_id, [one.person_id for one in records])
    return [found.get(one.person_id) for one in records]


def test_what_ran_out_long_ago_is_forgotten_with_what_applications_had_through_it(company: Company, client_id: str) -> None:
    ada = company.joins("ada@x.example", "1")
    signs_in(company, ada, at=NOW, client_id=client_id)
    newer = signs_in(company, ada, at=NOW + timedelta(days=1), client_id=client_id)

    assert forgets(NOW + DAY.absolute + LONG - timedelta(seconds=1)) is False
    assert (there(WebSession), there(Grant), there(IssuedToken)) == (2, 2, 2)
    forgets(NOW + DAY.absolute + LONG)

    assert (there(WebSession), there(Grant), there(IssuedToken)) == (1, 1, 1)
    with reading() as session:
        assert session.scalars(select(WebSession.id)).all() == [newer] == list(session.scalars(select(Grant.session_id)))


@pytest.mark.parametrize("own", [False, True], ids=["may work while nobody looks", "is a device's own"])
def test_what_outlives_the_browser_goes_once_it_is_over_itself(company: Company, client_id: str, own: bool) -> None:
    ada = company.joins("ada@x.example", "1")
    signs_in(company, ada, at=NOW, client_id=client_id, scope=f"openid {OFFLINE}", own=own)
    almost = NOW + GRANT_LIVES - timedelta(seconds=1)

    in_transaction(lambda session: forget(session, before=almost - timedelta(days=1), at=almost))

    assert (there(WebSession), there(Grant), there(IssuedToken)) == (0 if own else 1, 1, 1)
    forgets(NOW + GRANT_LIVES + LONG)
    assert (there(WebSession), there(Grant), there(IssuedToken)) == (0, 0, 0)


def test_when_somebody_last_signed_in_is_known_for_ever(company: Company) -> None:
    ada, ben, cy = (company.joins(f"{name}@x.example", name) for name in ("ada", "ben", "cy"))
    for days in (3, 1, 2):
        signs_in(company, ada, at=NOW + timedelta(days=days))
    signs_in(company, ben, at=NOW)
    forgets(NOW + timedelta(days=3) + LONG)
    forgets(NOW + timedelta(days=9) + LONG)
    assert there(WebSession) == 0

    assert last_of(company, ada, ben, cy) == [NOW + timedelta(days=3), NOW, None]

    again = NOW + timedelta(days=500)
    signs_in(company, ben, at=again)
    assert last_of(company, ada, ben, cy) == [NOW + timedelta(days=3), again, None]


def test_an_older_one_that_is_forgotten_later_does_not_count_as_the_last(company: Company) -> None:
    ada = company.joins("ada@x.example", "1")
    signs_in(company, ada, at=NOW + timedelta(days=1))
    forgets(NOW + timedelta(days=9) + LONG)
    signs_in(company, ada, at=NOW)
    forgets(NOW + timedelta(days=9) + LONG)

    assert last_of(company, ada) == [NOW + timedelta(days=1)]


def test_what_is_too_much_at_once_is_forgotten_in_turns(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "AT_ONCE", 2)
    ada = company.joins("ada@x.example", "1")
    for minutes in range(5):
        signs_in(company, ada, at=NOW + timedelta(minutes=minutes))

    assert [forgets(NOW + timedelta(days=2) + LONG) for _ in range(3)] == [True, True, False]
    assert there(WebSession) == 0


def test_a_tick_forgets_what_is_older_than_is_set_and_nothing_else(installed: Flask, company: Company, client_id: str) -> None:
    ada = company.joins("ada@x.example", "1")
    recent = signs_in(company, ada, at=now() - timedelta(days=399), client_id=client_id)
    signs_in(company, ada, at=now() - timedelta(days=402), client_id=client_id)

    housekeeping.tick(installed)

    with reading() as session:
        assert session.scalars(select(WebSession.id)).all() == [recent]


def test_a_machine_whose_clock_is_ahead_forgets_nothing_before_its_time(
    installed: Flask, company: Company, client_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who works on by an application's own grant would else be signed out by it, and everybody at once."""
    signs_in(company, company.joins("ada@x.example", "1"), at=now(), client_id=client_id, scope=f"openid {OFFLINE}")
    for module in (housekeeping, database):
        monkeypatch.setattr(module, "now", lambda: now() + timedelta(days=800))

    housekeeping._forget_sign_ins(installed)

    # A file is on one machine, whose clock is all there is.
    left = 1 if db.engine.dialect.name == "postgresql" else 0
    assert (there(WebSession), there(Grant), there(IssuedToken)) == (left, left, left)


def test_it_costs_by_what_is_forgotten_and_not_by_all_who_signed_in(company: Company) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL plans by what it has counted")
    company.joins("ada@x.example", "1")
    asked: list[tuple[str, object]] = []
    event.listen(db.engine, "before_cursor_execute", note := lambda _connection, _cursor, statement, given, *_: asked.append((statement, given)))
    try:
        forgets(NOW)
    finally:
        event.remove(db.engine, "before_cursor_execute", note)
    with db.engine.connect() as connection:
        steps = [str(step[3]) for statement, given in asked if statement.startswith("SELECT") for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)]  # type: ignore[arg-type]

    assert [step for step in steps if "SCAN session" in step or "SCAN oauth_grant" in step] == []
    assert any("ix_session_expires" in step for step in steps) and any("ix_grant_expires" in step for step in steps)
