"""Who else may be meant by what is said of somebody plainly: whose the records are that it names as managers, and who has its employee number."""

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select

from app.access.knocking import client_query
from app.bare.connection import Asked, Bare
from app.directory.tables import Record
from app.json_text import write_json
from app.lifecycle.joins import is_awaited
from app.lifecycle.key_locks import NUMBER, holding, key_numbers
from app.lifecycle.plain_sql import one_of
from app.statements import each_of


def whose(dialect: str, by: Mapping[str, Any], records: Collection[str], *, held: bool) -> Asked:
    """Of each of these records that is of the caller's organisation its id and its person's.

    They may be `held`, against being given to somebody else and no more: whoever switches a manager off waits for none of those who come
    under them. Whoever else holds one is not waited for: then it is as if there were none.
    """
    return _whose(dialect, held=held), {**by, "records": write_json(sorted(records))}


async def numbers_taken(bare: Bare, by: Mapping[str, Any], numbers: Collection[str], *more: Asked) -> tuple[set[str], list[list[tuple[Any, ...]]]]:
    """Which of these numbers any record of the caller's organisation has, an ended one too, or something waits for; and what `more` gives.

    On PostgreSQL all of them are held from here on, as `matching.hold` does: of two who come by one number the second finds the first.
    """
    held = key_numbers((NUMBER, number) for number in numbers)
    asked = list[Asked]()
    if held and bare.dialect == "postgresql":
        asked.append((holding(_organization()), {**by, "numbers": write_json(held)}))
    if held:
        asked.append((_taken(bare.dialect), {**by, "numbers": write_json(sorted(numbers))}))
    found = await bare.ask(*asked, *more)
    return {number for (number,) in found[len(asked) - 1]} if held else set(), found[len(asked) :]


@cache
def _organization() -> ColumnElement[str]:
    return select(client_query().subquery("client").c.organization_id).scalar_subquery()


@cache
def _whose(dialect: str, *, held: bool) -> Select[str, str]:
    theirs = Record.organization_id == _organization(), one_of(Record.id, "records", dialect)
    query = select(Record.id.expression, Record.person_id.expression).where(*theirs)
    return query.order_by(Record.id).with_for_update(read=True, key_share=True, skip_locked=True) if held else query


@cache
def _taken(dialect: str) -> Select[str]:
    asked = select(each_of("numbers", dialect).label("number")).subquery("asked")
    # One at most, and never a join: of a directory that is new, PostgreSQL does not know yet how large it has become.
    has = select(Record.id).where(Record.organization_id == _organization(), Record.employee_number == asked.c.number).limit(1).scalar_subquery()
    return select(asked.c.number).where(or_(has.is_not(None), is_awaited(_organization(), asked.c.number)))
