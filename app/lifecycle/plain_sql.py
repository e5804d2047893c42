"""Pieces of the hot paths' statements: rows written from parameters, hanging on one journal entry, on either database.

PostgreSQL writes all of them in one statement, each drawing on the entry; SQLite writes them in turn. Every constant is
part of the text, so that what is given each time is only what differs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Insert,
    Integer,
    Select,
    Text,
    Update,
    any_,
    cast,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.sql.dml import ReturningInsert

from app.actors import Actor, ActorKind
from app.database import Base
from app.journal.tables import Entry, Lane, Subject, Work, WorkState
from app.journal.work import PRIORITY, insert_for, wanted_again
from app.statements import ALWAYS, each_of, param

SOURCE: Final = str(Actor(kind=ActorKind.SOURCE, name=""))
Values = Mapping[Any, ColumnElement[Any]]
Rows = Callable[[str, ColumnElement[Any], ColumnElement[Any]], Sequence[Insert | Update]]
"""(dialect, organization_id, journal_id) to the statements that write the rows of one act."""


def inserted(table: type[Base], values: Values, *, where: ColumnElement[bool] | None = None) -> Insert:
    """INSERT … SELECT of these expressions from whatever they name; one row where they name nothing."""
    chosen = select(*values.values())
    return insert(table).from_select(list(values), chosen if where is None else chosen.where(where), include_defaults=False)


def entry(values: Values, *, of: FromClause) -> ReturningInsert[int, str]:
    """The journal entry of an act of the source `of.source_name`; none where `of` has no row. Returns number and organisation."""
    fixed: Values = {
        Entry.organization_id: of.c.organization_id, Entry.at: at(), Entry.actor: text(SOURCE).op("||")(of.c.source_name),
        Entry.because: param("because"),
    }  # fmt: skip
    return inserted(Entry, {**fixed, **values}).returning(Entry.id, Entry.organization_id)


def at_once(made: ReturningInsert[int, str], rows: Rows) -> Select[Any]:
    """PostgreSQL: the entry and all rows in one statement, whose one row says that it was done."""
    written = made.cte("entry")
    others = rows("postgresql", written.c.organization_id, written.c.id)
    return select(written.c.id).add_cte(*(statement.cte(f"row{number}") for number, statement in enumerate(others)))


def in_turn(rows: Rows) -> Sequence[Insert | Update]:
    """SQLite: the rows one after the other; the entry's number and organisation are given."""
    return rows("sqlite", param("organization"), param("journal", BigInteger()))


def new_work(
    organization: ColumnElement[Any], journal: ColumnElement[Any], *, subject: Subject, subject_id: ColumnElement[Any], lane: Lane,
    workspace_id: ColumnElement[Any],
) -> dict[str, ColumnElement[Any]]:  # fmt: skip
    """A row of work that is due at the instant of the act."""
    return {
        "organization_id": organization, "workspace_id": workspace_id, "subject": text(subject), "subject_id": subject_id, "lane": text(lane),
        "priority": number(PRIORITY[subject]), "due_at": at(), "state": text(WorkState.WAITING), "generation": number(1),
        "attempts": number(0), "because": journal,
    }  # fmt: skip


def wanted(work: Values, dialect: str, *, where: ColumnElement[bool] = ALWAYS) -> Any:
    """Rows of work inserted, or moved to a newer generation where they are there."""
    return wanted_again(insert_for(dialect)(Work).from_select(list(work), select(*work.values()).where(where), include_defaults=False), dialect)


def document(name: str, dialect: str) -> ColumnElement[Any]:
    """A document that is given as JSON text."""
    return param(name) if dialect == "sqlite" else cast(param(name), JSONB)


def parts_of_each(name: str, dialect: str, number: int) -> list[ColumnElement[Any]]:
    """A row for each list in a JSON list of lists that is given as text: its first parts, so many. On PostgreSQL all of them are texts."""
    if dialect == "sqlite":
        value = func.json_each(param(name)).table_valued("value", joins_implicitly=True).c.value
        return [func.json_extract(value, text(f"$[{place}]")) for place in range(number)]
    each: Any = func.jsonb_array_elements(cast(param(name), JSONB)).column_valued(name)
    return [each.op("->>")(place) for place in range(number)]


def one_of(column: Any, name: str, dialect: str) -> ColumnElement[bool]:
    """Whether a column is one of the texts of a JSON list that is given as text."""
    texts = select(each_of(name, dialect).label("text"))
    if dialect == "sqlite":
        within: ColumnElement[bool] = column.in_(texts)
        return within
    # As an array, of which PostgreSQL expects few: for a set of rows it would expect a hundred, and read a whole group for one of them.
    listed: ColumnElement[bool] = column == any_(func.array(texts.scalar_subquery(), type_=ARRAY(Text)))
    return listed


def at() -> ColumnElement[Any]:
    """The instant of the act."""
    return param("at", BigInteger())


def number(value: int) -> ColumnElement[Any]:
    return literal(value, Integer(), literal_execute=True)


def text(value: str) -> ColumnElement[Any]:
    return literal(str(value), Text(), literal_execute=True)
