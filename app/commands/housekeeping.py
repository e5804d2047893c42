"""What is done because time passes: empty channels are archived, old requests deleted, new names taken into their index."""

import logging
from datetime import timedelta

from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.audit import requests
from app.clock import now
from app.database import in_transaction, reading
from app.delivery.expansion import want_channels
from app.directory import name_parts
from app.journal.tables import Organization
from app.rules.channels import settle
from app.rules.tables import Channel, ChannelState

log = logging.getLogger(__name__)

PRUNINGS = 20
"""Small transactions of pruning at a tick, for each organisation: what is left over waits for the next."""
NAMINGS = 400
"""Small transactions at a tick that take names into the index: 200,000 names, or 2 seconds of a processor."""


def tick(app: Flask) -> None:
    """Look at every empty channel once, delete old requests, take in new names. May run in several processes at once: twice does it once."""
    with app.app_context():
        try:
            with reading() as session:
                empty = session.execute(select(Channel.organization_id, Channel.id).where(Channel.state == ChannelState.EMPTY)).all()
            for organization_id, channel_id in empty:
                in_transaction(lambda session, o=organization_id, c=channel_id: _settle(session, o, c))  # type: ignore[misc]  # defaults bind the loop's values
            _prune(app)
            for _ in range(NAMINGS):
                if not in_transaction(name_parts.catch_up):
                    break
        except DBAPIError as error:
            # The next tick comes soon; the database may have been away for a moment.
            log.error("housekeeping could not be done: %s", error.__class__.__name__)


def _prune(app: Flask) -> None:
    settings = app.config["DOORLIST"]
    kept, bodies = (timedelta(days=min(days, 36_500)) for days in (settings.requests_kept_days, settings.bodies_kept_days))
    with reading() as session:
        organizations = session.scalars(select(Organization.id)).all()
    for organization_id in organizations:
        for _ in range(PRUNINGS):
            # Each is short, so that no request waits long for it on SQLite.
            if not in_transaction(lambda session, o=organization_id: requests.prune(session, o, at=now(), requests_kept=kept, bodies_kept=bodies)):  # type: ignore[misc]  # defaults bind the loop's values
                break


def _settle(session: Session, organization_id: str, channel_id: str) -> None:
    settled = settle(session, organization_id, [channel_id], now()).get(channel_id)
    if settled is not None and settled.state is not ChannelState.EMPTY:
        want_channels(session, organization_id, {channel_id}, at=now())
