"""Departures go first, and whoever waits for them does not wait for ever."""

import threading
from datetime import timedelta
from time import monotonic

import pytest
from flask import Flask

from app.clock import now
from app.delivery import precedence as room
from app.delivery.permits import permit_for
from app.delivery.precedence import Precedence
from app.journal.tables import Lane, Subject
from app.journal.work import Claim
from connectors.contract import Withdrawn
from tests.unit.delivery.crew import employ
from tests.workspace import Workspace


def test_who_gives_way_goes_on_as_soon_as_the_departure_is_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LONGEST_WAIT", 60.0)
    precedence = Precedence()
    passed = threading.Event()

    def pass_by() -> None:
        precedence.give_way()
        passed.set()

    with precedence.taken():
        waiting = threading.Thread(target=pass_by)
        waiting.start()
        assert not passed.wait(0.05)
    assert passed.wait(10)
    waiting.join()


def test_nobody_waits_where_nobody_departs() -> None:
    precedence = Precedence()
    with precedence.taken():
        pass
    began = monotonic()
    precedence.give_way()
    assert monotonic() - began < room.LONGEST_WAIT / 2


def test_a_departure_that_a_workspace_leaves_unanswered_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # Frozen in time: what began longer ago than the wait is not waited for, though it is still in hand.
    present = [100.0]
    monkeypatch.setattr(room, "monotonic", lambda: present[0])
    precedence = Precedence()
    with precedence.taken():
        assert precedence.asked()
        present[0] += room.LONGEST_WAIT
        assert not precedence.asked()
        with precedence.taken():
            assert precedence.asked()
    assert not precedence.asked()


def test_departures_without_end_only_slow_the_others_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LONGEST_WAIT", 0.01)
    precedence = Precedence()
    passed = threading.Event()

    def pass_by() -> None:
        precedence.give_way()
        passed.set()

    with precedence.taken():
        waiting = threading.Thread(target=pass_by)
        waiting.start()
        assert passed.wait(10)
    waiting.join()


def test_a_gift_to_the_one_who_departs_is_refused_at_once_and_not_waited_for(installed: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    # The departure may be waiting for this very delivery to end.
    monkeypatch.setattr(room, "LONGEST_WAIT", 60.0)
    company, workspace_id = employ(Workspace())
    ada = company.joins("ada@example.com", "1")
    epoch = company.person(ada).access_epoch
    taken = Claim(
        organization_id=company.organization_id, workspace_id=workspace_id, subject=Subject.ACCOUNT, subject_id=ada.person_id, lane=Lane.SYNC,
        generation=1, attempts=0, claimed_by="test", claimed_at=now(), lease_until=now() + timedelta(seconds=45), due_at=now(),
    )  # fmt: skip
    precedence = Precedence()
    permit = permit_for(taken, epoch=epoch, clock=now, precedence=precedence)
    permit()
    company.says(ada, active=False)
    began = monotonic()
    with precedence.taken(), pytest.raises(Withdrawn):
        permit()
    assert monotonic() - began < 30
