"""Keys that others publish: fetched once for many, again where they changed, and not more often than that."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.access.published_keys import PublishedKeys, ReadBefore
from app.access.signed_tokens import ALGORITHMS, BadSignature, NoSuchKey, unproved
from connectors.contract import ConnectorError, Unreachable
from tests.oidc_stand_in import StandIn, new_key, signed, stand_in


@pytest.fixture
def provider() -> Iterator[StandIn]:
    with stand_in() as found:
        yield found


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def fetched(provider: StandIn) -> int:
    return provider.asked.count("GET /jwks")


def taken(keys: PublishedKeys, provider: StandIn, token: str) -> bool:
    try:
        keys.verify(token, f"{provider.issuer}/jwks", algorithms=ALGORITHMS, allow_private=True)
    except (NoSuchKey, BadSignature):
        return False
    return True


def test_many_at_once_have_the_keys_fetched_once(provider: StandIn) -> None:
    keys, token = PublishedKeys(), signed({"a": 1}, provider.signing)

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(lambda _: taken(keys, provider, token), range(64)))

    assert fetched(provider) == 1


def test_many_at_once_with_a_new_key_have_them_fetched_once_more(provider: StandIn) -> None:
    clock = Clock()
    keys = PublishedKeys(clock=clock)
    assert taken(keys, provider, signed({}, provider.signing))
    clock.at += 31
    token = signed({}, provider.roll())

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(lambda _: taken(keys, provider, token), range(64)))

    assert fetched(provider) == 2


def test_a_forger_makes_us_ask_twice_a_minute_at_most(provider: StandIn) -> None:
    clock = Clock()
    keys = PublishedKeys(clock=clock)
    for _ in range(60):
        clock.at += 1
        assert not taken(keys, provider, signed({}, new_key()))

    assert fetched(provider) <= 3


def test_what_was_read_before_a_message_came_decides_nothing_for_good_though_the_answer_was_here_after_it(provider: StandIn) -> None:
    clock = Clock()
    keys, url = PublishedKeys(clock=clock), f"{provider.issuer}/jwks"

    class Slowly(list[str]):
        def append(self, what: str) -> None:
            super().append(what)
            clock.at += 5

    provider.asked = Slowly()
    came = clock.at + 2
    assert taken(keys, provider, signed({}, provider.signing))
    shown = unproved(signed({}, provider.roll()))

    with pytest.raises(ReadBefore):
        keys.prove(shown, url, algorithms=ALGORITHMS, allow_private=True, came=came)
    clock.at += 31
    assert keys.prove(shown, url, algorithms=ALGORITHMS, allow_private=True, came=came).header == shown.header


def test_a_place_that_does_not_answer_is_left_alone_for_a_moment(provider: StandIn) -> None:
    clock = Clock()
    keys, token = PublishedKeys(clock=clock), signed({}, provider.signing)
    provider.fails = 503
    with pytest.raises(ConnectorError):
        taken(keys, provider, token)
    asked = fetched(provider)

    with pytest.raises(Unreachable, match="a moment ago"):
        taken(keys, provider, token)
    assert fetched(provider) == asked

    provider.fails = None
    clock.at += 4
    assert taken(keys, provider, token)


def test_the_keys_of_one_place_prove_nothing_of_another(provider: StandIn) -> None:
    keys = PublishedKeys()
    with stand_in() as other:
        assert taken(keys, provider, signed({}, provider.signing))
        assert not taken(keys, other, signed({}, provider.signing))
        assert not taken(keys, provider, signed({}, other.signing))


def test_a_private_address_is_not_asked_because_somebody_else_may(provider: StandIn) -> None:
    keys, token = PublishedKeys(), signed({}, provider.signing)
    assert taken(keys, provider, token)

    with pytest.raises(ConnectorError):
        keys.verify(token, f"{provider.issuer}/jwks", algorithms=ALGORITHMS, allow_private=False)
