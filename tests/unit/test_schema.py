"""Whether a database stands at the newest migration, which every verb asks for."""

import threading
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import event, inspect, text
from sqlalchemy.exc import DBAPIError

from app.assembly import create_app, without_doors
from app.database import db, transaction
from app.schema import NotInUTF8, UnknownSchema, _config, damage, newest, upgrade, why_unfit
from app.settings import from_environment
from tests.databases import let_go
from tests.servers.postgres import DatabaseName, Postgres
from tests.waiting import until

pytestmark = pytest.mark.empty


def test_the_newest_migration_is_the_one_that_all_others_lead_to() -> None:
    assert newest() == ScriptDirectory.from_config(_config()).get_current_head()


def test_only_a_database_at_the_newest_migration_is_current(database_url: str, tmp_path: Path) -> None:
    app = without_doors(from_environment({"DATABASE_URL": database_url, "DOORLIST_HOME": str(tmp_path)}))
    with app.app_context():
        assert "run 'doorlist init'" in str(why_unfit()), "there is no schema at all"
        upgrade()
        assert why_unfit() is None
        for said in ("UPDATE alembic_version SET version_num = '0001'", "DELETE FROM alembic_version"):
            with db.engine.begin() as connection:
                connection.execute(text(said))
            assert "run 'doorlist init'" in str(why_unfit()), said
        db.engine.dispose()
    let_go(database_url)


@pytest.mark.postgres
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_new_database_that_cannot_hold_every_name_is_refused_and_left_alone(postgres: Postgres, tmp_path: Path, encoding: str) -> None:
    name = DatabaseName(f"in_{encoding.lower()}")
    with postgres.connected() as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    app = without_doors(from_environment({"DATABASE_URL": postgres.url(name), "DOORLIST_HOME": str(tmp_path)}))
    with app.app_context():
        with pytest.raises(NotInUTF8, match=f"in {encoding}, .* ENCODING 'UTF8'"):
            upgrade()
        with db.engine.connect() as connected:
            assert inspect(connected).get_table_names() == []
        db.engine.dispose()


@pytest.mark.postgres
def test_several_who_bring_a_database_to_the_present_schema_at_once_do_it_once(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.database()
    app = without_doors(from_environment({"DATABASE_URL": url, "DOORLIST_HOME": str(tmp_path)}))
    raised: list[BaseException] = []

    def bring_up() -> None:
        try:
            with app.app_context():
                upgrade()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=bring_up, daemon=True) for _ in range(2)]
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    name = url.rpartition("/")[2]
    # Both have looked and found nothing, and wait, until this is taken back.
    with postgres.connected(name) as watching, postgres.connected(name) as held, held.transaction(force_rollback=True):
        held.execute("CREATE TABLE alembic_version (version_num text PRIMARY KEY)")
        for thread in threads:
            thread.start()
        assert until(lambda: watching.execute(waiting).fetchall() == [(2,)])
    for thread in threads:
        thread.join(timeout=60)

    with app.app_context():
        assert why_unfit() is None
        db.engine.dispose()
    let_go(url)
    assert raised == []


def test_who_looks_at_a_database_waits_for_nobody_who_writes_and_keeps_nobody_waiting(database_url: str, tmp_path: Path) -> None:
    app = without_doors(from_environment({"DATABASE_URL": database_url, "DOORLIST_HOME": str(tmp_path)}))
    begun: list[str] = []
    with app.app_context():
        upgrade()
        with transaction() as session:
            # On SQLite nobody else can write from here on: who wanted to would wait, and be refused.
            session.execute(text("SELECT 1"))
            event.listen(db.engine, "before_cursor_execute", lambda _connection, _cursor, statement, *_: begun.append(statement))
            upgrade()
            assert why_unfit() is None
            assert damage() is None
        db.engine.dispose()
    let_go(database_url)

    assert "BEGIN IMMEDIATE" not in begun


def test_a_database_that_cannot_be_read_is_no_old_one(tmp_path: Path) -> None:
    (tmp_path / "no.sqlite").write_bytes(b"this is no database, and longer than a header of one " * 40)
    app = without_doors(from_environment({"DATABASE_URL": f"sqlite:///{tmp_path / 'no.sqlite'}", "DOORLIST_HOME": str(tmp_path)}))
    with app.app_context(), pytest.raises(DBAPIError):
        why_unfit()


@pytest.mark.parametrize(("number", "what_helps"), [("9999", "install the newer one again"), ("3f2b8c", "see whether DATABASE_URL means the right one")])
def test_a_database_that_is_ahead_or_another_programs_is_said_to_be_and_left_alone(
    database_url: str, tmp_path: Path, number: str, what_helps: str
) -> None:
    app = create_app(from_environment({"DATABASE_URL": database_url, "DOORLIST_HOME": str(tmp_path)}))
    with app.app_context():
        upgrade()
        with db.engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :number"), {"number": number})

        said, ready = str(why_unfit()), app.test_client().get("/readyz")
        with pytest.raises(UnknownSchema) as refused:
            upgrade()
        with db.engine.connect() as connection:
            kept = connection.scalar(text("SELECT version_num FROM alembic_version"))
        db.engine.dispose()
    let_go(database_url)

    assert number in said and what_helps in said and "init" not in said
    assert str(refused.value) == said
    assert (ready.status_code, ready.get_json()["detail"]) == (503, said)
    assert kept == number
