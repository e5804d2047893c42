"""The plain switch: a directory turns its only record of somebody off or on, or says what stands already, and nobody else has a say in it.

`records.change_record` and `people.settle` say what follows; this writes the same rows (a test compares them) where the
person has one record without dates, no statement, and no *off* that is held. What a brake counts is weighed by `plain_brake`;
where something else is new than that, `plain_change` says what is written.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Boolean, ColumnElement, Delete, Insert, Integer, Select, Text, Update, and_, not_, true, update

from app.access.tables import Workspace
from app.actors import Actor, ActorKind
from app.bare.connection import Acting, Asked, Bare
from app.clock import microseconds, now
from app.database import new_id
from app.directory.settings import means_of_off, parse_push_brake, setting
from app.directory.tables import OUTSIDE, Person, Record, Standing
from app.journal.tables import HERE, Lane, Subject
from app.json_text import write_json
from app.lifecycle.plain_brake import counted, in_burst, weigh
from app.lifecycle.plain_change import Change, changes_in_turn, changing, is_plain, to_write_changes
from app.lifecycle.plain_entries import entries_of_several, entry_of_one, entry_of_seen
from app.lifecycle.plain_seen import Becomes, Beside, Seen, is_said_already, seen, seen_several
from app.lifecycle.plain_sql import (
    Rows,
    Said,
    at,
    at_once,
    in_turn,
    inserted,
    look,
    looks,
    new_work,
    number,
    several,
    several_at_once,
    text,
    told,
    wanted,
)
from app.lifecycle.standing import decide_alone
from app.revocation.tables import Departure, Proof
from app.statements import ALWAYS

_SAID: Final[Mapping[str, Any]] = {
    **dict.fromkeys(
        ("record", "person", "verb", "before", "after", "means", "standing", "reason", "departure", "words", "actor", "touched", "line"), Text()
    ),
    **dict.fromkeys(("at", "said", "record_at", "person_at"), BigInteger()), **dict.fromkeys(("active", "counts"), Boolean()), "version": Integer(),
}  # fmt: skip
"""What one of several switches says by itself; by whom it is said is the same for all of them."""


class _Effect(StrEnum):
    """What follows. An *off* takes effect, does so and is counted by the brake, or waits in its burst; or something else is said."""

    ON = "on"
    OFF = "off"
    COUNTED = "counted"
    WAITS = "waits"
    CHANGED = "changed"


_DEPARTING: Final = (_Effect.OFF, _Effect.COUNTED)


class Switched(NamedTuple):
    """A record after it was switched or changed, or as it stands already; instants in microseconds."""

    active: bool
    version: int
    created_at: int
    modified_at: int
    document: str
    beside: Any


class _Switch(NamedTuple):
    """One record to be switched, or to become something else, by a token of its source."""

    record_id: str
    active: bool | None
    becomes: Becomes | None
    digest: str
    source_id: str
    now: datetime
    because: str
    beside: Beside


async def switch_plainly(
    acting: Acting, record_id: str, active: bool | None, *, becomes: Becomes | None = None, digest: str, source_id: str, now: datetime,
    because: str, beside: Beside,
) -> Switched | None:  # fmt: skip
    """The record switched, or changed, committed; None where the case is not plain or the token not good, and nothing was written.

    What is said is `active`, or all that it `becomes`. `beside` is asked along with it, for whoever answers. Raises
    LayoffAnnounced, and what the driver raises.
    """
    asked = _Switch(
        record_id=record_id, active=active, becomes=becomes, digest=digest, source_id=source_id, now=now, because=because, beside=beside
    )  # fmt: skip
    return await acting.together(_switch, asked, lane=(digest, source_id, because), about=(record_id,))


async def _switch(bare: Bare, asked: Sequence[_Switch]) -> Sequence[Switched | None]:
    """Each of these that is plain; all of them by one token."""
    first = asked[0]
    expression, beside = first.beside
    by = {"digest": first.digest, "source": first.source_id, "because": first.because, "at": max(microseconds(one.now) for one in asked)}
    async with bare.transaction():
        if len(asked) == 1:
            rows = await bare.rows(seen(expression), {**beside, **by, "record": first.record_id})
        else:
            ids = write_json([one.record_id for one in asked])
            rows = await bare.rows(seen_several(expression), {**beside, **by, "records": ids})
        plain = {there.record_id: there for row in rows if (there := Seen(*row)).plain}
        meant = [_meant(one, plain.get(one.record_id)) for one in asked]
        # They are held by now: an instant from before that could lie before one that is written already.
        moment = now()
        acts = [act for one in meant if isinstance(one, _Switch) and (act := _decided(one, plain[one.record_id], moment=moment)) is not None]
        weighed = [*await _braked(bare, acts, by, moment=moment)]
        for act in weighed:
            if act["effect"] in _DEPARTING:
                act["departure"] = new_id()
        changes = [one for one in meant if isinstance(one, Change)]
        # Two statements would not ask for work about people in one order; so those who only change take the ordinary way then.
        if changes and (not weighed or bare.dialect == "sqlite"):
            weighed += [{**act, "effect": _Effect.CHANGED} for act in await changing(bare, changes, by, moment=moment)]
        done = await _write(bare, weighed, by)
    written = {act["record"]: act for act in weighed if act["record"] in done}
    return [_outcome(one, plain.get(there.record_id), written.get(there.record_id), moment=moment) for there, one in zip(asked, meant, strict=True)]


def _meant(asked: _Switch, there: Seen | None) -> _Switch | Change | None:
    """What is switched or changed; None where it is not plain."""
    if there is None or asked.becomes is None:
        return None if there is None else asked
    read = asked.becomes(there)
    if read is None:
        return None
    document, draft = read
    if is_said_already(draft, there, document):
        return asked._replace(active=draft.active)
    change = Change(there=there, document=document, draft=draft)
    return change if is_plain(change) else None


def _decided(asked: _Switch, there: Seen, *, moment: datetime) -> dict[str, Any] | None:
    """What is written of a switch; None where it is none, or has to be weighed."""
    active, said_at = asked.active, microseconds(asked.now)
    if active is None or bool(there.active) == active or (Standing(there.standing) in OUTSIDE) != active:
        return None
    # An *off* that came in since this was said is weighed by the ordinary way.
    if active and said_at < there.said_at:
        return None
    settings = json.loads(there.settings)
    brake = "off" if active else setting(settings, "push_brake")
    # Whoever has yet to start has no access that it could take.
    if brake != "off" and there.standing != Standing.ACTIVE:
        return None
    means = None if active else means_of_off(setting(settings, "leaving_voice"), has_hr=bool(there.has_hr))
    decided = decide_alone(on=active, means=means)
    said = {"userName": there.user_name, "externalId": there.external_id}
    before = write_json({**said, "active": not active})
    # Each once, and in the order in which everybody asks for work about people, so that none waits for another who waits for them.
    touched = sorted({one for one in (there.person_id, there.manager_id) if one is not None})
    return {
        "record": asked.record_id, "at": microseconds(moment), "said": said_at, "record_at": max(microseconds(moment), there.modified_at),
        "person_at": max(microseconds(moment), there.person_modified_at), "organization": there.organization_id, "person": there.person_id,
        "active": active, "means": means, "standing": decided.standing.value, "reason": decided.reason, "version": there.version + 1,
        "before": f'{before[:-1]},"document":{there.document}}}', "after": write_json({**said, "active": active}),
        "verb": "switched on" if active else "switched off", "departure": None,
        "words": f"{decided.reason}: {asked.because}", "actor": str(Actor(kind=ActorKind.SOURCE, name=there.source_name)),
        "touched": write_json(touched), "brake": brake, "effect": _Effect.ON if active else _Effect.OFF, "counts": False,
        "line": asked.now.isoformat(),
    }  # fmt: skip


async def _braked(bare: Bare, acts: Sequence[dict[str, Any]], by: Mapping[str, Any], *, moment: datetime) -> Sequence[dict[str, Any]]:
    """The acts with what follows from each, but for those that the ordinary way has to weigh. All are of one organisation."""
    offs = [act for act in acts if act["brake"] != "off"]
    brake = parse_push_brake(offs[0]["brake"]) if offs else None
    if brake is None:
        return acts
    organization = offs[0]["organization"]
    room, burst = await weigh(bare, brake, by, organization=organization, offs=len(offs), moment=moment)
    for act in offs[:room]:
        act |= {"effect": _Effect.COUNTED, "counts": True}
    for act in offs[room:]:
        act |= {"effect": _Effect.WAITS, "burst": burst}
    # Of those that take effect one may have counted already, or be spoken for meanwhile: then there is room for more.
    waits = burst is not None and room == 0
    return [act for act in acts if act["effect"] is not _Effect.WAITS or waits]


def _outcome(meant: _Switch | Change | None, there: Seen | None, act: Mapping[str, Any] | None, *, moment: datetime) -> Switched | None:
    """None where it is left to the ordinary way. `act` is what was written."""
    if meant is None or there is None:
        return None
    active, version, modified_at = bool(there.active), there.version, there.modified_at
    if act is not None:
        active, version, modified_at = bool(act.get("active", active)), version + 1, max(microseconds(moment), modified_at)
    elif isinstance(meant, Change) or meant.active not in (None, active) or (Standing(there.standing) in OUTSIDE) == active:
        return None
    return Switched(
        active=active, version=version, created_at=there.created_at, modified_at=modified_at,
        document=there.document if act is None else act.get("document", there.document), beside=there.beside,
    )  # fmt: skip


async def _write(bare: Bare, acts: Sequence[Mapping[str, Any]], by: Mapping[str, Any]) -> set[str]:
    """The records of which it was done."""
    if not acts:
        return set()
    if bare.dialect == "sqlite":
        return set().union(*[await _write_in_turn(bare, {**by, **act}) for act in acts])
    waiting = [act for act in acts if act["effect"] is _Effect.WAITS]
    kinds = [kind for kind in ([act for act in acts if act["effect"] is not _Effect.WAITS], waiting) if kind]
    rows = await bare.last(*(_to_write(kind, by) for kind in kinds))
    return {record_id for kind in rows for (record_id,) in kind}


def _to_write(acts: Sequence[Mapping[str, Any]], by: Mapping[str, Any]) -> Asked:
    """PostgreSQL: the one statement that writes all of these."""
    if acts[0]["effect"] is _Effect.CHANGED:
        return to_write_changes(acts, by)
    if len(acts) == 1:
        return _at_once(acts[0]["effect"]), {**by, **acts[0]}
    # As the worker goes through several of them, so that neither waits for the other.
    several = told(sorted(acts, key=lambda act: str(act["person"])), _SAID)
    shared = {name: acts[0].get(name) for name in ("organization", "burst")}
    return _several_at_once(frozenset(act["effect"] for act in acts)), {**by, **shared, "several": several}


async def _write_in_turn(bare: Bare, values: dict[str, Any]) -> set[str]:
    """SQLite: what follows from one."""
    made = await bare.rows(entry_of_seen(), values)
    values |= {"journal": made[0][0]}
    rows = changes_in_turn(others=values["others"]) if values["effect"] is _Effect.CHANGED else _in_turn(values["effect"])
    await bare.ask(*((statement, values) for statement in rows))
    return {values["record"]}


# The statements


@cache
def _at_once(effect: _Effect) -> Select[Any]:
    """PostgreSQL: all that follows from one, whose record is returned."""
    return at_once(entry_of_one(waits=effect is _Effect.WAITS), _ROWS[effect])


@cache
def _several_at_once(effects: frozenset[_Effect]) -> Select[Any]:
    """PostgreSQL: the same of several, all of which wait, or none."""
    acts = several(_SAID)
    made = entries_of_several(acts, waits=_Effect.WAITS in effects)
    rows = _waits if _Effect.WAITS in effects else _each_counted if _Effect.COUNTED in effects else _each
    return several_at_once(made, rows, acts, by=lambda written: acts.c.record == written.c.subject_id)


@cache
def _in_turn(effect: _Effect) -> Sequence[Insert | Update | Delete]:
    return in_turn(_ROWS[effect])


def _record(organization: ColumnElement[Any], journal: ColumnElement[Any], said: Said, **more: Any) -> Update:
    changed = {
        "active": said("active", Boolean()), "active_said_at": said("said", BigInteger()), "off_means": said("means"),
        "version": said("version", Integer()), "modified_at": said("record_at", BigInteger()), "journal_id": journal,
    }  # fmt: skip
    return update(Record).where(Record.organization_id == organization, Record.id == said("record")).values(**changed, **more)


def _both(
    dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any], said: Said, *, several: bool = False
) -> list[Insert | Update]:
    person = update(Person).where(Person.organization_id == organization, Person.id == said("person"))
    return [
        _record(organization, journal, said),
        person.values(
            standing=said("standing"), standing_reason=said("reason"), version=Person.version + 1, access_epoch=Person.access_epoch + 1,
            modified_at=said("person_at", BigInteger()), journal_id=journal,
        ),
        wanted((looks if several else look)(organization, journal, said("touched"), dialect, said), dialect),
    ]  # fmt: skip


def _off(dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any], said: Said) -> Sequence[Insert | Update]:
    return [*_both(dialect, organization, journal, said), *_departing(dialect, organization, journal, said)]


def _counted(dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any], said: Said) -> Sequence[Insert | Update]:
    return [*_off(dialect, organization, journal, said), counted(dialect, organization, said)]


def _waits(dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any], said: Said) -> Sequence[Insert | Update]:
    """Nothing follows yet but that it waits: who they are and what they have stays as it was."""
    return [_record(organization, journal, said, held=true()), in_burst(dialect, organization, said)]


def _on(dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any], said: Said) -> Sequence[Insert | Update]:
    return [*_both(dialect, organization, journal, said), _back(organization, said)]


def _each(dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any], said: Said) -> Sequence[Insert | Update]:
    """Of several, on or off as each says."""
    active: ColumnElement[bool] = said("active")
    departing = _departing(dialect, organization, journal, said, who=not_(active))
    return [*_both(dialect, organization, journal, said, several=True), *departing, _back(organization, said).where(active)]


def _each_counted(dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any], said: Said) -> Sequence[Insert | Update]:
    """The same where some count."""
    return [*_each(dialect, organization, journal, said), counted(dialect, organization, said, who=said("counts"))]


_ROWS: Final[Mapping[_Effect, Rows]] = {_Effect.ON: _on, _Effect.OFF: _off, _Effect.COUNTED: _counted, _Effect.WAITS: _waits}


def _departing(
    dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any], said: Said, *, who: ColumnElement[bool] = ALWAYS
) -> Sequence[Insert | Update]:
    departure = {
        "organization_id": organization, "id": said("departure"), "person_id": said("person"), "means": said("means"),
        "reason": said("words"), "actor": said("actor"), "due_at": at(said), "received_at": at(said), "decided_at": at(said),
        "journal_id": journal,
    }  # fmt: skip
    proof = {"organization_id": organization, "departure_id": said("departure"), "workspace_id": Workspace.id.expression, "attempts": number(0)}
    work = new_work(
        organization, journal, subject=Subject.ACCOUNT, subject_id=said("person"), lane=Lane.DEPARTURES, workspace_id=Workspace.id.expression,
        said=said,
    )  # fmt: skip
    access = new_work(
        organization, journal, subject=Subject.ACCESS, subject_id=said("person"), lane=Lane.DEPARTURES, workspace_id=text(HERE), said=said
    )
    everywhere = and_(Workspace.organization_id == organization, who)
    return [
        inserted(Departure, departure, where=who), inserted(Proof, proof, where=everywhere),
        wanted(work, dialect, where=everywhere), wanted(access, dialect, where=who),
    ]  # fmt: skip


def _back(organization: ColumnElement[Any], said: Said) -> Update:
    return (
        update(Departure)
        .where(Departure.organization_id == organization, Departure.person_id == said("person"), Departure.ended_at.is_(None))
        .values(ended_at=at(said))
    )
