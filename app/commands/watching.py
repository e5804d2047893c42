"""The verb of watching: what waits, what is stuck, and how fast people were shut out."""

from datetime import timedelta

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.clients import expiry_of, ways_in
from app.access.closed import why_closed
from app.clock import iso, now
from app.command_lines import to_type
from app.commands.acting import ANYONE, Acting, verb
from app.commands.alarms import fields_of as alarm_fields
from app.commands.output import Answer, Table
from app.database import reading
from app.directory.settings import unusable_settings
from app.intake.tables import HREvent
from app.lifecycle.brake import digest_of, waiting
from app.lifecycle.figures import Figures, take
from app.lifecycle.spreads import WINDOW, Spread
from app.revocation.alarms import open_alarms
from app.revocation.sweep_tables import Sweep
from app.revocation.sweeps import sweeps_of
from app.schema import takes_none

_root = click.Group()


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(status)


@verb(_root, "status", may=ANYONE)
@click.option("--days", type=click.IntRange(1, 3650), default=WINDOW.days, show_default=True, help="Over how many days times are taken.")
def status(acting: Acting, days: int) -> Answer:
    """What waits, what is stuck and needs somebody, and how long it took to shut people out."""
    at = now()
    with reading() as session:
        overdue_after = timedelta(seconds=acting.settings.overdue_after)
        figures = take(session, acting.organization_id, at=at, overdue_after=overdue_after, window=timedelta(days=days))
        raised = [alarm_fields(one) for one in open_alarms(session, acting.organization_id)]
        swept = [sweep_fields(one, figures) for one in sweeps_of(session, acting.organization_id)]
        closed = why_closed(session)
        parked_calls = session.scalars(
            select(HREvent).where(HREvent.organization_id == acting.organization_id, HREvent.state == "parked").order_by(HREvent.received_at)
        ).all()
        expiring = filter(None, (expiry_of(one, at=at) for one in ways_in(session, acting.organization_id)))
        waiting_here = [*_held(session, acting), *(_of_call(call) for call in parked_calls)]
        alarms = [*_database(takes_none(session)), *_closed(closed), *_alarms(figures), *_settings(session, acting), *waiting_here, *expiring]
    parked = figures.parked + len(parked_calls)
    workspaces = [
        {
            "id": one.id, "name": one.name, "kind": one.kind, "state": "halted" if one.halted else "running", "halted_reason": one.halted_reason,
            "waiting": one.waiting, "parked": one.parked, "halted": int(one.halted), "overdue": one.overdue,
            "time_to_shut_ms": spread_fields(one.to_shut), "time_to_gone_ms": spread_fields(one.to_gone),
        }
        for one in figures.workspaces
    ]  # fmt: skip
    targets = [
        {
            "id": one.id, "name": one.name, "kind": one.kind, "overdue": one.overdue, "time_to_shut_ms": spread_fields(one.times.to_shut),
            "time_to_gone_ms": spread_fields(one.times.to_gone),
        }
        for one in figures.targets
    ]  # fmt: skip
    counts = {
        "waiting": figures.waiting, "scheduled": figures.scheduled, "parked": parked, "halted": figures.halted, "held": figures.held,
        "overdue": figures.overdue,
    }  # fmt: skip
    shown = ("waiting", "parked", "halted", "overdue")
    return Answer(
        schema="status",
        fields={
            "organization": acting.organization, "at": iso(at), **counts, "parked_hr_calls": len(parked_calls),
            "time_to_shut_ms": spread_fields(figures.to_shut), "time_to_gone_ms": spread_fields(figures.to_gone),
            "window_days": days, "workspaces": workspaces, "targets": targets, "alarms": alarms, "open_alarms": raised, "sweeps": swept,
            "closed": closed,
        },
        tables=[
            Table(columns=("figure", "value"), rows=[
                *counts.items(), ("to shut, ms (p50, p99, max)", _brief(figures.to_shut)), ("to gone, ms (p50, p99, max)", _brief(figures.to_gone))
            ]),
            *_times(figures),
            *([Table(columns=("workspace", "state", *shown), rows=[[one["name"], one["state"], *(one[name] for name in shown)] for one in workspaces])]
              if workspaces else []),
            *([Table(columns=("alarm",), rows=[[alarm] for alarm in alarms])] if alarms else []),
        ],
    )  # fmt: skip


def spread_fields(spread: Spread) -> dict[str, object]:
    """Times as `--json` shows them."""
    return {"p50": spread.p50, "p99": spread.p99, "max": spread.max, "count": spread.count}


def _brief(spread: Spread) -> str:
    return "-" if spread.p50 is None else f"{spread.p50}, {spread.p99}, {spread.max}"


def _times(figures: Figures) -> list[Table]:
    """How fast each target was, where anybody has left at all."""
    rows = [
        (one.name, one.times.to_shut.count, _brief(one.times.to_shut), _brief(one.times.to_gone)) for one in figures.targets if one.times.to_shut.count
    ]
    return [Table(columns=("target", "departures", "to shut, ms (p50, p99, max)", "to gone, ms (p50, p99, max)"), rows=rows)] if rows else []


def _database(why: str | None) -> list[str]:
    return [] if why is None else [f"the database answers, and nothing can be changed: {why}"]


def _closed(why: str | None) -> list[str]:
    return [] if why is None else [f"closed, nobody is given anything: {why}; see: doorlist doctor"]


def sweep_fields(one: Sweep, figures: Figures) -> dict[str, object]:
    """How far the sweep has come in one place."""
    name = next((target.name for target in figures.targets if target.id == one.place), one.place)
    return {
        "place": name, "looked": one.looked, "alive": one.alive, "round_began": iso(one.round_began_at), "round_ended": iso(one.round_ended_at),
        "last_error": one.last_error,
    }  # fmt: skip


def _alarms(figures: Figures) -> list[str]:
    said = [f"{one.name} is halted: {one.halted_reason}; mend it, then: {to_type('workspace resume', one.name)}" for one in figures.workspaces if one.halted]
    said += [
        f"{one.overdue} departures are overdue in {one.name}" + (f": {one.last_error}" if one.last_error else "")
        for one in figures.workspaces
        if one.overdue
    ]
    if figures.undecided:
        said.append(f"{figures.undecided} departures have come due and nobody acted on them: is a worker running?")
    return said


def _settings(session: Session, acting: Acting) -> list[str]:
    unusable = unusable_settings(session, acting.organization_id)
    return [f"a setting cannot be read: {why}; mend it: doorlist settings set {key} VALUE" for key, why in unusable.items()]


def _held(session: Session, acting: Acting) -> list[str]:
    return [f"held: {held.reason}; see: doorlist held show {digest_of(held, lines)}" for held, lines in waiting(session, acting.organization_id)]


def _of_call(call: HREvent) -> str:
    return f"an HR call of {iso(call.received_at)} is parked: {call.problem}; see: doorlist parked list"
