"""Whether a database stands at the newest migration, which every verb asks for."""

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.assembly import without_doors
from app.database import db
from app.schema import _config, is_current, newest, upgrade
from app.settings import from_environment
from tests.databases import let_go

pytestmark = pytest.mark.empty


def test_the_newest_migration_is_the_one_that_all_others_lead_to() -> None:
    assert newest() == ScriptDirectory.from_config(_config()).get_current_head()


def test_only_a_database_at_the_newest_migration_is_current(database_url: str, tmp_path: Path) -> None:
    app = without_doors(from_environment({"DATABASE_URL": database_url, "DOORLIST_HOME": str(tmp_path)}))
    with app.app_context():
        assert not is_current(), "there is no schema at all"
        upgrade()
        assert is_current()
        for said in ("UPDATE alembic_version SET version_num = '0001'", "DELETE FROM alembic_version"):
            with db.engine.begin() as connection:
                connection.execute(text(said))
            assert not is_current(), said
        db.engine.dispose()
    let_go(database_url)


def test_a_database_that_cannot_be_read_is_no_old_one(tmp_path: Path) -> None:
    (tmp_path / "no.sqlite").write_bytes(b"this is no database, and longer than a header of one " * 40)
    app = without_doors(from_environment({"DATABASE_URL": f"sqlite:///{tmp_path / 'no.sqlite'}", "DOORLIST_HOME": str(tmp_path)}))
    with app.app_context(), pytest.raises(DBAPIError):
        is_current()
