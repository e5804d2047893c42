"""The plain switch: a directory turns its only record of somebody off or on, and nobody else has a say in it.

`records.change_record` and `people.settle` say what follows; this writes the same rows (a test compares them) where the
person has one record without dates, no statement, no *off* that is held, and no brake counts.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Insert,
    Integer,
    Select,
    Text,
    Update,
    and_,
    exists,
    not_,
    select,
    update,
)
from sqlalchemy.orm import aliased
from sqlalchemy.sql.dml import ReturningInsert

from app.access.knocking import client_query
from app.access.tables import Workspace
from app.actors import Actor, ActorKind
from app.bare.connection import Acting, Bare
from app.clock import microseconds, now
from app.database import new_id
from app.directory.settings import means_of_off, setting
from app.directory.tables import Person, Record, Source, Standing, Statement
from app.journal.tables import HERE, Entry, Lane, Organization, Subject
from app.json_text import write_json
from app.lifecycle.plain_sql import (
    Said,
    at,
    at_once,
    document,
    entry,
    in_turn,
    inserted,
    look,
    looks,
    new_work,
    number,
    one_of,
    said_in,
    several,
    several_at_once,
    text,
    told,
    wanted,
)
from app.lifecycle.standing import decide_alone
from app.revocation.tables import Departure, Proof
from app.statements import ALWAYS, param

Beside = tuple[ColumnElement[Any], Mapping[str, Any]]
"""An expression over Record, and the values in it."""
_OUT = (Standing.DEPARTED, Standing.PAUSED)
_SAID: Final[Mapping[str, Any]] = {
    **dict.fromkeys(
        ("record", "person", "verb", "before", "after", "means", "standing", "reason", "departure", "words", "actor", "touched"), Text()
    ),
    **dict.fromkeys(("at", "said", "record_at", "person_at"), BigInteger()), "active": Boolean(), "version": Integer(),
}  # fmt: skip
"""What one of several switches says by itself; by whom it is said is the same for all of them."""


class BrakeCounts(Exception):
    """A brake counts what this source switches off: that is never plain."""


class Switched(NamedTuple):
    """A record after it was switched; instants in microseconds."""

    version: int
    created_at: int
    modified_at: int
    document: str
    beside: Any


class _Switch(NamedTuple):
    """One record to be switched, by a token of its source."""

    record_id: str
    active: bool
    digest: str
    source_id: str
    now: datetime
    because: str
    beside: Beside


async def switch_plainly(
    acting: Acting, record_id: str, active: bool, *, digest: str, source_id: str, now: datetime, because: str, beside: Beside
) -> Switched | None:
    """The record switched, committed; None where the case is not plain or the token not good, and nothing was written.

    `beside` is asked along with it, for whoever answers. Raises BrakeCounts, and what the driver raises.
    """
    asked = _Switch(record_id=record_id, active=active, digest=digest, source_id=source_id, now=now, because=because, beside=beside)
    return await acting.together(_switch, asked, lane=(digest, source_id, because), about=(record_id,))


async def _switch(bare: Bare, asked: Sequence[_Switch]) -> Sequence[Switched | None]:
    """Each of these that is plain; all of them by one token."""
    first = asked[0]
    expression, beside = first.beside
    by = {"digest": first.digest, "source": first.source_id, "because": first.because, "at": max(microseconds(one.now) for one in asked)}
    async with bare.transaction():
        if len(asked) == 1:
            rows = await bare.rows(_seen(expression), {**beside, **by, "record": first.record_id})
        else:
            ids = write_json([one.record_id for one in asked])
            rows = await bare.rows(_seen_several(expression), {**beside, **by, "records": ids})
        seen = {row[0]: _Seen(*row) for row in rows}
        # They are held by now: an instant from before that could lie before one that is written already.
        moment = now()
        acts = {one.record_id: _decided(one, there, moment=moment) for one in asked if (there := seen.get(one.record_id)) is not None}
        done = await _write(bare, [act for act in acts.values() if act is not None], by)
    return [_switched(seen[one.record_id], moment=moment) if one.record_id in done else None for one in asked]


def _decided(asked: _Switch, seen: "_Seen", *, moment: datetime) -> dict[str, Any] | None:
    """What is written of a switch; None where it is not plain. Raises BrakeCounts."""
    active, said_at = asked.active, microseconds(asked.now)
    if not seen.plain or bool(seen.active) == active or (Standing(seen.standing) in _OUT) != active:
        return None
    # An *off* that came in since this was said is weighed by the ordinary way.
    if active and said_at < seen.said_at:
        return None
    settings = json.loads(seen.settings)
    if not active and setting(settings, "push_brake") != "off":
        raise BrakeCounts
    means = None if active else means_of_off(setting(settings, "leaving_voice"), has_hr=bool(seen.has_hr))
    decided = decide_alone(on=active, means=means)
    said = {"userName": seen.user_name, "externalId": seen.external_id}
    before = write_json({**said, "active": not active})
    # Each once, and in the order in which everybody asks for work about people, so that none waits for another who waits for them.
    touched = sorted({one for one in (seen.person_id, seen.manager_id) if one is not None})
    return {
        "record": asked.record_id, "at": microseconds(moment), "said": said_at, "record_at": max(microseconds(moment), seen.modified_at),
        "person_at": max(microseconds(moment), seen.person_modified_at), "organization": seen.organization_id, "person": seen.person_id, "active": active,
        "means": means, "standing": decided.standing.value, "reason": decided.reason, "version": seen.version + 1,
        "before": f'{before[:-1]},"document":{seen.document}}}', "after": write_json({**said, "active": active}),
        "verb": "switched on" if active else "switched off", "departure": None if active else new_id(),
        "words": f"{decided.reason}: {asked.because}", "actor": str(Actor(kind=ActorKind.SOURCE, name=seen.source_name)),
        "touched": write_json(touched),
    }  # fmt: skip


def _switched(seen: "_Seen", *, moment: datetime) -> Switched:
    modified_at = max(microseconds(moment), seen.modified_at)
    return Switched(version=seen.version + 1, created_at=seen.created_at, modified_at=modified_at, document=seen.document, beside=seen.beside)


class _Seen(NamedTuple):
    """A row of `_seen`, in its order."""

    record_id: str
    organization_id: str
    source_name: str
    active: bool
    plain: bool
    version: int
    user_name: str
    external_id: str | None
    document: str
    said_at: int
    created_at: int
    modified_at: int
    person_id: str
    person_modified_at: int
    standing: str
    manager_id: str | None
    settings: str
    has_hr: bool
    beside: Any


async def _write(bare: Bare, acts: Sequence[Mapping[str, Any]], by: Mapping[str, Any]) -> set[str]:
    """The records of which it was done."""
    if not acts:
        return set()
    if len(acts) > 1:
        # As the worker goes through several of them, so that neither waits for the other.
        given = {**by, "several": told(sorted(acts, key=lambda act: str(act["person"])), _SAID)}
        return {record_id for (record_id,) in (await bare.last((_several_at_once(), given)))[-1]}
    values = {**by, **acts[0]}
    active: bool = values["active"]
    if bare.dialect == "postgresql":
        made = (await bare.last((_at_once(active), values)))[-1]
    else:
        made = await bare.rows(_entry_of_seen(), values)
        values |= {"journal": made[0][0]}
        await bare.ask(*((statement, values) for statement in _in_turn(active)))
    return {values["record"]} if made else set()


# The statements


def _spoken_for(organization: Any, person: Any, record: Any) -> ColumnElement[bool]:
    """Whether anything else than this record has a say: another record, one that has ended too, or a statement."""
    other = aliased(Record)
    records = exists().where(other.organization_id == organization, other.person_id == person, other.id != record)
    statements = exists().where(
        Statement.organization_id == organization, Statement.person_id == person, Statement.withdrawn_at.is_(None)
    )
    return records | statements


@cache
def _seen(beside: ColumnElement[Any]) -> Select[Any]:
    """The record `:record` and its person, where the token is good. In the order of `_Seen`."""
    return _held(beside, Record.id == param("record"))


@cache
def _seen_several(beside: ColumnElement[Any]) -> Select[Any]:
    """PostgreSQL: the same of each of `:records`."""
    return _held(beside, one_of(Record.id, "records", "postgresql"))


def _held(beside: ColumnElement[Any], which: ColumnElement[bool]) -> Select[Any]:
    # Whom somebody else holds is not waited for here: who waits keeps a connection from all others, and who holds several
    # people must not wait for one. The ordinary way waits. Who is only becoming a member of something is not held by that.
    return _standing_now(beside).where(which).with_for_update(of=[Record, Person], skip_locked=True, key_share=True)


def _standing_now(beside: ColumnElement[Any]) -> Select[Any]:
    client = client_query().subquery("client")
    hr = exists().where(Source.organization_id == Record.organization_id, Source.kind == "hr", Source.ended_at.is_(None))
    settings = select(Organization.settings.cast(Text)).where(Organization.id == Record.organization_id).scalar_subquery()
    # A record with dates is in force only between them, which is decided elsewhere.
    undated = and_(Record.starts_at.is_(None), Record.ends_at.is_(None))
    plain = and_(not_(Record.held), undated, not_(_spoken_for(Record.organization_id, Record.person_id, Record.id)))
    return (
        select(
            Record.id.expression, Record.organization_id, client.c.source_name, Record.active, plain, Record.version, Record.user_name, Record.external_id,
            Record.document.cast(Text), Record.active_said_at, Record.created_at, Record.modified_at, Person.id, Person.modified_at, Person.standing, Person.manager_id, settings, hr, beside,
        )
        .select_from(client)
        .join(Record, and_(Record.organization_id == client.c.organization_id, Record.source_id == client.c.source_id))
        .join(Person, and_(Person.organization_id == Record.organization_id, Person.id == Record.person_id))
        .where(Record.ended_at.is_(None))
    )  # fmt: skip


@cache
def _entry() -> ReturningInsert[int, str, str]:
    """PostgreSQL: the entry, where the token is good and nobody else has a say."""
    client = client_query().subquery("client")
    # Asked once more: whoever held the lock before may have said something.
    alone = not_(_spoken_for(client.c.organization_id, param("person"), param("record")))
    return entry(_entered("postgresql", param), of=select(client).where(alone).subquery("unopposed"))


@cache
def _entry_of_seen() -> ReturningInsert[int]:
    """SQLite: the entry. What `_seen` found is so: nobody else writes before this transaction ends."""
    fixed = {
        Entry.organization_id: param("organization"), Entry.at: at(param), Entry.actor: param("actor"), Entry.because: param("because"),
    }  # fmt: skip
    return inserted(Entry, {**fixed, **_entered("sqlite", param)}).returning(Entry.id)


def _entered(dialect: str, said: Said) -> Mapping[Any, ColumnElement[Any]]:
    return {
        Entry.verb: said("verb"), Entry.subject_kind: text("record"), Entry.subject_id: said("record"),
        Entry.before: document("before", dialect, said), Entry.after: document("after", dialect, said),
    }  # fmt: skip


@cache
def _at_once(active: bool) -> Select[Any]:
    return at_once(_entry(), _on if active else _off)


@cache
def _several_at_once() -> Select[Any]:
    client, acts = client_query().subquery("client"), several(_SAID)
    alone = not_(_spoken_for(client.c.organization_id, acts.c.person, acts.c.record))
    unopposed = select(client, acts).where(alone).subquery("unopposed")
    said = said_in(unopposed)
    made = entry(_entered("postgresql", said), of=unopposed, said=said)
    return several_at_once(made, _on_or_off, acts, by=lambda written: acts.c.record == written.c.subject_id)


@cache
def _in_turn(active: bool) -> Sequence[Insert | Update]:
    return in_turn(_on if active else _off)


def _both(
    dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any], said: Said, *, several: bool = False
) -> list[Insert | Update]:
    changed = {"version": said("version", Integer()), "modified_at": said("record_at", BigInteger()), "journal_id": journal}
    record = update(Record).where(Record.organization_id == organization, Record.id == said("record"))
    person = update(Person).where(Person.organization_id == organization, Person.id == said("person"))
    return [
        record.values(
            active=said("active", Boolean()), active_said_at=said("said", BigInteger()), off_means=said("means"), **changed
        ),
        person.values(
            standing=said("standing"), standing_reason=said("reason"), version=Person.version + 1, access_epoch=Person.access_epoch + 1,
            modified_at=said("person_at", BigInteger()), journal_id=journal,
        ),
        wanted((looks if several else look)(organization, journal, said("touched"), dialect, said), dialect),
    ]  # fmt: skip


def _off(dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any], said: Said) -> Sequence[Insert | Update]:
    return [*_both(dialect, organization, journal, said), *_departing(dialect, organization, journal, said)]


def _on(dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any], said: Said) -> Sequence[Insert | Update]:
    return [*_both(dialect, organization, journal, said), _back(organization, said)]


def _on_or_off(dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any], said: Said) -> Sequence[Insert | Update]:
    """Of several, each as it says."""
    active: ColumnElement[bool] = said("active")
    departing = _departing(dialect, organization, journal, said, who=not_(active))
    return [*_both(dialect, organization, journal, said, several=True), *departing, _back(organization, said).where(active)]


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
