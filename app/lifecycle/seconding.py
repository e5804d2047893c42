"""Two administrators: where the organisation asks for it, what is held is let through by a second one who has seen the same."""

import hashlib
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.tables import Operator
from app.actors import Actor, ActorKind
from app.directory.settings import approvals, value_of
from app.journal import entries
from app.lifecycle import brake
from app.lifecycle.errors import ActsNoMore
from app.lifecycle.tables import Held, HeldState


def is_enough(session: Session, held: Held, *, seen: str, actor: Actor, at: datetime) -> bool:
    """Whether what is held may be let through now, with this administrator's word for what they have `seen`.

    Else theirs is kept as the first, and somebody else has to say the same of the same: a digest, without blanks. Whoever says it
    twice is still one. Raises WorldMoved where it waits no more, and ActsNoMore.
    """
    _refuse_ended(session, held.organization_id, actor)
    if approvals(value_of(session, held.organization_id, "approvals")) < 2:
        return True
    # Of two who say it at once, the second sees what the first has said.
    brake.lock_open(session, held)
    first = first_of(held, seen=seen)
    if first is not None:
        return first != str(actor)
    held.seconded_by = f"{seen} {actor}"
    entries.write(
        session, held.organization_id, at=at, actor=actor, verb="approved as the first of two", because=f"held: {held.reason}",
        subject_kind="held", subject_id=held.id, after={"seen": seen},
    )  # fmt: skip
    session.flush()
    return False


def _refuse_ended(session: Session, organization_id: str, actor: Actor) -> None:
    """What is held may have to be read again first, for minutes: who was ended as an operator meanwhile lets nothing through."""
    if actor.kind is not ActorKind.OPERATOR:
        return
    # Locked, so that whoever ends them just now sees what is said here, and takes it back.
    named = select(Operator.ended_at).where(Operator.organization_id == organization_id, Operator.name == actor.name)
    if session.scalar(named.with_for_update(read=True)) is not None:
        raise ActsNoMore(actor.name)


def take_back(session: Session, organization_id: str, approver: Actor) -> list[str]:
    """What somebody who is no administrator any more has approved as the first of two waits for two again; its ids."""
    open_ones = select(Held).where(Held.organization_id == organization_id, Held.state == HeldState.OPEN, Held.seconded_by.is_not(None))
    taken_back: list[str] = []
    for held in session.scalars(open_ones.order_by(Held.id).with_for_update().execution_options(populate_existing=True)):
        if _who(held) == str(approver):
            held.seconded_by = None
            taken_back.append(held.id)
    session.flush()
    return taken_back


def part_of(digest: str, people: Collection[str]) -> str:
    """What somebody has seen who lets only these people through, by their ids."""
    return f"{digest}/{hashlib.sha256(' '.join(sorted(people)).encode()).hexdigest()[:16]}"


def first_of(held: Held, *, seen: str) -> str | None:
    """Who has approved exactly this as the first of two."""
    return _who(held) if (held.seconded_by or "").partition(" ")[0] == seen else None


def _who(held: Held) -> str | None:
    return (held.seconded_by or "").partition(" ")[2] or None
