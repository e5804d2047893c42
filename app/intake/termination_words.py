"""That somebody leaves, as voices said it, put together with the absences that came of it. Pure: values in, values out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from app.clock import iso
from app.directory.tables import OUTSIDE, Standing, Statement, StatementKind, Voice
from app.lifecycle.standing import COMEBACKS, as_said, decide
from app.lifecycle.tables import HeldState

LEAVING: Final = (StatementKind.LEAVES, StatementKind.BARS)
FOUND_BY_THE_SWEEP: Final = "found alive by the sweep"
"""How the reason of a departure begins that the sweep has opened."""


class Outcome(StrEnum):
    """What became of a termination. The first six are the population; the others stand beside it."""

    REMOVED = "removed"
    NO_ACCOUNT = "no account"
    OPEN = "open"
    RETURNED = "returned"
    STAYS = "stays"
    PARKED = "parked"
    ANNOUNCED = "announced"
    FOUND_ALIVE = "found alive"
    MERGED = "merged"
    UNREAD = "unread"


POPULATION: Final = (Outcome.REMOVED, Outcome.NO_ACCOUNT, Outcome.OPEN, Outcome.RETURNED, Outcome.STAYS, Outcome.PARKED)


@dataclass(frozen=True, kw_only=True)
class Period:
    """A number of whole days. An end that falls on midnight belongs to the day that it ends, and not to the one that begins."""

    since: datetime
    until: datetime

    def holds(self, instant: datetime) -> bool:
        return self.since < instant <= self.until


@dataclass(frozen=True, kw_only=True)
class Call:
    """One HR call that says that somebody leaves. `for_at` is when, in HR's own word; where that is at once, when it was received (`dated` is False)."""

    source: str
    event_id: str
    sha256: str
    received_at: datetime
    for_at: datetime
    dated: bool
    engagement: str
    last_day: str | None
    state: str
    problem: str | None
    employee_id: str | None


@dataclass(frozen=True, kw_only=True)
class Word:
    """What one voice said. `said_at` is when it counts as said, `heard_at` when it was heard; `journal` is its entry.

    `for_at` is the date it named, `moment` when that takes effect here: never before it was heard.
    """

    voice: Voice
    said_by: str
    said_at: datetime
    heard_at: datetime
    for_at: datetime
    moment: datetime
    engagement: str = ""
    call: Call | None = None
    journal: int | None = None
    stored: bool = True
    held: HeldState | None = None
    decided_by: str | None = None
    withdrawn: bool = False


@dataclass(frozen=True, kw_only=True)
class HeldOff:
    """An *off* that the brake kept from its effect; `subject_id` is the statement's or the record's."""

    subject_id: str
    of_record: bool
    source: str
    at: datetime
    state: HeldState
    decided_by: str | None


@dataclass(frozen=True, kw_only=True)
class Departed:
    """One departure, and whom it shut out: of two who turned out to be one, either."""

    id: str
    person_id: str
    means: str
    reason: str
    actor: str
    due_at: datetime
    received_at: datetime
    decided_at: datetime
    ended_at: datetime | None
    journal_id: int


@dataclass(frozen=True, kw_only=True)
class Leaver:
    """Everything that is known of one person's leaving. `merged_at` is when they turned out to be the same as `merged_into`, whose leaving it is.

    `ending` is a directory's last day, where access ends by it: that is the date of a record, and no statement.
    """

    person_id: str
    standing: str
    standing_reason: str
    departures: Sequence[Departed]
    statements: Sequence[Statement]
    calls: Sequence[Call] = ()
    held: Sequence[HeldOff] = ()
    ending: Word | None = None
    merged_at: datetime | None = None
    merged_into: str | None = None


@dataclass(frozen=True, kw_only=True)
class Termination:
    """One time that somebody left, or was to leave.

    `outcome` is None where it follows from what each place shows: then `departures` has all that were opened for it, and not
    only the first. `why` says in words what the outcome cannot.
    """

    words: Sequence[Word]
    lead: Word | None
    due: datetime
    departures: Sequence[Departed] = ()
    outcome: Outcome | None = None
    why: str | None = None

    @property
    def call(self) -> Call | None:
        """The HR call that belongs to it: the one that it goes back to, else the last."""
        if self.lead is not None and self.lead.call is not None:
            return self.lead.call
        return max((word.call for word in self.words if word.call is not None), key=lambda one: one.received_at, default=None)


@dataclass(kw_only=True)
class Told:
    """What a person's leaving came to within a period, and how many HR calls of it were overtaken by later ones or called off."""

    terminations: list[Termination] = field(default_factory=list)
    matched: int = 0
    superseded: int = 0
    called_off: int = 0


def terminations_of(leaver: Leaver, period: Period, *, at: datetime) -> Told:
    """Every termination of a person that belongs to a period: by when it was due, or by a date that a voice named."""
    told = Told()
    absences = absences_of(leaver.departures)
    if leaver.merged_at is not None:
        # What was said of them is said of the other. That they were shut out here is no leaving.
        told.terminations = [
            Termination(words=(), lead=None, due=one[0].due_at, departures=one, outcome=Outcome.MERGED, why=f"the same person as {leaver.merged_into}")
            for one in absences
            if period.holds(one[0].due_at)
        ]
        return told
    words = words_of(leaver)
    attached: dict[int, list[Word]] = {number: [] for number in range(len(absences))}
    alone: list[tuple[Word, Outcome, str]] = []
    for word in words:
        if word.withdrawn:
            told.called_off += _counts(word, period)
        elif _superseded(word, words):
            told.superseded += _counts(word, period)
        elif (number := _absence_of(word, absences, leaver.statements, at=at)) is not None:
            attached[number].append(word)
        else:
            alone.append((word, *_alone(word, leaver, at=at)))
    if leaver.ending is not None:
        alone.append((leaver.ending, *_alone(leaver.ending, leaver, at=at)))
    found = [_of_absence(absence, attached[number], period) for number, absence in enumerate(absences)]
    found += _of_words(alone, period)
    told.terminations = sorted((one for one in found if one is not None), key=lambda one: one.due)
    told.matched = sum(_counts(word, period) for one in told.terminations for word in one.words)
    return told


def _counts(word: Word, period: Period) -> int:
    return int(word.call is not None and period.holds(word.for_at))


# What was said


def words_of(leaver: Leaver) -> list[Word]:
    """What was said, oldest first: each statement with the call that it came of, calls that made none, and what the brake holds of directories."""
    calls = list(leaver.calls)
    held = {one.subject_id: one for one in leaver.held}
    words = []
    for one in leaver.statements:
        if one.kind not in LEAVING:
            continue
        # A statement was heard when its call was received, to the microsecond.
        heard_at = one.heard_at or one.said_at
        mine = [call for call in calls if one.voice == Voice.HR and call.received_at == heard_at and one.engagement in (call.engagement, "")]
        call = next((call for call in mine if call.source == one.said_by), mine[0] if mine else None)
        if call is not None:
            calls.remove(call)
        line = held.get(one.id)
        words.append(
            Word(
                voice=Voice(one.voice), said_by=one.said_by, said_at=one.said_at, moment=one.effective_at, engagement=one.engagement, heard_at=heard_at,
                call=call, journal=one.journal_id, for_at=one.effective_at if call is None else call.for_at, withdrawn=one.withdrawn_at is not None,
                held=None if not one.held else HeldState.OPEN if line is None else line.state, decided_by=None if line is None else line.decided_by,
            )
        )  # fmt: skip
    words += [
        Word(
            voice=Voice.HR, said_by=call.source, said_at=call.received_at, for_at=call.for_at, moment=max(call.for_at, call.received_at),
            heard_at=call.received_at, engagement=call.engagement, call=call, stored=False,
        )
        for call in calls
    ]  # fmt: skip
    words += [
        Word(
            voice=Voice.DIRECTORY, said_by=one.source, said_at=one.at, heard_at=one.at, for_at=one.at, moment=one.at, held=one.state, decided_by=one.decided_by,
            stored=False,
        )
        for one in leaver.held
        if one.of_record and one.state in (HeldState.OPEN, HeldState.REJECTED)
    ]  # fmt: skip
    return sorted(words, key=lambda word: word.said_at)


def _superseded(word: Word, words: Sequence[Word]) -> bool:
    """Whether HR named another date for the same engagement before this one came. To have access end at once names none."""
    if word.voice is not Voice.HR or not word.stored:
        return False
    later = words[words.index(word) + 1 :]
    return any(
        other.voice is Voice.HR and other.stored and not other.withdrawn and other.call is not None and other.call.dated
        and other.engagement in (word.engagement, "") and other.said_at <= word.moment
        for other in later
    )  # fmt: skip


# What came of it


def absences_of(departures: Iterable[Departed]) -> list[tuple[Departed, ...]]:
    """Departures that follow upon each other without a return in between: each begins with the one by which the person left for good.

    Who was only away before that, and left then, is out already; the leaving is counted from itself.
    """
    absences: list[tuple[Departed, ...]] = []
    for one in sorted(departures, key=lambda one: (one.decided_at, one.id)):
        if absences and absences[-1][-1].ended_at == one.decided_at:
            absences[-1] = (*absences[-1], one)
        elif one.means == Standing.DEPARTED:
            absences.append((one,))
    return absences


def _absence_of(word: Word, absences: Sequence[tuple[Departed, ...]], statements: Sequence[Statement], *, at: datetime) -> int | None:
    """The absence that a word belongs to: the one in which it found them out already, else the one that it brought about."""
    # Said after a return, it belongs to no absence that ended with it, whatever the clock showed.
    moment = max(word.moment, word.said_at)
    for number, absence in enumerate(absences):
        end = absence[-1].ended_at
        if absence[0].decided_at <= moment and (end is None or moment < end):
            return number
    if word.held is not None or word.moment > at or not _takes(word, statements, at=moment):
        return None
    for number, absence in enumerate(absences):
        if absence[0].decided_at > word.moment:
            return number if not _came_back(statements, after=word.moment, before=absence[0].decided_at) else None
    return None


def _takes(word: Word, statements: Sequence[Statement], *, at: datetime) -> bool:
    """Whether this voice has the person out at that moment, with what others said for them: HR may have ended one of two engagements only."""
    if not word.stored:
        return False
    said = [
        as_said(one)
        for one in statements
        if one.withdrawn_at is None and not one.held and one.said_at <= at and (one.voice == word.voice or one.kind in COMEBACKS)
    ]
    return decide([], said, now=at).standing in OUTSIDE


def _came_back(statements: Sequence[Statement], *, after: datetime, before: datetime) -> bool:
    return any(one.kind in COMEBACKS and one.withdrawn_at is None and after < one.said_at < before for one in statements)


def _alone(word: Word, leaver: Leaver, *, at: datetime) -> tuple[Outcome, str]:
    """What is to be said of a word that nobody was shut out by."""
    if word.held is HeldState.OPEN:
        return Outcome.OPEN, f"held by the brake since {iso(word.heard_at)}: doorlist held list"
    if word.held is HeldState.REJECTED:
        return Outcome.STAYS, f"held by the brake, and rejected by {word.decided_by}"
    if word.moment > at:
        return Outcome.ANNOUNCED, f"for {iso(word.moment)}"
    if word is leaver.ending or _takes(word, leaver.statements, at=at):
        return Outcome.OPEN, "due, and nobody has acted on it yet: does a worker run?"
    back = [one for one in leaver.statements if one.kind in COMEBACKS and one.withdrawn_at is None and one.said_at > word.said_at]
    if back:
        last = max(back, key=lambda one: one.said_at)
        return Outcome.STAYS, f"{last.voice} {last.said_by} says {last.kind} since {iso(last.heard_at or last.said_at)}"
    if not word.stored:
        return Outcome.STAYS, "they were out when it came, and have come back since"
    if word.engagement:
        return Outcome.STAYS, "another engagement goes on"
    return Outcome.STAYS, f"they are {leaver.standing}: {leaver.standing_reason}"


def _of_absence(absence: tuple[Departed, ...], words: Sequence[Word], period: Period) -> Termination | None:
    first = absence[0]
    voice = voice_of(first.reason)
    own = [word for word in words if word.voice is voice and word.moment <= first.decided_at]
    lead = max(own, key=lambda word: word.said_at, default=None)
    # What HR names for a day that has passed was due on that day, though we could act only when we heard of it.
    due = first.due_at if lead is None else min(first.due_at, lead.for_at)
    if period.holds(due) or any(period.holds(word.for_at) for word in words):
        return Termination(words=words, lead=lead, due=due, departures=absence)
    again = [one for one in absence[1:] if one.reason.startswith(FOUND_BY_THE_SWEEP) and period.holds(one.due_at)]
    if not again:
        return None
    return Termination(words=(), lead=lead, due=again[0].due_at, departures=again, outcome=Outcome.FOUND_ALIVE, why=again[0].reason)


def _of_words(alone: Sequence[tuple[Word, Outcome, str]], period: Period) -> list[Termination]:
    """Words that nobody was shut out by. What waits is one leaving, whoever has said so; of those who stay, each word is told."""
    found = []
    for waiting in (Outcome.OPEN, Outcome.ANNOUNCED):
        mine = sorted((one for one in alone if one[1] is waiting), key=lambda one: one[0].moment)
        if any(period.holds(word.for_at) for word, _, _ in mine):
            word, outcome, why = mine[0]
            found.append(Termination(words=[one for one, _, _ in mine], lead=word, due=word.for_at, outcome=outcome, why=why))
    found += [
        Termination(words=[word], lead=word, due=word.for_at, outcome=outcome, why=why)
        for word, outcome, why in alone
        if outcome is Outcome.STAYS and period.holds(word.for_at)
    ]
    return found


def voice_of(reason: str) -> Voice | None:
    """Which voice a departure's reason names, as `standing.decide` says it; None of one that the sweep has opened."""
    said = reason.partition(":")[0]
    if said == "barred by an operator":
        return Voice.OPERATOR
    by: Mapping[str, Voice] = {f"{means} by {voice}": voice for means in OUTSIDE for voice in Voice}
    return by.get(said)
