"""A plan is a value: the difference of two sorted streams of (channel, person), merged once in constant memory."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

Pair = tuple[str, str]


class UnsortedStream(ValueError):
    """A stream was not sorted by bytes, or said a pair twice, so a merge of it would plan what is not so."""


class LineKind(StrEnum):
    ADD = "+"
    REMOVE = "-"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One membership that is to come or to go."""

    kind: LineKind
    channel: str
    person: str

    def __str__(self) -> str:
        return f"{self.kind} {self.channel} {self.person}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a stream of lines came to. `digest` is over all lines in their order: the same lines, the same digest.

    `observed` counts the memberships there were to begin with, of which `removed` is a share.
    """

    added: int
    removed: int
    kept: int
    digest: str

    @property
    def observed(self) -> int:
        return self.kept + self.removed

    @property
    def empty(self) -> bool:
        return self.added == self.removed == 0


def plan(desired: Iterable[Pair], observed: Iterable[Pair]) -> Iterator[Line]:
    """The lines that turn `observed` into `desired`, sorted like them. Pure and lazy; raises UnsortedStream.

    Both streams are sorted by the bytes of channel and person, each pair once. Applying all lines to what was
    observed gives what is desired, and planning again then gives none.
    """
    for line in _merge(desired, observed):
        if isinstance(line, Line):
            yield line


class Tally:
    """Counts and digests the lines of one plan while they pass, so that they need not be kept."""

    def __init__(self) -> None:
        self._added = self._removed = self._kept = 0
        self._hash = hashlib.sha256()

    def lines(self, desired: Iterable[Pair], observed: Iterable[Pair]) -> Iterator[Line]:
        """As `plan`, counting also what stays."""
        for line in _merge(desired, observed):
            if not isinstance(line, Line):
                self._kept += 1
                continue
            self._added += line.kind is LineKind.ADD
            self._removed += line.kind is LineKind.REMOVE
            # Lengths first, so that no two different lines can run together into the same bytes.
            for part in (line.kind, line.channel, line.person):
                raw = part.encode()
                self._hash.update(len(raw).to_bytes(4, "big") + raw)
            yield line

    def plan(self) -> Plan:
        """What passed so far."""
        return Plan(added=self._added, removed=self._removed, kept=self._kept, digest=self._hash.hexdigest())


def summarise(desired: Iterable[Pair], observed: Iterable[Pair]) -> Plan:
    """The plan without its lines."""
    tally = Tally()
    for _ in tally.lines(desired, observed):
        pass
    return tally.plan()


def _merge(desired: Iterable[Pair], observed: Iterable[Pair]) -> Iterator[Line | Pair]:
    """Lines, and as a bare pair what stays."""
    wanted, seen = _checked(desired, "desired"), _checked(observed, "observed")
    want, have = next(wanted, None), next(seen, None)
    while want is not None or have is not None:
        if have is None or (want is not None and want < have):
            assert want is not None
            yield Line(kind=LineKind.ADD, channel=want[0], person=want[1])
            want = next(wanted, None)
        elif want is None or have < want:
            yield Line(kind=LineKind.REMOVE, channel=have[0], person=have[1])
            have = next(seen, None)
        else:
            yield want
            want, have = next(wanted, None), next(seen, None)


def _checked(pairs: Iterable[Pair], name: str) -> Iterator[Pair]:
    # Python compares texts by code points, which is the order of their UTF-8 bytes too.
    last: Pair | None = None
    for pair in pairs:
        if last is not None and pair <= last:
            raise UnsortedStream(f"{name}: {pair} after {last}")
        last = pair
        yield pair
