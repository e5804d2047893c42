"""Sessions, devices, relying parties and their grants, connections, identities."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import app.database

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "connection",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("settings", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", app.database.Instant(), nullable=False),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_connection")),
    )
    with op.batch_alter_table("connection", schema=None) as batch_op:
        batch_op.create_index("ix_connection_issuer", ["issuer"], unique=False)
        batch_op.create_index("uq_connection_id", ["id"], unique=True)
        batch_op.create_index(
            "uq_connection_name",
            ["organization_id", "name"],
            unique=True,
            postgresql_where=sa.text("ended_at IS NULL"),
            sqlite_where=sa.text("ended_at IS NULL"),
        )
    op.create_table(
        "connection_domain",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("connection_id", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "connection_id", "domain", name=op.f("pk_connection_domain")),
    )
    with op.batch_alter_table("connection_domain", schema=None) as batch_op:
        batch_op.create_index("ix_connection_domain", ["domain"], unique=False)
    op.create_table(
        "device",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("push_kind", sa.Text(), nullable=True),
        sa.Column("sealed_push_token", sa.LargeBinary(), nullable=True),
        sa.Column("push_digest", sa.Text(), nullable=True),
        sa.Column("enrolled_at", app.database.Instant(), nullable=False),
        sa.Column("seen_at", app.database.Instant(), nullable=False),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.Column("ended_why", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_device")),
    )
    with op.batch_alter_table("device", schema=None) as batch_op:
        batch_op.create_index("ix_device_person", ["organization_id", "person_id"], unique=False)
        batch_op.create_index("ix_device_push", ["organization_id", "push_digest"], unique=False)
    op.create_table(
        "device_request",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("user_code_digest", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("grant_id", sa.Text(), nullable=True),
        sa.Column("interval", sa.Integer(), nullable=False),
        sa.Column("polled_at", app.database.Instant(), nullable=True),
        sa.Column("created_at", app.database.Instant(), nullable=False),
        sa.Column("expires_at", app.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "digest", name=op.f("pk_device_request")),
    )
    with op.batch_alter_table("device_request", schema=None) as batch_op:
        batch_op.create_index("uq_device_request_digest", ["digest"], unique=True)
        batch_op.create_index("uq_device_request_user_code", ["user_code_digest"], unique=True)
    op.create_table(
        "identity",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("bound_by", sa.Text(), nullable=False),
        sa.Column("bound_at", app.database.Instant(), nullable=False),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_identity")),
    )
    with op.batch_alter_table("identity", schema=None) as batch_op:
        batch_op.create_index("ix_identity_person", ["organization_id", "person_id"], unique=False)
        batch_op.create_index(
            "uq_identity_subject",
            ["organization_id", "issuer", "tenant", "subject"],
            unique=True,
            postgresql_where=sa.text("ended_at IS NULL"),
            sqlite_where=sa.text("ended_at IS NULL"),
        )
    op.create_table(
        "issued_token",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("grant_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("created_at", app.database.Instant(), nullable=False),
        sa.Column("expires_at", app.database.Instant(), nullable=False),
        sa.Column("used_at", app.database.Instant(), nullable=True),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.Column("bound", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "digest", name=op.f("pk_issued_token")),
    )
    with op.batch_alter_table("issued_token", schema=None) as batch_op:
        batch_op.create_index("ix_issued_token_grant", ["organization_id", "grant_id"], unique=False)
        batch_op.create_index("ix_issued_token_person", ["organization_id", "person_id"], unique=False)
        batch_op.create_index("uq_issued_token_digest", ["digest"], unique=True)
    op.create_table(
        "login",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("connection_id", sa.Text(), nullable=False),
        sa.Column("browser_digest", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("return_to", sa.Text(), nullable=False),
        sa.Column("asked", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False),
        sa.Column("created_at", app.database.Instant(), nullable=False),
        sa.Column("expires_at", app.database.Instant(), nullable=False),
        sa.Column("used_at", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "request_id", name=op.f("pk_login")),
    )
    with op.batch_alter_table("login", schema=None) as batch_op:
        batch_op.create_index("ix_login_expires", ["expires_at"], unique=False)
    op.create_table(
        "oauth_grant",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("device_id", sa.Text(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("sid", sa.Text(), nullable=False),
        sa.Column("authenticated_at", app.database.Instant(), nullable=False),
        sa.Column("acr", sa.Text(), nullable=True),
        sa.Column("amr", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False),
        sa.Column("created_at", app.database.Instant(), nullable=False),
        sa.Column("expires_at", app.database.Instant(), nullable=False),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.Column("ended_why", sa.Text(), nullable=True),
        sa.Column("told_at", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_oauth_grant")),
    )
    with op.batch_alter_table("oauth_grant", schema=None) as batch_op:
        batch_op.create_index("ix_grant_person", ["organization_id", "person_id", "client_id"], unique=False)
        batch_op.create_index("ix_grant_session", ["organization_id", "session_id"], unique=False)
    op.create_table(
        "relying_party",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("secret_digest", sa.Text(), nullable=True),
        sa.Column("redirect_uris", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False),
        sa.Column(
            "post_logout_redirect_uris", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("backchannel_logout_uri", sa.Text(), nullable=True),
        sa.Column("device_flow", sa.Boolean(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("settings", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False),
        sa.Column("created_at", app.database.Instant(), nullable=False),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_relying_party")),
    )
    with op.batch_alter_table("relying_party", schema=None) as batch_op:
        batch_op.create_index("uq_relying_party_id", ["id"], unique=True)
        batch_op.create_index(
            "uq_relying_party_name",
            ["organization_id", "name"],
            unique=True,
            postgresql_where=sa.text("ended_at IS NULL"),
            sqlite_where=sa.text("ended_at IS NULL"),
        )
    op.create_table(
        "session",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("connection_id", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("upstream_session", sa.Text(), nullable=True),
        sa.Column("name_id", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=True),
        sa.Column("sealed_id_token", sa.LargeBinary(), nullable=True),
        sa.Column("authenticated_at", app.database.Instant(), nullable=False),
        sa.Column("acr", sa.Text(), nullable=True),
        sa.Column("amr", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False),
        sa.Column("strong", sa.Boolean(), nullable=False),
        sa.Column("break_glass", sa.Boolean(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("created_at", app.database.Instant(), nullable=False),
        sa.Column("seen_at", app.database.Instant(), nullable=False),
        sa.Column("idle_until", app.database.Instant(), nullable=False),
        sa.Column("expires_at", app.database.Instant(), nullable=False),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.Column("ended_why", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_session")),
        sa.UniqueConstraint("digest", name=op.f("uq_session_digest")),
    )
    with op.batch_alter_table("session", schema=None) as batch_op:
        batch_op.create_index("ix_session_person", ["organization_id", "person_id"], unique=False)
        batch_op.create_index("ix_session_upstream", ["organization_id", "connection_id", "subject"], unique=False)
    op.create_table(
        "spent_message",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("expires_at", app.database.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "sender", "digest", name=op.f("pk_spent_message")),
    )
    with op.batch_alter_table("spent_message", schema=None) as batch_op:
        batch_op.create_index("ix_spent_message_expires", ["expires_at"], unique=False)
