"""Whom of one organisation a subject identifier means. The organisation comes from the stream or the connection, never from the subject."""

from dataclasses import dataclass
from typing import TypeAlias, assert_never

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.access.connection_tables import Connection, Identity
from app.access.session_tables import Device, WebSession
from app.directory.finding import standing_named
from app.directory.names import name_key
from app.directory.tables import Person, Record, RecordEmail
from app.lifecycle.people import turned_out
from app.signals.subjects import Aliases, Complex, Email, IssSub, Named, Opaque, Simple, Subject


@dataclass(frozen=True, kw_only=True)
class Scope:
    """How subjects of one sender are understood.

    `issuer` is whose the sender's own subjects are; `issuers`, where given, are the only ones whose subjects it may name.
    `ours` is our own issuer: its subjects are people's ids. With `external_ids` a subject may also be the id that a directory
    gave its record. `tenant` is what the sender calls this organisation; with `wildcards` it may speak of all its people at once.
    """

    organization_id: str
    issuer: str
    issuers: frozenset[str] | None = None
    ours: str | None = None
    external_ids: bool = False
    tenant: str | None = None
    wildcards: bool = False


@dataclass(frozen=True, kw_only=True)
class One:
    """Exactly one person; and, where the subject is that narrow and we know it, one sign-in or device of theirs."""

    person_id: str
    session_ids: tuple[str, ...] = ()
    device_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Everyone:
    """All people of the organisation."""


@dataclass(frozen=True, kw_only=True)
class Nobody:
    """Nobody that could be acted on; `known` is how many the subject fits, where it is not one."""

    why: str
    known: int = 0


Whom: TypeAlias = One | Everyone | Nobody


def find(session: Session, subject: Subject, scope: Scope) -> Whom:
    """Whom this subject means. Our own ids outlive who became one with somebody else, and mean nobody then."""
    found = _found(session, subject, scope)
    if isinstance(found, One) and turned_out(session, scope.organization_id, found.person_id):
        return Nobody(why="they became one with somebody else, of whom it has to be said")
    return found


def find_sign_in(session: Session, subject: Subject, scope: Scope) -> One | None:
    """Whose sign-in this subject names by itself, as the id of a session may (CAEP 1.0 §3.1.2); only those through the sender's own connections."""
    said = subject if not isinstance(subject, Complex) else subject.members.get("session")
    others = subject.members.keys() - {"session", "tenant"} if isinstance(subject, Complex) else ()
    if not isinstance(said, Opaque) or others or (isinstance(subject, Complex) and _is_elsewhere(subject, scope)):
        return None
    issuers = {scope.issuer} if scope.issuers is None else set(scope.issuers)
    query = (
        select(WebSession.person_id, WebSession.id)
        .join(Connection, (Connection.organization_id == WebSession.organization_id) & (Connection.id == WebSession.connection_id))
        .where(
            WebSession.organization_id == scope.organization_id, WebSession.upstream_session == said.id, WebSession.ended_at.is_(None),
            Connection.issuer.in_(issuers),
        )
    )  # fmt: skip
    rows = session.execute(query).all()
    people = {row.person_id for row in rows}
    return One(person_id=people.pop(), session_ids=tuple(row.id for row in rows)) if len(people) == 1 else None


def _found(session: Session, subject: Subject, scope: Scope) -> Whom:
    if not isinstance(subject, Complex):
        return _one(session, subject, scope)
    if _is_elsewhere(subject, scope):
        return Nobody(why="the tenant is another one than this stream's")
    user = subject.members.get("user")
    if user is None:
        return _without_user(session, subject, scope)
    found = _one(session, user, scope)
    if not isinstance(found, One):
        return found
    return One(
        person_id=found.person_id,
        session_ids=_sessions(session, scope.organization_id, found.person_id, subject.members.get("session")),
        device_id=_device(session, scope.organization_id, found.person_id, subject.members.get("device")),
    )


def _is_elsewhere(subject: Complex, scope: Scope) -> bool:
    tenant = subject.members.get("tenant")
    return tenant is not None and scope.tenant is not None and tenant != Opaque(id=scope.tenant)


def _without_user(session: Session, subject: Complex, scope: Scope) -> Whom:
    device = subject.members.get("device")
    if isinstance(device, Opaque):
        row = session.get(Device, (scope.organization_id, device.id))
        return Nobody(why="the device is not known here") if row is None else One(person_id=row.person_id, device_id=row.id)
    # SSF 1.0 §3: what is not said is a wildcard, so a tenant alone is everybody in it.
    if subject.members.keys() != {"tenant"}:
        return Nobody(why=f"a subject of {', '.join(sorted(subject.members))} without a user is not acted on")
    if not scope.wildcards or scope.tenant is None:
        return Nobody(why="it means everybody, which the policy of this stream does not allow")
    return Everyone()


def _one(session: Session, subject: Simple | Aliases, scope: Scope) -> One | Nobody:
    names = subject.names if isinstance(subject, Aliases) else (subject,)
    # Of several names each has to mean the same one, or nobody at all: one that means somebody else contradicts.
    found = set().union(*(_people(session, one, scope) for one in names))
    if len(found) == 1:
        return One(person_id=found.pop())
    return Nobody(why=f"it fits {len(found)} people" if found else "nobody is known by this subject", known=len(found))


def _people(session: Session, subject: Simple, scope: Scope) -> set[str]:
    organization_id = scope.organization_id
    match subject:
        case Email():
            query = (
                _standing_records(organization_id)
                .join(RecordEmail, (RecordEmail.organization_id == Record.organization_id) & (RecordEmail.record_id == Record.id))
                .where(RecordEmail.address_key == name_key(subject.email))
            )
            return set(session.scalars(query))
        case IssSub() if subject.iss == scope.ours:
            return set(session.scalars(select(Person.id).where(Person.organization_id == organization_id, Person.id == subject.sub)))
        case IssSub():
            return _by_subject(session, scope, issuer=subject.iss, subject=subject.sub)
        case Opaque():
            return _by_subject(session, scope, issuer=scope.issuer, subject=subject.id)
        case Named():
            return set()
        case _:
            assert_never(subject)


def identities_of(session: Session, subject: Simple | Aliases, scope: Scope) -> list[Identity]:
    """Every identity that stands by this name. By an e-mail address only those whose very subject it is."""
    if isinstance(subject, Aliases):
        return [one for name in subject.names for one in identities_of(session, name, scope)]
    match subject:
        case Email():
            return _bound(session, scope, issuer=scope.issuer, subject=subject.email)
        case IssSub():
            return _bound(session, scope, issuer=subject.iss, subject=subject.sub)
        case Opaque():
            return _bound(session, scope, issuer=scope.issuer, subject=subject.id)
        case Named():
            return []
        case _:
            assert_never(subject)


def _bound(session: Session, scope: Scope, *, issuer: str, subject: str) -> list[Identity]:
    if scope.issuers is not None and issuer not in scope.issuers:
        return []
    # A provider may sign its calls under another name than its sign-ins; both are the sender's own.
    issuers = {issuer} if scope.issuers is None else set(scope.issuers)
    query = select(Identity).where(
        Identity.organization_id == scope.organization_id, Identity.issuer.in_(issuers), Identity.subject == subject, Identity.ended_at.is_(None)
    )
    return list(session.scalars(query))


def _by_subject(session: Session, scope: Scope, *, issuer: str, subject: str) -> set[str]:
    found = {one.person_id for one in _bound(session, scope, issuer=issuer, subject=subject)}
    if not found and scope.external_ids and issuer in (scope.issuers or {scope.issuer}):
        found = set(session.scalars(_standing_records(scope.organization_id).where(standing_named(scope.organization_id, Record.external_id, [subject]))))
    return found


def _standing_records(organization_id: str) -> Select[str]:
    # A record that has ended has freed its names: whoever has them now is somebody else.
    return select(Record.person_id).where(Record.organization_id == organization_id, Record.ended_at.is_(None)).distinct()


def _sessions(session: Session, organization_id: str, person_id: str, said: Simple | Aliases | None) -> tuple[str, ...]:
    if not isinstance(said, Opaque):
        return ()
    query = select(WebSession.id).where(
        WebSession.organization_id == organization_id, WebSession.person_id == person_id, WebSession.upstream_session == said.id,
        WebSession.ended_at.is_(None),
    )  # fmt: skip
    return tuple(session.scalars(query))


def _device(session: Session, organization_id: str, person_id: str, said: Simple | Aliases | None) -> str | None:
    if not isinstance(said, Opaque):
        return None
    row = session.get(Device, (organization_id, said.id))
    return row.id if row is not None and row.person_id == person_id else None
