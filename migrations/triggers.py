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


def keep_but_scrub(table: str, *, fixed: tuple[str, ...], emptied: tuple[str, ...], nulled: tuple[str, ...] = ()) -> None:
    """Make a table that `keep` guards one whose content may go: `fixed` columns stay as they are, texts in `emptied` may
    become empty, `nulled` columns become null, and nothing else is ever changed or deleted.
    """
    words = f"rows of {table} are never changed or deleted"
    postgres = op.get_bind().dialect.name == "postgresql"
    same = "NEW.{0} IS NOT DISTINCT FROM OLD.{0}" if postgres else "NEW.{0} IS OLD.{0}"
    allowed = " AND ".join(
        [
            *(same.format(column) for column in fixed),
            *(f"(NEW.{column} = '' OR NEW.{column} = OLD.{column})" for column in emptied),
            *(f"NEW.{column} IS NULL" for column in nulled),
        ]
    )
    if postgres:
        op.execute(
            f"CREATE OR REPLACE FUNCTION keep_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF TG_OP = 'UPDATE' AND {allowed} THEN RETURN NEW; END IF; RAISE EXCEPTION '{words}'; END $$"
        )
        return
    op.execute(f"DROP TRIGGER {table}_no_update")
    op.execute(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} WHEN NOT ({allowed}) BEGIN SELECT RAISE(ABORT, '{words}'); END")


def tally(table: str) -> None:
    """Keep the number of rows that stand of each source of a table with `source_id` and `ended_at`."""
    if op.get_bind().dialect.name == "postgresql":
        tally_function(shards=16)
        for name, when in (
            ("tally_new", "AFTER INSERT ON {0} FOR EACH ROW WHEN (NEW.ended_at IS NULL)"),
            ("tally_changed", "AFTER UPDATE OF ended_at ON {0} FOR EACH ROW WHEN ((OLD.ended_at IS NULL) <> (NEW.ended_at IS NULL))"),
        ):
            op.execute(f"CREATE TRIGGER {table}_{name} {when.format(table)} EXECUTE FUNCTION tally_up()")
        return
    add = (
        f"INSERT INTO tally (organization_id, source_id, kind, shard, number) VALUES (NEW.organization_id, NEW.source_id, '{table}', 0, "
        "CASE WHEN NEW.ended_at IS NULL THEN 1 ELSE -1 END) "
        "ON CONFLICT (organization_id, source_id, kind, shard) DO UPDATE SET number = number + excluded.number;"
    )
    op.execute(f"CREATE TRIGGER {table}_tally_new AFTER INSERT ON {table} WHEN NEW.ended_at IS NULL BEGIN {add} END")
    op.execute(
        f"CREATE TRIGGER {table}_tally_changed AFTER UPDATE OF ended_at ON {table} "
        f"WHEN (OLD.ended_at IS NULL) <> (NEW.ended_at IS NULL) BEGIN {add} END"
    )


def tally_function(*, shards: int) -> None:
    """PostgreSQL's function behind `tally`. Each connection adds to a row of its own, or nearly so: it is numbered by its process."""
    op.execute(
        f"""
        CREATE OR REPLACE FUNCTION tally_up() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO tally (organization_id, source_id, kind, shard, number)
            VALUES (NEW.organization_id, NEW.source_id, TG_TABLE_NAME, pg_backend_pid() % {shards}, CASE WHEN NEW.ended_at IS NULL THEN 1 ELSE -1 END)
            ON CONFLICT (organization_id, source_id, kind, shard) DO UPDATE SET number = tally.number + excluded.number;
            RETURN NULL;
        END $$
        """
    )
