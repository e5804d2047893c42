"""Rules as queries: one SELECT of person and key for each rule, for everybody or for one person."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    CompoundSelect,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    cast,
    func,
    literal,
    select,
    true,
    union_all,
)
from sqlalchemy.orm import Session, aliased

from app.directory.filter_sql import compile_filter
from app.directory.filterable import PERSONS
from app.directory.filters import parse as parse_filter
from app.directory.heard import is_in_group
from app.directory.names import name_key
from app.directory.tables import Group, Membership, Person, Record, Standing
from app.many_rows import plain_rows
from app.rules.file import MANAGER, Rule
from app.rules.grouping import keys_of, parse_grouping
from app.rules.stay_tables import Stay, in_force
from app.rules.tables import Reach

AT_A_TIME = 1000
"""Rows held in memory while streaming."""

Asked = str | BindParameter[str]
"""An id, or the place of one in a statement that is built once and asked many times."""

Pairs = Select[Any, Any]
Query = Pairs | CompoundSelect[Any, Any]


@dataclass(frozen=True, kw_only=True, order=True)
class Belongs:
    """A rule reaches somebody, for this key: a department's name, a manager's or a group's id, "" for everyone."""

    rule_id: str
    key: str


@dataclass(frozen=True, kw_only=True)
class KeyInUse:
    """A key that at least one person has now."""

    belongs: Belongs
    people: int


def dialect_of(session: Session) -> str:
    """The name of the database's dialect, which decides how a document is read."""
    return session.get_bind().dialect.name


def rule_query(
    rule: Rule, *, organization_id: Asked, dialect: str, person_id: Asked | None = None, key: Asked | None = None, keyless: bool = False
) -> Query:
    """SELECT person_id, key: the rule over all active people, or over one, or for one key. A pair may come twice.

    `keyless` also lets those pass who have no key, for a caller who can leave them out for less than a look into every
    document costs.
    """
    chosen = [_reached(rule, organization_id=organization_id, dialect=dialect, person_id=person_id, key=key, keyless=keyless)]
    if rule.for_each == MANAGER:
        chosen.append(_heads(rule, organization_id=organization_id, dialect=dialect, person_id=person_id, key=key))
    named = tuple(name_key(owner) for owner in rule.owners if owner != MANAGER)
    if named:
        chosen.append(_named_owners(rule, named, organization_id=organization_id, dialect=dialect, person_id=person_id, key=key))
    return chosen[0] if len(chosen) == 1 else union_all(*chosen)


def _condition(rule: Rule, dialect: str) -> ColumnElement[bool]:
    return true() if rule.where is None else compile_filter(parse_filter(rule.where), PERSONS, dialect)


def _active(organization_id: Asked) -> ColumnElement[bool]:
    return and_(Person.organization_id == organization_id, Person.standing == Standing.ACTIVE)


def _active_by_manager(organization_id: Asked) -> ColumnElement[bool]:
    # Nearly everybody is active. An expression keeps a planner without statistics from the index of standings,
    # by which it would read the whole company to find one team.
    return and_(Person.organization_id == organization_id, func.coalesce(Person.standing, "") == Standing.ACTIVE)


def _reached(
    rule: Rule, *, organization_id: Asked, dialect: str, person_id: Asked | None, key: Asked | None, keyless: bool = False
) -> Pairs:
    """Those whom `where` finds, by `for_each`. Who has no key (no department, no manager) is in no channel of the rule."""
    query: Pairs
    if rule.for_each is None:
        found: ColumnElement[Any] = literal("", Text())
        query = select(Person.id.label("person_id"), found.label("key"))
    elif rule.for_each == MANAGER:
        found = Person.manager_id.expression
        # Who reports to themselves is the top of the line, or a slip; either way no team of their own.
        query = select(Person.id.label("person_id"), found.label("key")).where(found != "", Person.manager_id != Person.id)
    elif rule.for_each == "group":
        found = Membership.group_id.expression
        query = (
            select(Person.id.label("person_id"), found.label("key"))
            .join(Record, and_(Record.organization_id == Person.organization_id, Record.person_id == Person.id))
            .join(Membership, and_(Membership.organization_id == Record.organization_id, Membership.record_id == Record.id))
            .join(Group, and_(Group.organization_id == Membership.organization_id, Group.id == Membership.group_id))
            .where(is_in_group(), Group.ended_at.is_(None))
        )
    else:
        grouping = parse_grouping(rule.for_each)
        assert grouping is not None  # only `manager` and `group` are none
        keys = keys_of(grouping, dialect)
        found = keys.key
        query = select(Person.id.label("person_id"), found.label("key")).where(true() if keyless else found != "")
        if keys.elements is not None:
            query = query.join(keys.elements, true()).where(true() if keys.where is None else keys.where)
    one_team = rule.for_each == MANAGER and key is not None
    query = query.where(_active_by_manager(organization_id) if one_team else _active(organization_id), _condition(rule, dialect))
    if person_id is not None:
        query = query.where(Person.id == person_id)
    if key is not None:
        query = query.where(found == key)
    return query


def _heads(rule: Rule, *, organization_id: Asked, dialect: str, person_id: Asked | None, key: Asked | None) -> Pairs:
    """Managers belong to the channel of their own team, whether or not `where` finds them too."""
    wanted = key if person_id is None else person_id
    reached = _reached(rule, organization_id=organization_id, dialect=dialect, person_id=None, key=wanted).subquery()
    teams = select(reached.c.key).distinct().subquery()
    head = aliased(Person, name="head")
    # One look-up by key for each team. As a join it would be left to statistics, and after a first sync there are none.
    standing = select(head.standing).where(head.organization_id == organization_id, head.id == teams.c.key).scalar_subquery()
    query = select(teams.c.key.label("person_id"), teams.c.key).where(standing == Standing.ACTIVE)
    return query if key is None else query.where(teams.c.key == key)


def _named_owners(
    rule: Rule, named: Sequence[str], *, organization_id: Asked, dialect: str, person_id: Asked | None, key: Asked | None
) -> Pairs:
    """Owners named in the rule belong to each of its channels that has anybody in it."""
    owner = aliased(Person, name="owner")
    reached = _reached(rule, organization_id=organization_id, dialect=dialect, person_id=None, key=key).subquery()
    keys = select(reached.c.key).distinct().subquery()
    query = (
        select(owner.id.label("person_id"), keys.c.key)
        .join(keys, true())
        .where(owner.organization_id == organization_id, owner.standing == Standing.ACTIVE, owner.user_name_key.in_(named))
    )
    return query if person_id is None else query.where(owner.id == person_id)


def _said(rules: Sequence[Rule], *, organization_id: Asked, dialect: str, person_id: Asked | None = None) -> Subquery:
    """SELECT rule_id, person_id, key over all rules."""
    parts: list[Select[Any, Any, Any]] = []
    for rule in rules:
        one = rule_query(rule, organization_id=organization_id, dialect=dialect, person_id=person_id).subquery()
        parts.append(select(cast(literal(rule.id, Text()), Text()).label("rule_id"), one.c.person_id, one.c.key))
    return union_all(*parts).subquery()


# Both are asked for every person who changes. Building such a statement costs far more than the database's answer to it.
_ORGANIZATION, _PERSON, _KEY = (bindparam(name, type_=Text()) for name in ("organization", "person", "key"))


@lru_cache(maxsize=256)
def _asking_for_one(rules: tuple[Rule, ...], dialect: str) -> Select[Any]:
    said = _said(rules, organization_id=_ORGANIZATION, dialect=dialect, person_id=_PERSON)
    return select(said.c.rule_id, said.c.key).distinct()


@lru_cache(maxsize=256)
def _asking_for_anybody(rule: Rule, dialect: str) -> Select[Any]:
    return select(rule_query(rule, organization_id=_ORGANIZATION, dialect=dialect, key=_KEY).subquery().c.person_id).limit(1)


def keys_of_person(session: Session, organization_id: str, rules: Sequence[Rule], person_id: str) -> list[Belongs]:
    """Where one person belongs now, in order; nowhere unless they are active."""
    if not rules:
        return []
    rows = session.execute(_asking_for_one(tuple(rules), dialect_of(session)), {"organization": organization_id, "person": person_id})
    return sorted(Belongs(rule_id=row.rule_id, key=row.key) for row in rows)


def keys_in_use(session: Session, organization_id: str, rules: Sequence[Rule]) -> Iterator[KeyInUse]:
    """Every key that somebody has now, and how many do."""
    if not rules:
        return
    said = _said(rules, organization_id=organization_id, dialect=dialect_of(session))
    query = select(said.c.rule_id, said.c.key, func.count(said.c.person_id.distinct()).label("people")).group_by(said.c.rule_id, said.c.key)
    for row in session.execute(query, execution_options={"yield_per": AT_A_TIME}):
        yield KeyInUse(belongs=Belongs(rule_id=row.rule_id, key=row.key), people=row.people)


def has_people(session: Session, organization_id: str, rule: Rule, key: str) -> bool:
    """Whether anybody has this key now."""
    asked = {"organization": organization_id, "key": key}
    return session.execute(_asking_for_anybody(rule, dialect_of(session)), asked).first() is not None


def people_of_key(session: Session, organization_id: str, rule: Rule, key: str) -> frozenset[str]:
    """Everybody whom the rule itself finds for this key: the reports of a team without its head, no named owners."""
    query = _reached(rule, organization_id=organization_id, dialect=dialect_of(session), person_id=None, key=key)
    return frozenset(row.person_id for row in session.execute(query))


def everybody_of_key(session: Session, organization_id: str, rule: Rule, key: str) -> frozenset[str]:
    """Everybody who belongs there for this key: a team's head and named owners, too."""
    said = rule_query(rule, organization_id=organization_id, dialect=dialect_of(session), key=key).subquery()
    return frozenset(session.scalars(select(said.c.person_id).distinct()))


def fits(session: Session, organization_id: str, rule: Rule, person_id: str) -> bool:
    """Whether the rule's `where` finds this person, whatever their standing."""
    query = select(Person.id).where(Person.organization_id == organization_id, Person.id == person_id)
    return session.execute(query.where(_condition(rule, dialect_of(session)))).first() is not None


def belongings(session: Session, organization_id: str, rules: Sequence[Rule]) -> Iterator[tuple[str, str, str]]:
    """Every (person_id, rule_id, key) once, sorted by person; streamed, so memory does not grow with the people."""
    if not rules:
        return
    said = _said(rules, organization_id=organization_id, dialect=dialect_of(session))
    query = select(said.c.person_id, said.c.rule_id, said.c.key).distinct().order_by(said.c.person_id)
    for row in session.execute(query, execution_options={"yield_per": AT_A_TIME}):
        yield row.person_id, row.rule_id, row.key


def desired(session: Session, organization_id: str, rules: Sequence[Rule], *, at: datetime) -> Iterator[tuple[str, str]]:
    """Every (channel_id, person_id) that the rules ask for, and what stands beside them at that moment, once, sorted by bytes; streamed.

    Keys that no channel was allocated for yet are not among them: `channels.reach` comes first.
    """
    dialect = dialect_of(session)
    parts: list[Pairs] = [
        select(Stay.channel_id, Stay.person_id)
        .join(Person, and_(Person.organization_id == Stay.organization_id, Person.id == Stay.person_id))
        .where(in_force(at), _active(organization_id))
    ]
    for rule in rules:
        one = rule_query(rule, organization_id=organization_id, dialect=dialect, keyless=True).subquery()
        mine = and_(Reach.organization_id == organization_id, Reach.rule_id == rule.id, Reach.key == one.c.key)
        if rule.for_each is not None:
            # An empty key is nobody's, even where a channel stands that the rule once had for everyone.
            mine = and_(mine, Reach.key != "")
        if dialect == "sqlite":
            # An outer join keeps the people first: an inner one would begin with the channels, and read every document
            # once for each. Keys without a channel are left out below, where that costs no other plan.
            parts.append(select(Reach.channel_id, one.c.person_id).select_from(one).outerjoin(Reach, mine))
        else:
            # PostgreSQL has no statistics right after a first sync, and would join by comparing everybody with every channel.
            parts.append(select(select(Reach.channel_id).where(mine).scalar_subquery().label("channel_id"), one.c.person_id))
    found = union_all(*parts).subquery()
    query = select(found.c.channel_id, found.c.person_id).order_by(found.c.channel_id, found.c.person_id)
    last: tuple[str | None, str] = (None, "")
    for pair in plain_rows(session, query):
        # Two rules that reach one channel give the union: each pair comes once.
        if pair != last and pair[0] is not None:
            yield pair
        last = pair
