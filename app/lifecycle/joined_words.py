"""In which order words count that were said of two people who turn out to be one. Pure: values in, an order out.

Whoever brought the one back knew nothing of what had been taken from the other. So what keeps either of them out goes on
doing so, for as long as it would have.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from app.directory.tables import StatementKind, Voice
from app.lifecycle.standing import COMEBACKS, Said, takes_back

NEVER: Final = datetime.max.replace(tzinfo=UTC)
_Place = tuple[datetime, bool, timedelta]
"""Until when a word takes access, or from when on it gives it back; of the same instant comebacks are the last. Of HR's days to come the
nearest is the last: it would else be put off."""


def said_again(one: Mapping[str, Said], other: Mapping[str, Said], *, off_since: datetime | None, now: datetime) -> list[str]:
    """Those of the words, by their ids, that count as said once more, behind all that was said before, in this order.

    They are what a comeback of the other would else take back; what is over first comes first: so a comeback that is still to
    come is behind what it takes back, and before all that lasts longer. `off_since` is when the last of their directories switched
    them off, where all have: a comeback from before that day does not come behind it.
    """
    if not one or not other:
        return []
    places: dict[str, _Place] = {}
    over = {
        word_id: _over_at(word, mine.values(), others.values(), now=now)
        for mine, others in ((one, other), (other, one)) for word_id, word in mine.items()
    }  # fmt: skip
    for mine, others in ((one, other), (other, one)):
        to_come = {word_id: word for word_id, word in mine.items() if _from(word, now=now) > now}
        threats = {**others, **to_come}
        placed = {
            word_id: (over[word_id], False, _nearness(word, now=now))
            for word_id, word in mine.items()
            if over[word_id] > now and any(_threatens(later, word, over=over[later_id], now=now) for later_id, later in threats.items())
        }
        for word_id, word in to_come.items():
            # An operator's word on the first day ends others, too: so long as no later one has replaced it.
            counts = over[word_id] > now if word.kind not in COMEBACKS else off_since is None or word.said_at > off_since
            if counts and word_id not in placed and any(_ends(word, mine[taken]) for taken in placed):
                placed[word_id] = (word.effective_at, True, timedelta())
        places |= _with_what_hr_said_behind(mine, placed, over, now=now)
    said_at = {word_id: word.said_at for mine in (one, other) for word_id, word in mine.items()}
    return sorted(places, key=lambda word_id: (places[word_id], said_at[word_id], word_id))


def _with_what_hr_said_behind(
    mine: Mapping[str, Said], placed: Mapping[str, _Place], over: Mapping[str, datetime], *, now: datetime
) -> dict[str, _Place]:
    """With them what HR said later of the same one and still counts: of each engagement it is its last word that does.

    What it took back is over. A return of that would come behind what was said of the other, and take that back.
    """
    kept = dict(placed)
    behind: _Place | None = None
    for word_id, word in sorted(mine.items(), key=lambda one: one[1].said_at):
        if word.voice is not Voice.HR:
            continue
        counts = word.kind is StatementKind.REHIRES or over[word_id] > now or (word.kind is StatementKind.STARTS and _from(word, now=now) == now)
        place = placed.get(word_id, behind if counts else None)
        if place is not None:
            kept[word_id] = behind = place if behind is None else max(place, behind)
    return kept


def _over_at(word: Said, mine: Collection[Said], others: Collection[Said], *, now: datetime) -> datetime:
    """When a word takes access no longer: `now` where that has come already, or it never did, or NEVER."""
    if word.kind in COMEBACKS:
        return now
    ends = [_from(later, now=now) for later in mine if _ends(later, word)]
    # HR speaks of people through all of their engagements: a later one of the other ends an earlier leaving.
    ends += [_from(later, now=now) for later in (*mine, *others) if later.said_at > word.said_at and _engages(later, word)]
    if word.kind is StatementKind.STARTS:
        ends.append(_from(word, now=now))
        ends += [now for later in mine if later.said_at > word.said_at and _replaces(later, word)]
        ends += [_from(later, now=now) for later in mine if later.said_at > word.said_at and _lets_go(later, word)]
    ends += [now for later in mine if later.said_at > word.said_at and _puts_off(later, word, now=now)]
    return min(ends, default=NEVER)


def _threatens(later: Said, word: Said, *, over: datetime, now: datetime) -> bool:
    """Whether a word about the other, which is `over` then, would take this one back, or may: one that is to come has yet to find its place."""
    last = replace(later, said_at=NEVER) if _from(later, now=now) > now else later
    put_off = _puts_off(later, word, now=now) and (later.effective_at > word.effective_at or over <= word.effective_at)
    return put_off or _ends(last, word) or (word.kind is StatementKind.STARTS and last.said_at > word.said_at and _replaces(last, word))


def _from(word: Said, *, now: datetime) -> datetime:
    """From when on it takes effect, `now` where it does already."""
    return now if word.effective_at <= max(now, word.heard_at) else word.effective_at


def _ends(later: Said, word: Said) -> bool:
    """Whether what was said of the same one takes an earlier word back once it is due."""
    if word.kind is StatementKind.STARTS:
        return later.said_at > word.said_at and later.kind is StatementKind.STARTS and later.voice is Voice.OPERATOR
    by_hr = later.voice is Voice.HR and word.voice is Voice.HR
    if by_hr and "" not in (later.engagement, word.engagement) and later.engagement != word.engagement:
        return False
    return later.kind in COMEBACKS and takes_back(later, word)


def _engages(later: Said, word: Said) -> bool:
    """Whether HR engages somebody anew whom it has let go."""
    if later.voice is not Voice.HR or word.voice is not Voice.HR:
        return False
    if later.kind is StatementKind.STARTS:
        return word.kind is not StatementKind.STARTS and word.engagement == "" != later.engagement
    return later.kind is StatementKind.REHIRES


def _lets_go(later: Said, word: Said) -> bool:
    """Whether HR ends an engagement that has yet to begin: then that keeps them out, and no longer that it has yet to begin."""
    ends = later.voice is Voice.HR and later.kind is not StatementKind.STARTS and later.kind not in COMEBACKS
    return ends and word.voice is Voice.HR and later.engagement in (word.engagement, "")


def _puts_off(later: Said, word: Said, *, now: datetime) -> bool:
    """Whether HR names another day for the same, which has yet to come."""
    takes = word.kind is not StatementKind.STARTS and word.kind not in COMEBACKS and later.kind is word.kind
    return takes and later.voice is word.voice is Voice.HR and later.engagement in (word.engagement, "") and _from(word, now=now) > now


def _nearness(word: Said, *, now: datetime) -> timedelta:
    """By which HR's days to come are in order, the furthest first; all else is before them."""
    to_come = word.voice is Voice.HR and word.kind is not StatementKind.STARTS and _from(word, now=now) > now
    return NEVER - word.effective_at if to_come else timedelta()


def _replaces(later: Said, word: Said) -> bool:
    """Whether the same voice named another first day."""
    return (
        later.kind is StatementKind.STARTS and later.voice is word.voice and (later.voice is not Voice.HR or later.engagement in (word.engagement, ""))
    )
