"""Lists: one page of those whom a filter finds, in an order that does not change, and the number of all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from app.directory.filter_sql import compile_filter
from app.directory.filters import Filter, FilterError, parse
from app.directory.name_parts import rare
from app.directory.sort_sql import Sortable, SortError, SortPath, SortValue, after, ordered, sort_key, sort_path
from app.directory.tallies import number_of
from app.directory.vocabulary import STANDARD, Vocabulary
from app.scim.answers import Problem, refused
from app.scim.cursors import Place
from app.scim.schemas import LARGEST_PAGE, USUAL_PAGE

_FARTHEST = 2**31 - 1
_NAMES = ("filter", "sortBy", "sortOrder", "startIndex", "count", "cursor")


@dataclass(frozen=True, kw_only=True)
class Page:
    """What of a list is asked for. `start` counts from 1, as SCIM does; `cursor` is None where pages go by `start`."""

    start: int
    count: int
    filter: Filter | None
    sort_by: str | None
    descending: bool
    cursor: str | None
    question: tuple[str, ...]
    """What decides the list's members and order, as it was written, and by which schemas it is read."""
    vocabulary: Vocabulary


@dataclass(frozen=True, kw_only=True)
class Found:
    """The page's rows, those of each kind of resource by themselves; `following` is where the next page begins, if there is one."""

    rows: tuple[list[Any], ...]
    total: int
    following: Place | None = None


def asked_page(arguments: MultiDict[str, str], vocabulary: Vocabulary = STANDARD) -> Page:
    """What a query string asks for. Raises SCIMError."""
    return _page({name: arguments[name] for name in _NAMES if name in arguments}, vocabulary)


def searched_page(body: Mapping[str, Any], vocabulary: Vocabulary = STANDARD) -> Page:
    """What a SearchRequest asks for (RFC 7644 §3.4.3). Raises SCIMError."""
    spelled = {name.lower(): name for name in _NAMES}
    said: dict[str, str] = {}
    for key, value in body.items():
        name = spelled.get(key.lower())
        if name is None or value is None:
            continue
        wanted: type = int if name in ("startIndex", "count") else str
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise refused(f"{name} must be {'a whole number' if wanted is int else 'a text'}", Problem.INVALID_VALUE)
        said[name] = str(value)
    return _page(said, vocabulary)


def _page(said: Mapping[str, str], vocabulary: Vocabulary) -> Page:
    cursor, text, sort_by = said.get("cursor"), said.get("filter"), said.get("sortBy", "").strip()
    if cursor is not None and said.get("startIndex", "").strip():
        raise refused("startIndex and cursor are two ways of paging: send only one of them", Problem.INVALID_VALUE)
    descending = bool(sort_by) and _descends(said.get("sortOrder", ""))
    return Page(
        # RFC 7644 §3.4.2.4: below 1 means 1, a negative count means none.
        start=max(1, _number(said, "startIndex", 1)),
        count=_count(said) if cursor is None else _cursor_count(said),
        filter=None if text is None else _filter(text, vocabulary),
        sort_by=sort_by or None,
        descending=descending,
        cursor=None if cursor is None else cursor.strip(),
        question=(text or "", sort_by, str(descending), *([] if vocabulary.version is None else [str(vocabulary.version)])),
        vocabulary=vocabulary,
    )


def _filter(text: str, vocabulary: Vocabulary) -> Filter:
    try:
        return parse(text, vocabulary)
    except FilterError as error:
        raise refused(f"the filter cannot be read, {error}", Problem.INVALID_FILTER) from None


def _descends(order: str) -> bool:
    word = order.strip().lower()
    if word not in ("", "ascending", "descending"):
        raise refused(f"sortOrder must be ascending or descending, not {order[:40]!r}", Problem.INVALID_VALUE)
    return word == "descending"


def _count(said: Mapping[str, str]) -> int:
    return min(max(0, _number(said, "count", USUAL_PAGE)), LARGEST_PAGE)


def _cursor_count(said: Mapping[str, str]) -> int:
    # RFC 9865 §2.1: a page by cursor holds at least one, or it would never end.
    count = _number(said, "count", USUAL_PAGE, problem=Problem.INVALID_COUNT)
    if count < 1:
        raise refused(f"count must be between 1 and {LARGEST_PAGE} where pages go by cursor, not {count}", Problem.INVALID_COUNT)
    return min(count, LARGEST_PAGE)


def _number(said: Mapping[str, str], name: str, default: int, *, problem: Problem = Problem.INVALID_VALUE) -> int:
    text = said.get(name, "").strip()
    if not text:
        return default
    try:
        return min(int(text), _FARTHEST)
    except ValueError:
        raise refused(f"{name} must be a whole number, not {text[:40]!r}", problem) from None


def found_by_index(session: Session, organization_id: str, source_id: str, page: Page, kinds: Sequence[Sortable]) -> Found:
    """The page that begins at `page.start`, in the order of `kinds`. Raises SCIMError."""
    rows: list[list[Any]] = []
    total, room = 0, page.count
    for query in _queries(session, organization_id, source_id, page, kinds):
        skipped = max(0, page.start - 1 - total)
        here = query.rows(room, skipped=skipped) if room else []
        # Where the page was not filled these are all; the usual look-up by name need not count again.
        total += len(here) if skipped == 0 and len(here) < room else query.count()
        room -= len(here)
        rows.append([row for row, _ in here])
    # RFC 7644 §3.4.2: totalResults counts all matches, whatever page is cut from them.
    return Found(rows=tuple(rows), total=total)


def found_by_cursor(
    session: Session, organization_id: str, source_id: str, page: Page, kinds: Sequence[Sortable], place: Place | None
) -> Found:
    """The page that begins after `place`, at the cost of its own rows however far on it is. Raises SCIMError."""
    queries = _queries(session, organization_id, source_id, page, kinds)
    rows: list[list[Any]] = [[] for _ in kinds]
    room, last = page.count, None if place is None else place.last
    following: tuple[int, tuple[SortValue, str] | None] | None = None
    for number in range(0 if place is None else place.kind, len(kinds)):
        # One more than fits tells whether there is another page.
        here = queries[number].rows(room + 1, behind=last)
        rows[number] = [row for row, _ in here[:room]]
        if len(here) > room:
            following = (number, (here[room - 1][1], here[room - 1][0].id) if room else last)
            break
        room, last = room - len(here), None
    if place is not None:
        # Counting would cost as much as reading the whole list; a list that is read by cursor is counted once.
        total = place.total
    elif following is None:
        total = sum(map(len, rows))
    else:
        total = sum(query.count() for query in queries)
    return Found(
        rows=tuple(rows),
        total=total,
        following=None if following is None else Place(kind=following[0], last=following[1], total=total),
    )


def _queries(session: Session, organization_id: str, source_id: str, page: Page, kinds: Sequence[Sortable]) -> list["_Query"]:
    paths = _sort_paths(page, kinds)
    dialect = session.get_bind().dialect.name
    queries = []
    for kind, path in zip(kinds, paths, strict=True):
        table = kind.table
        wanted = [table.organization_id == organization_id, table.source_id == source_id, table.ended_at.is_(None)]
        if page.filter is not None:
            wanted.append(compile_filter(page.filter, kind.over, dialect, rare=rare(session)))
        key = None if path is None else sort_key(path, kind, dialect)
        everybody = (organization_id, source_id) if page.filter is None else None
        queries.append(_Query(session=session, table=table, wanted=wanted, key=key, descending=page.descending, everybody=everybody))
    return queries


def _sort_paths(page: Page, kinds: Sequence[Sortable]) -> list[SortPath | None]:
    text = page.sort_by
    if text is None:
        return [None] * len(kinds)
    try:
        paths = [sort_path(text, kind, page.vocabulary) for kind in kinds]
    except SortError as error:
        raise refused(f"sortBy: {error}", Problem.INVALID_PATH) from None
    if not any(paths):
        names = " or ".join(kind.name for kind in kinds)
        raise refused(f"sortBy: {text[:100]!r} is no attribute of a {names} that could be sorted by", Problem.INVALID_PATH)
    return paths


@dataclass(frozen=True, kw_only=True)
class _Query:
    """Rows of one kind: of this source, standing, found by the filter; each with the value it is sorted by."""

    session: Session
    table: Any
    wanted: list[Any]
    key: Any
    descending: bool
    everybody: tuple[str, str] | None
    """The source whose rows are all found, where there is no filter."""

    def rows(self, limit: int, *, skipped: int = 0, behind: tuple[SortValue, str] | None = None) -> list[tuple[Any, SortValue]]:
        table, key = self.table, self.key
        wanted = self.wanted
        if behind is not None:
            wanted = [*wanted, after(key, behind[0], table.id, behind[1], descending=self.descending)]
        if key is None:
            query = select(table).where(*wanted).order_by(table.id).limit(limit)
            return [(row, None) for row in self.session.scalars(query.offset(skipped) if skipped else query)]
        key = key.label("sort_key")
        query = select(table, key).where(*wanted).order_by(*ordered(key, table.id, descending=self.descending)).limit(limit)
        return [(row, value) for row, value in self.session.execute(query.offset(skipped) if skipped else query)]

    def count(self) -> int:
        if self.everybody is not None:
            organization_id, source_id = self.everybody
            tally = number_of(self.table.__tablename__)
            return self.session.scalar(tally, {"organization": organization_id, "source": source_id}) or 0
        return self.session.scalar(select(func.count()).select_from(self.table).where(*self.wanted)) or 0
