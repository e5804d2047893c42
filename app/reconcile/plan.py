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
        if line is not None:
            yield line


class Tally:
    """Counts and digests the lines of one plan while they pass, so that they need not be kept."""

    def __init__(self) -> None:
        self._added = self._removed = self._kept = 0
        self._hash = hashlib.sha256()

    def lines(self, desired: Iterable[Pair], observed: Iterable[Pair]) -> Iterator[Line]:
        """As `plan`, counting also what stays."""
        for line in _merge(desired, observed):
            if line is None:
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


def _merge(desired: Iterable[Pair], observed: Iterable[Pair]) -> Iterator[Line | None]:
    """Lines, and None for each pair that stays."""
    wanted, seen = iter(desired), iter(observed)
    want, have = next(wanted, None), next(seen, None)
    while want is not None or have is not None:
        # Nearly every pair stays, and for those one comparison is enough. Python compares texts by code points,
        # which is the order of their UTF-8 bytes too.
        if want == have:
            yield None
            want, have = _after(want, wanted, "desired"), _after(have, seen, "observed")
        elif have is None or (want is not None and want < have):
            assert want is not None
            yield Line(kind=LineKind.ADD, channel=want[0], person=want[1])
            want = _after(want, wanted, "desired")
        else:
            yield Line(kind=LineKind.REMOVE, channel=have[0], person=have[1])
            have = _after(have, seen, "observed")


def _after(last: Pair | None, pairs: Iterator[Pair], name: str) -> Pair | None:
    pair = next(pairs, None)
    if pair is not None and last is not None and pair <= last:
        raise UnsortedStream(f"{name}: {pair} after {last}")
    return pair
