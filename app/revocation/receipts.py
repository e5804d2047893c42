"""What a receipt tells: who left, which event said so, every instant in every place, what was closed, and what is still open.

Doorlist itself is one of the places. Nothing is counted here: what was closed is what each proof wrote down when it was known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.known_workspaces import Known, known_workspaces
from app.access.session_tables import RelyingParty
from app.audit import checkpoints, sequencer
from app.audit.leaves import KINDS, opened, read_leaf
from app.audit.stored import StoredTree
from app.audit.tree import inclusion_proof
from app.audit.tree_tables import AuditLeaf
from app.clock import iso
from app.directory.tables import Person
from app.journal.tables import HERE, Entry
from app.revocation import streams
from app.revocation.erasure_tables import Erasure
from app.revocation.tables import Departure, Proof


@dataclass(frozen=True, kw_only=True)
class SourceEvent:
    """The message that a departure goes back to, as its door kept it. `sha256` is of its bytes as they came."""

    source: str
    event_id: str
    received_at: datetime
    sha256: str


REINSTATED: Final = "reinstated"
"""The verb of the entry that says that somebody was closed by mistake, and that ends their departure in the same transaction."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """A departure with what is known of it in each place, by the place's name and kind; and the entry that undid it as a mistake.

    `erased` has, by the place's id, where what they wrote was erased.
    """

    departure: Departure
    targets: Sequence[tuple[Proof, str, str]]
    reinstated: Entry | None = None
    erased: Mapping[str, Erasure] = field(default_factory=dict)


def departures_of(session: Session, organization_id: str, person_id: str, *, formers: Mapping[str, datetime] | None = None) -> list[Told]:
    """Every departure of a person, newest first; Doorlist itself first among its places, then by name.

    `formers` are those who became one with them, and when: their departures of before are the person's as well. From then on it is
    the person who is in or out.
    """
    formers = formers or {}
    ids = [person_id, *formers]
    found = [
        departure if departure.person_id == person_id else _over(session, departure, formers[departure.person_id])
        for departure in session.scalars(
            select(Departure)
            .where(Departure.organization_id == organization_id, Departure.person_id.in_(ids))
            .order_by(Departure.decided_at.desc(), Departure.id.desc())
        ).all()
        if departure.person_id == person_id or departure.decided_at < formers[departure.person_id]
    ]
    mistakes = session.scalars(
        select(Entry).where(Entry.organization_id == organization_id, Entry.subject_id.in_(ids), Entry.verb == REINSTATED)
    )
    undone = {entry.at: entry for entry in mistakes}
    erased: dict[str, dict[str, Erasure]] = {}
    for row in session.scalars(
        select(Erasure).where(Erasure.organization_id == organization_id, Erasure.person_id.in_(ids), Erasure.erased_at.is_not(None))
    ):
        erased.setdefault(row.departure_id, {})[row.workspace_id] = row
    workspaces = known_workspaces(session, organization_id)
    return [
        Told(
            departure=one, targets=_targets(session, one, workspaces), reinstated=None if one.ended_at is None else undone.get(one.ended_at),
            erased=erased.get(one.id, {}),
        )
        for one in found
    ]  # fmt: skip


def _over(session: Session, departure: Departure, at: datetime) -> Departure:
    """A departure of somebody who became another then, as it is told; what is stored stays as it is."""
    session.expunge(departure)
    departure.ended_at = min(departure.ended_at or at, at)
    return departure


def _targets(session: Session, departure: Departure, workspaces: Mapping[str, Known]) -> list[tuple[Proof, str, str]]:
    rows = session.execute(
        select(Proof, RelyingParty.name)
        .outerjoin(RelyingParty, (RelyingParty.organization_id == Proof.organization_id) & (RelyingParty.id == Proof.workspace_id))
        .where(Proof.organization_id == departure.organization_id, Proof.departure_id == departure.id)
    ).all()
    followers = streams.names_of(session, departure.organization_id)
    named = [_named(proof, workspaces.get(proof.workspace_id), party, followers.get(proof.workspace_id)) for proof, party in rows]
    return sorted(named, key=lambda one: (one[2] != "doorlist", one[1]))


def _named(proof: Proof, workspace: Known | None, party: str | None, follower: str | None) -> tuple[Proof, str, str]:
    if proof.workspace_id == HERE:
        return proof, HERE, "doorlist"
    if workspace is not None:
        return proof, workspace.name, "workspace"
    return (proof, party, "relying party") if party is not None else (proof, follower or proof.workspace_id, "signal stream")


def closed_by_kind(closed: Mapping[str, Any] | None) -> dict[str, int]:
    """How many of each kind were closed: what was counted, and what was listed by its ids."""
    return {
        kind: len(what) if isinstance(what, list | tuple) else int(what)
        for kind, what in sorted((closed or {}).items())
        if isinstance(what, list | tuple | int)
    }  # fmt: skip


def still_open(told: Told) -> list[str]:
    """What is not proved yet, in words. Somebody who came back leaves nothing open."""
    if told.departure.ended_at is not None:
        return []
    said = []
    for proof, name, _ in told.targets:
        if proof.shut_at is None:
            said.append(f"{name}: not shut yet" + (f" ({proof.last_error})" if proof.last_error else ""))
        elif proof.gone_at is None:
            said.append(f"{name}: memberships are left")
    return said


def compose(
    session: Session, organization: tuple[str, str], person: Person, *, events: Mapping[str, SourceEvent], at: datetime,
    moves: Sequence[Mapping[str, Any]] = (), formers: Mapping[str, datetime] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The receipt of one person, all departures of theirs, as it stands now. `events` are found by the departure's id.

    `moves` are told by whoever knows of channels, `formers` by whoever knows who became one with whom.
    """
    found = departures_of(session, organization[0], person.id, formers=formers)
    return {
        "schema": "doorlist.receipt/1",
        "organization": {"id": organization[0], "name": organization[1]},
        "person": {
            "id": person.id, "userName": person.user_name, "displayName": person.display_name, "employeeNumber": person.employee_number,
            "standing": person.standing, "reason": person.standing_reason,
        },
        "made": iso(at),
        "departures": [_departure(session, one, events.get(one.departure.id)) for one in found],
        "moves": list(moves),
    }  # fmt: skip


def _departure(session: Session, told: Told, event: SourceEvent | None) -> dict[str, Any]:
    one = told.departure
    entry = session.get_one(Entry, one.journal_id)
    return {
        "id": one.id, "means": one.means, "reason": one.reason, "actor": one.actor,
        "due": iso(one.due_at), "received": iso(one.received_at), "decided": iso(one.decided_at), "returned": iso(one.ended_at),
        "event": None if event is None else {
            "source": event.source, "id": event.event_id, "received": iso(event.received_at), "sha256": event.sha256,
        },
        "entry": {"number": entry.id, "at": iso(entry.at), "verb": entry.verb, "because": entry.because},
        "targets": [_target(told, *target) for target in told.targets],
        "reinstated": reinstatement(told),
        "open": still_open(told),
        "audit": audit_proof(session, entry),
    }  # fmt: skip


def reinstatement(told: Told) -> dict[str, Any] | None:
    """Who said that a departure was a mistake, when and why; None of every other return."""
    one = told.reinstated
    return None if one is None else {"at": iso(one.at), "by": one.actor, "reason": one.because, "entry": one.id}


def _target(told: Told, proof: Proof, name: str, kind: str) -> dict[str, Any]:
    departure, erased = told.departure, told.erased.get(proof.workspace_id)
    return {
        "place": name, "kind": kind, "sent": iso(proof.sent_at), "acknowledged": iso(proof.acknowledged_at),
        "shut": iso(proof.shut_at), "shut_known": proof.shut_grade, "gone": iso(proof.gone_at), "gone_known": proof.gone_grade,
        "ms_from_received_to_shut": _milliseconds(departure.received_at, proof.shut_at),
        "ms_from_due_to_shut": _milliseconds(departure.due_at, proof.shut_at),
        "ms_from_received_to_gone": _milliseconds(departure.received_at, proof.gone_at),
        "ms_from_due_to_gone": _milliseconds(departure.due_at, proof.gone_at),
        "closed": closed_by_kind(proof.closed), "attempts": proof.attempts, "last_error": proof.last_error,
        "erased": None if erased is None else iso(erased.erased_at), "erased_known": None if erased is None else erased.grade,
    }  # fmt: skip


def _milliseconds(start: datetime, end: datetime | None) -> int | None:
    return None if end is None else round((end - start).total_seconds() * 1000)


def audit_proof(session: Session, entry: Entry) -> dict[str, Any] | None:
    """That an entry is in the signed tree: its leaf, and the way from there to a checkpoint. None until it was signed."""
    number = sequencer.leaf_number(session, entry.organization_id, kind="journal", source_id=entry.id)
    signed = checkpoints.latest(session, entry.organization_id)
    if number is None or signed is None or number >= signed.size:
        return None
    leaf = session.get_one(AuditLeaf, (entry.organization_id, number))
    said: dict[str, Any] = {
        "leaf": number, "checkpoint": signed.note, "text": leaf.leaf, "opened": {},
        "proof": [one.hex() for one in inclusion_proof(number, signed.size, StoredTree(session, entry.organization_id))],
    }  # fmt: skip
    if leaf.salt is not None:
        row = {name: getattr(entry, name) for name in KINDS["journal"].hidden}
        shown = opened(KINDS["journal"], read_leaf(leaf.leaf), row, salt=leaf.salt)
        # Who did it and why; what stood in the row before and after is for the audit's own export.
        said["opened"] = {name: {"key": shown[name].key, "value": shown[name].value} for name in ("actor", "because") if name in shown}
    return said
