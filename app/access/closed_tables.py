"""Table of the installation itself: one row, which tells an older state of the database from the newest."""

from datetime import datetime

from sqlalchemy import Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Instant, Number


class Installation(Base):
    """`marker` was drawn when the database was made; `generation` moves on while a worker runs, and is kept outside as well.

    While `closed_at` is set nobody is given anything. `restored_at` is when everything issued before was ended.
    """

    __tablename__ = "installation"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    marker: Mapped[str] = mapped_column(Text)
    generation: Mapped[int] = mapped_column(Number, default=0)
    moved_at: Mapped[datetime | None] = mapped_column(Instant)
    closed_at: Mapped[datetime | None] = mapped_column(Instant)
    closed_because: Mapped[str | None] = mapped_column(Text)
    restored_at: Mapped[datetime | None] = mapped_column(Instant)
