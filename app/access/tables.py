"""Tables of access: workspaces, accounts in them, operators, bearer tokens and OAuth clients."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Document, Instant

RESERVED: Final = "reserved"
"""State of an account row whose id is kept for a person, before the account is known to be there, and theirs."""


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


class EndedWorkspace(Base):
    """What was a workspace, and is kept in step no more: what was proved there keeps its name. Another may have that name by now."""

    __tablename__ = "ended_workspace"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    ended_at: Mapped[datetime] = mapped_column(Instant)


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
    """A secret that somebody shows us; only its SHA-256 is kept (256 random bits need no slow hash).

    The holder is a source or an operator, or an OAuth client, whose secret it then is. An access token is a source's,
    and names in `client_id` the OAuth client that asked for it.
    """

    __tablename__ = "bearer_token"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    digest: Mapped[str] = mapped_column(Text, unique=True)
    holder_kind: Mapped[str] = mapped_column(Text)
    holder_id: Mapped[str] = mapped_column(Text)
    client_id: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime | None] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)
    last_used_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (Index("ix_bearer_token_holder", "organization_id", "holder_id"),)


class OAuthClient(Base):
    """A directory's OAuth 2 client. With `jwks` it signs with its own keys, else it has a secret among the bearer tokens."""

    __tablename__ = "oauth_client"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    source_id: Mapped[str] = mapped_column(Text)
    jwks: Mapped[dict[str, Any] | None] = mapped_column(Document)
    created_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    last_used_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (
        Index("ix_oauth_client_source", "organization_id", "source_id"),
        # A client that asks for a token names itself and no organisation.
        Index("uq_oauth_client_id", "id", unique=True),
    )


class SpentAssertion(Base):
    """A signed assertion that was used: the SHA-256 of its `jti`, until it would have expired anyway."""

    __tablename__ = "spent_assertion"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    client_id: Mapped[str] = mapped_column(Text, primary_key=True)
    digest: Mapped[str] = mapped_column(Text, primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Instant)
