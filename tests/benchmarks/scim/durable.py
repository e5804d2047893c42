"""PostgreSQL as one would run it: on disk, durable, warm, on the load's core. Tests have a faster and unsafe one."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg

from tests.benchmarks.scim.served import LOAD_CORE
from tests.ports import free_port
from tests.servers.postgres import OWNER, Postgres, PostgresBroken, binaries

SETTINGS: Final = (
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    # Sizes that any guide gives for a machine like a developer's; the same for every server that is measured.
    "shared_buffers=1GB",
    "effective_cache_size=4GB",
    "maintenance_work_mem=256MB",
    "max_wal_size=4GB",
    "checkpoint_timeout=15min",
    "log_min_messages=warning",
)
DURABILITY: Final = "PostgreSQL: fsync=on, synchronous_commit=on"


@contextmanager
def running_durable_postgres(*, core: str | None = LOAD_CORE) -> Iterator[Postgres]:
    """A cluster for as long as the block lasts; nothing of it is left afterwards. Raises PostgresError."""
    folder = Path(tempfile.mkdtemp(prefix="doorlist-bench-postgres-"))
    user = _unprivileged()
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        _initialise(folder, user)
        server = _launch(folder, user, core)
        try:
            server.wait_until_it_answers()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def settle(url: str) -> None:
    """After filling: what autovacuum would have done by tomorrow, and nothing left to be written while the clock runs."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        tables = connection.execute("SELECT c.oid::regclass::text FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace").fetchall()
        for (table,) in tables:
            # Nor would it have looked at one that is empty: whoever does is planned for as if it stayed so, and each look reads all that came since.
            if connection.execute(f"SELECT EXISTS (SELECT 1 FROM {table})").fetchone() == (True,):
                connection.execute(f"VACUUM ANALYZE {table}")
        connection.execute("CHECKPOINT")


def _initialise(folder: Path, user: pwd.struct_passwd | None) -> None:
    flags = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
    made = subprocess.run(
        [binaries() / "initdb", "--pgdata", folder / "data", "--username", OWNER, *flags], capture_output=True, text=True, check=False,
        cwd=folder, user=user and user.pw_uid, group=user and user.pw_gid, extra_groups=None if user is None else (),
    )  # fmt: skip
    if made.returncode:
        raise PostgresBroken(f"initdb failed: {made.stderr.strip()}")


def _launch(folder: Path, user: pwd.struct_passwd | None, core: str | None) -> Postgres:
    port = free_port()
    pinned: list[str | Path] = [] if core is None else ["taskset", "-c", core]
    options = [f"--{setting}" for setting in (f"port={port}", *SETTINGS)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*pinned, binaries() / "postgres", "-D", folder / "data", *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
            user=user and user.pw_uid, group=user and user.pw_gid, extra_groups=None if user is None else (), start_new_session=True,
        )  # fmt: skip
    return Postgres(port=port, folder=folder, process=process)


def _unprivileged() -> pwd.struct_passwd | None:
    """Somebody else where we are root, since PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresBroken("PostgreSQL will not run as root, and there is neither a user postgres nor nobody")
