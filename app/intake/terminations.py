"""Terminations against removals for a period: everybody whom a voice had leave, with every place they were shut out of, and how that is known.

It is tied to what HR says: each call that names a day of the period is found in it again, also where nobody was meant by it or
nothing was to be taken. Reads tables only, a few hundred people at a time.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.known_workspaces import known_workspaces
from app.access.session_tables import RelyingParty
from app.access.tables import RESERVED, Account
from app.clock import iso
from app.directory.settings import off_means
from app.directory.tables import Person, Record, Source, Standing, Statement, Voice
from app.intake.termination_calls import Candidate, Gathered, gather
from app.intake.termination_words import (
    LEAVING,
    POPULATION,
    Call,
    Departed,
    HeldOff,
    Leaver,
    Outcome,
    Period,
    Termination,
    Word,
    terminations_of,
    voice_of,
)
from app.journal.tables import HERE
from app.lifecycle.standing import COMEBACKS
from app.lifecycle.tables import Held, HeldLine, HeldState
from app.revocation import streams
from app.revocation.receipts import closed_by_kind
from app.revocation.tables import Departure, Proof

Line = Mapping[str, object]
_DEPARTED: Final = [getattr(Departure, one.name) for one in fields(Departed)]


@dataclass(kw_only=True)
class Totals:
    """How many terminations there are of each outcome, and what became of HR's calls for the period. Complete once every line was taken."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    voices: Counter[str] = field(default_factory=Counter)
    people: int = 0
    calls: int = 0
    matched: int = 0
    superseded: int = 0
    called_off: int = 0
    parked: int = 0
    slowest: float | None = None

    @property
    def population(self) -> int:
        return sum(self.outcomes[one] for one in POPULATION)

    @property
    def adds_up(self) -> bool:
        """Whether every call that HR made for the period is in the report, and none twice."""
        return self.calls == self.matched + self.superseded + self.called_off + self.parked


@dataclass(frozen=True, kw_only=True)
class _Names:
    """How sources and places are called, by their ids."""

    sources: Mapping[str, str]
    places: Mapping[str, tuple[str, str]]
    off_means: Standing


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is stored of some people, by their ids; proofs by departure."""

    people: Mapping[str, Person]
    departures: Mapping[str, Sequence[Departed]]
    proofs: Mapping[str, Sequence[Proof]]
    statements: Mapping[str, Sequence[Statement]]
    held: Mapping[str, Sequence[HeldOff]]
    endings: Mapping[str, Word]
    accounts: Mapping[tuple[str, str], str]


def report(session: Session, organization_id: str, period: Period, totals: Totals, *, at: datetime) -> Iterator[Line]:
    """The lines, those first whose day comes first: one for each place of a termination, or one where nobody was shut out.

    `totals` is filled on the way. What is said for later than `at` stands beside the population.
    """
    names = _names(session, organization_id)
    gathered, totals.calls = gather(session, organization_id, period)
    with closing(gathered):
        for batch in gathered.batches():
            yield from _of_people(session, organization_id, batch, gathered, names, period, totals, at=at)
        for call in gathered.nobodys(understood=True):
            totals.outcomes[Outcome.PARKED] += 1
            totals.parked += 1
            yield _nobodys(call, Outcome.PARKED)
        for call in gathered.nobodys(understood=False):
            totals.outcomes[Outcome.UNREAD] += 1
            yield _nobodys(call, Outcome.UNREAD)


def _of_people(
    session: Session, organization_id: str, batch: Sequence[Candidate], gathered: Gathered, names: _Names, period: Period, totals: Totals, *,
    at: datetime,
) -> Iterator[Line]:  # fmt: skip
    ids = [one.person_id for one in batch]
    known = _known(session, organization_id, ids, gathered.merged_into(ids), names)
    calls = gathered.calls_of(ids)
    for one in batch:
        person = known.people.get(one.person_id)
        if person is None:
            continue
        leaver = Leaver(
            person_id=person.id, standing=person.standing, standing_reason=person.standing_reason,
            departures=_own(known.departures.get(person.id, ()), one),
            statements=known.statements.get(person.id, ()), calls=calls.get(person.id, ()), held=known.held.get(person.id, ()),
            ending=known.endings.get(person.id), merged_at=one.merged_at, merged_into=one.merged_into,
        )  # fmt: skip
        told = terminations_of(leaver, period, at=at)
        totals.matched += told.matched
        totals.superseded += told.superseded
        totals.called_off += told.called_off
        counted = False
        for termination in told.terminations:
            lines = list(_lines(person, termination, known, names))
            outcome = termination.outcome or _outcome(termination, lines)
            totals.outcomes[outcome] += 1
            if outcome in POPULATION:
                counted = True
                totals.voices[_voice(termination)] += 1
            for line in lines:
                if outcome is Outcome.REMOVED and isinstance(took := line["s_to_gone"], float):
                    totals.slowest = max(took, totals.slowest or 0.0)
                yield {**line, "outcome": outcome.value}
        totals.people += counted
    session.expunge_all()


def _own(departures: Sequence[Departed], one: Candidate) -> Sequence[Departed]:
    """Of whoever turned out to be somebody else, only what came of that: what was before is in the other's history."""
    return departures if one.merged_at is None else [departure for departure in departures if departure.decided_at >= one.merged_at]


def _names(session: Session, organization_id: str) -> _Names:
    mine = {"organization_id": organization_id}
    places = {HERE: (HERE, "doorlist")}
    places |= {id: (one.name, "workspace") for id, one in known_workspaces(session, organization_id).items()}
    places |= {one: (name, "relying party") for one, name in session.execute(select(RelyingParty.id, RelyingParty.name).filter_by(**mine))}
    places |= {one: (name, "signal stream") for one, name in streams.names_of(session, organization_id).items()}
    return _Names(
        sources={one: name for one, name in session.execute(select(Source.id, Source.name).filter_by(**mine))}, places=places,
        off_means=off_means(session, organization_id),
    )  # fmt: skip


def _known(
    session: Session, organization_id: str, ids: Sequence[str], merged: Mapping[str, tuple[str, datetime]], names: _Names
) -> _Known:
    people = {one.id: one for one in session.scalars(select(Person).where(Person.organization_id == organization_id, Person.id.in_(ids)))}
    theirs = [*ids, *merged]
    departures: dict[str, list[Departed]] = {}
    for row in session.execute(select(*_DEPARTED).where(Departure.organization_id == organization_id, Departure.person_id.in_(theirs))):
        one = Departed(**row._mapping)
        departures.setdefault(one.person_id, []).append(one)
        if one.person_id in merged and one.decided_at < merged[one.person_id][1]:
            now, merged_at = merged[one.person_id]
            # From then on it is the other who is in or out.
            departures.setdefault(now, []).append(replace(one, ended_at=min(one.ended_at or merged_at, merged_at)))
    mine = select(Departure.id).where(Departure.organization_id == organization_id, Departure.person_id.in_(theirs))
    proofs: dict[str, list[Proof]] = {}
    for proof in session.scalars(select(Proof).where(Proof.organization_id == organization_id, Proof.departure_id.in_(mine))):
        proofs.setdefault(proof.departure_id, []).append(proof)
    statements: dict[str, list[Statement]] = {}
    said = select(Statement).where(
        Statement.organization_id == organization_id, Statement.person_id.in_(ids), Statement.kind.in_((*LEAVING, *COMEBACKS))
    )
    for statement in session.scalars(said.order_by(Statement.said_at, Statement.id)):
        statements.setdefault(statement.person_id, []).append(statement)
    accounts = select(Account.person_id, Account.workspace_id, Account.account_id).where(
        Account.organization_id == organization_id, Account.person_id.in_(theirs), Account.state != RESERVED
    )
    return _Known(
        people=people, departures=departures, proofs=proofs, statements=statements, held=_held(session, organization_id, ids, names),
        endings=_endings(session, organization_id, ids, names),
        accounts={(person_id, workspace_id): account_id for person_id, workspace_id, account_id in session.execute(accounts)},
    )  # fmt: skip


def _held(session: Session, organization_id: str, ids: Sequence[str], names: _Names) -> dict[str, list[HeldOff]]:
    """What the brake holds, or held until it was rejected; of directories, where *off* means that somebody left."""
    rows = session.execute(
        select(HeldLine, Held, Record.off_means)
        .join(Held, (Held.organization_id == HeldLine.organization_id) & (Held.id == HeldLine.held_id))
        .outerjoin(Record, (Record.organization_id == HeldLine.organization_id) & (Record.id == HeldLine.subject_id))
        .where(
            HeldLine.organization_id == organization_id, HeldLine.person_id.in_(ids), HeldLine.subject_kind.in_(("record", "statement")),
            HeldLine.state.in_((HeldState.OPEN, HeldState.REJECTED)),
        )
        .order_by(HeldLine.created_at)
    )  # fmt: skip
    found: dict[str, list[HeldOff]] = {}
    for line, held, meant in rows:
        of_record = line.subject_kind == "record"
        if line.person_id is None or (of_record and (meant or names.off_means) != Standing.DEPARTED):
            continue
        off = HeldOff(
            subject_id=line.subject_id, of_record=of_record, source=names.sources.get(held.source_id or "", str(held.source_id)), at=line.created_at,
            state=HeldState(line.state), decided_by=held.decided_by,
        )  # fmt: skip
        found.setdefault(line.person_id, []).append(off)
    return found


def _endings(session: Session, organization_id: str, ids: Sequence[str], names: _Names) -> dict[str, Word]:
    """Whose access ends by a directory's last day, where that means that they leave."""
    if names.off_means != Standing.DEPARTED:
        return {}
    rows = session.execute(
        select(Record.person_id, Record.source_id, Record.modified_at, Record.journal_id, Person.access_until)
        .join(Person, (Person.organization_id == Record.organization_id) & (Person.id == Record.person_id))
        .where(
            Record.organization_id == organization_id, Record.person_id.in_(ids), Record.ended_at.is_(None), Record.active, Record.held.is_(False),
            Person.standing == Standing.ACTIVE, Record.ends_at == Person.access_until,
        )
        .order_by(Record.id)
    )  # fmt: skip
    found: dict[str, Word] = {}
    for person_id, source_id, said_at, journal, until in rows:
        if until is None or person_id in found:
            continue
        found[person_id] = Word(
            voice=Voice.DIRECTORY, said_by=names.sources.get(source_id, source_id), said_at=said_at, heard_at=said_at, for_at=until, moment=until,
            journal=journal, stored=False,
        )  # fmt: skip
    return found


# Lines


def _nobodys(call: Call, outcome: Outcome) -> Line:
    why = call.problem or {"awaited": "nobody has this employee number", "dropped": "an operator let it be"}.get(call.state, "it is being looked into")
    return {
        **_EMPTY, "outcome": outcome.value, "employeeNumber": call.employee_id, "voice": "hr", "said_by": call.source, "said_at": iso(call.received_at),
        "due": iso(call.for_at), "received": iso(call.received_at), **_of_call(call), "state": call.state, "why": why,
    }  # fmt: skip


def _lines(person: Person, termination: Termination, known: _Known, names: _Names) -> Iterator[dict[str, object]]:
    head: dict[str, object] = {
        **_EMPTY, "person_id": person.id, "userName": person.user_name, "displayName": person.display_name,
        "employeeNumber": person.employee_number, "voice": _voice(termination) or None, "due": iso(termination.due), "why": termination.why,
        **_of_call(termination.call),
    }  # fmt: skip
    if termination.lead is not None:
        lead = termination.lead
        head |= {"said_by": lead.said_by, "said_at": iso(lead.heard_at), "received": iso(lead.heard_at), "journal": lead.journal}
    if not termination.departures:
        yield head
    for departure in termination.departures:
        said = {
            "said_by": head["said_by"] or departure.actor.partition(":")[2], "said_at": head["said_at"] or iso(departure.received_at),
            "received": iso(departure.received_at), "decided": iso(departure.decided_at), "returned": iso(departure.ended_at),
            "reason": departure.reason, "actor": departure.actor, "departure": departure.id, "journal": departure.journal_id,
        }  # fmt: skip
        # Of one that was opened once more its own day counts, not that of the first.
        due = termination.due if departure is termination.departures[0] else departure.due_at
        for place in _places(departure, due, known, names):
            yield {**head, **said, "due": iso(due), **place, "why": head["why"] or place["why"]}


def _places(departure: Departed, due: datetime, known: _Known, names: _Names) -> list[dict[str, object]]:
    proofs = known.proofs.get(departure.id, [])
    places = [_place(departure, due, proof, known, names) for proof in proofs]
    if not any(proof.workspace_id == HERE for proof in proofs):
        # Access ended here with the commit; that it was tried is what is missing.
        open_here = departure.ended_at is None
        places.append(
            {**_NO_PLACE, "place": HERE, "kind": "doorlist", "state": "open" if open_here else "came back",
             "why": "nothing was tried yet: does a worker run?" if open_here else None}
        )  # fmt: skip
    return sorted(places, key=lambda one: (one["kind"] != "doorlist", one["kind"] != "workspace", str(one["place"])))


def _place(departure: Departed, due: datetime, proof: Proof, known: _Known, names: _Names) -> dict[str, object]:
    name, kind = names.places.get(proof.workspace_id, (proof.workspace_id, "workspace"))
    account = _account(departure, proof, known) if kind == "workspace" else None
    state = "open"
    if proof.gone_at is not None:
        state = "no account" if kind == "workspace" and account is None else "gone"
    elif departure.ended_at is not None:
        state = "came back"
    elif proof.shut_at is not None:
        state = "shut"
    why = {"open": proof.last_error or "not shut yet", "shut": "memberships are left"}.get(state)
    received = departure.received_at
    return {
        "place": name, "kind": kind, "account": account, "state": state, "sent": iso(proof.sent_at), "acknowledged": iso(proof.acknowledged_at),
        "shut": iso(proof.shut_at), "shut_known": proof.shut_grade, "gone": iso(proof.gone_at), "gone_known": proof.gone_grade,
        "s_from_due_to_shut": _seconds(due, proof.shut_at), "s_from_received_to_shut": _seconds(received, proof.shut_at),
        "s_from_due_to_gone": _seconds(due, proof.gone_at), "s_from_received_to_gone": _seconds(received, proof.gone_at),
        "s_to_gone": _seconds(max(due, received), proof.gone_at), "closed": closed_by_kind(proof.closed), "attempts": proof.attempts, "why": why,
    }  # fmt: skip


def _account(departure: Departed, proof: Proof, known: _Known) -> str | None:
    """Which account was shut there. Once it is proved, that is what was written down then: an account may have been made since."""
    closed = (proof.closed or {}).get("accounts")
    if isinstance(closed, list) and closed:
        return ", ".join(str(one) for one in closed)
    return None if proof.gone_at is not None else known.accounts.get((departure.person_id, proof.workspace_id))


def _outcome(termination: Termination, lines: Sequence[Line]) -> Outcome:
    """What the last departure shows in all its places."""
    last = termination.departures[-1]
    mine = [line for line in lines if line["departure"] == last.id]
    if any(line["state"] in ("open", "shut", "came back") for line in mine):
        return Outcome.OPEN if last.ended_at is None else Outcome.RETURNED
    closed_here = any(sum(found.values()) for line in lines if line["kind"] == "doorlist" and isinstance(found := line["closed"], dict))
    held_any = closed_here or any(line["kind"] == "relying party" or line["account"] is not None for line in lines)
    return Outcome.REMOVED if held_any else Outcome.NO_ACCOUNT


def _voice(termination: Termination) -> str:
    if termination.lead is not None:
        return termination.lead.voice.value
    voice = voice_of(termination.departures[0].reason) if termination.departures else None
    return "" if voice is None else voice.value


def _of_call(call: Call | None) -> dict[str, object]:
    if call is None:
        return {}
    return {
        "hr_source": call.source, "hr_event": call.event_id, "hr_sha256": call.sha256, "hr_received": iso(call.received_at),
        "hr_date": iso(call.for_at) if call.dated else None, "hr_last_day": call.last_day,
    }  # fmt: skip


def _seconds(since: datetime, until: datetime | None) -> float | None:
    return None if until is None else round((until - since) / timedelta(seconds=1), 3)


_PLACE: Final = (
    "place", "kind", "account", "state", "sent", "acknowledged", "shut", "shut_known", "gone", "gone_known", "s_from_due_to_shut",
    "s_from_received_to_shut", "s_from_due_to_gone", "s_from_received_to_gone", "s_to_gone", "closed", "attempts", "why",
)  # fmt: skip
_NO_PLACE: Final[dict[str, Any]] = dict.fromkeys(_PLACE)
COLUMNS: Final = (
    "outcome", "person_id", "userName", "displayName", "employeeNumber", "voice", "said_by", "said_at", "due", "received", "decided", "hr_source",
    "hr_event", "hr_sha256", "hr_received", "hr_date", "hr_last_day", *_PLACE, "returned", "reason", "actor", "departure", "journal",
)  # fmt: skip
"""What a line has, in this order."""
_EMPTY: Final[dict[str, Any]] = dict.fromkeys(COLUMNS)
