"""The brake on pushes: the first so many *offs* of a source take effect at once, the excess is stored and its effect held."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session

from app.actors import Actor, ActorKind
from app.database import Instant, new_id, same_document
from app.directory.settings import parse_push_brake, value_of
from app.directory.tables import Source
from app.journal import entries
from app.journal.tables import Organization
from app.journal.work import insert_for
from app.lifecycle.errors import WorldMoved
from app.lifecycle.tables import Held, HeldLine, HeldState, PushedOff
from app.statements import param

# Asked for each *off* that is pushed, so they are built once.
_OF_SOURCE: Final = (PushedOff.organization_id == param("organization"), PushedOff.source_id == param("source"))
_LATELY: Final = select(func.count()).select_from(PushedOff).where(*_OF_SOURCE, PushedOff.at > param("since", Instant()))
_SOURCE: Final = (Source.organization_id == param("organization"), Source.id == param("source"))
_SEEN: Final = select(_LATELY.scalar_subquery(), Source.expected_departures, Source.expected_until).where(*_SOURCE)
_LOCKED: Final = select(Source).where(*_SOURCE).with_for_update().execution_options(populate_existing=True)
_FORGOTTEN: Final = delete(PushedOff).where(*_OF_SOURCE, PushedOff.at <= param("since", Instant()))
# Locked against whoever closes it, and not against others who add to it: a line must not go into what is being closed just now.
_BURST: Final = (
    select(Held)
    .where(
        Held.organization_id == param("organization"), Held.kind == "pushes", Held.source_id == param("source"), Held.state == HeldState.OPEN
    )
    .with_for_update(read=True)
    .execution_options(populate_existing=True)
)


def lets_through(session: Session, organization_id: str, source_id: str, subject_id: str, *, at: datetime) -> bool:
    """Whether this *off* takes effect now. Counts it when it does.

    The source's row is locked, so that two web processes cannot both let the last one through. In the middle of a burst, where
    nothing is left that could let one through, none waits there for another.
    """
    brake = parse_push_brake(value_of(session, organization_id, "push_brake"))
    if brake is None:
        return True
    given = {"organization": organization_id, "source": source_id, "since": at - brake.within}
    passed, *expected = session.execute(_SEEN, given).one()
    if passed >= brake.most and not _announced(*expected, at=at):
        return False
    source = _locked(session, organization_id, source_id)
    connection = session.connection()
    connection.execute(_FORGOTTEN, given)
    count = connection.scalar(_LATELY, given) or 0
    announced = _announced(source.expected_departures, source.expected_until, at=at)
    if count < brake.most:
        key = {"organization_id": organization_id, "source_id": source_id, "subject_id": subject_id}
        connection.execute(_put(PushedOff, tuple(key), connection.dialect.name), key | {"at": at})
        return True
    if announced > 0:
        # An announced layoff uses up its own allowance, and only once the ordinary one is used up.
        source.expected_departures = announced - 1
        source.journal_id = _journal_of_announcement(session, source, at=at)
        return True
    return False


def _announced(departures: int, until: datetime | None, *, at: datetime) -> int:
    return departures if until is not None and until > at else 0


def _locked(session: Session, organization_id: str, source_id: str) -> Source:
    return session.scalars(_LOCKED, {"organization": organization_id, "source": source_id}).one()


@cache
def _put(table: type[PushedOff] | type[HeldLine], key: tuple[str, ...], dialect: str) -> Any:
    """A row, or what it says now."""
    row = insert_for(dialect)(table)
    others = [column.key for column in table.__table__.columns if column.key not in key]
    return row.on_conflict_do_update(index_elements=key, set_={name: row.excluded[name] for name in others})


def _journal_of_announcement(session: Session, source: Source, *, at: datetime) -> int:
    return entries.write(
        session, source.organization_id, at=at, actor=Actor(kind=ActorKind.SOURCE, name=source.name), verb="used announced departure",
        because="past the push brake, but announced", subject_kind="source", subject_id=source.id, after={"left": source.expected_departures},
    )  # fmt: skip


def hold(
    session: Session,
    organization_id: str,
    *,
    source_id: str,
    subject_kind: str,
    subject_id: str,
    person_id: str,
    version: str,
    at: datetime,
) -> None:
    """Put one *off* into the open burst of its source."""
    of_source = {"organization": organization_id, "source": source_id}
    held = session.scalar(_BURST, of_source)
    if held is None:
        # Two who both find none must not begin two.
        source = _locked(session, organization_id, source_id)
        held = session.scalar(_BURST, of_source)
        if held is None:
            limit = value_of(session, organization_id, "push_brake")
            held = Held(
                organization_id=organization_id, id=new_id(), kind="pushes", source_id=source_id, state=HeldState.OPEN, created_at=at,
                reason=f"{source.name} took access from more people than push_brake = {limit} allows; the excess waits",
            )  # fmt: skip
            session.add(held)
    key = {"organization_id": organization_id, "held_id": held.id, "subject_kind": subject_kind, "subject_id": subject_id}
    said = {"version": version, "becomes": "off", "person_id": person_id, "state": HeldState.OPEN, "created_at": at}
    connection = session.connection()
    connection.execute(_put(HeldLine, tuple(key), connection.dialect.name), key | said)


def hold_whole(
    session: Session, organization_id: str, *, kind: str, about: str, payload: Mapping[str, Any], reason: str, actor: Actor, at: datetime
) -> Held:
    """Hold rules or a plan, which are let through as a whole; `about` is the member of the payload that says of what they are.

    The same once more is what waits already. Another of the same thing takes its place: what was seen before stands for nothing any more.
    """
    # Two who both find none must not begin two.
    session.execute(select(Organization.id).where(Organization.id == organization_id).with_for_update())
    said = json.loads(json.dumps(payload))
    open_ones = select(Held).where(Held.organization_id == organization_id, Held.kind == kind, Held.state == HeldState.OPEN)
    found = session.scalars(open_ones.order_by(Held.created_at, Held.id).with_for_update().execution_options(populate_existing=True)).all()
    for one in found:
        if same_document(one.payload, said):
            return one
    for one in found:
        if same_document((one.payload or {}).get(about), said[about]):
            one.state, one.decided_at, one.decided_by = HeldState.WITHDRAWN, at, f"{actor}, by another in its place"
            _journal_of_whole(session, one, f"{kind} withdrawn", because=f"another takes its place: {reason}", actor=actor, at=at)
    held = Held(
        organization_id=organization_id, id=new_id(), kind=kind, source_id=None, reason=reason, state=HeldState.OPEN, created_at=at, payload=said
    )
    session.add(held)
    session.flush()
    _journal_of_whole(session, held, f"{kind} held", because=reason, actor=actor, at=at)
    return held


def withdraw_whole(session: Session, organization_id: str, *, kind: str, about: str, value: str, because: str, actor: Actor, at: datetime) -> None:
    """What waits of this thing has nothing any more that it could be done to; `about` is the member of the payload that says of what it is."""
    open_ones = select(Held).where(Held.organization_id == organization_id, Held.kind == kind, Held.state == HeldState.OPEN)
    for one in session.scalars(open_ones.order_by(Held.created_at, Held.id).with_for_update().execution_options(populate_existing=True)).all():
        if (one.payload or {}).get(about) == value:
            one.state, one.decided_at, one.decided_by = HeldState.WITHDRAWN, at, str(actor)
            _journal_of_whole(session, one, f"{kind} withdrawn", because=because, actor=actor, at=at)


def withdraw_source(session: Session, organization_id: str, source_id: str, *, because: str, actor: Actor, at: datetime) -> None:
    """Nothing waits any more of what this source said."""
    open_ones = select(Held).where(Held.organization_id == organization_id, Held.source_id == source_id, Held.state == HeldState.OPEN)
    for one in session.scalars(open_ones.order_by(Held.created_at, Held.id).with_for_update().execution_options(populate_existing=True)).all():
        session.execute(
            update(HeldLine)
            .where(HeldLine.organization_id == organization_id, HeldLine.held_id == one.id, HeldLine.state == HeldState.OPEN)
            .values(state=HeldState.WITHDRAWN),
            execution_options={"synchronize_session": False},
        )
        one.state, one.decided_at, one.decided_by = HeldState.WITHDRAWN, at, str(actor)
        _journal_of_whole(session, one, f"{one.kind} withdrawn", because=because, actor=actor, at=at)


def _journal_of_whole(session: Session, held: Held, verb: str, *, because: str, actor: Actor, at: datetime) -> None:
    entries.write(session, held.organization_id, at=at, actor=actor, verb=verb, because=because, subject_kind="held", subject_id=held.id)


def lock_open(session: Session, held: Held) -> None:
    """Keep others from deciding it meanwhile. Raises WorldMoved where it waits no more."""
    session.refresh(held, with_for_update=True)
    if held.state != HeldState.OPEN:
        raise WorldMoved("it was decided, or taken back, meanwhile: see 'held list'")


def lines_of(session: Session, held: Held) -> list[HeldLine]:
    """The lines that still wait, in byte order."""
    return list(session.scalars(_waiting_lines(held)))


def _waiting_lines(held: Held) -> Select[HeldLine]:
    return (
        select(HeldLine)
        .where(HeldLine.organization_id == held.organization_id, HeldLine.held_id == held.id, HeldLine.state == HeldState.OPEN)
        .order_by(HeldLine.subject_kind, HeldLine.subject_id)
    )


def digest_of(held: Held, lines: Iterable[HeldLine]) -> str:
    """SHA-256 over the sorted lines (subject, version, what it becomes): what was seen is what is approved."""
    rows = sorted(f"{line.subject_kind}\t{line.subject_id}\t{line.version}\t{line.becomes}" for line in lines)
    return hashlib.sha256("\n".join([held.id, *rows]).encode()).hexdigest()[:16]


def find(session: Session, organization_id: str, digest: str) -> tuple[Held, list[HeldLine]]:
    """The open held thing with that digest. Raises WorldMoved: what was seen is no longer what waits."""
    for held, lines in waiting(session, organization_id):
        if digest_of(held, lines) == digest:
            return held, lines
    raise WorldMoved(f"nothing with digest {digest} is held; it was decided, or changed since you looked: see 'held list'")


def find_to_decide(session: Session, organization_id: str, digest: str) -> tuple[Held, list[HeldLine]]:
    """The same, once whoever decides it, or brings it up to date, is done; others wait for this one. Raises WorldMoved.

    A burst is not for this: who adds to it holds people already, for whom one who lets others through would wait.
    """
    held, _ = find(session, organization_id, digest)
    session.refresh(held, with_for_update=True)
    session.expire_all()
    return find(session, organization_id, digest)


def waiting(session: Session, organization_id: str) -> list[tuple[Held, list[HeldLine]]]:
    """Everything that is held, oldest first."""
    rows = session.scalars(
        select(Held).where(Held.organization_id == organization_id, Held.state == HeldState.OPEN).order_by(Held.created_at)
    ).all()
    return [(held, lines_of(session, held)) for held in rows]


def close_lines(session: Session, held: Held, lines: Sequence[HeldLine], *, state: HeldState, by: str, at: datetime) -> None:
    """Mark lines as decided, and the whole as decided once no line waits. Raises WorldMoved where one waits no more as it was seen."""
    _refuse_moved(session, held, lines)
    for line in lines:
        line.state = state
    session.flush()
    if held.kind != "pushes" or not _lines_left(session, held):
        held.state, held.decided_at, held.decided_by = state, at, by


def _refuse_moved(session: Session, held: Held, lines: Sequence[HeldLine]) -> None:
    """Whoever decides the same, or takes it back, at this moment is waited for."""
    seen = {(line.subject_kind, line.subject_id): line.version for line in lines}
    there = session.scalars(_waiting_lines(held).with_for_update().execution_options(populate_existing=True)) if seen else ()
    still = {(line.subject_kind, line.subject_id): line.version for line in there}
    if any(still.get(subject) != version for subject, version in seen.items()):
        raise WorldMoved("it was decided, or taken back, meanwhile: see 'held list'")


def _lines_left(session: Session, held: Held) -> bool:
    """Whether a line still waits, also one that another process has only just added."""
    session.execute(select(Held.id).where(Held.organization_id == held.organization_id, Held.id == held.id).with_for_update())
    left = select(HeldLine.subject_id).where(
        HeldLine.organization_id == held.organization_id, HeldLine.held_id == held.id, HeldLine.state == HeldState.OPEN
    )
    return session.scalar(left.limit(1)) is not None


def withdraw(session: Session, organization_id: str, subject_id: str) -> None:
    """The source took its *off* back: the line waits no more."""
    held_ids = session.scalars(
        update(HeldLine)
        .where(HeldLine.organization_id == organization_id, HeldLine.subject_id == subject_id, HeldLine.state == HeldState.OPEN)
        .values(state=HeldState.WITHDRAWN)
        .returning(HeldLine.held_id)
    ).all()
    for held_id in set(held_ids):
        held = session.get_one(Held, (organization_id, held_id))
        if not _lines_left(session, held):
            held.state = HeldState.WITHDRAWN
