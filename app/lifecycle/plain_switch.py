"""The plain switch: a directory turns its only record of somebody off or on, and nobody else has a say in it.

`records.change_record` and `people.settle` say what follows; this writes the same rows (a test compares them) where the
person has one record without dates, no statement, no *off* that is held, and no brake counts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Insert, Integer, Select, Text, Update, and_, exists, not_, select, update
from sqlalchemy.orm import aliased
from sqlalchemy.sql.dml import ReturningInsert

from app.access.knocking import client_query
from app.access.tables import Workspace
from app.actors import Actor, ActorKind
from app.bare.connection import Bare
from app.clock import microseconds
from app.database import new_id
from app.directory.settings import means_of_off, setting
from app.directory.tables import Person, Record, Source, Standing, Statement
from app.journal.tables import HERE, Entry, Lane, Organization, Subject
from app.lifecycle.plain_sql import at, at_once, document, entry, in_turn, inserted, new_work, number, text, wanted
from app.lifecycle.standing import RecordSaid, decide
from app.revocation.tables import Departure, Proof
from app.statements import each_of, param

Beside = tuple[ColumnElement[Any], Mapping[str, Any]]
"""An expression over Record, and the values in it."""
_OUT = (Standing.DEPARTED, Standing.PAUSED)


class BrakeCounts(Exception):
    """A brake counts what this source switches off: that is never plain."""


@dataclass(frozen=True, kw_only=True)
class Switched:
    """A record after it was switched; instants in microseconds."""

    version: int
    created_at: int
    modified_at: int
    document: str
    beside: Any


async def switch_plainly(
    bare: Bare, record_id: str, active: bool, *, digest: str, source_id: str, now: datetime, because: str, beside: Beside
) -> Switched | None:
    """The record switched, committed; None where the case is not plain or the token not good, and nothing was written.

    `beside` is asked along with it, for whoever answers. Raises BrakeCounts, and what the driver raises.
    """
    values = {"record": record_id, "digest": digest, "source": source_id, "at": microseconds(now)}
    asked_beside, values_beside = beside
    async with bare.transaction():
        rows = await bare.rows(_seen(asked_beside), {**values_beside, **values})
        if not rows:
            return None
        seen = _Seen(*rows[0])
        if not seen.plain or bool(seen.active) == active or (Standing(seen.standing) in _OUT) != active:
            return None
        settings = json.loads(seen.settings)
        if not active and setting(settings, "push_brake") != "off":
            raise BrakeCounts
        means = None if active else means_of_off(setting(settings, "leaving_voice"), has_hr=bool(seen.has_hr))
        decided = decide([RecordSaid(on=active, said_at=now, means=means, ended=False)], [], now=now)
        actor = Actor(kind=ActorKind.SOURCE, name=seen.source_name)
        instant = microseconds(now)
        said = {"userName": seen.user_name, "externalId": seen.external_id}
        before = json.dumps({**said, "active": not active})
        values |= {
            "because": because, "organization": seen.organization_id, "person": seen.person_id, "active": active,
            "means": means, "standing": decided.standing.value, "reason": decided.reason, "version": seen.version + 1,
            "before": f'{before[:-1]}, "document": {seen.document}}}', "after": json.dumps({**said, "active": active}),
            "verb": "switched on" if active else "switched off", "departure": None if active else new_id(), "words": f"{decided.reason}: {because}",
            "actor": str(actor), "touched": json.dumps([one for one in (seen.person_id, seen.manager_id) if one is not None]),
        }  # fmt: skip
        if not await _write(bare, values, active=active):
            return None
    return Switched(version=seen.version + 1, created_at=seen.created_at, modified_at=instant, document=seen.document, beside=seen.beside)


@dataclass(frozen=True)
class _Seen:
    """A row of `_seen`, in its order."""

    organization_id: str
    source_name: str
    active: bool
    plain: bool
    version: int
    user_name: str
    external_id: str | None
    document: str
    created_at: int
    person_id: str
    standing: str
    manager_id: str | None
    settings: str
    has_hr: bool
    beside: Any


async def _write(bare: Bare, values: dict[str, Any], *, active: bool) -> bool:
    if bare.dialect == "postgresql":
        return bool((await bare.last((_at_once(active), values)))[-1])
    made = await bare.rows(_entry("sqlite"), values)
    if made:
        values |= {"journal": made[0][0]}
        await bare.ask(*((statement, values) for statement in _in_turn(active)))
    return bool(made)


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
    """The record `:record` and its person, both locked, where the token is good. In the order of `_Seen`."""
    client = client_query().subquery("client")
    hr = exists().where(Source.organization_id == Record.organization_id, Source.kind == "hr", Source.ended_at.is_(None))
    settings = select(Organization.settings.cast(Text)).where(Organization.id == Record.organization_id).scalar_subquery()
    # A record with dates is in force only between them, which is decided elsewhere.
    undated = and_(Record.starts_at.is_(None), Record.ends_at.is_(None))
    plain = and_(not_(Record.held), undated, not_(_spoken_for(Record.organization_id, Record.person_id, Record.id)))
    return (
        select(
            Record.organization_id, client.c.source_name, Record.active, plain, Record.version, Record.user_name, Record.external_id,
            Record.document.cast(Text), Record.created_at, Person.id, Person.standing, Person.manager_id, settings, hr, beside,
        )
        .select_from(client)
        .join(Record, and_(Record.organization_id == client.c.organization_id, Record.source_id == client.c.source_id))
        .join(Person, and_(Person.organization_id == Record.organization_id, Person.id == Record.person_id))
        .where(Record.id == param("record"), Record.ended_at.is_(None))
        .with_for_update(of=[Record, Person])
    )  # fmt: skip


@cache
def _entry(dialect: str) -> ReturningInsert[int, str]:
    client = client_query().subquery("client")
    # Asked once more: whoever held the lock before may have said something.
    alone = not_(_spoken_for(client.c.organization_id, param("person"), param("record")))
    values = {
        Entry.verb: param("verb"), Entry.subject_kind: text("record"), Entry.subject_id: param("record"),
        Entry.before: document("before", dialect), Entry.after: document("after", dialect),
    }  # fmt: skip
    return entry(values, of=select(client).where(alone).subquery("unopposed"))


@cache
def _at_once(active: bool) -> Select[Any]:
    return at_once(_entry("postgresql"), _on if active else _off)


@cache
def _in_turn(active: bool) -> Sequence[Insert | Update]:
    return in_turn(_on if active else _off)


def _both(dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any]) -> list[Insert | Update]:
    stamp = {"modified_at": at(), "journal_id": journal}
    record = update(Record).where(Record.organization_id == organization, Record.id == param("record"))
    person = update(Person).where(Person.organization_id == organization, Person.id == param("person"))
    touched = each_of("touched", dialect)
    work = new_work(organization, journal, subject=Subject.PERSON, subject_id=touched, lane=Lane.SYNC, workspace_id=text(""))
    return [
        record.values(active=param("active", Boolean()), active_said_at=at(), off_means=param("means"), version=param("version", Integer()), **stamp),
        person.values(
            standing=param("standing"), standing_reason=param("reason"), version=Person.version + 1, access_epoch=Person.access_epoch + 1,
            **stamp,
        ),
        wanted(work, dialect),
    ]  # fmt: skip


def _off(dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any]) -> Sequence[Insert | Update]:
    departure = {
        "organization_id": organization, "id": param("departure"), "person_id": param("person"), "means": param("means"),
        "reason": param("words"), "actor": param("actor"), "due_at": at(), "received_at": at(), "decided_at": at(), "journal_id": journal,
    }  # fmt: skip
    proof = {"organization_id": organization, "departure_id": param("departure"), "workspace_id": Workspace.id.expression, "attempts": number(0)}
    work = new_work(
        organization, journal, subject=Subject.ACCOUNT, subject_id=param("person"), lane=Lane.DEPARTURES, workspace_id=Workspace.id.expression
    )
    access = new_work(
        organization, journal, subject=Subject.ACCESS, subject_id=param("person"), lane=Lane.DEPARTURES, workspace_id=text(HERE)
    )
    of_organization = Workspace.organization_id == organization
    return [
        *_both(dialect, organization, journal), inserted(Departure, departure), inserted(Proof, proof, where=of_organization),
        wanted(work, dialect, where=of_organization), wanted(access, dialect),
    ]  # fmt: skip


def _on(dialect: str, organization: ColumnElement[Any], journal: ColumnElement[Any]) -> Sequence[Insert | Update]:
    closed = (
        update(Departure)
        .where(Departure.organization_id == organization, Departure.person_id == param("person"), Departure.ended_at.is_(None))
        .values(ended_at=at())
    )
    return [*_both(dialect, organization, journal), closed]
