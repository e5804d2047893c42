"""A pull that is killed anywhere, two at once, and one that may not write at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from flask import Flask, current_app
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.assembly import create_app
from app.database import Base, db, in_transaction, reading
from app.directory.tables import Tally
from app.intake import pull_groups, pull_state, pulling
from app.intake.pull_state import LEASE, TakenOver, UnderWay
from app.lifecycle.pulled_tables import Run, RunState, SourceState
from app.revocation.alarm_tables import Alarm
from app.settings import from_environment
from connectors.contract import Misconfigured, RateLimited, Unreachable
from tests.company import ADMIN
from tests.unit.intake.pulled_company import MINUTE, Pulled, pulled_company
from tests.unit.intake.scripted_directory import group, person

pytestmark = pytest.mark.slow

KEYS = [f"p{number:02}" for number in range(30)]


@pytest.fixture
def corp(installed: Flask) -> Pulled:
    return pulled_company()


def killed_at(corp: Pulled, point: int) -> bool:
    """Pull in a process that is killed when it says for the time number `point` how far it is. Whether it got that far."""
    settings = current_app.config["DOORLIST"]
    child = os.fork()
    if not child:
        code = 7
        try:
            told = 0

            def progress(words: str) -> None:
                nonlocal told
                told += 1
                if told == point:
                    os._exit(9)

            # Connections are the parent's; this process opens its own.
            db.engine.dispose(close=False)
            pulling.pull(settings, corp.organization_id, corp.name, actor=ADMIN, clock=corp.clock, progress=progress, opening=lambda _, __: corp.directory)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9)
    return code == 9


def state(corp: Pulled) -> SourceState:
    with reading() as session:
        return session.get_one(SourceState, (corp.organization_id, corp.source_id))


def outcome_of(corp: Pulled) -> tuple[dict[str, str], dict[str, set[str]], dict[str, str | None]]:
    managers = {name: corp.person(name).manager_id for name in corp.records()}
    names = {corp.person(name).id: name for name in corp.standing()}
    return corp.standing(), corp.groups(), {name: names.get(manager or "") for name, manager in managers.items()}


@pytest.mark.parametrize("together", [1, pull_groups.TOGETHER])
def test_a_pull_that_is_killed_anywhere_is_finished_by_the_next(corp: Pulled, monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    """Each group in a transaction of its own, as large ones are, or several in one."""
    monkeypatch.setattr(pull_groups, "TOGETHER", together)
    # In one transaction they are one moment less.
    fewer = 1 if together > 1 else 0
    corp.sets("pull_brake", "off")
    corp.sets("gone_after", "0s")
    corp.directory.put(*(person(key, manager=KEYS[(number + 7) % 30]) for number, key in enumerate(KEYS)), group("staff", *KEYS), group("few", *KEYS[:3]))

    def happens() -> None:
        for key in KEYS[:4]:
            corp.directory.alter(key, active=False)
        corp.directory.drop(KEYS[4], KEYS[5])
        corp.directory.put(person(KEYS[6], "six@x.example"), person("new", manager=KEYS[7]), group("staff", *KEYS[8:], "new"), group("more", *KEYS[20:]))

    twin = pulled_company(directory=corp.directory)
    twin.sets("gone_after", "0s")
    twin.sets("pull_brake", "off")
    counted: list[int] = []
    for turn in range(3):
        if turn == 1:
            happens()
        point = 1
        while killed_at(corp, point):
            assert state(corp).claimed_by is not None
            # Its claim ends by itself.
            corp.at += LEASE + MINUTE
            point += 1
        counted.append(point - 1)
        corp.wait()
        twin.pull()
        twin.wait()

    assert outcome_of(corp) == outcome_of(twin)
    assert {f"{key}@x.example" for key in KEYS[4:6]} <= {name for name, standing in corp.standing().items() if standing == "departed"}
    assert counted[0] > 3 - fewer
    assert counted[1] > 4 - fewer
    with reading() as session:
        runs = list(session.scalars(select(Run).where(Run.organization_id == corp.organization_id).order_by(Run.number)))
    assert {run.state for run in runs} == {RunState.DONE, RunState.FAILED}
    assert all(run.problem == "it was ended before it was done" for run in runs if run.state == RunState.FAILED)
    # Each was taken once, whoever did it.
    took = [line for run in runs for line in corp.lines(run.number)]
    assert sorted(name for what, name in took if what == "off") == [f"{key}@x.example" for key in KEYS[:4]]
    assert sorted(name for what, name in took if what == "gone") == [f"{key}@x.example" for key in KEYS[4:6]]


def test_a_cursor_moves_only_with_the_last_part(corp: Pulled) -> None:
    corp.directory.put(*(person(key) for key in KEYS))
    corp.pull()
    before = state(corp).cursor
    corp.directory.put(person("new"), group("staff", "new"))

    assert killed_at(corp, 2)
    assert state(corp).cursor == before
    corp.at += LEASE + MINUTE
    corp.pull()

    assert state(corp).cursor == "32"
    assert corp.groups() == {"Staff": {"new@x.example"}}


def test_what_changes_while_it_is_listed_is_told_by_the_next(corp: Pulled) -> None:
    corp.directory.put(person("a"))
    corp.directory.while_listing = lambda: corp.directory.tell(person("late"))
    corp.pull()
    corp.directory.while_listing = None

    assert corp.pull().joined == 1
    assert set(corp.records()) == {"a@x.example", "late@x.example"}


def test_one_pull_of_a_source_at_a_time(corp: Pulled) -> None:
    corp.directory.put(person("a"))
    inside: list[str] = []

    def meanwhile() -> None:
        corp.directory.while_listing = None
        with pytest.raises(UnderWay, match="corp is being pulled at this moment"):
            corp.pull()
        inside.append("refused")

    corp.directory.while_listing = meanwhile

    assert corp.pull().joined == 1
    assert inside == ["refused"]
    assert corp.pull().unchanged == 0


def test_one_that_slept_through_its_lease_writes_nothing_more(corp: Pulled) -> None:
    corp.directory.put(person("a"), person("b"))

    def meanwhile() -> None:
        corp.directory.while_listing = None
        corp.at += 2 * LEASE
        assert corp.pull().joined == 2

    corp.directory.while_listing = meanwhile
    with pytest.raises(TakenOver):
        corp.pull()

    assert [corp.run(number).state for number in (1, 2)] == ["failed", "done"]
    assert len(corp.records()) == 2
    assert state(corp).claimed_by is None


# Without writing


@contextmanager
def read_only(database_url: str) -> Iterator[None]:
    """The same installation, where the database takes no change."""
    if database_url.startswith("sqlite"):
        path = database_url.removeprefix("sqlite:///")
        url = f"sqlite:///file:{path}?mode=ro&uri=true"
    else:
        url = f"{database_url}{'&' if '?' in database_url else '?'}options=-c%20default_transaction_read_only%3Don"
    settings = from_environment({"DOORLIST_HOME": str(current_app.config["DOORLIST"].home), "DATABASE_URL": url})
    with create_app(settings).app_context():
        yield
        db.engine.dispose()


def every_row(session: Session) -> dict[str, list[str]]:
    return {table.name: sorted(map(str, session.execute(select(table)).all())) for table in Base.metadata.sorted_tables if table is not Tally.__table__}


@pytest.mark.parametrize("whole", [False, True])
def test_a_rehearsal_says_what_would_be_done_without_writing(corp: Pulled, database_url: str, whole: bool) -> None:
    corp.directory.put(*(person(key) for key in KEYS), group("staff", *KEYS))
    with read_only(database_url):
        first = corp.pull(dry_run=True)
    assert (first.run, first.seen, first.joined) == (None, 30, 30)
    corp.pull()
    for key in KEYS[:4]:
        corp.directory.alter(key, active=False)
    corp.directory.drop(KEYS[4])
    corp.directory.put(person(KEYS[5], "new-name@x.example"), person("new"), person("odd", "  "), group("staff", *KEYS[10:]))
    with reading() as session:
        before = every_row(session)

    with read_only(database_url):
        with pytest.raises(DBAPIError):
            in_transaction(lambda session: session.execute(update(SourceState).values(failures=7)))
        said = corp.pull(dry_run=True, whole=whole)

    with reading() as session:
        assert every_row(session) == before
    assert (said.run, said.joined, said.moved, said.left, said.missing) == (None, 1, 1, 4, 1)
    assert said.notes == ("odd would be set aside: it has no userName",)
    assert said.held is None
    done = corp.pull(whole=whole)
    assert (done.joined, done.moved, done.left, done.missing, done.unchanged) == (said.joined, said.moved, said.left, said.missing, said.unchanged)

    for key in KEYS[10:20]:
        corp.directory.alter(key, active=False)
    with read_only(database_url):
        said = corp.pull(dry_run=True, whole=whole)
    assert said.held is not None
    assert (said.held.digest, said.held.would_lose_access, said.left) == (None, 11, 0)
    held = corp.pull(whole=whole).held
    assert held is not None
    assert (held.reason, held.would_lose_access) == (said.held.reason, said.held.would_lose_access)


@pytest.mark.parametrize("whole", [False, True])
def test_a_rehearsal_says_who_would_be_set_aside_of_those_who_are_here(corp: Pulled, whole: bool) -> None:
    corp.directory.put(*map(person, KEYS))
    corp.pull()
    corp.directory.put(person(KEYS[0], "  "), person(KEYS[1], " ", active=False), person(KEYS[2], document={"title": True}), person(KEYS[3], "new"))
    corp.directory.put(person(KEYS[4], " ", ends_at=(corp.at + timedelta(days=1)).isoformat()))

    said = corp.pull(dry_run=True, whole=whole)
    done = corp.pull(whole=whole)

    assert (said.moved, said.left, len(said.notes)) == (done.moved, done.left, len(done.notes)) == (1, 1, 4)
    assert [note.replace(" would be ", " is ") for note in said.notes] == list(done.notes)


# When


def due(corp: Pulled) -> list[str]:
    with reading() as session:
        return [one.source_name for one in pulling.due(session, corp.at)]


def test_a_source_is_due_as_it_is_scheduled(installed: Flask) -> None:
    corp = pulled_company(every="15m", full_every="24h")
    corp.directory.put(person("a"))
    pulled_company(corp.company, name="by hand", every="off")
    assert due(corp) == ["corp"]

    corp.pull()
    assert due(corp) == []
    in_transaction(lambda session: session.execute(update(SourceState).values(next_at=corp.at)))
    assert due(corp) == ["corp"]
    corp.pull()
    corp.wait(15 * MINUTE)
    assert due(corp) == ["corp"]
    corp.pull()
    assert corp.directory.listings == 1
    corp.wait(timedelta(hours=24))
    corp.pull()
    assert corp.directory.listings == 2


def test_a_clock_that_is_put_back_keeps_no_source_waiting(corp: Pulled) -> None:
    corp.directory.put(person("a"), person("b"))
    corp.pull()
    corp.at += timedelta(days=30)
    corp.directory.drop("b")
    corp.pull()
    corp.directory.alter("a", document={"displayName": "Ada"})
    assert killed_at(corp, 1)
    corp.at -= timedelta(days=30)

    assert due(corp) == ["corp"]
    corp.pull()
    corp.wait(2 * MINUTE)
    corp.ask_again()
    assert corp.standing() == {"a@x.example": "active", "b@x.example": "active"}
    corp.at += timedelta(days=31)
    corp.ask_again()
    assert corp.standing() == {"a@x.example": "active", "b@x.example": "departed"}


def test_one_that_was_killed_is_due_when_its_lease_has_ended(corp: Pulled) -> None:
    corp.directory.put(person("a"))
    assert killed_at(corp, 1)

    assert due(corp) == []
    corp.at += LEASE + MINUTE
    assert due(corp) == ["corp"]
    assert not killed_at(corp, 99)
    assert due(corp) == []


@pytest.mark.parametrize(
    ("error", "first", "second"),
    [(Unreachable("corp: away", sent=False), 60, 120), (RateLimited("corp: too fast", wait=600), 600, 600), (Misconfigured("corp: no such base"), 60, 120)],
)
def test_one_that_cannot_be_read_is_tried_again_later_each_time(corp: Pulled, error: Exception, first: int, second: int) -> None:
    corp.directory.put(person("a"))
    corp.pull()
    corp.directory.raises = error  # type: ignore[assignment]  # each is a ConnectorError

    for seconds in (first, second):
        with pytest.raises(type(error)):
            corp.pull()
        kept = state(corp)
        assert kept.next_at is not None
        assert timedelta(seconds=seconds) <= kept.next_at - corp.at + timedelta(seconds=1) < timedelta(seconds=seconds + 2)
        assert (kept.problem, kept.claimed_by) == (str(error), None)
        assert corp.ask_again() is None

    corp.directory.raises = None
    corp.pull()
    assert (state(corp).problem, state(corp).failures) == (None, 0)


def test_one_that_stays_silent_is_an_alarm_until_it_speaks(corp: Pulled) -> None:
    def alarms() -> list[tuple[str, bool]]:
        with reading() as session:
            return [(one.sentence, one.closed_at is None) for one in session.scalars(select(Alarm).where(Alarm.organization_id == corp.organization_id))]

    corp.directory.put(person("a"))
    corp.pull()
    corp.directory.raises = Unreachable("corp: away", sent=False)
    for _ in range(4):
        corp.wait(30 * MINUTE)
        with pytest.raises(Unreachable):
            corp.pull()
    assert alarms() == [("corp: it could not be read: corp: away.", True)]

    corp.directory.raises = None
    corp.pull()
    assert alarms() == [("corp: it could not be read: corp: away.", False)]


@pytest.mark.parametrize(("said", "seconds"), [("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800)])
def test_a_length_of_time_is_read(said: str, seconds: int) -> None:
    assert pull_state.length(said) == timedelta(seconds=seconds)


@pytest.mark.parametrize("said", ["", "15", "m", "0m", "-5m", "1.5h", "15 minutes", "\u0661m"])
def test_what_is_no_length_of_time_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="no length of time"):
        pull_state.length(said)


def test_a_source_that_pushes_is_not_pulled(corp: Pulled) -> None:
    with pytest.raises(pulling.NotPulled, match="okta is not pulled"):
        pulling.pull(current_app.config["DOORLIST"], corp.organization_id, "okta", actor=ADMIN)
