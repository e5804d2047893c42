"""The plain change of members: a directory puts some people into one of its groups, or takes some out, and says nothing else.

`groups.change_group` says what follows; this writes the same rows (a test compares them). The cost is that of the members
named, whatever the size of the group.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Insert, Integer, Select, Update, and_, false, func, null, select, update
from sqlalchemy.sql.dml import ReturningInsert

from app.access.knocking import client_query
from app.bare.connection import Acting, Bare
from app.clock import microseconds
from app.directory.tables import Group, Membership, Record
from app.journal.tables import Entry, Lane, Subject
from app.journal.work import insert_for
from app.lifecycle.plain_sql import Said, at, at_once, document, entry, in_turn, new_work, one_of, text, wanted
from app.statements import ALWAYS, each_in, each_of, param


async def change_members_plainly(
    acting: Acting, group_id: str, ids: Sequence[str], *, add: bool, digest: str, source_id: str, now: datetime, because: str
) -> bool:
    """Whether it was done, committed; False where the case is not plain or the token not good, and nothing was written.

    Raises what the driver raises.
    """
    values = {
        "group": group_id, "digest": digest, "source": source_id, "at": microseconds(now), "ids": json.dumps(sorted(set(ids))), "because": because,
        "add": add,
    }  # fmt: skip
    # Nobody goes along: who holds people for one change while they wait for those of another may be waited for.
    return await acting.together(_change_each, values, lane=object(), about=None)


async def _change_each(bare: Bare, changes: Sequence[Mapping[str, Any]]) -> Sequence[bool]:
    return [await _change(bare, dict(values)) for values in changes]


async def _change(bare: Bare, values: dict[str, Any]) -> bool:
    add: bool = values["add"]
    async with bare.transaction():
        seen, there = await bare.ask((_seen(), values), (_there(bare.dialect, add), values))
        if not seen:
            return False
        organization_id, name, outside_id, version = seen[0]
        values |= {"organization": organization_id}
        if add and not all(known for _, _, known, _ in there):
            return False
        changing = [(record_id, person_id) for record_id, person_id, _, member in there if bool(member) != add]
        if not changing:
            return True
        changed = sorted(record_id for record_id, _ in changing)
        said = {"displayName": name, "externalId": outside_id}
        values |= {
            "version": version + 1, "changed": json.dumps(changed), "before": json.dumps(said),
            "after": json.dumps({**said, "added": changed if add else [], "removed": [] if add else changed}),
            "people": json.dumps(sorted({person_id for _, person_id in changing if person_id is not None})),
        }  # fmt: skip
        if bare.dialect == "postgresql":
            return bool((await bare.last((_at_once(add), values)))[-1])
        made = await bare.rows(_entry("sqlite"), values)
        if made:
            values |= {"journal": made[0][0]}
            await bare.ask(*((statement, values) for statement in _in_turn(add)))
        return bool(made)


# The statements


@cache
def _seen() -> Select[str, str, str | None, int]:
    """organization_id, displayName, externalId and version of the group `:group`, which is locked, where the token is good."""
    client = client_query().subquery("client")
    return (
        select(Group.organization_id, Group.display_name, Group.external_id, Group.version)
        .select_from(client)
        .join(Group, and_(Group.organization_id == client.c.organization_id, Group.source_id == client.c.source_id))
        .where(Group.id == param("group"), Group.ended_at.is_(None))
        .with_for_update(of=[Group])
    )


@cache
def _there(dialect: str, add: bool) -> Select[Any]:
    """For each of `:ids`: the id, its person, whether it is a user of this directory, and whether it is a member now.

    Who is added is held, so that nobody who is being deleted at this moment becomes a member.
    """
    asked = select(each_of("ids", dialect).label("id")).subquery("asked")
    client = client_query().subquery("client")
    organization = select(client.c.organization_id).scalar_subquery()
    named = (
        select(Record.organization_id, Record.id, Record.person_id, Record.source_id, Record.ended_at)
        .where(Record.organization_id == organization, one_of(Record.id, "ids", dialect))
        .order_by(Record.id)
    )
    record = (named.with_for_update(read=True, key_share=True) if add else named).subquery("held")
    known = and_(record.c.source_id == param("source"), record.c.ended_at.is_(None))
    # A subquery for each, never a join: with one, PostgreSQL would read all members of the group to find out about a few.
    member = (
        select(Membership.ended_at.is_(None))
        .where(
            Membership.organization_id == record.c.organization_id, Membership.group_id == param("group"), Membership.record_id == record.c.id
        )
        .scalar_subquery()
    )  # fmt: skip
    return (
        select(asked.c.id, record.c.person_id, and_(record.c.id.is_not(None), known), func.coalesce(member, false()))
        .select_from(asked)
        .outerjoin(record, record.c.id == asked.c.id)
    )


@cache
def _entry(dialect: str) -> ReturningInsert[int, str, str]:
    values = {
        Entry.verb: text("group changed"), Entry.subject_kind: text("group"), Entry.subject_id: param("group"),
        Entry.before: document("before", dialect), Entry.after: document("after", dialect),
    }  # fmt: skip
    return entry(values, of=client_query().subquery("client"))


@cache
def _at_once(add: bool) -> Select[Any]:
    return at_once(_entry("postgresql"), _added if add else _removed)


@cache
def _in_turn(add: bool) -> Sequence[Insert | Update]:
    return in_turn(_added if add else _removed)


def _both(dialect: str, organization: Any, journal: Any, said: Said) -> list[Insert | Update]:
    group = (
        update(Group)
        .where(Group.organization_id == organization, Group.id == said("group"))
        .values(version=said("version", Integer()), modified_at=at(said), journal_id=journal)
    )
    work = new_work(
        organization, journal, subject=Subject.PERSON, subject_id=each_in(said("people"), dialect), lane=Lane.SYNC, workspace_id=text("")
    )
    return [group, wanted(work, dialect)]


def _added(dialect: str, organization: Any, journal: Any, said: Said) -> Sequence[Insert | Update]:
    values = {
        "organization_id": organization, "group_id": said("group"), "record_id": each_in(said("changed"), dialect), "ended_at": null(),
        "journal_id": journal,
    }  # fmt: skip
    statement = insert_for(dialect)(Membership).from_select(list(values), select(*values.values()).where(ALWAYS), include_defaults=False)
    back = statement.on_conflict_do_update(
        index_elements=["organization_id", "group_id", "record_id"], set_={"ended_at": null(), "journal_id": statement.excluded.journal_id}
    )
    return [*_both(dialect, organization, journal, said), back]


def _removed(dialect: str, organization: Any, journal: Any, said: Said) -> Sequence[Insert | Update]:
    ended = (
        update(Membership)
        .where(
            Membership.organization_id == organization, Membership.group_id == said("group"), one_of(Membership.record_id, "changed", dialect),
            Membership.ended_at.is_(None),
        )
        .values(ended_at=at(said), journal_id=journal)
    )  # fmt: skip
    return [*_both(dialect, organization, journal, said), ended]
