"""When a source is pulled that says by itself that something changed: at once, again where that was in the middle of a pull, and not without end."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from flask import Flask, current_app
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.database import in_transaction, new_id, reading
from app.directory.tables import Source
from app.intake import notices, pull_state, pulling
from app.intake.pull_state import LEASE, UnderWay
from app.lifecycle.pulled_tables import SourceState
from connectors.contract import RateLimited, Unreachable
from tests.unit.intake.pulled_company import MINUTE, Pulled, pulled_company
from tests.unit.intake.scripted_directory import person

BY_HAND, EACH_QUARTER = "off", "15m"
AWAY = Unreachable("corp: away", sent=False)


def company(*, every: str) -> Pulled:
    """With one person, pulled."""
    corp = pulled_company(kind="okta", every=every, full_every="24h")
    corp.directory.put(person("a"))
    corp.pull()
    return corp


def says_so(corp: Pulled) -> None:
    """The source calls. The time of that is this machine's, which is far ahead of the test's."""
    with reading() as session:
        secret = notices.secret_of(current_app.config["DOORLIST"], session.get_one(Source, (corp.organization_id, corp.source_id)))
    answer = current_app.test_client().post(
        f"/sources/{corp.source_id}/events", json={"data": {"events": []}}, headers={"Authorization": secret.reveal()}
    )
    assert answer.status_code == 202


def says_so_once_while_listing(corp: Pulled) -> None:
    def meanwhile() -> None:
        corp.directory.while_listing = None
        says_so(corp)

    corp.directory.while_listing = meanwhile


def next_turn(corp: Pulled) -> datetime | None:
    """As `source list` shows it."""
    with reading() as session:
        return session.get_one(SourceState, (corp.organization_id, corp.source_id)).next_at


def due(corp: Pulled) -> bool:
    with reading() as session:
        return bool(pulling.due(session, corp.at))


@pytest.mark.parametrize("every", [BY_HAND, EACH_QUARTER])
def test_one_that_says_that_something_changed_is_pulled_at_once(installed: Flask, every: str) -> None:
    corp = company(every=every)
    assert not due(corp)

    says_so(corp)
    assert due(corp)
    corp.pull()

    assert not due(corp)
    corp.wait(15 * MINUTE)
    assert due(corp) == (every == EACH_QUARTER)


@pytest.mark.parametrize("every", [BY_HAND, EACH_QUARTER])
def test_one_that_says_so_before_it_was_ever_pulled_is_pulled(installed: Flask, every: str) -> None:
    corp = pulled_company(kind="okta", every=every)

    says_so(corp)

    assert due(corp)
    corp.pull()
    assert not due(corp)


@pytest.mark.parametrize("every", [BY_HAND, EACH_QUARTER])
def test_what_is_said_in_the_middle_of_a_pull_has_another_follow_at_once(installed: Flask, every: str) -> None:
    corp = company(every=every)
    says_so_once_while_listing(corp)

    corp.pull(whole=True)

    assert due(corp)
    corp.pull()
    assert not due(corp)


@pytest.mark.parametrize("ahead", [timedelta(days=-30), timedelta(minutes=-1), timedelta(minutes=1), timedelta(days=30)])
def test_the_clock_of_whoever_heard_it_does_not_matter(installed: Flask, ahead: timedelta) -> None:
    """Another machine's is wrong, or this one's was and has been put right: nothing is overheard, and no pull follows the other until then."""
    corp = company(every=BY_HAND)

    def hears() -> None:
        corp.directory.while_listing = None
        in_transaction(lambda session: session.execute(update(SourceState).values(woken_at=corp.at + ahead)))

    hears()
    assert due(corp)
    corp.directory.while_listing = hears
    corp.pull(whole=True)
    assert due(corp)
    corp.pull()

    assert not due(corp)


def test_a_pull_that_failed_after_it_was_told_is_tried_again(installed: Flask) -> None:
    corp = company(every=BY_HAND)
    says_so(corp)
    corp.directory.raises = AWAY

    for pause in (1, 2, 4):
        assert due(corp)
        with pytest.raises(Unreachable):
            corp.pull()
        corp.wait(pause * MINUTE - timedelta(seconds=1))
        assert not due(corp)
        corp.wait(timedelta(seconds=1))

    assert due(corp)
    corp.directory.raises = None
    corp.pull()
    corp.wait(timedelta(days=30))
    assert not due(corp)


def test_no_pause_after_a_failure_is_longer_than_an_hour(installed: Flask) -> None:
    corp = company(every=BY_HAND)
    says_so(corp)
    corp.directory.raises = AWAY

    for _ in range(9):
        with pytest.raises(Unreachable):
            corp.pull()

    assert not due(corp)
    corp.wait(60 * MINUTE)
    assert due(corp)


def test_one_without_turns_that_somebody_pulled_in_vain_is_not_tried_again(installed: Flask) -> None:
    corp = company(every=BY_HAND)
    corp.directory.raises = AWAY
    with pytest.raises(Unreachable):
        corp.pull()

    corp.wait(timedelta(days=30))

    assert not due(corp)
    assert next_turn(corp) is None


def test_a_pull_that_is_killed_after_it_was_told_is_followed_by_another(installed: Flask) -> None:
    corp = company(every=BY_HAND)
    says_so(corp)

    def begins(session: Session) -> None:
        pull_state.claim(session, session.get_one(Source, (corp.organization_id, corp.source_id)), by="one that dies", at=corp.at)

    in_transaction(begins)

    assert not due(corp)
    assert next_turn(corp) == corp.at + LEASE
    corp.wait(LEASE)
    assert due(corp)
    corp.pull()
    assert not due(corp)


@pytest.mark.parametrize("every", [BY_HAND, EACH_QUARTER])
def test_one_that_asked_for_a_pause_is_given_it_whatever_it_says(installed: Flask, every: str) -> None:
    corp = company(every=every)
    says_so(corp)
    corp.directory.raises = RateLimited("corp: too fast", wait=600)
    with pytest.raises(RateLimited):
        corp.pull()

    for _ in range(9):
        corp.wait(MINUTE)
        says_so(corp)
        assert not due(corp)

    corp.wait(MINUTE)
    assert due(corp)
    corp.directory.raises = None
    corp.pull()
    assert not due(corp)
    says_so(corp)
    assert due(corp)


def test_what_is_said_in_the_middle_of_a_pull_that_fails_is_read_after_the_pause(installed: Flask) -> None:
    corp = company(every=BY_HAND)
    says_so_once_while_listing(corp)
    corp.directory.raises = AWAY
    with pytest.raises(Unreachable):
        corp.pull(whole=True)

    assert not due(corp)
    corp.wait()
    assert due(corp)


@pytest.fixture
def while_waiting(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What happens each time that somebody waits for a source, the first of it first; nothing once there is no more."""
    ahead: list[Callable[[], None]] = []

    def sleep(seconds: float) -> None:
        if ahead:
            ahead.pop(0)()

    monkeypatch.setattr(pulling, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    return ahead


def take(corp: Pulled) -> str:
    """The source, as somebody does who asks it something."""
    by = new_id()

    def act(session: Session) -> None:
        pull_state.claim(session, session.get_one(Source, (corp.organization_id, corp.source_id)), by=by, at=corp.at, turn=False)

    in_transaction(act)
    return by


def free(corp: Pulled, by: str) -> None:
    def act(session: Session) -> None:
        state = pull_state.claimed(session, corp.organization_id, corp.source_id, by=by)
        assert state is not None
        pull_state.give_back(state)

    in_transaction(act)


def test_who_is_patient_pulls_as_soon_as_the_source_is_free(installed: Flask, while_waiting: list[Callable[[], None]]) -> None:
    corp = company(every=BY_HAND)
    corp.directory.put(person("b"))
    by = take(corp)
    while_waiting += [lambda: None, lambda: None, lambda: free(corp, by)]

    assert corp.pull(patience=60.0).joined == 1
    assert while_waiting == []
    assert corp.progress.count("corp is in somebody else's hands: waiting") == 1


def test_patience_ends(installed: Flask, while_waiting: list[Callable[[], None]]) -> None:
    corp = company(every=BY_HAND)
    corp.directory.put(person("b"))
    by = take(corp)

    with pytest.raises(UnderWay):
        corp.pull(patience=0.05)

    free(corp, by)
    assert corp.pull(patience=0.05).joined == 1
