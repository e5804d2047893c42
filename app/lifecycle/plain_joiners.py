"""Many plain joins at once: a source names people of whom nothing has to be decided. A handful of statements for all of them.

`records.add_record` says what a join is; this writes the same rows (a test compares them), and what was pulled beside them.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Integer, cast, select
from sqlalchemy.orm import Session

from app.actors import Actor
from app.clock import microseconds
from app.database import new_id
from app.directory.names import name_key
from app.directory.settings import matching_keys, value_of
from app.directory.tables import Person, Record, RecordEmail, Source
from app.journal.tables import Lane, Subject, Work, WorkState
from app.journal.work import PRIORITY
from app.lifecycle import joins
from app.lifecycle.drafts import RecordDraft, addresses_of, columns_of, number_of
from app.lifecycle.many_entries import write_entries
from app.lifecycle.people import attributes_in, emails_of, manager_record
from app.lifecycle.plain_sql import new_work, parts_of_each, text, wanted
from app.lifecycle.pulled_entries import EntryKind
from app.lifecycle.pulled_tables import PulledEntry
from app.lifecycle.standing import RecordSaid, decide
from app.many_rows import write_rows
from app.statements import each_of, param

AT_A_TIME: Final = 500
_TEXT: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_NUL: Final = "\\u0000"


@dataclass(frozen=True, kw_only=True)
class Joiner:
    """Somebody whom a pulled source names for the first time. `key` is what it calls the entry for ever, `digest` what was taken over.

    A manager who is known is named by record id in the draft's document; `manager_key` is one who is not known yet.
    """

    draft: RecordDraft
    key: str
    digest: bytes
    manager_key: str | None = None

    @cached_property
    def written(self) -> str:
        """The document as it is stored. Raises ValueError or TypeError for what is no JSON."""
        return _TEXT.encode(self.draft.document)


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Who joined: their record and their person."""

    key: str
    record_id: str
    person_id: str


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """Joiners of whom nothing has to be decided, and the others, who go one by one; both in their order."""

    plain: Sequence[Joiner]
    others: Sequence[Joiner]


# Who is plain


@dataclass(frozen=True, kw_only=True)
class _Trait:
    """Something by which a joiner may be known already, or be like another: what is said, and where it would stand."""

    of: Callable[[Joiner], Iterable[str | None]]
    column: Any
    where: tuple[ColumnElement[bool], ...]


def sort_out(session: Session, organization_id: str, source_id: str, joiners: Iterable[Joiner]) -> Sorted:
    """Who of these is plain: on, without dates, known by nothing that they say, and like nobody else among them. Only reads.

    Of two who say the same the first may be plain, and the second is not. Nor is who cannot be stored at all.
    """
    asked = list(joiners)
    traits = _traits(session, organization_id, source_id)
    # What cannot be stored cannot be asked for either.
    said = [
        [{value for value in trait.of(joiner) if value is not None} for trait in traits] if _can_be_stored(joiner) else None for joiner in asked
    ]
    known = [
        _known(session, trait, sorted({value for of_joiner in said if of_joiner is not None for value in of_joiner[number]}))
        for number, trait in enumerate(traits)
    ]
    plain: list[Joiner] = []
    others: list[Joiner] = []
    for joiner, of_joiner in zip(asked, said, strict=True):
        if of_joiner is None:
            others.append(joiner)
            continue
        fits = _is_simply_on(joiner.draft) and not any(values & there for values, there in zip(of_joiner, known, strict=True))
        (plain if fits else others).append(joiner)
        for values, there in zip(of_joiner, known, strict=True):
            there.update(values)
    return Sorted(plain=plain, others=others)


def _traits(session: Session, organization_id: str, source_id: str) -> list[_Trait]:
    def numbers(joiner: Joiner) -> Iterable[str | None]:
        return [number_of(joiner.draft)]

    def names(joiner: Joiner) -> Iterable[str | None]:
        return [name_key(joiner.draft.user_name)]

    everywhere = (Record.organization_id == organization_id,)
    here = (*everywhere, _stands_in(source_id))
    entries = (PulledEntry.organization_id == organization_id, PulledEntry.source_id == source_id)
    addresses = (RecordEmail.organization_id == organization_id,)
    matching = {
        "employeeNumber": [_Trait(of=numbers, column=Record.employee_number, where=everywhere)],
        "email": [_Trait(of=lambda joiner: addresses_of(joiner.draft), column=RecordEmail.address_key, where=addresses)],
        # Names of those who are there are in an index by directory, and those of ended records in one of their own.
        "userName": [
            _Trait(of=names, column=Record.user_name_key, where=(*everywhere, where))
            for where in (*(_stands_in(id) for id in _sources(session, organization_id)), Record.ended_at.is_not(None))
        ],
    }
    return [
        *(
            _Trait(of=lambda joiner: [joiner.key], column=PulledEntry.key, where=(*entries, PulledEntry.kind == kind))
            for kind in (EntryKind.PERSON, EntryKind.GONE_PERSON)
        ),
        _Trait(of=names, column=Record.user_name_key, where=here),
        _Trait(of=lambda joiner: [joiner.draft.external_id], column=Record.external_id, where=here),
        *(trait for chosen in matching_keys(value_of(session, organization_id, "matching")) for trait in matching[chosen]),
    ]


def _stands_in(source_id: str) -> ColumnElement[bool]:
    return (Record.source_id == source_id) & Record.ended_at.is_(None)


def _sources(session: Session, organization_id: str) -> Sequence[str]:
    return session.scalars(select(Source.id).where(Source.organization_id == organization_id).order_by(Source.id)).all()


def _known(session: Session, trait: _Trait, values: Sequence[str]) -> set[str]:
    asked = select(each_of("values", session.get_bind().dialect.name).label("value")).subquery("asked")
    # A question for each, never a join, and one that only the index of this column answers in order: of a directory that is
    # new, PostgreSQL does not know yet how large it has become, and would else read all of it each time.
    equal = (trait.column >= asked.c.value) & (trait.column <= asked.c.value)
    there = select(trait.column).where(*trait.where, equal).order_by(trait.column).limit(1).scalar_subquery()
    found: set[str] = set()
    for start in range(0, len(values), AT_A_TIME):
        found.update(session.scalars(select(there).select_from(asked), {"values": json.dumps(values[start : start + AT_A_TIME])}))
    return found - {None}


def _is_simply_on(draft: RecordDraft) -> bool:
    return draft.active is not False and draft.starts_at is None and draft.ends_at is None


def _can_be_stored(joiner: Joiner) -> bool:
    """Whether both databases take every text of it: half a sign is none, and PostgreSQL knows no NUL."""
    names = f"{joiner.draft.user_name}{joiner.draft.external_id}{joiner.key}{joiner.manager_key}"
    try:
        (joiner.written + names).encode()
    except (TypeError, ValueError):
        return False
    return _NUL not in joiner.written and "\0" not in names


# Joining


def join_many(
    session: Session, organization_id: str, source: Source, joiners: Sequence[Joiner], *, actor: Actor, at: datetime, because: str
) -> list[Joined]:
    """Let all of these join, whom `sort_out` called plain in this transaction. Returns them in their order.

    Raises what the database raises where somebody took a name in between: then nobody has joined.
    """
    session.flush()
    joined: list[Joined] = []
    for start in range(0, len(joiners), AT_A_TIME):
        joined += _join(session, organization_id, source, joiners[start : start + AT_A_TIME], actor=actor, at=at, because=because)
    return joined


def _join(
    session: Session, organization_id: str, source: Source, joiners: Sequence[Joiner], *, actor: Actor, at: datetime, because: str
) -> list[Joined]:
    joined = [Joined(key=joiner.key, record_id=new_id(), person_id=new_id()) for joiner in joiners]
    after = {
        one.record_id: _TEXT.encode({"userName": joiner.draft.user_name, "externalId": joiner.draft.external_id, "active": True})
        for one, joiner in zip(joined, joiners, strict=True)
    }
    numbers = write_entries(session, organization_id, after, at=at, actor=actor, verb="joined", because=because, subject_kind="record")
    managers = _people_of(session, organization_id, {named for joiner in joiners if (named := manager_record(joiner.draft.document)) is not None})
    records: list[Mapping[str, Any]] = []
    people: list[Mapping[str, Any]] = []
    addresses: list[Mapping[str, Any]] = []
    pulled: list[Mapping[str, Any]] = []
    wishes: list[Mapping[str, Any]] = []
    reports: Counter[str] = Counter()
    last: dict[str, int] = {}
    decided = decide([RecordSaid(on=True, said_at=at, means=None, ended=False)], [], now=at)
    instant = microseconds(at)
    for one, joiner in zip(joined, joiners, strict=True):
        document, entry = joiner.draft.document, numbers[one.record_id]
        columns = columns_of(joiner.draft)
        manager_id = managers.get(manager_record(document) or "")
        stamp = {"organization_id": organization_id, "version": 1, "created_at": instant, "modified_at": instant, "journal_id": entry}
        said = {
            **stamp, "user_name": columns["user_name"], "user_name_key": columns["user_name_key"], "employee_number": columns["employee_number"],
            "document": joiner.written,
        }  # fmt: skip
        records.append(
            {
                **said, "id": one.record_id, "source_id": source.id, "person_id": one.person_id, "external_id": columns["external_id"],
                "display_name": columns["display_name"], "active": True, "active_said_at": instant, "held": False,
            }
        )  # fmt: skip
        people.append(
            {
                **said, **attributes_in(document), "id": one.person_id, "standing": decided.standing.value, "standing_reason": decided.reason,
                "access_epoch": 1, "display_name": columns["display_name"] or columns["user_name"], "manager_id": manager_id,
            }
        )  # fmt: skip
        addresses += (
            {"organization_id": organization_id, "record_id": one.record_id, "address_key": key}
            for key in sorted({name_key(address) for address in emails_of(document)})
        )
        pulled.append(
            {
                "organization_id": organization_id, "source_id": source.id, "kind": EntryKind.PERSON.value, "key": joiner.key, "subject_id": one.record_id,
                "digest": joiner.digest, "manager_key": joiner.manager_key,
            }
        )  # fmt: skip
        wishes.append(_wish(organization_id, one.person_id, because=entry, at=instant))
        if manager_id is not None:
            reports[manager_id] += 1
            last[manager_id] = entry
    for table, rows in ((Record, records), (RecordEmail, addresses), (Person, people), (PulledEntry, pulled), (Work, wishes)):
        write_rows(session, table, rows)
    _want_managers(session, organization_id, reports, last, at=at)
    joins.announce_all(session, organization_id, [one["employee_number"] for one in records if one["employee_number"] is not None], at=at)
    return joined


def _people_of(session: Session, organization_id: str, record_ids: set[str]) -> dict[str, str]:
    """The people of these records, as far as there are such; held, as for one who names a manager (`people.settle`)."""
    if not record_ids:
        return {}
    theirs = select(Record.id, Record.person_id).where(Record.organization_id == organization_id, Record.id.in_(sorted(record_ids)))
    rows = session.execute(theirs.order_by(Record.id).with_for_update(read=True))
    return {record_id: person_id for record_id, person_id in rows}


def _wish(organization_id: str, person_id: str, *, because: int, at: int) -> dict[str, Any]:
    return {
        "organization_id": organization_id, "workspace_id": "", "subject": Subject.PERSON.value, "subject_id": person_id, "lane": Lane.SYNC.value,
        "priority": PRIORITY[Subject.PERSON], "due_at": at, "state": WorkState.WAITING.value, "generation": 1, "attempts": 0,
        "because": because,
    }  # fmt: skip


def _want_managers(session: Session, organization_id: str, reports: Mapping[str, int], last: Mapping[str, int], *, at: datetime) -> None:
    """Whoever gains reports may have a team now, and is looked at; as often as if each had joined alone."""
    if not reports:
        return
    rows = [(person_id, last[person_id], times) for person_id, times in sorted(reports.items())]
    given = {"organization": organization_id, "at": microseconds(at), "rows": json.dumps(rows)}
    session.connection().execute(_wanted_managers(session.get_bind().dialect.name), given)


@cache
def _wanted_managers(dialect: str) -> Any:
    person_id, entry, times = parts_of_each("rows", dialect, 3)
    work = new_work(
        param("organization"), cast(entry, BigInteger()), subject=Subject.PERSON, subject_id=person_id, lane=Lane.SYNC, workspace_id=text("")
    )
    return wanted({**work, "generation": cast(times, Integer())}, dialect)
