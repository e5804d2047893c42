"""What can go wrong with a verb.

LifecycleError
├── NotFound        no such thing, or not this source's: the two look alike
├── Taken           a name or id that must be unique is in use
├── UnknownMembers  a group was given members that are not this source's records
├── StaleVersion    the caller's version is not the one that stands
├── Ambiguous       a name fits several people; nothing was done
├── SecretElsewhere a stored secret would be shown to a server that it was not given for
├── TurnedOut       a person became one with another, of whom it has to be said; also a reason to begin anew
├── ActsNoMore      an operator was ended while what they asked for was under way
├── StillOwed       a workspace is to be ended in which something has still to be done or shown
└── WorldMoved      what was approved is not what is there now
"""

from collections.abc import Collection, Sequence
from typing import Final

from app.database import BeginAnew

NAMED: Final = 5
"""How many things a sentence names."""
_SHOWN: Final = 100
"""Letters of an id that somebody made up."""


def named(names: Sequence[str], count: int | None = None) -> str:
    """The first few of these as a sentence has them, and how many more there are; `count` where not all of them were asked for."""
    more = (len(names) if count is None else count) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


class LifecycleError(Exception):
    pass


class NotFound(LifecycleError):
    def __init__(self, kind: str, thing: str) -> None:
        super().__init__(f"{kind} {thing} does not exist")
        self.kind, self.id = kind, thing


class Taken(LifecycleError):
    def __init__(self, attribute: str, value: str, sentence: str) -> None:
        super().__init__(sentence)
        self.attribute, self.value = attribute, value


class UnknownMembers(LifecycleError):
    """`groups` are those of them that are groups of the same source."""

    def __init__(self, ids: Sequence[str], *, groups: Collection[str] = ()) -> None:
        shown = named([id if len(id) <= _SHOWN else f"{id[:_SHOWN]}…" for id in ids])
        nested = f"; of these {', '.join(sorted(groups)[:5])} is of a group, and only users can be members: push its people" if groups else ""
        super().__init__(f"unknown members: {shown}{nested}")
        self.ids = tuple(ids)


class StaleVersion(LifecycleError):
    pass


class Ambiguous(LifecycleError):
    pass


class SecretElsewhere(LifecycleError):
    pass


class TurnedOut(LifecycleError, BeginAnew):
    """Where a name or a number meant this person, it means the other by now; where an id did, somebody has to say the other's."""


class ActsNoMore(LifecycleError):
    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is no operator any more; nothing was done")


class StillOwed(LifecycleError):
    pass


class WorldMoved(LifecycleError):
    pass
