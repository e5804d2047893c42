"""A message counts once, whichever process it comes to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from flask import Flask
from sqlalchemy.orm import Session

from app.access.spent import forget, spend
from app.database import in_transaction
from tests.company import later


def uses(session: Session, *, sender: str = "okta", message_id: str = "_1") -> bool:
    return spend(session, "o", sender=sender, message_id=message_id, expires_at=later(60))


def test_a_message_counts_once(installed: Flask) -> None:
    assert [in_transaction(uses) for _ in range(3)] == [True, False, False]


def test_two_senders_may_use_one_id(installed: Flask) -> None:
    assert in_transaction(uses)
    assert in_transaction(lambda session: uses(session, sender="entra"))


def test_of_many_at_once_one_counts(installed: Flask) -> None:
    def shows(_: int) -> bool:
        with installed.app_context():
            return in_transaction(uses)

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(shows, range(16))) == [False] * 15 + [True]


def test_what_has_expired_is_forgotten_a_day_later_and_nothing_else(installed: Flask) -> None:
    """By whoever's clock: one that is some hours ahead forgets nothing that another would still take for good."""
    in_transaction(uses)

    in_transaction(lambda session: forget(session, at=later(86_400 + 59)))
    assert not in_transaction(uses)
    in_transaction(lambda session: forget(session, at=later(86_400 + 60)))
    assert in_transaction(uses)
