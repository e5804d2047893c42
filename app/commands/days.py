"""Days and times as they are typed: in the zone that is named, else in the organisation's own."""

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import click
from sqlalchemy.orm import Session

from app.commands.acting import Acting
from app.directory.settings import value_of
from app.lifecycle import days
from app.lifecycle.days import NoSuchDay

ZONE = click.option("--zone", metavar="ZONE", help="Where days begin and end, such as Europe/Berlin; else the setting time_zone.")


def end_of_day(session: Session, acting: Acting, text: str, zone: str | None) -> datetime:
    """The end of a day, and nothing else than a day."""
    return _in_zone(session, acting, zone, lambda there: days.end_of(days.read_day(text), there))


def end_at(session: Session, acting: Acting, text: str, zone: str | None) -> datetime:
    """When something ends: at the end of a day, at a time there, or at an instant."""
    return _in_zone(session, acting, zone, lambda there: days.read_end(text, there))


def beginning_at(session: Session, acting: Acting, text: str, zone: str | None) -> datetime:
    """When something begins: as a day does, at a time there, or at an instant."""
    return _in_zone(session, acting, zone, lambda there: days.read_beginning(text, there))


def _in_zone(session: Session, acting: Acting, zone: str | None, read: Callable[[ZoneInfo], datetime]) -> datetime:
    try:
        return read(days.zone_of(zone or value_of(session, acting.organization_id, "time_zone")))
    except NoSuchDay as error:
        raise click.UsageError(str(error)) from error
