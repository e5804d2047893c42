"""Lists: one page of those whom a filter finds, in an order that does not change, and the number of all."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from app.directory.filter_sql import GROUPS, RECORDS, compile_filter
from app.directory.filters import Filter, FilterError, parse
from app.directory.tables import Group, Record
from app.scim.answers import Problem, refused
from app.scim.schemas import LARGEST_PAGE

_USUAL_PAGE = 100
_FARTHEST = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Page:
    """`start` counts from 1, as SCIM does."""

    start: int
    count: int
    filter: Filter | None


def asked_page(arguments: MultiDict[str, str]) -> Page:
    """Raises SCIMError."""
    # RFC 7644 §3.4.2.4: below 1 means 1, a negative count means none.
    start = max(1, _number(arguments, "startIndex", 1))
    count = min(max(0, _number(arguments, "count", _USUAL_PAGE)), LARGEST_PAGE)
    text = arguments.get("filter")
    if text is None:
        return Page(start=start, count=count, filter=None)
    try:
        return Page(start=start, count=count, filter=parse(text))
    except FilterError as error:
        raise refused(f"the filter cannot be read, {error}", Problem.INVALID_FILTER) from None


def _number(arguments: MultiDict[str, str], name: str, default: int) -> int:
    text = arguments.get(name, "").strip()
    if not text:
        return default
    try:
        return min(int(text), _FARTHEST)
    except ValueError:
        raise refused(f"{name} must be a whole number, not {text[:40]!r}", Problem.INVALID_VALUE) from None


def records_on(
    session: Session, organization_id: str, source_id: str, page: Page
) -> tuple[list[Record], int]:
    """The page's records of this source, and how many the filter finds."""
    return _rows_on(session, Record, RECORDS, organization_id, source_id, page)


def groups_on(session: Session, organization_id: str, source_id: str, page: Page) -> tuple[list[Group], int]:
    """The page's groups of this source, and how many the filter finds."""
    return _rows_on(session, Group, GROUPS, organization_id, source_id, page)


def _rows_on(
    session: Session, table: Any, over: Any, organization_id: str, source_id: str, page: Page
) -> tuple[list[Any], int]:
    wanted = [
        table.organization_id == organization_id,
        table.source_id == source_id,
        table.ended_at.is_(None),
    ]
    if page.filter is not None:
        wanted.append(compile_filter(page.filter, over, session.get_bind().dialect.name))
    rows: list[Any] = []
    if page.count:
        query = select(table).where(*wanted).order_by(table.id).offset(page.start - 1).limit(page.count)
        rows = list(session.scalars(query))
    if page.start == 1 and page.count > 0 and len(rows) < page.count:
        # The page was not filled, so these are all; the usual look-up by name need not count again.
        return rows, len(rows)
    # RFC 7644 §3.4.2: totalResults counts all matches, whatever page is cut from them.
    return rows, session.scalar(select(func.count()).select_from(table).where(*wanted)) or 0
