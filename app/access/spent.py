"""Messages that count once: kept for all processes together until they would be refused anyway."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.access.connection_tables import SpentMessage
from app.access.tokens import digest_of

KEPT_BEYOND: Final = timedelta(days=1)
"""How long a used message is remembered after it has expired: whoever forgets may have a clock that is ahead of those who judge its age."""


def spend(session: Session, organization_id: str, *, sender: str, message_id: str, expires_at: datetime) -> bool:
    """Use a message up. False where it was used before, in whatever process: two who show it at once get one True."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    used = session.scalar(
        insert(SpentMessage)
        .values(organization_id=organization_id, sender=sender, digest=digest_of(message_id), expires_at=expires_at)
        .on_conflict_do_nothing()
        .returning(SpentMessage.digest)
    )
    return used is not None


def forget(session: Session, *, at: datetime) -> None:
    """Delete what has long expired. A message that is shown later is refused for its age."""
    session.execute(delete(SpentMessage).where(SpentMessage.expires_at <= at - KEPT_BEYOND).execution_options(synchronize_session=False))
