"""A throwaway PostgreSQL: a cluster of its own in a temporary folder, on a free port of this machine only."""

from __future__ import annotations

import glob
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NewType

import psycopg
from psycopg import sql

from tests.ports import free_port
from tests.servers.cores import steady

DatabaseName = NewType("DatabaseName", str)

OWNER = "doorlist"
STARTED_WITHIN = 30.0
STOPPED_WITHIN = 15.0

# Nothing here outlives the tests, so nothing need survive a power cut, and commits are much faster so.
UNSAFE_BUT_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum_naptime=10s")


class PostgresError(Exception):
    """
    PostgresError
    ├── PostgresMissing     not installed here
    └── PostgresBroken      installed, but it did not start
    """


class PostgresMissing(PostgresError):
    pass


class PostgresBroken(PostgresError):
    pass


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A running cluster. Each `database()` is new, so that tests need not clean up after each other."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]
    _numbers: Iterator[int] = field(default_factory=count)

    def database(self, *, like: DatabaseName | None = None) -> str:
        """SQLAlchemy's URL of a fresh database: empty, or a copy of `like`, which nobody may be using."""
        return self.url(self.create(like=like))

    def create(self, *, like: DatabaseName | None = None) -> DatabaseName:
        name = DatabaseName(f"t{next(self._numbers)}")
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(like or "template0")
        )
        with self.connected() as connection:
            connection.execute(statement)
        return name

    def renamed(self, name: DatabaseName, *, by: psycopg.Connection[tuple[object, ...]]) -> DatabaseName:
        """The same database by a name that none had before; nobody may be using it."""
        new = DatabaseName(f"t{next(self._numbers)}")
        by.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new)))
        return new

    def url(self, name: DatabaseName) -> str:
        return f"postgresql+psycopg://{OWNER}@127.0.0.1:{self.port}/{name}"

    def connected(self, name: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=OWNER,
            dbname=name,
            autocommit=True,
            connect_timeout=5,
        )

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + STARTED_WITHIN
        while True:
            if self.process.poll() is not None:
                raise PostgresBroken(f"PostgreSQL on port {self.port} ended: {_last_words(self.folder)}")
            try:
                self.connected().close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise PostgresBroken(
                        f"PostgreSQL on port {self.port} does not answer: {_last_words(self.folder)}"
                    ) from error
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Ends the server, open sessions or not; may be called twice."""
        if self.process.poll() is None:
            # "Immediate": sessions are cut off, its children go along, and nothing in it is wanted any more.
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(STOPPED_WITHIN)


def binaries() -> Path:
    """The folder of the newest PostgreSQL here. Debian keeps them off PATH, a folder for each version."""
    folders = [Path(name) for name in glob.glob("/usr/lib/postgresql/*/bin")]
    folders.sort(key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0), reverse=True)
    if initdb := shutil.which("initdb"):
        folders.append(Path(initdb).resolve().parent)
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        folders.append(Path(answer.stdout.strip()))
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise PostgresMissing("PostgreSQL is not installed here; `make servers` installs it")


@dataclass(frozen=True, kw_only=True)
class RunsAs:
    """Whose the server's files and processes are; None stands for whoever runs the tests."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A cluster for as long as the block lasts; nothing of it is left afterwards."""
    bin_folder = binaries()
    runs_as = _unprivileged()
    # Not pytest's tmp_path: that is closed to other users, and the server may not run as root.
    folder = Path(tempfile.mkdtemp(prefix="doorlist-postgres-"))
    try:
        if runs_as.uid is not None and runs_as.gid is not None:
            os.chown(folder, runs_as.uid, runs_as.gid)
        _initialise(folder, bin_folder=bin_folder, runs_as=runs_as)
        server = _start(folder, bin_folder=bin_folder, runs_as=runs_as)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _initialise(folder: Path, *, bin_folder: Path, runs_as: RunsAs) -> None:
    flags = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
    made = subprocess.run(
        [bin_folder / "initdb", "--pgdata", folder / "data", "--username", OWNER, *flags],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        user=runs_as.uid,
        group=runs_as.gid,
        extra_groups=runs_as.groups,
    )
    if made.returncode:
        raise PostgresBroken(f"initdb failed: {made.stderr.strip()}")


def _start(folder: Path, *, bin_folder: Path, runs_as: RunsAs, tries: int = 3) -> Postgres:
    server = _launch(folder, bin_folder=bin_folder, runs_as=runs_as)
    try:
        server.wait_until_it_answers()
    except BaseException as error:
        server.stop()
        # A port that is free now may be another's a moment later.
        if isinstance(error, PostgresBroken) and tries > 1:
            return _start(folder, bin_folder=bin_folder, runs_as=runs_as, tries=tries - 1)
        raise
    return server


def _launch(folder: Path, *, bin_folder: Path, runs_as: RunsAs) -> Postgres:
    port = free_port()
    settings = [
        f"port={port}",
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=200",
        *UNSAFE_BUT_FAST,
    ]
    with (folder / "log").open("wb") as log, steady():
        process = subprocess.Popen(
            [bin_folder / "postgres", "-D", folder / "data", *(f"--{setting}" for setting in settings)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            user=runs_as.uid,
            group=runs_as.gid,
            extra_groups=runs_as.groups,
        )
    return Postgres(port=port, folder=folder, process=process)


def _unprivileged() -> RunsAs:
    """Somebody else where we are root, since PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return RunsAs()
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return RunsAs(uid=user.pw_uid, gid=user.pw_gid, groups=())
    raise PostgresBroken("PostgreSQL will not run as root, and there is neither a user postgres nor nobody")


def _last_words(folder: Path) -> str:
    return " / ".join((folder / "log").read_text(errors="replace").splitlines()[-5:])
