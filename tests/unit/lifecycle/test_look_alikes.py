"""Leavers who come again under another address: all who have joined are looked at, and nothing is locked for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select, text, update
from sqlalchemy.orm import Session

from app.clock import now
from app.commands import housekeeping
from app.database import db, in_transaction, reading, transaction
from app.directory.tables import Record, StatementKind, Voice
from app.lifecycle import leaving, look_alikes
from app.lifecycle.look_alikes import flag_look_alikes, flag_who_left
from app.revocation.alarm_tables import Alarm
from app.revocation.tables import Departure
from tests.company import ADMIN, Company, new_company


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


def leaves(company: Company, record: Record) -> None:
    def act(session: Session) -> None:
        leaving.say(
            session, company.organization_id, record.person_id, voice=Voice.OPERATOR, kind=StatementKind.LEAVES, said_by="ana", effective_at=now(),
            actor=ADMIN, at=now(), because="test",
        )  # fmt: skip

    in_transaction(act)


def told(company: Company) -> set[str]:
    with reading() as session:
        return set(session.scalars(select(Alarm.about).where(Alarm.organization_id == company.organization_id)))


def test_everybody_who_has_joined_is_looked_at_however_many_they_are(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_alikes, "AT_A_TIME", 2)
    leavers = [company.joins(f"p{number}@x.example", f"L-{number}") for number in range(5)]
    for one in leavers:
        leaves(company, one)
    again = [company.joins(f"P{number}+2@y.example", f"N-{number}") for number in range(5)]

    assert [flag_look_alikes(company.organization_id, at=now()) for _ in range(2)] == [5, 0]

    assert told(company) == {f"{new.person_id} {old.person_id}" for new, old in zip(again, leavers, strict=True)}


def test_nobody_waits_for_a_look_that_finds_nothing_new(company: Company) -> None:
    leaver = company.joins("ada@x.example", "1")
    leaves(company, leaver)
    company.joins("ada@y.example", "2")
    assert flag_look_alikes(company.organization_id, at=now()) == 1

    with transaction() as session:
        # On SQLite somebody is writing all the while: who wanted to write as well would wait, and be refused.
        session.execute(select(1))
        assert flag_look_alikes(company.organization_id, at=now()) == 0


def test_a_newcomer_may_resemble_several_and_each_is_named_up_to_a_few(company: Company) -> None:
    for number in range(look_alikes.EACH + 2):
        leaves(company, company.joins(f"ada@x{number}.example", f"L-{number}"))
    company.joins("ada@y.example", "N")

    assert flag_look_alikes(company.organization_id, at=now()) == look_alikes.EACH


def test_a_look_reads_nobodys_addresses_but_those_of_the_same_mailbox(company: Company) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL's plan depends on how many there are")
    leaves(company, company.joins("ada@x.example", "1"))
    company.joins("ada@y.example", "2")
    asked: list[tuple[str, Any]] = []
    event.listen(db.engine, "before_cursor_execute", lambda _connection, _cursor, statement, given, *_: asked.append((statement, given)))

    flag_look_alikes(company.organization_id, at=now())
    flag_who_left(company.organization_id, at=now(), since=now() - timedelta(hours=1))

    with db.engine.connect() as connection:
        plans = [
            str(step[3])
            for statement, given in asked
            if statement.startswith("SELECT")
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
        ]
    reading_addresses = [step for step in plans if "record_email" in step]
    # The leaver's own addresses are looked up once.
    own = [step for step in reading_addresses if "record_id=?" in step]
    assert (len(own), len(reading_addresses)) == (1, 13)
    assert all("address_key>? AND address_key<?" in step for step in reading_addresses if step not in own), reading_addresses


def test_nobody_looks_through_all_who_have_left_for_each_newcomer(company: Company) -> None:
    if db.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no choice: it knows not how many there are")
    for number in range(60):
        company.joins(f"p{number}@x.example", f"N-{number}")
    leaves(company, company.joins("gone@x.example", "L"))
    asked: list[tuple[str, Any]] = []
    event.listen(db.engine, "before_cursor_execute", lambda _connection, _cursor, statement, given, *_: asked.append((statement, given)))
    with db.engine.connect() as connection:
        # So few have left that it looks cheap to begin with them; a table that is small is read as a whole in any case.
        connection.execute(text("ANALYZE"))
        connection.commit()

    flag_look_alikes(company.organization_id, at=now())
    flag_who_left(company.organization_id, at=now(), since=now() - timedelta(hours=1))

    sought = [one for one in asked if "sought" in one[0]]
    assert len(sought) == 2
    for statement, given in sought:
        with db.engine.connect() as connection:
            connection.exec_driver_sql("SET enable_seqscan = off")
            plan = str(connection.exec_driver_sql(f"EXPLAIN {statement}", given).all())
        assert "ix_record_email_address" in plan and "ix_person_standing" not in plan


def test_a_beat_looks_at_who_has_joined_since_and_every_ten_minutes_at_all(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(housekeeping, "_newcomers_seen", {})
    real = look_alikes._newcomers

    def counted(session: Session, organization_id: str, *, after: str) -> Any:
        found = real(session, organization_id, after=after)
        asked.extend(one.user_name for one in found)
        return found

    monkeypatch.setattr(look_alikes, "_newcomers", counted)
    company.joins("ada@x.example")
    began = now()

    def beats(seconds: float) -> list[str]:
        asked.clear()
        housekeeping._look_for_look_alikes(company.organization_id, began + timedelta(seconds=seconds))
        return list(asked)

    # Ids are made by the machine's clock, so whoever is looked for later has joined long before.
    assert beats(0) == ["ada@x.example"]
    assert beats(35) == ["ada@x.example"]
    assert beats(40) == []
    assert beats(595) == []
    assert beats(600) == ["ada@x.example"]
    assert beats(605) == []
    # A clock that was put back makes nobody wait.
    assert beats(1) == ["ada@x.example"]


def test_who_leaves_later_is_found_at_the_next_beat(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "_newcomers_seen", {})
    ada, bob = company.joins("ada@x.example", "L-1"), company.joins("bob@x.example", "L-2")
    newcomer = company.joins("ada+2@y.example", "N-1")
    housekeeping._look_for_look_alikes(company.organization_id, now())
    # They have just joined, and would be among those who joined since the last beat.
    monkeypatch.setattr(housekeeping, "flag_look_alikes", lambda _organization_id, **_: 0)
    leaves(company, bob)
    leaves(company, ada)

    housekeeping._look_for_look_alikes(company.organization_id, now())

    assert told(company) == {f"{newcomer.person_id} {ada.person_id}"}


def test_of_very_many_who_leave_everybody_is_looked_at(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_alikes, "AT_A_TIME", 2)
    leavers = [company.joins(f"p{number}@x.example", f"L-{number}") for number in range(5)]
    again = [company.joins(f"P{number}+2@y.example", f"N-{number}") for number in range(5)]
    began = now()
    for one in leavers:
        leaves(company, one)

    assert [flag_who_left(company.organization_id, at=now(), since=since) for since in (now(), began, began)] == [0, 5, 0]

    assert told(company) == {f"{new.person_id} {old.person_id}" for new, old in zip(again, leavers, strict=True)}


def test_only_newcomers_are_told_of_who_resembles_somebody_who_leaves(company: Company) -> None:
    ada = company.joins("ada@x.example", "L-1")
    company.joins("ada@y.example", "N-1")
    leaves(company, ada)

    later = now() + look_alikes.NEWCOMERS + timedelta(seconds=5)
    assert flag_who_left(company.organization_id, at=later, since=later - timedelta(hours=1)) == 0
    assert flag_who_left(company.organization_id, at=now(), since=now() - timedelta(hours=1)) == 1


def test_who_left_and_is_back_is_not_looked_at(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob = company.joins("ada@x.example", "L-1"), company.joins("bob@x.example", "L-2")
    for one in (ada, bob):
        leaves(company, one)
    in_transaction(lambda session: session.execute(update(Departure).where(Departure.person_id == ada.person_id).values(ended_at=now())))
    looked_at: list[str] = []

    def noted(_session: Session, _organization_id: str, leavers: list[str]) -> list[Any]:
        looked_at.extend(leavers)
        return []

    monkeypatch.setattr(look_alikes, "_sharing", noted)

    flag_who_left(company.organization_id, at=now(), since=now() - timedelta(hours=1))

    assert looked_at == [bob.person_id]


def test_where_nobody_has_joined_leavers_are_not_looked_at(company: Company) -> None:
    leaves(company, company.joins("ada@x.example", "L-1"))
    asked: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda _connection, _cursor, statement, *_: asked.append(statement))

    later = now() + look_alikes.NEWCOMERS + timedelta(seconds=5)
    flag_who_left(company.organization_id, at=later, since=later - timedelta(hours=1))

    assert [one for one in asked if "departure" in one] == []


def test_where_nobody_resembles_a_leaver_no_alarms_are_looked_at(company: Company) -> None:
    leaves(company, company.joins("ada@x.example", "L-1"))
    company.joins("bob@x.example", "N-1")
    asked: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda _connection, _cursor, statement, *_: asked.append(statement))

    flag_look_alikes(company.organization_id, at=now())
    flag_who_left(company.organization_id, at=now(), since=now() - timedelta(hours=1))

    assert [one for one in asked if "FROM alarm" in one] == []


def test_of_very_many_some_are_looked_at_again_at_each_beat_until_all_were(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_alikes, "AT_A_TIME", 2)
    monkeypatch.setattr(housekeeping, "NEWCOMERS_PAGES", 2)
    monkeypatch.setattr(housekeeping, "_newcomers_seen", {})
    leavers = [company.joins(f"p{number}@x.example", f"L-{number}") for number in range(5)]
    for number in range(5):
        company.joins(f"p{number}+2@y.example", f"N-{number}")
    began = now()

    def told_after(seconds: float) -> int:
        housekeeping._look_for_look_alikes(company.organization_id, began + timedelta(seconds=seconds))
        return len(told(company))

    # Ten newcomers, four at a beat; those of the first pass find nobody who has left.
    for seconds in (0, 30, 35):
        assert told_after(seconds) == 0
    for one in leavers:
        leaves(company, one)
    # By these beats they left before the last one. The first pass is through: the next one begins when its time has come.
    assert told_after(50) == 0
    assert [told_after(seconds) for seconds in (600, 605, 610, 615)] == [4, 5, 5, 5]
    assert housekeeping._newcomers_seen[company.organization_id].after is None
