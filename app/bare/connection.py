"""What a bare connection can do, whichever database it is to, and whoever waits for it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Coroutine, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from sqlalchemy import ClauseElement

Given = TypeVar("Given")
Result = TypeVar("Result")
Rows = list[tuple[Any, ...]]
Asked = tuple[ClauseElement, Mapping[str, Any]]
"""A statement and its values, which are the driver's: instants as microseconds, documents as text."""


class Busy(Exception):
    """Somebody else is writing, and this connection is one that does not wait for long."""


Act = Callable[["Bare", Sequence[Given]], Coroutine[Any, Any, Sequence[Result]]]
"""Does the same for each that is given, in one transaction, and has a result for each."""


class Acting(ABC):
    """Where something is written: by one connection, or by whichever is free. Raises what the driver raises."""

    dialect: str

    @abstractmethod
    async def together(self, act: Act[Given, Result], given: Given, *, lane: Hashable, about: Collection[Hashable]) -> Result:
        """The result of `act` for this one, who may go along with others of the same lane.

        Two that are about the same thing never go together. Where what several said breaks a rule of the database's, each is done
        by itself, so that only who broke it hears of it.
        """


class Bare(Acting):
    """A connection. Raises what the driver raises."""

    async def together(self, act: Act[Given, Result], given: Given, *, lane: Hashable, about: Collection[Hashable]) -> Result:
        return (await act(self, [given]))[0]

    @abstractmethod
    async def ask(self, *asked: Asked) -> list[Rows]:
        """Run these in turn, at the price of one journey to the database. Outside of `transaction` each commits at once."""

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[None]:
        """All that is asked within, or nothing."""

    async def rows(self, statement: ClauseElement, values: Mapping[str, Any]) -> Rows:
        """Run one."""
        return (await self.ask((statement, values)))[-1]

    async def long_rows(self, statement: ClauseElement, values: Mapping[str, Any]) -> Rows:
        """As `rows`, outside of `transaction`, where they are long: the driver does not hold all of them beside what is returned."""
        return await self.rows(statement, values)

    async def last(self, *asked: Asked) -> list[Rows]:
        """As `ask`, for the last things that are asked in a transaction: its end may go along with them."""
        return await self.ask(*asked)

    def is_usable(self) -> bool:
        """Whether more can be asked: not so where somebody stopped between a question and its answer."""
        return True

    @abstractmethod
    def close(self) -> None:
        """No more is asked. Once is enough, and twice is no harm."""


def waited(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of what is asked on connections that wait by themselves, as those of threads do."""
    try:
        work.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    work.close()
    raise RuntimeError("somebody was to be waited for where nobody waits")
