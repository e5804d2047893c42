"""How long sessions of an organisation last."""

from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from app.access.sessions import Limits, Present
from app.directory.settings import session_length, value_of

BREAK_GLASS: Final = Limits(absolute=timedelta(hours=1), idle=timedelta(minutes=15))
"""At most so long where somebody came in without the identity provider."""


def limits_of(session: Session, organization_id: str, *, break_glass: bool = False) -> Limits:
    """The organisation's own limits. A provider that vouches for less shortens a single session; none makes it longer."""
    absolute, idle = (
        session_length(key, value_of(session, organization_id, key)) for key in ("session_absolute", "session_idle")
    )
    if break_glass:
        absolute, idle = min(absolute, BREAK_GLASS.absolute), min(idle, BREAK_GLASS.idle)
    return Limits(absolute=absolute, idle=min(idle, absolute))


def idle_of(session: Session, here: Present) -> timedelta:
    """How long the browser of somebody present may lie idle."""
    return limits_of(session, here.organization_id, break_glass=here.break_glass).idle
