"""Standing, decided from everything that voices said. Pure: values in, a value out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.directory.tables import Standing, StatementKind, Voice

COMEBACKS = (StatementKind.RETURNS, StatementKind.REHIRES)
STRENGTH = {voice: rank for rank, voice in enumerate(Voice)}


@dataclass(frozen=True, kw_only=True)
class RecordSaid:
    """What one directory record says. `means` was frozen when *off* was said."""

    on: bool
    said_at: datetime
    means: Standing | None
    ended: bool


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a voice that is no record said, and when it takes effect."""

    voice: Voice
    kind: StatementKind
    engagement: str
    said_at: datetime
    effective_at: datetime
    means: Standing | None


@dataclass(frozen=True, kw_only=True)
class Decided:
    """`until` is when access ends by itself; `wake_at` is when standing has to be decided again."""

    standing: Standing
    reason: str
    until: datetime | None
    wake_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class _Off:
    voice: Voice
    said_at: datetime
    effective_at: datetime
    means: Standing
    bar: bool = False


def decide(records: Sequence[RecordSaid], statements: Sequence[Said], *, now: datetime) -> Decided:
    """Derive standing. Any kind of voice may take access away; none gives back what a stronger one took."""
    offs = [off for off in (*_of_directory(records), *_of_statements(statements, now=now)) if not _undone(off, statements, now=now)]
    due = [off for off in offs if off.effective_at <= now]
    coming = sorted(off.effective_at for off in offs if off.effective_at > now)
    coming_returns = [said.effective_at for said in statements if said.kind in COMEBACKS and said.effective_at > now]
    wake_at = min([*coming, *coming_returns], default=None)
    if due:
        # Someone whom any voice calls departed has departed; among equals the stronger voice gives the reason.
        worst = min(due, key=lambda off: (off.means is not Standing.DEPARTED, STRENGTH[off.voice]))
        words = "barred by an operator" if worst.bar else f"{worst.means} by {worst.voice}"
        return Decided(standing=worst.means, reason=words, until=None, wake_at=min(coming_returns, default=None))
    return Decided(standing=Standing.ACTIVE, reason="no voice has taken access", until=min(coming, default=None), wake_at=wake_at)


def _of_directory(records: Sequence[RecordSaid]) -> list[_Off]:
    """The directory speaks through all its records: off only when the last one is off or ended."""
    if not records or any(record.on and not record.ended for record in records):
        return []
    last = max(records, key=lambda record: record.said_at)
    means = Standing.DEPARTED if any(r.means is Standing.DEPARTED for r in records) else (last.means or Standing.DEPARTED)
    return [_Off(voice=Voice.DIRECTORY, said_at=last.said_at, effective_at=last.said_at, means=means)]


def _of_statements(statements: Sequence[Said], *, now: datetime) -> list[_Off]:
    """Operators, sponsors and signals are heard one by one; HR is out only when its last engagement is."""
    offs = [
        _Off(voice=said.voice, said_at=said.said_at, effective_at=said.effective_at, means=said.means or Standing.DEPARTED,
             bar=said.kind is StatementKind.BARS)
        for said in statements
        if said.voice is not Voice.HR and said.kind not in COMEBACKS
    ]  # fmt: skip
    of_hr = [said for said in statements if said.voice is Voice.HR and not (said.kind in COMEBACKS and said.effective_at > now)]
    ends: list[Said] = []
    for engagement in {said.engagement for said in of_hr}:
        # A call that names no engagement speaks of all of them.
        last = max((said for said in of_hr if said.engagement in (engagement, "")), key=lambda said: said.said_at)
        if last.kind in COMEBACKS:
            return offs
        ends.append(last)
    if ends:
        end = max(ends, key=lambda said: said.effective_at)
        offs.append(_Off(voice=Voice.HR, said_at=end.said_at, effective_at=end.effective_at, means=end.means or Standing.DEPARTED))
    return offs


def _undone(off: _Off, statements: Sequence[Said], *, now: datetime) -> bool:
    """An operator's return undoes what any voice said before it, a new engagement every earlier leaving; a voice may
    take back its own. HR calling off a termination gives nobody back what the directory took. A bar only an operator lifts."""
    return any(
        said.kind in COMEBACKS
        and said.said_at > off.said_at
        and said.effective_at <= now
        and (said.voice in (off.voice, Voice.OPERATOR) or said.kind is StatementKind.REHIRES)
        and (not off.bar or said.voice is Voice.OPERATOR)
        for said in statements
    )
