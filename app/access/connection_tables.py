"""Tables of signing in: connections to identity providers, whom they know as which person, and sign-ins under way."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Document, Instant


class ConnectionKind(StrEnum):
    SAML = "saml"
    OIDC = "oidc"


class Connection(Base):
    """One identity provider of one organisation. `issuer` is its entity ID or issuer URL; `settings` are read by the room of sign-in alone.

    `sealed_secret` is an OIDC client's secret, or the private key of a SAML service provider.
    """

    __tablename__ = "connection"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    issuer: Mapped[str] = mapped_column(Text)
    settings: Mapped[dict[str, Any]] = mapped_column(Document, default=dict)
    sealed_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (
        Index("uq_connection_name", "organization_id", "name", unique=True, postgresql_where=text("ended_at IS NULL"), sqlite_where=text("ended_at IS NULL")),
        # A browser that comes back names a connection and no organisation.
        Index("uq_connection_id", "id", unique=True),
        Index("ix_connection_issuer", "issuer"),
    )  # fmt: skip


class ConnectionDomain(Base):
    """People whose e-mail ends in this domain sign in through this connection. Two organisations may share a domain."""

    __tablename__ = "connection_domain"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    connection_id: Mapped[str] = mapped_column(Text, primary_key=True)
    domain: Mapped[str] = mapped_column(ByteText, primary_key=True)
    __table_args__ = (Index("ix_connection_domain", "domain"),)


class Identity(Base):
    """Whom an issuer means by a subject. `tenant` is empty where the issuer has no tenants. Bound once; an ended row frees the subject."""

    __tablename__ = "identity"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    issuer: Mapped[str] = mapped_column(Text)
    tenant: Mapped[str] = mapped_column(Text, default="")
    subject: Mapped[str] = mapped_column(Text)
    person_id: Mapped[str] = mapped_column(ByteText)
    bound_by: Mapped[str] = mapped_column(Text)
    bound_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (
        Index(
            "uq_identity_subject", "organization_id", "issuer", "tenant", "subject", unique=True,
            postgresql_where=text("ended_at IS NULL"), sqlite_where=text("ended_at IS NULL"),
        ),
        Index("ix_identity_person", "organization_id", "person_id"),
    )  # fmt: skip


class Login(Base):
    """A sign-in under way: what was asked of which connection, and by which browser. Used once.

    `request_id` is the SAML request's ID or OpenID Connect's `state`; `browser_digest` is of a cookie that only that browser has.
    """

    __tablename__ = "login"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    request_id: Mapped[str] = mapped_column(Text, primary_key=True)
    connection_id: Mapped[str] = mapped_column(Text)
    browser_digest: Mapped[str] = mapped_column(Text)
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    return_to: Mapped[str] = mapped_column(Text, default="/")
    asked: Mapped[dict[str, Any]] = mapped_column(Document, default=dict)
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    used_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (Index("ix_login_expires", "expires_at"),)


class SpentMessage(Base):
    """A signed message that was used, by the SHA-256 of its id: an assertion, a logout token, a security event. Kept until it would be refused anyway."""

    __tablename__ = "spent_message"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    sender: Mapped[str] = mapped_column(Text, primary_key=True)
    digest: Mapped[str] = mapped_column(Text, primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    __table_args__ = (Index("ix_spent_message_expires", "expires_at"),)
