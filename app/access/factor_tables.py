"""Tables of second factors, and of the break-glass accounts that are opened with them alone."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Instant

_STANDS = text("ended_at IS NULL")


class FactorKind(StrEnum):
    TOTP = "totp"
    SECURITY_KEY = "security key"


class Factor(Base):
    """What a person proves themselves with here. `last_step` is the last time step of which a code was used: no code counts twice.

    `credential_digest` finds a security key again, which names itself and no organisation.
    """

    __tablename__ = "factor"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText)
    kind: Mapped[str] = mapped_column(Text)
    sealed_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    last_step: Mapped[int] = mapped_column(Integer, default=0)
    credential_digest: Mapped[str | None] = mapped_column(Text)
    public_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    sign_count: Mapped[int] = mapped_column(BigInteger, default=0)
    added_at: Mapped[datetime] = mapped_column(Instant)
    last_used_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (
        Index("ix_factor_person", "organization_id", "person_id"),
        Index("uq_factor_credential", "credential_digest", unique=True, postgresql_where=_STANDS, sqlite_where=_STANDS),
    )


class CodePurpose(StrEnum):
    SET_UP = "set up"
    SIGN_IN = "sign in"


class OneTimeCode(Base):
    """A code that counts once, kept as its SHA-256: to set a factor up, or to sign in beside one."""

    __tablename__ = "one_time_code"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    digest: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText)
    purpose: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime | None] = mapped_column(Instant)
    used_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (
        # Whoever types a code names nobody.
        Index("uq_one_time_code_digest", "digest", unique=True),
        Index("ix_one_time_code_person", "organization_id", "person_id"),
    )


class BreakGlassAccount(Base):
    """Somebody named who may come in without the identity provider. `failures` in a row block it until `blocked_until`."""

    __tablename__ = "break_glass_account"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText)
    added_by: Mapped[str] = mapped_column(Text)
    added_at: Mapped[datetime] = mapped_column(Instant)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    blocked_until: Mapped[datetime | None] = mapped_column(Instant)
    last_used_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (
        Index("uq_break_glass_account_person", "organization_id", "person_id", unique=True, postgresql_where=_STANDS, sqlite_where=_STANDS),
    )
