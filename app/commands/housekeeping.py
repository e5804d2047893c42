"""What is done because time passes: channels that have been empty for long enough are archived."""

import logging

from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.clock import now
from app.database import in_transaction, reading
from app.delivery.expansion import want_channels
from app.rules.channels import settle
from app.rules.tables import Channel, ChannelState

log = logging.getLogger(__name__)


def tick(app: Flask) -> None:
    """Look at every empty channel once. May run in several processes at once: doing it twice does it once."""
    with app.app_context():
        try:
            with reading() as session:
                empty = session.execute(select(Channel.organization_id, Channel.id).where(Channel.state == ChannelState.EMPTY)).all()
            for organization_id, channel_id in empty:
                in_transaction(lambda session, o=organization_id, c=channel_id: _settle(session, o, c))  # type: ignore[misc]  # defaults bind the loop's values
        except DBAPIError as error:
            # The next tick comes soon; the database may have been away for a moment.
            log.error("housekeeping could not be done: %s", error.__class__.__name__)


def _settle(session: Session, organization_id: str, channel_id: str) -> None:
    settled = settle(session, organization_id, [channel_id], now()).get(channel_id)
    if settled is not None and settled.state is not ChannelState.EMPTY:
        want_channels(session, organization_id, {channel_id}, at=now())
