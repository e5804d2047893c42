"""Trying a request out once more: the whole door runs, token and all, in one transaction that is rolled back."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

from flask import Flask
from sqlalchemy import Connection, Select, func, select
from sqlalchemy.orm import Session
from werkzeug.test import Client

from app.access import tokens
from app.audit.masking import MASK
from app.clock import now
from app.database import db
from app.directory.attributes import value_at
from app.directory.filters import FilterError, split_asked_path
from app.directory.tables import Group, Membership, Person, Record, Source
from app.journal.tables import Entry
from app.scim.resources import group_said, user_said
from app.scim.seen import REHEARSED
from app.scim.teller import placed

_READS = "doorlist_reads"
_GONE = object()


class CannotRehearse(Exception):
    """What is left of the request does not mean any more what it meant; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """What would be answered now, and what would change: attributes as said, the person's standing, journal entries."""

    status: int
    scim_type: str | None
    error: str | None
    changes: tuple[str, ...]
    standing: str | None
    standing_after: str | None
    journal: tuple[str, ...]


@dataclass(kw_only=True)
class Restored:
    """A masked body made whole as far as can be: which values are the record's own of today, and which were left out."""

    body: Any = None
    replaced: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def rehearse(app: Flask, source: Source, *, method: str, path: str, query: str | None, body: Any) -> Rehearsed:
    """Run the request and roll everything back. Needs the application's context, and opens its doors where they are shut, as the command line has them."""
    app.config.pop("DOORS", _open)()
    kind, resource_id = placed(path)
    with _one_transaction(app) as connection:
        with Session(connection) as session, session.begin():
            # The door is passed as the directory passes it; this token is never committed.
            token = tokens.issue(session, source.organization_id, holder_kind="source", holder_id=source.id, at=now())
            before = _state(session, source, kind, resource_id)
            last = session.scalar(select(func.max(Entry.id))) or 0
        # Flask's own entry, and not what stands before it: that has connections of its own, and what it writes is written.
        answer = Client(partial(Flask.wsgi_app, app)).open(
            f"/scim/v2/{source.id}{quote(path)}", method=method, query_string=query,
            data=None if body is None else json.dumps(body).encode(), content_type=None if body is None else "application/scim+json",
            headers={"Authorization": f"Bearer {token}"}, environ_overrides={REHEARSED: True}, buffered=True,
        )  # fmt: skip
        said = answer.get_json(force=True, silent=True) if answer.status_code >= 400 or answer.status_code == 201 else None
        said = said if isinstance(said, dict) else {}
        with Session(connection) as session, session.begin():
            after = _state(session, source, kind, resource_id or said.get("id"))
            person_id = before.person_id or after.person_id
            entries = session.execute(select(Entry.verb, Entry.subject_kind).where(Entry.id > last).order_by(Entry.id)).all()
            standing_after = _standing(session, source, person_id)
    return Rehearsed(
        status=answer.status_code, scim_type=said.get("scimType"), error=said.get("detail") if answer.status_code >= 400 else None,
        changes=_changes(before, after), standing=before.standing, standing_after=standing_after,
        journal=tuple(f"{kind}: {verb}" for verb, kind in entries),
    )  # fmt: skip


def _open() -> None:
    """They are open already."""


@contextmanager
def _one_transaction(app: Flask) -> Iterator[Connection]:
    """Everything that asks the application for its database meanwhile gets this one connection, in a savepoint of its own."""
    engine, engines, reads = db.engine, _engines(), app.extensions.get(_READS)
    with engine.connect() as connection:
        outer = connection.begin()
        connection.begin_nested()
        engines[None] = app.extensions[_READS] = connection
        try:
            yield connection
        finally:
            engines[None] = engine
            if reads is None:
                del app.extensions[_READS]
            else:
                app.extensions[_READS] = reads
            outer.rollback()


def _engines() -> dict[str | None, Any]:
    engines = db.engines
    assert isinstance(engines, dict)
    return engines


@dataclass(frozen=True, kw_only=True)
class _State:
    said: Mapping[str, Any] | None = None
    members: frozenset[str] = frozenset()
    person_id: str | None = None
    standing: str | None = None


def _state(session: Session, source: Source, kind: str | None, resource_id: str | None) -> _State:
    if kind == "User" and resource_id is not None:
        record = session.get(Record, (source.organization_id, resource_id))
        if record is not None and record.source_id == source.id:
            said = user_said(record) if record.ended_at is None else None
            return _State(said=said, person_id=record.person_id, standing=_standing(session, source, record.person_id))
    if kind == "Group" and resource_id is not None:
        group = session.get(Group, (source.organization_id, resource_id))
        if group is not None and group.source_id == source.id and group.ended_at is None:
            return _State(said=group_said(group), members=frozenset(session.scalars(_members_of(group))))
    return _State()


def _members_of(group: Group) -> Select[str]:
    in_it = Membership.organization_id == group.organization_id, Membership.group_id == group.id, Membership.ended_at.is_(None)
    return select(Membership.record_id).where(*in_it)


def _standing(session: Session, source: Source, person_id: str | None) -> str | None:
    person = session.get(Person, (source.organization_id, person_id)) if person_id is not None else None
    return person.standing if person is not None else None


def _changes(before: _State, after: _State) -> tuple[str, ...]:
    old, new = before.said or {}, after.said or {}
    changed = {name for name in {*old, *new} if old.get(name) != new.get(name) and name != "schemas"}
    return tuple(sorted(changed | ({"members"} if before.members != after.members else set())))


def said_now(session: Session, source: Source, kind: str | None, resource_id: str | None) -> Mapping[str, Any]:
    """What the directory says of a resource at this moment; empty where there is none."""
    return _state(session, source, kind, resource_id).said or {}


def restored(body: Any, said: Mapping[str, Any], *, error: str | None = None) -> Restored:
    """The body with masked values replaced by those of `said`, or left out. Raises CannotRehearse.

    `error` is what the request was refused with: where that was a masked value, trying again without it would tell nothing.
    """
    if not isinstance(body, dict) and is_masked(body):
        raise CannotRehearse("its body is no object, and what it says is masked")
    done = Restored()
    operations = _member(body, "Operations")
    if isinstance(operations, list):
        kept = [made for number, one in enumerate(operations, start=1) if (made := _operation(done, one, said, number)) is not _GONE]
        if operations and not kept:
            raise CannotRehearse("every value that it says is masked, so nothing of it is left to be tried")
        done.body = {key: kept if key.lower() == "operations" else part for key, part in body.items()}
    else:
        done.body = _part(done, body, said, "")
    for name in (*done.replaced, *done.left_out):
        if error is not None and name.lower() in error.lower():
            raise CannotRehearse(f"it was refused over {name}, and that value is masked: {error}")
    return done


def _operation(done: Restored, one: Any, said: Mapping[str, Any], number: int) -> Any:
    if not isinstance(one, dict):
        return one
    path, value = _member(one, "path"), _member(one, "value")
    if isinstance(path, str) and MASK in path:
        raise CannotRehearse(f"operation {number} picks out what it changes by a masked value: {path}")
    if str(_member(one, "op")).lower() == "remove" and MASK in json.dumps(value, ensure_ascii=False):
        raise CannotRehearse(f"operation {number} names what it removes, and that is masked")
    if isinstance(path, str) and path:
        made = _part(done, value, _there(said, path, many=isinstance(value, list)), path)
    elif isinstance(value, dict):
        made = {
            key: part
            for key, old in value.items()
            if (part := _named(done, key, old, _there(said, key, many=isinstance(old, list)), "" if ":" in key and isinstance(old, dict) else key))
            is not _GONE
        }
        made = made if made or not value else _GONE
    else:
        made = value
    return made if made is _GONE else {key: made if key.lower() == "value" else part for key, part in one.items()}


def _there(said: Mapping[str, Any], path: str, *, many: bool) -> Any:
    try:
        found = value_at(said, split_asked_path(path))
    except FilterError:
        return _member(said, path)
    return found if many else found[0] if found else None


def _part(done: Restored, value: Any, there: Any, label: str) -> Any:
    if isinstance(value, str):
        return _text(done, value, there, label) if MASK in value else value
    if isinstance(value, dict):
        parts = {
            key: part
            for key, old in value.items()
            if (part := _named(done, key, old, _member(there, key), _label(label, key, old))) is not _GONE
        }
        # An address without its value says nothing, nor does a name without any of its parts.
        lost = ("value" in value and "value" not in parts) or (value and not parts)
        return _GONE if lost and label else parts
    if isinstance(value, list):
        elements = [_part(done, old, _counterpart(old, index, there), label) for index, old in enumerate(value)]
        kept = [element for element in elements if element is not _GONE]
        return kept if kept or not value else _GONE
    return value


def _named(done: Restored, key: str, value: Any, there: Any, label: str) -> Any:
    """The value under a name; of one that is masked, or was cut, nobody knows what it was said of."""
    if MASK in key:
        _once(done.left_out, key)
        return _GONE
    return _part(done, value, there, label)


def _label(label: str, key: str, value: Any) -> str:
    if ":" in key and isinstance(value, dict):
        return label
    return f"{label}.{key}" if label else key


def _text(done: Restored, value: str, there: Any, label: str) -> Any:
    domain = value.removeprefix(MASK)
    known = isinstance(there, str | int | float) and not isinstance(there, bool)
    if known and str(there).lower().endswith(domain.lower()) and (domain.startswith("@") or "@" not in str(there)):
        _once(done.replaced, label)
        return there
    _once(done.left_out, label)
    return _GONE


def _once(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)


def _counterpart(element: Any, index: int, there: Any) -> Any:
    """The element of the record's own list that a masked one stands for: of the same type, else in the same place."""
    if not isinstance(there, list):
        return there if not isinstance(element, str) else None
    kind = _member(element, "type")
    alike = [one for one in there if kind is not None and _member(one, "type") == kind]
    return alike[0] if alike else there[index] if index < len(there) else None


def _member(said: Any, name: str) -> Any:
    return next((value for key, value in said.items() if key.lower() == name.lower()), None) if isinstance(said, Mapping) else None


def is_masked(value: Any) -> bool:
    """Whether anything in a body or a filter is masked."""
    if isinstance(value, str):
        return MASK in value
    parts: Sequence[Any] = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return any(is_masked(part) for part in parts)
