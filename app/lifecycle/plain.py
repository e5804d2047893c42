"""The plain join: a directory names somebody whom nobody knows. One statement on PostgreSQL, for several who come at once
too; a few short ones on SQLite.

`records.add_record` says what a join is; this writes the same rows (a test compares them) where nothing has to be decided:
no name or key that is taken, no number that joins records, no manager to be found. Where an organisation joins records by
addresses or names, every join has to be decided. So a plain one says nothing by which anybody else may be meant, and holds
no key (`matching.hold`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Delete, Insert, Select, Text, Update, exists, false, func, or_, select, true
from sqlalchemy.sql.dml import ReturningInsert

from app.access.knocking import client_query
from app.bare.connection import Acting, Bare
from app.clock import microseconds
from app.database import new_id
from app.directory.names import name_key
from app.directory.tables import Person, Record, RecordEmail
from app.journal.tables import Entry, Lane, Organization, Subject, Work
from app.json_text import write_json
from app.lifecycle.drafts import RecordDraft, columns_of
from app.lifecycle.people import attributes_in, emails_of, manager_record
from app.lifecycle.plain_sql import (
    Said,
    at,
    at_once,
    document,
    entry,
    in_turn,
    inserted,
    new_work,
    number,
    said_in,
    several,
    several_at_once,
    text,
    told,
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


class Joined(NamedTuple):
    """A new record: its document as it was stored, and when, in microseconds."""

    record_id: str
    document: str
    at: int


async def join_plainly(
    acting: Acting, draft: RecordDraft, *, made: list[str], digest: str, source_id: str, now: datetime, because: str
) -> Joined | None:
    """The new record, committed; None where the case is not plain or the token not good, and nothing was written.

    `made` is told its id before the database is asked. Raises what the driver raises: its IntegrityError where a name or externalId is taken.
    """
    if draft.active is False or manager_record(draft.document) is not None:
        return None
    columns = columns_of(draft)
    if columns["employee_number"] is not None:
        return None
    record_id, person_id, instant = new_id(), new_id(), microseconds(now)
    made.append(record_id)
    decided = decide_alone(on=True, means=None)
    stored = write_json(draft.document)
    values = {
        **columns, **attributes_in(draft.document), "document": stored, "digest": digest, "source": source_id, "record": record_id,
        "person": person_id, "at": instant, "because": because, "shown": columns["display_name"] or draft.user_name,
        "standing": decided.standing.value, "reason": decided.reason,
        "before": "null", "after": write_json({"userName": draft.user_name, "externalId": draft.external_id, "active": True}),
        "emails": write_json(sorted({name_key(address) for address in emails_of(draft.document)})),
    }  # fmt: skip
    # Of two with one name the second is refused, and is not to take others along.
    done = await acting.together(_join, values, lane=(digest, source_id, because), about=(columns["user_name_key"],))
    return Joined(record_id=record_id, document=stored, at=instant) if done else None


async def _join(bare: Bare, joining: Sequence[Mapping[str, Any]]) -> Sequence[bool]:
    """Whether each of these joined; all of them by one token."""
    if bare.dialect == "sqlite":
        return [await _join_in_turn(bare, values) for values in joining]
    if len(joining) == 1:
        return [bool(await bare.rows(_at_once(), joining[0]))]
    # In one order, so that no two processes wait for each other's names.
    joining_in_order = sorted(joining, key=lambda values: values["user_name_key"])
    shared = {name: joining[0][name] for name in ("digest", "source", "because")}
    given = {**shared, "at": max(values["at"] for values in joining), "several": told(joining_in_order, _SAID)}
    done = {record_id for (record_id,) in await bare.rows(_several_at_once(), given)}
    return [values["record"] in done for values in joining]


async def _join_in_turn(bare: Bare, values: Mapping[str, Any]) -> bool:
    async with bare.transaction():
        made = await bare.rows(_entry("sqlite"), values)
        if made:
            more = {**values, "journal": made[0][0], "organization": made[0][1]}
            await bare.ask(*((statement, more) for statement in _in_turn()))
    return bool(made)


# The statements


@cache
def _entry(dialect: str) -> ReturningInsert[int, str, str]:
    client = client_query().subquery("client")
    plain = select(client).where(_joins_by_numbers(client.c.organization_id, dialect)).subquery("plain")
    return entry(_joined(dialect, param), of=plain)


def _joined(dialect: str, said: Said) -> Mapping[Any, ColumnElement[Any]]:
    return {
        Entry.verb: text("joined"), Entry.subject_kind: text("record"), Entry.subject_id: said("record"),
        Entry.before: document("before", dialect, said), Entry.after: document("after", dialect, said),
    }  # fmt: skip


def _joins_by_numbers(organization: ColumnElement[Any], dialect: str) -> ColumnElement[bool]:
    """Whether the organisation joins records by employee numbers at most: nobody is then found by what a plain draft says."""
    settings: Any = Organization.settings
    chosen = func.json_extract(settings, text("$.matching")) if dialect == "sqlite" else settings.op("->>")(text("matching"))
    return exists().where(Organization.id == organization, or_(chosen.is_(None), chosen.in_([text("employeeNumber"), text("none")])))


@cache
def _at_once() -> Select[Any]:
    return at_once(_entry("postgresql"), _rows)


@cache
def _several_at_once() -> Select[Any]:
    client, acts = client_query().subquery("client"), several(_SAID)
    plain = select(client, acts).where(_joins_by_numbers(client.c.organization_id, "postgresql")).subquery("plain")
    said = said_in(plain)
    return several_at_once(entry(_joined("postgresql", said), of=plain, said=said), _rows, acts, by=lambda written: acts.c.record == written.c.subject_id)


@cache
def _in_turn() -> Sequence[Insert | Update | Delete]:
    return in_turn(_rows)


def _rows(dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any], said: Said) -> Sequence[Insert | Update]:
    stamp = {"organization_id": organization, "version": number(1), "created_at": at(said), "modified_at": at(said), "journal_id": journal}
    both = {**{name: said(name) for name in ("user_name", "user_name_key", "employee_number")}, "document": document("document", dialect, said)}
    record = {
        **stamp, **both, "id": said("record"), "source_id": param("source"), "person_id": said("person"), "external_id": said("external_id"),
        "display_name": said("display_name"), "active": true(), "active_said_at": at(said), "held": false(),
    }  # fmt: skip
    person = {
        **stamp, **both, "id": said("person"), "standing": said("standing"), "standing_reason": said("reason"), "access_epoch": number(1),
        "display_name": said("shown"), "email": said("email"), "user_type": said("user_type"), "department": said("department"),
        "division": said("division"),
    }  # fmt: skip
    work = new_work(organization, journal, subject=Subject.PERSON, subject_id=said("person"), lane=Lane.SYNC, workspace_id=text(""), said=said)
    emails = {"organization_id": organization, "record_id": said("record"), "address_key": each_in(said("emails"), dialect)}
    return [inserted(Record, record), inserted(RecordEmail, emails), inserted(Person, person), inserted(Work, work)]
