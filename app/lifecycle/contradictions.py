"""People of whom voices do not say the same now: one says that they are here and another that they left, or sources differ in an attribute."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.directory.heard import is_heard
from app.directory.names import name_key
from app.directory.tables import OUTSIDE, Person, Record, Source, Standing, Statement, StatementKind, Voice
from app.lifecycle.people import attributes_in, emails_of, manager_record, text_of
from app.lifecycle.standing import COMEBACKS, as_said, decide, in_force

AT_A_TIME: Final = 500
ACCESS: Final = "access"
TEXTS: Final = {"userType": "user_type", "department": "department", "division": "division", "employeeNumber": "employee_number"}
"""Attributes that a document alone decides, and how `people.attributes_in` calls them. A userName is each directory's own, and no contradiction."""


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """What one voice says of somebody that another denies. `about` is *access* or an attribute; `counts` where it is what holds here now.

    `since` is when it was said; of an attribute, when the source last said anything else of them than before.
    """

    person_id: str
    user_name: str
    standing: str
    about: str
    voice: str
    said_by: str
    says: str
    since: datetime
    counts: bool


@dataclass(frozen=True, kw_only=True)
class _Claim:
    """A voice that has somebody in or out. `lasting` is what goes on until it is taken back; a comeback only speaks against what was said before it."""

    voice: Voice
    said_by: str
    says: str
    since: datetime
    inside: bool
    lasting: bool


def contradictions(session: Session, organization_id: str, *, at: datetime) -> Iterator[Opinion]:
    """Every opinion that another denies, person by person. Only reads, a few hundred people at a time; what is said for later is not told."""
    names = {one: name for one, name in session.execute(select(Source.id, Source.name).where(Source.organization_id == organization_id))}
    candidates = iter(session.execute(_candidates(organization_id), execution_options={"yield_per": AT_A_TIME}).scalars())
    while ids := list(islice(candidates, AT_A_TIME)):
        theirs = select(Record).where(Record.organization_id == organization_id, Record.person_id.in_(ids))
        records = _by_person(session.scalars(theirs.order_by(Record.created_at, Record.id)))
        said = _by_person(session.scalars(_statements(organization_id, ids, at=at)))
        managers = _managers(session, organization_id, [one for mine in records.values() for one in mine])
        for person in session.scalars(select(Person).where(Person.organization_id == organization_id, Person.id.in_(ids)).order_by(Person.id)):
            mine = records.get(person.id, [])
            yield from _of_access(person, mine, said.get(person.id, []), names, at=at)
            yield from _of_attributes(person, [one for one in mine if is_heard(one)], names, managers)
        session.expunge_all()


def _candidates(organization_id: str) -> Any:
    several = (
        select(Record.person_id)
        .where(Record.organization_id == organization_id, Record.ended_at.is_(None) | Record.held)
        .group_by(Record.person_id)
        .having(func.count(Record.source_id.distinct()) > 1)
    )
    spoken_of = select(Statement.person_id).where(
        Statement.organization_id == organization_id, Statement.withdrawn_at.is_(None), Statement.kind != StatementKind.STARTS
    )
    found = several.union(spoken_of).subquery()
    return select(found.c.person_id).order_by(found.c.person_id)


def _statements(organization_id: str, ids: Sequence[str], *, at: datetime) -> Any:
    return (
        select(Statement)
        .where(
            Statement.organization_id == organization_id, Statement.person_id.in_(ids), Statement.withdrawn_at.is_(None),
            Statement.held.is_(False), Statement.kind != StatementKind.STARTS, Statement.effective_at <= at,
        )
        .order_by(Statement.said_at, Statement.id)
    )  # fmt: skip


def _by_person(rows: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for one in rows:
        found.setdefault(one.person_id, []).append(one)
    return found


# In or out


def _of_access(
    person: Person, records: Sequence[Record], statements: Sequence[Statement], names: Mapping[str, str], *, at: datetime
) -> Iterator[Opinion]:
    claims = [*_of_directories(records, names, at=at), *_of_voices(statements, at=at)]
    outs = [claim for claim in claims if not claim.inside]
    denied = [claim for claim in claims if claim.inside and any(claim.lasting or claim.since > out.since for out in outs)]
    if not outs or not denied:
        return
    here = person.standing == Standing.ACTIVE
    for claim in [*outs, *denied]:
        counts = claim.inside if here else not claim.inside and person.standing_reason.endswith(_named(claim.voice))
        yield Opinion(
            person_id=person.id, user_name=person.user_name, standing=person.standing, about=ACCESS, voice=claim.voice.value, said_by=claim.said_by,
            says=claim.says, since=claim.since, counts=counts,
        )  # fmt: skip


def _named(voice: Voice) -> str:
    """How `standing.decide` ends a reason that is this voice's; a bar is an operator's."""
    return f" {voice}"


def _of_directories(records: Sequence[Record], names: Mapping[str, str], *, at: datetime) -> list[_Claim]:
    """What each directory that names them says. One that has deleted them says so only where no other names them: else they moved.

    Where the brake holds the deletion it is not said yet, and they are on.
    """
    standing = [one for one in records if is_heard(one)]
    if not standing:
        last = max(records, key=lambda one: one.ended_at or one.active_said_at, default=None)
        if last is None or last.ended_at is None:
            return []
        return [_directory(last, names, "deleted", since=last.ended_at, inside=False)]
    claims = []
    for source_id in dict.fromkeys(one.source_id for one in standing):
        mine = [one for one in standing if one.source_id == source_id]
        on = [one for one in mine if (one.active or one.held) and in_force(starts_at=one.starts_at, ends_at=one.ends_at, at=at)]
        coming = [one for one in mine if one.active and one.starts_at is not None and one.starts_at > at]
        if on:
            claims.append(_directory(on[0], names, "on", since=on[0].active_said_at, inside=True))
        elif not coming:
            last = max(mine, key=lambda one: one.active_said_at)
            over = last.active and last.ends_at is not None
            since = last.ends_at if over and last.ends_at is not None else last.active_said_at
            claims.append(_directory(last, names, "over" if over else "off", since=since, inside=False))
    return claims


def _directory(record: Record, names: Mapping[str, str], says: str, *, since: datetime, inside: bool) -> _Claim:
    return _Claim(
        voice=Voice.DIRECTORY, said_by=names.get(record.source_id, record.source_id), says=says, since=since, inside=inside, lasting=inside
    )


def _of_voices(statements: Sequence[Statement], *, at: datetime) -> list[_Claim]:
    """What HR, operators, sponsors and signals say, each for itself, by the last that it said."""
    claims = []
    for voice in Voice:
        mine = [one for one in statements if one.voice == voice]
        if not mine:
            continue
        inside = decide([], [as_said(one) for one in mine], now=at).standing not in OUTSIDE
        last = next((one for one in reversed(mine) if (one.kind in COMEBACKS) is inside), mine[-1])
        says = last.kind if (last.kind in COMEBACKS) is inside else "another engagement goes on"
        claims.append(_Claim(voice=voice, said_by=last.said_by, says=says, since=last.said_at, inside=inside, lasting=False))
    return claims


# Attributes


def _of_attributes(person: Person, records: Sequence[Record], names: Mapping[str, str], managers: Mapping[str, tuple[str, str]]) -> Iterator[Opinion]:
    """Where two sources name different values. Who leaves an attribute out says nothing of it."""
    first = {one.source_id: one for one in reversed(records)}
    if len(first) < 2:
        return
    holds = _holding(person)
    said = [(one, _said(one, managers)) for one in records if first[one.source_id] is one]
    for about in ("displayName", "email", "manager", "title", *TEXTS):
        values = [(one, mine[about]) for one, mine in said if about in mine]
        keys = [frozenset(key for key, _ in value) for _, value in values]
        if not any(one.isdisjoint(other) for number, one in enumerate(keys) for other in keys[number + 1 :]):
            continue
        for one, value in values:
            yield Opinion(
                person_id=person.id, user_name=person.user_name, standing=person.standing, about=about, voice=Voice.DIRECTORY.value,
                said_by=names.get(one.source_id, one.source_id), says=", ".join(shown for _, shown in value), since=one.modified_at,
                counts=holds.get(about) in {key for key, _ in value},
            )  # fmt: skip


def _said(record: Record, managers: Mapping[str, tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
    """What a record says, by attribute: comparison keys, each with the text. Several addresses are one saying."""
    texts: dict[str, str | None] = {"displayName": record.display_name, "title": text_of(record.document.get("title"))}
    columns = attributes_in(record.document)
    texts |= {about: columns[column] for about, column in TEXTS.items()}
    found = {about: [(name_key(text), text)] for about, text in texts.items() if text is not None}
    emails = emails_of(record.document)
    if emails:
        found["email"] = [(name_key(one), one) for one in emails]
    manager = managers.get(manager_record(record.document) or "")
    if manager is not None:
        found["manager"] = [manager]
    return found


def _holding(person: Person) -> dict[str, str | None]:
    """What holds here, as comparison keys."""
    texts = {
        "displayName": person.display_name, "email": person.email, "title": text_of(person.document.get("title")), "userType": person.user_type,
        "department": person.department, "division": person.division, "employeeNumber": person.employee_number,
    }  # fmt: skip
    return {about: None if text is None else name_key(text) for about, text in texts.items()} | {"manager": person.manager_id}


def _managers(session: Session, organization_id: str, records: Sequence[Record]) -> dict[str, tuple[str, str]]:
    """Id and userName of the people whom records name as managers, by the id that they are named by."""
    named = sorted({one for record in records if (one := manager_record(record.document)) is not None})
    rows = session.execute(
        select(Record.id, Person.id, Person.user_name)
        .join(Person, (Person.organization_id == Record.organization_id) & (Person.id == Record.person_id))
        .where(Record.organization_id == organization_id, Record.id.in_(named))
    )
    return {record_id: (person_id, user_name) for record_id, person_id, user_name in rows}
