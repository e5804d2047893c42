"""Members of groups as the JSON text that the database makes of them, in pieces: of 100,000 there is one copy here, and no object."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, Select, Text, and_, cast, func, select, true
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Session

from app.directory.tables import Group, Membership, Record
from app.lifecycle.plain_sql import one_of, text
from app.scim.answers import JSONList
from app.scim.members import MemberChanges
from app.statements import param

PARTS: Final = ("value", "$ref", "display", "type")
"""What is said of a member (RFC 7643 §4.2)."""
AT_A_TIME: Final = 1000
"""Members of a piece on PostgreSQL: libpq keeps for each connection as much memory as the longest row has ever taken."""
ROWS_AT_A_TIME: Final = 25
_OF_RECORD: Final = and_(Record.organization_id == Membership.organization_id, Record.id == Membership.record_id)
_IN_GROUP: Final = and_(Membership.organization_id == Group.organization_id, Membership.group_id == Group.id, Membership.ended_at.is_(None))


def said_of(id: Any, address: str, display: Any, type_: str) -> Mapping[str, ColumnElement[Any]]:
    """All that a reference says of who or what has `id`; its address is below that of `:address`."""
    return {"value": id, "$ref": cast(param(address), Text).op("||", precedence=20)(id), "display": display, "type": text(type_)}


def with_members(query: Select[*tuple[Any, ...]], dialect: str, shown: tuple[str, ...] = PARTS) -> Select[*tuple[Any, ...]]:
    """The query of groups with one column more: in a row for each piece of a group's members their JSON objects, with commas between.

    They are in the order of ids, and say what is `shown`, with addresses below `:users`. Who has no members has a row with null.
    """
    display = _display()
    if dialect == "sqlite":
        # It has no order of its own here before 3.44: its key of memberships gives them in that of ids.
        joined: Any = func.group_concat(func.json_object(*_parts(Record.id.expression, display, shown)), text(","))
        return query.add_columns(select(joined).select_from(Membership).join(Record, _OF_RECORD).where(_IN_GROUP).correlate(Group).scalar_subquery())
    number = cast(func.row_number().over(order_by=Record.id) - 1, Integer)
    members = (
        select(Record.id.label("id"), display.label("display"), (number // AT_A_TIME).label("piece"))
        .select_from(Membership)
        .join(Record, _OF_RECORD)
        .where(_IN_GROUP)
        .correlate(Group)
        .subquery("members")
    )
    one = cast(func.json_build_object(*_parts(members.c.id, members.c.display, shown)), Text)
    listed = func.string_agg(one, aggregate_order_by(text(","), members.c.id))
    pieces = select(members.c.piece, listed.label("listed")).group_by(members.c.piece).lateral("pieces")
    return query.add_columns(pieces.c.listed).outerjoin(pieces, true()).order_by(Group.id, pieces.c.piece)


def _display() -> ColumnElement[str]:
    return func.coalesce(func.nullif(Record.display_name, text("")), Record.user_name)


def _parts(id: Any, display: Any, shown: Sequence[str]) -> list[Any]:
    said = said_of(id, "users", display, "User")
    return [part for name in shown for part in (text(name), said[name])]


def members_of(session: Session, organization_id: str, ids: Sequence[str], *, base: str, shown: tuple[str, ...]) -> dict[str, JSONList]:
    """The members of each of these groups that has any."""
    query = select(Group.id).where(Group.organization_id == organization_id, Group.id.in_(ids))
    found: dict[str, JSONList] = {}
    asked = with_members(query, session.get_bind().dialect.name, shown)
    # A few at a time, or the driver would hold all of a large group's beside what is made of them here.
    for group_id, listed in session.execute(asked, {"users": f"{base}/Users/"}, execution_options={"yield_per": ROWS_AT_A_TIME}):
        if listed is not None:
            found.setdefault(group_id, JSONList()).append(listed)
    return found


def members_looked_at(session: Session, group: Group, changes: MemberChanges, *, base: str) -> list[dict[str, str]]:
    """The members of a group as they are shown, after changes that are not written yet: every one of them is read."""
    said = select(Record.id, _display()).where(Record.organization_id == group.organization_id, Record.ended_at.is_(None))
    there = said.join(Membership, _OF_RECORD).where(Membership.group_id == group.id, Membership.ended_at.is_(None))
    found: dict[str, str] = {} if changes.whole is not None else {id: display for id, display in session.execute(there) if id not in changes.remove}
    coming = changes.add if changes.whole is None else changes.whole
    named = said.where(Record.source_id == group.source_id, one_of(Record.id, "ids", session.get_bind().dialect.name))
    found |= {id: display for id, display in session.execute(named, {"ids": json.dumps(sorted(coming))})}
    return [{"value": id, "$ref": f"{base}/Users/{id}", "display": display, "type": "User"} for id, display in found.items()]
