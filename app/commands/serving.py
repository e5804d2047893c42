"""Verbs of running: the web service with a worker in it, and a worker alone."""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask import Flask

from app import logs, schema
from app.access.keys import ensure_keys
from app.access.sealing import seal
from app.clock import now
from app.commands.acting import find_organization, host_verb
from app.commands.ending import until_asked
from app.commands.exits import NotReady
from app.commands.output import Answer, tell
from app.commands.punctual import punctual
from app.database import in_transaction, reading
from app.delivery.worker import Worker
from app.delivery.workspaces import Targets
from app.journal.tables import Lane
from app.settings import Settings

log = logging.getLogger(__name__)

DEFAULT_PORT = 8484
WEB_THREADS_SQLITE = 4
WEB_THREADS_POSTGRESQL = 8
"""SQLite has one writer at a time; on PostgreSQL a thread mostly waits for the other side."""
TICK_SECONDS = 60
SEQUENCE_SECONDS = 1
HAND_ON_SECONDS = 2
NO_LANES = "none"


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(serve)
    doorlist.add_command(worker)


_root = click.Group()


def _lanes(context: click.Context, parameter: click.Parameter, value: str) -> list[Lane]:
    if value == NO_LANES and context.command.name == "serve":
        return []
    try:
        return [Lane(part.strip()) for part in value.split(",")]
    except ValueError as error:
        none = f", or {NO_LANES}" if context.command.name == "serve" else ""
        raise click.BadParameter(f"lanes are {', '.join(Lane)}{none}") from error


@host_verb(_root, "serve")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True)
@click.option("--lanes", callback=_lanes, default=",".join(Lane), show_default=True, help="Which lanes to deliver, parted by commas, or none.")
def serve(app: Flask, organization: str | None, host: str, port: int, lanes: list[Lane]) -> Answer:
    """Serve the web and deliver, for every organisation: answers come from processes of their own, deliveries from this one.

    Links (SCIM base URLs, HR addresses) are made from DOORLIST_PUBLIC_URL, whatever the port here. With `--lanes none`
    nothing is delivered here, for those who run `doorlist worker` elsewhere.
    """
    from app.commands.web import serve_web

    settings = _ready(app, organization)
    threads = settings.web_threads or (WEB_THREADS_SQLITE if settings.database_url.startswith("sqlite") else WEB_THREADS_POSTGRESQL)
    with until_asked() as asked, _delivering(app, _threads(settings, lanes)):
        # An address of IPv6 stands in brackets in a URL (RFC 3986 §3.2.2).
        words = f"doorlist: serving on http://{f'[{host}]' if ':' in host else host}:{port}, known as {settings.public_url}"
        serve_web(host, port, processes=settings.web_processes, threads=threads, asked=asked, ready=lambda: tell(words))
    return Answer(schema="serve", fields={"ended": "asked to"}, exit=asked.exit)


@host_verb(_root, "worker")
@click.option("--lanes", callback=_lanes, default=",".join(Lane), show_default=True, help="Which lanes to serve, parted by commas.")
def worker(app: Flask, organization: str | None, lanes: list[Lane]) -> Answer:
    """Deliver, without the web, for every organisation. Several may run at a time."""
    settings = _ready(app, organization)
    with until_asked() as asked, _delivering(app, _threads(settings, lanes)):
        tell(f"doorlist: delivering {', '.join(lanes)}")
        while not asked.wait():
            pass
    return Answer(schema="worker", fields={"ended": "asked to"}, exit=asked.exit)


def _threads(settings: Settings, lanes: list[Lane]) -> dict[Lane, int]:
    counts = {Lane.DEPARTURES: settings.departure_workers, Lane.SYNC: settings.sync_workers}
    return {lane: counts[lane] for lane in lanes}


def _ready(app: Flask, organization: str | None) -> Settings:
    """Everything that would fail later is found now. Raises NotReady, KeyMissing, Misconfigured."""
    from app.commands import evidence

    settings: Settings = app.config["DOORLIST"]
    if (unfit := schema.why_unfit()) is not None:
        raise NotReady(unfit)
    if organization is not None:
        with reading() as session:
            find_organization(session, organization)
    # Without the key no credential opens, so nobody could be shut out anywhere.
    seal(settings, "probe")
    # Whoever asks for our keys before anything was signed is to find them.
    in_transaction(lambda session: ensure_keys(session, settings, at=now()))
    evidence.receivers(settings)
    evidence.places_of(settings)
    logs.configure()
    return settings


@contextmanager
def _delivering(app: Flask, threads: dict[Lane, int]) -> Iterator[None]:
    """A worker and the clock's tick beside what is inside; on the way out what is in hand is finished."""
    from apscheduler.schedulers.background import BackgroundScheduler

    from app.commands import evidence, housekeeping, turns

    delivery = Worker(app, threads=threads)
    # More threads than there are jobs: none that waits for somebody else may keep the audit tree, or anything, from its turn.
    scheduler = BackgroundScheduler(timezone="UTC", executors={"default": {"type": "threadpool", "max_workers": 20}})
    scheduler.add_job(housekeeping.tick, "interval", args=[app], seconds=TICK_SECONDS, coalesce=True, max_instances=1)
    scheduler.add_job(housekeeping.beat, "interval", args=[app], seconds=housekeeping.BEAT, coalesce=True, max_instances=1)
    scheduler.add_job(housekeeping.follow_signals, "interval", args=[app], seconds=housekeeping.BEAT, coalesce=True, max_instances=1)
    scheduler.add_job(housekeeping.follow_hr, "interval", args=[app], seconds=housekeeping.BEAT, coalesce=True, max_instances=1)
    scheduler.add_job(turns.follow_sources, "interval", args=[app], seconds=housekeeping.BEAT, coalesce=True, max_instances=1)
    scheduler.add_job(housekeeping.post_alarms, "interval", args=[app], seconds=housekeeping.BEAT, coalesce=True, max_instances=1)
    scheduler.add_job(housekeeping.look_for_access, "interval", args=[app, Targets()], seconds=TICK_SECONDS, coalesce=True, max_instances=1)
    scheduler.add_job(housekeeping.erase_what_is_due, "interval", args=[app, Targets()], seconds=TICK_SECONDS, coalesce=True, max_instances=1)
    scheduler.add_job(housekeeping.refresh_connections, "interval", args=[app], hours=6, jitter=1800, coalesce=True, max_instances=1)
    scheduler.add_job(evidence.sequence, "interval", args=[app], seconds=SEQUENCE_SECONDS, coalesce=True, max_instances=1)
    scheduler.add_job(evidence.hand_on, "interval", args=[app], seconds=HAND_ON_SECONDS, coalesce=True, max_instances=1)
    scheduler.add_job(evidence.publish_new, "interval", args=[app], seconds=HAND_ON_SECONDS, coalesce=True, max_instances=1)
    # Before anything is given: whether the database is the newest there is.
    housekeeping.move_on(app)
    # What is here now stays for good: looking through it again and again takes a fifth of what a leaf of the audit tree costs.
    gc.collect()
    gc.freeze()
    delivery.start()
    scheduler.start()
    try:
        with punctual(scheduler):
            yield
    finally:
        log.info("ending: what is in hand is finished first")
        scheduler.shutdown()
        delivery.stop()
