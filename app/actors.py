"""Who did it: the named actor that every journal entry carries."""

from dataclasses import dataclass
from enum import StrEnum


class ActorKind(StrEnum):
    SOURCE = "source"
    OPERATOR = "operator"
    PERSON = "person"
    HOST = "host"
    CLOCK = "clock"
    WORKER = "worker"


@dataclass(frozen=True, kw_only=True)
class Actor:
    """`name` is what an auditor reads in a year: a source's name, an operator's name, the host's own user."""

    kind: ActorKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


CLOCK = Actor(kind=ActorKind.CLOCK, name="due date")
