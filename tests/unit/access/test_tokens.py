"""Tokens: how many are good at once, until when, and when they were last used."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import tokens
from app.access.clients import WARNED_BEFORE, Key, Way, WayIn, expiry_of, still_used
from app.access.tables import BearerToken
from app.clock import now
from app.database import in_transaction, reading
from tests.clients.directory import Directory
from tests.unit.access.conftest import organization_of

DAY = timedelta(days=1)


@pytest.fixture
def issue(directory: Directory) -> Callable[..., str]:
    organization_id = organization_of(directory)

    def issued(*, at: datetime | None = None, expires_at: datetime | None = None) -> str:
        def act(session: Session) -> str:
            return tokens.issue(
                session, organization_id, holder_kind="source", holder_id=directory.source_id, at=at or now(), expires_at=expires_at
            )

        return in_transaction(act)

    return issued


def good(token: str) -> bool:
    with reading() as session:
        return tokens.find_source(session, token) is not None


def row_of(token: str) -> BearerToken:
    with reading() as session:
        return session.scalars(select(BearerToken).where(BearerToken.digest == tokens.digest_of(token))).one()


def limit(directory: Directory, **until: datetime) -> None:
    organization_id = organization_of(directory)
    in_transaction(lambda session: tokens.limit(session, organization_id, holder_id=directory.source_id, at=now(), **until))


def test_two_are_good_at_once_and_a_third_ends_the_oldest(directory: Directory, issue: Callable[..., str]) -> None:
    second = issue()
    assert good(directory.token) and good(second)

    third = issue()

    assert [good(token) for token in (directory.token, second, third)] == [False, True, True]


def test_a_token_is_good_until_it_expires(issue: Callable[..., str]) -> None:
    assert good(issue(expires_at=now() + DAY))
    assert not good(issue(expires_at=now() - timedelta(microseconds=1)))


def test_an_operators_token_expires_too(directory: Directory) -> None:
    organization_id = organization_of(directory)
    token = in_transaction(
        lambda session: tokens.issue(
            session, organization_id, holder_kind="operator", holder_id="nobody", at=now(), expires_at=now() - DAY
        )
    )

    with reading() as session:
        assert tokens.find_secret(session, token, holder_kind="operator", at=now()) is None
        assert tokens.find_secret(session, token, holder_kind="operator", at=now() - 2 * DAY) is not None


def test_an_expired_token_takes_no_place_from_a_good_one(directory: Directory, issue: Callable[..., str]) -> None:
    issue(expires_at=now() - DAY)

    newest = issue()

    assert good(directory.token) and good(newest)


def test_an_overlap_ends_the_older_token_and_not_the_newer(directory: Directory, issue: Callable[..., str]) -> None:
    newest = issue()

    limit(directory, older_until=now() + DAY)
    assert good(directory.token)
    limit(directory, older_until=now())

    assert not good(directory.token)
    assert good(newest) and row_of(newest).expires_at is None


def test_an_overlap_makes_no_token_good_for_longer(directory: Directory, issue: Callable[..., str]) -> None:
    soon = now() + timedelta(hours=1)
    limit(directory, newest_until=soon)
    issue()

    limit(directory, older_until=now() + DAY)

    assert row_of(directory.token).expires_at == soon


def test_a_use_is_written_down_once_a_minute(directory: Directory) -> None:
    at, digest = now(), tokens.digest_of(directory.token)
    seen = []
    for seconds in (0, 59, 60, 61):
        in_transaction(lambda session, after=seconds: tokens.note_use(session, digest, at=at + timedelta(seconds=after)))  # type: ignore[misc]  # defaults bind the loop's values
        used = row_of(directory.token).last_used_at
        assert used is not None
        seen.append(round((used - at).total_seconds()))

    assert seen == [0, 0, 60, 60]


def test_no_digest_tells_the_token(directory: Directory) -> None:
    with reading() as session:
        rows = session.scalars(select(BearerToken)).all()

    assert rows and not any(directory.token in str(vars(row)) for row in rows)


def way(*keys: Key, **more: object) -> WayIn:
    usual = {"source_id": "1", "source_name": "okta", "way": Way.BEARER, "client_id": None, "last_used_at": None, "shut": False}
    return WayIn(**{**usual, **more, "keys": keys})  # type: ignore[arg-type]  # as given


def key(*, since: timedelta = -DAY, ends: timedelta | None = None, used: timedelta | None = None) -> Key:
    at = [None if one is None else AT + one for one in (ends, used)]
    return Key(since=AT + since, expires_at=at[0], last_used_at=at[1])


AT = now()


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (way(), None),
        (way(key()), None),
        (way(key(ends=WARNED_BEFORE + DAY)), None),
        (way(key(ends=WARNED_BEFORE)), "in 30 days"),
        (way(key(ends=1.5 * DAY)), "in 1 day"),
        (way(key(ends=DAY / 2)), "within a day"),
        (way(key(ends=timedelta())), "expired"),
        (way(key(ends=-DAY), key()), "expired"),
        (way(key(), key(ends=DAY)), None),
        (way(key(ends=DAY), shut=True), None),
        (way(key(ends=DAY), way=Way.SECRET), "client secret"),
    ],
)
def test_what_ends_soon_is_said_with_what_to_do(one: WayIn, said: str | None) -> None:
    sentence = expiry_of(one, at=AT)

    assert (sentence is None) == (said is None)
    assert said is None or (said in str(sentence) and "doorlist source rotate okta" in str(sentence))


def test_an_older_token_that_ends_and_is_still_used_is_named() -> None:
    newer, older = key(since=-DAY), key(since=-9 * DAY, ends=DAY, used=-DAY / 2)

    assert "still used" in str(still_used(way(newer, older), at=AT))
    assert still_used(way(newer, key(since=-9 * DAY, ends=DAY, used=-2 * DAY)), at=AT) is None
    assert still_used(way(newer, key(since=-9 * DAY, used=-DAY / 2)), at=AT) is None
    assert still_used(way(newer, key(since=-9 * DAY, ends=-DAY / 4, used=-DAY / 2)), at=AT) is None
