"""Alarms, who was told, and who answered; how far the sweep has come; whether the database is the newest."""

import secrets

import sqlalchemy as sa
from alembic import op

import app.database

revision = "0012"
down_revision = "0011"

_OPEN = sa.text("closed_at IS NULL")
_STANDS = sa.text("ended_at IS NULL")
_TO_BE_POSTED = sa.text("posted_at IS NULL AND dropped_at IS NULL")


def _instant(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, app.database.Instant(), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def upgrade() -> None:
    _alarms()
    _sweep()
    _installation()


def _alarms() -> None:
    op.create_table(
        "alarm",
        _text("organization_id"), _text("id"), _text("kind"),
        sa.Column("about", app.database.ByteText, nullable=False),
        _text("severity"), _text("sentence"),
        sa.Column("times", sa.Integer(), nullable=False),
        _instant("raised_at", nullable=False), _instant("last_at", nullable=False), _instant("escalate_at"), _instant("escalated_at"),
        _instant("acknowledged_at"), _text("acknowledged_by", nullable=True), _instant("closed_at"), _text("closed_by", nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_alarm")),
    )  # fmt: skip
    with op.batch_alter_table("alarm", schema=None) as batch_op:
        batch_op.create_index(
            "uq_alarm_open", ["organization_id", "kind", "about"], unique=True, postgresql_where=_OPEN, sqlite_where=_OPEN
        )
        batch_op.create_index("ix_alarm_escalate", ["escalate_at"], unique=False, postgresql_where=_OPEN, sqlite_where=_OPEN)
    op.create_table(
        "alarm_route",
        _text("organization_id"), _text("id"), _text("kind"), _text("address"),
        sa.Column("escalation", sa.Boolean(), nullable=False), sa.Column("private", sa.Boolean(), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=True),
        _instant("created_at", nullable=False), _instant("ended_at"),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_alarm_route")),
    )  # fmt: skip
    with op.batch_alter_table("alarm_route", schema=None) as batch_op:
        batch_op.create_index(
            "uq_alarm_route", ["organization_id", "kind", "address"], unique=True, postgresql_where=_STANDS, sqlite_where=_STANDS
        )
    op.create_table(
        "alarm_post",
        _text("organization_id"), _text("alarm_id"), _text("route_id"), _text("what"),
        _instant("due_at", nullable=False), _instant("lease_until"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _instant("posted_at"), _instant("dropped_at"), _text("last_error", nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "alarm_id", "route_id", "what", name=op.f("pk_alarm_post")),
    )  # fmt: skip
    with op.batch_alter_table("alarm_post", schema=None) as batch_op:
        batch_op.create_index("ix_alarm_post_due", ["due_at"], unique=False, postgresql_where=_TO_BE_POSTED, sqlite_where=_TO_BE_POSTED)


def _sweep() -> None:
    op.create_table(
        "sweep",
        _text("organization_id"), _text("place"), _instant("upto_at", nullable=False), _text("upto_id"),
        sa.Column("cursor", app.database.ByteText, nullable=True),
        _instant("round_began_at"), _instant("round_ended_at"),
        sa.Column("looked", sa.Integer(), nullable=False), sa.Column("alive", sa.Integer(), nullable=False),
        _text("last_error", nullable=True), _instant("lease_until"),
        sa.PrimaryKeyConstraint("organization_id", "place", name=op.f("pk_sweep")),
    )  # fmt: skip
    # The times of one place are counted from its newest; departures are swept in the order in which they were decided; and
    # whoever has a last day is looked for every few seconds.
    op.create_index("ix_proof_shut", "proof", ["organization_id", "workspace_id", "shut_at"], unique=False)
    has_one = sa.text("access_until IS NOT NULL")
    op.create_index(
        "ix_person_access_until", "person", ["organization_id", "access_until"], unique=False, postgresql_where=has_one, sqlite_where=has_one
    )
    op.create_index("ix_departure_decided", "departure", ["organization_id", "decided_at", "id"], unique=False)


def _installation() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    table = op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        _text("marker"),
        sa.Column("generation", number, nullable=False),
        _instant("moved_at"), _instant("closed_at"), _text("closed_because", nullable=True), _instant("restored_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )  # fmt: skip
    op.bulk_insert(table, [{"id": 1, "marker": secrets.token_hex(16), "generation": 0}])
