"""Reading JSON documents inside the database: SQLite's functions and PostgreSQL's operators behind one set of names."""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any, Protocol

from sqlalchemy import (
    ColumnElement,
    Double,
    FromClause,
    Numeric,
    String,
    and_,
    case,
    cast,
    event,
    false,
    func,
    literal,
    literal_column,
    not_,
    select,
)
from sqlalchemy.engine import Engine

from app.clock import parse_instant
from app.directory.values import Operator, Scalar, Sense, as_kept, fold

Claim = ColumnElement[bool]
_FOLD = "doorlist_fold"
_LARGEST: Any = literal_column("1e300")
# Any node within, however deep, that says something.
_SOMETHING = """'strict $.** ? (@.type() == "number" || @.type() == "boolean" || (@.type() == "string" && @ != ""))'::jsonpath"""


@event.listens_for(Engine, "connect")
def _teach_sqlite(connection: Any, _record: object) -> None:
    # SQLite's own lower() knows ASCII only, so "ÅSA" and "åsa" would be two names there.
    if isinstance(connection, sqlite3.Connection):
        # Remembered, since what is compared for a whole company has few values: kinds of people, departments, places.
        remembered = lru_cache(maxsize=4096)(fold)
        connection.create_function(
            _FOLD, 1, lambda text: remembered(text) if isinstance(text, str) else text, deterministic=True
        )
        connection.create_function("doorlist_plain", 1, lambda text: text if text is None else _plain(text), deterministic=True)


def _plain(number: str) -> str:
    """A number as PostgreSQL writes it, which keeps none of how it was spelled: without an exponent, and zero without a sign."""
    plain = Decimal(number)
    return format(plain if plain else abs(plain), "f")


class JSONReader(Protocol):
    """A *node* is a JSON value as an expression; an *element* is a row of a list that is spread out.

    What is no list counts as a list of one. Asking a text or a number for a member finds nothing, and is no error.
    """

    def some(self, node: Any, names: tuple[str, ...], asked: Callable[[Any], Claim]) -> Claim: ...

    def first_text(
        self, node: Any, names: tuple[str, ...], fits: Callable[[Any, int], Claim]
    ) -> ColumnElement[str | None]: ...

    def first_number(
        self, node: Any, names: tuple[str, ...], fits: Callable[[Any, int], Claim]
    ) -> ColumnElement[float | None]: ...

    def node(self, element: Any) -> Any: ...

    def is_object(self, element: Any) -> Claim: ...

    def is_simple(self, element: Any) -> Claim: ...

    def is_present(self, element: Any) -> Claim: ...

    def fits(self, element: Any, operator: Operator, wanted: Scalar, sense: Sense) -> Claim: ...

    def text_fits(self, text: Any, operator: Operator, wanted: str, sense: Sense) -> Claim: ...

    def holds(self, left: Any, operator: Operator, right: Any) -> Claim: ...

    def position(self, text: Any, part: Any) -> Any: ...


def reader_for(dialect_name: str) -> JSONReader:
    return _Postgres() if dialect_name == "postgresql" else _SQLite()


def folded_by_postgres(text: Any) -> Any:
    """What `values.fold` makes of a text, as an expression, in the order of bytes."""
    # Both sides are folded by the database, so that they cannot disagree. Its lower() follows the collation,
    # and the order of results must be that of bytes whatever the locale.
    normal = func.normalize(text, literal_column("NFKC"), type_=String())
    lower = func.lower(normal.collate("und-x-icu"), type_=String()).collate("C")
    # Lower case is no case folding: these are the two letters in use that it leaves apart from their capitals.
    folded = func.replace(func.replace(lower, "ß", "ss", type_=String()), "ς", "σ", type_=String())
    # A letter whose capital is two signs (J̌) is one again in lower case (ǰ).
    return func.normalize(folded, literal_column("NFKC"), type_=String()).collate("C")


def fitting(reader: JSONReader, text: Any, operator: Operator, wanted: Any) -> Claim:
    """Two expressions compared sign by sign. LIKE is not used: on SQLite it overlooks case, and its wildcards need escapes."""
    length = func.length(wanted)
    match operator:
        case Operator.CO:
            claim: Claim = reader.position(text, wanted) > 0
            return claim
        case Operator.SW:
            starts: Claim = func.substr(text, 1, length) == wanted
            return starts
        case Operator.EW:
            return and_(
                func.length(text) >= length, func.substr(text, func.length(text) - length + 1) == wanted
            )
        case _:
            return reader.holds(text, operator, wanted)


def _as_text(operator: Operator, wanted: str, sense: Sense) -> tuple[Operator, str]:
    """In documents instants are texts that sort like what they mean; for all other texts this is what was asked."""
    return as_kept(operator, parse_instant(wanted)) if sense is Sense.INSTANT else (operator, wanted)


class _Common(ABC):
    @abstractmethod
    def elements(self, node: Any, name: str) -> FromClause: ...

    @abstractmethod
    def node(self, element: Any) -> Any: ...

    @abstractmethod
    def text(self, element: Any) -> Any: ...

    @abstractmethod
    def is_text(self, element: Any) -> Claim: ...

    def some(self, node: Any, names: tuple[str, ...], asked: Callable[[Any], Claim]) -> Claim:
        element = self.elements(node, names[0])
        inner = asked(element) if len(names) == 1 else self.some(self.node(element), names[1:], asked)
        return select(literal(1)).select_from(element).where(inner).exists()

    @abstractmethod
    def number(self, element: Any) -> Any:
        """As a number of the machine, null where it is none."""

    def first_text(
        self, node: Any, names: tuple[str, ...], fits: Callable[[Any, int], Claim]
    ) -> ColumnElement[str | None]:
        return self._first(node, names, fits, self._text_in, 1)

    def first_number(
        self, node: Any, names: tuple[str, ...], fits: Callable[[Any, int], Claim]
    ) -> ColumnElement[float | None]:
        return self._first(node, names, fits, self.number, 1)

    def _text_in(self, element: Any) -> Any:
        return case((and_(self.is_text(element), self.text(element) != ""), self.text(element)))

    def _first(
        self, node: Any, names: tuple[str, ...], fits: Callable[[Any, int], Claim], value_in: Callable[[Any], Any], depth: int
    ) -> ColumnElement[Any]:
        element = self.elements(node, names[0])
        if len(names) == 1:
            found: Any = value_in(element)
        else:
            found = self._first(self.node(element), names[1:], fits, value_in, depth + 1)
        query = select(found).select_from(element).where(fits(element, depth), found.is_not(None)).limit(1)
        return query.scalar_subquery()

    def holds(self, left: Any, operator: Operator, right: Any) -> Claim:
        match operator:
            case Operator.GT:
                claim: Claim = left > right
            case Operator.GE:
                claim = left >= right
            case Operator.LT:
                claim = left < right
            case Operator.LE:
                claim = left <= right
            case _:
                claim = left == right
        return claim


class _SQLite(_Common):
    def elements(self, node: Any, name: str) -> FromClause:
        member = node.op("->", precedence=15)(literal(f'$."{name}"', String))
        listed = case((func.json_type(member) == "array", member), else_=func.json_array(func.json(member)))
        return func.json_each(listed).table_valued("value", "type", joins_implicitly=True)

    def node(self, element: Any) -> Any:
        return case((element.c.type == "object", element.c.value))

    def text(self, element: Any) -> Any:
        return element.c.value

    def number(self, element: Any) -> Any:
        return case((element.c.type.in_(("integer", "real")), cast(element.c.value, Double)))

    def is_text(self, element: Any) -> Claim:
        claim: Claim = element.c.type == "text"
        return claim

    def is_object(self, element: Any) -> Claim:
        claim: Claim = element.c.type == "object"
        return claim

    def is_simple(self, element: Any) -> Claim:
        claim: Claim = element.c.type.not_in(("object", "array", "null"))
        return claim

    def is_present(self, element: Any) -> Claim:
        kind, value = element.c.type, element.c.value
        node = func.json_tree(value).table_valued("atom", joins_implicitly=True)
        holds = select(literal(1)).select_from(node).where(node.c.atom.is_not(None), node.c.atom != "").exists()
        # Only an object is JSON again; a text may look like it, and must not be read.
        return case((kind == "object", holds), else_=and_(kind.not_in(("null", "array")), not_(and_(kind == "text", value == ""))))

    def fits(self, element: Any, operator: Operator, wanted: Scalar, sense: Sense) -> Claim:
        kind, value = element.c.type, element.c.value
        if isinstance(wanted, bool):
            claim: Claim = kind == ("true" if wanted else "false")
            return claim
        if isinstance(wanted, str):
            return and_(kind == "text", self.text_fits(value, *_as_text(operator, wanted, sense), sense))
        return and_(kind.in_(("integer", "real")), self.holds(value, operator, literal(wanted)))

    def text_fits(self, text: Any, operator: Operator, wanted: str, sense: Sense) -> Claim:
        if sense is Sense.FOLDED:
            return fitting(self, getattr(func, _FOLD)(text), operator, literal(fold(wanted)))
        return fitting(self, text, operator, literal(wanted))

    def position(self, text: Any, part: Any) -> Any:
        return func.instr(text, part)


class _Postgres(_Common):
    def elements(self, node: Any, name: str) -> FromClause:
        member = node.op("->", precedence=15)(literal(name, String))
        listed = case((func.jsonb_typeof(member) == "array", member), else_=func.jsonb_build_array(member))
        return func.jsonb_array_elements(listed).table_valued("value", joins_implicitly=True)

    def _kind(self, element: Any) -> Any:
        return func.jsonb_typeof(element.c.value)

    def node(self, element: Any) -> Any:
        return element.c.value

    def text(self, element: Any) -> Any:
        return element.c.value.op("#>>", precedence=15, return_type=String())(literal_column("'{}'"))

    def number(self, element: Any) -> Any:
        # What was kept before it had to be a number of the machine may be larger than those are.
        within = func.least(func.greatest(cast(self.text(element), Numeric), -_LARGEST), _LARGEST)
        return case((self._kind(element) == "number", cast(within, Double)))

    def is_text(self, element: Any) -> Claim:
        claim: Claim = self._kind(element) == "string"
        return claim

    def is_object(self, element: Any) -> Claim:
        claim: Claim = self._kind(element) == "object"
        return claim

    def is_simple(self, element: Any) -> Claim:
        claim: Claim = self._kind(element).not_in(("object", "array", "null"))
        return claim

    def is_present(self, element: Any) -> Claim:
        kind = self._kind(element)
        holds = func.jsonb_path_exists(element.c.value, literal_column(_SOMETHING))
        return case((kind == "object", holds), else_=and_(kind.not_in(("null", "array")), not_(and_(kind == "string", self.text(element) == ""))))

    def fits(self, element: Any, operator: Operator, wanted: Scalar, sense: Sense) -> Claim:
        text, kind = self.text(element), self._kind(element)
        if isinstance(wanted, bool):
            return and_(kind == "boolean", text == ("true" if wanted else "false"))
        if isinstance(wanted, str):
            return and_(kind == "string", self.text_fits(text, *_as_text(operator, wanted, sense), sense))
        # AND promises no order here, and a text that is no number must not be cast.
        return case(
            # Beside a float, PostgreSQL would compare all of them as floats, and what was kept may be larger than those are.
            (kind == "number", self.holds(cast(text, Numeric), operator, literal(Decimal(str(wanted)), Numeric))),
            else_=false(),
        )

    def text_fits(self, text: Any, operator: Operator, wanted: str, sense: Sense) -> Claim:
        if sense is Sense.FOLDED:
            return fitting(self, folded_by_postgres(text), operator, folded_by_postgres(literal(wanted, String)))
        return fitting(self, text.collate("C"), operator, literal(wanted, String))

    def position(self, text: Any, part: Any) -> Any:
        return func.strpos(text, part)
