"""Roles that a person has here because of the groups they are in."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.directory.heard import is_on, present
from app.directory.names import name_key
from app.directory.settings import role_groups, value_of
from app.directory.tables import Group, Membership, Record
from app.lifecycle.operators import Role

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Meant:
    """Groups as a setting names them: by ids of ours, and by the keys of their names.

    What looks like an id is never a name: else whoever may name a group could call it what somebody else's id is.
    """

    ids: frozenset[str]
    names: frozenset[str]

    @classmethod
    def by(cls, said: Collection[str]) -> "Meant":
        ids = frozenset(one for one in said if _ID.fullmatch(one.strip()))
        return cls(ids=frozenset(one.strip().lower() for one in ids), names=frozenset(name_key(one) for one in said if one not in ids))


def roles_of(session: Session, organization_id: str, person_id: str) -> tuple[Role, ...]:
    """Every role that a group gives this person, strongest first.

    Only memberships of records that are on, and within their dates, count: who is off in the directory that made them an
    administrator is none.
    """
    wanted = role_groups(value_of(session, organization_id, "role_groups"))
    if not wanted:
        return ()
    rows = session.execute(
        select(Group.id, Group.display_name_key)
        .join(Membership, (Membership.organization_id == Group.organization_id) & (Membership.group_id == Group.id))
        .join(Record, (Record.organization_id == Membership.organization_id) & (Record.id == Membership.record_id))
        .where(
            Group.organization_id == organization_id, Record.person_id == person_id, is_on(present()),
            Membership.ended_at.is_(None), Group.ended_at.is_(None),
        )
    ).all()  # fmt: skip
    return roles_among(wanted, [(row.id, row.display_name_key) for row in rows])


def roles_among(wanted: Mapping[str, Collection[str]], groups: Iterable[tuple[str, str]]) -> tuple[Role, ...]:
    """The roles that these groups give, each as its id and the key of its name; strongest first."""
    there = list(groups)
    meant = {role: Meant.by(wanted.get(role, ())) for role in Role}
    return tuple(role for role, one in meant.items() if any(group_id in one.ids or name in one.names for group_id, name in there))
