"""Streams of shared signals, in and out."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import app.database

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "signal_event",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("stream_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("person_id", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=True),
        sa.Column("departure_id", sa.Text(), nullable=True),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("said", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False),
        sa.Column("subject", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False),
        sa.Column("txn", sa.Text(), nullable=False),
        sa.Column("made_at", app.database.Instant(), nullable=False),
        sa.Column("sent_at", app.database.Instant(), nullable=True),
        sa.Column("settled_at", app.database.Instant(), nullable=True),
        sa.Column("refused", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "stream_id", "id", name=op.f("pk_signal_event")),
    )
    with op.batch_alter_table("signal_event", schema=None) as batch_op:
        batch_op.create_index("ix_signal_event_person", ["organization_id", "stream_id", "person_id"], unique=False)
        batch_op.create_index(
            "ix_signal_event_waiting",
            ["organization_id", "stream_id", "id"],
            unique=False,
            postgresql_where=sa.text("settled_at IS NULL"),
            sqlite_where=sa.text("settled_at IS NULL"),
        )
    op.create_table(
        "signal_received",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("sender_id", sa.Text(), nullable=False),
        sa.Column("jti", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("subject", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=True),
        sa.Column("txn", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("happened_at", app.database.Instant(), nullable=False),
        sa.Column("received_at", app.database.Instant(), nullable=False),
        sa.Column("person_id", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "sender_id", "jti", name=op.f("pk_signal_received")),
    )
    with op.batch_alter_table("signal_received", schema=None) as batch_op:
        batch_op.create_index("ix_signal_received_person", ["organization_id", "person_id", "happened_at"], unique=False)
        batch_op.create_index("ix_signal_received_sender", ["organization_id", "sender_id", "received_at"], unique=False)
    op.create_table(
        "signal_receiver",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("subject_format", sa.Text(), nullable=False),
        sa.Column("scopes", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False),
        sa.Column("private_network", sa.Boolean(), nullable=False),
        sa.Column("created_at", app.database.Instant(), nullable=False),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_signal_receiver")),
    )
    with op.batch_alter_table("signal_receiver", schema=None) as batch_op:
        batch_op.create_index("uq_signal_receiver_id", ["id"], unique=True)
        batch_op.create_index(
            "uq_signal_receiver_name",
            ["organization_id", "name"],
            unique=True,
            postgresql_where=sa.text("ended_at IS NULL"),
            sqlite_where=sa.text("ended_at IS NULL"),
        )
    op.create_table(
        "signal_stream",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("receiver_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("endpoint_url", sa.Text(), nullable=True),
        sa.Column("sealed_authorization", sa.LargeBinary(), nullable=True),
        sa.Column("events_requested", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_at", app.database.Instant(), nullable=True),
        sa.Column("verified_at", app.database.Instant(), nullable=True),
        sa.Column("created_at", app.database.Instant(), nullable=False),
        sa.Column("changed_at", app.database.Instant(), nullable=False),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_signal_stream")),
    )
    with op.batch_alter_table("signal_stream", schema=None) as batch_op:
        batch_op.create_index(
            "uq_signal_stream_receiver",
            ["organization_id", "receiver_id"],
            unique=True,
            postgresql_where=sa.text("ended_at IS NULL"),
            sqlite_where=sa.text("ended_at IS NULL"),
        )
    op.create_table(
        "signal_subject",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("stream_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("told_epoch", sa.Integer(), nullable=True),
        sa.Column("told_disabled", sa.Boolean(), nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "stream_id", "person_id", name=op.f("pk_signal_subject")),
    )
    with op.batch_alter_table("signal_subject", schema=None) as batch_op:
        batch_op.create_index(
            "ix_signal_subject_disabled",
            ["organization_id", "told_disabled"],
            unique=False,
            postgresql_where=sa.text("told_disabled"),
            sqlite_where=sa.text("told_disabled"),
        )
    op.create_table(
        "signal_transmitter",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("jwks_uri", sa.Text(), nullable=False),
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("authorization_digest", sa.Text(), nullable=True),
        sa.Column("sealed_authorization", sa.LargeBinary(), nullable=True),
        sa.Column("poll_url", sa.Text(), nullable=True),
        sa.Column("verification_url", sa.Text(), nullable=True),
        sa.Column("stream_id", sa.Text(), nullable=True),
        sa.Column("settings", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False),
        sa.Column("verify_every", sa.Integer(), nullable=False),
        sa.Column("silent_after", sa.Integer(), nullable=True),
        sa.Column("state_digest", sa.Text(), nullable=True),
        sa.Column("asked_at", app.database.Instant(), nullable=True),
        sa.Column("heard_at", app.database.Instant(), nullable=True),
        sa.Column("look_again_at", app.database.Instant(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", app.database.Instant(), nullable=False),
        sa.Column("ended_at", app.database.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_signal_transmitter")),
    )
    with op.batch_alter_table("signal_transmitter", schema=None) as batch_op:
        batch_op.create_index("uq_signal_transmitter_id", ["id"], unique=True)
        batch_op.create_index(
            "uq_signal_transmitter_name",
            ["organization_id", "name"],
            unique=True,
            postgresql_where=sa.text("ended_at IS NULL"),
            sqlite_where=sa.text("ended_at IS NULL"),
        )
