"""Journal entries for many subjects in one statement."""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, cast
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from app.actors import Actor
from app.clock import microseconds
from app.journal.tables import Entry
from app.lifecycle.plain_sql import Values, inserted, parts_of_each, text
from app.statements import param, text_of


def write_entries(
    session: Session, organization_id: str, subjects: Mapping[str, str], *,
    at: datetime, actor: Actor, verb: str, because: str, subject_kind: str,
) -> dict[str, int]:  # fmt: skip
    """One journal entry for each subject, in their order, with its `after` as JSON text; returns their numbers by subject."""
    given = {
        "organization": organization_id, "at": microseconds(at), "actor": str(actor), "verb": verb, "because": because, "kind": subject_kind,
        "rows": json.dumps(list(subjects.items())),
    }  # fmt: skip
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        rows = connection.execute(_entries("postgresql"), given)
    else:
        rows = connection.exec_driver_sql(text_of(_entries("sqlite"), "sqlite"), given)
    return {subject_id: number for number, subject_id in rows}


@cache
def _entries(dialect: str) -> ReturningInsert[int, str]:
    subject, said = parts_of_each("rows", dialect, 2)
    nothing: ColumnElement[Any] = text("null")
    if dialect == "postgresql":
        said, nothing = cast(said, JSONB), cast(nothing, JSONB)
    values: Values = {
        Entry.organization_id: param("organization"), Entry.at: param("at", BigInteger()), Entry.actor: param("actor"), Entry.verb: param("verb"),
        Entry.because: param("because"), Entry.subject_kind: param("kind"), Entry.subject_id: subject, Entry.before: nothing, Entry.after: said,
    }  # fmt: skip
    return inserted(Entry, values).returning(Entry.id, Entry.subject_id)
