"""What became of the content of leaves, as an export tells it: gone in its time, erased with an entry that says so, or gone without a reason.

Retention takes it from the oldest leaves first, text and all. Of somebody whose data was erased the salts are taken, and an entry *erased*
of them comes after.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

ERASING: Final = "erased"
"""The verb of the entry that says that what was written about somebody was erased."""


@dataclass(kw_only=True)
class Run:
    """Leaves of which the same is to be said, with the line of the first."""

    line: int
    first: int
    last: int
    count: int = 1

    def goes_on(self, leaf: int) -> None:
        self.last, self.count = leaf, self.count + 1

    def __str__(self) -> str:
        return "the content of this leaf" if self.count == 1 else f"the content of {self.count} leaves, from this one to leaf {self.last},"


class Contents:
    """Follows an export leaf by leaf; memory grows only with the people whose leaves cannot be opened and who were not erased."""

    def __init__(self, *, exported: datetime, kept: timedelta) -> None:
        self.missing = 0
        self._exported, self._kept = exported, kept
        self._any_is_there = False
        self._out_of_turn: Run | None = None
        self._too_young: Run | None = None
        self._unopened: dict[str, Run] = {}

    def there(self, line: int, number: int, leaf: Mapping[str, Any], *, opened: bool) -> None:
        """A leaf has its text, and perhaps what opens it."""
        self._any_is_there = True
        subject_id = str(leaf.get("subject_id"))
        if leaf.get("verb") == ERASING:
            self._unopened.pop(subject_id, None)
        if not opened:
            self.missing += 1
            self._unopened[subject_id] = _longer(self._unopened.get(subject_id), line, number)

    def gone(self, line: int, number: int, *, sequenced: datetime) -> None:
        """Of a leaf there is the hash alone."""
        self.missing += 1
        if self._any_is_there:
            self._out_of_turn = _longer(self._out_of_turn, line, number)
        elif sequenced > self._exported - self._kept:
            self._too_young = _longer(self._too_young, line, number)

    def taken_out(self) -> Iterator[tuple[Run, str]]:
        """What nothing of ours takes away."""
        if self._out_of_turn is not None:
            yield self._out_of_turn, f"{self._out_of_turn} is gone, though older leaves have theirs: it was not taken for its age"

    def unexplained(self) -> Iterator[tuple[Run, str]]:
        """What somebody has to explain: another setting since, perhaps, or an entry that comes after the end of the file."""
        if self._too_young is not None:
            yield self._too_young, f"{self._too_young} is gone, and is to be kept for {self._kept.days} days"
        for subject_id, run in self._unopened.items():
            yield run, f"{run} about {subject_id} can be checked no more, and no entry '{ERASING}' behind it in this file says why"


def _longer(run: Run | None, line: int, number: int) -> Run:
    if run is None:
        return Run(line=line, first=number, last=number)
    run.goes_on(number)
    return run
