"""The plain join: a directory names somebody whom nobody knows. One statement on PostgreSQL, a few short ones on SQLite.

`records.add_record` says what a join is; this writes the same rows (a test compares them) where nothing has to be decided:
no name or key that is taken, no number that joins records, no manager to be found. Where an organisation joins records by
addresses or names, every join has to be decided.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Insert, Select, Update, exists, false, func, or_, select, true
from sqlalchemy.sql.dml import ReturningInsert

from app.access.knocking import client_query
from app.bare.connection import Bare
from app.clock import microseconds
from app.database import new_id
from app.directory.names import name_key
from app.directory.tables import Person, Record, RecordEmail
from app.journal.tables import Entry, Lane, Organization, Subject, Work
from app.lifecycle.drafts import RecordDraft, columns_of
from app.lifecycle.people import attributes_in, emails_of, manager_record
from app.lifecycle.plain_sql import at, at_once, document, entry, in_turn, inserted, new_work, number, text
from app.lifecycle.standing import Decided, RecordSaid, decide
from app.statements import each_of, param

_TEXT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, kw_only=True)
class Joined:
    """A new record: its document as it was stored, and when, in microseconds."""

    record_id: str
    document: str
    at: int


async def join_plainly(bare: Bare, draft: RecordDraft, *, digest: str, source_id: str, now: datetime, because: str) -> Joined | None:
    """The new record, committed; None where the case is not plain or the token not good, and nothing was written.

    Raises what the driver raises: its IntegrityError where a name or externalId is taken.
    """
    if draft.active is False or manager_record(draft.document) is not None:
        return None
    columns = columns_of(draft)
    if columns["employee_number"] is not None:
        return None
    record_id, person_id, instant = new_id(), new_id(), microseconds(now)
    decided = _on_alone()
    stored = _TEXT.encode(draft.document)
    values = {
        **columns, **attributes_in(draft.document), "document": stored, "digest": digest, "source": source_id, "record": record_id,
        "person": person_id, "at": instant, "because": because, "shown": columns["display_name"] or draft.user_name,
        "standing": decided.standing.value, "reason": decided.reason,
        "before": "null", "after": json.dumps({"userName": draft.user_name, "externalId": draft.external_id, "active": True}),
        "emails": json.dumps(sorted({name_key(address) for address in emails_of(draft.document)})),
    }  # fmt: skip
    joined = Joined(record_id=record_id, document=stored, at=instant)
    if bare.dialect == "postgresql":
        return joined if await bare.rows(_at_once(), values) else None
    async with bare.transaction():
        made = await bare.rows(_entry("sqlite"), values)
        if not made:
            return None
        values |= {"journal": made[0][0], "organization": made[0][1]}
        await bare.ask(*((statement, values) for statement in _in_turn()))
    return joined


@cache
def _on_alone() -> Decided:
    """What is decided of somebody whom one record alone speaks for, and has switched on: the same whenever that is."""
    at = datetime.fromtimestamp(0, UTC)
    return decide([RecordSaid(on=True, said_at=at, means=None, ended=False)], [], now=at)


# The statements


@cache
def _entry(dialect: str) -> ReturningInsert[int, str]:
    values = {
        Entry.verb: text("joined"), Entry.subject_kind: text("record"), Entry.subject_id: param("record"),
        Entry.before: document("before", dialect), Entry.after: document("after", dialect),
    }  # fmt: skip
    client = client_query().subquery("client")
    return entry(values, of=select(client).where(_joins_by_numbers(client.c.organization_id, dialect)).subquery("plain"))


def _joins_by_numbers(organization: ColumnElement[Any], dialect: str) -> ColumnElement[bool]:
    """Whether the organisation joins records by employee numbers at most: nobody is then found by what a plain draft says."""
    settings: Any = Organization.settings
    chosen = func.json_extract(settings, text("$.matching")) if dialect == "sqlite" else settings.op("->>")(text("matching"))
    return exists().where(Organization.id == organization, or_(chosen.is_(None), chosen.in_([text("employeeNumber"), text("none")])))


@cache
def _at_once() -> Select[Any]:
    return at_once(_entry("postgresql"), _rows)


@cache
def _in_turn() -> Sequence[Insert | Update]:
    return in_turn(_rows)


def _rows(dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any]) -> Sequence[Insert | Update]:
    said_document = document("document", dialect)
    stamp = {"organization_id": organization, "version": number(1), "created_at": at(), "modified_at": at(), "journal_id": journal}
    said = {name: param(name) for name in ("user_name", "user_name_key", "employee_number")}
    record = {
        **stamp, **said, "id": param("record"), "source_id": param("source"), "person_id": param("person"), "external_id": param("external_id"),
        "display_name": param("display_name"), "active": true(), "active_said_at": at(), "held": false(), "document": said_document,
    }  # fmt: skip
    person = {
        **stamp, **said, "id": param("person"), "standing": param("standing"), "standing_reason": param("reason"), "access_epoch": number(1),
        "display_name": param("shown"), "email": param("email"), "user_type": param("user_type"), "department": param("department"),
        "division": param("division"), "document": said_document,
    }  # fmt: skip
    work = new_work(organization, journal, subject=Subject.PERSON, subject_id=param("person"), lane=Lane.SYNC, workspace_id=text(""))
    emails = {"organization_id": organization, "record_id": param("record"), "address_key": each_of("emails", dialect)}
    return [inserted(Record, record), inserted(RecordEmail, emails), inserted(Person, person), inserted(Work, work)]
