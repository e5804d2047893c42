"""Table of deeds: every change made in a workspace, how it ended and how that is known."""

from datetime import datetime

from sqlalchemy import Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Instant, Number


class Deed(Base):
    __tablename__ = "deed"
    id: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    organization_id: Mapped[str] = mapped_column(Text)
    workspace_id: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Instant)
    subject: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[str] = mapped_column(Text)
    did: Mapped[str] = mapped_column(Text)
    ended: Mapped[str] = mapped_column(Text)
    because: Mapped[int | None] = mapped_column(Number)
    __table_args__ = (Index("ix_deed_subject", "organization_id", "subject_id", "id"),)
