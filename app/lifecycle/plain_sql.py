"""Pieces of the hot paths' statements: rows written from parameters, hanging on one journal entry, on either database.

PostgreSQL writes all of them in one statement, each drawing on the entry; SQLite writes them in turn. Several acts of one
kind are one statement too, in which what each says is a row instead of parameters. Every constant is part of the text, so
that what is given each time is only what differs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Delete,
    FromClause,
    Insert,
    Integer,
    Select,
    Text,
    Update,
    any_,
    cast,
    column,
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
from app.json_text import write_json
from app.statements import ALWAYS, each_in, each_of, param

SOURCE: Final = str(Actor(kind=ActorKind.SOURCE, name=""))
Values = Mapping[Any, ColumnElement[Any]]


class Said(Protocol):
    """Where something that an act says stands: a parameter, or a column of a row for each of several acts."""

    def __call__(self, name: str, type_: Any = None) -> ColumnElement[Any]: ...


Rows = Callable[[str, ColumnElement[Any], ColumnElement[Any], Said], Sequence[Insert | Update | Delete]]
"""(dialect, organization_id, journal_id, said) to the statements that write the rows of one act, or of several."""


def inserted(table: type[Base], values: Values, *, where: ColumnElement[bool] | None = None) -> Insert:
    """INSERT … SELECT of these expressions from whatever they name; one row where they name nothing."""
    chosen = select(*values.values())
    return insert(table).from_select(list(values), chosen if where is None else chosen.where(where), include_defaults=False)


def entry(values: Values, *, of: FromClause, said: Said = param) -> ReturningInsert[int, str, str]:
    """The journal entry of an act of the source `of.source_name`, for each row of `of`. Returns number, organisation and subject."""
    fixed: Values = {
        Entry.organization_id: of.c.organization_id, Entry.at: at(said), Entry.actor: text(SOURCE).op("||")(of.c.source_name),
        Entry.because: param("because"),
    }  # fmt: skip
    return inserted(Entry, {**fixed, **values}).returning(Entry.id, Entry.organization_id, Entry.subject_id)


def at_once(made: ReturningInsert[int, str, str], rows: Rows) -> Select[Any]:
    """PostgreSQL: the entry and all rows in one statement, whose one row is the subject and says that it was done."""
    written = made.cte("entry")
    return _with(select(written.c.subject_id), rows("postgresql", written.c.organization_id, written.c.id, param))


def in_turn(rows: Rows) -> Sequence[Insert | Update | Delete]:
    """SQLite: the rows one after the other; the entry's number and organisation are given."""
    return rows("sqlite", param("organization"), param("journal", BigInteger()), param)


def several(names: Mapping[str, Any]) -> CTE:
    """PostgreSQL: a row for each of several acts, given as `:several`, with what it says by these names and of these types."""
    columns = [column(name, type_) for name, type_ in names.items()]
    listed = func.jsonb_to_recordset(cast(param("several"), JSONB)).table_valued(*columns).render_derived(with_types=True)
    return select(listed).cte("several")


def told(acts: Sequence[Mapping[str, Any]], names: Mapping[str, Any]) -> str:
    """What `several` reads: the acts as JSON."""
    return write_json([{name: act[name] for name in names} for act in acts])


def said_in(rows: FromClause) -> Said:
    """What each of several acts says, out of these rows."""

    def said(name: str, type_: Any = None) -> ColumnElement[Any]:
        found: ColumnElement[Any] = rows.c[name]
        return found

    return said


def several_at_once(
    made: ReturningInsert[*tuple[Any, ...]], rows: Rows, acts: CTE, *, by: Callable[[CTE], ColumnElement[bool]]
) -> Select[Any]:
    """PostgreSQL: the entries of several acts and all their rows in one statement. Returns the subjects of those that were done.

    `by` tells of an entry which of the acts it is of, by what `made` returns.
    """
    written = made.cte("entry")
    each = select(written.c.id.label("journal"), written.c.organization_id, *acts.c).join(acts, by(written))
    # What several of these write is written in the order in which they are given, wherever somebody may wait for it.
    done = each.order_by(written.c.id).cte("done")
    return _with(select(written.c.subject_id), rows("postgresql", done.c.organization_id, done.c.journal, said_in(done)))


def _with(result: Select[Any], others: Sequence[Insert | Update | Delete]) -> Select[Any]:
    return result.add_cte(*(statement.cte(f"row{number}") for number, statement in enumerate(others)))


def new_work(
    organization: ColumnElement[Any], journal: ColumnElement[Any], *, subject: Subject, subject_id: ColumnElement[Any], lane: Lane,
    workspace_id: ColumnElement[Any], said: Said = param,
) -> dict[str, ColumnElement[Any]]:  # fmt: skip
    """A row of work that is due at the instant of the act."""
    return {
        "organization_id": organization, "workspace_id": workspace_id, "subject": text(subject), "subject_id": subject_id, "lane": text(lane),
        "priority": number(PRIORITY[subject]), "due_at": at(said), "state": text(WorkState.WAITING), "generation": number(1),
        "attempts": number(0), "because": journal,
    }  # fmt: skip


def look(
    organization: ColumnElement[Any], journal: ColumnElement[Any], people: ColumnElement[Any], dialect: str, said: Said = param
) -> dict[str, ColumnElement[Any]]:
    """That each of these is looked at; `people` is a JSON list in a text."""
    each = each_in(people, dialect)
    return new_work(organization, journal, subject=Subject.PERSON, subject_id=each, lane=Lane.SYNC, workspace_id=text(""), said=said)


def looks(
    organization: ColumnElement[Any], journal: ColumnElement[Any], people: ColumnElement[Any], dialect: str, said: Said
) -> dict[str, ColumnElement[Any]]:
    """The same of several acts, of which more than one may name somebody: as if each had been written alone."""
    named = each_in(people, dialect).label("person_id")
    each = select(organization.label("organization_id"), journal.label("journal_id"), at(said).label("at"), named).subquery("each")
    last = (
        select(
            each.c.organization_id, each.c.person_id, func.max(each.c.journal_id).label("journal_id"), func.min(each.c.at).label("at"),
            func.count().label("times"),
        )
        .group_by(each.c.organization_id, each.c.person_id)
        .order_by(each.c.person_id)
        .subquery("last")
    )  # fmt: skip
    work = new_work(
        last.c.organization_id, last.c.journal_id, subject=Subject.PERSON, subject_id=last.c.person_id, lane=Lane.SYNC, workspace_id=text(""),
        said=said_in(last),
    )  # fmt: skip
    return {**work, "generation": cast(last.c.times, Integer())}


def wanted(work: Values, dialect: str, *, where: ColumnElement[bool] = ALWAYS) -> Any:
    """Rows of work inserted, or moved to a newer generation where they are there."""
    return wanted_again(insert_for(dialect)(Work).from_select(list(work), select(*work.values()).where(where), include_defaults=False), dialect)


def document(name: str, dialect: str, said: Said = param) -> ColumnElement[Any]:
    """A document that is given as JSON text."""
    return said(name) if dialect == "sqlite" else cast(said(name), JSONB)


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


def at(said: Said = param) -> ColumnElement[Any]:
    """The instant of the act."""
    return said("at", BigInteger())


def number(value: int) -> ColumnElement[Any]:
    return literal(value, Integer(), literal_execute=True)


def text(value: str) -> ColumnElement[Any]:
    return literal(str(value), Text(), literal_execute=True)
