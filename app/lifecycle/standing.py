"""Standing, decided from everything that voices said. Pure: values in, a value out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Final

from app.directory.tables import Standing, Statement, StatementKind, Voice

COMEBACKS: Final = (StatementKind.RETURNS, StatementKind.REHIRES, StatementKind.REINSTATES)
STRENGTH: Final = {voice: rank for rank, voice in enumerate(Voice)}
GRAVITY: Final = {Standing.DEPARTED: 0, Standing.PAUSED: 1, Standing.EXPECTED: 2, Standing.ACTIVE: 3}
"""What weighs most comes first."""
NOBODY_TOOK_IT: Final = "no voice has taken access"


@dataclass(frozen=True, kw_only=True)
class RecordSaid:
    """What one directory record says. `means` was frozen when *off* was said; of a record that is on it is what its end will mean.

    On is meant from `starts_at` until `ends_at`, where the directory names such dates.
    """

    on: bool
    said_at: datetime
    means: Standing | None
    ended: bool
    starts_at: datetime | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a voice that is no record said, and when it takes effect.

    `said_at` puts it in its place among what others said (`order`); dates are held against `heard_at`, which the clock showed.
    """

    voice: Voice
    kind: StatementKind
    engagement: str
    said_at: datetime
    heard_at: datetime
    effective_at: datetime
    means: Standing | None


def as_said(statement: Statement) -> Said:
    """A statement as it is decided by."""
    return Said(
        voice=Voice(statement.voice), kind=StatementKind(statement.kind), engagement=statement.engagement, said_at=statement.said_at,
        heard_at=statement.heard_at or statement.said_at, effective_at=statement.effective_at,
        means=Standing(statement.means) if statement.means else None,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Decided:
    """`until` is when access ends by itself; `wake_at` is when standing has to be decided again."""

    standing: Standing
    reason: str
    until: datetime | None
    wake_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class _Off:
    """A voice that keeps somebody out: for good, for a while, or until they start. A date speaks by itself, on its day."""

    voice: Voice
    said_at: datetime
    heard_at: datetime
    effective_at: datetime
    means: Standing
    bar: bool = False
    date: bool = False


def decide(records: Sequence[RecordSaid], statements: Sequence[Said], *, now: datetime) -> Decided:
    """Derive standing. Any kind of voice may take access away; none gives back what a stronger one took.

    Between two wake-ups nothing changes: deciding at an instant is the same as having decided at each wake-up before it.
    """
    found = _stands(records, statements, now=now)
    edges = _edges(records, statements, now=now)
    changes_at = next((edge for edge in edges if _stands(records, statements, now=edge) != found), None)
    # Who somebody is depends on which of their records is in force; that is looked at again at each of these, too.
    wakes = [edge for edge in (changes_at, min(_dates(records, now=now), default=None)) if edge is not None]
    standing, reason = found
    return Decided(standing=standing, reason=reason, until=changes_at if standing is Standing.ACTIVE else None, wake_at=min(wakes, default=None))


@cache
def decide_alone(*, on: bool, means: Standing | None) -> Decided:
    """What is decided of somebody for whom nothing speaks but one record, which has no dates: the same whenever that is."""
    at = datetime.fromtimestamp(0, UTC)
    return decide([RecordSaid(on=on, said_at=at, means=means, ended=False)], [], now=at)


def stricter(one: Decided, other: Decided) -> Decided:
    """The one that lets in less; of two that both let in, the one that ends first."""
    if GRAVITY[one.standing] != GRAVITY[other.standing]:
        return min(one, other, key=lambda decided: GRAVITY[decided.standing])
    return one if other.until is None or (one.until is not None and one.until <= other.until) else other


def in_force(*, starts_at: datetime | None, ends_at: datetime | None, at: datetime) -> bool:
    """Whether an instant lies within dates: from the first on, up to and without the last."""
    return (starts_at is None or starts_at <= at) and (ends_at is None or ends_at > at)


def _dates(records: Sequence[RecordSaid], *, now: datetime) -> list[datetime]:
    dates = [date for record in records if record.on and not record.ended for date in (record.starts_at, record.ends_at)]
    return [date for date in dates if date is not None and date > now]


def _edges(records: Sequence[RecordSaid], statements: Sequence[Said], *, now: datetime) -> list[datetime]:
    """Every instant to come at which anything could change, in order."""
    return sorted({*_dates(records, now=now), *(said.effective_at for said in statements if not _due(said, now=now))})


def _due(said: Said, *, now: datetime) -> bool:
    # What was said for at once holds from then on, also where the clock is put back behind it.
    return said.effective_at <= max(now, said.heard_at)


def _stands(records: Sequence[RecordSaid], statements: Sequence[Said], *, now: datetime) -> tuple[Standing, str]:
    offs = [off for off in (*_of_directory(records, now=now), *_of_statements(statements, now=now)) if not _undone(off, statements, now=now)]
    if not offs:
        return Standing.ACTIVE, NOBODY_TOOK_IT
    # Someone whom any voice calls departed has departed; among equals the stronger voice gives the reason, and a bar, which is the harder to lift.
    worst = min(offs, key=lambda off: (GRAVITY[off.means], STRENGTH[off.voice], not off.bar))
    return worst.means, "barred by an operator" if worst.bar else f"{worst.means} by {worst.voice}"


def _of_directory(records: Sequence[RecordSaid], *, now: datetime) -> list[_Off]:
    """The directory speaks through all its records: off only when the last one is off, over or ended; expected while one has yet to begin."""
    standing = [record for record in records if record.on and not record.ended and (record.ends_at is None or record.ends_at > now)]
    if not records or any(record.starts_at is None or record.starts_at <= now for record in standing):
        return []
    if standing:
        said_at = max(record.said_at for record in standing)
        return [_Off(voice=Voice.DIRECTORY, said_at=said_at, heard_at=said_at, effective_at=said_at, means=Standing.EXPECTED)]
    last = max(records, key=_off_since)
    means = Standing.DEPARTED if any(r.means is Standing.DEPARTED for r in records) else (last.means or Standing.DEPARTED)
    since = _off_since(last)
    return [_Off(voice=Voice.DIRECTORY, said_at=since, heard_at=since, effective_at=since, means=means, date=_is_over(last))]


def _off_since(record: RecordSaid) -> datetime:
    # A date speaks on its day: what was said before that day does not outrank it.
    return record.ends_at if _is_over(record) and record.ends_at is not None else record.said_at


def _is_over(record: RecordSaid) -> bool:
    return record.on and not record.ended and record.ends_at is not None


def _of_statements(statements: Sequence[Said], *, now: datetime) -> list[_Off]:
    """Operators, sponsors and signals are heard one by one; HR is out only when its last engagement is."""
    others = [said for said in statements if said.voice is not Voice.HR]
    offs = [
        _off(said) for said in others if said.kind is not StatementKind.STARTS and said.kind not in COMEBACKS and _due(said, now=now)
    ]
    for voice in {said.voice for said in others}:
        start = _last(said for said in others if said.voice is voice and said.kind is StatementKind.STARTS)
        if start is not None and not _due(start, now=now):
            offs.append(_expected(start))
    return offs + _of_hr([said for said in statements if said.voice is Voice.HR], now=now)


def _of_hr(statements: Sequence[Said], *, now: datetime) -> list[_Off]:
    """Here by any engagement is here. Else expected where one has yet to begin, and else out, as of the one that went last."""
    heard = _named([said for said in statements if said.kind not in COMEBACKS or _due(said, now=now)])
    # Where engagements have names, what names none keeps nobody in by itself, unless it began one.
    unnamed = not any(said.engagement for said in heard) or any(_begins_unnamed(said) and not _next_name(said, heard) for said in heard)
    ends: list[list[Said]] = []
    coming: list[Said] = []
    all_end = False
    for engagement in {said.engagement for said in heard}:
        starts = [said for said in heard if said.kind is StatementKind.STARTS and said.engagement in (engagement, "")]
        start = _last(starts)
        mine = [said for said in heard if said.kind is not StatementKind.STARTS and _speaks_of(said, engagement, starts)]
        taken = _taken(mine, now=now)
        if engagement == "" and not unnamed:
            all_end = bool(taken)
        elif taken:
            ends.append(taken)
        elif start is None or _due(start, now=now) or any(said.kind is StatementKind.REHIRES and said.said_at > start.said_at for said in mine):
            return []
        else:
            coming.append(start)
    if coming and (ends or all_end or any(start.means is not Standing.ACTIVE for start in coming)):
        return [_expected(max(coming, key=lambda start: start.said_at))]
    if coming or not ends:
        return []
    return [
        _Off(voice=Voice.HR, said_at=said.said_at, heard_at=said.heard_at, effective_at=said.effective_at, means=said.means or Standing.DEPARTED)
        for said in max(ends, key=lambda taken: min(said.effective_at for said in taken))
    ]


def _taken(said: Sequence[Said], *, now: datetime) -> list[Said]:
    """What is in force of what was said of an engagement. Only a comeback ends that: a later word puts off no more than what had yet to come.

    That somebody leaves and that they are away are told apart: neither puts off the other.
    """
    back = _last(one for one in said if one.kind in COMEBACKS)
    taking = [one for one in said if one.kind not in COMEBACKS and (back is None or one.said_at > back.said_at)]
    return [one for one in taking if _due(one, now=now) and not any(_puts_off(other, one) for other in taking)]


def _puts_off(said: Said, before: Said) -> bool:
    return said.kind is before.kind and said.said_at > before.said_at and not _due(before, now=said.heard_at)


def _named(heard: Sequence[Said]) -> list[Said]:
    """A rehire that names no engagement begins the one that HR next names when it takes something: until then one without a name."""
    return [replace(said, engagement=_next_name(said, heard)) if said.kind is StatementKind.REHIRES and _begins_unnamed(said) else said for said in heard]


def _begins_unnamed(said: Said) -> bool:
    # Every other word that names no engagement speaks of those that there are, and begins none.
    return said.engagement == "" and said.kind in (StatementKind.REHIRES, StatementKind.STARTS)


def _next_name(begun: Said, heard: Iterable[Said]) -> str:
    """The engagement that is named in the first leaving or leave after this; empty where there is none."""
    after = [said for said in heard if said.engagement and said.said_at > begun.said_at]
    taking = [said for said in after if said.kind is not StatementKind.STARTS and said.kind not in COMEBACKS]
    return min(taking, key=lambda said: said.said_at).engagement if taking else ""


def _speaks_of(said: Said, engagement: str, starts: Sequence[Said]) -> bool:
    # A call that names no engagement speaks of all of them, but for one that was announced after it. A rehire begins another.
    if said.engagement == engagement:
        return True
    if said.engagement or said.kind is StatementKind.REHIRES:
        return False
    start = _last(starts)
    if start is None or start.said_at < said.said_at or said.kind is StatementKind.RETURNS:
        return True
    # One of which they leave later was announced before that all the same where it is only another first day that was told since.
    return said.effective_at > start.effective_at and any(one.said_at < said.said_at and _puts_off(start, one) for one in starts)


def _last(statements: Iterable[Said]) -> Said | None:
    return max(statements, key=lambda said: said.said_at, default=None)


def _off(said: Said) -> _Off:
    return _Off(
        voice=said.voice, said_at=said.said_at, heard_at=said.heard_at, effective_at=said.effective_at, means=said.means or Standing.DEPARTED,
        bar=said.kind is StatementKind.BARS,
    )  # fmt: skip


def _expected(start: Said) -> _Off:
    return _Off(voice=start.voice, said_at=start.said_at, heard_at=start.heard_at, effective_at=start.said_at, means=Standing.EXPECTED)


def takes_back(comeback: Said, said: Said) -> bool:
    """Whether a comeback, once it is due, takes back that a voice said somebody leaves, or is away."""
    return _takes_back(comeback, _off(said))


def counts(said: Said, statements: Sequence[Said], *, now: datetime) -> bool:
    """Whether a word by which somebody leaves, or is away, keeps them out now or will on its day: no comeback has taken it back."""
    return not _undone(_off(said), statements, now=now)


def _undone(off: _Off, statements: Sequence[Said], *, now: datetime) -> bool:
    """Whether a comeback that is due takes back what keeps somebody out. That somebody starts later is undone by nothing but an
    operator's word on when they start. What HR took back of its own is gone by now (`_of_hr`): what it says of one engagement undoes
    nothing of another.
    """
    if off.means is Standing.EXPECTED:
        return any(
            said.kind is StatementKind.STARTS and said.voice is Voice.OPERATOR and said.said_at > off.said_at and _due(said, now=now)
            for said in statements
        )
    back = [said for said in statements if said.kind in COMEBACKS and _due(said, now=now) and not (said.voice is Voice.HR and off.voice is Voice.HR)]
    return any(_takes_back(said, off) for said in back)


def _takes_back(said: Said, off: _Off) -> bool:
    """An operator's return undoes what any voice said before it, a new engagement every earlier leaving; a voice may
    take back its own. HR calling off a termination gives nobody back what the directory took. A bar only an operator lifts.

    What was announced for later is left by a reinstatement. A sponsor's day is left by whoever is no sponsor: they name no other day.
    """
    if (said.heard_at if off.date else said.said_at) <= off.said_at:
        return False
    own = said.voice is off.voice or said.kind is StatementKind.REHIRES
    if said.voice is not Voice.OPERATOR and (off.bar or not own):
        return False
    if off.effective_at <= max(said.heard_at, off.heard_at):
        return True
    return said.kind is not StatementKind.REINSTATES and (off.voice is not Voice.SPONSOR or said.voice is Voice.SPONSOR)
