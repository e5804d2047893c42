"""Who may enter: from what a connection proved to a session, in one transaction, or a refusal."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import Session

from app.access import sessions
from app.access.closed import why_closed
from app.access.connection_tables import Connection
from app.access.sealing import seal
from app.access.session_tables import WebSession
from app.access.sessions import Authenticated, Limits, Present
from app.actors import Actor, ActorKind
from app.audit.lag import audit_is_behind
from app.clock import iso
from app.database import in_transaction
from app.directory.tables import Person, Record, Standing
from app.journal import entries
from app.journal.tables import Entry, Lane
from app.lifecycle.roles import roles_of
from app.revocation import telling
from app.revocation.tables import Departure
from app.settings import Settings
from app.sso.binding import person_of
from app.sso.connections import settings_of
from app.sso.limits import limits_of
from app.sso.refusals import Reason, Refused
from app.sso.verified import Verified


@dataclass(frozen=True, kw_only=True)
class Entered:
    """Somebody came in: the value of their session's cookie, shown this once, and where they wanted to go."""

    cookie: str = field(repr=False)
    present: Present
    return_to: str


def enter(settings: Settings, verified: Verified, *, agent: str, at: datetime) -> Entered:
    """Let in whom a connection vouches for: a new session, or Refused. Whatever is decided here is decided in one transaction.

    `verified.asked` may name in `replaces` the session that this browser had when it began: it ends, whoever's it was.
    """
    try:
        return in_transaction(lambda session: _enter(session, settings, verified, agent=agent, at=at))
    except Refused as error:
        error.return_to = verified.return_to
        raise


def _enter(session: Session, settings: Settings, verified: Verified, *, agent: str, at: datetime) -> Entered:
    connection = _standing(session, verified)
    refuse_while_closed(session, connection_id=connection.id, at=at)
    chosen = settings_of(connection)
    if not verified.solicited and not chosen.allow_idp_initiated:
        raise Refused(Reason.NOT_ASKED_FOR, "a sign-in that nobody asked for, and the connection does not allow those", connection_id=connection.id)
    if verified.until is not None and verified.until <= at:
        raise Refused(Reason.TOO_LATE, f"the provider vouches until {iso(verified.until)} only, which has passed", connection_id=connection.id)
    strong = chosen.counts_as_strong(verified.acr, verified.amr)
    if chosen.require_second_factor and not strong:
        raise Refused(
            Reason.SECOND_FACTOR, f"the connection demands a second factor, and the provider says acr {verified.acr!r}, amr {list(verified.amr)}",
            connection_id=connection.id,
        )  # fmt: skip
    person = person_of(session, connection, verified, at=at)
    refuse_without_access(person, connection_id=connection.id, at=at)
    refuse_what_is_older(session, person, issued_at=verified.issued_at, connection_id=connection.id, at=at)
    _refuse_what_is_over_there(session, connection, verified)
    if not strong and (roles := roles_of(session, connection.organization_id, person.id)):
        raise Refused(
            Reason.SECOND_FACTOR, f"{', '.join(roles)} needs a second factor, and the provider says acr {verified.acr!r}, amr {list(verified.amr)}",
            connection_id=connection.id, person_id=person.id,
        )  # fmt: skip
    how = Authenticated(
        connection_id=connection.id, at=verified.authenticated_at, acr=verified.acr, amr=verified.amr, strong=strong, until=verified.until,
        subject=verified.subject, upstream_session=verified.upstream_session, name_id=verified.name_id,
    )  # fmt: skip
    sealed = None if verified.id_token is None else seal(settings, verified.id_token)
    return admit(
        session, person, how, agent=agent, at=at, return_to=verified.return_to, because=f"connection {connection.name}", sealed_id_token=sealed,
        replaces=_replaced(session, verified.asked.get("replaces")),
    )  # fmt: skip


def remembered(*, organization_id: str, session_id: str) -> dict[str, str]:
    """A session as a sign-in under way keeps it under `replaces`."""
    return {"organization": organization_id, "session": session_id}


def _replaced(session: Session, kept: object) -> WebSession | None:
    """What `remembered` kept: by ourselves, of a browser that showed the session's cookie as it began."""
    return session.get(WebSession, (kept["organization"], kept["session"])) if isinstance(kept, dict) else None


def admit(
    session: Session, person: Person, how: Authenticated, *, agent: str, at: datetime, return_to: str, because: str,
    sealed_id_token: bytes | None = None, replaces: WebSession | None = None, limits: Limits | None = None,
) -> Entered:  # fmt: skip
    """A new session for a locked person of whom everything has been asked. Also ends the one that it replaces.

    It lasts as long as the organisation says, unless the caller has stricter `limits`.
    """
    row, cookie = sessions.start(session, person, how, limits=limits or limits_of(session, person.organization_id), agent=agent, at=at)
    if replaces is not None:
        replace_session(session, replaces, row, at=at)
    row.sealed_id_token = sealed_id_token
    entries.write(
        session, person.organization_id, at=at, actor=Actor(kind=ActorKind.PERSON, name=person.id), verb="signed in", because=because,
        subject_kind="person", subject_id=person.id, after=_shown(row),
    )  # fmt: skip
    session.flush()
    # Asked as every later request asks: what would not let them in tomorrow does not let them in now.
    present = sessions.check(session, cookie, at=at)
    if present is None:
        raise Refused(Reason.NO_ACCESS, "the session would have ended as it began", connection_id=how.connection_id, person_id=person.id)
    return Entered(cookie=cookie, present=present, return_to=return_to)


def replace_session(session: Session, before: WebSession, new: WebSession, *, at: datetime) -> None:
    """End the session that a browser had, also one of another organisation, and tell the applications that rested on it."""
    if sessions.replace(session, before, new, why="signed in anew", at=at):
        telling.tell_parties(session, before.organization_id, before.person_id, because=None, at=at, lane=Lane.SYNC)


def _shown(row: WebSession) -> dict[str, object]:
    return {
        "session": row.id, "connection": row.connection_id, "acr": row.acr, "amr": row.amr, "second_factor": row.strong,
        "break_glass": row.break_glass, "until": iso(row.expires_at),
    }  # fmt: skip


def _standing(session: Session, verified: Verified) -> Connection:
    """The connection, locked for reading: it either ends before, or the session that is begun ends with it."""
    connection = session.scalar(
        select(Connection)
        .where(
            Connection.organization_id == verified.organization_id, Connection.id == verified.connection_id, Connection.ended_at.is_(None)
        )
        .with_for_update(read=True)
    )
    if connection is None:
        raise Refused(Reason.UNKNOWN_CONNECTION, "the connection has ended, or is another organisation's", connection_id=verified.connection_id)
    return connection


def refuse_while_closed(session: Session, *, connection_id: str | None, at: datetime) -> None:
    """Nobody is let in anew while it is not known who has left, or while it could not be shown later who came in. Raises Refused."""
    why = why_closed(session)
    if why is None and audit_is_behind(session, at=at):
        why = "the audit tree is behind"
    if why is not None:
        raise Refused(Reason.CLOSED, f"nobody is let in just now: {why}", connection_id=connection_id)


def refuse_without_access(person: Person, *, connection_id: str | None, at: datetime) -> None:
    """Only who stands, and is inside their dates. The row must be locked. Raises Refused."""
    if person.standing != Standing.ACTIVE:
        raise Refused(
            Reason.NO_ACCESS, f"{person.standing}: {person.standing_reason}", connection_id=connection_id, person_id=person.id
        )
    # By the date itself: nothing needs to have ticked since.
    if person.access_until is not None and person.access_until <= at:
        raise Refused(Reason.NO_ACCESS, f"access ended at {iso(person.access_until)}", connection_id=connection_id, person_id=person.id)


def refuse_what_is_older(session: Session, person: Person, *, issued_at: datetime, connection_id: str | None, at: datetime) -> None:
    """Nothing that was issued before access was last taken lets anybody in, also not somebody who is back. No skew is allowed for.

    Raises Refused.
    """
    taken = access_taken_at(session, person, at=at)
    if taken is not None and issued_at < taken:
        raise Refused(
            Reason.ISSUED_BEFORE, f"issued at {iso(issued_at)}, before access was taken at {iso(taken)}", connection_id=connection_id,
            person_id=person.id,
        )  # fmt: skip


def _refuse_what_is_over_there(session: Session, connection: Connection, verified: Verified) -> None:
    """A message of a session that its own provider has ended since, shown only now. The person stays, and may sign in anew. Raises Refused."""
    # Messages are stamped in whole seconds: one of the very second in which it was ended may be of a sign-in that came after it.
    since = verified.issued_at + timedelta(seconds=1)
    over = sessions.is_over_there(session, connection, subject=verified.subject, upstream_session=verified.upstream_session, since=since)
    if over:
        raise Refused(Reason.TOO_LATE, "the provider has ended what it speaks of here, its own sign-in, since it spoke of it", connection_id=connection.id)


def access_taken_at(session: Session, person: Person, *, at: datetime) -> datetime | None:
    """When access was last taken from this person in any way: a departure, being signed out everywhere, one of their records switched off.

    What was written by a clock that was ahead, at an instant in time to come, was taken before whatever the journal has of them behind it by
    a clock that is right. Where it has nothing yet, that instant stands, and nobody comes in before it.
    """
    mine = (person.organization_id, person.id)
    # What is said after a comeback in time to come counts as said then, but was said when the record was changed.
    off_at = case((Record.active_said_at > Record.modified_at, Record.modified_at), else_=Record.active_said_at)
    ways: tuple[tuple[ColumnElement[Any], ColumnElement[Any], ColumnElement[bool]], ...] = (
        (
            Departure.decided_at.expression, Departure.journal_id.expression,
            and_(Departure.organization_id == mine[0], Departure.person_id == mine[1]),
        ),
        (
            Entry.at.expression, Entry.id.expression,
            and_(Entry.organization_id == mine[0], Entry.subject_id == mine[1], Entry.verb == "signed out everywhere"),
        ),
        (
            case((Record.ended_at.is_not(None), Record.ended_at), else_=off_at), Record.journal_id.expression,
            and_(
                Record.organization_id == mine[0], Record.person_id == mine[1], Record.held.is_(False),
                or_(Record.active.is_(False), Record.ended_at.is_not(None)),
            ),
        ),
    )  # fmt: skip
    taken: list[datetime] = []
    to_come: list[tuple[datetime, int]] = []
    for instant, journal_id, where in ways:
        last, ahead, journal = session.execute(
            select(func.max(instant).filter(instant <= at), func.max(instant).filter(instant > at), func.max(journal_id).filter(instant > at))
            .where(where)
        ).one()  # fmt: skip
        taken += [last] if last is not None else []
        to_come += [(ahead, journal)] if ahead is not None else []
    if to_come:
        taken.append(_by_a_clock_that_is_right(session, person, after=max(one for _, one in to_come), at=at) or max(one for one, _ in to_come))
    return max(taken, default=None)


def _by_a_clock_that_is_right(session: Session, person: Person, *, after: int, at: datetime) -> datetime | None:
    """When the journal next has anything of this person behind an entry, at an instant that has come."""
    records = select(Record.id).where(Record.organization_id == person.organization_id, Record.person_id == person.id)
    theirs = or_(Entry.subject_id == person.id, Entry.subject_id.in_(records))
    behind = select(Entry.at).where(Entry.organization_id == person.organization_id, theirs, Entry.id > after, Entry.at <= at)
    return session.scalar(behind.order_by(Entry.id).limit(1))
