"""Verbs on an organisation's own schemas: declaring one, taking one back, and the vocabulary that follows from them."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.directory.extensions import declared, refuse_beside
from app.directory.tables import SchemaExtension
from app.directory.vocabulary import Extension, Vocabulary
from app.journal import entries
from app.journal.tables import Organization
from app.lifecycle.errors import NotFound


def declare(session: Session, organization_id: str, extension: Extension, *, actor: Actor, at: datetime) -> bool:
    """Put a schema in force, in the place of the one with its URN. Gives whether anything changed. Raises UnusableSchema.

    What is stored already is not looked at: a value is checked when it is next said.
    """
    organization = _locked(session, organization_id)
    refuse_beside(extension, declared_by(session, organization_id))
    row = session.get(SchemaExtension, (organization_id, extension.urn.lower()))
    if row is not None and (row.core, row.described) == (extension.core, extension.described):
        return False
    organization.schemas_version = journal_id = entries.write(
        session, organization_id, at=at, actor=actor, verb="schema declared" if row is None else "schema changed", because="operator",
        subject_kind="schema", subject_id=extension.urn, before=_said(row), after={"core": extension.core, "schema": dict(extension.described)},
    )  # fmt: skip
    if row is None:
        row = SchemaExtension(organization_id=organization_id, urn_key=extension.urn.lower())
        session.add(row)
    row.core, row.described, row.declared_at, row.journal_id = extension.core, dict(extension.described), at, journal_id
    session.flush()
    return True


def take_back(session: Session, organization_id: str, urn: str, *, actor: Actor, at: datetime) -> Extension:
    """Declare a schema no more; what was said by it stays where it is, unchecked from now on. Raises NotFound."""
    organization = _locked(session, organization_id)
    row = _found(session, organization_id, urn)
    gone = declared(row.described, row.core)
    organization.schemas_version = entries.write(
        session, organization_id, at=at, actor=actor, verb="schema removed", because="operator", subject_kind="schema", subject_id=gone.urn,
        before=_said(row),
    )  # fmt: skip
    session.delete(row)
    session.flush()
    return gone


def find_declared(session: Session, organization_id: str, urn: str) -> Extension:
    """A declared schema by its URN, in any case. Raises NotFound."""
    row = _found(session, organization_id, urn)
    return declared(row.described, row.core)


def declared_by(session: Session, organization_id: str) -> list[Extension]:
    """Every schema that an organisation declares, by URN."""
    query = select(SchemaExtension).where(SchemaExtension.organization_id == organization_id).order_by(SchemaExtension.urn_key)
    return [declared(row.described, row.core) for row in session.scalars(query)]


def vocabulary_of(session: Session, organization_id: str, *, version: int | None) -> Vocabulary:
    """What an organisation's resources are read by, at this version of its schemas."""
    return Vocabulary(declared_by(session, organization_id), version=version)


def _locked(session: Session, organization_id: str) -> Organization:
    # Two who declare at once are counted, and numbered, one after the other.
    return session.get_one(Organization, organization_id, with_for_update=True)


def _found(session: Session, organization_id: str, urn: str) -> SchemaExtension:
    row = session.get(SchemaExtension, (organization_id, urn.lower()))
    if row is None:
        raise NotFound("schema", urn)
    return row


def _said(row: SchemaExtension | None) -> dict[str, object] | None:
    return None if row is None else {"core": row.core, "schema": row.described}
