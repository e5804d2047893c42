"""The journal entry of what is written plainly of a record that was seen: on PostgreSQL only where nobody else has had a say since.

Every other row of an act hangs on it, so where there is none nothing is written.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import CTE, ColumnElement, not_, select
from sqlalchemy.sql.dml import ReturningInsert

from app.access.knocking import client_query
from app.journal.tables import Entry
from app.lifecycle.plain_brake import open_burst
from app.lifecycle.plain_seen import spoken_for
from app.lifecycle.plain_sql import Said, at, document, entry, inserted, said_in, text
from app.statements import param


@cache
def entry_of_one(*, waits: bool = False) -> ReturningInsert[int, str, str]:
    """PostgreSQL: the entry of `:record`, where the token is good; of one that `waits`, where its burst is open as well."""
    client = client_query().subquery("client")
    # Asked once more: whoever held the lock before may have said something.
    alone = not_(spoken_for(client.c.organization_id, param("person"), param("record")))
    of = select(client).where(alone)
    return entry(_entered("postgresql", param), of=(of.select_from(open_burst()) if waits else of).subquery("unopposed"))


def entries_of_several(acts: CTE, *, waits: bool = False) -> ReturningInsert[int, str, str]:
    """PostgreSQL: the same of each of these acts, which `plain_sql.several` makes."""
    client = client_query().subquery("client")
    alone = not_(spoken_for(client.c.organization_id, acts.c.person, acts.c.record))
    of = select(client, acts).where(alone)
    unopposed = (of.select_from(open_burst()) if waits else of).subquery("unopposed")
    said = said_in(unopposed)
    return entry(_entered("postgresql", said), of=unopposed, said=said)


@cache
def entry_of_seen() -> ReturningInsert[int]:
    """SQLite: the entry. What was seen is so: nobody else writes before this transaction ends."""
    fixed = {
        Entry.organization_id: param("organization"), Entry.at: at(param), Entry.actor: param("actor"), Entry.because: param("because"),
    }  # fmt: skip
    return inserted(Entry, {**fixed, **_entered("sqlite", param)}).returning(Entry.id)


def _entered(dialect: str, said: Said) -> Mapping[Any, ColumnElement[Any]]:
    return {
        Entry.verb: said("verb"), Entry.subject_kind: text("record"), Entry.subject_id: said("record"),
        Entry.before: document("before", dialect, said), Entry.after: document("after", dialect, said),
    }  # fmt: skip
