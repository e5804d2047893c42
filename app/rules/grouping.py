"""What a rule's `for_each` says: by which attribute people are gathered, read from text and said as SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Text, and_, case, cast, column, func, literal, literal_column, true
from sqlalchemy.orm import InstrumentedAttribute

from app.directory.filters import And, Compare, Filter, FilterError, split_path
from app.directory.json_sql import folded_by_postgres
from app.directory.tables import Person
from app.directory.values import Operator
from app.directory.vocabulary import ENTERPRISE_URN, attribute_at

LONGEST_KEY = 500
"""Characters of a key. Longer ones are cut: PostgreSQL's index cannot hold a row of more than 2,704 bytes."""

BLANKS = " \t\r\n"


class BadGrouping(ValueError):
    """A `for_each` that cannot be read, said in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """One attribute path: the keys that lead into the document, conditions on the elements of a list, a sub-attribute."""

    path: tuple[str, ...]
    conditions: tuple[tuple[str, str | bool], ...] = ()
    sub: str | None = None


_COLUMNS: dict[tuple[str, ...], InstrumentedAttribute[Any]] = {
    ("userName",): Person.user_name,
    ("displayName",): Person.display_name,
    ("userType",): Person.user_type,
    (ENTERPRISE_URN, "department"): Person.department,
    (ENTERPRISE_URN, "division"): Person.division,
    (ENTERPRISE_URN, "employeeNumber"): Person.employee_number,
}


def parse_grouping(text: str) -> Grouping | None:
    """Read `for_each`; None for `manager` and `group`, which are no attributes. Raises BadGrouping.

    A condition in brackets may compare with `eq`, several joined with `and`: `addresses[type eq "work"].locality`.
    """
    if text in ("manager", "group"):
        return None
    try:
        found = split_path(text)
    except FilterError as error:
        raise BadGrouping(f"{error} in {text!r}; write it like department, title or addresses[type eq \"work\"].locality") from error
    head = 2 if ":" in found.names[0] else 1
    rest = found.names[head:] + ((found.sub,) if found.sub is not None else ())
    if len(found.names) < head or len(rest) > 1 or any('"' in name for name in found.names):
        raise BadGrouping(f"{text!r} must name one attribute, or one part of it")
    conditions = () if found.where is None else _conditions(found.where, text=text)
    return Grouping(path=found.names[:head], conditions=conditions, sub=rest[0] if rest else None)


def _conditions(where: Filter, *, text: str) -> tuple[tuple[str, str | bool], ...]:
    match where:
        case And(terms=terms):
            return tuple(condition for term in terms for condition in _conditions(term, text=text))
        case Compare(path=path, op=Operator.EQ, value=bool() | str() as value) if len(path.names) == 1:
            return ((path.names[0], value),)
        case _:
            raise BadGrouping(f"the brackets in {text!r} may hold only comparisons like type eq \"work\", several joined with and")


@dataclass(frozen=True, kw_only=True)
class Keys:
    """`key` as SQL, the list to be joined to `person` for it (one row per element), and which elements count."""

    key: ColumnElement[str]
    elements: FromClause | None = None
    where: ColumnElement[bool] | None = None


def trimmed(value: ColumnElement[Any]) -> ColumnElement[str]:
    """A key as it is compared everywhere: outer blanks cut, never longer than an index can hold."""
    return func.substr(func.trim(value, BLANKS), 1, LONGEST_KEY, type_=Text())


def as_key(text: str) -> str:
    """What `trimmed` makes of it."""
    return text.strip(BLANKS)[:LONGEST_KEY]


def keys_of(grouping: Grouping, dialect: str) -> Keys:
    """The keys that a person has under this grouping. A list gives one for each of its elements."""
    plain = _COLUMNS.get(grouping.path)
    if plain is not None and grouping.sub is None and not grouping.conditions:
        return Keys(key=trimmed(plain.expression))
    return _in_postgresql(grouping) if dialect == "postgresql" else _in_sqlite(grouping)


# Which attributes are lists is not known for extensions of others, so each is taken as a list: one that is
# none becomes a list of one, one that is missing a list of nothing.


def _in_sqlite(grouping: Grouping) -> Keys:
    path = _sqlite_path(grouping.path)
    known = attribute_at(grouping.path)
    said = Person.document.op("->")(literal(path, Text()))
    as_list = case((func.json_type(Person.document, path) == "array", said), else_=func.json_array(said))
    # What the standard calls a list is stored as one, and taken apart where it stands.
    listed = func.json_each(Person.document, path) if known is not None and known.many else func.json_each(as_list)
    columns = [column(name, Text()) for name in ("value", "type", "json", "fullkey")]
    elements = listed.table_valued(*columns, name="element")
    value, kind, within, place = (elements.c[one.name] for one in columns)
    # Only an object may be asked for its parts: plain text is no JSON, and asking it is an error.
    whole = case((kind == "object", value), else_=literal("{}", Text()))

    def part(name: str) -> ColumnElement[Any]:
        where = _sqlite_path((name,))
        return _as_written(func.json_type(whole, where), text=func.json_extract(whole, where), number=whole.op("->")(where))

    def holds(name: str, wanted: str | bool) -> ColumnElement[bool]:
        if isinstance(wanted, bool):
            return func.json_type(whole, _sqlite_path((name,))) == ("true" if wanted else "false")
        return func.doorlist_fold(part(name), type_=Text()) == func.doorlist_fold(literal(wanted, Text()), type_=Text())

    key = part(grouping.sub or "value")
    if grouping.sub is None:
        key = func.coalesce(_as_written(kind, text=value, number=within.op("->")(place)), key)
    return Keys(key=trimmed(key), elements=elements, where=_all(holds(*condition) for condition in grouping.conditions))


def _as_written(kind: ColumnElement[Any], *, text: ColumnElement[Any], number: ColumnElement[Any]) -> ColumnElement[Any]:
    # SQLite's own numbers have 64 bits: of longer ones only what is written tells them apart.
    # How an exponent is spelled depends on who wrote it; channels are called the same on both databases.
    return case((kind == "text", text), (kind == "integer", number), (kind == "real", func.doorlist_plain(number)))


def _in_postgresql(grouping: Grouping) -> Keys:
    said = func.jsonb_extract_path(Person.document, *(cast(literal(name, Text()), Text()) for name in grouping.path))
    as_list = case((func.jsonb_typeof(said) == "array", said), else_=func.jsonb_build_array(said))
    elements = func.jsonb_array_elements(as_list).table_valued(column("value"), name="element")
    value = elements.c["value"]

    def part(name: str) -> ColumnElement[Any]:
        inner = func.jsonb_extract_path(value, name)
        return case((func.jsonb_typeof(inner).in_(("string", "number")), func.jsonb_extract_path_text(value, name)))

    def holds(name: str, wanted: str | bool) -> ColumnElement[bool]:
        if isinstance(wanted, bool):
            return func.jsonb_extract_path_text(value, name) == ("true" if wanted else "false")
        same: ColumnElement[bool] = folded_by_postgres(part(name)) == folded_by_postgres(literal(wanted, Text()))
        return same

    key = part(grouping.sub or "value")
    if grouping.sub is None:
        bare = value.op("#>>")(literal_column("'{}'"))
        key = case((func.jsonb_typeof(value).in_(("string", "number")), bare), else_=key)
    return Keys(key=trimmed(key), elements=elements, where=_all(holds(*condition) for condition in grouping.conditions))


def _sqlite_path(names: Sequence[str]) -> str:
    # `parse_grouping` lets no name with a quote through.
    return "$" + "".join(f'."{name}"' for name in names)


def _all(conditions: Any) -> ColumnElement[bool]:
    return and_(true(), *conditions)
