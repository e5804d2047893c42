"""By whose records sign-ins are known: a directory that is given up must leave nobody behind who cannot sign in any more."""

from typing import Final

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session, aliased

from app.access.connection_tables import Connection, Identity
from app.directory.tables import Person, Record, Source, Standing
from app.lifecycle import just_in_time
from app.lifecycle.errors import NAMED, StillOwed, named
from app.sso.binding import AT_SIGN_IN
from app.sso.connections import DirectoryKey, Matches, settings_of, standing_connections

_COLUMNS: Final = {Matches.EXTERNAL_ID: "external_id", Matches.USER_NAME: "user_name_key", Matches.EMPLOYEE_NUMBER: "employee_number"}


def require_known_without(session: Session, source: Source) -> None:
    """Raises StillOwed where a connection would know people no more, were the records of this source ended."""
    for connection in standing_connections(session, source.organization_id):
        key = settings_of(connection).directory_key or DirectoryKey()
        command = f"doorlist connection set {connection.name} --directory NEW"
        if key.source_id == source.id:
            raise StillOwed(f"{source.name} cannot be ended: sign-ins through {connection.name} are known by its records alone. First: {command}")
        known = _known_by_it_alone(source, connection, key)
        names = session.scalars(known.limit(NAMED)).all() if key.source_id is None else ()
        if names:
            count = session.scalar(select(func.count()).select_from(known.order_by(None).subquery())) or 0
            raise StillOwed(
                f"{source.name} cannot be ended: by the {key.matches} that it alone says, {connection.name} knows {named(names, count)}, who could "
                f"sign in no more. Let another source say the same, or choose by whose records people are known: {command}"
            )


def _known_by_it_alone(source: Source, connection: Connection, key: DirectoryKey) -> Select[str]:
    """Whoever is bound here, and of whom no other directory says what this one does. What a message says in an attribute is not kept: any value counts."""
    other, its = aliased(Record), aliased(Source)
    column = _COLUMNS[key.matches]
    value: ColumnElement[str] = getattr(Record, column)
    elsewhere = (
        select(other.id)
        .join(its, (its.organization_id == other.organization_id) & (its.id == other.source_id))
        .where(
            other.organization_id == Record.organization_id, other.person_id == Record.person_id, other.source_id != source.id,
            other.ended_at.is_(None), its.kind != just_in_time.KIND, getattr(other, column) == value,
        )
    )  # fmt: skip
    # A name is folded before it is compared, which no database can do.
    by_subject = key.attribute is None and key.matches is not Matches.USER_NAME
    return (
        select(Person.user_name)
        .join(Record, (Record.organization_id == Person.organization_id) & (Record.person_id == Person.id))
        .join(Identity, (Identity.organization_id == Person.organization_id) & (Identity.person_id == Person.id))
        .where(
            Record.organization_id == source.organization_id, Record.source_id == source.id, Record.ended_at.is_(None),
            Person.standing != Standing.DEPARTED, Identity.issuer == connection.issuer, Identity.ended_at.is_(None),
            Identity.bound_by != AT_SIGN_IN, value == Identity.subject if by_subject else value.is_not(None), ~elsewhere.exists(),
        )
        .order_by(Person.user_name)
        .distinct()
    )  # fmt: skip
