"""`sortBy` compiled to SQL (RFC 7644 §3.4.2.3): what rows are sorted by, and which of them come after a given one.

The order is that of code points on both databases, of texts folded first where case does not tell them apart; what is
missing comes last in ascending order; `id` decides between equals, so that every order is a whole one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, and_, case, cast, func, literal, null, or_, true, type_coerce

from app.directory import filterable
from app.directory.filterable import Field, Form, Over
from app.directory.filters import FilterError, split_asked_path
from app.directory.json_sql import Claim, JSONReader, folded_by_postgres, reader_for
from app.directory.tables import Group, Record
from app.directory.values import Operator, Sense
from app.directory.vocabulary import COMMON, ENTERPRISE_URN, GROUP_URN, STANDARD, USER_URN, Attribute, Kind, Vocabulary

LONGEST_KEY = 200
"""Texts are told apart by so many characters; a cursor has to carry them."""

SortValue = str | float | None


class SortError(ValueError):
    """Nothing can be sorted by this; the message is for the one who wrote it."""


@dataclass(frozen=True, kw_only=True)
class Sortable:
    """A kind of resource: its table, what may be asked of it, and the schemas whose attributes it has, declared ones apart."""

    name: str
    table: Any
    over: Over
    schemas: tuple[str, ...]


USERS = Sortable(name="User", table=Record, over=filterable.RECORDS, schemas=(USER_URN, ENTERPRISE_URN))
GROUPS = Sortable(name="Group", table=Group, over=filterable.GROUPS, schemas=(GROUP_URN,))


@dataclass(frozen=True, kw_only=True)
class SortPath:
    """Keys of a stored document down to a simple value, and what is known of the attributes on the way."""

    names: tuple[str, ...]
    known: tuple[Attribute, ...]


def sort_path(text: str, kind: Sortable, vocabulary: Vocabulary = STANDARD) -> SortPath | None:
    """What `sortBy` names in this kind of resource; None where it has no such attribute. Raises SortError."""
    try:
        path = split_asked_path(text.strip(), vocabulary)
    except FilterError as error:
        raise SortError(f"{text[:100]!r} is no attribute, {error}") from None
    if path.where is not None:
        raise SortError(f"{text[:100]!r} has a condition; name an attribute, such as name.familyName")
    known = _known(path.names, kind, vocabulary) if path.core in (None, kind.schemas[0]) else ()
    if not known:
        return None
    names, last = path.names, known[-1]
    if last.kind is Kind.COMPLEX:
        # RFC 7643 §2.4: the significant value of a complex attribute is its `value`.
        if "value" not in last.subs:
            part = next(iter(last.subs.values())).name
            raise SortError(f"{last.name} is made of parts; name one, such as {last.name}.{part}")
        names, known = (*names, "value"), (*known, last.subs["value"])
    return SortPath(names=names, known=known)


def _known(names: tuple[str, ...], kind: Sortable, vocabulary: Vocabulary) -> tuple[Attribute, ...]:
    core = kind.schemas[0]
    schema = names[0] if names[0] in kind.schemas or vocabulary.extension_named(names[0], core) is not None else core
    attributes = vocabulary.attributes_of(schema) or {}
    level: Mapping[str, Attribute] = attributes if names[0] == schema else {**COMMON, **attributes}
    found: list[Attribute] = []
    for name in names[1:] if names[0] == schema else names:
        attribute = level.get(name.lower())
        # Nobody is told anything of a password, or of what is never shown, not even its place in an order.
        if attribute is None or attribute.mutability == "writeOnly" or attribute.returned == "never":
            return ()
        found.append(attribute)
        level = attribute.subs
    return tuple(found)


def sort_key(path: SortPath, kind: Sortable, dialect_name: str) -> ColumnElement[Any] | None:
    """What rows of `kind`'s own table are sorted by, null where it is missing; None where all rows are alike in it."""
    compiler = _Compiler(over=kind.over, dialect_name=dialect_name, json=reader_for(dialect_name))
    if path.names == ("meta", "location"):
        # The kind and the id are what differs in it.
        return compiler.address(kind)
    return compiler.key(path)


def comparable(keys: Sequence[ColumnElement[Any] | None], paths: Sequence[SortPath | None], kinds: Sequence[Sortable]) -> list[ColumnElement[Any]]:
    """The keys of several kinds for one order over them all; at least one of the kinds has the attribute.

    What a kind does not have is missing, and where its rows are alike (`meta.resourceType`) the kind is what tells them apart.
    """
    told = [cast(kind.name, Text) if key is None and path is not None else key for key, path, kind in zip(keys, paths, kinds, strict=True)]
    held = next(key.type for key in told if key is not None)
    return [cast(null(), held) if key is None else key for key in told]


def after(key: ColumnElement[Any] | None, value: SortValue, further: Claim, *, descending: bool) -> Claim:
    """The rows that come after the one with this value: of those that are equal in it, the ones that are `further`."""
    if key is None:
        return further
    missing: Claim = key.is_(None)
    if value is None:
        same = and_(missing, further)
        return or_(key.is_not(None), same) if descending else same
    equal = and_(key == value, further)
    return or_(key < value, equal) if descending else or_(missing, key > value, equal)


def ordered(key: ColumnElement[Any] | None, row_id: Any, *, descending: bool) -> tuple[Any, ...]:
    """The terms of ORDER BY."""
    if key is None:
        return (row_id,)
    return (key.desc().nulls_first() if descending else key.asc().nulls_last(), row_id)


@dataclass(frozen=True, kw_only=True)
class _Compiler:
    over: Over
    dialect_name: str
    json: JSONReader

    def key(self, path: SortPath) -> ColumnElement[Any] | None:
        found = self.over.fields.get(path.names)
        if found is not None:
            return self._of_field(found, path.known[-1])
        if path.names[0] in self.over.relations:
            return self._of_relation(path)
        if path.known[-1].kind is Kind.BOOLEAN:
            return self._of_flag(path)
        if path.known[-1].kind in (Kind.INTEGER, Kind.DECIMAL):
            number: ColumnElement[Any] = self._first(path, self.json.first_number)
            return number
        return self._of_text(self._first(path, self.json.first_text), path.known[-1])

    def address(self, kind: Sortable) -> ColumnElement[Any]:
        return self._cut(literal(f"{kind.name}s/", Text) + type_coerce(kind.table.id, Text))

    def _of_field(self, found: Field, attribute: Attribute) -> ColumnElement[Any] | None:
        match found.form:
            case Form.CONSTANT:
                return None
            case Form.FLAG:
                return case((found.column, 1), else_=0)
            case Form.INSTANT | Form.VERSION:
                return type_coerce(found.column, BigInteger)
            case Form.KEY:
                return self._cut(found.column)
            case Form.TEXT | Form.ADDRESS:
                return self._of_text(found.column, attribute)

    def _of_relation(self, path: SortPath) -> ColumnElement[Any] | None:
        relation = self.over.relations[path.names[0]]()
        found = relation.fields[path.names[1:]]
        key = self._of_field(found, path.known[-1])
        if key is None:
            # What is the same for every row is missing where there is none.
            return relation.rows.with_only_columns(literal(1)).limit(1).scalar_subquery()
        # They have no primary one; they are shown in the order of their ids.
        first = relation.rows.with_only_columns(key).order_by(relation.fields[("value",)].column).limit(1)
        return self._bytewise(first.scalar_subquery())

    def _of_flag(self, path: SortPath) -> ColumnElement[Any]:
        def says(wanted: bool) -> Claim:
            return self.json.some(self.over.document, path.names, lambda element: self.json.fits(element, Operator.EQ, wanted, Sense.EXACT))

        return case((says(True), 1), (says(False), 0))

    def _first(self, path: SortPath, first_of: Callable[..., Any]) -> Any:
        def any_element(_element: Any, _depth: int) -> Claim:
            return true()

        first = first_of(self.over.document, path.names, any_element)
        many = next((attribute for attribute in path.known if attribute.many and "primary" in attribute.subs), None)
        if many is None:
            return first

        # An extension stands above its attributes, and is none itself.
        below = len(path.names) - len(path.known) + path.known.index(many) + 1

        def primary(element: Any, depth: int) -> Claim:
            if depth != below:
                return true()
            return self.json.some(self.json.node(element), ("primary",), lambda flag: self.json.fits(flag, Operator.EQ, True, Sense.EXACT))

        return func.coalesce(first_of(self.over.document, path.names, primary), first)

    def _of_text(self, text: Any, attribute: Attribute) -> ColumnElement[Any]:
        return self._cut(text if attribute.exact else self._folded(text))

    def _cut(self, text: Any) -> ColumnElement[Any]:
        return self._bytewise(func.substr(text, 1, LONGEST_KEY, type_=Text()))

    def _folded(self, text: Any) -> Any:
        # As `json_sql` folds for comparing, so that what is equal in a filter is equal in an order.
        if self.dialect_name != "postgresql":
            return func.doorlist_fold(text, type_=Text())
        return folded_by_postgres(text)

    def _bytewise(self, text: Any) -> ColumnElement[Any]:
        return text.collate("C") if self.dialect_name == "postgresql" else text  # type: ignore[no-any-return]  # built from columns of several types
