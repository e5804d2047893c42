"""Joining at the first sign-in, where a connection may bring people whom no directory has named."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.directory.finding import ever_named
from app.directory.names import name_key
from app.directory.tables import Record, RecordEmail, Source
from app.journal import entries
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.matching import BY_SIGN_IN, Nobody
from app.lifecycle.records import add_record

KIND: Final = BY_SIGN_IN


@dataclass(frozen=True, kw_only=True)
class Newcomer:
    """Somebody whom a connection vouches for and nobody has named. `key` tells them apart from all others of the connection."""

    key: str
    email: str
    display_name: str | None


def source_of(session: Session, organization_id: str, connection_id: str, name: str, *, actor: Actor, at: datetime) -> Source:
    """What stands for a connection among the sources, made at its first newcomer; locked, so that two at once are one after the other."""
    found = session.scalar(
        select(Source)
        .where(Source.organization_id == organization_id, Source.id == connection_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if found is not None:
        return found
    # A directory may have the connection's name: then the id tells the two apart.
    names = set(session.scalars(select(Source.name).where(Source.organization_id == organization_id, Source.ended_at.is_(None))))
    shown = f"sign-in {name}"
    made = Source(
        organization_id=organization_id, id=connection_id, kind=KIND, name=shown if shown not in names else f"{shown} {connection_id}",
        created_at=at, journal_id=0,
    )  # fmt: skip
    made.journal_id = entries.write(
        session, organization_id, at=at, actor=actor, verb="source added", because="the first person joined by signing in",
        subject_kind="source", subject_id=made.id, after={"name": made.name, "kind": KIND},
    )  # fmt: skip
    session.add(made)
    session.flush()
    return made


def is_named_elsewhere(session: Session, organization_id: str, *, email: str | None, names: tuple[str, ...], but: str | None) -> bool:
    """Whether any record bears this address or one of these names, or did when it ended; those of the person `but` aside.

    Then it is not this sign-in's to say whether they may come: a leaver would else come back by a new account of the same
    name, and somebody who was switched off by one that nobody knew.
    """
    keys = {name_key(one) for one in (email, *names) if one}
    others = [Record.organization_id == organization_id, *([] if but is None else [Record.person_id != but])]
    by_name = select(Record.id).where(
        *others,
        or_(
            ever_named(organization_id, Record.user_name_key, keys), ever_named(organization_id, Record.external_id, names),
            Record.employee_number.in_(names),
        ),
    )  # fmt: skip
    by_address = (
        select(Record.id)
        .join(RecordEmail, (RecordEmail.organization_id == Record.organization_id) & (RecordEmail.record_id == Record.id))
        .where(*others, RecordEmail.address_key.in_(keys))
    )
    return any(session.scalar(query.limit(1)) is not None for query in (by_name, by_address))


def join(session: Session, source: Source, newcomer: Newcomer, *, actor: Actor, at: datetime) -> Record:
    """A person of their own, never joined to one who is there. The caller has asked that nobody named them before.

    They stand until an operator or an HR system says otherwise: there is no directory that could.
    """
    document: dict[str, Any] = {
        "userName": newcomer.email, "emails": [{"value": newcomer.email, "primary": True}],
        **({"displayName": newcomer.display_name} if newcomer.display_name else {}),
    }  # fmt: skip
    draft = RecordDraft(external_id=newcomer.key, user_name=newcomer.email, active=True, document=document)
    return add_record(session, source.organization_id, source.id, draft, match=Nobody(), actor=actor, at=at, because="first sign-in")
