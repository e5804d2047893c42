"""Whom a connection means: by issuer, tenant and subject, else by the directory's own id; never by an e-mail address."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from app.access.connection_tables import Connection, Identity
from app.actors import Actor, ActorKind
from app.database import new_id
from app.directory.names import is_bare, name_key
from app.directory.tables import Person, Record, Source
from app.journal import entries
from app.lifecycle import just_in_time
from app.lifecycle.just_in_time import Newcomer
from app.lifecycle.people import lock_person
from app.sso.connections import DirectoryKey, Matches, domain_of, domains_of, settings_of
from app.sso.refusals import Reason, Refused
from app.sso.verified import Verified

LONGEST_SUBJECT: Final = 256
AT_SIGN_IN: Final = "first sign-in"
"""How an identity was bound whose person joined by it."""


def person_of(session: Session, connection: Connection, verified: Verified, *, at: datetime) -> Person:
    """The person, locked until the transaction ends, so that no departure passes this sign-in. Raises Refused.

    Whoever is not known yet is bound, where the directory's own id names exactly one person, or joins, where the
    connection lets people join by signing in. Whether they may enter is not asked here.
    """
    _refuse_unreadable(connection, verified)
    bound = _identity(session, verified)
    if bound is not None:
        person = lock_person(session, connection.organization_id, bound.person_id)
        if _identity(session, verified) is None:
            # Whoever took the identity away held the person's row before us.
            raise Refused(Reason.NOT_KNOWN, "the identity was ended just now", connection_id=connection.id, person_id=person.id)
        _refuse_recycled(session, connection, verified, bound)
        return person
    key, value = _key(connection, verified)
    named = [] if value is None else _named(session, connection, key, value, only_on=True)
    if len(named) > 1:
        raise Refused(
            Reason.NOT_KNOWN, f"the {key.matches} of this sign-in belongs to several people; have it name one, or choose one directory for it",
            connection_id=connection.id,
        )  # fmt: skip
    if not named:
        return _newcomer(session, connection, verified, at=at)
    person = lock_person(session, connection.organization_id, named[0])
    # Looked up again under the lock: two first sign-ins at once bind one identity, and whose record it is may have changed.
    again = _identity(session, verified)
    if again is None:
        _refuse_second_subject(session, connection, verified, person)
        if _named(session, connection, key, value or "", only_on=True) != [person.id]:
            raise Refused(Reason.NOT_KNOWN, f"the {key.matches} of this sign-in was just given to somebody else", connection_id=connection.id)
        _bind(session, connection, verified, person, by=key.matches, at=at)
    elif again.person_id != person.id:
        raise Refused(Reason.NOT_KNOWN, "the subject was just bound to somebody else", connection_id=connection.id)
    return person


def has_joined_by(session: Session, connection: Connection, person_id: str) -> bool:
    """Whether this person joined by signing in here: once unbound they are known by nothing else, and their own name is taken."""
    joined = select(Identity.id).where(
        Identity.organization_id == connection.organization_id, Identity.issuer == connection.issuer, Identity.person_id == person_id,
        Identity.ended_at.is_(None), Identity.bound_by == AT_SIGN_IN,
    )  # fmt: skip
    return session.scalar(joined.limit(1)) is not None


def _refuse_unreadable(connection: Connection, verified: Verified) -> None:
    for name, text, longest in (("issuer", verified.issuer, 2000), ("tenant", verified.tenant, 300), ("subject", verified.subject, LONGEST_SUBJECT)):
        if len(text) > longest or text != text.strip() or not all(mark.isprintable() for mark in text) or (name != "tenant" and not text):
            raise Refused(
                Reason.BAD_MESSAGE, f"the {name} is empty, longer than {longest} characters, or not printable", connection_id=connection.id
            )


def _identity(session: Session, verified: Verified) -> Identity | None:
    return session.scalar(
        select(Identity)
        .where(
            Identity.organization_id == verified.organization_id, Identity.issuer == verified.issuer, Identity.tenant == verified.tenant,
            Identity.subject == verified.subject, Identity.ended_at.is_(None),
        )
        .execution_options(populate_existing=True)
    )  # fmt: skip


def _key(connection: Connection, verified: Verified) -> tuple[DirectoryKey, str | None]:
    """By what the person is looked for, and what the message says for it."""
    chosen = settings_of(connection).directory_key
    if chosen is None:
        # A provider that names people by their address would have us bind them by it, which somebody has to choose.
        return DirectoryKey(), None if "@" in verified.subject else verified.subject
    if chosen.attribute is None:
        return chosen, verified.subject
    ids = verified.directory_ids
    match chosen.matches:
        case Matches.EXTERNAL_ID:
            return chosen, ids.external_id
        case Matches.USER_NAME:
            return chosen, ids.user_name
        case Matches.EMPLOYEE_NUMBER:
            return chosen, ids.employee_number


def _named(session: Session, connection: Connection, key: DirectoryKey, value: str, *, only_on: bool) -> Sequence[str]:
    """The people whom directories know by this id in records that stand: none, one, or two where there are more."""
    query = (
        select(Record.person_id)
        .join(Source, (Source.organization_id == Record.organization_id) & (Source.id == Record.source_id))
        .where(
            Record.organization_id == connection.organization_id, Record.ended_at.is_(None), Source.kind != just_in_time.KIND, _fits(key, value)
        )
    )
    if only_on:
        # What the brake holds is not heard yet.
        query = query.where(or_(Record.active.is_(True), Record.held.is_(True)))
    if key.source_id is not None:
        query = query.where(Record.source_id == key.source_id)
    return session.scalars(query.distinct().limit(2)).all()


def _still_named(session: Session, key: DirectoryKey, value: str, bound: Identity) -> Sequence[str]:
    """The person of this binding, where it is their own record that has freed the name, and its end is held: it is not heard yet."""
    query = select(Record.person_id).where(
        Record.organization_id == bound.organization_id, Record.person_id == bound.person_id, Record.ended_at.is_not(None), Record.held.is_(True),
        _fits(key, value),
    )
    if key.source_id is not None:
        query = query.where(Record.source_id == key.source_id)
    return session.scalars(query.distinct()).all()


def _fits(key: DirectoryKey, value: str) -> ColumnElement[bool]:
    match key.matches:
        case Matches.EXTERNAL_ID:
            return Record.external_id == value
        case Matches.USER_NAME:
            return Record.user_name_key == name_key(value)
        case Matches.EMPLOYEE_NUMBER:
            return Record.employee_number == value


def _refuse_recycled(session: Session, connection: Connection, verified: Verified, bound: Identity) -> None:
    """Refuse where the directory's id that the binding rests on is no longer this person's: a successor may have it, and the account.

    An identity never moves by itself. Whoever has the name now comes in once an administrator has unbound the one before.
    """
    key, value = _key(connection, verified)
    if bound.bound_by == AT_SIGN_IN:
        names = tuple(one for one in (value, verified.subject, *_spellings(verified.email or "")) if one)
        if just_in_time.is_named_elsewhere(session, bound.organization_id, email=verified.email, names=names, but=bound.person_id):
            raise Refused(
                Reason.NOT_KNOWN, "this person joined by signing in, and a directory has named them since: unbind them, so that it decides",
                connection_id=connection.id, person_id=bound.person_id,
            )  # fmt: skip
        return
    if value is None or (_named(session, connection, key, value, only_on=False) or _still_named(session, key, value, bound)) != [bound.person_id]:
        raise Refused(
            Reason.NOT_KNOWN, f"the {key.matches} of this sign-in is not that of the person whom its subject was bound to; if somebody else has it "
            "now, unbind the one before", connection_id=connection.id, person_id=bound.person_id,
        )  # fmt: skip


def _refuse_second_subject(session: Session, connection: Connection, verified: Verified, person: Person) -> None:
    """One issuer means a person by one subject of one tenant. A second may be theirs, made anew, or of somebody who wrote their id into it."""
    other = session.scalar(
        select(Identity.id)
        .where(
            Identity.organization_id == connection.organization_id, Identity.issuer == verified.issuer, Identity.person_id == person.id,
            Identity.ended_at.is_(None),
        )
        .limit(1)
    )  # fmt: skip
    if other is not None:
        raise Refused(
            Reason.NOT_KNOWN, "the issuer means this person by another subject already; if their account there was made anew, unbind the one before",
            connection_id=connection.id, person_id=person.id,
        )  # fmt: skip


def _newcomer(session: Session, connection: Connection, verified: Verified, *, at: datetime) -> Person:
    """Let somebody join whom nobody has named, where the connection may do that. Contractors it may not bring: they have an end date to be said.

    Who is not of the connection's own e-mail domains is a guest there, so they need a directory or an HR system to name them.
    """
    if not settings_of(connection).jit:
        raise Refused(
            Reason.NOT_KNOWN, "no directory knows this subject, and the connection lets nobody join by signing in", connection_id=connection.id
        )
    email = (verified.email or "").strip()
    if not _is_address(email):
        raise Refused(
            Reason.NOT_KNOWN, "somebody new whose e-mail is missing, or is no address: it would be what they are known by", connection_id=connection.id
        )
    if domain_of(email.rpartition("@")[2]) not in domains_of(session, connection):
        raise Refused(
            Reason.NOT_KNOWN, "somebody new whose e-mail is not of the connection's domains: a guest or contractor joins by a directory",
            connection_id=connection.id,
        )  # fmt: skip
    _, value = _key(connection, verified)
    actor = _speaker(connection)
    source = just_in_time.source_of(session, connection.organization_id, connection.id, connection.name, actor=actor, at=at)
    again = _identity(session, verified)
    if again is not None:
        return lock_person(session, connection.organization_id, again.person_id)
    names = tuple(one for one in (value, verified.subject, *_spellings(email)) if one)
    if just_in_time.is_named_elsewhere(session, connection.organization_id, email=email, names=names, but=None):
        raise Refused(
            Reason.NOT_KNOWN, "somebody was named by this address or id before, so a sign-in does not say whether they may come",
            connection_id=connection.id,
        )  # fmt: skip
    newcomer = Newcomer(key=" ".join((verified.issuer, verified.tenant, verified.subject)), email=email, display_name=verified.display_name)
    record = just_in_time.join(session, source, newcomer, actor=actor, at=at)
    person = lock_person(session, connection.organization_id, record.person_id)
    _bind(session, connection, verified, person, by=AT_SIGN_IN, at=at)
    return person


def _is_address(email: str) -> bool:
    """Whether its local part can be one (RFC 5322 §3.4.1): in quotes whatever can be read, else without what only quotes may hold."""
    local = email.rpartition("@")[0]
    if len(local) > 2 and local.startswith('"') and local.endswith('"'):
        return local.isprintable()
    return is_bare(local)


def _spellings(email: str) -> tuple[str, ...]:
    """An address with its domain as DNS has it and as people read it: whoever is known by one is known by the other (RFC 5890 §2.3.2.1)."""
    local, _, domain = email.rpartition("@")
    known = domain_of(domain)
    if known is None:
        return ()
    try:
        read = known.encode().decode("idna")
    except UnicodeError:
        read = known
    return f"{local}@{known}", f"{local}@{read}"


def _bind(session: Session, connection: Connection, verified: Verified, person: Person, *, by: str, at: datetime) -> None:
    entries.write(
        session, connection.organization_id, at=at, actor=_speaker(connection), verb="identity bound", because=f"first sign-in, by {by}",
        subject_kind="person", subject_id=person.id,
        after={"connection": connection.name, "issuer": verified.issuer, "tenant": verified.tenant, "subject": verified.subject},
    )  # fmt: skip
    session.add(
        Identity(
            organization_id=connection.organization_id, id=new_id(), issuer=verified.issuer, tenant=verified.tenant, subject=verified.subject,
            person_id=person.id, bound_by=by, bound_at=at,
        )
    )  # fmt: skip
    session.flush()


def _speaker(connection: Connection) -> Actor:
    return Actor(kind=ActorKind.SOURCE, name=connection.name)
