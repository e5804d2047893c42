"""Table of signing keys: what Doorlist itself signs with, of the whole installation."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Document, Instant


class SigningKey(Base):
    """One key pair. The private part is sealed; a row is never deleted, so that what it signed can be checked for ever.

    It is published from `created_at` on and signs from `active_from` until `retired_at`. From `withdrawn_at` on no token
    that it signed counts any more: somebody else may have it. It belongs to no organisation: whoever checks a token or a
    receipt asks this installation for its keys.
    """

    __tablename__ = "signing_key"
    kid: Mapped[str] = mapped_column(Text, primary_key=True)
    purpose: Mapped[str] = mapped_column(Text)
    algorithm: Mapped[str] = mapped_column(Text)
    sealed_private: Mapped[bytes] = mapped_column(LargeBinary)
    public: Mapped[dict[str, Any]] = mapped_column(Document)
    created_at: Mapped[datetime] = mapped_column(Instant)
    active_from: Mapped[datetime] = mapped_column(Instant)
    retired_at: Mapped[datetime | None] = mapped_column(Instant)
    withdrawn_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (Index("ix_signing_key_purpose", "purpose", "algorithm", "active_from"),)
