"""The brake on what is switched off plainly: how many more take effect now, and where the others wait.

`brake.lets_through` and `brake.hold` say what it is; this asks and writes the same (a test compares the rows). The ordinary way
opens a burst, and uses up what was announced.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Delete, Insert, Select, Subquery, delete, func, select

from app.bare.connection import Bare
from app.clock import microseconds
from app.directory.settings import PushBrake
from app.directory.tables import Source
from app.journal.work import insert_for
from app.lifecycle.plain_sql import Said, at, text
from app.lifecycle.tables import Held, HeldLine, HeldState, PushedOff
from app.statements import ALWAYS, param


class LayoffAnnounced(Exception):
    """More than the brake lets through, and departures were announced for this source: that is weighed by the ordinary way."""


async def weigh(
    bare: Bare, brake: PushBrake, by: Mapping[str, Any], *, organization: str, offs: int, moment: datetime
) -> tuple[int, str | None]:
    """How many of so many *offs* of the source `by["source"]` take effect, and the id of its open burst. Raises LayoffAnnounced.

    Where any does, the source's row is held from here on, so that two processes cannot both let the last one through. In the
    middle of a burst none waits there for another.
    """
    given = {**by, "organization": organization, "since": microseconds(moment - brake.within)}
    [state] = await bare.rows(_state(), given)
    if state[0] < brake.most:
        [state] = (await bare.ask((_locked(), given), (_forgotten(), given), (_state(), given)))[-1]
    count, expected, until, burst = state
    room = max(0, brake.most - count)
    if offs > room and expected > 0 and until is not None and until > microseconds(moment):
        raise LayoffAnnounced
    return room, burst


def open_burst() -> Subquery:
    """PostgreSQL: the burst `:burst` while it is open, locked against whoever closes it, and not against others who add to it.

    Whoever is closing it just now, which takes long where many are let through, is not waited for: the ordinary way waits.
    """
    one = select(Held.id.expression).where(Held.organization_id == param("organization"), Held.id == param("burst"), Held.state == text(HeldState.OPEN))
    return one.with_for_update(read=True, skip_locked=True).subquery("burst")


def counted(dialect: str, organization: ColumnElement[Any], said: Said, *, who: ColumnElement[bool] = ALWAYS) -> Insert:
    """That an *off* took effect, which the brake counts."""
    key = {"organization_id": organization, "source_id": param("source"), "subject_id": said("record")}
    return _put(PushedOff, key, {"at": at(said)}, dialect, who=who)


def in_burst(dialect: str, organization: ColumnElement[Any], said: Said) -> Insert:
    """A line of the burst `:burst`, or another version of it."""
    key = {"organization_id": organization, "held_id": param("burst"), "subject_kind": text("record"), "subject_id": said("record")}
    line = {"version": said("line"), "becomes": text("off"), "person_id": said("person"), "state": text(HeldState.OPEN), "created_at": at(said)}
    return _put(HeldLine, key, line, dialect)


def _put(table: Any, key: Mapping[str, Any], values: Mapping[str, Any], dialect: str, *, who: ColumnElement[bool] = ALWAYS) -> Insert:
    put = insert_for(dialect)(table).from_select([*key, *values], select(*key.values(), *values.values()).where(who), include_defaults=False)
    put_again: Insert = put.on_conflict_do_update(index_elements=list(key), set_={name: put.excluded[name] for name in values})
    return put_again


def _since() -> ColumnElement[Any]:
    return param("since", BigInteger())


def _of_source(table: Any) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return table.organization_id == param("organization"), table.source_id == param("source")


@cache
def _state() -> Select[Any]:
    """How many counted within the time, what was announced, and the open burst."""
    lately = select(func.count()).select_from(PushedOff).where(*_of_source(PushedOff), PushedOff.at > _since()).scalar_subquery()
    burst = select(Held.id).where(*_of_source(Held), Held.kind == text("pushes"), Held.state == text(HeldState.OPEN)).limit(1).scalar_subquery()
    return select(lately, Source.expected_departures, Source.expected_until, burst).where(
        Source.organization_id == param("organization"), Source.id == param("source")
    )


@cache
def _locked() -> Select[Any]:
    return select(Source.id).where(Source.organization_id == param("organization"), Source.id == param("source")).with_for_update()


@cache
def _forgotten() -> Delete:
    return delete(PushedOff).where(*_of_source(PushedOff), PushedOff.at <= _since())
