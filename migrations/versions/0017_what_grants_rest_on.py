"""On whose word grants and devices were given, and signing keys that count no more."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import app.database

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    for table in ("oauth_grant", "device"):
        op.add_column(table, sa.Column("connection_id", sa.Text(), nullable=True))
    op.add_column("signing_key", sa.Column("withdrawn_at", app.database.Instant(), nullable=True))
    _say_of_what_is_there()


def _say_of_what_is_there() -> None:
    """What was given before says so as well: by the session that it came of, which for one without a browser stands in the journal."""
    document = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    grant = sa.table("oauth_grant", *map(sa.column, ("organization_id", "id", "person_id", "session_id", "device_id", "connection_id")))
    session = sa.table("session", *map(sa.column, ("organization_id", "id", "connection_id")))
    device = sa.table("device", *map(sa.column, ("organization_id", "id", "connection_id")))
    journal = sa.table("journal", *map(sa.column, ("organization_id", "subject_id", "verb")), sa.column("after", document))
    by_session = sa.select(session.c.connection_id).where(session.c.organization_id == grant.c.organization_id, session.c.id == grant.c.session_id)
    op.execute(grant.update().where(grant.c.session_id.is_not(None)).values(connection_id=by_session.scalar_subquery()))
    by_journal = (
        sa.select(sa.func.max(session.c.connection_id))
        .select_from(journal.join(session, sa.and_(session.c.organization_id == journal.c.organization_id, session.c.id == journal.c.after["session"].as_string())))
        .where(
            journal.c.organization_id == grant.c.organization_id, journal.c.subject_id == grant.c.person_id,
            journal.c.verb == "entered an application", journal.c.after["grant"].as_string() == grant.c.id,
        )
    )  # fmt: skip
    op.execute(grant.update().where(grant.c.session_id.is_(None)).values(connection_id=by_journal.scalar_subquery()))
    by_grant = sa.select(sa.func.max(grant.c.connection_id)).where(
        grant.c.organization_id == device.c.organization_id, grant.c.device_id == device.c.id
    )
    op.execute(device.update().values(connection_id=by_grant.scalar_subquery()))
