"""Lists: one page of those whom a filter finds, in an order that does not change, and the number of all.

Where a list holds several kinds of resources, kind comes after kind, unless it is sorted: an order is one over all of them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, Select, false, func, literal_column, select, true, union_all
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from app.directory.filter_sql import compile_filter
from app.directory.filters import Filter, FilterError, parse_asked
from app.directory.name_parts import rare
from app.directory.sort_sql import Sortable, SortError, SortPath, SortValue, after, comparable, ordered, sort_key, sort_path
from app.directory.tallies import number_of
from app.directory.vocabulary import STANDARD, Vocabulary
from app.scim.answers import Problem, refused
from app.scim.cursors import Place
from app.scim.schemas import LARGEST_PAGE, USUAL_PAGE

_FARTHEST = 2**31 - 1
# Python reads digits of every script as well, and underscores between them; and refuses to read more of them than some thousands.
_WHOLE = re.compile(r"[+-]?[0-9]{1,4000}")
PAGE_NAMES = ("filter", "sortBy", "sortOrder", "startIndex", "count", "cursor")


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
    turns: tuple[int, ...]
    """The page from its first resource to its last: to which of `rows` each belongs."""
    total: int
    following: Place | None = None


def asked_page(arguments: MultiDict[str, str], vocabulary: Vocabulary = STANDARD) -> Page:
    """What a query string asks for, in any letters as in a SearchRequest. Raises SCIMError, also for what it says twice."""
    spelling = {name.lower(): name for name in PAGE_NAMES}
    said: dict[str, str] = {}
    for key, value in arguments.items(multi=True):
        name = spelling.get(key.lower())
        if name in said:
            raise refused(f"{name} is said twice: nobody guesses which of them is meant", Problem.INVALID_VALUE)
        if name is not None:
            said[name] = value
    return _page(said, vocabulary)


def searched_page(asked: Mapping[str, Any], vocabulary: Vocabulary = STANDARD) -> Page:
    """What a SearchRequest asks for (RFC 7644 §3.4.3), by names as they are spelled here. Raises SCIMError."""
    by_cursor = asked.get("cursor") is not None
    said: dict[str, str] = {}
    for name in PAGE_NAMES:
        value = asked.get(name)
        if value is None:
            continue
        wanted: type = int if name in ("startIndex", "count") else str
        if not isinstance(value, wanted) or isinstance(value, bool):
            # RFC 9865 §2.1 has types of its own.
            own = {"cursor": Problem.INVALID_CURSOR, "count": Problem.INVALID_COUNT} if by_cursor else {}
            raise refused(f"{name} must be {'a whole number' if wanted is int else 'a text'}", own.get(name, Problem.INVALID_VALUE))
        said[name] = str(value)
    return _page(said, vocabulary)


def _page(said: Mapping[str, str], vocabulary: Vocabulary) -> Page:
    cursor, text, sort_by = said.get("cursor"), said.get("filter"), said.get("sortBy", "").strip()
    if cursor is not None and said.get("startIndex", "").strip():
        raise refused("startIndex and cursor are two ways of paging: send only one of them", Problem.INVALID_VALUE)
    descending = bool(sort_by) and _descends(said.get("sortOrder", ""))
    return Page(
        # RFC 7644 §3.4.2.4: below 1 means 1.
        start=max(1, _number(said, "startIndex", 1)),
        count=_count(said, Problem.INVALID_VALUE if cursor is None else Problem.INVALID_COUNT),
        filter=None if text is None else _filter(text, vocabulary),
        sort_by=sort_by or None,
        descending=descending,
        cursor=None if cursor is None else cursor.strip(),
        question=(text or "", sort_by, str(descending), *([] if vocabulary.version is None else [str(vocabulary.version)])),
        vocabulary=vocabulary,
    )


def _filter(text: str, vocabulary: Vocabulary) -> Filter:
    try:
        return parse_asked(text, vocabulary)
    except FilterError as error:
        raise refused(f"the filter cannot be read, {error}", Problem.INVALID_FILTER) from None


def _descends(order: str) -> bool:
    word = order.strip().lower()
    if word not in ("", "ascending", "descending"):
        raise refused(f"sortOrder must be ascending or descending, not {order[:40]!r}", Problem.INVALID_VALUE)
    return word == "descending"


def _count(said: Mapping[str, str], problem: Problem) -> int:
    # RFC 7644 §3.4.2.4 and RFC 9865 §2: a negative count means none. A page may hold fewer than were asked for.
    return min(max(0, _number(said, "count", USUAL_PAGE, problem=problem)), LARGEST_PAGE)


def _number(said: Mapping[str, str], name: str, default: int, *, problem: Problem = Problem.INVALID_VALUE) -> int:
    text = said.get(name, "").strip()
    if not text:
        return default
    if _WHOLE.fullmatch(text) is None:
        raise refused(f"{name} must be a whole number, not {text[:40]!r}", problem)
    return min(int(text), _FARTHEST)


def found_by_index(session: Session, organization_id: str, source_id: str, page: Page, kinds: Sequence[Sortable], *, base: str) -> Found:
    """The page that begins at `page.start`, with addresses below `base`. Raises SCIMError."""
    queries = _queries(session, organization_id, source_id, page, kinds, base)
    if _is_one_order(page, kinds):
        return _found_together(_Together(session=session, queries=queries), page, skipped=page.start - 1)
    rows: list[list[Any]] = []
    total, room = 0, page.count
    for query in queries:
        skipped = max(0, page.start - 1 - total)
        here = query.rows(room, skipped=skipped) if room else []
        # Where the page was not filled these are all; the usual look-up by name need not count again.
        total += len(here) if skipped == 0 and len(here) < room else query.count()
        room -= len(here)
        rows.append([row for row, _ in here])
    # RFC 7644 §3.4.2: totalResults counts all matches, whatever page is cut from them.
    return Found(rows=tuple(rows), turns=_kind_after_kind(rows), total=total)


def found_by_cursor(
    session: Session, organization_id: str, source_id: str, page: Page, kinds: Sequence[Sortable], place: Place | None, *, base: str
) -> Found:
    """The page that begins after `place`, at the cost of its own rows however far on it is. Raises SCIMError."""
    queries = _queries(session, organization_id, source_id, page, kinds, base)
    if not page.count:
        # RFC 9865 §2: this asks how many there are. No page follows, or a client that reads on would never come to an end.
        total = sum(query.count() for query in queries) if place is None else place.total
        return Found(rows=tuple([] for _ in kinds), turns=(), total=total)
    if _is_one_order(page, kinds):
        return _found_together(_Together(session=session, queries=queries), page, behind=place)
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
        turns=_kind_after_kind(rows),
        total=total,
        following=None if following is None else Place(kind=following[0], last=following[1], total=total),
    )


def _is_one_order(page: Page, kinds: Sequence[Sortable]) -> bool:
    return page.sort_by is not None and len(kinds) > 1


def _kind_after_kind(rows: Sequence[list[Any]]) -> tuple[int, ...]:
    return tuple(number for number, here in enumerate(rows) for _ in here)


def _found_together(together: "_Together", page: Page, *, skipped: int = 0, behind: Place | None = None) -> Found:
    # One more than fits tells whether there is another page.
    places = together.places(page.count + 1, skipped=skipped, behind=behind)
    here, more = places[: page.count], len(places) > page.count
    if behind is not None:
        total = behind.total
    elif skipped or more:
        total = sum(query.count() for query in together.queries)
    else:
        total = len(here)
    rows, turns = together.read(here)
    following = None
    if more and page.cursor is not None:
        value, kind, row_id = here[-1]
        following = Place(kind=kind, last=(value, row_id), total=total)
    return Found(rows=rows, turns=turns, total=total, following=following)


def _queries(session: Session, organization_id: str, source_id: str, page: Page, kinds: Sequence[Sortable], base: str) -> list["_Query"]:
    paths = _sort_paths(page, kinds)
    dialect = session.get_bind().dialect.name
    keys: Sequence[Any] = [None if path is None else sort_key(path, kind, dialect) for kind, path in zip(kinds, paths, strict=True)]
    if _is_one_order(page, kinds):
        keys = comparable(keys, paths, kinds)
    queries = []
    for kind, key in zip(kinds, keys, strict=True):
        table = kind.table
        own = (table.organization_id == organization_id, table.source_id == source_id, table.ended_at.is_(None))
        found = () if page.filter is None else (compile_filter(page.filter, kind.over, dialect, rare=rare(session), base=base),)
        everybody = (organization_id, source_id) if page.filter is None else None
        queries.append(
            _Query(session=session, table=table, own=own, wanted=(*own, *found), key=key, descending=page.descending, everybody=everybody)
        )
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
    own: tuple[Any, ...]
    """What holds of every standing row of this source, whatever the filter."""
    wanted: tuple[Any, ...]
    key: Any
    descending: bool
    everybody: tuple[str, str] | None
    """The source whose rows are all found, where there is no filter."""

    def rows(self, limit: int, *, skipped: int = 0, behind: tuple[SortValue, str] | None = None) -> list[tuple[Any, SortValue]]:
        table, key = self.table, self.key
        wanted = self.wanted
        if behind is not None:
            wanted = (*wanted, after(key, behind[0], table.id > behind[1], descending=self.descending))
        if key is None:
            query = select(table).where(*wanted).order_by(table.id).limit(limit)
            return [(row, None) for row in self.session.scalars(query.offset(skipped) if skipped else query)]
        key = key.label("sort_key")
        query = select(table, key).where(*wanted).order_by(*ordered(key, table.id, descending=self.descending)).limit(limit)
        return [(row, value) for row, value in self.session.execute(query.offset(skipped) if skipped else query)]

    def with_ids(self, ids: list[str]) -> dict[str, Any]:
        """Those of them that stand, by id."""
        if not ids:
            return {}
        return {row.id: row for row in self.session.scalars(select(self.table).where(*self.own, self.table.id.in_(ids)))}

    def count(self) -> int:
        if self.everybody is not None:
            organization_id, source_id = self.everybody
            tally = number_of(self.table.__tablename__)
            return self.session.scalar(tally, {"organization": organization_id, "source": source_id}) or 0
        return self.session.scalar(select(func.count()).select_from(self.table).where(*self.wanted)) or 0


@dataclass(frozen=True, kw_only=True)
class _Together:
    """Rows of several kinds in one order: by what they are sorted by, and equals kind by kind and then by id.

    The database puts values and ids in order; whole rows are read for the page alone.
    """

    session: Session
    queries: list[_Query]

    def places(self, limit: int, *, skipped: int, behind: Place | None) -> list[tuple[SortValue, int, str]]:
        """The value, the kind and the id of each."""
        listed = union_all(*(self._of_kind(number, behind) for number in range(len(self.queries)))).subquery("listed")
        order = ordered(listed.c.sort_key, listed.c.kind, descending=self.queries[0].descending)
        query = select(listed.c.sort_key, listed.c.kind, listed.c.id).order_by(*order, listed.c.id).limit(limit)
        return [(value, kind, row_id) for value, kind, row_id in self.session.execute(query.offset(skipped) if skipped else query)]

    def _of_kind(self, number: int, behind: Place | None) -> Select[Any]:
        query = self.queries[number]
        wanted = query.wanted
        if behind is not None and behind.last is not None:
            value, last_id = behind.last
            further = query.table.id > last_id if number == behind.kind else true() if number > behind.kind else false()
            wanted = (*wanted, after(query.key, value, further, descending=query.descending))
        kind = literal_column(str(number), Integer)
        return select(query.key.label("sort_key"), kind.label("kind"), query.table.id.label("id")).where(*wanted)

    def read(self, places: Sequence[tuple[SortValue, int, str]]) -> tuple[tuple[list[Any], ...], tuple[int, ...]]:
        """The rows at these places, those of each kind by themselves, and whose turn it is at each."""
        standing = [query.with_ids([row_id for _, kind, row_id in places if kind == number]) for number, query in enumerate(self.queries)]
        # Whoever was deleted since is not there any more.
        there = [(kind, row_id) for _, kind, row_id in places if row_id in standing[kind]]
        rows = tuple([kept[row_id] for kind, row_id in there if kind == number] for number, kept in enumerate(standing))
        return rows, tuple(kind for kind, _ in there)
