"""Statements as drivers take them: compiled once, their values given each time."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    ClauseElement,
    ColumnElement,
    Integer,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

_DIALECTS: Final = {
    "sqlite": sqlite.dialect(paramstyle="named"),
    "postgresql": postgresql.dialect(paramstyle="numeric_dollar"),  # type: ignore[no-untyped-call]
}
# PostgreSQL's numbers of types (pg_type.h), the narrower class first.
_TYPES: Final[tuple[tuple[type[TypeEngine[Any]], int], ...]] = ((Boolean, 16), (BigInteger, 20), (Integer, 23))
_TEXT: Final = 25
# SQLite cannot tell the ON of a join from that of a conflict unless a WHERE stands between them.
ALWAYS: Final[ColumnElement[bool]] = literal_column("1") == literal_column("1")


@dataclass(frozen=True, eq=False, kw_only=True)
class Compiled:
    """A statement for one database: its text, the names of its values in their order, their types, and what is given already."""

    text: str
    names: tuple[str, ...]
    types: tuple[int, ...]
    own: Mapping[str, Any]


def param(name: str, type_: Any = None) -> BindParameter[Any]:
    """A value that is given each time the statement is run."""
    return bindparam(name, None, type_=type_ or Text())


def params(name: str) -> BindParameter[Any]:
    """Several values for an IN, given each time."""
    return bindparam(name, type_=Text(), expanding=True)


def each_of(name: str, dialect: str) -> ColumnElement[Any]:
    """A row for each text of a JSON list that is given as text."""
    return each_in(param(name), dialect)


def each_in(listed: ColumnElement[Any], dialect: str) -> ColumnElement[Any]:
    """A row for each text of a JSON list that stands in a text."""
    if dialect == "sqlite":
        found: ColumnElement[Any] = func.json_each(listed).table_valued("value", joins_implicitly=True).c.value
        return found
    return func.jsonb_array_elements_text(cast(listed, JSONB)).column_valued()


@cache
def compiled(statement: ClauseElement, dialect: str) -> Compiled:
    """The statement for `sqlite` or `postgresql`. A value that is not given when it is run is null."""
    made: Any = statement.compile(dialect=_DIALECTS[dialect], compile_kwargs={"render_postcompile": True})
    names = tuple(made.positiontup or made.params)
    # Drivers know texts, not our enumerations of them.
    own = {name: str(value) if isinstance(value, str) else value for name, value in made.params.items()}
    return Compiled(text=str(made), names=names, types=tuple(_type_of(_bound(made, name)) for name in names), own=own)


def _bound(made: Any, name: str) -> TypeEngine[Any]:
    # Those of a list that is part of the statement are its name and a number.
    bound: BindParameter[Any] = made.binds[name if name in made.binds else name.rpartition("_")[0]]
    return bound.type


def _type_of(type_: TypeEngine[Any]) -> int:
    plain = type_.impl_instance if isinstance(type_, TypeDecorator) else type_
    return next((number for kind, number in _TYPES if isinstance(plain, kind)), _TEXT)


def text_of(statement: ClauseElement, dialect: str) -> str:
    """The statement as SQLite takes it, its values by name, or as PostgreSQL does, by number."""
    return compiled(statement, dialect).text
