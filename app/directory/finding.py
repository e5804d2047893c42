"""Records by what a directory calls them: each directory's own names are looked up in an index, never in all records there are."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, CompoundSelect, and_, false, or_, select
from sqlalchemy.orm import QueryableAttribute

from app.directory.tables import Group, Record, Source


def standing_named(organization_id: str, column: QueryableAttribute[str] | QueryableAttribute[str | None], values: Collection[str]) -> ColumnElement[bool]:
    """Whether a record stands and has one of these, by `Record.external_id` or `Record.user_name_key`: both are unique in a directory."""
    sources = select(Source.id).where(Source.organization_id == organization_id)
    return and_(Record.organization_id == organization_id, Record.source_id.in_(sources), Record.ended_at.is_(None), column.in_(values))


def called(
    of: type[Record] | type[Group], organization_id: str, source_id: str, *, name_key: str, external_id: str | None
) -> CompoundSelect[str]:
    """The ids of those records, or groups, of one directory that stand and have this name or this externalId.

    Each is looked up in its index: asked for one *or* the other, SQLite reads all that the directory has.
    """
    own = select(of.id).where(of.organization_id == organization_id, of.source_id == source_id, of.ended_at.is_(None))
    names = Record.user_name_key if of is Record else Group.display_name_key
    return own.where(names == name_key).union(own.where(false() if external_id is None else of.external_id == external_id))


def ever_named(organization_id: str, column: QueryableAttribute[str] | QueryableAttribute[str | None], values: Collection[str]) -> ColumnElement[bool]:
    """The same of a record that stands, or that had it when it ended."""
    ended = and_(Record.organization_id == organization_id, Record.ended_at.is_not(None), column.in_(values))
    return or_(standing_named(organization_id, column, values), ended)
