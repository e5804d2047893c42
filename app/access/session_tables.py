"""Tables of what a person holds here: sessions, devices, and what relying parties were granted on their behalf.

Each row carries the epoch that its person had when it was made, and is good only while the person still has it. So one
change of `person.access_epoch` ends all of them, however many there are. `ended_at` ends a single one.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, Index, Integer, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, ByteText, Document, Instant
from app.directory.tables import having

NAMED_AND_OPEN = text("upstream_session IS NOT NULL AND ended_at IS NULL")


class WebSession(Base):
    """A browser that signed in here. `digest` is of the cookie's value; `acr`, `amr` and `authenticated_at` are as the connection said.

    It is good until `expires_at`, and until `idle_until` unless it is used before. `name_id` is what a SAML provider
    wants to be told when the person signs out.
    """

    __tablename__ = "session"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    digest: Mapped[str] = mapped_column(Text, unique=True)
    person_id: Mapped[str] = mapped_column(ByteText)
    epoch: Mapped[int] = mapped_column(Integer)
    connection_id: Mapped[str | None] = mapped_column(Text)
    subject: Mapped[str | None] = mapped_column(Text)
    upstream_session: Mapped[str | None] = mapped_column(Text)
    name_id: Mapped[dict[str, Any] | None] = mapped_column(Document)
    sealed_id_token: Mapped[bytes | None] = mapped_column(LargeBinary)
    authenticated_at: Mapped[datetime] = mapped_column(Instant)
    acr: Mapped[str | None] = mapped_column(Text)
    amr: Mapped[list[str]] = mapped_column(Document, default=list)
    strong: Mapped[bool] = mapped_column(Boolean, default=False)
    break_glass: Mapped[bool] = mapped_column(Boolean, default=False)
    agent: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(Instant)
    seen_at: Mapped[datetime] = mapped_column(Instant)
    idle_until: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_why: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (
        Index("ix_session_person", "organization_id", "person_id"),
        Index("ix_session_upstream", "organization_id", "connection_id", "subject"),
        # What ran out long ago is found whose ever it is.
        Index("ix_session_expires", "expires_at"),
        Index("ix_session_named", "organization_id", "upstream_session", postgresql_where=NAMED_AND_OPEN, sqlite_where=NAMED_AND_OPEN),
    )


class LastSignIn(Base):
    """When somebody whose sessions were forgotten (`forgetting`) had last signed in by one of these."""

    __tablename__ = "last_sign_in"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText, primary_key=True)
    at: Mapped[datetime] = mapped_column(Instant)


class PartyKind(StrEnum):
    """`APPLICATION` signs people in through us; `GATEWAY` only asks whether it may still push."""

    APPLICATION = "application"
    GATEWAY = "gateway"


class RelyingParty(Base):
    """A client of our OpenID provider. Without `secret_digest` it is public, and proves itself by PKCE alone."""

    __tablename__ = "relying_party"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text, default=PartyKind.APPLICATION)
    secret_digest: Mapped[str | None] = mapped_column(Text)
    redirect_uris: Mapped[list[str]] = mapped_column(Document, default=list)
    post_logout_redirect_uris: Mapped[list[str]] = mapped_column(Document, default=list)
    backchannel_logout_uri: Mapped[str | None] = mapped_column(Text)
    device_flow: Mapped[bool] = mapped_column(Boolean, default=False)
    algorithm: Mapped[str] = mapped_column(Text, default="ES256")
    settings: Mapped[dict[str, Any]] = mapped_column(Document, default=dict)
    created_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (
        Index("uq_relying_party_name", "organization_id", "name", unique=True, postgresql_where=text("ended_at IS NULL"), sqlite_where=text("ended_at IS NULL")),
        # A client that asks for a token names itself and no organisation.
        Index("uq_relying_party_id", "id", unique=True),
    )  # fmt: skip


class Grant(Base):
    """What a person let a relying party have: the family of all tokens that came of it. `sid` is how that party calls the session it came of.

    `connection_id` is the connection on whose word it was given, and None where somebody had broken the glass; it ends with
    that, also where it has no browser. `told_at` is when the party was told by back-channel that it is over.
    """

    __tablename__ = "oauth_grant"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText)
    client_id: Mapped[str] = mapped_column(Text)
    session_id: Mapped[str | None] = mapped_column(Text)
    device_id: Mapped[str | None] = mapped_column(Text)
    connection_id: Mapped[str | None] = mapped_column(Text)
    epoch: Mapped[int] = mapped_column(Integer)
    scope: Mapped[str] = mapped_column(Text)
    sid: Mapped[str] = mapped_column(Text)
    authenticated_at: Mapped[datetime] = mapped_column(Instant)
    acr: Mapped[str | None] = mapped_column(Text)
    amr: Mapped[list[str]] = mapped_column(Document, default=list)
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_why: Mapped[str | None] = mapped_column(Text)
    told_at: Mapped[datetime | None] = mapped_column(Instant)
    __table_args__ = (
        Index("ix_grant_person", "organization_id", "person_id", "client_id"),
        Index("ix_grant_session", "organization_id", "session_id"),
        Index("ix_grant_expires", "expires_at"),
        Index("ix_grant_sid", "organization_id", "sid"),
        Index("ix_grant_device", "organization_id", "device_id", **having("device_id")),
    )


class TokenKind(StrEnum):
    CODE = "code"
    ACCESS = "access"
    REFRESH = "refresh"


class IssuedToken(Base):
    """A secret of a grant, kept as its SHA-256: a code, an access token or a refresh token.

    `used_at` is set when a code was exchanged or a refresh token rotated: whoever shows it again is a thief or was robbed
    (RFC 9700 §4.14). `bound` is what a code is bound to: redirect URI, PKCE challenge, nonce.
    """

    __tablename__ = "issued_token"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    digest: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    grant_id: Mapped[str] = mapped_column(Text)
    client_id: Mapped[str] = mapped_column(Text)
    person_id: Mapped[str] = mapped_column(ByteText)
    epoch: Mapped[int] = mapped_column(Integer)
    scope: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    used_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    bound: Mapped[dict[str, Any] | None] = mapped_column(Document)
    __table_args__ = (
        # Whoever shows a token names no organisation.
        Index("uq_issued_token_digest", "digest", unique=True),
        Index("ix_issued_token_grant", "organization_id", "grant_id"),
        Index("ix_issued_token_person", "organization_id", "person_id"),
    )


class DeviceRequest(Base):
    """A device that waits for somebody to let it in (RFC 8628). Both codes are kept as hashes; `grant_id` is set once it was allowed."""

    __tablename__ = "device_request"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    digest: Mapped[str] = mapped_column(Text, primary_key=True)
    user_code_digest: Mapped[str] = mapped_column(Text)
    client_id: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, default="waiting")
    grant_id: Mapped[str | None] = mapped_column(Text)
    interval: Mapped[int] = mapped_column(Integer, default=5)
    polled_at: Mapped[datetime | None] = mapped_column(Instant)
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    __table_args__ = (
        Index("uq_device_request_digest", "digest", unique=True),
        Index("uq_device_request_user_code", "user_code_digest", unique=True),
    )


class PushKind(StrEnum):
    APNS = "apns"
    FCM = "fcm"
    WEB_PUSH = "webpush"
    UNIFIED_PUSH = "unifiedpush"


class Device(Base):
    """An enrolled device. Its push token is sealed; `push_digest` (keyed) finds it again. Several people may share a device: each has a row.

    `connection_id` is that of the grant it was enrolled with.
    """

    __tablename__ = "device"
    organization_id: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[str] = mapped_column(ByteText)
    epoch: Mapped[int] = mapped_column(Integer)
    client_id: Mapped[str | None] = mapped_column(Text)
    connection_id: Mapped[str | None] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    platform: Mapped[str] = mapped_column(Text, default="")
    push_kind: Mapped[str | None] = mapped_column(Text)
    sealed_push_token: Mapped[bytes | None] = mapped_column(LargeBinary)
    push_digest: Mapped[str | None] = mapped_column(Text)
    enrolled_at: Mapped[datetime] = mapped_column(Instant)
    seen_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_why: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (
        Index("ix_device_person", "organization_id", "person_id"),
        Index("ix_device_push", "organization_id", "push_digest"),
    )
