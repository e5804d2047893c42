"""Who has access and belongs in no channel at all, and why each rule leaves them out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.tables import Workspace
from app.directory.filter_sql import compile_filter
from app.directory.filterable import PERSONS
from app.directory.filters import parse as parse_filter
from app.directory.tables import Person, Standing
from app.rules.file import MANAGER, Rule
from app.rules.membership import belongings, dialect_of
from app.rules.tables import MOVED, Channel, ChannelMember

AT_A_TIME: Final = 500


@dataclass(frozen=True, kw_only=True)
class Unreached:
    """Somebody whom no rule reaches. `still_in` counts the channels that they are in all the same: kept after a move, or by hand."""

    person_id: str
    user_name: str
    display_name: str
    department: str | None
    why: str
    still_in: int


@dataclass(frozen=True, kw_only=True)
class _Active:
    id: str
    user_name: str
    display_name: str
    department: str | None
    manager_id: str | None


def unreached(session: Session, organization_id: str, rules: Sequence[Rule]) -> Iterator[Unreached]:
    """Everybody active whom no rule reaches, by their id. Two sorted streams side by side, so memory does not grow with the people."""
    left_out = _left_out(session, organization_id, rules)
    while page := list(islice(left_out, AT_A_TIME)):
        ids = [one.id for one in page]
        fitting = {rule.id: _fitting(session, organization_id, rule, ids) for rule in rules if rule.where is not None}
        still_in = _still_in(session, organization_id, ids)
        for one in page:
            reasons = [_why(rule, one, fits=rule.where is None or one.id in fitting[rule.id]) for rule in rules]
            yield Unreached(
                person_id=one.id, user_name=one.user_name, display_name=one.display_name, department=one.department,
                why="; ".join(reasons) if rules else "there are no rules yet: doorlist rules apply", still_in=still_in.get(one.id, 0),
            )  # fmt: skip


def _left_out(session: Session, organization_id: str, rules: Sequence[Rule]) -> Iterator[_Active]:
    reached = (person_id for person_id, _, _ in belongings(session, organization_id, rules))
    next_reached = next(reached, None)
    query = (
        select(Person.id, Person.user_name, Person.display_name, Person.department, Person.manager_id)
        .where(Person.organization_id == organization_id, Person.standing == Standing.ACTIVE)
        .order_by(Person.id)
    )
    for row in session.execute(query, execution_options={"yield_per": AT_A_TIME}):
        while next_reached is not None and next_reached < row.id:
            next_reached = next(reached, None)
        if next_reached != row.id:
            yield _Active(
                id=row.id, user_name=row.user_name, display_name=row.display_name, department=row.department, manager_id=row.manager_id
            )
    # Read to its end, so that the database has nothing open for it any more.
    for _ in reached:
        pass


def _fitting(session: Session, organization_id: str, rule: Rule, ids: Sequence[str]) -> frozenset[str]:
    """Of these people, those whom the rule's `where` finds."""
    assert rule.where is not None
    query = select(Person.id).where(
        Person.organization_id == organization_id, Person.id.in_(ids), compile_filter(parse_filter(rule.where), PERSONS, dialect_of(session))
    )
    return frozenset(session.scalars(query))


def _still_in(session: Session, organization_id: str, ids: Sequence[str]) -> dict[str, int]:
    # Named, since the index of people leads with their workspace; memberships of several workspaces are one channel's.
    workspaces = session.scalars(select(Workspace.id).where(Workspace.organization_id == organization_id)).all()
    query = (
        select(ChannelMember.person_id, ChannelMember.channel_id)
        .join(Channel, (Channel.organization_id == ChannelMember.organization_id) & (Channel.id == ChannelMember.channel_id))
        .where(
            ChannelMember.organization_id == organization_id, ChannelMember.workspace_id.in_(workspaces), ChannelMember.person_id.in_(ids),
            ChannelMember.left_at.is_(None), ChannelMember.why != MOVED, Channel.space.is_(False),
        )
        .distinct()
    )  # fmt: skip
    counts: dict[str, int] = {}
    for person_id, _ in session.execute(query):
        counts[person_id] = counts.get(person_id, 0) + 1
    return counts


def _why(rule: Rule, one: _Active, *, fits: bool) -> str:
    if not fits:
        return f"{rule.id}: {rule.where} does not hold"
    if rule.for_each == MANAGER and one.manager_id == one.id:
        return f"{rule.id}: they report to themselves"
    return f"{rule.id}: they have no {rule.for_each}"
