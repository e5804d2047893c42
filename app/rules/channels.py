"""From keys to channels: which channel a rule reaches for a key, what the channel is called, and what becomes of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, bindparam, delete, func, insert, select, tuple_, update
from sqlalchemy.orm import Session

from app.database import new_id
from app.journal.work import insert_for
from app.rules import templates
from app.rules.file import Rule
from app.rules.membership import Belongs, dialect_of, has_people
from app.rules.revisions import current_rules
from app.rules.scopes import CHUNK, Rendered, chunks, render_all
from app.rules.tables import Channel, ChannelState, Reach
from app.statements import param, params

UNRULED_ARCHIVE_AFTER = timedelta(days=30)
"""How long an empty channel stays open when no rule speaks of it any more."""

# Asked several times for each person, account and channel that is looked at, so they are built once.
_ORGANIZATION: Final = param("organization")
_REACHING: Final = select(Reach.rule_id, Reach.key, Reach.channel_id, Reach.created_at).where(
    Reach.organization_id == _ORGANIZATION, Reach.channel_id.in_(params("channels"))
)
_REACHED: Final = select(Reach.rule_id, Reach.key, Reach.channel_id).where(
    Reach.organization_id == _ORGANIZATION, tuple_(Reach.rule_id, Reach.key).in_(bindparam("keys", expanding=True))
)
_CHANNELS: Final = select(Channel).where(Channel.organization_id == _ORGANIZATION, Channel.id.in_(params("channels")))
_NAMES: Final = select(Channel.id, Channel.name, Channel.plain).where(Channel.organization_id == _ORGANIZATION, Channel.id.in_(params("channels")))
_CALLED: Final = select(Channel.id, Channel.space).where(Channel.organization_id == _ORGANIZATION, Channel.name == param("name"))


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The state of a channel, before and now, and when to look again because time alone will change it."""

    was: ChannelState
    state: ChannelState
    look_again_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Reached:
    """One row of `reach`, and what its rule says of it now."""

    belongs: Belongs
    channel_id: str
    created_at: datetime
    rendered: Rendered


def reach(
    session: Session, organization_id: str, rules: Sequence[Rule], belongs: Iterable[Belongs], at: datetime
) -> dict[tuple[str, str], str]:
    """The channel of each (rule, key), made where there is none yet; so are the spaces above them.

    The same rendered name by another rule is the same channel. By another key of the same rule it is another
    channel: it gets `-2`, `-3` … in the order they were made, and keeps it. A name that renders differently than
    before (a renamed group, a manager's new userName, a changed template) renames the channel in place.
    May be called any number of times; it writes only what is new.
    """
    by_id = {rule.id: rule for rule in rules}
    order = {rule.id: number for number, rule in enumerate(rules)}
    wanted = sorted({one for one in belongs if one.rule_id in by_id}, key=lambda one: (order[one.rule_id], one.key))
    if not wanted:
        return {}
    known = _known(session, organization_id, wanted)
    rendered = render_all(session, organization_id, by_id, wanted)
    parents = {one.parent for one in rendered.values() if one.parent is not None}
    complete = len(known) == len(wanted) and not _missing_spaces(session, organization_id, parents)
    names = _names(session, organization_id, known.values())
    reached = reaches_of(session, organization_id, by_id, names)
    for channel_id, some in reached.items():
        # Who is looked at may have been the last with a former key: whoever gets it from now on is given a channel of their own.
        _let_former_go(session, organization_id, by_id, *names[channel_id], some)
    if not complete or _astray(names, reached):
        one_at_a_time(session, organization_id)
        known = _known(session, organization_id, wanted)
        if _correct_names(session, organization_id, by_id, known.values()):
            known = _known(session, organization_id, wanted)
        make_spaces(session, organization_id, parents, at)
        missing = [one for one in wanted if one not in known]
        known |= _allocate(session, organization_id, by_id, missing, rendered, at)
    return {(one.rule_id, one.key): known[one] for one in wanted}


def reached_so_far(session: Session, organization_id: str, belongs: Iterable[Belongs]) -> dict[Belongs, str]:
    """The channels that these keys have already. Only reads; what is missing is not among them."""
    return _known(session, organization_id, sorted(set(belongs)))


def one_at_a_time(session: Session, organization_id: str) -> None:
    """Until the transaction ends, nobody else gives out names of channels. SQLite has a single writer anyway."""
    if dialect_of(session) == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtext("channel names"), func.hashtext(organization_id))))


def reaches_of(
    session: Session, organization_id: str, rules: Mapping[str, Rule], channel_ids: Iterable[str]
) -> dict[str, list[Reached]]:
    """What reaches these channels by rules that are in force, the eldest first."""
    rows: list[tuple[Belongs, str, datetime]] = []
    for some in chunks(channel_ids):
        found_rows = session.execute(_REACHING, {"organization": organization_id, "channels": some})
        rows += [(Belongs(rule_id=rule_id, key=key), channel_id, created_at) for rule_id, key, channel_id, created_at in found_rows]
    rendered = render_all(session, organization_id, rules, [one for one, _, _ in rows])
    found: dict[str, list[Reached]] = {}
    for one, channel_id, created_at in sorted(rows, key=lambda row: (row[2], row[0])):
        if one in rendered:
            found.setdefault(channel_id, []).append(
                Reached(belongs=one, channel_id=channel_id, created_at=created_at, rendered=rendered[one])
            )
    return found


def speaking(name: str, plain: str | None, reached: Sequence[Reached]) -> list[Reached]:
    """Those among the reaches that render to the channel's name. The others are former keys, kept until nobody has them."""
    if plain is None:
        return [one for one in reached if templates.is_numbered(name, one.rendered.name)]
    # A number may be part of what it is called: `interns-2026` is not the name of whoever says `interns`.
    return [one for one in reached if one.rendered.name == plain]


def settle(session: Session, organization_id: str, channel_ids: Iterable[str], at: datetime) -> dict[str, Settled]:
    """Bring the channels' states in line with whether the rules put anybody in them; a channel that is not there is left out.

    An empty channel is archived (never deleted) once it has been empty for as long as its rules say, and comes
    back with the first person who belongs there. Former keys that nobody has any more are let go.
    """
    channels = channels_of(session, organization_id, channel_ids)
    if not channels:
        return {}
    rules = {rule.id: rule for rule in current_rules(session, organization_id)}
    reached = reaches_of(session, organization_id, rules, [channel.id for channel in channels])
    return {channel.id: _settle(session, organization_id, rules, channel, reached.get(channel.id, []), at) for channel in channels}


def inhabited(session: Session, organization_id: str, rules: Sequence[Rule], channel_ids: Iterable[str]) -> frozenset[str]:
    """Those of these channels in which the rules put anybody now, whatever was settled of them. Only reads."""
    by_id = {rule.id: rule for rule in rules}
    return frozenset(
        channel_id
        for channel_id, reached in reaches_of(session, organization_id, by_id, channel_ids).items()
        if _has_people(session, organization_id, by_id, reached)
    )


def _has_people(session: Session, organization_id: str, rules: Mapping[str, Rule], reached: Sequence[Reached]) -> bool:
    return any(has_people(session, organization_id, rules[one.belongs.rule_id], one.belongs.key) for one in reached)


def _settle(
    session: Session, organization_id: str, rules: Mapping[str, Rule], channel: Channel, reached: Sequence[Reached], at: datetime
) -> Settled:
    was = ChannelState(channel.state)
    if channel.space:
        return Settled(was=was, state=ChannelState.ACTIVE)
    _let_former_go(session, organization_id, rules, channel.name, channel.plain, reached)
    if _has_people(session, organization_id, rules, reached):
        channel.state, channel.empty_since = ChannelState.ACTIVE, None
        session.flush()
        return Settled(was=was, state=ChannelState.ACTIVE)
    if channel.empty_since is None:
        channel.state, channel.empty_since = ChannelState.EMPTY, at
    ruling = [rules[one.belongs.rule_id] for one in reached]
    # Movers who are kept a while longer still write there.
    patience = max((max(rule.archive_after, rule.keep_for) for rule in ruling), default=UNRULED_ARCHIVE_AFTER)
    due_at = channel.empty_since + patience
    if due_at <= at:
        channel.state = ChannelState.ARCHIVED
    session.flush()
    return Settled(was=was, state=ChannelState(channel.state), look_again_at=due_at if due_at > at else None)


def place(
    session: Session, organization_id: str, rules: Mapping[str, Rule], rule_id: str, name: str, *, channel_id: str | None = None
) -> tuple[str, str | None]:
    """A name that this rule may use for a channel (`channel_id`: one it has already), and the channel to be shared for it.

    Only the plain name is ever shared: `sales-2` was made to keep two channels apart. Call `one_at_a_time` first.
    """
    for number in range(1, 100_000):
        candidate = templates.with_number(name, number)
        holder = session.execute(_CALLED, {"organization": organization_id, "name": candidate}).one_or_none()
        if holder is None or holder.id == channel_id:
            return candidate, None
        if number > 1 or holder.space:
            continue
        reached = reaches_of(session, organization_id, rules, [holder.id]).get(holder.id, [])
        if any(one.belongs.rule_id == rule_id for one in reached):
            continue
        # A channel that no rule in force reaches is taken up again by name: its rule may only have been given another id.
        if not reached or any(one.rendered.name == name for one in reached):
            return candidate, holder.id
    raise AssertionError(f"{name}: 100,000 channels of this name")


def point(session: Session, organization_id: str, belongs: Belongs, channel_id: str, at: datetime) -> None:
    """Let the rule reach this channel for this key, wherever it led before."""
    row = {"organization_id": organization_id, "rule_id": belongs.rule_id, "key": belongs.key, "channel_id": channel_id, "created_at": at}
    statement = insert_for(dialect_of(session))(Reach).values(row)
    led = {"channel_id": statement.excluded.channel_id, "created_at": statement.excluded.created_at}
    session.execute(statement.on_conflict_do_update(index_elements=["organization_id", "rule_id", "key"], set_=led))


def let_go(session: Session, organization_id: str, belongs: Belongs) -> None:
    """The rule reaches no channel for this key; whoever gets it is given one of its own."""
    mine = and_(Reach.organization_id == organization_id, Reach.rule_id == belongs.rule_id, Reach.key == belongs.key)
    session.execute(delete(Reach).where(mine), execution_options={"synchronize_session": False})


def call(session: Session, organization_id: str, channel_id: str, name: str, *, plain: str) -> None:
    """Give the channel this name, which `place` said is free of those that `plain` may have."""
    mine = (Channel.organization_id == organization_id, Channel.id == channel_id)
    session.execute(update(Channel).where(*mine).values(name=name, plain=plain))


def channels_of(session: Session, organization_id: str, channel_ids: Iterable[str]) -> list[Channel]:
    """The rows of these channels, as the database has them now."""
    found: list[Channel] = []
    for some in chunks(channel_ids):
        found += session.scalars(_CHANNELS, {"organization": organization_id, "channels": some}, execution_options={"populate_existing": True})
    return found


def _known(session: Session, organization_id: str, wanted: Sequence[Belongs]) -> dict[Belongs, str]:
    pairs = [(one.rule_id, one.key) for one in wanted]
    found: dict[Belongs, str] = {}
    for start in range(0, len(pairs), CHUNK):
        rows = session.execute(_REACHED, {"organization": organization_id, "keys": pairs[start : start + CHUNK]})
        found |= {Belongs(rule_id=rule_id, key=key): channel_id for rule_id, key, channel_id in rows}
    return found


def _allocate(
    session: Session,
    organization_id: str,
    rules: Mapping[str, Rule],
    missing: Sequence[Belongs],
    rendered: Mapping[Belongs, Rendered],
    at: datetime,
) -> dict[Belongs, str]:
    made: dict[Belongs, str] = {}
    for one in missing:
        plain = rendered[one].name
        name, shared = place(session, organization_id, rules, one.rule_id, plain)
        if shared is None:
            made[one] = _make(session, organization_id, name, at, plain=plain)
        else:
            made[one] = shared
            call(session, organization_id, shared, name, plain=plain)
        point(session, organization_id, one, made[one], at)
    return made


def _make(session: Session, organization_id: str, name: str, at: datetime, *, plain: str, space: bool = False) -> str:
    channel_id = new_id()
    row = {"organization_id": organization_id, "id": channel_id, "name": name, "plain": plain, "space": space, "created_at": at}
    session.execute(insert(Channel), [row | {"state": ChannelState.ACTIVE}])
    return channel_id


def _astray(names: Mapping[str, tuple[str, str | None]], reached: Mapping[str, Sequence[Reached]]) -> dict[str, list[Reached]]:
    """Reaches of these channels that render to another name than the channel's, where not even another key of theirs does."""
    found: dict[str, list[Reached]] = {}
    for channel_id, some in reached.items():
        kept = {one.belongs.rule_id for one in speaking(*names[channel_id], some)}
        lost = [one for one in some if one.belongs.rule_id not in kept]
        if lost:
            found[channel_id] = lost
    return found


def _correct_names(session: Session, organization_id: str, rules: Mapping[str, Rule], channel_ids: Iterable[str]) -> bool:
    """Rename channels whose every rule now says another name; whether there were any. A rule that alone says otherwise parts from the channel."""
    names = _names(session, organization_id, channel_ids)
    astray = _astray(names, reaches_of(session, organization_id, rules, names))
    for channel_id, lost in sorted(astray.items()):
        stays = speaking(*names[channel_id], reaches_of(session, organization_id, rules, [channel_id])[channel_id])
        leaving = lost
        if not stays:
            # The eldest rule keeps the room and its history; of its keys the newest is the one that counts.
            first = lost[0].belongs.rule_id
            lead = [one for one in lost if one.belongs.rule_id == first][-1]
            leaving = [one for one in lost if one.belongs.rule_id != first and one.rendered.name != lead.rendered.name]
            name, shared = place(session, organization_id, rules, first, lead.rendered.name, channel_id=channel_id)
            if shared is None:
                call(session, organization_id, channel_id, name, plain=lead.rendered.name)
            else:
                leaving = lost
        for one in leaving:
            # Whoever has this key is looked at again, and it is then given a channel of its own.
            let_go(session, organization_id, one.belongs)
    return bool(astray)


def _names(session: Session, organization_id: str, channel_ids: Iterable[str]) -> dict[str, tuple[str, str | None]]:
    names: dict[str, tuple[str, str | None]] = {}
    for some in chunks(channel_ids):
        names |= {row.id: (row.name, row.plain) for row in session.execute(_NAMES, {"organization": organization_id, "channels": some})}
    return names


def _missing_spaces(session: Session, organization_id: str, names: Iterable[str]) -> set[str]:
    return {name for name, space in space_ids(session, organization_id, names).items() if space is None}


def space_ids(session: Session, organization_id: str, names: Iterable[str | None]) -> dict[str, str | None]:
    """By name, the space called so; None where there is none yet."""
    return {name: _space_id(session, organization_id, name) for name in sorted({one for one in names if one is not None})}


def _space_id(session: Session, organization_id: str, name: str) -> str | None:
    """The space of this name, or of this name with a number where a channel had taken it."""
    number = 1
    while True:
        called = {"organization": organization_id, "name": templates.with_number(name, number)}
        holder = session.execute(_CALLED, called).one_or_none()
        if holder is None or holder.space:
            return None if holder is None else holder.id
        number += 1


def make_spaces(session: Session, organization_id: str, names: Iterable[str], at: datetime) -> None:
    """Make those of these spaces that are not there. Call `one_at_a_time` first."""
    for name in sorted(_missing_spaces(session, organization_id, names)):
        _make(session, organization_id, free_name(session, organization_id, name), at, plain=name, space=True)


def free_name(session: Session, organization_id: str, name: str) -> str:
    """The name, with a number where any other channel has it, also one that no rule speaks of. Call `one_at_a_time` first."""
    number = 1
    while session.execute(
        select(Channel.id).where(Channel.organization_id == organization_id, Channel.name == templates.with_number(name, number))
    ).first():
        number += 1
    return templates.with_number(name, number)


def _let_former_go(
    session: Session, organization_id: str, rules: Mapping[str, Rule], name: str, plain: str | None, reached: Sequence[Reached]
) -> None:
    spoken = speaking(name, plain, reached)
    kept = {one.belongs.rule_id for one in spoken}
    for one in reached:
        former = one not in spoken and one.belongs.rule_id in kept
        if former and not has_people(session, organization_id, rules[one.belongs.rule_id], one.belongs.key):
            let_go(session, organization_id, one.belongs)
