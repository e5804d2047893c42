"""Tables of access: workspaces, accounts in them, operators and bearer tokens."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Document, Instant


class WorkspaceState(StrEnum):
    RUNNING = "running"
    HALTED = "halted"


class Workspace(Base):
    """A chat server that is kept in step. `sealed_token` is encrypted; `halted` means nobody is delivered to it until resumed."""

    __tablename__ = "workspace"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    sealed_token: Mapped[bytes] = mapped_column(LargeBinary)
    options: Mapped[dict[str, Any]] = mapped_column(Document, default=dict)
    state: Mapped[str] = mapped_column(Text, default=WorkspaceState.RUNNING)
    halted_reason: Mapped[str | None] = mapped_column(Text)
    problems: Mapped[list[str]] = mapped_column(Document, default=list)
    created_at: Mapped[datetime] = mapped_column(Instant)
    __table_args__ = (Index("uq_workspace_name", "organization_id", "name", unique=True),)


class Account(Base):
    """A person's account in a workspace. The row stays for ever, so that its id is never given to a second person."""

    __tablename__ = "account"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    workspace_id: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    account_id: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    profile_digest: Mapped[str | None] = mapped_column(Text)
    seen_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (Index("uq_account_id", "organization_id", "workspace_id", "account_id", unique=True),)


class Operator(Base):
    __tablename__ = "operator"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (Index("uq_operator_name", "organization_id", "name", unique=True),)


class BearerToken(Base):
    """A client's or an operator's token; only its SHA-256 is kept (256 random bits need no slow hash)."""

    __tablename__ = "bearer_token"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    digest: Mapped[str] = mapped_column(Text, unique=True)
    holder_kind: Mapped[str] = mapped_column(Text)
    holder_id: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (Index("ix_bearer_token_holder", "organization_id", "holder_id"),)
