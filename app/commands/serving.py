"""Verbs of running: the web service with a worker in it, and a worker alone."""

import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask import Flask

from app import logs, schema
from app.access.sealing import seal
from app.commands import housekeeping
from app.commands.acting import find_organization, host_verb
from app.commands.exits import Exit, NotReady
from app.commands.output import Answer
from app.database import reading
from app.delivery.worker import Worker
from app.journal.tables import Lane
from app.settings import Settings

log = logging.getLogger(__name__)

DEFAULT_PORT = 8484
WEB_THREADS = 8
TICK_SECONDS = 60


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(serve)
    doorlist.add_command(worker)


class _Ended(SystemExit):
    """Somebody asked the process to end. A SystemExit, which the web server knows: requests in hand are answered first."""


_root = click.Group()


@host_verb(_root, "serve")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True)
def serve(app: Flask, organization: str | None, host: str, port: int) -> Answer:
    """Serve the web and deliver, in one process, for every organisation.

    Links (SCIM base URLs, HR addresses) are made from DOORLIST_PUBLIC_URL, whatever the port here.
    """
    import waitress.server

    settings = _ready(app, organization)
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024)
    except OSError as error:
        raise NotReady(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    # The application itself refuses large bodies, in its callers' own formats; this is only the outer wall.
    server = waitress.server.create_server(
        app, sockets=[listening], threads=WEB_THREADS, ident="doorlist", clear_untrusted_proxy_headers=True,
        max_request_body_size=max(64 * 1024 * 1024, 4 * settings.body_limit),
    )  # fmt: skip
    lanes = {Lane.DEPARTURES: settings.departure_workers, Lane.SYNC: settings.sync_workers}
    with _until_asked_to_end() as ended, _delivering(app, lanes):
        click.echo(f"doorlist: serving on http://{host}:{port}, known as {settings.public_url}", err=True)
        try:
            server.run()
        finally:
            server.close()
    return Answer(schema="serve", fields={"ended": "asked to"}, exit=ended[0])


def _lanes(context: click.Context, parameter: click.Parameter, value: str) -> list[Lane]:
    try:
        return [Lane(part.strip()) for part in value.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"lanes are {', '.join(Lane)}") from error


@host_verb(_root, "worker")
@click.option("--lanes", callback=_lanes, default=",".join(Lane), show_default=True, help="Which lanes to serve, parted by commas.")
def worker(app: Flask, organization: str | None, lanes: list[Lane]) -> Answer:
    """Deliver, without the web, for every organisation. Several may run at a time."""
    settings = _ready(app, organization)
    counts = {Lane.DEPARTURES: settings.departure_workers, Lane.SYNC: settings.sync_workers}
    with _until_asked_to_end() as ended, _delivering(app, {lane: counts[lane] for lane in lanes}):
        click.echo(f"doorlist: delivering {', '.join(lanes)}", err=True)
        # A wait without an end would keep signals from being heard on some systems.
        never = threading.Event()
        while not never.wait(3600):
            pass
    return Answer(schema="worker", fields={"ended": "asked to"}, exit=ended[0])


def _ready(app: Flask, organization: str | None) -> Settings:
    """Everything that would fail later is found now. Raises NotReady, KeyMissing."""
    settings: Settings = app.config["DOORLIST"]
    if not schema.is_current():
        raise NotReady("the database has no schema, or an older one: run 'doorlist init'")
    if organization is not None:
        with reading() as session:
            find_organization(session, organization)
    # Without the key no credential opens, so nobody could be shut out anywhere.
    seal(settings, "probe")
    logs.configure()
    return settings


@contextmanager
def _until_asked_to_end() -> Iterator[list[Exit]]:
    """Ends what is inside on SIGTERM or SIGINT, once; the list then holds how the process should end."""
    ended = [Exit.DONE]

    def asked(number: int, frame: object) -> None:
        # Asking twice is asking once: what is in hand is still finished.
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, signal.SIG_IGN)
        ended[0] = Exit.INTERRUPTED if number == signal.SIGINT else Exit.DONE
        raise _Ended

    before = {number: signal.signal(number, asked) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield ended
    except _Ended:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _delivering(app: Flask, threads: dict[Lane, int]) -> Iterator[None]:
    """A worker and the clock's tick beside what is inside; on the way out what is in hand is finished."""
    from apscheduler.schedulers.background import BackgroundScheduler

    delivery = Worker(app, threads=threads)
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_job(housekeeping.tick, "interval", args=[app], seconds=TICK_SECONDS, coalesce=True, max_instances=1)
    delivery.start()
    scheduler.start()
    try:
        yield
    finally:
        log.info("ending: what is in hand is finished first")
        scheduler.shutdown()
        delivery.stop()
