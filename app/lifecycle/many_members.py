"""Many new members of one group at once: the same rows as `groups.change_group` writes (a test compares them), in a handful of statements."""

import json
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Select, func, select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.clock import microseconds
from app.directory.tables import Group, Membership, Record, Source
from app.journal import entries
from app.journal.tables import Lane, Subject
from app.lifecycle.groups import new_members, read_group
from app.lifecycle.plain_sql import new_work, one_of, text, wanted
from app.statements import each_of, param


def put_in(
    session: Session, source: Source, group_id: str, record_ids: Collection[str], *, actor: Actor, at: datetime, because: str
) -> Group:
    """These records are members; whoever was one is passed over, and whoever is no record of this source that stands. Raises NotFound."""
    group = read_group(session, source.organization_id, source.id, group_id, lock=True)
    session.flush()
    given = {"organization": source.organization_id, "source": source.id, "group": group_id, "ids": json.dumps(sorted(set(record_ids)))}
    people = {record_id: person_id for record_id, person_id in _rows(session, "newcomers", given)}
    if not people:
        return group
    entry = entries.write(
        session, source.organization_id, at=at, actor=actor, verb="group changed", because=because, subject_kind="group", subject_id=group_id,
        before={"displayName": group.display_name, "externalId": group.external_id},
        after={"displayName": group.display_name, "externalId": group.external_id, "added": sorted(people), "removed": []},
    )  # fmt: skip
    group.version += 1
    group.modified_at, group.journal_id = max(at, group.modified_at), entry
    session.flush()
    wishes = {
        "organization": source.organization_id, "group": group_id, "journal": entry, "at": microseconds(at), "ids": json.dumps(sorted(people)),
        "people": json.dumps(sorted(set(people.values()))),
    }  # fmt: skip
    for statement in ("members", "wishes"):
        _rows(session, statement, wishes)
    return group


def _rows(session: Session, name: str, given: Mapping[str, Any]) -> list[Any]:
    connection = session.connection()
    found = connection.execute(_statement(name, connection.dialect.name), dict(given))
    return list(found) if found.returns_rows else []


@cache
def _statement(name: str, dialect: str) -> Any:
    made: dict[str, Callable[[str], Any]] = {"newcomers": _newcomers, "members": new_members, "wishes": _wishes}
    return made[name](dialect)


def _newcomers(dialect: str) -> Select[str, str]:
    """Records among `:ids` that stand and are no members now, each with its person. They are held, so that nobody who is being deleted becomes one."""
    member = (
        select(func.count())
        .select_from(Membership)
        .where(
            Membership.organization_id == Record.organization_id, Membership.group_id == param("group"), Membership.record_id == Record.id,
            Membership.ended_at.is_(None),
        )
        .correlate(Record)
        .scalar_subquery()
    )  # fmt: skip
    return (
        select(Record.id, Record.person_id)
        .where(
            Record.organization_id == param("organization"), Record.source_id == param("source"), Record.ended_at.is_(None),
            one_of(Record.id, "ids", dialect), member == 0,
        )
        .order_by(Record.id)
        .with_for_update(read=True, key_share=True)
    )  # fmt: skip


def _wishes(dialect: str) -> Any:
    work = new_work(
        param("organization"), param("journal", BigInteger()), subject=Subject.PERSON, subject_id=each_of("people", dialect), lane=Lane.SYNC,
        workspace_id=text(""),
    )  # fmt: skip
    return wanted(work, dialect)
