"""Fresh databases with the present schema, for tests that do not ask how it came about."""

import atexit
import shutil
import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

from sqlalchemy import make_url

from app.audit.requests import _OPEN
from app.database import _PENS, db
from app.schema import upgrade


@cache
def _template() -> Path:
    """Where the first migrated SQLite file is kept to be copied: that takes a millisecond, migrating fifty."""
    folder = tempfile.mkdtemp(prefix="doorlist-template-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / "migrated.sqlite"


def migrated() -> None:
    """Give the application's database, which is fresh, the present schema. Needs an application context."""
    path = db.engine.url.database if db.engine.dialect.name == "sqlite" else None
    if path is None:
        upgrade()
        return
    template = _template()
    if template.exists() and not Path(path).exists():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(template, path)
        return
    upgrade()
    if not template.exists():
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("VACUUM INTO ?", [str(template)])


def let_go(url: str) -> None:
    """Close what an application keeps open for a database beyond the application's own end; the database may then go."""
    for seen in list(_OPEN):
        # A thread of its writes requests down a little later than they came, and would try for ever.
        if seen._url == url:
            seen.flush(within=1)
    pen = _PENS.pop(make_url(url).database or "", None)
    # Thousands of them would be more files than a process may have open.
    if pen is not None:
        pen.close()
