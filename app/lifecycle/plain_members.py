"""The plain change of members: a directory puts some people into one of its groups, or takes some out, and says nothing else.

`groups.change_group` says what follows; this writes the same rows (a test compares them). The cost is that of the members
named, whatever the size of the group.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Delete,
    Insert,
    Integer,
    Select,
    Text,
    Update,
    and_,
    case,
    cast,
    false,
    func,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.dml import ReturningInsert

from app.access.knocking import client_query
from app.bare.connection import Acting, Bare
from app.clock import microseconds, now
from app.directory.tables import Group, Membership, Record
from app.journal.tables import Entry
from app.journal.work import insert_for
from app.json_text import write_json
from app.lifecycle.plain_sql import (
    Said,
    at,
    at_once,
    document,
    entry,
    in_turn,
    look,
    looks,
    one_of,
    said_in,
    several,
    several_at_once,
    text,
    told,
    wanted,
)
from app.statements import ALWAYS, each_in, each_of, param

_SAID: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("before", "after", "changed", "people"), Text()), "at": BigInteger(), "add": Boolean(),
}  # fmt: skip
"""What one of several changes of a group says by itself; by whom it is said, and of which group, is the same for all of them."""


class _Change(NamedTuple):
    """Members of one group to be added, or to be removed, by a token of its source."""

    group_id: str
    ids: frozenset[str]
    add: bool
    digest: str
    source_id: str
    now: datetime
    because: str


async def change_members_plainly(
    acting: Acting, group_id: str, ids: Sequence[str], *, add: bool, digest: str, source_id: str, now: datetime, because: str
) -> bool:
    """Whether it was done, committed; False where the case is not plain or the token not good, and nothing was written.

    Raises what the driver raises.
    """
    change = _Change(group_id=group_id, ids=frozenset(ids), add=add, digest=digest, source_id=source_id, now=now, because=because)
    return await acting.together(_change, change, lane=(digest, source_id, because, group_id), about=change.ids)


async def _change(bare: Bare, changes: Sequence[_Change]) -> Sequence[bool]:
    """Whether each of these was done; all of them of one group by one token, and no two about the same member."""
    first = changes[0]
    by = {
        "group": first.group_id, "digest": first.digest, "source": first.source_id, "because": first.because,
        "at": max(microseconds(one.now) for one in changes),
    }  # fmt: skip
    async with bare.transaction():
        asked = {**by, "ids": write_json(sorted(frozenset[str]().union(*(one.ids for one in changes))))}
        groups, members = await bare.ask((_seen(), asked), (_there(bare.dialect), asked))
        if not groups:
            return [False] * len(changes)
        group = _Group(*groups[0])
        there = {row[0]: _There(*row) for row in members}
        plain = [all(there[id].known if one.add else there[id].held for id in one.ids) for one in changes]
        # The group is held by now: an instant from before that could lie before one that is written already.
        moment = now()
        acts = [act for one, is_plain in zip(changes, plain, strict=True) if is_plain and (act := _decided(one, group, there, moment=moment)) is not None]
        stamp = {"version": group.version + len(acts), "group_at": max(microseconds(moment), group.modified_at)}
        done = await _write(bare, acts, {**by, "organization": group.organization_id, **stamp})
    return [is_plain and done for is_plain in plain]


class _Group(NamedTuple):
    """A row of `_seen`, in its order."""

    organization_id: str
    display_name: str
    external_id: str | None
    version: int
    modified_at: int


class _There(NamedTuple):
    """A row of `_there`, in its order."""

    record_id: str
    person_id: str | None
    held: bool
    known: bool
    member: bool


def _decided(change: _Change, group: _Group, there: Mapping[str, _There], *, moment: datetime) -> dict[str, Any] | None:
    """What is written of a change; None where nothing changes."""
    changing = [one for id in sorted(change.ids) if (one := there[id]).known and bool(one.member) != change.add]
    if not changing:
        return None
    changed = [one.record_id for one in changing]
    said = {"displayName": group.display_name, "externalId": group.external_id}
    return {
        "at": microseconds(moment), "add": change.add, "changed": write_json(changed), "before": write_json(said),
        "after": write_json({**said, "added": changed if change.add else [], "removed": [] if change.add else changed}),
        "people": write_json(sorted({one.person_id for one in changing if one.person_id is not None})),
    }  # fmt: skip


async def _write(bare: Bare, acts: Sequence[Mapping[str, Any]], by: Mapping[str, Any]) -> bool:
    """Whether they were done: all of them or none, since only the token can stand against them."""
    if not acts:
        return True
    if len(acts) > 1:
        return bool((await bare.last((_several_at_once(), {**by, "several": told(acts, _SAID)})))[-1])
    values = {**by, **acts[0]}
    if bare.dialect == "postgresql":
        return bool((await bare.last((_at_once(), values)))[-1])
    made = await bare.rows(_entry("sqlite"), values)
    if made:
        values |= {"journal": made[0][0]}
        await bare.ask(*((statement, values) for statement in _in_turn()))
    return bool(made)


# The statements


@cache
def _seen() -> Select[str, str, str | None, int, datetime]:
    """The group `:group`, which is locked, where the token is good. In the order of `_Group`."""
    client = client_query().subquery("client")
    return (
        select(Group.organization_id, Group.display_name, Group.external_id, Group.version, Group.modified_at)
        .select_from(client)
        .join(Group, and_(Group.organization_id == client.c.organization_id, Group.source_id == client.c.source_id))
        .where(Group.id == param("group"), Group.ended_at.is_(None))
        .with_for_update(of=[Group])
    )


@cache
def _there(dialect: str) -> Select[Any]:
    """For each of `:ids` whether it is held here, is a user of this directory, and is a member now. In the order of `_There`.

    They are held, so that nobody who is being deleted at this moment becomes a member, or is taken out a second time. Whom
    somebody else holds is not waited for: the group is held already, and a connection that others use.
    """
    asked = select(each_of("ids", dialect).label("id")).subquery("asked")
    client = client_query().subquery("client")
    organization = select(client.c.organization_id).scalar_subquery()
    record = (
        select(Record.organization_id, Record.id, Record.person_id, Record.source_id, Record.ended_at)
        .where(Record.organization_id == organization, one_of(Record.id, "ids", dialect))
        .order_by(Record.id)
        .with_for_update(read=True, key_share=True, skip_locked=True)
        .subquery("held")
    )
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
        select(asked.c.id, record.c.person_id, record.c.id.is_not(None), and_(record.c.id.is_not(None), known), func.coalesce(member, false()))
        .select_from(asked)
        .outerjoin(record, record.c.id == asked.c.id)
    )


@cache
def _entry(dialect: str) -> ReturningInsert[int, str, str]:
    return entry(_entered(dialect, param), of=client_query().subquery("client"))


def _entered(dialect: str, said: Said) -> Mapping[Any, Any]:
    return {
        Entry.verb: text("group changed"), Entry.subject_kind: text("group"), Entry.subject_id: param("group"),
        Entry.before: document("before", dialect, said), Entry.after: document("after", dialect, said),
    }  # fmt: skip


@cache
def _at_once() -> Select[Any]:
    return at_once(_entry("postgresql"), _rows)


@cache
def _in_turn() -> Sequence[Insert | Update | Delete]:
    return in_turn(_rows)


@cache
def _several_at_once() -> Select[Any]:
    acts = several(_SAID)
    saying = select(client_query().subquery("client"), acts).subquery("saying")
    said = said_in(saying)
    made = entry(_entered("postgresql", said), of=saying, said=said).returning(Entry.after)
    # All entries are about one group; what they say differs, as no two name the same member.
    return several_at_once(made, _rows_of_several, acts, by=lambda written: cast(acts.c.after, JSONB) == written.c.after)


def _rows(dialect: str, organization: Any, journal: Any, said: Said) -> Sequence[Insert | Update]:
    return [
        _changed(organization).values(journal_id=journal),
        wanted(look(organization, journal, said("people"), dialect, said), dialect),
        _members(dialect, organization, journal, said),
    ]


def _rows_of_several(dialect: str, organization: Any, journal: Any, said: Said) -> Sequence[Insert | Update]:
    last = (
        select(organization.label("organization_id"), func.max(journal).label("journal"))
        .group_by(organization)
        .subquery("last")
    )
    return [
        _changed(last.c.organization_id).values(journal_id=last.c.journal),
        wanted(looks(organization, journal, said("people"), dialect, said), dialect),
        _members(dialect, organization, journal, said),
    ]


def _changed(organization: Any) -> Update:
    stamp = {"version": param("version", Integer()), "modified_at": param("group_at", BigInteger())}
    return update(Group).where(Group.organization_id == organization, Group.id == param("group")).values(**stamp)


def _members(dialect: str, organization: Any, journal: Any, said: Said) -> Any:
    """Those who are added, and those who are removed."""
    values = {
        "organization_id": organization, "group_id": param("group"), "record_id": each_in(said("changed"), dialect),
        "ended_at": case((said("add", Boolean()), null()), else_=at(said)), "journal_id": journal,
    }  # fmt: skip
    statement = insert_for(dialect)(Membership).from_select(list(values), select(*values.values()).where(ALWAYS), include_defaults=False)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["organization_id", "group_id", "record_id"], set_={"ended_at": new.ended_at, "journal_id": new.journal_id}
    )
