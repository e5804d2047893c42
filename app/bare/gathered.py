"""Acts that go to PostgreSQL together: who comes while others of their kind are on their way waits for them, and shares the next journey.

One statement for several rows, and one commit, cost the database half of what as many of them cost.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Hashable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import psycopg

from app.bare.connection import Act, Acting, Bare, Given, Result

_MOST: Final = 16
"""Who shares a journey."""
_PATIENCE: Final = 0.02
"""Seconds for which a journey is waited for. Then the next one sets off beside it, as far as there are connections."""


class _Group:
    """Those who go together next. Whoever came first waits for `turn`, and then does the act for all of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.turn: asyncio.Future[None] = loop.create_future()
        self.given: list[Any] = []
        self._about: set[Hashable] = set()
        self.results: list[asyncio.Future[Any]] = []

    def takes(self, about: Collection[Hashable]) -> bool:
        return len(self.given) < _MOST and self._about.isdisjoint(about)

    def join(self, about: Collection[Hashable], given: Any) -> asyncio.Future[Any]:
        self.given.append(given)
        self._about.update(about)
        result: asyncio.Future[Any] = self.loop.create_future()
        self.results.append(result)
        return result

    def tell(self, outcomes: Sequence[Any]) -> None:
        """To each their result, or what was raised."""
        for result, outcome in zip(self.results, outcomes, strict=True):
            if result.done():
                continue
            if isinstance(outcome, Exception):
                result.set_exception(outcome)
                # Whoever has gone meanwhile does not ask.
                result.exception()
            else:
                result.set_result(outcome)


class _Lane:
    """Acts of one kind by the same caller: how many journeys are on the way, and who goes next."""

    def __init__(self) -> None:
        self.on_the_way = 1
        self.waiting: deque[_Group] = deque()


class Gathered(Acting):
    """The writers of one event loop."""

    dialect = "postgresql"

    def __init__(self, lend: Callable[[], AbstractAsyncContextManager[Bare]]) -> None:
        self._lend = lend
        # Those on which somebody is on their way.
        self._lanes: dict[Hashable, _Lane] = {}

    async def together(self, act: Act[Given, Result], given: Given, *, lane: Hashable, about: Collection[Hashable]) -> Result:
        key = (act, lane)
        mine = self._lanes.get(key)
        if mine is None:
            self._lanes[key] = _Lane()
            try:
                return (await self._acted(act, [given]))[0]
            finally:
                self._hand_over(key)
        if mine.waiting and mine.waiting[-1].takes(about):
            followed: Result = await mine.waiting[-1].join(about, given)
            return followed
        group = _Group(asyncio.get_running_loop())
        result = group.join(about, given)
        mine.waiting.append(group)
        await self._lead(act, group, key, mine)
        led: Result = await result
        return led

    async def _lead(self, act: Act[Any, Any], group: _Group, key: Hashable, mine: _Lane) -> None:
        # Who is on the way may be waiting for somebody else, for long.
        patience = group.loop.call_later(_PATIENCE, _set_off, mine, group)
        try:
            await group.turn
            outcomes = await self._outcomes(act, group.given)
        except BaseException:
            # Whoever led breaks off; those who followed take the ordinary way.
            if group in mine.waiting:
                mine.waiting.remove(group)
            elif group.turn.done() and not group.turn.cancelled():
                self._hand_over(key)
            group.tell([psycopg.OperationalError("whoever led the others broke off")] * len(group.results))
            raise
        finally:
            patience.cancel()
        # The next ones set off before all of these are answered.
        self._hand_over(key)
        group.tell(outcomes)

    async def _outcomes(self, act: Act[Given, Result], given: Sequence[Given]) -> Sequence[Result | Exception]:
        try:
            return await self._acted(act, given)
        except psycopg.IntegrityError as error:
            return [error] if len(given) == 1 else [(await self._outcomes(act, [one]))[0] for one in given]
        except Exception as error:
            return [error] * len(given)

    async def _acted(self, act: Act[Given, Result], given: Sequence[Given]) -> Sequence[Result]:
        async with self._lend() as bare:
            return await act(bare, given)

    def _hand_over(self, key: Hashable) -> None:
        """A journey has ended: the next one sets off."""
        mine = self._lanes[key]
        mine.on_the_way -= 1
        while mine.waiting and not _set_off(mine, mine.waiting[0]):
            mine.waiting.popleft()
        if not mine.on_the_way:
            del self._lanes[key]


def _set_off(lane: _Lane, group: _Group) -> bool:
    """Whether it could; not where whoever was to lead has gone. From here on nobody joins them any more."""
    if group.turn.done():
        return False
    lane.waiting.remove(group)
    lane.on_the_way += 1
    group.turn.set_result(None)
    return True
