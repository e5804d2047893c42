"""Verbs on groups: what a directory says of its groups and their members. Only the changed rows are touched."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Select, null, select, update
from sqlalchemy.orm import Session

from app.actors import Actor
from app.database import new_id, same_document
from app.directory.names import name_key
from app.directory.tables import Group, Membership, Record
from app.journal import entries, work
from app.journal.tables import Subject
from app.lifecycle.errors import NotFound, StaleVersion, Taken, UnknownMembers
from app.lifecycle.plain_sql import one_of
from app.statements import ALWAYS, each_of, param


class Unchanged(Enum):
    """Says "leave it", where None says "there is none"."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED


@dataclass(frozen=True, kw_only=True)
class GroupDraft:
    """A SCIM group as said; `members` are record ids of the same source."""

    external_id: str | None
    display_name: str
    document: dict[str, Any] = field(default_factory=dict)
    members: tuple[str, ...] = ()


def read_group(session: Session, organization_id: str, source_id: str, group_id: str, *, lock: bool = False) -> Group:
    """A group that stands, of this source. Raises NotFound."""
    query = select(Group).where(
        Group.organization_id == organization_id, Group.source_id == source_id, Group.id == group_id, Group.ended_at.is_(None)
    )
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    group = session.scalar(query)
    if group is None:
        raise NotFound("Group", group_id)
    return group


def add_group(
    session: Session, organization_id: str, source_id: str, draft: GroupDraft, *, actor: Actor, at: datetime, because: str
) -> Group:
    """A directory names a group. Raises Taken, UnknownMembers."""
    _refuse_taken(session, organization_id, source_id, display_name=draft.display_name, external_id=draft.external_id, but=None)
    group = Group(
        organization_id=organization_id, id=new_id(), source_id=source_id, external_id=draft.external_id, display_name=draft.display_name,
        display_name_key=name_key(draft.display_name), document=draft.document, version=1, created_at=at, modified_at=at, journal_id=0,
    )  # fmt: skip
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb="group added", because=because, subject_kind="group", subject_id=group.id,
        after={"displayName": draft.display_name, "members": len(set(draft.members))},
    )  # fmt: skip
    group.journal_id = entry
    session.add(group)
    session.flush()
    members = set(draft.members)
    _refuse_unknown(session, group, members)
    _add_members(session, group, members, journal_id=entry)
    _want(session, group, records=members, at=at, journal_id=entry, renamed=True)
    return group


def reopen_group(
    session: Session, organization_id: str, source_id: str, group_id: str, draft: GroupDraft, *, actor: Actor, at: datetime, because: str
) -> Group:
    """A directory names a group again that had ended: the same one, with its channels, and nobody in it yet. Raises Taken."""
    _refuse_taken(session, organization_id, source_id, display_name=draft.display_name, external_id=draft.external_id, but=group_id)
    group = session.get_one(Group, (organization_id, group_id), with_for_update=True, populate_existing=True)
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb="group named again", because=because, subject_kind="group", subject_id=group.id,
        before={"displayName": group.display_name}, after={"displayName": draft.display_name},
    )  # fmt: skip
    group.display_name, group.display_name_key = draft.display_name, name_key(draft.display_name)
    group.external_id, group.document, group.ended_at = draft.external_id, draft.document, None
    group.version += 1
    group.modified_at, group.journal_id = at, entry
    session.flush()
    _want(session, group, records=set(), at=at, journal_id=entry, renamed=True)
    return group


def change_group(
    session: Session, organization_id: str, source_id: str, group_id: str, *,
    display_name: str | None = None, external_id: str | Unchanged | None = UNCHANGED, document: dict[str, Any] | None = None,
    members: Iterable[str] | None = None, add: Iterable[str] = (), remove: Iterable[str] = (), expected_version: int | None = None,
    actor: Actor, at: datetime, because: str,
) -> Group:  # fmt: skip
    """A directory says something else of a group: its name, its whole set of members, or single ones.

    `remove` of somebody who is no member is already so. Raises NotFound, Taken, UnknownMembers, StaleVersion.
    """
    group = read_group(session, organization_id, source_id, group_id, lock=True)
    if expected_version is not None and group.version != expected_version:
        raise StaleVersion(f"version {expected_version} was expected, {group.version} stands")
    name = group.display_name if display_name is None else display_name
    outside_id = group.external_id if external_id is UNCHANGED else external_id
    said = group.document if document is None else document
    _refuse_taken(session, organization_id, source_id, display_name=name, external_id=outside_id, but=group.id)
    to_add, to_remove = set(add), set(remove)
    if members is not None:
        there = _members(session, group)
        to_add, to_remove = set(members) - there, there - set(members)
    _refuse_unknown(session, group, to_add)
    to_add = to_add - _members(session, group, among=to_add)
    # Held, so that whom a deletion has just taken out is not said to be taken out once more.
    to_remove = _members(session, group, among=to_remove, hold=True)
    renamed = name != group.display_name
    if not (renamed or to_add or to_remove or outside_id != group.external_id or not same_document(said, group.document)):
        return group
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb="group changed", because=because, subject_kind="group", subject_id=group.id,
        before={"displayName": group.display_name, "externalId": group.external_id},
        after={"displayName": name, "externalId": outside_id, "added": sorted(to_add), "removed": sorted(to_remove)},
    )  # fmt: skip
    group.display_name, group.display_name_key, group.external_id, group.document = name, name_key(name), outside_id, said
    group.version += 1
    group.modified_at, group.journal_id = max(at, group.modified_at), entry
    session.flush()
    _add_members(session, group, to_add, journal_id=entry)
    _end_members(session, group, to_remove, at=at, journal_id=entry)
    _want(session, group, records=to_add | to_remove, at=at, journal_id=entry, renamed=renamed)
    return group


def end_group(session: Session, organization_id: str, source_id: str, group_id: str, *, actor: Actor, at: datetime, because: str) -> None:
    """A directory deletes a group: its memberships end with it, its name is free. Raises NotFound."""
    group = read_group(session, organization_id, source_id, group_id, lock=True)
    members = _members(session, group)
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb="group ended", because=because, subject_kind="group", subject_id=group.id,
        before={"displayName": group.display_name, "members": len(members)},
    )  # fmt: skip
    group.ended_at, group.modified_at, group.journal_id = at, at, entry
    session.flush()
    _end_members(session, group, members, at=at, journal_id=entry)
    _want(session, group, records=members, at=at, journal_id=entry, renamed=False)


def _members(session: Session, group: Group, *, among: set[str] | None = None, hold: bool = False) -> set[str]:
    query = select(Membership.record_id).where(
        Membership.organization_id == group.organization_id, Membership.group_id == group.id, Membership.ended_at.is_(None)
    )
    if among is None:
        return set(session.scalars(query))
    if hold:
        query = query.order_by(Membership.record_id).with_for_update()
    found: set[str] = set()
    ids = sorted(among)
    for start in range(0, len(ids), 500):
        found.update(session.scalars(query.where(Membership.record_id.in_(ids[start : start + 500]))))
    return found


def _refuse_unknown(session: Session, group: Group, ids: set[str]) -> None:
    if not ids:
        return
    asked = {"organization": group.organization_id, "source": group.source_id, "ids": json.dumps(sorted(ids))}
    unknown = ids.difference(session.scalars(_standing(session.get_bind().dialect.name), asked))
    if unknown:
        named = sorted(unknown)
        theirs = select(Group.id).where(Group.organization_id == group.organization_id, Group.source_id == group.source_id, Group.ended_at.is_(None))
        raise UnknownMembers(named, groups=session.scalars(theirs.where(Group.id.in_(named[:500]))).all())


@cache
def _standing(dialect: str) -> Select[str]:
    """Which of `:ids` are records of a source that stand. They are held, so that nobody who is being deleted at this moment becomes a member."""
    return (
        select(Record.id)
        .where(
            Record.organization_id == param("organization"), Record.source_id == param("source"), Record.ended_at.is_(None),
            one_of(Record.id, "ids", dialect),
        )
        .order_by(Record.id)
        .with_for_update(read=True, key_share=True)
    )  # fmt: skip


def _add_members(session: Session, group: Group, ids: set[str], *, journal_id: int) -> None:
    if not ids:
        return
    connection = session.connection()
    given = {"organization": group.organization_id, "group": group.id, "ids": json.dumps(sorted(ids)), "journal": journal_id}
    connection.execute(new_members(connection.dialect.name), given)


@cache
def new_members(dialect: str) -> Any:
    """INSERT of a row for each record of `:ids` as a member of `:group`, whether or not it was one before."""
    values: dict[str, Any] = {
        "organization_id": param("organization"), "group_id": param("group"), "record_id": each_of("ids", dialect), "ended_at": null(),
        "journal_id": param("journal", BigInteger()),
    }  # fmt: skip
    statement = work.insert_for(dialect)(Membership).from_select(list(values), select(*values.values()).where(ALWAYS), include_defaults=False)
    return statement.on_conflict_do_update(
        index_elements=["organization_id", "group_id", "record_id"], set_={"ended_at": null(), "journal_id": statement.excluded.journal_id}
    )


def _end_members(session: Session, group: Group, ids: set[str], *, at: datetime, journal_id: int) -> None:
    gone = sorted(ids)
    for start in range(0, len(gone), 500):
        session.execute(
            update(Membership)
            .where(
                Membership.organization_id == group.organization_id, Membership.group_id == group.id,
                Membership.record_id.in_(gone[start : start + 500]), Membership.ended_at.is_(None),
            )
            .values(ended_at=at, journal_id=journal_id),
            execution_options={"synchronize_session": False},
        )  # fmt: skip


def _want(session: Session, group: Group, *, records: set[str], at: datetime, journal_id: int, renamed: bool) -> None:
    people: set[str] = set()
    ids = sorted(records)
    for start in range(0, len(ids), 500):
        people.update(
            session.scalars(
                select(Record.person_id).where(Record.organization_id == group.organization_id, Record.id.in_(ids[start : start + 500]))
            )
        )
    work.want(session, group.organization_id, subject=Subject.PERSON, subject_ids=people, because=journal_id, due_at=at)
    if renamed:
        work.want(session, group.organization_id, subject=Subject.GROUP, subject_ids=[group.id], because=journal_id, due_at=at)


def _refuse_taken(
    session: Session, organization_id: str, source_id: str, *, display_name: str, external_id: str | None, but: str | None
) -> None:
    stands = (Group.organization_id == organization_id, Group.source_id == source_id, Group.ended_at.is_(None))
    same = session.scalar(select(Group.id).where(*stands, Group.display_name_key == name_key(display_name)))
    if same is not None and same != but:
        raise Taken("displayName", display_name, f"displayName {display_name!r} belongs to another group of this directory")
    if external_id is not None:
        same = session.scalar(select(Group.id).where(*stands, Group.external_id == external_id))
        if same is not None and same != but:
            raise Taken("externalId", external_id, f"externalId {external_id!r} belongs to another group of this directory")
