"""ETags (RFC 7644 §3.14): which versions a request names, and whether a client has a resource as it stands."""

import re
from typing import Final

from flask import Response, request
from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from app.directory.tables import Group, Membership, Person, Record
from app.directory.vocabulary import GROUP_URN, USER_URN
from app.scim.answers import SCIMError
from app.scim.selection import Selection

# We write none with a zero before it, and the first is 1.
_TAG: Final = re.compile(r'(?:W/)?"([1-9][0-9]{0,8})"')


def versions_in(text: str) -> frozenset[int] | None:
    """The versions of ours in a list of ETags; None for `*`, which stands for any, and alone (RFC 9110 §13.1.1)."""
    if text.strip() == "*":
        return None
    return frozenset(number for tag in text.split(",") if (number := version_of(tag.strip())) is not None)


def version_of(tag: str) -> int | None:
    """The version in one ETag; None where it never was one of ours, which are weak and compare as such whatever the header."""
    found = _TAG.fullmatch(tag)
    return None if found is None else int(found[1])


def unchanged(session: Session, row: Record | Group, selection: Selection) -> Response | None:
    """304 where If-None-Match names the resource as it stands, else None. Raises SCIMError where If-Match names another version."""
    wanted = request.headers.get("If-Match", "").strip()
    if wanted and (only := versions_in(wanted)) is not None and row.version not in only:
        raise SCIMError(412, f"If-Match: {wanted[:40]} is not the version that stands")
    text = request.headers.get("If-None-Match", "").strip()
    if not text:
        return None
    named = versions_in(text)
    if named is not None and (row.version not in named or _changed_beside(session, row, selection)):
        return None
    return Response(status=304, headers={"ETag": f'W/"{row.version}"'})


def _changed_beside(session: Session, row: Record | Group, selection: Selection) -> bool:
    """Whether what other rows decide of the resource may have changed since it has this version.

    An operator who lets nobody in changes `active`, and a group takes members in, without a new version of the user.
    """
    newest: list[int | None] = []
    if isinstance(row, Record):
        newest.append(
            session.scalar(select(Person.journal_id).where(Person.organization_id == row.organization_id, Person.id == row.person_id))
        )
        if selection.of_kind(USER_URN).shows("groups"):
            group = and_(Group.organization_id == Membership.organization_id, Group.id == Membership.group_id)
            own = (Membership.organization_id == row.organization_id, Membership.record_id == row.id)
            newest += session.execute(
                select(func.max(Membership.journal_id), func.max(Group.journal_id)).join(Group, group).where(*own)
            ).one()
    elif selection.of_kind(GROUP_URN).shows("members"):
        record = and_(Record.organization_id == Membership.organization_id, Record.id == Membership.record_id)
        own = (Membership.organization_id == row.organization_id, Membership.group_id == row.id)
        newest += session.execute(
            select(func.max(Membership.journal_id), func.max(Record.journal_id)).join(Record, record).where(*own)
        ).one()
    return any(number is not None and number > row.journal_id for number in newest)
