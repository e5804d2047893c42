"""Why somebody is, or is not, in a channel: one sentence, then the steps that led to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.access.tables import Workspace
from app.clock import iso
from app.directory.tables import Group, Person, Standing
from app.rules.file import MANAGER, Joining, Rule
from app.rules.membership import Belongs, fits, keys_of_person
from app.rules.revisions import current_revision, current_rules
from app.rules.scopes import render_all
from app.rules.shapes import ChannelShape, shape
from app.rules.stay_tables import Stay
from app.rules.stays import beside_rules, of_person
from app.rules.tables import MOVED, RULE, Channel, ChannelMember, Reach, Revision


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that was asked, and the answer."""

    question: str
    answer: str
    holds: bool


@dataclass(frozen=True, kw_only=True)
class Explanation:
    sentence: str
    steps: tuple[Step, ...]


def explain(session: Session, organization_id: str, person_id: str, channel_name: str | None, at: datetime) -> Explanation:
    """Say why by the rules and the mirror as they are now; with no channel, say where the person belongs. Only reads."""
    person = session.scalars(select(Person).where(Person.organization_id == organization_id, Person.id == person_id)).one_or_none()
    if person is None:
        return Explanation(sentence=f"There is no person {person_id}.", steps=())
    rules = current_rules(session, organization_id)
    revision = current_revision(session, organization_id)
    active = _has_access(person, at)
    steps = [
        # Why somebody has no access, and for how long, is not told here: this is what is put into tickets.
        Step(question="Has the person access?", answer="yes" if active else "no", holds=active),
        Step(question="Are there rules?", answer=_say_revision(rules, revision), holds=bool(rules)),
    ]
    belongs = keys_of_person(session, organization_id, rules, person_id)
    names = channels_of(session, organization_id, rules, belongs)
    if channel_name is None:
        steps += [_of_rule(session, person, rule, belongs, names) for rule in rules]
        beside = _beside(session, organization_id, person_id, at)
        steps += [Step(question="Are they in a channel beside the rules?", answer=f"yes: {', '.join(sorted(beside))}", holds=True)] if beside else []
        return Explanation(sentence=_say_all(person, sorted({*names.values(), *beside}), at), steps=tuple(steps))
    channel = session.scalars(
        select(Channel).where(Channel.organization_id == organization_id, Channel.name == channel_name, Channel.space.is_(False))
    ).one_or_none()
    reaching = _reaching(session, organization_id, rules, channel, channel_name, belongs, names)
    steps += [_of_rule(session, person, rule, belongs, names) for rule in reaching]
    by_rule = [one for one in belongs if names[one] == channel_name]
    found = None if channel is None else shape(session, organization_id, rules, channel.id)
    mirror = [] if channel is None else _mirror(session, organization_id, channel.id, person_id)
    stay = None if channel is None or not active else of_person(session, organization_id, person_id, channel.id, at=at)
    steps += [] if stay is None else [Step(question="Are they in it beside the rules?", answer=f"yes: {_say_stay(session, stay)}", holds=True)]
    steps += [_of_workspace(member, workspace, at, invites=found is not None and found.membership is Joining.SUGGESTED) for member, workspace in mirror]
    sentence = _say_one(
        session,
        organization_id,
        person,
        channel_name,
        found,
        {rule.id: rule for rule in rules},
        by_rule,
        [member for member, _ in mirror],
        at,
    )
    if stay is not None and not by_rule:
        sentence = f"{person.display_name} is in {channel_name} beside the rules, {_say_stay(session, stay)}."
    if not by_rule and channel is None and not reaching:
        sentence = f"There is no channel {channel_name}, and no rule would put {person.display_name} in one of that name."
    return Explanation(sentence=sentence, steps=tuple(steps))


def _beside(session: Session, organization_id: str, person_id: str, at: datetime) -> list[str]:
    ids = sorted(beside_rules(session, organization_id, person_id, at=at))
    return list(session.scalars(select(Channel.name).where(Channel.organization_id == organization_id, Channel.id.in_(ids)))) if ids else []


def _say_stay(session: Session, stay: Stay) -> str:
    """Who answers for it and until when; the reason that was given is for fewer readers."""
    if stay.owns:
        return "as its owner: it was handed over to them"
    by = session.get(Person, (stay.organization_id, stay.approved_by or ""))
    return f"by an exception until {iso(stay.ends_at)}, approved by {by.user_name if by is not None else 'nobody we know'}"


def _say_revision(rules: Sequence[Rule], revision: Revision | None) -> str:
    if revision is None:
        return "none was applied yet"
    return f"{len(rules)} in revision {revision.number}, applied {iso(revision.applied_at)} by {revision.applied_by}"


def channels_of(session: Session, organization_id: str, rules: Sequence[Rule], belongs: Sequence[Belongs]) -> dict[Belongs, str]:
    """The name of the channel for each; where none was made yet, the name it would be given."""
    names = {one: said.name for one, said in render_all(session, organization_id, {rule.id: rule for rule in rules}, belongs).items()}
    for one in belongs:
        given = session.scalar(
            select(Channel.name)
            .join(Reach, (Reach.organization_id == Channel.organization_id) & (Reach.channel_id == Channel.id))
            .where(Reach.organization_id == organization_id, Reach.rule_id == one.rule_id, Reach.key == one.key)
        )
        names[one] = given or names[one]
    return names


def _reaching(
    session: Session,
    organization_id: str,
    rules: Sequence[Rule],
    channel: Channel | None,
    channel_name: str,
    belongs: Sequence[Belongs],
    names: dict[Belongs, str],
) -> list[Rule]:
    """The rules that reach the channel for anybody."""
    ids = {one.rule_id for one in belongs if names[one] == channel_name}
    if channel is not None:
        ids |= set(session.scalars(select(Reach.rule_id).where(Reach.organization_id == organization_id, Reach.channel_id == channel.id)))
    return [rule for rule in rules if rule.id in ids]


def _of_rule(session: Session, person: Person, rule: Rule, belongs: Sequence[Belongs], names: dict[Belongs, str]) -> Step:
    mine = [one for one in belongs if one.rule_id == rule.id]
    question = f"Does rule {rule.id} reach the person?"
    if mine:
        said = ", ".join(f"{_say_key(session, person.organization_id, rule, one.key)} → {names[one]}" for one in mine)
        return Step(question=question, answer=f"yes: {said}", holds=True)
    if rule.where is not None and not fits(session, person.organization_id, rule, person.id):
        return Step(question=question, answer=f"no: {rule.where} does not hold", holds=False)
    if person.standing != Standing.ACTIVE or rule.for_each is None:
        return Step(question=question, answer="no: the person is not active", holds=False)
    # They may have one that does not count, and whoever reads it in the directory looks for the reason here.
    by = " by an account that is on" if rule.for_each == "group" else ""
    return Step(question=question, answer=f"no: the person has no {rule.for_each}{by}", holds=False)


def _say_key(session: Session, organization_id: str, rule: Rule, key: str) -> str:
    if rule.for_each is None:
        return "everyone" if rule.where is None else rule.where
    if rule.for_each == MANAGER:
        name = session.scalar(select(Person.display_name).where(Person.organization_id == organization_id, Person.id == key))
        return f"manager {name or key}"
    if rule.for_each == "group":
        name = session.scalar(select(Group.display_name).where(Group.organization_id == organization_id, Group.id == key))
        return f"group {name or key}"
    return f"{rule.for_each} {key}"


def _mirror(session: Session, organization_id: str, channel_id: str, person_id: str) -> list[tuple[ChannelMember, str]]:
    here = (Workspace.organization_id == ChannelMember.organization_id) & (Workspace.id == ChannelMember.workspace_id)
    query = (
        select(ChannelMember, func.coalesce(Workspace.name, ChannelMember.workspace_id))
        .join(Workspace, here, isouter=True)
        .where(
            ChannelMember.organization_id == organization_id, ChannelMember.channel_id == channel_id, ChannelMember.person_id == person_id
        )
        .where(ChannelMember.why != MOVED)
        .order_by(ChannelMember.workspace_id)
    )
    return [(member, name) for member, name in session.execute(query)]


def _of_workspace(member: ChannelMember, workspace: str, at: datetime, *, invites: bool) -> Step:
    question = f"Is the person in it in workspace {workspace}?"
    if invites and member.why == RULE and member.keep_until is None:
        # Whether they have accepted is seen when they are looked at next, and not before.
        answer = f"invited since {iso(member.since)}" if member.left_at is None else f"no: not when looked at {iso(member.left_at)}"
        return Step(question=question, answer=answer, holds=member.left_at is None)
    if member.left_at is not None:
        return Step(question=question, answer=f"no: not any more since {iso(member.left_at)}", holds=False)
    kept = f", kept until {iso(member.keep_until)}" if member.keep_until is not None and member.keep_until > at else ""
    return Step(question=question, answer=f"yes: since {iso(member.since)} ({member.why}){kept}", holds=True)


def _has_access(person: Person, at: datetime) -> bool:
    """Every door compares the day, so their access has ended also where no worker has acted on it yet."""
    return person.standing == Standing.ACTIVE and (person.access_until is None or person.access_until > at)


def _say_all(person: Person, names: Sequence[str], at: datetime) -> str:
    if not _has_access(person, at):
        return f"{person.display_name} belongs in no channel, having no access at present."
    if not names:
        return f"{person.display_name} belongs in no channel: no rule reaches them."
    return f"{person.display_name} belongs in {len(names)} channel{'' if len(names) == 1 else 's'}: {', '.join(names)}."


def _say_one(
    session: Session,
    organization_id: str,
    person: Person,
    channel_name: str,
    channel: ChannelShape | None,
    rules: dict[str, Rule],
    by_rule: Sequence[Belongs],
    mirror: Sequence[ChannelMember],
    at: datetime,
) -> str:
    name = person.display_name
    if not _has_access(person, at):
        return f"{name} does not belong in {channel_name}, having no access at present."
    if by_rule:
        said = " and ".join(f"rule {one.rule_id} ({_say_key(session, organization_id, rules[one.rule_id], one.key)})" for one in by_rule)
        if channel is None:
            return f"{name} belongs in {channel_name} by {said}; the channel is still to be made."
        if mirror and channel.membership is Joining.SUGGESTED:
            return f"{name} belongs in {channel_name} by {said}; membership is {channel.membership}, so they are invited, and come in by themselves."
        if any(member.left_at is not None for member in mirror):
            return f"{name} belongs in {channel_name} by {said}, but is not in it any more, and membership is {channel.membership}."
        if not mirror:
            return f"{name} belongs in {channel_name} by {said}, and is still to be added."
        return f"{name} is in {channel_name} by {said}."
    kept = [member.keep_until for member in mirror if member.left_at is None and member.keep_until is not None and member.keep_until > at]
    if kept:
        return f"{name} is in {channel_name} until {iso(max(kept))}: no rule asks for it any more, and movers keep it that long."
    if any(member.left_at is None for member in mirror):
        return f"{name} is in {channel_name} although no rule asks for it ({mirror[0].why})."
    return f"{name} is not in {channel_name}: no rule that reaches it reaches them."
