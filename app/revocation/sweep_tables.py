"""Table of the sweep: how far it has come in each place where access could still be alive."""

from datetime import datetime

from sqlalchemy import Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Instant


class Sweep(Base):
    """One place of an organisation: a workspace, or Doorlist itself.

    Departures decided up to `upto_at` (and `upto_id`) were looked at once. `cursor` is the last person of the round that
    looks at everyone who has left; null between two rounds. `looked` and `alive` count in the present round, or the last.
    """

    __tablename__ = "sweep"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    place: Mapped[str] = mapped_column(Text, primary_key=True)
    upto_at: Mapped[datetime] = mapped_column(Instant)
    upto_id: Mapped[str] = mapped_column(Text, default="")
    cursor: Mapped[str | None] = mapped_column(ByteText)
    round_began_at: Mapped[datetime | None] = mapped_column(Instant)
    round_ended_at: Mapped[datetime | None] = mapped_column(Instant)
    looked: Mapped[int] = mapped_column(Integer, default=0)
    alive: Mapped[int] = mapped_column(Integer, default=0)
    last_error: Mapped[str | None] = mapped_column(Text)
    lease_until: Mapped[datetime | None] = mapped_column(Instant)
