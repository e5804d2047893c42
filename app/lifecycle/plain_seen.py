"""What has to be known of a record before it is switched plainly: it is held, with its person, where the token is good."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, Text, and_, exists, not_, select
from sqlalchemy.orm import aliased

from app.access.knocking import client_query
from app.database import same_document
from app.directory.tables import Person, Record, Source, Statement
from app.journal.tables import Organization
from app.lifecycle.drafts import RecordDraft
from app.lifecycle.plain_sql import one_of
from app.statements import param

Beside = tuple[ColumnElement[Any], Mapping[str, Any]]
"""An expression over Record, and the values in it."""
Becomes = Callable[["Seen"], tuple[dict[str, Any], RecordDraft] | None]
"""The document of a record that is there, read, and what is said of it; None where that is for the ordinary way to say."""


class Seen(NamedTuple):
    """A row of `seen`, in its order."""

    record_id: str
    organization_id: str
    source_name: str
    active: bool
    plain: bool
    version: int
    user_name: str
    external_id: str | None
    document: str
    said_at: int
    created_at: int
    modified_at: int
    person_id: str
    person_modified_at: int
    standing: str
    manager_id: str | None
    settings: str
    schemas_version: int | None
    has_hr: bool
    beside: Any


def is_said_already(draft: RecordDraft, there: Seen, document: Mapping[str, Any]) -> bool:
    """Whether nothing of a draft is new but `active`; `document` is what stands, read."""
    return (draft.user_name, draft.external_id) == (there.user_name, there.external_id) and same_document(draft.document, document)


def spoken_for(organization: Any, person: Any, record: Any) -> ColumnElement[bool]:
    """Whether anything else than this record has a say: another record, one that has ended too, or a statement."""
    other = aliased(Record)
    records = exists().where(other.organization_id == organization, other.person_id == person, other.id != record)
    statements = exists().where(
        Statement.organization_id == organization, Statement.person_id == person, Statement.withdrawn_at.is_(None)
    )
    return records | statements


@cache
def seen(beside: ColumnElement[Any]) -> Select[Any]:
    """The record `:record` and its person, where the token is good. In the order of `Seen`."""
    return _held(beside, Record.id == param("record"))


@cache
def seen_several(beside: ColumnElement[Any]) -> Select[Any]:
    """PostgreSQL: the same of each of `:records`."""
    return _held(beside, one_of(Record.id, "records", "postgresql"))


def _held(beside: ColumnElement[Any], which: ColumnElement[bool]) -> Select[Any]:
    # Whom somebody else holds is not waited for here: who waits keeps a connection from all others, and who holds several
    # people must not wait for one. The ordinary way waits. Who is only becoming a member of something is not held by that.
    return standing_now(beside).where(which).with_for_update(of=[Record, Person], skip_locked=True, key_share=True)


def standing_now(beside: ColumnElement[Any]) -> Select[Any]:
    client = client_query().subquery("client")
    hr = exists().where(Source.organization_id == Record.organization_id, Source.kind == "hr", Source.ended_at.is_(None))
    # A record with dates is in force only between them, which is decided elsewhere.
    undated = and_(Record.starts_at.is_(None), Record.ends_at.is_(None))
    plain = and_(not_(Record.held), undated, not_(spoken_for(Record.organization_id, Record.person_id, Record.id)))
    return (
        select(
            Record.id.expression, Record.organization_id, client.c.source_name, Record.active, plain, Record.version, Record.user_name, Record.external_id,
            Record.document.cast(Text), Record.active_said_at, Record.created_at, Record.modified_at, Person.id, Person.modified_at, Person.standing, Person.manager_id,
            Organization.settings.cast(Text), Organization.schemas_version, hr, beside,
        )
        .select_from(client)
        .join(Record, and_(Record.organization_id == client.c.organization_id, Record.source_id == client.c.source_id))
        .join(Person, and_(Person.organization_id == Record.organization_id, Person.id == Record.person_id))
        .join(Organization, Organization.id == Record.organization_id)
        .where(Record.ended_at.is_(None))
    )  # fmt: skip


