"""Renaming what people are gathered by: told by an operator, or seen when all of a channel's people moved together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from app.directory.tables import Group, Person, Standing
from app.journal import work
from app.journal.tables import Subject
from app.rules import templates
from app.rules.channels import call, free_name, let_go, make_spaces, one_at_a_time, place, point, reaches_of
from app.rules.file import MANAGER, Rule
from app.rules.grouping import as_key
from app.rules.membership import Belongs, everybody_of_key, has_people, keys_of_person, people_of_key
from app.rules.revisions import current_rules
from app.rules.scopes import chunks, render_all
from app.rules.tables import ChannelMember, Reach
from app.statements import param, params

SETTLING = timedelta(hours=1)
"""How long a directory may take over moving everybody from one key to another for it to be seen as one renaming."""
_DELIVERED: Final = select(ChannelMember.channel_id).where(ChannelMember.organization_id == param("organization")).distinct()
_DELIVERED_TO: Final = _DELIVERED.where(ChannelMember.person_id.in_(params("people")))


class RenameRefused(Exception):
    """The channel cannot be renamed so; the message says why. Nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class Renamed:
    """A channel that now stands for another key. `superseded` is the one made for that key meanwhile, if any: it will empty."""

    channel_id: str
    rule_id: str
    old: str
    new: str
    name: str
    superseded: str | None = None


def rename(session: Session, organization_id: str, rule_id: str, old: str, new: str, at: datetime) -> Renamed:
    """Let the channel of `old` be the channel of `new`, with its history; raises RenameRefused.

    Those who still have the old key stay in it until the directory follows. A second call finds it done.
    """
    rules = {rule.id: rule for rule in current_rules(session, organization_id)}
    if rule_id not in rules:
        raise RenameRefused(f"there is no rule {rule_id!r}; there are {', '.join(rules) or 'none'}")
    old, new = as_key(old), as_key(new)
    if not new:
        raise RenameRefused("the new key must not be empty")
    _refuse_unknown(session, organization_id, rules[rule_id], new)
    one_at_a_time(session, organization_id)
    channel_id = _channel_of(session, organization_id, rule_id, old)
    if channel_id is None:
        raise RenameRefused(f"rule {rule_id!r} has no channel for {old!r}")
    return _rename(session, organization_id, rules, Belongs(rule_id=rule_id, key=new), old=old, channel_id=channel_id, at=at)


def follow_moves(
    session: Session, organization_id: str, rules: Sequence[Rule], at: datetime, person_ids: Iterable[str] | None = None
) -> list[Renamed]:
    """Rename channels whose people all moved to one new key; call it before `reach` gives the new key a channel.

    Followed is only what can be nothing else: nobody has the old key any more, all of its people who are still
    active have the new one, the new key is not older than `SETTLING`, and nobody came to it from another channel of
    the rule (they would be shown a history that is not theirs). Only channels of these people are looked at, or all.
    """
    by_id = {rule.id: rule for rule in rules if rule.for_each is not None}
    followed: list[Renamed] = []
    delivered = _delivered_channels(session, organization_id, person_ids)
    reaches = reaches_of(session, organization_id, by_id, delivered)
    for channel_id in delivered:
        reached = reaches.get(channel_id, [])
        # A channel that two rules or two keys fill did not move as one.
        if len(reached) != 1:
            continue
        old = reached[0].belongs
        rule = by_id[old.rule_id]
        if has_people(session, organization_id, rule, old.key):
            continue
        new = _where_all_went(session, organization_id, rule, old.key, channel_id, at)
        if new is None:
            continue
        one_at_a_time(session, organization_id)
        try:
            followed.append(
                _rename(session, organization_id, by_id, Belongs(rule_id=rule.id, key=new), old=old.key, channel_id=channel_id, at=at)
            )
        except RenameRefused:
            # Another rule has a channel of the new name, and people go there by that rule's word.
            continue
        # Nobody has the old key: whoever gets it from now on is none of those who moved.
        let_go(session, organization_id, old)
        reaches = reaches_of(session, organization_id, by_id, delivered)
    return followed


def _rename(
    session: Session, organization_id: str, rules: Mapping[str, Rule], new: Belongs, *, old: str, channel_id: str, at: datetime
) -> Renamed:
    said = render_all(session, organization_id, rules, [new])[new]
    rendered = said.name
    superseded = _channel_of(session, organization_id, new.rule_id, new.key)
    if superseded == channel_id:
        superseded = None
    if superseded is not None:
        others = [one for one in reaches_of(session, organization_id, rules, [superseded])[superseded] if one.belongs != new]
        if others:
            raise RenameRefused(f"{rendered!r} is a channel of rule {others[0].belongs.rule_id!r} too; it cannot be replaced")
        plain = templates.fit_name(f"{rendered}-superseded", key=new.key)
        call(session, organization_id, superseded, free_name(session, organization_id, plain), plain=plain)
    name, shared = place(session, organization_id, rules, new.rule_id, rendered, channel_id=channel_id)
    if shared is not None:
        raise RenameRefused(f"{rendered!r} is a channel of another rule already")
    if said.parent is not None:
        make_spaces(session, organization_id, [said.parent], at)
    point(session, organization_id, new, channel_id, at)
    call(session, organization_id, channel_id, name, plain=rendered)
    # Who leads them as well: they are in the channel that was set aside.
    people = everybody_of_key(session, organization_id, rules[new.rule_id], new.key)
    work.want(session, organization_id, subject=Subject.PERSON, subject_ids=people, because=None, due_at=at)
    return Renamed(channel_id=channel_id, rule_id=new.rule_id, old=old, new=new.key, name=name, superseded=superseded)


def _refuse_unknown(session: Session, organization_id: str, rule: Rule, key: str) -> None:
    # A room that stands for nobody would lose its name and its people at once.
    known: Select[str]
    match rule.for_each:
        case "manager":
            what, known = "manager", select(Person.id).where(Person.organization_id == organization_id, Person.id == key)
        case "group":
            what, known = "group", select(Group.id).where(Group.organization_id == organization_id, Group.id == key)
        case _:
            return
    if session.execute(known).first() is None:
        raise RenameRefused(f"{key!r} is no {what}'s id, by which rule {rule.id!r} knows its channels; doorlist rules test lists them")


def _channel_of(session: Session, organization_id: str, rule_id: str, key: str) -> str | None:
    return session.scalar(
        select(Reach.channel_id).where(Reach.organization_id == organization_id, Reach.rule_id == rule_id, Reach.key == key)
    )


def _delivered_channels(session: Session, organization_id: str, person_ids: Iterable[str] | None) -> list[str]:
    asked = {"organization": organization_id}
    if person_ids is None:
        return sorted(session.scalars(_DELIVERED, asked))
    return sorted({found for some in chunks(person_ids) for found in session.scalars(_DELIVERED_TO, {**asked, "people": some})})


def _where_all_went(session: Session, organization_id: str, rule: Rule, old: str, channel_id: str, at: datetime) -> str | None:
    """The one new key that all of the channel's people have; None where there is no such key, or more than one."""
    before = _members(session, organization_id, rule, channel_id, at)
    if rule.for_each == MANAGER:
        before -= {old}
    if not before:
        return None
    anybody = min(before)
    candidates = {one.key for one in keys_of_person(session, organization_id, [rule], anybody)} - {old}
    if rule.for_each == MANAGER:
        candidates -= {anybody}
    fitting = [key for key in sorted(candidates) if _took_all(session, organization_id, rule, key, before, old, at)]
    return fitting[0] if len(fitting) == 1 else None


def _took_all(session: Session, organization_id: str, rule: Rule, key: str, before: set[str], old: str, at: datetime) -> bool:
    since = session.scalar(
        select(Reach.created_at).where(Reach.organization_id == organization_id, Reach.rule_id == rule.id, Reach.key == key)
    )
    if since is not None and since < at - SETTLING:
        return False
    now = people_of_key(session, organization_id, rule, key)
    return before <= now and not _came_from_elsewhere(session, organization_id, rule, now - before, {old, key})


def _members(session: Session, organization_id: str, rule: Rule, channel_id: str, at: datetime) -> set[str]:
    """Who is in the channel in any workspace, or was until a short while ago, and is still active: those who left moved nowhere."""
    since = at - SETTLING
    query = (
        select(ChannelMember.person_id)
        .join(Person, (Person.organization_id == ChannelMember.organization_id) & (Person.id == ChannelMember.person_id))
        .where(ChannelMember.organization_id == organization_id, ChannelMember.channel_id == channel_id)
        .where(Person.standing == Standing.ACTIVE)
        .where(or_(ChannelMember.left_at.is_(None), ChannelMember.left_at >= since))
        # Who is only kept here since an earlier move says nothing about this one.
        .where(or_(ChannelMember.keep_until.is_(None), ChannelMember.keep_until >= since + rule.keep_for))
    )
    return set(session.scalars(query))


def _came_from_elsewhere(session: Session, organization_id: str, rule: Rule, people: Iterable[str], keys: set[str]) -> bool:
    for some in chunks(people):
        query = (
            select(ChannelMember.person_id)
            .join(Reach, (Reach.organization_id == ChannelMember.organization_id) & (Reach.channel_id == ChannelMember.channel_id))
            .where(ChannelMember.organization_id == organization_id, ChannelMember.person_id.in_(some))
            .where(Reach.rule_id == rule.id, Reach.key.not_in(sorted(keys)))
            .limit(1)
        )
        if session.execute(query).first() is not None:
            return True
    return False
