"""The plain join: a directory names somebody whom nobody knows. One statement on PostgreSQL, for several who come at once
too; a few short ones on SQLite.

`records.add_record` says what a join is; this writes the same rows (a test compares them) where nothing has to be decided:
no name, key or employee number that is taken, none that an HR call waits for, no key of somebody who was deleted, no manager whom nobody knows. Where an
organisation joins records by addresses or names, every join has to be decided.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Delete, Insert, Select, Text, Update, exists, false, func, or_, select, true
from sqlalchemy.sql.dml import ReturningInsert

from app.access.knocking import client_query
from app.bare.connection import Acting, Asked, Bare
from app.clock import microseconds
from app.database import new_id
from app.directory.names import name_key
from app.directory.tables import Person, Record, RecordEmail
from app.journal.tables import Entry, Lane, Organization, Subject, Work
from app.json_text import write_json
from app.lifecycle.barred import was_deleted
from app.lifecycle.drafts import RecordDraft, columns_of
from app.lifecycle.people import attributes_in, emails_of, manager_record
from app.lifecycle.plain_related import numbers_taken, whose
from app.lifecycle.plain_sql import (
    Rows,
    Said,
    at,
    at_once,
    document,
    entry,
    in_turn,
    inserted,
    look,
    looks,
    new_work,
    number,
    said_in,
    several,
    several_at_once,
    text,
    told,
    wanted,
)
from app.lifecycle.standing import decide_alone
from app.statements import each_in, param

_SAID: Final[Mapping[str, Any]] = {
    **dict.fromkeys(
        ("record", "person", "user_name", "user_name_key", "employee_number", "external_id", "display_name", "shown", "email", "user_type",
         "department", "division", "document", "standing", "reason", "before", "after", "emails"),
        Text(),
    ),
    "at": BigInteger(),
}  # fmt: skip
"""What one of several joins says by itself; by whom it is said is the same for all of them."""
_SAID_UNDER: Final[Mapping[str, Any]] = {**_SAID, "manager": Text(), "touched": Text()}
"""The same where any of them has a manager."""


class Joined(NamedTuple):
    """A new record: its document as it was stored, and when, in microseconds."""

    record_id: str
    document: str
    at: int


async def join_plainly(
    acting: Acting, draft: RecordDraft, *, schemas: int | None, made: list[str], digest: str, source_id: str, now: datetime, because: str
) -> Joined | None:
    """The new record, committed; None where the case is not plain or the token not good, and nothing was written.

    `schemas` is the version by which the draft was read. `made` is told its id before the database is asked. Raises what the driver raises: its IntegrityError where a name or externalId is taken.
    """
    if draft.active is False:
        return None
    columns = columns_of(draft)
    number, named = columns["employee_number"], manager_record(draft.document)
    decided = decide_alone(on=True, means=None)
    stored = write_json(draft.document)
    values = {
        **columns, **attributes_in(draft.document), "document": stored, "digest": digest, "source": source_id, "schemas": schemas, "made": made,
        "at": microseconds(now), "because": because, "shown": columns["display_name"] or draft.user_name,
        "standing": decided.standing.value, "reason": decided.reason,
        "before": "null", "after": write_json({"userName": draft.user_name, "externalId": draft.external_id, "active": True}),
        "emails": write_json(sorted({name_key(address) for address in emails_of(draft.document)})), "named": named,
    }  # fmt: skip
    # Of two with one name the second is refused, and is not to take others along; of two with one number it is somebody who is there.
    about = [("userName", columns["user_name_key"]), *([] if number is None else [("employeeNumber", number)])]
    record_id = await acting.together(_join, values, lane=(digest, source_id, because, schemas), about=about)
    return None if record_id is None else Joined(record_id=record_id, document=stored, at=values["at"])


async def _join(bare: Bare, joining: Sequence[Mapping[str, Any]]) -> Sequence[str | None]:
    """The id of each that joined; all of them by one token."""
    unrelated = all(values["employee_number"] is None and values["named"] is None for values in joining)
    if unrelated and bare.dialect == "postgresql":
        acts = [_identified(values) for values in joining]
        done = {record_id for (record_id,) in await bare.rows(*_to_write(acts))}
        return [act["record"] if act["record"] in done else None for act in acts]
    async with bare.transaction():
        plain = joining if unrelated else await _related(bare, joining)
        named = [None if values is None else _identified(values) for values in plain]
        done = await _written(bare, [act for act in named if act is not None])
    return [act["record"] if act is not None and act["record"] in done else None for act in named]


async def _related(bare: Bare, joining: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any] | None]:
    """Each with the person of its manager; None where that is nobody whom we know, or is held, or where somebody has the number or waits for it."""
    by = {**{name: joining[0][name] for name in ("digest", "source")}, "at": max(values["at"] for values in joining)}
    managers = {values["named"] for values in joining if values["named"] is not None}
    numbers = {values["employee_number"] for values in joining if values["employee_number"] is not None}
    taken, found = await numbers_taken(bare, by, numbers, *([whose(bare.dialect, by, managers, held=True)] if managers else []))
    people: dict[str | None, str | None] = {None: None, **{record_id: person_id for rows in found for record_id, person_id in rows}}
    return [
        {**values, "manager": people[values["named"]]} if values["employee_number"] not in taken and values["named"] in people else None
        for values in joining
    ]


def _identified(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """With ids of their own, as late as can be: whoever takes the ordinary way has been given none."""
    record_id, person_id = new_id(), new_id()
    values["made"].append(record_id)
    touched = sorted({person_id, values.get("manager") or person_id})
    return {**values, "record": record_id, "person": person_id, "touched": write_json(touched)}


def _to_write(joining: Sequence[Mapping[str, Any]]) -> Asked:
    """PostgreSQL: the one statement that writes all of these, and returns the records that it was done of."""
    under = any(values.get("manager") is not None for values in joining)
    if len(joining) == 1:
        return _at_once(under=under), joining[0]
    # In one order, so that no two processes wait for each other's names.
    joining_in_order = sorted(joining, key=lambda values: values["user_name_key"])
    shared = {name: joining[0][name] for name in ("digest", "source", "because", "schemas")}
    said = told(joining_in_order, _SAID_UNDER if under else _SAID)
    return _several_at_once(under=under), {**shared, "at": max(values["at"] for values in joining), "several": said}


async def _written(bare: Bare, joining: Sequence[Mapping[str, Any]]) -> set[str]:
    """Those that were written, as the last thing in a transaction: on PostgreSQL all at once, on SQLite one after the other."""
    if not joining:
        return set()
    if bare.dialect == "postgresql":
        return {record_id for (record_id,) in (await bare.last(_to_write(joining)))[-1]}
    done = set[str]()
    for values in joining:
        made = await bare.rows(_entry("sqlite"), values)
        if made:
            more = {**values, "journal": made[0][0], "organization": made[0][1]}
            await bare.ask(*((statement, more) for statement in _in_turn(under=values.get("manager") is not None)))
            done.add(values["record"])
    return done


# The statements


@cache
def _entry(dialect: str) -> ReturningInsert[int, str, str]:
    client = client_query().subquery("client")
    plain = select(client).where(_joins_as_said(client.c.organization_id, dialect), ~_was_deleted(client.c.organization_id, param)).subquery("plain")
    return entry(_joined(dialect, param), of=plain)


def _joined(dialect: str, said: Said) -> Mapping[Any, ColumnElement[Any]]:
    return {
        Entry.verb: text("joined"), Entry.subject_kind: text("record"), Entry.subject_id: said("record"),
        Entry.before: document("before", dialect, said), Entry.after: document("after", dialect, said),
    }  # fmt: skip


def _joins_as_said(organization: ColumnElement[Any], dialect: str) -> ColumnElement[bool]:
    """Whether the organisation joins records by employee numbers at most, and reads them as this draft was read."""
    settings: Any = Organization.settings
    chosen = func.json_extract(settings, text("$.matching")) if dialect == "sqlite" else settings.op("->>")(text("matching"))
    by_numbers = or_(chosen.is_(None), chosen.in_([text("employeeNumber"), text("none")]))
    return exists().where(Organization.id == organization, by_numbers, Organization.schemas_version.is_not_distinct_from(param("schemas", BigInteger())))


def _was_deleted(organization: ColumnElement[Any], said: Said) -> ColumnElement[bool]:
    return was_deleted(organization, param("source"), said("external_id"))


@cache
def _at_once(*, under: bool) -> Select[Any]:
    return at_once(_entry("postgresql"), _rows(under=under))


@cache
def _several_at_once(*, under: bool) -> Select[Any]:
    names = _SAID_UNDER if under else _SAID
    client, acts = client_query().subquery("client"), several(names)
    is_new = ~_was_deleted(client.c.organization_id, said_in(acts))
    plain = select(client, acts).where(_joins_as_said(client.c.organization_id, "postgresql"), is_new).subquery("plain")
    said = said_in(plain)
    made = entry(_joined("postgresql", said), of=plain, said=said)
    return several_at_once(made, _rows(under=under, of_several=True), acts, by=lambda written: acts.c.record == written.c.subject_id)


@cache
def _in_turn(*, under: bool) -> Sequence[Insert | Update | Delete]:
    return in_turn(_rows(under=under))


def _rows(*, under: bool, of_several: bool = False) -> Rows:
    """What one join writes; `under` a manager, who has another report then and is looked at as well."""

    def rows(dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any], said: Said) -> Sequence[Insert]:
        stamp = {"organization_id": organization, "version": number(1), "created_at": at(said), "modified_at": at(said), "journal_id": journal}
        both = {**{name: said(name) for name in ("user_name", "user_name_key", "employee_number")}, "document": document("document", dialect, said)}
        record = {
            **stamp, **both, "id": said("record"), "source_id": param("source"), "person_id": said("person"), "external_id": said("external_id"),
            "display_name": said("display_name"), "active": true(), "active_said_at": at(said), "held": false(),
        }  # fmt: skip
        person = {
            **stamp, **both, "id": said("person"), "standing": said("standing"), "standing_reason": said("reason"), "access_epoch": number(1),
            "display_name": said("shown"), "email": said("email"), "user_type": said("user_type"), "department": said("department"),
            "division": said("division"), **({"manager_id": said("manager")} if under else {}),
        }  # fmt: skip
        emails = {"organization_id": organization, "record_id": said("record"), "address_key": each_in(said("emails"), dialect)}
        if under:
            work = wanted((looks if of_several else look)(organization, journal, said("touched"), dialect, said), dialect)
        else:
            own = new_work(organization, journal, subject=Subject.PERSON, subject_id=said("person"), lane=Lane.SYNC, workspace_id=text(""), said=said)
            work = inserted(Work, own)
        return [inserted(Record, record), inserted(RecordEmail, emails), inserted(Person, person), work]

    return rows
