"""Directories are pulled by themselves when they are due: each on a thread of its own, a few at a time, and none of them in another's way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from flask import Flask
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from app.clock import now
from app.commands import turns
from app.commands.turns import AT_ONCE
from app.database import in_transaction, reading
from app.intake import pulling
from app.lifecycle.pulled_tables import PulledEntry, SourceState
from connectors import registry
from connectors.contract import Unreachable
from tests.company import NOW, Company, new_company
from tests.unit.intake.pulled_company import Pulled, pulled_company
from tests.unit.intake.scripted_directory import Directory, person
from tests.waiting import until

pytestmark = pytest.mark.slow


@dataclass(kw_only=True)
class Slow:
    """Directories that answer only when they are told to. `most` is how many were being read at one time."""

    answer: threading.Event = field(default_factory=threading.Event)
    reading: int = 0
    most: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hangs(self, one: Pulled) -> Pulled:
        one.directory.while_listing = self._wait
        return one

    def _wait(self) -> None:
        with self._lock:
            self.reading += 1
            self.most = max(self.most, self.reading)
        self.answer.wait(timeout=30)
        with self._lock:
            self.reading -= 1


@dataclass(kw_only=True)
class Clockwork:
    """One company, whose directories are read by the real clock's turns."""

    app: Flask
    company: Company
    directories: dict[str, Directory] = field(default_factory=dict)
    slow: Slow = field(default_factory=Slow)

    def adds(self, name: str, **settings: str) -> Pulled:
        one = pulled_company(self.company, name=name, directory=self.directories.setdefault(name, Directory(name=name)), **settings)
        one.directory.put(person(f"{name}-1"))
        return one

    def state(self, one: Pulled) -> SourceState | None:
        with reading() as session:
            return session.get(SourceState, (one.organization_id, one.source_id))

    def pulled(self, *some: Pulled) -> bool:
        return all((state := self.state(one)) is not None and state.pulled_at is not None and state.claimed_by is None for one in some)

    def due(self) -> list[str]:
        with reading() as session:
            return [one.source_name for one in pulling.due(session, now())]

    def beats(self) -> None:
        turns.follow_sources(self.app)

    def is_quiet(self) -> bool:
        return not turns._in_hand

    def beats_until(self, claim: Callable[[], bool]) -> bool:
        """Beat after beat, each once the one before has come to its end."""
        for _ in range(20):
            self.beats()
            assert until(self.is_quiet)
            if claim():
                return True
        return False


@pytest.fixture
def clockwork(installed: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clockwork]:
    made = Clockwork(app=installed, company=new_company())
    monkeypatch.setitem(registry.SOURCES, "csv", lambda settings: made.directories[settings.name])
    yield made
    made.slow.answer.set()
    assert until(made.is_quiet)


def test_whatever_is_due_is_pulled_by_itself_and_then_waits_for_its_turn(clockwork: Clockwork) -> None:
    both = [clockwork.adds("one"), clockwork.adds("two")]
    off = clockwork.adds("off", every="off")

    clockwork.beats()

    assert until(lambda: clockwork.pulled(*both) and clockwork.is_quiet())
    assert {"one-1@x.example", "two-1@x.example"} <= set(both[0].standing()) and clockwork.due() == []
    assert [one.run(number).actor for number, one in enumerate(both, start=1)] in (["source:one", "source:two"], ["source:two", "source:one"])
    clockwork.beats()
    assert until(clockwork.is_quiet) and [one.directory.listings for one in both] == [1, 1] and clockwork.state(off) is None


def test_one_that_is_slow_keeps_no_other_waiting_and_is_begun_once(clockwork: Clockwork) -> None:
    slow, quick = clockwork.slow.hangs(clockwork.adds("slow")), clockwork.adds("quick")

    for _ in range(3):
        clockwork.beats()
        assert until(lambda: clockwork.pulled(quick) and clockwork.slow.reading == 1)

    assert clockwork.slow.most == 1 and slow.directory.listings == 1 and not clockwork.pulled(slow)
    clockwork.slow.answer.set()
    assert until(lambda: clockwork.pulled(slow) and clockwork.is_quiet())
    assert slow.directory.listings == 1


def test_so_many_are_read_at_once_and_the_others_are_next(clockwork: Clockwork) -> None:
    some = [clockwork.slow.hangs(clockwork.adds(f"s{number}")) for number in range(AT_ONCE + 2)]

    for _ in range(3):
        clockwork.beats()
        assert until(lambda: clockwork.slow.reading == AT_ONCE)

    assert len(clockwork.due()) == 2
    clockwork.slow.answer.set()
    assert until(clockwork.is_quiet) and clockwork.beats_until(lambda: clockwork.pulled(*some))
    assert clockwork.slow.most == AT_ONCE and [one.directory.listings for one in some] == [1] * len(some)


def test_whatever_is_thrown_is_logged_and_the_next_turn_comes(clockwork: Clockwork, caplog: pytest.LogCaptureFixture) -> None:
    thrown = {
        "away": Unreachable("away: nobody answers", sent=False), "base": OperationalError("SELECT", {}, Exception("gone")),
        "bug": ZeroDivisionError("of ours"),
    }  # fmt: skip
    some = {name: clockwork.adds(name) for name in thrown}
    good = clockwork.adds("good")
    for name, one in some.items():
        one.directory.while_listing = _raising(thrown[name])

    clockwork.beats()
    assert until(lambda: clockwork.pulled(good) and clockwork.is_quiet())

    said = {record.message: record for record in caplog.records if record.name == turns.__name__}
    assert {text: record.levelname for text, record in said.items()} == {
        "away could not be pulled: away: nobody answers": "WARNING", "base could not be pulled: OperationalError": "ERROR",
        "bug could not be pulled: a fault of Doorlist itself": "ERROR",
    }  # fmt: skip
    assert said["bug could not be pulled: a fault of Doorlist itself"].exc_info is not None
    for one in some.values():
        found = clockwork.state(one)
        assert found is not None and found.claimed_by is None and found.failures == 1 and found.next_at is not None and found.next_at > now()
        one.directory.while_listing = None
        _make_due(one)
    assert clockwork.beats_until(lambda: clockwork.pulled(*some.values()))


def _raising(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def _make_due(one: Pulled) -> None:
    in_transaction(lambda session: setattr(session.get_one(SourceState, (one.organization_id, one.source_id)), "next_at", now()))


def test_where_no_thread_is_to_be_had_it_stays_due(clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch) -> None:
    one = clockwork.adds("one")

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        # Its caller, the scheduler, writes down what is thrown.
        with pytest.raises(RuntimeError, match="new thread"):
            clockwork.beats()

    assert clockwork.is_quiet() and clockwork.due() == ["one"]
    clockwork.beats()
    assert until(lambda: clockwork.pulled(one))


def test_a_database_that_is_away_is_met_again_at_the_next_beat(
    clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = clockwork.adds("one")

    def away(*_: object) -> list[pulling.Due]:
        raise OperationalError("SELECT", {}, Exception("gone"))

    with monkeypatch.context() as patched:
        patched.setattr(pulling, "due", away)
        clockwork.beats()

    assert "what is to be pulled could not be seen: OperationalError" in caplog.messages and clockwork.is_quiet()
    clockwork.beats()
    assert until(lambda: clockwork.pulled(one))


def test_those_who_are_missing_are_asked_for_again_between_two_turns(clockwork: Clockwork) -> None:
    one = clockwork.adds("one", every="24h")
    one.sets("gone_after", "0s")
    one.directory.put(*(person(f"more-{number}") for number in range(5)))
    clockwork.beats()
    assert until(lambda: clockwork.pulled(one) and clockwork.is_quiet())
    one.directory.drop("one-1")
    _make_due(one)
    clockwork.beats()
    assert until(clockwork.is_quiet) and one.standing()["one-1@x.example"] == "active" and clockwork.due() == []

    clockwork.beats()

    assert until(lambda: one.standing()["one-1@x.example"] == "departed")


def test_one_that_is_still_in_hand_is_not_begun_again_though_it_is_due(clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch) -> None:
    one, begun = clockwork.adds("one"), list[turns.Turn]()

    def waits_before_it_claims(_app: Flask, turn: turns.Turn) -> None:
        begun.append(turn)
        clockwork.slow.answer.wait(timeout=30)

    monkeypatch.setattr(turns, "_pull", waits_before_it_claims)
    for _ in range(3):
        clockwork.beats()
        assert until(lambda: begun) and clockwork.due() == ["one"]

    clockwork.slow.answer.set()
    assert until(clockwork.is_quiet) and begun == [(one.organization_id, "one")]


def test_those_that_come_to_nothing_each_time_keep_no_other_from_its_turn(clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch) -> None:
    idle = [clockwork.adds(f"idle{number}") for number in range(AT_ONCE)]
    clockwork.beats()
    assert until(lambda: clockwork.pulled(*idle) and clockwork.is_quiet())
    # Somebody is missing in each, and nobody is asked for them while what is held waits for a decision: so they are due with every beat.
    in_transaction(lambda session: session.execute(update(PulledEntry).values(missing_since=NOW)))
    monkeypatch.setattr(turns, "_ask_again", lambda _app, _turn: clockwork.slow.answer.wait(timeout=30))
    last = clockwork.adds("last")

    for _ in range(2):
        clockwork.slow.answer.clear()
        clockwork.beats()
        assert until(lambda: len(turns._in_hand) >= AT_ONCE or clockwork.pulled(last))
        clockwork.slow.answer.set()
        assert until(clockwork.is_quiet)

    assert clockwork.pulled(last)
