"""Browser sessions: begun, looked at again with every request, ended. Good only while the person's epoch and standing say so."""

import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, or_, select, update
from sqlalchemy.orm import Session

from app.access.connection_tables import Connection
from app.access.session_tables import Device, Grant, IssuedToken, WebSession
from app.access.tokens import digest_of
from app.database import Instant, new_id
from app.directory.tables import Person, Standing

USE_NOTED_EVERY: Final = timedelta(minutes=1)
PREFIX: Final = "dl_s_"
SIGNED_OUT_THERE: Final = "signed out at the identity provider"
REVOKED_THERE: Final = "revoked by its provider"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a session lasts: `absolute` from its beginning, `idle` from its last use."""

    absolute: timedelta = timedelta(hours=12)
    idle: timedelta = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Authenticated:
    """How somebody proved who they are. `strong` is true where a second factor was used; `until` is as far as the provider vouches."""

    connection_id: str | None
    at: datetime
    acr: str | None = None
    amr: tuple[str, ...] = ()
    strong: bool = False
    until: datetime | None = None
    subject: str | None = None
    upstream_session: str | None = None
    name_id: dict[str, Any] | None = None
    break_glass: bool = False


@dataclass(frozen=True, kw_only=True)
class Present:
    """Somebody who is signed in here and may be. `until` is the earlier of the session's two ends."""

    organization_id: str
    session_id: str
    person_id: str
    epoch: int
    display_name: str
    connection_id: str | None
    authenticated_at: datetime
    acr: str | None
    amr: tuple[str, ...]
    strong: bool
    break_glass: bool
    created_at: datetime
    expires_at: datetime
    idle_until: datetime

    @property
    def until(self) -> datetime:
        return min(self.expires_at, self.idle_until)


Held = type[WebSession] | type[Grant] | type[IssuedToken] | type[Device]


def lets_in(held: Held, at: ColumnElement[Any] | datetime) -> ColumnElement[bool]:
    """The condition under which what somebody holds still counts: to be asked with the row of that person, joined by `of_person`.

    Every question of access contains it, so that no door can forget the epoch, the standing or the date on which access ends.
    """
    return and_(
        held.ended_at.is_(None), held.epoch == Person.access_epoch, Person.standing == Standing.ACTIVE,
        or_(Person.access_until.is_(None), Person.access_until > at),
    )  # fmt: skip


def of_person(held: Held) -> ColumnElement[bool]:
    """How what somebody holds is joined to that person."""
    return and_(Person.organization_id == held.organization_id, Person.id == held.person_id)


def start(
    session: Session, person: Person, how: Authenticated, *, limits: Limits, agent: str, at: datetime
) -> tuple[WebSession, str]:
    """A new session of a person, and the value of its cookie, which is told this once. Whether they may enter was decided before."""
    secret = PREFIX + secrets.token_urlsafe(32)
    ends = [at + limits.absolute, *(one for one in (how.until, person.access_until) if one is not None)]
    row = WebSession(
        organization_id=person.organization_id, id=new_id(), digest=digest_of(secret), person_id=person.id, epoch=person.access_epoch,
        connection_id=how.connection_id, subject=how.subject, upstream_session=how.upstream_session, name_id=how.name_id,
        authenticated_at=how.at, acr=how.acr, amr=list(how.amr), strong=how.strong, break_glass=how.break_glass, agent=agent[:200],
        created_at=at, seen_at=at, idle_until=min(at + limits.idle, *ends), expires_at=min(ends),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row, secret


_AT: Final = bindparam("at", type_=Instant())
_PRESENT: Final = (
    select(WebSession, Person.display_name)
    .join(Person, of_person(WebSession))
    .where(WebSession.digest == bindparam("digest"), lets_in(WebSession, _AT), WebSession.expires_at > _AT, WebSession.idle_until > _AT)
)


def check(session: Session, secret: str, *, at: datetime) -> Present | None:
    """Who is signed in by this cookie; None where the session is unknown, over, or its person no longer may enter. Writes nothing."""
    digest = digest_of(secret)
    found = session.execute(_PRESENT, {"digest": digest, "at": at}).one_or_none()
    if found is None or not hmac.compare_digest(found[0].digest, digest):
        return None
    row, display_name = found
    return Present(
        organization_id=row.organization_id, session_id=row.id, person_id=row.person_id, epoch=row.epoch, display_name=display_name,
        connection_id=row.connection_id, authenticated_at=row.authenticated_at, acr=row.acr, amr=tuple(row.amr), strong=row.strong,
        break_glass=row.break_glass, created_at=row.created_at, expires_at=row.expires_at, idle_until=row.idle_until,
    )  # fmt: skip


def held_by(session: Session, secret: str, *, at: datetime) -> WebSession | None:
    """The session of this cookie that nobody has ended, also one that was idle for too long: that lets nobody in any more, and what was granted from it may."""
    digest = digest_of(secret)
    row = session.scalar(select(WebSession).join(Person, of_person(WebSession)).where(WebSession.digest == digest, lets_in(WebSession, at)))
    return row if row is not None and hmac.compare_digest(row.digest, digest) else None


def note_use(session: Session, present: Present, *, idle: timedelta, at: datetime) -> None:
    """Move the idle limit on, unless that was done within the last minute. What has ended stays ended."""
    session.execute(
        update(WebSession)
        .where(
            WebSession.organization_id == present.organization_id, WebSession.id == present.session_id, WebSession.ended_at.is_(None),
            WebSession.seen_at <= at - USE_NOTED_EVERY, WebSession.idle_until > at,
        )
        .values(seen_at=at, idle_until=min(at + idle, present.expires_at))
        .execution_options(synchronize_session=False)
    )  # fmt: skip


def sessions_of(session: Session, organization_id: str, person_id: str, *, at: datetime) -> Sequence[WebSession]:
    """The sessions of a person that let them in now, newest first."""
    return session.scalars(
        select(WebSession)
        .join(Person, of_person(WebSession))
        .where(
            WebSession.organization_id == organization_id, WebSession.person_id == person_id, lets_in(WebSession, at),
            WebSession.expires_at > at, WebSession.idle_until > at,
        )
        .order_by(WebSession.created_at.desc())
    ).all()


def end(session: Session, organization_id: str, session_id: str, *, why: str, at: datetime) -> bool:
    """End one session and what was granted from it; ending twice is once. Returns whether it was still open.

    Grants that a device holds on its own outlive the browser in which they were allowed.
    """
    done = session.execute(
        update(WebSession)
        .where(WebSession.organization_id == organization_id, WebSession.id == session_id, WebSession.ended_at.is_(None))
        .values(ended_at=at, ended_why=why)
        .execution_options(synchronize_session=False)
    )
    _end_grants(session, (Grant.organization_id == organization_id) & (Grant.session_id == session_id) & Grant.device_id.is_(None), why=why, at=at)
    return bool(done.rowcount)  # type: ignore[attr-defined]  # every UPDATE has one; the stub names the wider class


def is_over_there(session: Session, connection: Connection, *, subject: str, upstream_session: str | None, since: datetime) -> bool:
    """Whether this connection's provider has ended here, since then, what it calls by this name. Of a session without a name it cannot be told."""
    if upstream_session is None:
        return False
    ended = select(WebSession.id).where(
        WebSession.organization_id == connection.organization_id, WebSession.connection_id == connection.id, WebSession.subject == subject,
        WebSession.upstream_session == upstream_session, WebSession.ended_at > since, WebSession.ended_why.in_((SIGNED_OUT_THERE, REVOKED_THERE)),
    )  # fmt: skip
    return session.scalar(ended.limit(1)) is not None


def carry_on(session: Session, present: Present, *, epoch: int) -> None:
    """Let one session outlive a move of its person's epoch, which ends everything else. What has ended, or is of an older one, stays so."""
    session.execute(
        update(WebSession)
        .where(
            WebSession.organization_id == present.organization_id, WebSession.id == present.session_id, WebSession.ended_at.is_(None),
            WebSession.epoch == epoch - 1,
        )
        .values(epoch=epoch)
        .execution_options(synchronize_session=False)
    )  # fmt: skip


def replace(session: Session, before: WebSession, new: WebSession, *, why: str, at: datetime) -> bool:
    """End the session that a browser had before this one. What its same person was granted from it goes on from the new one.

    Applications that were entered from this browser would else lose it because another one asked for a new proof. Of
    somebody else's session everything ends, of whatever organisation they are: the browser has its cookie no more, so who
    shows that later is somebody else. Returns whether anything ended that relying parties have to hear of.
    """
    same_person = (before.organization_id, before.person_id, before.epoch) == (new.organization_id, new.person_id, new.epoch)
    if same_person:
        session.execute(
            update(Grant)
            .where(Grant.organization_id == new.organization_id, Grant.session_id == before.id, Grant.ended_at.is_(None))
            .values(session_id=new.id)
            .execution_options(synchronize_session=False)
        )
    ended = end(session, before.organization_id, before.id, why=why, at=at)
    return ended and not same_person


def end_device(session: Session, organization_id: str, device_id: str, *, why: str, at: datetime) -> bool:
    """End a device: its pushes first, then what it was granted. Ending twice is once. Returns whether it was still enrolled."""
    done = session.execute(
        update(Device)
        .where(Device.organization_id == organization_id, Device.id == device_id, Device.ended_at.is_(None))
        .values(ended_at=at, ended_why=why, sealed_push_token=None)
        .execution_options(synchronize_session=False)
    )
    _end_grants(session, (Grant.organization_id == organization_id) & (Grant.device_id == device_id), why=why, at=at)
    return bool(done.rowcount)  # type: ignore[attr-defined]  # every UPDATE has one; the stub names the wider class


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How many sessions ended, and the people of whom relying parties have to hear."""

    sessions: int
    people: frozenset[str]


def end_by_connection(session: Session, organization_id: str, connection_id: str, *, why: str, at: datetime) -> Ended:
    """End all that rests on the word of a connection: sessions, what was granted from them or to a device, and the devices."""
    return _end_all(session, organization_id, lambda held: held.connection_id == connection_id, why=why, at=at)


def end_by_break_glass(session: Session, organization_id: str, person_id: str, *, why: str, at: datetime) -> Ended:
    """End all that somebody has because they came in without a connection, wherever it has gone on since."""
    return _end_all(
        session, organization_id, lambda held: and_(held.person_id == person_id, held.connection_id.is_(None)), why=why, at=at
    )


def _end_all(
    session: Session, organization_id: str, rests: Callable[[type[WebSession] | type[Grant] | type[Device]], ColumnElement[bool]], *,
    why: str, at: datetime,
) -> Ended:  # fmt: skip
    def ended(held: type[WebSession] | type[Grant] | type[Device], which: ColumnElement[bool], **more: None) -> list[str]:
        done = update(held).where(held.organization_id == organization_id, held.ended_at.is_(None), which).values(ended_at=at, ended_why=why, **more)
        return list(session.scalars(done.returning(held.person_id), execution_options={"synchronize_session": False}))

    # In the order in which one comes of the other: whoever is just being given something has the row in hand that it comes of,
    # so it is waited for and ended as well.
    browsers = ended(WebSession, rests(WebSession))
    theirs = select(WebSession.id).where(WebSession.organization_id == organization_id, rests(WebSession))
    grants = ended(Grant, or_(rests(Grant), and_(Grant.session_id.in_(theirs), Grant.device_id.is_(None))))
    devices = ended(Device, rests(Device), sealed_push_token=None)
    return Ended(sessions=len(browsers), people=frozenset((*browsers, *grants, *devices)))


def end_grant(session: Session, organization_id: str, grant_id: str, *, why: str, at: datetime) -> None:
    """End one grant: every token of its family is worthless from the commit on."""
    _end_grants(session, (Grant.organization_id == organization_id) & (Grant.id == grant_id), why=why, at=at)


def _end_grants(session: Session, which: ColumnElement[bool], *, why: str, at: datetime) -> None:
    # Tokens are not touched: each question for a token asks its grant too.
    session.execute(
        update(Grant).where(which, Grant.ended_at.is_(None)).values(ended_at=at, ended_why=why).execution_options(synchronize_session=False)
    )
