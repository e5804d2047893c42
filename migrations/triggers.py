"""The guard of journaled tables: no update without a newer journal number, and no delete at all.

With it a hot path may be a plain statement, and still nothing changes unrecorded.
"""

from alembic import op


def guard(table: str) -> None:
    """Add the two triggers to a table with `journal_id`, on either database."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            """
            CREATE OR REPLACE FUNCTION refuse_unjournaled() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF TG_OP = 'DELETE' THEN
                    RAISE EXCEPTION 'rows of % are never deleted: end them', TG_TABLE_NAME;
                END IF;
                IF NEW.journal_id <= OLD.journal_id THEN
                    RAISE EXCEPTION 'a change of % needs a new journal entry', TG_TABLE_NAME;
                END IF;
                RETURN NEW;
            END $$
            """
        )
        op.execute(
            f"CREATE TRIGGER {table}_journaled BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_unjournaled()"
        )
        return
    op.execute(
        f"CREATE TRIGGER {table}_journaled BEFORE UPDATE ON {table} WHEN NEW.journal_id <= OLD.journal_id "
        f"BEGIN SELECT RAISE(ABORT, 'a change of {table} needs a new journal entry'); END"
    )
    op.execute(
        f"CREATE TRIGGER {table}_kept BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, 'rows of {table} are never deleted: end them'); END"
    )


def keep(table: str) -> None:
    """Make a table append-only: its rows are never changed and never deleted."""
    words = f"rows of {table} are never changed or deleted"
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE OR REPLACE FUNCTION keep_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{words}'; END $$"
        )
        op.execute(f"CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION keep_{table}()")
        return
    for what in ("UPDATE", "DELETE"):
        op.execute(f"CREATE TRIGGER {table}_no_{what.lower()} BEFORE {what} ON {table} BEGIN SELECT RAISE(ABORT, '{words}'); END")
