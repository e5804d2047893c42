"""Records by what a directory calls them: each directory's own names are looked up in an index, never in all records there are."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import QueryableAttribute

from app.directory.tables import Record, Source


def standing_named(organization_id: str, column: QueryableAttribute[str] | QueryableAttribute[str | None], values: Collection[str]) -> ColumnElement[bool]:
    """Whether a record stands and has one of these, by `Record.external_id` or `Record.user_name_key`: both are unique in a directory."""
    sources = select(Source.id).where(Source.organization_id == organization_id)
    return and_(Record.organization_id == organization_id, Record.source_id.in_(sources), Record.ended_at.is_(None), column.in_(values))


def ever_named(organization_id: str, column: QueryableAttribute[str] | QueryableAttribute[str | None], values: Collection[str]) -> ColumnElement[bool]:
    """The same of a record that stands, or that had it when it ended."""
    ended = and_(Record.organization_id == organization_id, Record.ended_at.is_not(None), column.in_(values))
    return or_(standing_named(organization_id, column, values), ended)
