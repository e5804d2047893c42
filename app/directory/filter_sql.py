"""SCIM filters compiled to SQL: on columns where there is one, else by the database's own JSON operators.

Every piece compiled here is true or false and never null, so that `not` means what it says.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Text, and_, cast, false, literal, not_, or_, true

from app.clock import parse_instant
from app.directory.filterable import Field, Form, Over
from app.directory.filters import And, AttributePath, Compare, Filter, Not, Or, Present, ValuePath
from app.directory.json_sql import Claim, JSONReader, fitting, reader_for
from app.directory.name_parts import PARTLY, SHORTEST, name_fits, told
from app.directory.names import name_key
from app.directory.values import Operator, Sense, compare, fold


def compile_filter(
    filter: Filter, over: Over, dialect_name: str, *, rare: Callable[[str], bool] = lambda key: True, base: str = ""
) -> Claim:
    """The filter as a WHERE of a query on `over`'s own table (not on an alias of it).

    `rare` tells for a text whether it is in few names (`name_parts.rare`); it only decides by which way they are found. `base` is the
    URL below which the addresses of resources are.
    """
    return _compiled(filter, _Row(over=over, json=reader_for(dialect_name), dialect=dialect_name, rare=rare, base=base))


def text_at(path: AttributePath, over: Over, dialect_name: str) -> ColumnElement[str | None]:
    """The path's text on each row, as it is written there; of several values the first, and null where there is none."""
    found = over.fields.get(path.names)
    if path.where is None and found is not None and found.form is Form.TEXT:
        return found.column  # type: ignore[no-any-return]  # mapped columns of several types share the field
    json = reader_for(dialect_name)
    names = path.names if path.sub is None else (*path.names, path.sub)

    def fits(element: Any, depth: int) -> Claim:
        if path.where is None or depth != len(path.names):
            return true()
        return and_(
            json.is_object(element), _compiled(path.where, _Element(node=json.node(element), json=json))
        )

    return json.first_text(over.document, names, fits)


_Question = Compare | Present


class _Scope(Protocol):
    """Where a filter's names are looked up: a row of the table, a row of a relation, or a JSON object."""

    def some(self, names: tuple[str, ...], claim: _Question) -> Claim: ...

    def element(self, asked_of: ValuePath) -> Claim: ...


def _compiled(filter: Filter, scope: _Scope) -> Claim:
    match filter:
        case And(terms=terms):
            return and_(*(_compiled(term, scope) for term in terms))
        case Or(terms=terms):
            return or_(*(_compiled(term, scope) for term in terms))
        case Not(term=term):
            return not_(_compiled(term, scope))
        case Compare() | Present():
            return scope.some(filter.path.names, filter)
        case ValuePath():
            return scope.element(filter)


def _asked_of_element(element: Any, claim: _Question, json: JSONReader) -> Claim:
    return json.is_present(element) if isinstance(claim, Present) else json.fits(element, claim.op, claim.value, claim.sense)


@dataclass(frozen=True, kw_only=True)
class _Element:
    """A JSON object: the document itself or an element of one of its lists."""

    node: Any
    json: JSONReader

    def some(self, names: tuple[str, ...], claim: _Question) -> Claim:
        return self.json.some(self.node, names, lambda element: _asked_of_element(element, claim, self.json))

    def element(self, asked_of: ValuePath) -> Claim:
        def asked(element: Any) -> Claim:
            scope = _Element(node=self.json.node(element), json=self.json)
            an_object = and_(self.json.is_object(element), _compiled(asked_of.filter, scope))
            if not asked_of.bare:
                return an_object
            bare = _Bare(itself=element, json=self.json)
            return or_(an_object, and_(self.json.is_simple(element), _compiled(asked_of.filter, bare)))

        return self.json.some(self.node, asked_of.path.names, asked)


@dataclass(frozen=True, kw_only=True)
class _Bare:
    """An element that is no object, and so its own `value`."""

    itself: Any
    json: JSONReader

    def some(self, names: tuple[str, ...], claim: _Question) -> Claim:
        return _asked_of_element(self.itself, claim, self.json) if names == ("value",) else false()

    def element(self, asked_of: ValuePath) -> Claim:
        return false()


@dataclass(frozen=True, kw_only=True)
class _Fields:
    """One row of a relation, or an object whose parts are in columns."""

    fields: Mapping[tuple[str, ...], Field]
    json: JSONReader
    base: str

    def some(self, names: tuple[str, ...], claim: _Question) -> Claim:
        found = self.fields.get(names)
        return false() if found is None else _asked_of_field(found, claim, self.json, self.base)

    def element(self, asked_of: ValuePath) -> Claim:
        return false()


@dataclass(frozen=True, kw_only=True)
class _Row:
    over: Over
    json: JSONReader
    dialect: str
    rare: Callable[[str], bool]
    base: str

    def some(self, names: tuple[str, ...], claim: _Question) -> Claim:
        if self._lacks(claim.path):
            return false()
        found = self.over.fields.get(names)
        if found is not None:
            named = self._named(found, claim)
            return _asked_of_field(found, claim, self.json, self.base) if named is None else named
        if names[0] in self.over.relations:
            relation = self.over.relations[names[0]]()
            # `members pr` asks for any element at all, and an element always has a value.
            inner = self._within(relation.fields).some(names[1:] or ("value",), claim)
            return relation.rows.where(inner).exists()
        found_there = self._document().some(names, claim)
        return self._narrowed(found_there, [_plain_text(claim)]) if names == ("emails", "value") else found_there

    def element(self, asked_of: ValuePath) -> Claim:
        if self._lacks(asked_of.path):
            return false()
        names, inner = asked_of.path.names, asked_of.filter
        if names[0] in self.over.relations:
            relation = self.over.relations[names[0]]()
            return relation.rows.where(_compiled(inner, self._within(relation.fields))).exists()
        if names == ("meta",) and names in self.over.fields:
            parts = {field[1:]: found for field, found in self.over.fields.items() if field[:1] == names}
            return _compiled(inner, self._within(parts))
        found = self._document().element(asked_of)
        return self._narrowed(found, _addresses_required(inner)) if names == ("emails",) else found

    def _narrowed(self, found: Claim, addresses: Sequence[str | None]) -> Claim:
        """The same of the few rows that the index finds: keys cut off outer blanks, which the document has."""
        for address in addresses:
            if self.over.email_is is not None and address is not None and name_key(address):
                found = and_(self.over.email_is(address), found)
        return found

    def _lacks(self, path: AttributePath) -> bool:
        return path.core not in (None, self.over.core)

    def _named(self, found: Field, claim: _Question) -> Claim | None:
        if not found.parted or isinstance(claim, Present) or claim.op not in PARTLY or not isinstance(claim.value, str):
            return None
        key = fold(claim.value)
        if len(key) < SHORTEST or not self.rare(key):
            return None
        telling = [literal(one) for one in told(key, self.dialect)]
        return name_fits(found.column, claim.op, literal(key), self.dialect, telling=telling)

    def _within(self, fields: Mapping[tuple[str, ...], Field]) -> _Fields:
        return _Fields(fields=fields, json=self.json, base=self.base)

    def _document(self) -> _Element:
        return _Element(node=self.over.document, json=self.json)


def _plain_text(claim: Filter) -> str | None:
    plain = isinstance(claim, Compare) and claim.op is Operator.EQ and isinstance(claim.value, str)
    return str(claim.value) if isinstance(claim, Compare) and plain else None


def _addresses_required(inner: Filter) -> list[str]:
    terms = inner.terms if isinstance(inner, And) else (inner,)
    nested = [text for term in terms if isinstance(term, And) for text in _addresses_required(term)]
    values = [term for term in terms if isinstance(term, Compare) and term.path.names == ("value",)]
    return nested + [text for term in values if (text := _plain_text(term))]


def _asked_of_field(found: Field, claim: _Question, json: JSONReader, base: str) -> Claim:
    column = found.column
    if isinstance(claim, Present):
        if found.form in (Form.KEY, Form.TEXT):
            return and_(column.is_not(None), column != "")
        return column.is_not(None) if found.form is Form.INSTANT else true()
    wanted = claim.value
    if found.form is Form.FLAG:
        if not isinstance(wanted, bool):
            return false()
        flag: Claim = column if wanted else not_(column)
        return flag
    if not isinstance(wanted, str):
        return false()
    if found.form is Form.ADDRESS:
        return _address_holds(f"{base}/{found.below}/", column, claim.op, wanted, json)
    if found.form is Form.VERSION:
        # As `scim.resources` writes it: a weak ETag.
        return json.text_fits(literal('W/"', Text) + cast(column, Text) + literal('"', Text), claim.op, wanted, Sense.EXACT)
    if found.form is Form.CONSTANT:
        return true() if compare(column, claim.op, wanted, claim.sense) else false()
    if found.form is Form.INSTANT:
        return and_(column.is_not(None), _instant_holds(column, claim.op, parse_instant(wanted)))
    if found.form is Form.KEY:
        # Only whole names have had their outer blanks cut.
        key = name_key(wanted) if claim.op is Operator.EQ else fold(wanted)
        return fitting(json, column, claim.op, literal(key))
    return and_(column.is_not(None), json.text_fits(column, claim.op, wanted, claim.sense))


def _address_holds(place: str, id: Any, operator: Operator, wanted: str, json: JSONReader) -> Claim:
    if operator is not Operator.EQ:
        return json.text_fits(literal(place, Text) + id, operator, wanted, Sense.EXACT)
    # Whoever asks for one address is helped by the index of ids.
    claim: Claim = id == wanted.removeprefix(place) if wanted.startswith(place) else false()
    return claim


def _instant_holds(column: Any, operator: Operator, wanted: datetime) -> Claim:
    """Instants compare to the millisecond, as they are shown: who asks for what is newer than they saw is not given that again."""
    shown = wanted.replace(microsecond=wanted.microsecond // 1000 * 1000)
    first, last = literal(shown, column.type), literal(shown + timedelta(microseconds=999), column.type)
    match operator:
        case Operator.GE if shown == wanted:
            claim: Claim = column >= first
        case Operator.GT | Operator.GE:
            claim = column > last
        case Operator.LT if shown == wanted:
            claim = column < first
        case Operator.LT | Operator.LE:
            claim = column <= last
        case _:
            claim = and_(column >= first, column <= last) if shown == wanted else false()
    return claim
