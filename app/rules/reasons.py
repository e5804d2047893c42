"""Why a person is in their channels, in parts that a page can put into the reader's language."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.directory.tables import Group, Person, Standing
from app.rules.explain import channels_of
from app.rules.file import MANAGER, Rule
from app.rules.membership import Belongs, keys_of_person
from app.rules.revisions import current_rules
from app.rules.stay_tables import Stay, in_force
from app.rules.tables import MOVED, Channel, ChannelMember


class Because(StrEnum):
    """What puts somebody in a channel. `value` of a reason says which one: the department's name, the manager's, the group's."""

    EVERYONE = "everyone"
    ATTRIBUTE = "attribute"
    LEADS = "leads"
    REPORTS_TO = "reports to"
    GROUP = "group"
    RULE = "rule"
    KEPT = "kept"
    BY_HAND = "by hand"


@dataclass(frozen=True, kw_only=True, order=True)
class Reason:
    because: Because
    attribute: str = ""
    value: str = ""


@dataclass(frozen=True, kw_only=True, order=True)
class Place:
    """One channel that a person belongs in, or is still in. `until` is when somebody who moved on is taken out."""

    channel: str
    reasons: tuple[Reason, ...]
    until: datetime | None = None


def places_of(session: Session, organization_id: str, person_id: str, *, at: datetime) -> list[Place]:
    """The channels of an active person by name, each with every reason; nobody else has any. Only reads."""
    person = session.get(Person, (organization_id, person_id))
    if person is None or person.standing != Standing.ACTIVE:
        return []
    rules = {rule.id: rule for rule in current_rules(session, organization_id)}
    belongs = keys_of_person(session, organization_id, list(rules.values()), person_id)
    names = channels_of(session, organization_id, list(rules.values()), belongs)
    reasons: dict[str, set[Reason]] = {}
    for one in belongs:
        reasons.setdefault(names[one], set()).add(_reason(session, organization_id, rules[one.rule_id], one, person_id))
    places = [Place(channel=name, reasons=tuple(sorted(found))) for name, found in reasons.items()]
    return sorted([*places, *_beside_rules(session, organization_id, person_id, set(reasons), at)], key=lambda place: place.channel.casefold())


def _reason(session: Session, organization_id: str, rule: Rule, one: Belongs, person_id: str) -> Reason:
    if rule.for_each is None:
        return Reason(because=Because.EVERYONE) if rule.where is None else Reason(because=Because.RULE, value=rule.where)
    if rule.for_each == MANAGER:
        if one.key == person_id:
            return Reason(because=Because.LEADS)
        name = session.scalar(select(Person.display_name).where(Person.organization_id == organization_id, Person.id == one.key))
        return Reason(because=Because.REPORTS_TO, value=name or one.key)
    if rule.for_each == "group":
        name = session.scalar(select(Group.display_name).where(Group.organization_id == organization_id, Group.id == one.key))
        return Reason(because=Because.GROUP, value=name or one.key)
    return Reason(because=Because.ATTRIBUTE, attribute=rule.for_each, value=one.key)


def _beside_rules(session: Session, organization_id: str, person_id: str, named: set[str], at: datetime) -> list[Place]:
    """Where the person still is although no rule says so: kept for a while after a move, or taken in by somebody there."""
    beside = _stays(session, organization_id, person_id, at)
    members = session.execute(
        select(Channel.id, Channel.name, ChannelMember.keep_until)
        .join(Channel, (Channel.organization_id == ChannelMember.organization_id) & (Channel.id == ChannelMember.channel_id))
        .where(
            ChannelMember.organization_id == organization_id, ChannelMember.person_id == person_id, ChannelMember.left_at.is_(None),
            ChannelMember.why != MOVED, Channel.space.is_(False),
        )
    )  # fmt: skip
    found: dict[str, Place] = {}
    for channel_id, name, until in members:
        if name in named:
            continue
        if channel_id in beside:
            found[name] = Place(channel=name, reasons=(Reason(because=beside[channel_id][0]),), until=beside[channel_id][1])
            continue
        kept = until is not None and until > at
        because = Because.KEPT if kept else Because.BY_HAND
        found[name] = Place(channel=name, reasons=(Reason(because=because),), until=until if kept else None)
    return list(found.values())


def _stays(session: Session, organization_id: str, person_id: str, at: datetime) -> dict[str, tuple[Because, datetime | None]]:
    """Exceptions, which last until their day, and channels that were handed over to them."""
    rows = session.execute(
        select(Stay.channel_id, Stay.owns, Stay.ends_at).where(Stay.organization_id == organization_id, Stay.person_id == person_id, in_force(at))
    )
    return {channel_id: (Because.LEADS if owns else Because.KEPT, ends_at) for channel_id, owns, ends_at in rows.all()}
