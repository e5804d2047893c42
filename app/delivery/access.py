"""Delivering the end of access that was given from here: Doorlist's own doors are tried, whoever relies on them is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, ScalarSelect, func, select
from sqlalchemy.orm import Session

from app.access.session_tables import Device, Grant, IssuedToken, RelyingParty, TokenKind, WebSession
from app.access.sessions import Held, lets_in, of_person
from app.access.tables import RESERVED, Account, Workspace
from app.audit import deeds
from app.clock import Clock
from app.database import Instant, in_transaction, reading
from app.delivery.relying_parties import deliver_logout
from app.delivery.signal_streams import deliver_events, want
from app.delivery.workspaces import Targets
from app.directory.tables import Person
from app.journal import work
from app.journal.tables import HERE
from app.journal.work import Claim
from app.revocation import departures, telling
from app.revocation.stream_tables import Stream
from app.revocation.tables import Departure, Grade, Proof
from app.statements import param
from connectors.contract import AccountId, EndsSessions


def deliver_access(taken: Claim, targets: Targets, *, clock: Clock) -> None:
    """Look at what one place still lets a person do. Raises ConnectorError, and NotYet. Here, the claim is closed along with what was seen."""
    if taken.workspace_id == HERE:
        deliver_here([taken], at=clock())
        return
    key = (taken.organization_id, taken.workspace_id)
    with reading() as session:
        party = session.get(RelyingParty, key)
        workspace = session.get(Workspace, key)
        account = session.get(Account, (*key, taken.subject_id))
        stream = session.get(Stream, key)
    if party is not None:
        deliver_logout(taken, party, clock=clock)
    elif stream is not None:
        deliver_events(taken, stream, clock=clock)
    elif workspace is not None and account is not None:
        target = targets.of(*key)
        if isinstance(target, EndsSessions):
            # A reserved id is not known to be this person's, and they may have another account than the one we remember.
            marked = target.find_account(taken.subject_id)
            known = {AccountId(account.account_id)} if account.state != RESERVED else set()
            for account_id in sorted(known | ({marked.id} if marked is not None else set())):
                target.end_sessions(account_id)


def deliver_here(claims: Sequence[Claim], *, at: datetime) -> None:
    """Try what was issued here, write down what was closed, and name everybody who has to be told. The claims are closed along with it."""
    # Looked at before the database's one pen is asked for: there is much to count, and many may have left at once.
    with reading() as session:
        # In the order of people, as whoever writes about several of them, so that none waits for the other.
        looked_at = [(taken, _look(session, taken, at=at)) for taken in sorted(claims, key=lambda taken: taken.subject_id)]

    def act(session: Session) -> None:
        for taken, seen in looked_at:
            telling.tell_parties(session, taken.organization_id, taken.subject_id, because=None, at=at, lane=taken.lane)
            want(session, taken.organization_id, taken.subject_id, lane=taken.lane, at=at)
            departure = departures.current(session, taken.organization_id, taken.subject_id)
            if departure is not None:
                _write(session, taken, departure, seen)
        for taken, _ in looked_at:
            work.finish(session, taken)

    in_transaction(act)


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What one departure closed here, and how many things were let in afterwards."""

    departure_id: str
    closed: dict[str, int]
    let_in: int
    at: datetime


def _look(session: Session, taken: Claim, *, at: datetime) -> _Seen | None:
    """None where nobody left, and where it was seen already."""
    departure = departures.current(session, taken.organization_id, taken.subject_id)
    proof = None if departure is None else session.get(Proof, (taken.organization_id, departure.id, HERE))
    if departure is None or (proof is not None and proof.shut_at is not None):
        return None
    return _Seen(
        departure_id=departure.id, closed=closed_here(session, departure),
        let_in=still_let_in(session, taken.organization_id, taken.subject_id, at=at), at=at,
    )  # fmt: skip


def _write(session: Session, taken: Claim, departure: Departure, seen: _Seen | None) -> None:
    key = (taken.organization_id, departure.id, HERE)
    proof = session.get(Proof, key)
    if proof is None:
        proof = Proof(organization_id=taken.organization_id, departure_id=departure.id, workspace_id=HERE, attempts=0)
        session.add(proof)
    proof.attempts += 1
    # Of another departure nothing was seen: that has put work of its own here.
    if seen is None or seen.departure_id != departure.id or proof.shut_at is not None:
        return
    proof.sent_at = proof.acknowledged_at = departure.decided_at
    proof.closed = seen.closed
    if not seen.let_in:
        proof.shut_at = proof.gone_at = seen.at
        # Asked with the very condition that every door of ours asks.
        proof.shut_grade = proof.gone_grade = Grade.PROBED
        deeds.record(
            session, taken.organization_id, workspace_id=HERE, at=seen.at, subject="person", subject_id=taken.subject_id,
            did=f"shut every door here: {', '.join(f'{count} {kind}' for kind, count in sorted(seen.closed.items()))}",
        )  # fmt: skip


def still_let_in(session: Session, organization_id: str, person_id: str, *, at: datetime) -> int:
    """How many things of a person would be let in now. Nought for whoever has no access, whatever is stored."""
    return sum(session.execute(_LET_IN, {"organization": organization_id, "person": person_id, "at": at}).one())


def closed_here(session: Session, departure: Departure) -> dict[str, int]:
    """What was open at the departure and ended with it, by kind. Takes as long as there is to count; so it is done after the commit."""
    given = {"organization": departure.organization_id, "person": departure.person_id, "at": departure.decided_at}
    return dict(zip(_CLOSED, session.execute(_CLOSED_ALL, given).one(), strict=True))


# Built once: they are long, and asked of everybody who leaves.

_AT: Final = param("at", Instant())


def _open_until(held: Held, *conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    """How many were open then. What belongs to an epoch before the person's last had ended already, and is not counted again."""
    made = held.enrolled_at if held is Device else held.created_at  # type: ignore[union-attr]  # every other kind has created_at
    last = select(Person.access_epoch - 1).where(Person.organization_id == param("organization"), Person.id == param("person")).scalar_subquery()
    theirs = held.organization_id == param("organization"), held.person_id == param("person"), held.epoch >= last
    then = made <= _AT, held.ended_at.is_(None) | (held.ended_at > _AT)
    return select(func.count()).select_from(held).where(*theirs, *then, *conditions).scalar_subquery()


_UNUSED: Final = (IssuedToken.expires_at > _AT, IssuedToken.used_at.is_(None))
_CLOSED: Final = {
    "sessions": _open_until(WebSession, WebSession.expires_at > _AT, WebSession.idle_until > _AT),
    "grants": _open_until(Grant, Grant.expires_at > _AT),
    "access_tokens": _open_until(IssuedToken, IssuedToken.kind == TokenKind.ACCESS, *_UNUSED),
    "refresh_tokens": _open_until(IssuedToken, IssuedToken.kind == TokenKind.REFRESH, *_UNUSED),
    "devices": _open_until(Device),
    "push_tokens": _open_until(Device, Device.push_digest.is_not(None)),
}
_CLOSED_ALL: Final = select(*_CLOSED.values())
_LET_IN: Final = select(*(
    select(func.count())
    .select_from(held)
    .join(Person, of_person(held))
    .where(held.organization_id == param("organization"), held.person_id == param("person"), lets_in(held, _AT))
    .scalar_subquery()
    for held in (WebSession, Grant, IssuedToken, Device)
))  # fmt: skip
