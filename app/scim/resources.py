"""Rows to SCIM resources and back: what of a document other rows decide is spliced in when it is read."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import iso
from app.directory.tables import Group, Membership, Person, Record
from app.directory.vocabulary import GROUP_URN, STANDARD, USER_URN, Vocabulary
from app.lifecycle.groups import GroupDraft
from app.lifecycle.records import RecordDraft, reads_active
from app.scim.answers import Problem, refused
from app.scim.bodies import last_said, member_ids, text_in, tidied
from app.scim.bounds import refuse_too_long
from app.scim.member_texts import PARTS, members_of

Resource = dict[str, Any]


def user_draft(
    body: Mapping[str, Any], *, number_said: bool = True, vocabulary: Vocabulary = STANDARD, before: Mapping[str, Any] | None = None
) -> RecordDraft:
    """A user as said, where `before` stood. Raises SCIMError naming the attribute that is wrong or missing."""
    document = tidied(body, USER_URN, vocabulary, before)
    active = document.pop("active", None)
    name = text_in(document, "userName")
    if name is None:
        raise refused("userName is required", Problem.INVALID_VALUE)
    refuse_too_long(document, USER_URN)
    external_id = _external_id(document)
    return RecordDraft(
        external_id=external_id, user_name=name, active=active, document=document, number_said=number_said
    )


def group_draft(
    body: Mapping[str, Any], *, vocabulary: Vocabulary = STANDARD, before: Mapping[str, Any] | None = None
) -> GroupDraft:
    """A group as said, where `before` stood. Raises SCIMError naming the attribute that is wrong or missing."""
    members = last_said(body, "members")
    document = tidied({key: value for key, value in body.items() if key.lower() != "members"}, GROUP_URN, vocabulary, before)
    name = text_in(document, "displayName")
    if name is None:
        raise refused("displayName is required", Problem.INVALID_VALUE)
    refuse_too_long(document, GROUP_URN)
    return GroupDraft(
        external_id=_external_id(document),
        display_name=name,
        document=document,
        members=member_ids(members),
    )


def _external_id(document: dict[str, Any]) -> str | None:
    """The directory's own key; a blank one is none, and would be shown and never found."""
    found = text_in(document, "externalId")
    if found is None:
        document.pop("externalId", None)
    return found


def user_said(record: Record) -> Resource:
    """The user as its directory said it: what a PATCH is applied to."""
    return user_as_said(record.document, user_name=record.user_name, external_id=record.external_id, active=record.active)


def user_as_said(document: Mapping[str, Any], *, user_name: str, external_id: str | None, active: bool) -> Resource:
    """The same of what is stored of it."""
    said = {**document, "userName": user_name, "active": active}
    return said if external_id is None else {**said, "externalId": external_id}


def group_said(group: Group) -> Resource:
    """The group as its directory said it, without its members."""
    said = {**group.document, "displayName": group.display_name}
    return said if group.external_id is None else {**said, "externalId": group.external_id}


def _meta(kind: str, row: Record | Group, location: str) -> Resource:
    return {
        "resourceType": kind,
        "created": iso(row.created_at),
        "lastModified": iso(row.modified_at),
        "location": location,
        "version": f'W/"{row.version}"',
    }


def user_resources(session: Session, records: Sequence[Record], *, base: str, with_groups: bool = True) -> list[Resource]:
    """Users as they are answered, in the order given."""
    if not records:
        return []
    organization_id = records[0].organization_id
    people = select(Person.id, Person.standing).where(
        Person.organization_id == organization_id, Person.id.in_({record.person_id for record in records})
    )
    standing = {person_id: stands for person_id, stands in session.execute(people)}
    groups = _groups_of(session, organization_id, [record.id for record in records], base) if with_groups else {}
    return [
        {
            "id": record.id,
            **user_said(record),
            "active": reads_active(record, standing.get(record.person_id, "")),
            **({"groups": groups.get(record.id, [])} if with_groups else {}),
            "meta": _meta("User", record, f"{base}/Users/{record.id}"),
        }
        for record in records
    ]


def _groups_of(session: Session, organization_id: str, ids: list[str], base: str) -> dict[str, list[Resource]]:
    query = (
        select(Membership.record_id, Group.id, Group.display_name)
        .join(Group, (Group.organization_id == Membership.organization_id) & (Group.id == Membership.group_id))
        .where(Membership.organization_id == organization_id, Membership.record_id.in_(ids))
        .where(Membership.ended_at.is_(None), Group.ended_at.is_(None))
        .order_by(Group.id)
    )
    found: dict[str, list[Resource]] = {}
    for record_id, group_id, name in session.execute(query):
        element = {"value": group_id, "$ref": f"{base}/Groups/{group_id}", "display": name, "type": "direct"}
        found.setdefault(record_id, []).append(element)
    return found


def group_resources(session: Session, groups: Sequence[Group], *, base: str, shown: tuple[str, ...] = PARTS) -> list[Resource]:
    """Groups as they are answered, in the order given; where nothing of members is `shown`, nobody's membership is read."""
    if not groups:
        return []
    members = members_of(session, groups[0].organization_id, [group.id for group in groups], base=base, shown=shown) if shown else {}
    return [
        {
            "id": group.id,
            **group_said(group),
            **({"members": members.get(group.id, [])} if shown else {}),
            "meta": _meta("Group", group, f"{base}/Groups/{group.id}"),
        }
        for group in groups
    ]
