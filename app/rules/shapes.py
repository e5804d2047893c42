"""What a channel should be now, in every workspace: its name, its place, who owns it, and how one comes into it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Select, and_, select, true
from sqlalchemy.orm import Session

from app.directory.names import name_key
from app.directory.tables import Person, Standing
from app.rules.channels import UNRULED_ARCHIVE_AFTER, Reached, channels_of, reaches_of, space_ids, speaking
from app.rules.file import MANAGER, Joining, Rule
from app.rules.scopes import chunks
from app.rules.stays import handed_to, owners_beside_rules
from app.rules.tables import Channel, ChannelState, Reach
from app.statements import param, params

_ACTIVE: Final = (Person.organization_id == param("organization"), Person.standing == Standing.ACTIVE)
_BY_ID: Final = select(Person.id, Person.id).where(*_ACTIVE, Person.id.in_(params("values")))
_BY_NAME: Final = select(Person.id, Person.user_name_key).where(*_ACTIVE, Person.user_name_key.in_(params("values")))


@dataclass(frozen=True, kw_only=True)
class ChannelShape:
    """What a channel should be now, in every workspace. Where several rules reach it, the more careful word counts."""

    channel_id: str
    name: str
    topic: str
    parent: str | None
    space: bool
    owners: frozenset[str]
    private: bool
    encrypted: bool
    federated: bool
    membership: Joining
    keep_for: timedelta
    archive_after: timedelta
    state: ChannelState

    @property
    def archived(self) -> bool:
        return self.state is ChannelState.ARCHIVED


def shape(session: Session, organization_id: str, rules: Sequence[Rule], channel_id: str) -> ChannelShape | None:
    """What the channel should be now; None when there is no such channel. Only reads."""
    return shapes(session, organization_id, rules, [channel_id]).get(channel_id)


def shapes(session: Session, organization_id: str, rules: Sequence[Rule], channel_ids: Iterable[str]) -> dict[str, ChannelShape]:
    """What each of these channels should be now; a channel that is not there is left out. Only reads."""
    ids = set(channel_ids)
    by_id = {rule.id: rule for rule in rules}
    reached = reaches_of(session, organization_id, by_id, ids)
    channels = channels_of(session, organization_id, ids)
    heard = {channel.id: _heard(channel, reached.get(channel.id, [])) for channel in channels}
    spaces = space_ids(session, organization_id, {one.rendered.parent for some in heard.values() for one in some})
    owners = _owners(session, organization_id, by_id, heard)
    return {
        channel.id: _shaped(channel, [by_id[one.belongs.rule_id] for one in heard[channel.id]], heard[channel.id], spaces, owners[channel.id])
        for channel in channels
    }


def _heard(channel: Channel, reached: list[Reached]) -> list[Reached]:
    return speaking(channel.name, channel.plain, reached) or reached


def _shaped(
    channel: Channel, ruling: Sequence[Rule], heard: Sequence[Reached], spaces: Mapping[str, str | None], owners: frozenset[str]
) -> ChannelShape:
    parents = [one.rendered.parent for one in heard if one.rendered.parent is not None]
    modes = {rule.membership for rule in ruling} or {Joining.ENFORCED}
    return ChannelShape(
        channel_id=channel.id,
        name=channel.name,
        topic=next((one.rendered.topic for one in heard if one.rendered.topic), ""),
        parent=spaces[parents[0]] if parents else None,
        space=channel.space,
        owners=owners,
        private=not ruling or any(rule.private for rule in ruling),
        encrypted=any(rule.encrypted for rule in ruling),
        federated=bool(ruling) and all(rule.federated for rule in ruling),
        membership=next(mode for mode in Joining if mode in modes),
        keep_for=max((rule.keep_for for rule in ruling), default=timedelta(0)),
        archive_after=max((rule.archive_after for rule in ruling), default=UNRULED_ARCHIVE_AFTER),
        state=ChannelState(channel.state),
    )


def _owners(
    session: Session, organization_id: str, rules: Mapping[str, Rule], heard: Mapping[str, Sequence[Reached]]
) -> dict[str, frozenset[str]]:
    """By channel, its owners who are active; one who left owns nothing. Where all of them have left, whoever it was handed over to does."""
    found, without = owners_by_rules(session, organization_id, rules, heard)
    return found | owners_beside_rules(session, organization_id, without) if without else found


def owners_by_rules(
    session: Session, organization_id: str, rules: Mapping[str, Rule], heard: Mapping[str, Sequence[Reached]]
) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    """By channel, its owners who are active as rules name them; and the channels for which they name only people who are not."""
    heads: dict[str, set[str]] = {}
    named: dict[str, set[str]] = {}
    for channel_id, some in heard.items():
        ruling = {one: rules[one.belongs.rule_id] for one in some}
        heads[channel_id] = {one.belongs.key for one, rule in ruling.items() if MANAGER in rule.owners}
        named[channel_id] = {name_key(owner) for rule in ruling.values() for owner in rule.owners if owner != MANAGER}
    # Two questions, each answered by an index; joined by OR they would be answered by reading everybody.
    by_id = set(_active(session, organization_id, _BY_ID, set().union(*heads.values())))
    by_name = _active(session, organization_id, _BY_NAME, set().union(*named.values()))
    found = {channel_id: ids & by_id for channel_id, ids in heads.items()}
    owners = {
        channel_id: frozenset(found[channel_id] | {id for id, name in by_name.items() if name in names}) for channel_id, names in named.items()
    }
    return owners, frozenset(one for one, people in owners.items() if not people and (heads[one] or named[one]))


def led_by(
    session: Session, person: Person, rules: Sequence[Rule], *, handed_since: datetime | None = None, reached_by: datetime | None = None
) -> frozenset[str]:
    """Channels that somebody owns, whatever their standing: as a manager, by name, and because they were handed over to them. Only reads.

    With `handed_since` those count as well that were taken from them no earlier; with `reached_by` none that the rules made only later.
    """
    here = and_(Reach.organization_id == person.organization_id, true() if reached_by is None else Reach.created_at <= reached_by)
    of_team = [rule.id for rule in rules if MANAGER in rule.owners]
    by_name = [rule.id for rule in rules if any(owner != MANAGER and name_key(owner) == person.user_name_key for owner in rule.owners)]
    led: set[str] = set()
    if of_team:
        led.update(session.scalars(select(Reach.channel_id).where(here, Reach.rule_id.in_(of_team), Reach.key == person.id)))
    if by_name:
        led.update(session.scalars(select(Reach.channel_id).where(here, Reach.rule_id.in_(by_name))))
    return frozenset(led | handed_to(session, person.organization_id, person.id, since=handed_since))


def ownerless(session: Session, organization_id: str, rules: Sequence[Rule], channel_ids: Iterable[str]) -> frozenset[str]:
    """Those of these channels for which the rules name owners, and none of them is active. Only reads."""
    ids = set(channel_ids)
    by_id = {rule.id: rule for rule in rules}
    reached = reaches_of(session, organization_id, by_id, ids)
    heard = {one.id: _heard(one, reached.get(one.id, [])) for one in channels_of(session, organization_id, ids)}
    return owners_by_rules(session, organization_id, by_id, heard)[1]


def _active(session: Session, organization_id: str, asked: Select[str, str], values: set[str]) -> dict[str, str]:
    """By id, what was asked for, of the active people who have one of the values."""
    found: dict[str, str] = {}
    for some in chunks(values):
        found |= {id: value for id, value in session.execute(asked, {"organization": organization_id, "values": some})}
    return found
