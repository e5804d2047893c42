"""GET /metrics: the figures of every organisation, in the text form that Prometheus reads. Counts and names only, no person."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from flask import Blueprint, Response, current_app
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, literal, select, union_all
from sqlalchemy.orm import Session

from app.access.closed import is_closed
from app.clock import now
from app.database import reading
from app.directory.tables import Person, Standing, not_active
from app.intake.tables import HREvent
from app.journal.tables import Organization
from app.lifecycle.figures import Figures, take
from app.lifecycle.spreads import Spread
from app.revocation.alarm_tables import Alarm, AlarmPost
from app.revocation.sweeps import all_sweeps
from app.scim.seen import request_log

routes = Blueprint("metrics", __name__)


@routes.get("/metrics")
def metrics() -> Response:
    """Taken anew from the database at each call, so that every process of one installation says the same."""
    overdue_after = timedelta(seconds=current_app.config["DOORLIST"].overdue_after)
    registry = CollectorRegistry()
    with reading() as session:
        registry.register(_Snapshot([*_families(session, overdue_after), _not_kept()]))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _not_kept() -> Metric:
    """The one figure that each process has for itself."""
    log = request_log(current_app)
    return CounterMetricFamily(
        "doorlist_requests_not_kept", "SCIM requests that this process could not write down.", value=log.dropped if log is not None else 0
    )


class _Snapshot(Collector):
    """Figures that were taken already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _families(session: Session, overdue_after: timedelta) -> Iterator[Metric]:
    at = now()
    taken = [
        (one, take(session, one.id, at=at, overdue_after=overdue_after)) for one in session.scalars(select(Organization).order_by(Organization.name))
    ]
    yield _people(session, {one.id: one.name for one, _ in taken})
    calls = GaugeMetricFamily("doorlist_parked_hr_calls", "HR calls whose person is not known.", labels=["organization"])
    held = GaugeMetricFamily("doorlist_held_people", "People whose change waits behind a brake.", labels=["organization"])
    undecided = GaugeMetricFamily("doorlist_undecided_departures", "Departures that came due and nobody acted on.", labels=["organization"])
    for one, figures in taken:
        held.add_metric([one.name], figures.held)
        undecided.add_metric([one.name], figures.undecided)
        parked = select(func.count()).select_from(HREvent).where(HREvent.organization_id == one.id, HREvent.state == "parked")
        calls.add_metric([one.name], session.scalar(parked) or 0)
    yield from (calls, held, undecided)
    yield from _alarms(session, {one.id: one.name for one, _ in taken}, at)
    closed = GaugeMetricFamily("doorlist_closed", "1 while nobody is given anything, because the database may be an older state.")
    closed.add_metric([], int(is_closed(session)))
    yield closed
    yield from _of_workspaces([(one.name, figures) for one, figures in taken])


def _people(session: Session, names: dict[str, str]) -> Metric:
    family = GaugeMetricFamily("doorlist_people", "People by their standing.", labels=["organization", "standing"])
    # Everybody is counted in an index, and so are those who are not active: nobody's row is read.
    everybody = select(Person.organization_id, literal(Standing.ACTIVE.value), func.count()).group_by(Person.organization_id)
    others = select(Person.organization_id, Person.standing, func.count()).where(not_active()).group_by(Person.organization_id, Person.standing)
    numbers: Counter[tuple[str, str]] = Counter()
    for organization_id, standing, count in session.execute(union_all(everybody, others)):
        numbers[organization_id, standing] += count
        if standing != Standing.ACTIVE:
            numbers[organization_id, Standing.ACTIVE.value] -= count
    for (organization_id, standing), number in sorted(numbers.items()):
        if number and organization_id in names:
            family.add_metric([names[organization_id], standing], number)
    return family


def _alarms(session: Session, names: dict[str, str], at: datetime) -> Iterator[Metric]:
    family = GaugeMetricFamily("doorlist_alarms_open", "Alarms that nobody has closed.", labels=["organization", "kind", "severity", "acknowledged"])
    acknowledged = Alarm.acknowledged_at.is_not(None)
    for organization_id, kind, severity, seen, count in session.execute(
        select(Alarm.organization_id, Alarm.kind, Alarm.severity, acknowledged, func.count())
        .where(Alarm.closed_at.is_(None))
        .group_by(Alarm.organization_id, Alarm.kind, Alarm.severity, acknowledged)
    ):
        family.add_metric([names[organization_id], kind, severity, "yes" if seen else "no"], count)
    yield family
    waiting = GaugeMetricFamily("doorlist_alarm_oldest_post_seconds", "For how long the oldest message of an alarm has been due and not taken.")
    oldest = session.scalar(
        select(func.min(Alarm.raised_at)).join(AlarmPost, (AlarmPost.organization_id == Alarm.organization_id) & (AlarmPost.alarm_id == Alarm.id))
        .where(AlarmPost.posted_at.is_(None), AlarmPost.dropped_at.is_(None))
    )  # fmt: skip
    waiting.add_metric([], 0 if oldest is None else (at - oldest).total_seconds())
    yield waiting
    where = ["organization", "place"]
    alive = GaugeMetricFamily("doorlist_sweep_alive", "People who had left and could still get in, found in this round of the sweep.", labels=where)
    age = GaugeMetricFamily("doorlist_sweep_round_age_seconds", "Since the sweep last came to its end.", labels=where)
    for one in all_sweeps(session):
        alive.add_metric([names[one.organization_id], one.place], one.alive)
        if one.round_ended_at is not None:
            age.add_metric([names[one.organization_id], one.place], (at - one.round_ended_at).total_seconds())
    yield from (alive, age)


def _of_workspaces(taken: list[tuple[str, Figures]]) -> Iterator[Metric]:
    where = ["organization", "workspace"]
    waiting = GaugeMetricFamily("doorlist_work_waiting", "Subjects to be looked at now; no workspace: still to be expanded.", labels=where)
    parked = GaugeMetricFamily("doorlist_work_parked", "Subjects that a workspace refused.", labels=where)
    halted = GaugeMetricFamily("doorlist_workspace_halted", "1 while nothing is delivered to the workspace.", labels=where)
    overdue = GaugeMetricFamily("doorlist_overdue_departures", "Departures that are due and not shut yet.", labels=where)
    for name, figures in taken:
        waiting.add_metric([name, ""], figures.waiting - sum(one.waiting for one in figures.workspaces))
        for one in figures.workspaces:
            waiting.add_metric([name, one.name], one.waiting)
            parked.add_metric([name, one.name], one.parked)
            halted.add_metric([name, one.name], one.halted)
            overdue.add_metric([name, one.name], one.overdue)
    yield from (waiting, parked, halted, overdue)
    yield from _times(taken)


def _times(taken: list[tuple[str, Figures]]) -> Iterator[Metric]:
    """By target: a workspace by its name, as ever; Doorlist itself and relying parties by theirs, with what kind they are."""
    where = ["organization", "workspace", "kind"]
    shut = GaugeMetricFamily("doorlist_time_to_shut_seconds", "From received to shut, over the latest departures.", labels=[*where, "quantile"])
    gone = GaugeMetricFamily("doorlist_time_to_gone_seconds", "From received to gone, over the latest departures.", labels=[*where, "quantile"])
    counted = GaugeMetricFamily("doorlist_departures_shut", "Over how many departures these times are taken.", labels=where)
    for name, figures in taken:
        for one in figures.targets:
            labels = [name, one.name, one.kind]
            counted.add_metric(labels, one.times.to_shut.count)
            _add_times(shut, labels, one.times.to_shut)
            _add_times(gone, labels, one.times.to_gone)
    yield from (shut, gone, counted)


def _add_times(family: GaugeMetricFamily, where: list[str], spread: Spread) -> None:
    for quantile, time in (("0.5", spread.p50), ("0.99", spread.p99), ("1", spread.max)):
        if time is not None:
            family.add_metric([*where, quantile], time / 1000)
