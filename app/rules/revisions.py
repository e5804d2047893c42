"""Revisions of the rule file: which rules are in force, applying new ones, and what a change would do."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Text, cast, func, literal, select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.database import BeginAnew, Instant, Number
from app.directory.tables import Person, Standing
from app.journal import entries
from app.journal.tables import Lane, Subject, Work, WorkState
from app.journal.work import PRIORITY, hold_expansions, insert_for, wanted_again
from app.rules.file import Joining, Rule, as_data, from_data
from app.rules.membership import Belongs, belongings, dialect_of, keys_in_use
from app.rules.scopes import render_all
from app.rules.tables import MOVED, Channel, ChannelMember, Reach, Revision, Room
from app.statements import param

_IN_FORCE: Final = (
    select(cast(Revision.rules, Text)).where(Revision.organization_id == param("organization")).order_by(Revision.number.desc()).limit(1)
)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What another set of rules would change, counted. `people` lose or gain at least one membership."""

    added: int
    removed: int
    kept: int
    people: int
    new_channels: tuple[str, ...]
    lost_channels: tuple[str, ...]
    renamed_channels: tuple[tuple[str, str], ...] = ()
    """From what to what: nobody comes or goes by that."""


@dataclass(frozen=True, kw_only=True)
class Applied:
    """A revision that is now in force; `entry` is its journal entry, `people` how many will be looked at."""

    revision: Revision
    entry: int
    people: int


def current_revision(session: Session, organization_id: str) -> Revision | None:
    """The revision in force; None before the first."""
    query = select(Revision).where(Revision.organization_id == organization_id).order_by(Revision.number.desc()).limit(1)
    return session.scalars(query).one_or_none()


def in_force(session: Session, organization_id: str) -> int:
    """The number of the revision in force; 0 before the first."""
    there = current_revision(session, organization_id)
    return 0 if there is None else there.number


def current_rules(session: Session, organization_id: str) -> tuple[Rule, ...]:
    """The rules in force; none before any were applied."""
    text = session.scalar(_IN_FORCE, {"organization": organization_id})
    return () if text is None else _read(text)


@lru_cache(maxsize=64)
def _read(text: str) -> tuple[Rule, ...]:
    # By the text that the database keeps: every person who changes asks for them, and they change a few times in a year.
    return from_data(json.loads(text))


def apply_rules(
    session: Session, organization_id: str, rules: Sequence[Rule], actor: Actor, at: datetime, *, instead_of: int | None = None
) -> Applied:
    """Put these rules in force, in the caller's transaction, and ask that every active person be looked at, and every channel behind them.

    How much that changes is not checked here: ask `diff` and the ceiling first, and say which revision that was asked
    `instead_of`, 0 before the first: BeginAnew where another is in force by now. Applying the same rules again makes another
    revision and changes nothing else.
    """
    before = current_revision(session, organization_id)
    number = 1 if before is None else before.number + 1
    if instead_of not in (None, number - 1):
        raise BeginAnew(f"revision {number - 1} was put in force meanwhile")
    entry = entries.write(
        session, organization_id, at=at, actor=actor, verb="apply rules", because=f"rules revision {number}",
        subject_kind="rules", subject_id=str(number), before={"revision": number - 1}, after={"revision": number, "rules": len(rules)},
    )  # fmt: skip
    revision = Revision(organization_id=organization_id, number=number, rules=as_data(rules), applied_at=at, applied_by=str(actor))
    session.add(revision)
    session.flush()
    hold_expansions(session, organization_id)
    people = _want_everybody(session, organization_id, because=entry, at=at)
    _want_every_room(session, organization_id, because=entry, at=at)
    was = {} if before is None else {rule.id: rule.membership for rule in from_data(before.rules)}
    enforced = [rule.id for rule in rules if rule.membership is Joining.ENFORCED and was.get(rule.id, Joining.ENFORCED) is not Joining.ENFORCED]
    if enforced:
        _want_members(session, organization_id, enforced, because=entry, at=at)
    return Applied(revision=revision, entry=entry, people=people)


def _want_everybody(session: Session, organization_id: str, *, because: int, at: datetime) -> int:
    everybody = Person.organization_id == organization_id, Person.standing == Standing.ACTIVE
    people = select(Person.organization_id, Person.id, _text("")).where(*everybody)
    _want_all(session, people, Subject.PERSON, PRIORITY[Subject.PERSON], because=because, at=at)
    return session.scalar(select(func.count()).select_from(Person).where(*everybody)) or 0


def _want_every_room(session: Session, organization_id: str, *, because: int, at: datetime) -> None:
    """A topic, an owner or a place may be another now, though nobody comes or goes."""
    rooms = select(Room.organization_id, Room.channel_id, Room.workspace_id).where(Room.organization_id == organization_id, Room.ref.is_not(None))
    # Behind everybody: until they were looked at, a rule that was given another id reaches no channel yet, and says nothing of it.
    _want_all(session, rooms, Subject.CHANNEL, PRIORITY[Subject.ROSTER], because=because, at=at)


def _want_members(session: Session, organization_id: str, rule_ids: Sequence[str], *, because: int, at: datetime) -> None:
    """Whoever was only invited, or left what added them once, is to be in now. The mirror has their row either way, so the workspace is asked."""
    people = (
        select(ChannelMember.organization_id, ChannelMember.person_id, ChannelMember.workspace_id)
        .join(Reach, (Reach.organization_id == ChannelMember.organization_id) & (Reach.channel_id == ChannelMember.channel_id))
        .where(ChannelMember.organization_id == organization_id, ChannelMember.why != MOVED, Reach.rule_id.in_(rule_ids))
        .distinct()
    )
    _want_all(session, people, Subject.ACCOUNT, PRIORITY[Subject.ROSTER], because=because, at=at)


def _want_all(session: Session, subjects: Select[str, str, str], subject: Subject, priority: int, *, because: int, at: datetime) -> None:
    """`work.want` for all of them in one statement: a million rows never pass through Python."""
    plain = {"subject": subject.value, "lane": Lane.SYNC.value, "state": WorkState.WAITING.value}
    numbers = {"priority": priority, "generation": 1, "attempts": 0, "because": because}
    columns: list[ColumnElement[Any]] = [_text(value) for value in plain.values()]
    columns += [*(cast(literal(value), Number) for value in numbers.values()), literal(at, Instant())]
    names = ["organization_id", "subject_id", "workspace_id", *plain, *numbers, "due_at"]
    dialect = dialect_of(session)
    statement = insert_for(dialect)(Work).from_select(names, subjects.add_columns(*columns))
    session.execute(wanted_again(statement, dialect))


def _text(value: str) -> ColumnElement[str]:
    return cast(literal(value, Text()), Text())


def diff(session: Session, organization_id: str, old: Sequence[Rule], new: Sequence[Rule]) -> Difference:
    """Count what changes between two sets of rules, for the people of now. Writes nothing.

    Channels are told apart by the names that the rules render: where two keys of one rule render alike they count as one. One that
    is renamed in place is the same.
    """
    old_names, new_names = (_channel_names(session, organization_id, rules) for rules in (old, new))
    renamed = _renamed(session, organization_id, old_names, new_names)
    now_called = {pair: new_names[pair] for pair in renamed}
    new_names |= {pair: old_names[pair] for pair in renamed}
    before, after = _by_person(session, organization_id, old, old_names), _by_person(session, organization_id, new, new_names)
    added = removed = kept = people = 0
    for was, will in _side_by_side(before, after):
        added += len(will - was)
        removed += len(was - will)
        kept += len(was & will)
        people += was != will
    had, gets = set(old_names.values()), set(new_names.values())
    return Difference(
        added=added, removed=removed, kept=kept, people=people,
        new_channels=tuple(sorted(gets - had)), lost_channels=tuple(sorted(had - gets)),
        renamed_channels=tuple(sorted((old_names[pair], name) for pair, name in now_called.items())),
    )  # fmt: skip


def _renamed(
    session: Session, organization_id: str, old: Mapping[tuple[str, str], str], new: Mapping[tuple[str, str], str]
) -> set[tuple[str, str]]:
    """The keys whose channel only gets another name: each alone reaches the one that is called so, and alone has the new name, which none has yet."""
    before, after = Counter(old.values()), Counter(new.values())
    found = {
        pair for pair, name in new.items()
        if name != old.get(pair, name) and before[old[pair]] == 1 and not after[old[pair]] and after[name] == 1 and not before[name]
    }  # fmt: skip
    if not found:
        return set()
    called = {id: name for id, name in session.execute(select(Channel.id, Channel.name).where(Channel.organization_id == organization_id))}
    reaching: dict[str, list[tuple[str, str]]] = {}
    for rule_id, key, channel_id in session.execute(select(Reach.rule_id, Reach.key, Reach.channel_id).where(Reach.organization_id == organization_id)):
        reaching.setdefault(channel_id, []).append((rule_id, key))
    alone = {pairs[0]: called.get(channel_id) for channel_id, pairs in reaching.items() if len(pairs) == 1}
    names = set(called.values())
    return {pair for pair in found if alone.get(pair) == old[pair] and new[pair] not in names}


def _channel_names(session: Session, organization_id: str, rules: Sequence[Rule]) -> dict[tuple[str, str], str]:
    used = [one.belongs for one in keys_in_use(session, organization_id, rules)]
    rendered = render_all(session, organization_id, {rule.id: rule for rule in rules}, used)
    return {(one.rule_id, one.key): said.name for one, said in rendered.items()}


def _by_person(
    session: Session, organization_id: str, rules: Sequence[Rule], names: dict[tuple[str, str], str]
) -> Iterator[tuple[str, frozenset[str]]]:
    for person_id, rows in groupby(belongings(session, organization_id, rules), key=lambda row: row[0]):
        yield person_id, frozenset(names.get((rule_id, key), Belongs(rule_id=rule_id, key=key).key) for _, rule_id, key in rows)


def _side_by_side(
    before: Iterator[tuple[str, frozenset[str]]], after: Iterator[tuple[str, frozenset[str]]]
) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
    """Each person's channels before and after; both streams are sorted by person."""
    nobody: frozenset[str] = frozenset()
    was, will = next(before, None), next(after, None)
    while was is not None or will is not None:
        if will is None or (was is not None and was[0] < will[0]):
            assert was is not None
            yield was[1], nobody
            was = next(before, None)
        elif was is None or will[0] < was[0]:
            yield nobody, will[1]
            will = next(after, None)
        else:
            yield was[1], will[1]
            was, will = next(before, None), next(after, None)
